//! Lost: a VM of the filter dies under a call. Nothing passes because of it, and the proxy starts another one, which knows nothing
//! until it has asked.

use std::path::Path;

use anyhow::{Context as _, Result};
use grantmesh_tests::poison::{DEADLY_HEADERS, poisoned};
use grantmesh_tests::{ALICE, BOB, MALLORY, Mesh, PATIENCE, Person, Served, Setup, Weather, play, raw, text, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::restored::copy_database;

const READ: &str = "/v1/accounts/acc-42";

/// Loads the module from the story's folder.
fn load_from_folder(config: &mut Value, folder: &Path) {
    let filter =
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/1/typed_config/config";
    if let Some(filter) = config.pointer_mut(filter) {
        filter["vm_config"]["code"]["local"]["filename"] = json!(folder.join("poisoned.wasm"));
    }
}

/// A call that no VM survives.
fn deadly(token: &str, path: &str) -> Vec<u8> {
    let mut call = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {token}\r\n");
    for at in 0..=DEADLY_HEADERS {
        call.push_str(&format!("x-{at}: 1\r\n"));
    }
    call.push_str("\r\n");
    call.into_bytes()
}

/// Starts an Envoy whose filter can be killed.
async fn start_deadly_envoy(mesh: &mut Mesh) -> Result<()> {
    let module = poisoned(&std::fs::read(&mesh.parts().filter)?)?;
    std::fs::write(mesh.folder().join("poisoned.wasm"), module)?;
    mesh.start_envoy().await?;
    mesh.until_all_follow().await
}

#[test]
fn a_lost_vm_lets_nothing_through_and_is_replaced() {
    let setup = Setup { envoy: false, change: load_from_folder, ..Setup::default() };
    play(setup, async |mesh| {
        start_deadly_envoy(mesh).await?;
        let grant = mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        // What ends while no VM is there to hear of it has ended for the next one.
        let mut reloads = 0;
        let mallory = format!("Bearer {}", mesh.control_plane.token(&MALLORY).await?);
        let mut waiting = Vec::new();
        for round in 0..2 {
            // Calls that wait in the proxy for a state that never comes: their VM is gone before they are answered.
            for _ in 0..8 {
                let mut stream = TcpStream::connect(mesh.envoy()?.address()).await?;
                let call = format!(
                    "GET {READ} HTTP/1.1\r\nhost: a\r\nauthorization: {mallory}\r\nx-grantmesh-revision: 99999999999999.0\r\n\r\n"
                );
                stream.write_all(call.as_bytes()).await?;
                waiting.push(stream);
            }
            kill_every_worker(mesh).await?;
            if round == 1 {
                mesh.revoke(&grant, None).await?;
            }
            let served = mesh.upstream.count();
            let mut refused = 0;
            until("the filter is there again on every worker", PATIENCE, async || {
                for _ in 0..16 {
                    assert_ne!(status(mesh, &MALLORY).await?, 200, "nobody let her in");
                    if status(mesh, &BOB).await? != 200 {
                        refused += 1;
                        return Ok(None);
                    }
                }
                Ok(Some(()))
            })
            .await?;
            println!("round {round}: {refused} calls refused until the filter was back");
            assert!(mesh.upstream.served().iter().skip(served).all(|call| call.method == "GET"));
            let counted = mesh.envoy()?.stat("^wasm.grantmesh.vm_reload_success").await?;
            assert!(counted > reloads, "{:?}", mesh.envoy()?.stats("^wasm").await?);
            reloads = counted;
            let expected = if round == 0 { 200 } else { 403 };
            mesh.until_refund_is("acc-42", expected).await?;
        }
        let bears = |call: &Served| call.headers.get("authorization").is_some_and(|token| token == &*mallory);
        assert!(!mesh.upstream.served().iter().any(bears), "a call that waited was let through when its VM died");
        Ok(())
    });
}

#[test]
fn what_was_told_before_a_vm_was_lost_binds_the_next_one() {
    play(Setup { envoy: false, change: load_from_folder, ..Setup::default() }, bound_by_what_was_told);
}

async fn bound_by_what_was_told(mesh: &mut Mesh) -> Result<()> {
    // The first table that any VM gets has the grant in it, and so has the backup.
    let grant = mesh.grant("acc-42", "20m").await?;
    mesh.control_plane.stop().await?;
    copy_database(mesh, "", "backup")?;
    mesh.control_plane.run().await?;
    start_deadly_envoy(mesh).await?;
    mesh.until_refund_is("acc-42", 200).await?;

    // A VM that is lost is followed by one that takes the table from the proxy and only has it confirmed.
    let loaded = mesh.cable.snapshots();
    reload(mesh).await?;
    mesh.until_refund_is("acc-42", 200).await?;
    assert_eq!(mesh.cable.snapshots(), loaded, "the table was sent again");
    // The table that the proxy keeps is behind what VMs were told since, and only a step is sent.
    mesh.revoke(&grant, None).await?;
    mesh.until_refund_is("acc-42", 403).await?;
    let steps = mesh.cable.deltas();
    reload(mesh).await?;
    until_it_serves(mesh).await?;
    assert_eq!((mesh.cable.snapshots(), mesh.refund("acc-42").await?.status), (loaded, 403));
    assert!(mesh.cable.deltas() > steps, "it caught up by a step");

    // The answer by which the grant once came, signed as it was, is none to a new VM's question.
    mesh.cable.make(Weather::First);
    reload(mesh).await?;
    until_refused(mesh, "grantmesh.callouts.*nonce").await?;
    mesh.cable.mend();
    until_it_serves(mesh).await?;

    // A control plane that went back answers the new VM's own question, and is not believed: the point is the proxy's.
    mesh.control_plane.stop().await?;
    let mark = mesh.control_plane.folder().join("position.json");
    std::fs::rename(&mark, mark.with_extension("aside"))?;
    copy_database(mesh, "", "latest")?;
    copy_database(mesh, "backup", "")?;
    mesh.control_plane.run().await?;
    let api = mesh.control_plane.api(&ALICE).await?;
    let kept = api.get(&format!("/v1/grants/{}", text(&grant, "/id")?)).await?.expect(200)?;
    assert_eq!(kept["state"], "active", "this is what a filter that believes it would let through");
    reload(mesh).await?;
    until_refused(mesh, "grantmesh.callouts.*rollback").await?;

    mesh.control_plane.stop().await?;
    copy_database(mesh, "latest", "")?;
    std::fs::rename(mark.with_extension("aside"), &mark)?;
    mesh.control_plane.run().await?;
    until_it_serves(mesh).await?;
    assert_eq!(mesh.refund("acc-42").await?.status, 403);
    Ok(())
}

/// Loses the VMs of the workers until two of them were replaced.
async fn reload(mesh: &mut Mesh) -> Result<()> {
    let reloads = mesh.envoy()?.stat("^wasm.grantmesh.vm_reload_success").await?;
    until("lost VMs are replaced", PATIENCE, async || {
        kill_every_worker(mesh).await?;
        Ok((mesh.envoy()?.stat("^wasm.grantmesh.vm_reload_success").await? >= reloads + 2).then_some(()))
    })
    .await
}

/// Waits until VMs refused answers for this reason again and again; meanwhile the revoked grant lets nothing through.
async fn until_refused(mesh: &mut Mesh, reason: &str) -> Result<()> {
    let before = mesh.envoy()?.stat(reason).await?;
    until(&format!("answers are refused: {reason}"), PATIENCE, async || {
        for _ in 0..8 {
            assert_ne!(mesh.refund("acc-42").await?.status, 200, "it went back to before the revocation");
        }
        Ok((mesh.envoy()?.stat(reason).await? >= before + 6).then_some(()))
    })
    .await
}

/// Waits until what a role allows is let through on every worker.
async fn until_it_serves(mesh: &mut Mesh) -> Result<()> {
    until("the filter is there again on every worker", PATIENCE, async || {
        for _ in 0..16 {
            assert_ne!(mesh.refund("acc-42").await?.status, 200);
            if status(mesh, &BOB).await? != 200 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
}

/// Kills VMs until each of the two workers has lost one: the deadly call itself must never be served.
async fn kill_every_worker(mesh: &mut Mesh) -> Result<()> {
    let (token, address) = (mesh.control_plane.token(&ALICE).await?, mesh.envoy()?.address());
    let served = mesh.upstream.count();
    for _ in 0..24 {
        let reply = raw::exchange(address, &deadly(&token, READ)).await?;
        let status = reply.status().with_context(|| format!("no answer: {}", reply.text()))?;
        assert!(status == 403 || (500..600).contains(&status), "{}", reply.text());
    }
    assert_eq!(mesh.upstream.count(), served, "a call under which the filter died was let through");
    Ok(())
}

async fn status(mesh: &mut Mesh, person: &Person) -> Result<u16> {
    Ok(mesh.call(person, Method::GET, READ).await?.status)
}
