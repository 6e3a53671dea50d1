//! What a rule decides by itself, in a real proxy: a call is refused, asked for, approved without people while a signal says
//! so, and waits for them again when it does no longer.

use anyhow::{Result, ensure};
use grantmesh_tests::{ALICE, LEA, Mesh, Setup, play, text};
use serde_json::Value;

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/automatic/policy.yaml");

#[test]
fn approved_while_a_signal_says_so_and_by_people_when_it_does_no_longer() {
    play(Setup { policy: POLICY, ..Setup::default() }, story);
}

async fn story(mesh: &mut Mesh) -> Result<()> {
    let refused = mesh.refund("acc-1").await?;
    refused.problem(403)?;
    let waiting = ask(mesh, text(&refused.json()?, "/request_url")?).await?;
    ensure!(waiting["state"] == "pending", "no incident is open: {waiting}");

    signal(mesh, &["signal", "set", "incident.open", "--reason", "PAY-7", "--duration", "1h"]).await?;
    let refused = mesh.refund("acc-2").await?;
    refused.problem(403)?;
    let approved = ask(mesh, text(&refused.json()?, "/request_url")?).await?;
    ensure!(approved["state"] == "approved", "an incident is open: {approved}");
    ensure!(approved.pointer("/automatic/name") == Some(&"in-incident".into()), "{approved}");
    mesh.until_refund_is("acc-2", 200).await?;
    ensure!(mesh.refund("acc-1").await?.status == 403, "what was filed before is for people");

    // With the signal gone the next one waits, and people decide both.
    signal(mesh, &["signal", "clear", "incident.open"]).await?;
    let refused = mesh.refund("acc-3").await?;
    refused.problem(403)?;
    let waits = ask(mesh, text(&refused.json()?, "/request_url")?).await?;
    ensure!(waits["state"] == "pending", "the incident is over: {waits}");
    mesh.approve(&waits).await?;
    mesh.until_refund_is("acc-3", 200).await?;
    let grant = text(&approved, "/grant")?.to_owned();
    let revoke = ["revoke", grant.as_str(), "--reason", "over", "--wait"];
    mesh.control_plane.cli(&LEA, &revoke).await?.success()?;
    ensure!(mesh.refund("acc-2").await?.status == 403, "people have the last word");
    mesh.envoy()?.filter_is_unharmed().await
}

async fn ask(mesh: &Mesh, url: &str) -> Result<Value> {
    let ask = ["request", "--from-url", url, "--justification", "charged twice", "--json"];
    mesh.control_plane.cli(&ALICE, &ask).await?.json()
}

async fn signal(mesh: &Mesh, arguments: &[&str]) -> Result<()> {
    mesh.control_plane.cli(&LEA, arguments).await?.success().map(drop)
}
