//! Ended: by its time, by a reviewer, by its holder. Afterwards the call is refused again, and a proof says who knows.

use std::time::Duration;

use anyhow::Result;
use grantmesh_tests::{ALICE, BOB, LEA, PATIENCE, Setup, member, play, text, until};
use serde_json::{Value, json};

#[test]
fn a_grant_ends_by_its_time() {
    play(Setup::default(), async |mesh| {
        let grant = mesh.grant("acc-42", "4s").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        mesh.until_refund_is("acc-42", 403).await?;
        let problem = mesh.refund("acc-42").await?.json()?;
        let reasons = member(&problem, "/reasons")?.to_string();
        let served = mesh.upstream.count();
        assert!(reasons.contains("grant_ended") || reasons.contains("may_ask"), "{problem}");

        let api = mesh.control_plane.api(&ALICE).await?;
        let path = format!("/v1/grants/{}", text(&grant, "/id")?);
        let ended = until("the grant is told to be expired", PATIENCE, async || {
            Ok(Some(api.get(&path).await?.expect(200)?).filter(|grant| grant["state"] == "expired"))
        })
        .await?;
        assert_eq!(ended["expires_at"], grant["expires_at"]);
        assert_eq!(mesh.upstream.count(), served);
        Ok(())
    });
}

#[test]
fn a_revocation_is_proven_by_every_vm() {
    play(Setup::default(), async |mesh| {
        let grant = mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;

        let bob = mesh.control_plane.api(&BOB).await?;
        let revoke = format!("/v1/grants/{}/revoke", text(&grant, "/id")?);
        bob.post(&revoke, &json!({ "reason": "envy" })).await?.problem(404)?;

        let answer = mesh.revoke(&grant, Some(Duration::from_secs(30))).await?;
        assert_eq!(text(&answer, "/grant/state")?, "revoked");
        assert_eq!(text(&answer, "/grant/ended_by/subject").or_else(|_| text(&answer, "/grant/ended_by"))?, "lea");
        let served = mesh.upstream.count();
        for _ in 0..32 {
            assert_eq!(mesh.refund("acc-42").await?.status, 403, "it was proven to have arrived");
        }
        assert_eq!(mesh.upstream.count(), served);
        everybody_acknowledged(&answer)?;

        let lea = mesh.control_plane.api(&LEA).await?;
        assert_eq!(lea.post(&revoke, &json!({ "reason": "again" })).await?.problem(409)?, "already_ended");
        Ok(())
    });
}

/// Both workers and the main thread.
fn everybody_acknowledged(answer: &Value) -> Result<()> {
    assert_eq!(member(answer, "/arrival/complete")?, true, "{answer}");
    let filters = member(answer, "/arrival/filters")?.as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(filters.len(), 3, "{answer}");
    assert!(filters.iter().all(|filter| filter["state"] == "acknowledged"), "{answer}");
    Ok(())
}

#[test]
fn a_holder_may_give_a_grant_back() {
    play(Setup::default(), async |mesh| {
        let grant = mesh.grant("acc-42", "10m").await?;
        let id = text(&grant, "/id")?;
        mesh.until_refund_is("acc-42", 200).await?;
        assert_ne!(mesh.control_plane.cli(&BOB, &["release", id]).await?.code, 0);
        mesh.control_plane.cli(&ALICE, &["release", id]).await?.success()?;
        mesh.until_refund_is("acc-42", 403).await?;
        let told = mesh.control_plane.cli(&ALICE, &["grants", "--json"]).await?.json()?;
        assert!(told.to_string().contains("\"released\""), "{told}");
        Ok(())
    });
}
