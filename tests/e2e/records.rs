//! Recorded first, let through then; and whatever becomes of a record, the sums are right.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{
    ALICE, Latencies, MALLORY, Mesh, OLAF, PATIENCE, Setup, Weather, entries, member, play, text, until,
};
use reqwest::Method;

const CALLS: usize = 200;

#[test]
fn a_critical_call_goes_on_only_when_its_record_is_durable() {
    play(Setup::default(), async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        let caller = mesh.caller(&ALICE).await?;
        let [mut read, mut written] = [const { Vec::new() }; 2];
        for _ in 0..CALLS {
            for (method, path, times) in [
                (Method::GET, "/v1/accounts/acc-42", &mut read),
                (Method::POST, "/v1/accounts/acc-42/refunds", &mut written),
            ] {
                let begun = Instant::now();
                ensure!(caller.send(method, path, None).await?.status == 200);
                times.push(begun.elapsed());
            }
        }
        let [read, written] = [read, written].map(Latencies::from_iter);
        println!("a call that waits for nothing:   {}", read.to_json());
        println!("a call that waits for its record: {}", written.to_json());
        assert!(
            written.median() < Duration::from_millis(50),
            "sent at once, not with the next tick: {}",
            written.to_json()
        );

        // Records do not arrive, everything else does: what is critical is refused, and the log will say so.
        mesh.cable.make(Weather::NoRecords);
        let served = mesh.upstream.count();
        let refused = mesh.refund("acc-42").await?;
        assert_eq!((refused.status, mesh.upstream.count()), (403, served));
        let problem = refused.json()?;
        assert_eq!(text(&problem, "/reasons/0/code")?, "record_unacknowledged", "{problem}");
        assert_eq!(caller.get("/v1/accounts/acc-42").await?.status, 200, "what is not critical goes on");
        mesh.cable.mend();
        mesh.until_refund_is("acc-42", 200).await?;
        let id = text(&problem, "/decision_id")?.to_owned();
        let (told, log) = until("the log tells of the refusal", PATIENCE, async || {
            let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
            let told = log.iter().find(|entry| entry["ids"]["decision"] == id.as_str()).cloned();
            Ok(told.map(|told| (told, log)))
        })
        .await?;
        let ahead = text(&told, "/data/record/event/instead_of")?;
        let ahead = log.iter().find(|entry| entry["ids"]["decision"] == ahead).context("no record ahead")?;
        assert_eq!(text(ahead, "/data/record/event/decision")?, "allow");
        assert_eq!(text(&told, "/data/record/event/decision")?, "deny");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn decisions_are_in_the_statistics_and_in_the_access_log() {
    play(Setup::default(), async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        assert_eq!(mesh.call(&MALLORY, Method::GET, "/v1/accounts/secret?token=x").await?.status, 403);
        let envoy = mesh.envoy()?;
        let wanted = [
            r#"grantmesh_decisions_total{service="payments",outcome="allow",criticality="critical",mode="enforce"}"#,
            r#"grantmesh_decisions_total{service="payments",outcome="deny",criticality="low",mode="enforce"}"#,
            r#"grantmesh_callouts_total{topic="records",result="ok"}"#,
            r#"grantmesh_refusals_total{reason="no_role"}"#,
            "grantmesh_table_age_ms{",
            "grantmesh_decision_us_bucket{",
            "grantmesh_answer_us_bucket{",
        ];
        let mut text = String::new();
        let seen = until("all statistics are there, with their tags", PATIENCE, async || {
            text = envoy.prometheus().await?;
            Ok(wanted.iter().all(|line| has_series(&text, line)).then_some(()))
        });
        seen.await.with_context(|| {
            let ours: Vec<_> = text.lines().filter(|line| line.starts_with("grantmesh")).collect();
            ours.join("\n")
        })?;
        let logged = |wanted: &[&str]| -> bool {
            let log = envoy.process().log();
            log.lines().any(|line| wanted.iter().all(|word| line.contains(word)))
        };
        until("the access log tells the decisions", PATIENCE, async || {
            let allowed = logged(&["POST /v1/accounts/acc-42/refunds", " 200 ", "decision=allow"]);
            Ok((allowed && logged(&["GET /v1/accounts/secret\"", " 403 ", "decision=deny"])).then_some(()))
        })
        .await?;

        // The level is followed while it runs: nothing before, every decision after.
        assert!(!logged(&["POST /v1/accounts/acc-42/refunds: allow"]));
        envoy.log_level("wasm", "debug").await?;
        until("decisions are logged", PATIENCE, async || {
            mesh.refund("acc-42").await?;
            let log = mesh.envoy()?.process().log();
            Ok(log.contains("POST /v1/accounts/acc-42/refunds: allow").then_some(()))
        })
        .await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// Whether there is a series whose name is this and whose labels are all among its own, in any order.
fn has_series(text: &str, wanted: &str) -> bool {
    let (name, labels) = wanted.split_once('{').unwrap_or((wanted, ""));
    let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    let mut lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    lines.any(|line| labels.iter().all(|label| line.contains(label)))
}

#[test]
fn what_is_received_and_what_is_declared_missing_is_what_was_made() {
    // A VM that is gone is waited for no longer than its knowledge could count.
    let serve = &["--fresh-critical", "2s", "--fresh-standard", "2s", "--fresh-low", "2s"];
    play(Setup { serve, ..Setup::default() }, async |mesh| {
        // A third of all connections break in the middle of an answer: batches are lost and sent twice.
        mesh.cable.make(Weather::Lossy);
        let (alice, mallory) = (mesh.caller(&ALICE).await?, mesh.caller(&MALLORY).await?);
        for number in 0..300 {
            alice.send(Method::POST, &format!("/v1/accounts/acc-{number}/refunds"), None).await?;
            mallory.send(Method::GET, "/v1/accounts/acc-1", None).await?;
        }
        until("some of them have arrived", PATIENCE, async || Ok((streams(mesh).await?[1] > 0).then_some(()))).await?;
        mesh.cable.make(Weather::NoRecords);
        for _ in 0..50 {
            mallory.send(Method::GET, "/nowhere", None).await?;
        }
        // The filters say with their heartbeats how much there was; then they are gone, and their records with them.
        let made = until("every decision has been reported", PATIENCE, async || {
            let counted = mesh.envoy()?.stat("grantmesh.records.made$").await?;
            let reported = streams(mesh).await?[0];
            Ok((counted >= 650 && counted == reported).then_some(counted))
        })
        .await?;
        mesh.kill_envoy();
        mesh.cable.mend();
        let sums = until("what went with them is declared", PATIENCE, async || {
            let sums = streams(mesh).await?;
            Ok((sums[0] == sums[1] + sums[2] + sums[3]).then_some(sums))
        })
        .await?;
        println!("made {}, received {}, dropped {}, lost {}", sums[0], sums[1], sums[2], sums[3]);
        assert_eq!(sums[0], made);
        assert!(sums[1] > 0 && sums[3] >= 50, "{sums:?}");

        // The log alone says the same.
        let mut told = [0, 0];
        for entry in entries(&mesh.control_plane.api(&OLAF).await?).await? {
            match (entry["kind"].as_str(), entry["data"]["count"].as_u64()) {
                (Some("decision"), _) => told[0] += entry["data"]["record"]["event"]["count"].as_u64().unwrap_or(1),
                (Some("decisions.lost"), Some(count)) => told[1] += count,
                (Some("decisions.recovered" | "decisions.dropped"), _) => told[1] = u64::MAX,
                _ => {}
            }
        }
        assert_eq!(told, [sums[1], sums[3]]);
        Ok(())
    });
}

/// Made, received, dropped and lost over all VMs.
async fn streams(mesh: &Mesh) -> Result<[u64; 4]> {
    let fleet = mesh.control_plane.api(&OLAF).await?.get("/v1/fleet").await?.expect(200)?;
    let mut sums = [0; 4];
    for filter in member(&fleet, "/filters")?.as_array().context("no list")? {
        for (sum, name) in sums.iter_mut().zip(["made", "received", "dropped", "lost"]) {
            *sum += filter["records"][name].as_u64().with_context(|| filter.to_string())?;
        }
    }
    Ok(sums)
}
