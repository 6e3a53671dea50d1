//! A database that was restored from a backup: nothing goes back to it by itself, and somebody can go on from it.

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{ALICE, Mesh, OLAF, PATIENCE, Setup, entries, play, until};
use reqwest::Method;
use serde_json::Value;

const DATABASE: [&str; 3] = ["grantmesh.db", "grantmesh.db-wal", "grantmesh.db-shm"];

/// Copies the database's files; the control plane must not run.
pub(crate) fn copy_database(mesh: &Mesh, from: &str, to: &str) -> Result<()> {
    let folder = mesh.control_plane.folder();
    for name in DATABASE {
        let (from, to) = (folder.join(from).join(name), folder.join(to).join(name));
        if to.exists() {
            std::fs::remove_file(&to)?;
        }
        if from.exists() {
            std::fs::create_dir_all(to.parent().context("no folder")?)?;
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}

#[test]
fn a_restored_database_is_refused_until_a_new_epoch_begins() {
    play(Setup::default(), restored);
}

async fn restored(mesh: &mut Mesh) -> Result<()> {
    // The backup knows of a grant that is revoked afterwards.
    let grant = mesh.grant("acc-42", "10m").await?;
    mesh.until_refund_is("acc-42", 200).await?;
    until("the calls are recorded", PATIENCE, async || Ok((decisions(mesh).await?.len() >= 3).then_some(()))).await?;
    mesh.control_plane.stop().await?;
    copy_database(mesh, "", "backup")?;
    mesh.control_plane.run().await?;
    let kept = decisions(mesh).await?.len();
    mesh.revoke(&grant, None).await?;
    mesh.until_refund_is("acc-42", 403).await?;
    until("later calls are recorded too", PATIENCE, async || {
        Ok((decisions(mesh).await?.len() >= kept + 16).then_some(()))
    })
    .await?;

    mesh.control_plane.stop().await?;
    copy_database(mesh, "backup", "")?;
    let refused = mesh.control_plane.run().await.expect_err("it serves a database that went back");
    let told = format!("{refused:?}");
    ensure!(told.contains("restored from a backup") && told.contains("new-epoch"), "{told}");
    assert_eq!(mesh.refund("acc-42").await?.status, 403);

    // Even if that is got around, no filter takes it: not those that run, and not one that starts beside them.
    let mark = mesh.control_plane.folder().join("position.json");
    std::fs::rename(&mark, mark.with_extension("aside"))?;
    mesh.control_plane.run().await?;
    let envoy = mesh.envoy()?;
    until("the filters refuse to go back", PATIENCE, async || {
        let refused = envoy.stat("grantmesh.callouts.*(refused|rollback)").await?;
        Ok((refused >= 3).then_some(()))
    })
    .await?;
    for _ in 0..16 {
        assert_eq!(mesh.refund("acc-42").await?.status, 403);
    }
    mesh.control_plane.stop().await?;
    std::fs::rename(mark.with_extension("aside"), &mark)?;

    let begun = mesh.control_plane.offline(&["new-epoch", "--reason", "restored after the disk failed"]).await?;
    ensure!(begun.success()?.contains("begins at revision"), "{begun:?}");
    mesh.control_plane.run().await?;
    // What the backup has is in force again: that is what the operator chose, and the log says so.
    mesh.until_refund_is("acc-42", 200).await?;
    mesh.until_all_follow().await?;
    let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
    ensure!(log.iter().any(|entry| entry["kind"] == "epoch.begun"), "no entry tells of the new epoch");
    until("every stream of records goes on, and says what was lost", PATIENCE, async || {
        let kept = mesh_records(mesh).await?;
        Ok((kept == 0).then_some(()))
    })
    .await?;
    let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
    let lost =
        |entry: &&Value| entry["kind"] == "decisions.lost" && entry["data"]["why"] == "the database was restored";
    ensure!(log.iter().any(|entry| lost(&entry)), "no entry tells what was lost");
    mesh.envoy()?.filter_is_unharmed().await
}

/// Records that wait or are not acknowledged, in all VMs.
async fn mesh_records(mesh: &mut Mesh) -> Result<u64> {
    assert_eq!(mesh.call(&ALICE, Method::POST, "/v1/accounts/acc-9/refunds").await?.status, 403);
    mesh.envoy()?.stat("grantmesh.records.kept").await
}

async fn decisions(mesh: &Mesh) -> Result<Vec<Value>> {
    Ok(entries(&mesh.control_plane.api(&OLAF).await?)
        .await?
        .into_iter()
        .filter(|entry| entry["kind"] == "decision")
        .collect())
}
