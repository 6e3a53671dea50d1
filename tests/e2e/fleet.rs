//! Many filters follow one control plane.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use grantmesh_tests::fleet::{Filter, Fleet};
use grantmesh_tests::{ALICE, BOB, Mesh, OLAF, PATIENCE, PAYMENTS, Setup, member, play, until};
use serde_json::Value;
use tokio::task::LocalSet;

const SIZE: usize = 240;

const REFUND: &str = "/v1/accounts/acc-42/refunds";

#[test]
fn every_filter_of_a_fleet_follows_and_proves_it() {
    play(Setup { envoy: false, ..Setup::default() }, async |mesh| LocalSet::new().run_until(follows(mesh)).await);
}

async fn follows(mesh: &mut Mesh) -> Result<()> {
    let fleet = Fleet::start(&mesh.control_plane, SIZE).await?;
    arrives("the first policy", &fleet, |filter| filter.decide(&BOB, "GET", REFUND) == 200).await?;
    assert!(fleet.all_answer(&ALICE, "POST", REFUND, 403));

    let grant = mesh.grant("acc-42", "10m").await?;
    arrives("a grant", &fleet, |filter| filter.decide(&ALICE, "POST", REFUND) == 200).await?;
    assert!(fleet.all_answer(&BOB, "POST", REFUND, 403));

    let narrower =
        std::fs::read_to_string(PAYMENTS)?.replace("actions: [account.read, refund.list]", "actions: [account.read]");
    let file = mesh.folder().join("policy.yaml");
    std::fs::write(&file, narrower)?;
    mesh.control_plane.cli(&OLAF, &["policy", "apply", &file.display().to_string()]).await?.success()?;
    arrives("a policy without that role", &fleet, |filter| filter.decide(&BOB, "GET", REFUND) == 403).await?;

    let begun = Instant::now();
    let answer = mesh.revoke(&grant, Some(Duration::from_secs(20))).await?;
    println!("a revocation was proven by {SIZE} filters after {} ms", begun.elapsed().as_millis());
    assert!(fleet.all_answer(&ALICE, "POST", REFUND, 403), "what was proven has arrived");
    assert_eq!(member(&answer, "/arrival/complete")?, true, "{answer}");
    let mut proven = states(&answer)?;
    proven.sort();
    let mut vms: Vec<_> = fleet.filters().iter().map(|filter| (filter.vm(), "acknowledged".to_owned())).collect();
    vms.sort();
    assert_eq!(proven, vms);

    // One is cut off: the proof does not count it as told, and says so.
    let second = mesh.grant("acc-42", "10m").await?;
    arrives("another grant", &fleet, |filter| filter.decide(&ALICE, "POST", REFUND) == 200).await?;
    let lost = fleet.filters().first().context("no filter")?;
    lost.cut_off();
    let answer = mesh.revoke(&second, Some(Duration::from_secs(6))).await?;
    assert_eq!(member(&answer, "/arrival/complete")?, false, "{answer}");
    let untold: Vec<_> = states(&answer)?.into_iter().filter(|(_, state)| state != "acknowledged").collect();
    assert_eq!(untold, [(lost.vm(), "pending".to_owned())]);
    // It cannot know, but soon it refuses whatever is critical, because it knows that it cannot know.
    until("the lost one refuses", PATIENCE, async || Ok((lost.decide(&ALICE, "POST", REFUND) == 403).then_some(())))
        .await?;

    lost.connect();
    arrives("the state after the wire is whole again", &fleet, |filter| {
        filter.position() == fleet.filters().last().and_then(|last| last.position())
    })
    .await
}

/// Waits until something is true of every filter, and tells how long that took.
async fn arrives(what: &str, fleet: &Fleet, is_there: impl Fn(&Filter) -> bool) -> Result<()> {
    let begun = Instant::now();
    until(&format!("{what} reaches every filter"), PATIENCE, async || {
        Ok(fleet.filters().iter().all(|filter| is_there(filter)).then_some(()))
    })
    .await?;
    println!("{what} was with all of {SIZE} filters after {} ms", begun.elapsed().as_millis());
    Ok(())
}

/// VMs and what is said of their knowing, as a revocation's proof lists them.
fn states(answer: &Value) -> Result<Vec<(String, String)>> {
    let filters = member(answer, "/arrival/filters")?.as_array().context("`filters` is no list")?;
    let read = |filter: &Value| Some((filter["vm"].as_str()?.to_owned(), filter["state"].as_str()?.to_owned()));
    filters.iter().map(|filter| read(filter).context("a filter without `vm` or `state`")).collect()
}
