//! A bad wire between filters and the control plane: late, lost, doubled, swapped or stale answers may cost an allow, and
//! never bring one that is too much.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use grantmesh_tests::{ALICE, Mesh, PATIENCE, Setup, Weather, play, text, until};
use reqwest::Method;

/// The bound of critical actions.
const BOUND: Duration = Duration::from_secs(5);

const ALL: [Weather; 7] = [
    Weather::HalfOpen,
    Weather::Slow(Duration::from_millis(700)),
    Weather::Trickle(40),
    Weather::Lossy,
    Weather::Replayed,
    Weather::Swapped,
    Weather::Doubled,
];

#[test]
fn in_no_weather_is_a_revoked_grant_good_beyond_its_bound() {
    play(Setup::default(), async |mesh| {
        for (number, weather) in ALL.into_iter().enumerate() {
            let account = format!("acc-{number}");
            let grant = mesh.grant(&account, "10m").await?;
            mesh.until_refund_is(&account, 200).await?;
            mesh.cable.make(weather);
            let revoked = Instant::now();
            mesh.revoke(&grant, None).await?;
            last_allowed(mesh, &account, revoked, weather).await?;
            mesh.cable.mend();
            mesh.until_refund_is(&account, 403).await?;
            mesh.until_all_follow().await?;
        }
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// Calls until nothing was allowed for a while, and checks that the last was in time.
async fn last_allowed(mesh: &mut Mesh, account: &str, revoked: Instant, weather: Weather) -> Result<()> {
    let caller = mesh.caller(&ALICE).await?;
    let path = format!("/v1/accounts/{account}/refunds");
    let mut last = Duration::ZERO;
    until("the bound has passed", PATIENCE, async || {
        let asked = revoked.elapsed();
        if caller.send(Method::POST, &path, None).await?.status == 200 {
            last = asked;
        }
        Ok((asked > BOUND + Duration::from_millis(500)).then_some(()))
    })
    .await?;
    println!("{weather:?}: the last call was allowed {} ms after the revocation", last.as_millis());
    ensure!(last < BOUND, "{weather:?}: allowed {last:?} after the revocation");
    Ok(())
}

#[test]
fn nothing_arrives_at_the_service_after_a_grant_has_ended() {
    play(Setup::default(), async |mesh| {
        for weather in [Weather::Fine, Weather::Slow(Duration::from_millis(150)), Weather::Lossy] {
            mesh.cable.mend();
            let grant = mesh.grant("acc-42", "4s").await?;
            mesh.until_refund_is("acc-42", 200).await?;
            mesh.cable.make(weather);
            let before = mesh.upstream.count();
            let (caller, mut refused) = (mesh.caller(&ALICE).await?, 0);
            until("the grant has ended for every call", PATIENCE, async || {
                let reply = caller.send(Method::POST, "/v1/accounts/acc-42/refunds", None).await?;
                refused = if reply.status == 200 { 0 } else { refused + 1 };
                Ok((refused > 200).then_some(()))
            })
            .await?;
            let ends = text(&grant, "/expires_at")?.parse::<grantmesh_shared::time::Timestamp>()?;
            let served = mesh.upstream.served();
            let last = served.iter().skip(before).map(|call| call.at).max();
            let left = last.map(|last| ends.millis() - last.millis());
            println!("{weather:?}: the last of {} calls came {left:?} ms before the end", served.len() - before);
            ensure!(left.is_some_and(|left| left >= 0), "{weather:?}: a call arrived after the end: {left:?}");
        }
        Ok(())
    });
}
