//! Wall clocks that are hours off, jump, and run too fast or too slow: a grant ends by the control plane's clock, for a filter
//! whose own clock says anything at all.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use grantmesh_shared::time::Timestamp;
use grantmesh_tests::{ALICE, Api, LEA, Mesh, PATIENCE, Setup, Whose, member, play, text, until};
use reqwest::Method;
use serde_json::{Value, json};

/// How much before its end a grant may be over: the round trip of a heartbeat, with much room for a busy machine.
const EARLY: i64 = 700;

#[test]
fn a_grant_ends_by_the_control_planes_clock_whatever_the_proxys_says() {
    play(Setup { wrong_clock: Some(Whose::Envoys), ..Setup::default() }, async |mesh| {
        for (number, (wrong, off)) in
            [("+7h", 7 * 3_600), ("-7h", -7 * 3_600), ("+400d", 400 * 86_400)].into_iter().enumerate()
        {
            start_envoy_with(mesh, wrong, off).await?;
            let (left, served) = play_a_grant(mesh, &format!("acc-{number}"), |_| Ok(())).await?;
            println!("the proxy's clock is {wrong} off: the last of {served} calls came {left} ms before the end");
            ensure!(served > 0 && (0..EARLY).contains(&left), "{wrong}: {left} ms");
            mesh.envoy()?.filter_is_unharmed().await?;
        }
        Ok(())
    });
}

