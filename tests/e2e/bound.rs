//! Bound to what a call is: what the reviewer saw is what runs, as often as it is called until the grant ends, and nothing else.

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, Api, BOB, LEA, Mesh, PATIENCE, Reply, play, text, until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bodies::{reason, strict};

const TRANSFER: &str = "/v1/transfers?batch=7";

const BODY: &str = r#"{"amount": 480.50, "to": {"iban": "DE1\u001b[2J"}, "note": "rent"}"#;

async fn send(caller: &Api, ticket: &str, target: &str, body: &str) -> Result<Reply> {
    let caller = caller.reconnected()?.carrying("x-ticket", ticket)?;
    caller.send_bytes(Method::POST, target, Some(body.as_bytes().to_vec())).await
}

#[test]
fn a_call_is_shown_filed_reviewed_and_admitted_as_that_very_call() {
    play(strict(), bound_to_one_call);
}

async fn bound_to_one_call(mesh: &mut Mesh) -> Result<()> {
    let alice = mesh.caller(&ALICE).await?;
    let challenge = send(&alice, "PAY-7", TRANSFER, BODY).await?.expect(403)?;
    let shown = &challenge["bound"]["call"];
    let expected = json!({
        "method": "POST", "target": TRANSFER, "headers": { "x-ticket": "PAY-7" },
        "fields": { "amount": { "number": "480.5" }, "iban": { "text": "DE1\u{1b}[2J" } },
    });
    assert_eq!(shown, &expected, "exactly the bound parts: {challenge}");
    let url = text(&challenge, "/request_url")?.to_owned();
    let behind = url.split('#').nth(1).context("the call stands behind the `#`")?;
    assert!(behind.starts_with("call=") && !url.split('#').next().unwrap_or_default().contains("480"), "{url}");

    // Without the call it cannot be filed, and not with another one either.
    let api = mesh.control_plane.api(&ALICE).await?;
    let with = |call: Value| {
        json!({
            "service": "payments", "action": "transfer.create", "resource": "transfers", "justification": "rent", "call": call,
        })
    };
    assert_eq!(api.post("/v1/requests", &with(Value::Null)).await?.problem(422)?, "call_not_shown");
    let mut elsewhere = shown.clone();
    elsewhere["target"] = json!("/v1/notes");
    assert_eq!(api.post("/v1/requests", &with(elsewhere)).await?.problem(422)?, "call_not_bound");

    let file = ["request", "--from-url", &url, "--justification", "rent", "--json"];
    let request = mesh.control_plane.cli(&ALICE, &file).await?.json()?;
    let id = text(&request, "/id")?;
    assert_eq!(request["call"], expected);
    assert_eq!(
        request["call_digest"], challenge["bound"]["digest"],
        "what the filter computed, the control plane did, too"
    );
    let seen = mesh.control_plane.cli(&LEA, &["request", "show", id]).await?.success()?.to_owned();
    for line in ["call = POST /v1/transfers?batch=7", "header x-ticket = PAY-7", "field amount = 480.5"] {
        assert!(seen.contains(line), "the reviewer sees `{line}`: {seen}");
    }
    assert!(seen.contains("DE1") && !seen.contains('\u{1b}'), "no control character reaches the terminal: {seen:?}");

    let grant = mesh.approve(&request).await?;
    assert_eq!(grant["call_digest"], request["call_digest"]);
    until("that very call is let through", PATIENCE, async || {
        for _ in 0..8 {
            if send(&alice, "PAY-7", TRANSFER, BODY).await?.status != 200 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    mutations(mesh, &alice).await?;
    mesh.envoy()?.filter_is_unharmed().await
}

/// Every bound part, changed; and what is not bound.
async fn mutations(mesh: &mut Mesh, alice: &Api) -> Result<()> {
    let iban = "DE1\\u001b[2J";
    let body =
        |amount: &str, iban: &str, rest: &str| format!("{{\"amount\":{amount},\"to\":{{\"iban\":\"{iban}\"}}{rest}}}");
    for (what, ticket, target, body) in [
        ("the amount", "PAY-7", TRANSFER, body("480.51", iban, "")),
        ("the amount, larger", "PAY-7", TRANSFER, body("4805.0", iban, "")),
        ("the amount, as a text", "PAY-7", TRANSFER, body("\"480.5\"", iban, "")),
        ("the receiver", "PAY-7", TRANSFER, body("480.5", "DE2", "")),
        ("the receiver, in other letters", "PAY-7", TRANSFER, body("480.5", "de1\\u001b[2J", "")),
        ("the receiver, with a blank", "PAY-7", TRANSFER, body("480.5", "DE1\\u001b[2J ", "")),
        ("no receiver", "PAY-7", TRANSFER, r#"{"amount":480.5}"#.to_owned()),
        ("no body", "PAY-7", TRANSFER, String::new()),
        ("the ticket", "PAY-8", TRANSFER, body("480.5", iban, "")),
        ("the ticket, in other letters", "pay-7", TRANSFER, body("480.5", iban, "")),
        ("the query", "PAY-7", "/v1/transfers?batch=8", body("480.5", iban, "")),
        ("no query", "PAY-7", "/v1/transfers", body("480.5", iban, "")),
        ("more query", "PAY-7", "/v1/transfers?batch=7&x=1", body("480.5", iban, "")),
        ("an empty query", "PAY-7", "/v1/transfers?", body("480.5", iban, "")),
    ] {
        let reply = send(alice, ticket, target, &body).await?;
        assert_eq!(reply.status, 403, "{what}: {}", reply.text());
    }
    let twice = body("480.5", iban, ",\"amount\":9999");
    assert_eq!(reason(&send(alice, "PAY-7", TRANSFER, &twice).await?, 400)?, "two_keys");
    let put = alice.carrying("x-ticket", "PAY-7")?.send_bytes(Method::PUT, TRANSFER, Some(BODY.into())).await?;
    assert_eq!(put.status, 403, "the method: {}", put.text());
    let bob = mesh.caller(&BOB).await?;
    assert_eq!(send(&bob, "PAY-7", TRANSFER, BODY).await?.status, 403, "the caller");
    // What is not bound may be as it likes.
    for (what, body) in [
        ("another spelling", body("4.8050e2", iban, "")),
        ("another field", body("480.5", iban, ",\"note\":\"something else\"")),
        ("other blanks", format!("  {}\n", body(" 480.5000 ", iban, ""))),
    ] {
        let caller = alice.carrying("x-request-note", "another header")?;
        let reply = send(&caller, "PAY-7", TRANSFER, &body).await?;
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
    }
    Ok(())
}

#[test]
fn a_call_that_lacks_a_bound_part_is_told_so() {
    play(strict(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        let refused = alice.send_bytes(Method::POST, TRANSFER, Some(BODY.into())).await?.expect(403)?;
        let told =
            refused["reasons"].as_array().into_iter().flatten().find(|reason| reason["code"] == "call_not_bound");
        let detail = told.and_then(|reason| reason["detail"].as_str()).context("it is told")?;
        assert!(detail.contains("x-ticket"), "{detail}");
        assert!(refused.get("bound").is_none() && !text(&refused, "/request_url")?.contains('#'));
        Ok(())
    });
}
