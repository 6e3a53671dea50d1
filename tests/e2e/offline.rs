//! The control plane is gone, and somebody has a token for just that: their calls go on, marked, until it is back and somebody
//! else is told to look at them.

use anyhow::{Context as _, Result};
use grantmesh_shared::wire::offline::OFFLINE_HEADER;
use grantmesh_tests::{ALICE, Database, LEA, MALLORY, Mesh, OLAF, PATIENCE, Setup, entries, play, text, until};
use reqwest::Method;
use serde_json::Value;

use crate::outage::has_reason;

/// Alice has the right, and may have tokens signed.
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
  reviewers: ["group:payments-leads"]
  offline: 12h
"#;

const PATH: &str = "/v1/accounts/acc-42/refunds";

#[test]
fn a_token_lets_its_owner_through_while_the_control_plane_is_gone() {
    play(Setup::default(), offline);
}

#[test]
fn a_token_lets_its_owner_through_while_the_control_plane_is_gone_over_postgres() {
    play(Setup { database: Database::Postgres, ..Setup::default() }, offline);
}

async fn offline(mesh: &mut Mesh) -> Result<()> {
    let file = mesh.folder().join("with-right.yaml");
    std::fs::write(&file, std::fs::read_to_string(grantmesh_tests::PAYMENTS)? + RIGHT)?;
    mesh.control_plane.cli(&OLAF, &["policy", "apply", &file.display().to_string(), "--wait"]).await?.success()?;
    let issue = ["offline-token", "issue", "--service", "payments", "--reason", "on call", "--json"];
    for other in [&LEA, &MALLORY, &OLAF] {
        let refused = mesh.control_plane.cli(other, &issue).await?;
        assert!(refused.code == 1 && refused.err.contains("break-glass right"), "{refused:?}");
    }
    let issued = mesh.control_plane.cli(&ALICE, &issue).await?.json()?;
    let (token, grant) = (text(&issued, "/token")?.to_owned(), text(&issued, "/grant")?.to_owned());
    let listed = mesh.control_plane.cli(&ALICE, &["offline-token", "list"]).await?;
    assert!(listed.success()?.contains(&grant) && !listed.out.contains(&token), "{listed:?}");

    let plain = mesh.caller(&ALICE).await?;
    let alice = plain.carrying(OFFLINE_HEADER, &token)?;
    let mallory = mesh.caller(&MALLORY).await?.carrying(OFFLINE_HEADER, &token)?;
    let forged = token.replacen(token.get(..1).unwrap_or_default(), "f", 1);
    let forged = plain.carrying(OFFLINE_HEADER, &forged)?;
    // While the control plane is heard a token is nothing, and the service never sees it.
    alice.send(Method::POST, PATH, None).await?.expect(403)?;
    alice.get("/v1/accounts/acc-42").await?.expect(200)?;
    let seen = mesh.upstream.served().pop().context("a call was served")?;
    assert!(!seen.headers.contains_key(OFFLINE_HEADER), "{:?}", seen.headers);

    mesh.control_plane.kill();
    until(
        "every worker knows that the control plane is gone, and lets the token's owner through",
        PATIENCE,
        async || {
            for _ in 0..16 {
                if alice.reconnected()?.send(Method::POST, PATH, None).await?.status != 200 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        },
    )
    .await?;
    let served = mesh.upstream.count();
    let seen = mesh.upstream.served().pop().context("the call was served")?;
    assert!(!seen.headers.contains_key(OFFLINE_HEADER), "{:?}", seen.headers);
    for (caller, code) in [(&plain, "stale"), (&mallory, "offline_other_user"), (&forged, "offline_malformed")] {
        let refused = caller.reconnected()?.send(Method::POST, PATH, None).await?.expect(403)?;
        assert!(has_reason(&refused, code), "{code}: {refused}");
    }
    let other = alice.reconnected()?.send(Method::DELETE, "/v1/accounts/acc-42", None).await?;
    assert!(other.status >= 400, "the token is not for closing accounts: {}", other.text());
    assert_eq!(mesh.upstream.count(), served);

    // It is back: what was done is broken glass like any other.
    mesh.control_plane.run().await?;
    let log = until("the call is on record as one without the control plane", PATIENCE, async || {
        let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
        Ok(log.iter().any(is_marked).then_some(log))
    })
    .await?;
    let kinds: Vec<&str> = log.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    for kind in ["offline_token.issued", "break_glass.used", "post_review.opened"] {
        assert_eq!(kinds.iter().filter(|known| **known == kind).count(), 1, "{kinds:?}");
    }
    let marked = log.iter().find(|entry| is_marked(entry)).context("it is there")?;
    assert_eq!(marked.pointer("/data/record/event/break_glass"), Some(&true.into()), "{marked}");
    assert!(!log.iter().any(|entry| entry.to_string().contains(&token)), "a token is in the log");
    let open = mesh.control_plane.cli(&LEA, &["post-review", "list", "--state", "open", "--json"]).await?.json()?;
    assert_eq!((&open["items"][0]["grant"], &open["items"][0]["said"]), (&grant.as_str().into(), &"on call".into()));
    // Its grant goes on for a while, and ends like any other; then the token is nothing again.
    mesh.until_refund_is("acc-42", 200).await?;
    let revoke = ["revoke", &grant, "--reason", "the fire is out", "--wait", "--json"];
    let revoked = mesh.control_plane.cli(&LEA, &revoke).await?.json()?;
    assert_eq!(revoked.pointer("/arrival/complete"), Some(&true.into()), "{revoked}");
    alice.reconnected()?.send(Method::POST, PATH, None).await?.expect(403)?;
    mesh.control_plane.cli(&OLAF, &["audit", "verify"]).await?.success()?;
    mesh.envoy()?.filter_is_unharmed().await.context("the filter")
}

/// Whether an entry is the record of a call that a token let through.
fn is_marked(entry: &Value) -> bool {
    entry.pointer("/data/record/event/offline") == Some(&true.into())
}