#[test]
fn a_proxys_clock_that_jumps_or_runs_wrong_only_ever_refuses() {
    play(Setup { wrong_clock: Some(Whose::Envoys), ..Setup::default() }, async |mesh| {
        // A clock that runs wrong and does not jump has a proxy of its own, which must let calls through.
        let slow: &[&str] = &["+0 x0.25"];
        let cases = [
            (slow, true),
            (&["+0 x0.999"], true),
            (&["+0 x4"], false),
            (&["+2h", "-3h", "+0", "+40m", "-2d"], false),
            (&["+0 x0.5", "-5m x1.5", "+9h", "-9h x0.1"], false),
        ];
        for (number, (settings, is_served)) in cases.into_iter().enumerate() {
            let steady = settings.first().filter(|_| is_served);
            if let Some(steady) = steady {
                start_envoy_with(mesh, steady, 0).await?;
            }
            let clock = mesh.clock()?.clone();
            let mut last = None;
            let (left, served) = play_a_grant(mesh, &format!("acc-{number}"), |passed| {
                // A new setting every 1.2 s, beginning anew after the last.
                let turn = usize::try_from(passed.as_millis() / 1_200)?;
                if last.replace(turn) != Some(turn) {
                    clock.set(settings.get(turn % settings.len()).context("no setting")?)?;
                }
                Ok(())
            })
            .await?;
            println!("{settings:?}: the last of {served} calls came {left} ms before the end");
            ensure!(served > 0 || !is_served, "{settings:?}: nothing was let through");
            ensure!(left >= 0, "{settings:?}: a call was let through {left} ms after its grant's end");
        }
        // Nobody is refused for it once the clock is quiet.
        mesh.clock()?.set("+3h")?;
        grant(mesh, "acc-quiet", "10m").await?;
        let caller = caller(mesh).await?;
        until("the filter lets through what is granted", PATIENCE, async || {
            Ok((refund(&caller, "acc-quiet").await? == 200).then_some(()))
        })
        .await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_grant_ends_by_the_control_planes_clock_though_it_is_wrong() {
    play(Setup { wrong_clock: Some(Whose::ControlPlanes), ..Setup::default() }, async |mesh| {
        for (number, (wrong, off)) in [("+5m", 300_000), ("+7h", 7 * 3_600_000)].into_iter().enumerate() {
            mesh.clock()?.set(wrong)?;
            let api = Api::new(&mesh.control_plane.url(), None)?;
            until("the control plane's clock is set", PATIENCE, async || {
                let date = api.get("/healthz").await?;
                let date = date.headers.get("date").context("no date")?.to_str()?.to_owned();
                Ok(is_off(httpdate::parse_http_date(&date)?, off / 1_000).then_some(()))
            })
            .await?;
            let (left, served) = play_a_grant(mesh, &format!("acc-{number}"), |_| Ok(())).await?;
            println!(
                "the control plane's clock is {wrong} off: the last of {served} calls came {} ms before",
                left - off
            );
            ensure!(served > 0 && (0..EARLY).contains(&(left - off)), "{wrong}: {} ms", left - off);
        }
        a_clock_that_is_set_back_revives_nothing(mesh).await?;
        // The clock is set beyond the end of a grant: filters know with the next heartbeat.
        grant(mesh, "acc-jump", "20m").await?;
        let caller = caller(mesh).await?;
        until("it is let through", PATIENCE, async || Ok((refund(&caller, "acc-jump").await? == 200).then_some(())))
            .await?;
        mesh.clock()?.set("+8h")?;
        until("it has ended", PATIENCE, async || {
            for _ in 0..16 {
                if refund(&caller.reconnected()?, "acc-jump").await? == 200 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// What has ended stays ended, and what is given ends in its time, though the control plane's clock is set back by hours
/// while it runs, or when it starts again; it says how far it is behind.
async fn a_clock_that_is_set_back_revives_nothing(mesh: &mut Mesh) -> Result<()> {
    let ended = grant(mesh, "acc-ended", "1s").await?;
    let caller = caller(mesh).await?;
    ended_by_time(mesh, &ended).await?;
    let lasting = grant(mesh, "acc-lasting", "4s").await?;
    for restart in [false, true] {
        mesh.clock()?.set(if restart { "-1h" } else { "+0" })?;
        if restart {
            mesh.control_plane.stop().await?;
            mesh.control_plane.run().await?;
        }
        until("the control plane knows that its clock is behind", PATIENCE, async || {
            let behind = metric(mesh, "grantmesh_clock_behind_seconds").await?;
            Ok((behind > 7.0 * 3_600.0 - 60.0).then_some(()))
        })
        .await?;
        ensure!(refund(&caller.reconnected()?, "acc-ended").await? == 403, "an ended grant lives again");
    }
    ended_by_time(mesh, &lasting).await?;
    ensure!(refund(&caller.reconnected()?, "acc-lasting").await? == 403, "a grant outlived its time");
    // Somebody says that the time that was told was wrong.
    mesh.control_plane.stop().await?;
    mesh.clock()?.set("+0")?;
    let begun = mesh.control_plane.offline(&["new-epoch", "--reason", "the clock was seven hours ahead"]).await?;
    begun.success()?;
    ensure!(begun.err.contains("time goes back by"), "{begun:?}");
    mesh.control_plane.run().await?;
    let behind = metric(mesh, "grantmesh_clock_behind_seconds").await?;
    ensure!(behind < 60.0, "after a new epoch the clock still is {behind} s behind");
    Ok(())
}

/// A number of the control plane's `/metrics`.
async fn metric(mesh: &Mesh, name: &str) -> Result<f64> {
    let metrics = Api::new(&mesh.control_plane.url(), None)?.get("/metrics").await?;
    let text = std::str::from_utf8(&metrics.body)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no metric `{name}`"))?.parse()?)
}

/// Waits until a grant is over and filters have been told.
async fn ended_by_time(mesh: &Mesh, grant: &Value) -> Result<()> {
    let api = Api::new(&mesh.control_plane.url(), Some(token(mesh, &ALICE).await?))?;
    let path = format!("/v1/grants/{}", text(grant, "/id")?);
    until("the grant is over", PATIENCE, async || {
        let state = api.get(&path).await?.expect(200)?;
        Ok((text(&state, "/state")? == "expired").then_some(()))
    })
    .await
}

/// So long a call is waited for: with a clock that jumps, a proxy's own timers may stand still for a while.
const UNANSWERED: Duration = Duration::from_secs(5);

/// A grant for a few seconds, and calls until well after its end, `meanwhile` before each: how many milliseconds before its
/// end by the machine's clock the last call came to the service, and how many came.
async fn play_a_grant(
    mesh: &mut Mesh,
    account: &str,
    mut meanwhile: impl FnMut(Duration) -> Result<()>,
) -> Result<(i64, usize)> {
    let grant = grant(mesh, account, "5s").await?;
    let ends = text(&grant, "/expires_at")?.parse::<Timestamp>()?;
    let (caller, begun) = (caller(mesh).await?, SystemTime::now());
    let before = mesh.upstream.count();
    until("the grant is long over", PATIENCE, async || {
        let passed = begun.elapsed()?;
        meanwhile(passed)?;
        // A call that is not answered was not let through, as far as its caller knows; what was is what the service saw.
        let caller = caller.reconnected()?;
        if let Ok(answered) = tokio::time::timeout(UNANSWERED, refund(&caller, account)).await {
            answered?;
        }
        Ok((passed > Duration::from_secs(8)).then_some(()))
    })
    .await?;
    let served = mesh.upstream.served().split_off(before);
    let last = served.iter().map(|call| call.at.millis()).max();
    Ok((last.map_or(0, |last| ends.millis() - last), served.len()))
}

/// Alice's request, approved by Lea. Their tokens live long enough for every clock.
async fn grant(mesh: &Mesh, account: &str, duration: &str) -> Result<Value> {
    let person = async |person| Api::new(&mesh.control_plane.url(), Some(token(mesh, person).await?));
    let ask = json!({
        "service": "payments", "action": "refund.create", "resource": format!("account/{account}"),
        "justification": "the customer was charged twice", "duration": duration,
    });
    let request = person(&ALICE).await?.post("/v1/requests", &ask).await?.expect(201)?;
    let review = json!({ "verdict": "approve", "reason": "seen the ticket" });
    let path = format!("/v1/requests/{}/reviews", text(&request, "/id")?);
    Ok(member(&person(&LEA).await?.review(&path, &review).await?.expect(201)?, "/grant")?.clone())
}

async fn token(mesh: &Mesh, person: &grantmesh_tests::Person) -> Result<String> {
    mesh.control_plane.token_with(person, &["--ttl", "20000h"]).await
}

async fn caller(mesh: &mut Mesh) -> Result<Api> {
    let token = token(mesh, &ALICE).await?;
    Api::new(&mesh.envoy()?.url(), Some(token))
}

async fn refund(caller: &Api, account: &str) -> Result<u16> {
    Ok(caller.send(Method::POST, &format!("/v1/accounts/{account}/refunds"), None).await?.status)
}

/// A proxy that starts with a clock that is so many seconds off, which is `what` as libfaketime writes it. One that runs is
/// not used: with libfaketime its clock and the kernel's differ, and a thread that waits until a time of day may then stand
/// still for hours.
async fn start_envoy_with(mesh: &mut Mesh, what: &str, off: i64) -> Result<()> {
    mesh.clock()?.set(what)?;
    mesh.start_envoy().await?;
    let date = mesh.envoy()?.date().await?;
    ensure!(is_off(date, off), "the proxy's clock should be {what} off, and is at {date:?}");
    Ok(())
}

/// Whether a time of day, in whole seconds, is so many seconds off.
fn is_off(date: SystemTime, off: i64) -> bool {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (stated, right) = (seconds(date), seconds(SystemTime::now()));
    stated.checked_add_signed(-off).is_some_and(|stated| stated.abs_diff(right) <= 2)
}
