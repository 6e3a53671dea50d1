//! The control plane is gone, and comes back: first the filter decides from what it knows, then it refuses, then it catches up.

use std::time::{Duration, Instant};

use anyhow::Result;
use grantmesh_tests::{ALICE, Database, Mesh, PATIENCE, Setup, play, until};
use reqwest::Method;
use serde_json::Value;

pub(crate) fn has_reason(problem: &Value, code: &str) -> bool {
    problem["reasons"].as_array().is_some_and(|reasons| reasons.iter().any(|reason| reason["code"] == code))
}

#[test]
fn what_is_not_critical_is_decided_for_as_long_as_its_bound_says() {
    let bound = Setup { standard_refunds: true, serve: &["--fresh-standard", "5s"], ..Setup::default() };
    play(bound, async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        let caller = mesh.caller(&ALICE).await?;
        let gone = Instant::now();
        mesh.control_plane.kill();
        let mut served_until = Duration::ZERO;
        let refusal = until("calls are refused once the bound has passed", PATIENCE, async || {
            let asked = gone.elapsed();
            let reply = caller.reconnected()?.send(Method::POST, "/v1/accounts/acc-42/refunds", None).await?;
            if reply.status == 200 {
                served_until = asked;
                return Ok(None);
            }
            Ok(Some(reply))
        })
        .await?;
        let problem = refusal.json()?;
        assert!(has_reason(&problem, "stale"), "{problem}");
        assert!(
            served_until > Duration::from_secs(2),
            "a heartbeat at most 2.5 s old is good for 5 s: {served_until:?}"
        );
        assert!(
            served_until < Duration::from_secs(5),
            "the last answered question was asked before the end: {served_until:?}"
        );
        Ok(())
    });
}

#[test]
fn without_the_control_plane_calls_are_decided_for_as_long_as_the_bound_says() {
    play(Setup::default(), outage);
}

#[test]
fn without_the_control_plane_calls_are_decided_for_as_long_as_the_bound_says_on_postgres() {
    play(Setup { database: Database::Postgres, ..Setup::default() }, outage);
}

async fn outage(mesh: &mut Mesh) -> Result<()> {
    mesh.grant("acc-42", "10m").await?;
    mesh.until_refund_is("acc-42", 200).await?;
    let caller = mesh.caller(&ALICE).await?;

    mesh.control_plane.kill();
    let served = mesh.upstream.count();
    let first = caller.send(Method::POST, "/v1/accounts/acc-42/refunds", None).await?.expect(403)?;
    assert!(has_reason(&first, "record_unacknowledged"), "what is critical is on record first, or not at all: {first}");
    until("critical calls are refused without waiting once the bound has passed", PATIENCE, async || {
        let reply = caller.reconnected()?.send(Method::POST, "/v1/accounts/acc-42/refunds", None).await?;
        Ok(has_reason(&reply.expect(403)?, "stale").then_some(()))
    })
    .await?;
    assert_eq!(mesh.upstream.count(), served);
    let read = caller.get("/v1/accounts/acc-42").await?;
    assert_eq!(read.status, 200, "reading is of low criticality and has five minutes: {}", read.text());

    mesh.control_plane.run().await?;
    mesh.until_refund_is("acc-42", 200).await?;
    mesh.until_all_follow().await?;
    mesh.envoy()?.filter_is_unharmed().await
}

#[test]
fn what_happened_meanwhile_is_delivered_when_the_wire_is_whole_again() {
    play(Setup { standard_refunds: true, ..Setup::default() }, async |mesh| {
        let ended = mesh.grant("acc-1", "10m").await?;
        mesh.until_refund_is("acc-1", 200).await?;
        let snapshots = mesh.cable.snapshots();

        let deltas = mesh.cable.deltas();
        mesh.cable.cut();
        mesh.revoke(&ended, None).await?;
        mesh.grant("acc-2", "10m").await?;
        assert_eq!(mesh.refund("acc-1").await?.status, 200, "the filter cannot know yet, and its bound has not passed");
        assert_eq!(mesh.refund("acc-2").await?.status, 403);
        mesh.cable.mend();
        mesh.until_refund_is("acc-2", 200).await?;
        mesh.until_refund_is("acc-1", 403).await?;
        assert_eq!(mesh.cable.snapshots(), snapshots, "it caught up by deltas alone");
        assert!(mesh.cable.deltas() > deltas);
        Ok(())
    });
}

#[test]
fn a_filter_that_was_never_told_starts_with_a_snapshot() {
    play(Setup::default(), async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        let snapshots = mesh.cable.snapshots();
        mesh.start_envoy().await?;
        mesh.until_refund_is("acc-42", 200).await?;
        assert!(mesh.cable.snapshots() >= snapshots + 3, "each VM got one");

        // With nobody to tell it anything a new one refuses everything, whoever asks.
        mesh.cable.cut();
        mesh.start_envoy().await?;
        for path in ["/v1/accounts/acc-42", "/healthz", "/"] {
            let reply = mesh.call(&ALICE, Method::GET, path).await?;
            assert!([403, 503].contains(&reply.status), "{path}: {} {}", reply.status, reply.text());
        }
        mesh.cable.mend();
        mesh.until_refund_is("acc-42", 200).await
    });
}
