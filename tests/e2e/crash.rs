//! `kill -9` of the control plane, again and again, in the middle of writes: what it has acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, Api, Database, LEA, Mesh, OLAF, PATIENCE, Setup, play, text, until_every};
use serde_json::{Value, json};

const KILLS: u64 = 12;
const WRITERS: u64 = 4;

#[test]
fn nothing_acknowledged_is_lost() {
    play(Setup { envoy: false, ..Setup::default() }, nothing_is_lost);
}

#[test]
fn nothing_acknowledged_is_lost_on_postgres() {
    play(Setup { envoy: false, database: Database::Postgres, ..Setup::default() }, nothing_is_lost);
}

/// What was acknowledged last, by the path under which it is found.
type Acknowledged = Arc<Mutex<BTreeMap<String, &'static str>>>;

async fn nothing_is_lost(mesh: &mut Mesh) -> Result<()> {
    let acknowledged = Acknowledged::default();
    let count = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
    for round in 0..KILLS {
        let (alice, lea) = (mesh.control_plane.api(&ALICE).await?, mesh.control_plane.api(&LEA).await?);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                tokio::spawn(write_until_it_breaks(
                    alice.clone(),
                    lea.clone(),
                    round * WRITERS + writer,
                    Arc::clone(&acknowledged),
                ))
            })
            .collect();
        // With four writers at work, any number of acknowledged writes is a moment within another one.
        let enough = count() + 3 + usize::try_from(RandomState::new().hash_one(round) % 20)?;
        until_every(Duration::from_millis(1), "writes are acknowledged", PATIENCE, async || {
            Ok((count() >= enough).then_some(()))
        })
        .await?;
        mesh.control_plane.kill();
        for writer in writers {
            writer.await?.context("a write was refused")?;
        }
        mesh.control_plane.run().await?;
        verify(mesh).await.with_context(|| format!("after kill {round}"))?;
    }
    let api = mesh.control_plane.api(&LEA).await?;
    let told = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!("{} acknowledged writes over {KILLS} kills", told.len());
    assert!(
        told.values().any(|state| *state == "revoked") && told.values().any(|state| *state == "pending"),
        "{told:?}"
    );
    for (path, state) in told {
        let found = api.get(&path).await?.expect(200)?;
        // A write that was cut off may have been kept: a state may be further than what was acknowledged, never behind.
        let allowed: &[&str] = match state {
            "pending" => &["pending", "approved"],
            "approved" => &["approved"],
            "active" => &["active", "revoked"],
            _ => &["revoked"],
        };
        assert!(allowed.contains(&text(&found, "/state")?), "{path} was acknowledged as {state}: {found}");
    }
    Ok(())
}

/// Asks, approves and revokes until the connection breaks; any answer but success is an error.
async fn write_until_it_breaks(alice: Api, lea: Api, writer: u64, acknowledged: Acknowledged) -> Result<()> {
    let keep = |path: String, state| acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(path, state);
    for round in 0.. {
        let ask = json!({
            "service": "payments", "action": "refund.create", "resource": format!("account/acc-{writer}-{round}"),
            "justification": "the customer was charged twice", "duration": "15m",
        });
        let Ok(reply) = alice.post("/v1/requests", &ask).await else { break };
        let request = reply.expect(201)?;
        let path = format!("/v1/requests/{}", text(&request, "/id")?);
        keep(path.clone(), "pending");
        if round % 4 == 3 {
            continue;
        }
        let review = json!({ "verdict": "approve", "reason": "seen the ticket" });
        let Ok(reply) = lea.review(&format!("{path}/reviews"), &review).await else { break };
        let decided = reply.expect(201)?;
        keep(path, "approved");
        let grant = format!("/v1/grants/{}", text(&decided, "/grant/id")?);
        keep(grant.clone(), "active");
        if round % 2 == 0 {
            let Ok(reply) = lea.post(&format!("{grant}/revoke"), &json!({ "reason": "done" })).await else { break };
            reply.expect(200)?;
            keep(grant, "revoked");
        }
    }
    Ok(())
}

async fn verify(mesh: &Mesh) -> Result<Value> {
    mesh.control_plane.cli(&OLAF, &["audit", "verify", "--json"]).await?.json()
}
