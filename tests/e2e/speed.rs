//! How soon an approval and a revocation are felt by a caller. Printed and kept; the test itself only refuses what cannot be a push.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, Api, Latencies, Mesh, PATIENCE, Setup, play, proof_size, until, until_every};
use reqwest::Method;
use serde_json::{Value, json};

/// Not the promise (20 ms on an idle machine) but far beyond any doubt that it is pushed and not polled for.
const SANE: Duration = Duration::from_millis(250);

#[test]
fn proof_an_approval_and_a_revocation_arrive_at_once() {
    changes_arrive(Setup::default());
}

/// A call of a critical action that runs while its grant ends waits for its record before it is refused; these do not.
#[test]
fn proof_changes_of_standard_actions_arrive_at_once() {
    changes_arrive(Setup { standard_refunds: true, ..Setup::default() });
}

fn changes_arrive(setup: Setup) {
    play(Setup { change: with_callers_for_every_worker, ..setup }, async |mesh| {
        let [mut approve, mut approved, mut revoke, mut revoked, mut made, mut at_all, mut served] =
            [const { Vec::new() }; 7];
        for round in 0..proof_size(40, 1_000) {
            let account = format!("acc-{round}");
            let path = format!("/v1/accounts/{account}/refunds");
            let request = mesh.ask(&account, "10m").await?;
            let callers = a_caller_for_every_worker(mesh, &path).await?;

            let ((sent, acknowledged, grant), [Felt { seen, .. }, _]) =
                tokio::try_join!(timed(mesh.approve(&request)), all(&callers, &path, 200))?;
            approve.push(seen.saturating_duration_since(sent));
            approved.push(seen.saturating_duration_since(acknowledged));

            let ((sent, acknowledged, _), [Felt { seen, .. }, last]) =
                tokio::try_join!(timed(mesh.revoke(&grant, None)), all(&callers, &path, 403))?;
            served.push(last_served(mesh, &path)?.saturating_sub(since_1970(acknowledged)?));
            revoke.push(seen.saturating_duration_since(sent));
            revoked.push(seen.saturating_duration_since(acknowledged));
            made.push(last.made.saturating_duration_since(acknowledged));
            at_all.push(last.seen.saturating_duration_since(acknowledged));
        }
        let [approve, approved, revoke, revoked, made, at_all, served] =
            [approve, approved, revoke, revoked, made, at_all, served].map(Latencies::from_iter);
        let told = json!({
            "approve_to_first_200": { "from_sending": approve.to_json(), "from_acknowledgement": approved.to_json() },
            "revoke_to_first_403": { "from_sending": revoke.to_json(), "from_acknowledgement": revoked.to_json() },
            "revoke_to_403_on_every_worker": { "from_acknowledgement": at_all.to_json() },
            "revoke_to_call_that_gets_it": { "from_acknowledgement": made.to_json() },
            "revoke_to_last_call_served": { "from_acknowledgement": served.to_json() },
        });
        let told = serde_json::to_string_pretty(&told)?;
        println!("{told}");
        if !setup.standard_refunds {
            keep(mesh, &told)?;
        }
        assert!(approve.median() < SANE && revoke.median() < SANE && at_all.median() < SANE, "{told}");
        Ok(())
    });
}

/// Two workers, and each takes as many connections as the other.
fn with_callers_for_every_worker(bootstrap: &mut Value, _: &Path) {
    if let Some(listener) = bootstrap.pointer_mut("/static_resources/listeners/0") {
        listener["connection_balance_config"] = json!({ "exact_balance": {} });
    }
}

/// Callers of which each has been refused by a worker of its own.
async fn a_caller_for_every_worker(mesh: &mut Mesh, path: &str) -> Result<[Api; 2]> {
    until("the workers have a caller each", PATIENCE, async || {
        let callers = [mesh.caller(&ALICE).await?, mesh.caller(&ALICE).await?];
        all(&callers, path, 403).await?;
        // Connections of callers from before may still be going.
        let connections = mesh.envoy()?.stats(r"^listener\..*\.worker_\d+\.downstream_cx_active$").await?;
        Ok(connections.iter().map(|(_, count)| *count).eq([1, 1]).then_some(callers))
    })
    .await
}

/// When the last call of this path came to the service, since 1970.
fn last_served(mesh: &Mesh, path: &str) -> Result<Duration> {
    let calls = mesh.upstream.served();
    let last = calls.iter().filter(|call| call.target == path).map(|call| call.at.millis()).max();
    Ok(Duration::from_millis(u64::try_from(last.context("nothing was served")?)?))
}

fn since_1970(moment: Instant) -> Result<Duration> {
    let since = moment.elapsed();
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.saturating_sub(since))
}

/// A call that is the first to be answered otherwise than before.
#[derive(Debug, Clone, Copy)]
struct Felt {
    made: Instant,
    seen: Instant,
}

/// The first calls of each caller that are answered with this status; the one answered first is the first.
async fn all(callers: &[Api; 2], path: &str, wanted: u16) -> Result<[Felt; 2]> {
    let [one, other] = callers;
    let (one, other) = tokio::try_join!(first(one, path, wanted), first(other, path, wanted))?;
    Ok(if one.seen <= other.seen { [one, other] } else { [other, one] })
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

/// The first call that is answered with this status; one is made every millisecond. A call that runs while its grant ends is
/// reset, and has no answer.
async fn first(caller: &Api, path: &str, wanted: u16) -> Result<Felt> {
    until_every(Duration::from_millis(1), "the change is felt", PATIENCE, async || {
        let made = Instant::now();
        let is_felt = status(caller, path).await.is_ok_and(|status| status == wanted);
        Ok(is_felt.then(|| Felt { made, seen: Instant::now() }))
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
