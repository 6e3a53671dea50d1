//! Two replicas of the control plane: filters ask one, people talk to the other, and what is proven there is so.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use grantmesh_tests::{ALICE, ControlPlane, Database, LEA, Mesh, PATIENCE, Setup, member, play, text, until};
use serde_json::{Value, json};

/// Well below the lease of 5 minutes, and below what it takes on average if replicas only look from time to time: the one that
/// answers the filters once a second, the one that waits four times.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Without wakes between processes: each of two replicas looks once a second.
const SOON: Duration = Duration::from_secs(5);

const ROUNDS: usize = 8;

#[test]
fn a_revocation_at_one_replica_is_proven_by_the_filters_of_another() {
    play(Setup { database: Database::Postgres, ..Setup::default() }, async |mesh| proven(mesh, AT_ONCE).await);
}

#[test]
fn a_revocation_by_one_process_is_proven_by_the_filters_of_another_one_on_the_same_file() {
    play(Setup::default(), async |mesh| proven(mesh, SOON).await);
}

async fn proven(mesh: &mut Mesh, bound: Duration) -> Result<()> {
    let other = mesh.control_plane.replica(mesh.parts(), &mesh.folder().join("another-control-plane")).await?;
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let account = format!("acc-{round}");
        let grant = mesh.grant(&account, "10m").await?;
        mesh.until_refund_is(&account, 200).await?;
        let begun = Instant::now();
        let answer = revoke(&other, &grant, "60s").await?;
        took.push(begun.elapsed());
        let states = states(&answer)?;
        ensure!(member(&answer, "/arrival/complete")? == true, "{answer}");
        ensure!(states.len() == 3 && states.iter().all(|state| state == "acknowledged"), "{answer}");
        for _ in 0..32 {
            ensure!(mesh.refund(&account).await?.status == 403, "it was proven to have arrived");
        }
    }
    took.sort();
    println!("proven over two replicas after {took:?}");
    ensure!(took.get(ROUNDS / 2).is_some_and(|median| *median < bound), "{took:?}");

    // What they acknowledged before proves nothing of what they cannot have heard.
    let grant = mesh.grant("acc-deaf", "10m").await?;
    mesh.until_refund_is("acc-deaf", 200).await?;
    mesh.cable.cut();
    let answer = revoke(&other, &grant, "2s").await?;
    ensure!(member(&answer, "/arrival/complete")? == false, "{answer}");
    ensure!(states(&answer)?.iter().all(|state| state == "pending"), "{answer}");

    // A wait is also ended by filters that hear of it late, and by those of a replica that began when it was open.
    let grant = mesh.grant("acc-late", "10m").await?;
    let api = other.api(&LEA).await?;
    let revoke = format!("/v1/grants/{}/revoke", text(&grant, "/id")?);
    let waiting =
        tokio::spawn(async move { api.post(&revoke, &json!({ "reason": "late", "wait": "60s" })).await?.expect(200) });
    let alice = mesh.control_plane.api(&ALICE).await?;
    let path = format!("/v1/grants/{}", text(&grant, "/id")?);
    until("it is revoked", PATIENCE, async || {
        Ok(Some(alice.get(&path).await?.expect(200)?).filter(|grant| grant["state"] == "revoked"))
    })
    .await?;
    mesh.control_plane.kill();
    mesh.control_plane.run().await?;
    ensure!(!waiting.is_finished(), "nobody has heard of it");
    mesh.cable.mend();
    let answer = waiting.await??;
    ensure!(member(&answer, "/arrival/complete")? == true, "{answer}");
    ensure!(states(&answer)?.iter().all(|state| state == "acknowledged"), "{answer}");
    mesh.until_refund_is("acc-late", 403).await?;
    mesh.envoy()?.filter_is_unharmed().await
}

async fn revoke(at: &ControlPlane, grant: &Value, wait: &str) -> Result<Value> {
    let path = format!("/v1/grants/{}/revoke", text(grant, "/id")?);
    at.api(&LEA).await?.post(&path, &json!({ "reason": "no longer needed", "wait": wait })).await?.expect(200)
}

fn states(answer: &Value) -> Result<Vec<String>> {
    let filters = member(answer, "/arrival/filters")?.as_array().map(Vec::as_slice).unwrap_or_default();
    filters.iter().map(|filter| Ok(text(filter, "/state")?.to_owned())).collect()
}
