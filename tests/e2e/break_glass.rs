//! Act now, answer later: the glass is broken, the call passes, everything of it is marked, and somebody else looks at it.

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, Database, LEA, MALLORY, Mesh, OLAF, PATIENCE, Setup, entries, play, text, until};
use serde_json::Value;

/// Alice has the right, and is even among those who review it.
const RIGHT: &str = r#"
---
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: emergency }
spec:
  service: payments
  actions: [refund.create]
  subjects: ["group:support"]
  maxDuration: 30m
  reviewers: ["group:payments-leads", "group:support"]
  reviewWithin: 24h
"#;

#[test]
fn the_glass_is_broken_and_somebody_else_looks_at_it() {
    play(Setup::default(), broken);
}

#[test]
fn the_glass_is_broken_and_somebody_else_looks_at_it_over_postgres() {
    play(Setup { database: Database::Postgres, ..Setup::default() }, broken);
}

async fn broken(mesh: &mut Mesh) -> Result<()> {
    let file = mesh.folder().join("with-right.yaml");
    std::fs::write(&file, std::fs::read_to_string(grantmesh_tests::PAYMENTS)? + RIGHT)?;
    mesh.control_plane.cli(&OLAF, &["policy", "apply", &file.display().to_string(), "--wait"]).await?.success()?;
    mesh.refund("acc-42").await?.problem(403)?;
    let glass = ["break-glass", "--service", "payments", "--method", "POST", "--path", "/v1/accounts/acc-42/refunds"];
    let with = |more: &[&'static str]| [&glass[..], more].concat();

    // It is a right of its own, for a reason.
    let reason = with(&["--reason", "the bank is on fire", "--json"]);
    for other in [&LEA, &MALLORY, &OLAF] {
        let refused = mesh.control_plane.cli(other, &reason).await?;
        assert!(refused.code == 1 && refused.err.contains("break-glass right"), "{refused:?}");
    }
    assert_ne!(mesh.control_plane.cli(&ALICE, &with(&["--reason", " "])).await?.code, 0);
    mesh.refund("acc-42").await?.problem(403)?;

    let broke = mesh.control_plane.cli(&ALICE, &reason).await?.json()?;
    let (grant, review) = (text(&broke, "/grant/id")?, text(&broke, "/post_review/id")?);
    mesh.until_refund_is("acc-42", 200).await?;
    mesh.refund("acc-43").await?.problem(403)?;
    assert!(mesh.upstream.count() > 0);

    // Whatever passes by it says so in the log, and nothing else does.
    let log = until("the call is on record as one by broken glass", PATIENCE, async || {
        let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
        Ok(log.iter().any(is_marked).then_some(log))
    })
    .await?;
    for entry in log.iter().filter(|entry| is_marked(entry)) {
        let event = &entry["data"]["record"]["event"];
        assert_eq!((&event["decision"], &event["grant"]), (&"allow".into(), &grant.into()), "{entry}");
    }
    let kinds: Vec<&str> = log.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    for kind in ["break_glass.used", "post_review.opened"] {
        assert_eq!(kinds.iter().filter(|known| **known == kind).count(), 1, "{kinds:?}");
    }
    let shown = mesh.control_plane.cli(&LEA, &["grants", "show", grant]).await?;
    assert!(shown.success()?.contains("/v1/accounts/acc-42/refunds"), "{shown:?}");

    // Somebody else says whether it was right.
    let open = mesh.control_plane.cli(&LEA, &["post-review", "list", "--state", "open"]).await?;
    assert!(open.success()?.contains(review), "{open:?}");
    let own = mesh.control_plane.cli(&ALICE, &["post-review", "accept", review]).await?;
    assert!(own.code == 1 && own.err.contains("nobody reviews what they did themselves"), "{own:?}");
    for stranger in [&MALLORY, &OLAF] {
        assert_eq!(mesh.control_plane.cli(stranger, &["post-review", "accept", review]).await?.code, 1);
    }
    let accept = ["post-review", "accept", review, "--reason", "it was", "--json"];
    let accepted = mesh.control_plane.cli(&LEA, &accept).await?.json()?;
    assert_eq!((&accepted["state"], &accepted["decided_by"]["subject"]), (&"accepted".into(), &"lea".into()));
    let late = mesh.control_plane.cli(&LEA, &["post-review", "dispute", review, "--reason", "no"]).await?;
    assert_eq!(late.code, 1, "{late:?}");
    let listed = mesh.control_plane.cli(&LEA, &["post-review", "list", "--state", "open"]).await?;
    assert!(!listed.success()?.contains(review), "{listed:?}");

    // Its grant ends like any other.
    let revoke = ["revoke", grant, "--reason", "the fire is out", "--wait", "--json"];
    let revoked = mesh.control_plane.cli(&LEA, &revoke).await?.json()?;
    assert_eq!(revoked.pointer("/arrival/complete"), Some(&true.into()), "{revoked}");
    mesh.refund("acc-42").await?.problem(403)?;
    mesh.control_plane.cli(&OLAF, &["audit", "verify"]).await?.success()?;
    mesh.envoy()?.filter_is_unharmed().await.context("the filter")
}

/// Whether an entry is the record of a call that broken glass let through.
fn is_marked(entry: &Value) -> bool {
    entry.pointer("/data/record/event/break_glass") == Some(&true.into())
}
