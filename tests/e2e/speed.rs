//! How soon an approval and a revocation are felt by a caller. Printed and kept; the test itself only refuses what cannot be a push.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use grantmesh_tests::{ALICE, Api, Latencies, Mesh, PATIENCE, Setup, play, until_every};
use reqwest::Method;
use serde_json::json;

const ROUNDS: usize = 40;

/// Not the promise (20 ms on an idle machine) but far beyond any doubt that it is pushed and not polled for.
const SANE: Duration = Duration::from_millis(250);

#[test]
fn an_approval_and_a_revocation_arrive_at_once() {
    play(Setup::default(), async |mesh| {
        let caller = mesh.caller(&ALICE).await?;
        let [mut approve, mut approved, mut revoke, mut revoked] = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            let account = format!("acc-{round}");
            let path = format!("/v1/accounts/{account}/refunds");
            let request = mesh.ask(&account, "10m").await?;
            assert_eq!(status(&caller, &path).await?, 403);

            let ((sent, acknowledged, grant), seen) =
                tokio::try_join!(timed(mesh.approve(&request)), first(&caller, &path, 200))?;
            approve.push(seen.saturating_duration_since(sent));
            approved.push(seen.saturating_duration_since(acknowledged));

            let ((sent, acknowledged, _), seen) =
                tokio::try_join!(timed(mesh.revoke(&grant, None)), first(&caller, &path, 403))?;
            revoke.push(seen.saturating_duration_since(sent));
            revoked.push(seen.saturating_duration_since(acknowledged));
        }
        let [approve, approved, revoke, revoked] = [approve, approved, revoke, revoked].map(Latencies::from_iter);
        println!("approve -> first 200, from sending the approval: {}", approve.to_json());
        println!("approve -> first 200, from its acknowledgement:  {}", approved.to_json());
        println!("revoke  -> first 403, from sending it:           {}", revoke.to_json());
        println!("revoke  -> first 403, from its acknowledgement:  {}", revoked.to_json());
        let all = json!({
            "approve_to_first_200": { "from_sending": approve.to_json(), "from_acknowledgement": approved.to_json() },
            "revoke_to_first_403": { "from_sending": revoke.to_json(), "from_acknowledgement": revoked.to_json() },
        });
        keep(mesh, &serde_json::to_string_pretty(&all)?)?;
        assert!(approve.median() < SANE && revoke.median() < SANE, "{all}");
        Ok(())
    });
}

async fn status(caller: &Api, path: &str) -> Result<u16> {
    Ok(caller.send(Method::POST, path, None).await?.status)
}

/// When it was sent, when it was acknowledged, and what came of it.
async fn timed<T>(write: impl Future<Output = Result<T>>) -> Result<(Instant, Instant, T)> {
    let sent = Instant::now();
    let done = write.await?;
    Ok((sent, Instant::now(), done))
}

/// When a call is answered with this status for the first time, asked about every millisecond.
async fn first(caller: &Api, path: &str, wanted: u16) -> Result<Instant> {
    until_every(Duration::from_millis(1), "the change is felt", PATIENCE, async || {
        Ok((status(caller, path).await? == wanted).then(Instant::now))
    })
    .await
}

/// Beside the control plane's program is the target folder, in whatever profile.
fn keep(mesh: &Mesh, text: &str) -> Result<()> {
    let target = mesh.grantmesh().parent().and_then(Path::parent);
    if let Some(target) = target.filter(|target| target.join("CACHEDIR.TAG").exists()) {
        std::fs::write(target.join("e2e-latency.json"), text)?;
    }
    Ok(())
}
