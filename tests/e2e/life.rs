//! The whole life of a permission, by the command line alone, as somebody at a terminal would live it.

use anyhow::Result;
use grantmesh_tests::{ALICE, Database, LEA, Mesh, OLAF, PATIENCE, Setup, play, text, until};

#[test]
fn refused_asked_for_approved_let_through_ended_recorded() {
    play(Setup::default(), life);
}

#[test]
fn refused_asked_for_approved_let_through_ended_recorded_on_postgres() {
    play(Setup { database: Database::Postgres, ..Setup::default() }, life);
}

async fn life(mesh: &mut Mesh) -> Result<()> {
    let refusal = mesh.refund("acc-42").await?;
    refusal.problem(403)?;
    let challenge = refusal.json()?;
    let ask =
        ["request", "--from-url", text(&challenge, "/request_url")?, "--justification", "charged twice", "--json"];
    let request = mesh.control_plane.cli(&ALICE, &ask).await?.json()?;
    let id = text(&request, "/id")?;
    assert_eq!(mesh.control_plane.cli(&ALICE, &["approve", id]).await?.code, 1);
    let approved =
        mesh.control_plane.cli(&LEA, &["approve", id, "--reason", "seen the ticket", "--json"]).await?.json()?;
    let grant = text(&approved, "/grant/id")?;
    mesh.until_refund_is("acc-42", 200).await?;
    assert_eq!(mesh.refund("acc-43").await?.status, 403);

    let listed = mesh.control_plane.cli(&ALICE, &["grants", "--state", "active"]).await?;
    assert!(listed.success()?.contains(grant), "{listed:?}");
    let fleet = mesh.control_plane.cli(&OLAF, &["fleet"]).await?;
    assert!(fleet.success()?.contains("payments-1"), "{fleet:?}");

    let revoked = mesh
        .control_plane
        .cli(&LEA, &["revoke", grant, "--reason", "wrong account", "--wait", "--json"])
        .await?
        .json()?;
    assert_eq!(revoked.pointer("/arrival/complete"), Some(&true.into()), "{revoked}");
    assert_eq!(mesh.refund("acc-42").await?.status, 403);

    until("the log's tail tells what was done and what was decided", PATIENCE, async || {
        let tail = mesh.control_plane.cli(&OLAF, &["audit", "tail", "--limit", "200"]).await?;
        let admitted = tail.success()?.lines().any(|line| line.contains("allow alice refund.create account/acc-42"));
        Ok((admitted && tail.out.contains(grant) && tail.out.contains(id)).then_some(()))
    })
    .await?;
    mesh.control_plane.cli(&OLAF, &["audit", "verify"]).await?.success()?;
    assert_ne!(mesh.control_plane.cli(&ALICE, &["audit", "tail"]).await?.code, 0, "the log is not everybody's");
    mesh.envoy()?.filter_is_unharmed().await?;

    // What the store keeps is what the tables say: a clean stop and a new start change nothing.
    mesh.control_plane.stop().await?;
    mesh.control_plane.run().await?;
    let again = mesh.control_plane.cli(&ALICE, &["grants", "--json"]).await?;
    assert!(again.success()?.contains(grant) && again.out.contains("revoked"), "{again:?}");
    Ok(())
}
