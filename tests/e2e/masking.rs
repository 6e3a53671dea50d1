//! What a caller may not see of a response is masked, and what cannot be masked is withheld: no plain value ever comes through.

use anyhow::{Context as _, Result};
use grantmesh_tests::{
    ALICE, ANSWER, Api, Bodies, LEA, Mesh, OLAF, PATIENCE, Reply, Setup, entries, play, text, until,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bodies::{reason, strict};

/// What must never be seen.
const SECRET: &str = "4111-1111";

const CARD: &str = "/v1/cards/c-1";

/// A call for which the service answers so.
async fn answered(caller: &Api, method: Method, path: &str, answer: &Value) -> Result<Reply> {
    caller.carrying(ANSWER, &answer.to_string())?.send(method, path, None).await
}

fn card(pieces: &[&str]) -> Value {
    json!({ "headers": { "content-type": "application/json", "etag": "\"x\"" }, "body": pieces })
}

const PLAIN: [&str; 3] =
    [r#"{"number": "4111-"#, r#"1111", "holder": {"name": "4111-1111", "since": 1.50}, "#, r#""limit":5}"#];

const MASKED: &str = r#"{"number": null, "holder": {"name": null, "since": 1.50}, "limit":5}"#;

#[test]
fn masked_where_heads_are_held() {
    play(strict(), async |mesh| story(mesh, true).await);
}

#[test]
fn masked_where_heads_cannot_be_held() {
    play(Setup { bodies: Bodies::HeadFirst, ..strict() }, async |mesh| story(mesh, false).await);
}

async fn story(mesh: &mut Mesh, held: bool) -> Result<()> {
    let alice = mesh.caller(&ALICE).await?;
    let reply = answered(&alice, Method::GET, CARD, &card(&PLAIN)).await?;
    assert_eq!((reply.status, reply.text().as_str()), (200, MASKED));
    assert_eq!(reply.headers.get("grantmesh-masked").map(|value| value.as_bytes()), Some(&b"number, holder"[..]));
    assert!(reply.headers.get("etag").is_none(), "a digest of the plain values: {:?}", reply.headers);
    let mut with_trailers = card(&PLAIN);
    with_trailers["trailers"] = json!({ "x-sum": "1", "content-digest": SECRET });
    with_trailers["headers"]["trailer"] = json!("x-sum, content-digest");
    assert_eq!(answered(&alice, Method::GET, CARD, &with_trailers).await?.text(), MASKED);

    // The service is asked for what can be masked.
    let unwanted = [
        ("accept-encoding", "gzip"),
        ("range", "bytes=0-10"),
        ("if-range", "\"x\""),
        ("if-match", "\"x\""),
        ("if-none-match", "\"x\""),
        ("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("if-unmodified-since", "Sat, 29 Oct 1994 19:43:31 GMT"),
    ];
    let asking = unwanted.iter().try_fold(alice.clone(), |alice, (name, value)| alice.carrying(name, value))?;
    assert_eq!(answered(&asking, Method::GET, CARD, &card(&PLAIN)).await?.text(), MASKED);
    let served = mesh.upstream.served().pop().map(|call| call.headers).unwrap_or_default();
    for (name, _) in unwanted {
        assert!(!served.contains_key(name), "{name}: {served:?}");
    }

    withheld(mesh, &alice, held).await?;
    without_bodies(&alice).await?;
    revealed(mesh, &alice).await?;
    mesh.envoy()?.filter_is_unharmed().await
}

/// What cannot be masked.
async fn withheld(mesh: &mut Mesh, alice: &Api, held: bool) -> Result<()> {
    let with = |kind: &str, more: Value, body: &str| {
        let mut answer = json!({ "headers": { "content-type": kind }, "body": [body] });
        for (name, value) in more.as_object().into_iter().flatten() {
            answer[name] = value.clone();
        }
        answer
    };
    let json = "application/json";
    let secret = format!(r#"{{"number":"{SECRET}"}}"#);
    // Its head tells already, so that the whole answer is another one.
    for (answer, status, code) in [
        (with("text/html", json!({}), &secret), 502, "response_type"),
        (with("text/event-stream", json!({}), &format!("data: {secret}\n\n")), 502, "response_type"),
        (with("application/x-ndjson", json!({}), &secret), 502, "response_type"),
        (
            with(json, json!({ "headers": { "content-type": json, "content-encoding": "gzip" } }), &secret),
            502,
            "response_encoding",
        ),
        (with(json, json!({ "status": 206 }), &secret), 502, "response_partial"),
        (with("text/plain", json!({ "status": 500 }), SECRET), 500, "response_type"),
        (with("text/plain", json!({ "status": 404 }), SECRET), 404, "response_type"),
    ] {
        let reply = answered(alice, Method::GET, CARD, &answer).await?;
        assert_eq!(reason(&reply, status)?, code, "{answer}: {}", reply.text());
        assert!(!reply.text().contains(SECRET), "{}", reply.text());
    }
    // Only the body tells. Where the head was not held, the document stands in the place of the body.
    let large = with(json, json!({ "times": 30_000 }), &format!(r#""{SECRET}" "#));
    for (answer, code) in [
        (with(json, json!({}), &format!("{secret}{secret}")), "response_malformed"),
        (with(json, json!({}), &format!(r#"{{"number":"x","number":"{SECRET}"}}"#)), "response_two_keys"),
        (with(json, json!({}), &format!(r#"{{"Number":"{SECRET}"}}"#)), "response_two_keys"),
        (with(json, json!({}), SECRET), "response_malformed"),
        (with(json, json!({}), &format!("{}{secret}{}", "[".repeat(40), "]".repeat(40))), "response_too_deep"),
        (large, "response_too_large"),
    ] {
        let reply = answered(alice, Method::GET, CARD, &answer).await?;
        assert_eq!(reason(&reply, if held { 502 } else { 200 })?, code, "{}", reply.text());
        assert!(!reply.text().contains(SECRET), "{}", reply.text());
        assert_eq!(reply.json()?["status"], 502);
    }
    // A value in another form than the policy knows does not come through either.
    for body in
        [format!(r#"{{"holder":"{SECRET}"}}"#), format!(r#"[{{"number":"{SECRET}"}}]"#), format!("\"{SECRET}\"")]
    {
        let reply = answered(alice, Method::GET, CARD, &with(json, json!({}), &body)).await?;
        assert_eq!(reply.status, 200);
        assert!(!reply.text().contains(SECRET), "{}", reply.text());
    }
    let envoy = mesh.envoy()?;
    until("what was withheld is counted", PATIENCE, async || {
        Ok((envoy.stat("grantmesh.responses.withheld").await? >= 13).then_some(()))
    })
    .await?;
    let decisions = mesh.decisions().await?;
    let told =
        |code: &str| decisions.values().any(|event| event["reasons"][0] == code && event["action"] == "card.read");
    assert!(told("response_type") && told("response_malformed"), "what was withheld is on record: {decisions:?}");
    let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
    let events: Vec<&Value> = log.iter().filter_map(|entry| entry.pointer("/data/record/event")).collect();
    for withheld in events.iter().filter(|event| event["action"] == "card.read" && event["decision"] == "deny") {
        let let_through = events.iter().find(|event| event["id"] == withheld["ended"]);
        let let_through =
            let_through.with_context(|| format!("what had let it through is not on record: {withheld}"))?;
        assert_eq!((&let_through["decision"], &let_through["path"]), (&json!("allow"), &withheld["path"]));
    }
    Ok(())
}

async fn without_bodies(alice: &Api) -> Result<()> {
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)] {
        let answer = json!({ "status": status, "headers": { "content-type": "application/json", "etag": "\"x\"" } });
        let reply = answered(alice, method.clone(), CARD, &answer).await?;
        assert_eq!((reply.status, reply.body.len()), (status, 0), "{method} {status}: {}", reply.text());
        assert!(reply.headers.get("etag").is_none());
    }
    let error = json!({ "status": 422, "headers": { "content-type": "application/problem+json" }, "body": [format!(r#"{{"number":"{SECRET}","title":"no"}}"#)] });
    let reply = answered(alice, Method::GET, CARD, &error).await?;
    assert_eq!((reply.status, reply.text().as_str()), (422, r#"{"number":null,"title":"no"}"#));
    Ok(())
}

/// By role, and by a grant as long as it lives.
async fn revealed(mesh: &mut Mesh, alice: &Api) -> Result<()> {
    let lead = mesh.caller(&LEA).await?;
    let reply = answered(&lead, Method::GET, CARD, &card(&PLAIN)).await?;
    assert_eq!(reply.text(), PLAIN.concat());
    assert!(reply.headers.contains_key("etag"), "nothing of it is touched");
    let body = json!({
        "service": "payments", "action": "card.read", "resource": "card/c-1", "justification": "the card is lost",
    });
    let asked = mesh.control_plane.api(&ALICE).await?.post("/v1/requests", &body).await?.expect(201)?;
    let grant = mesh.approve(&asked).await?;
    let shows = async |expected: &str| {
        until("the number is shown or not", PATIENCE, async || {
            for _ in 0..8 {
                if answered(&alice.reconnected()?, Method::GET, CARD, &card(&PLAIN)).await?.text() != expected {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    };
    shows(r#"{"number": "4111-1111", "holder": {"name": null, "since": 1.50}, "limit":5}"#).await?;
    assert!(text(&grant, "/id")?.starts_with("grant_"));
    mesh.revoke(&grant, None).await?;
    shows(MASKED).await
}

#[test]
fn a_filter_without_the_callbacks_refuses_what_it_cannot_mask_or_read() {
    play(Setup { bodies: Bodies::Unread, ..strict() }, async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        assert_eq!(reason(&alice.get(CARD).await?, 403)?, "cannot_mask");
        let tools = alice.post("/mcp", &json!({ "method": "tools/list" })).await?;
        assert_eq!(reason(&tools, 403)?, "body_not_read");
        assert_eq!(mesh.upstream.count(), 0);
        mesh.envoy()?.filter_is_unharmed().await
    });
}
