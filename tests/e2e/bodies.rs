//! What a call is may stand in its body: it is decided when the body is there, by what it says, and the service sees
//! nothing of it before, or only its head where the policy says so.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{
    ALICE, ANSWER, Api, Bodies, LEA, MALLORY, Mesh, PATIENCE, Reply, Setup, Weather, play, raw, until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

pub(crate) const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/bodies/policy.yaml");

pub(crate) fn strict() -> Setup {
    Setup { policy: POLICY, bodies: Bodies::Strict, ..Setup::default() }
}

async fn post(caller: &Api, path: &str, body: &str) -> Result<Reply> {
    caller.send_bytes(Method::POST, path, Some(body.as_bytes().to_vec())).await
}

/// The first reason of a refusal with this status.
pub(crate) fn reason(reply: &Reply, status: u16) -> Result<String> {
    let problem = reply.expect(status)?;
    Ok(problem["reasons"][0]["code"].as_str().context("a refusal without a reason")?.to_owned())
}

#[test]
fn a_condition_on_the_body_decides_by_what_it_says() {
    play(strict(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        for (body, served) in [
            (r#"{"amount": 50.00, "to": {"iban": "DE1"}}"#, true),
            (r#"{"amount": 5e1}"#, true),
            (r#"{"amount": 50.000000000000001}"#, false),
            (r#"{"amount": "50"}"#, false),
            (r#"{"amount": null}"#, false),
            (r#"{"to": {"amount": 5}}"#, false),
            ("[]", false),
        ] {
            let before = mesh.upstream.count();
            let reply = post(&alice.reconnected()?, "/v1/transfers", body).await?;
            assert_eq!(reply.status == 200, served, "{body}: {} {}", reply.status, reply.text());
            assert_eq!(mesh.upstream.count() - before, usize::from(served), "{body}");
            if served {
                let got = mesh.upstream.served().pop().context("served")?;
                assert_eq!(
                    String::from_utf8_lossy(&got.body),
                    body,
                    "the body that was decided is the body that arrives"
                );
            }
        }
        let none = alice.send(Method::POST, "/v1/transfers", None).await?;
        assert_eq!(reason(&none, 403)?, "no_role", "{}", none.text());
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_and_recorded() {
    play(strict(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        let deep = format!("{{\"amount\":5,\"x\":{}1{}}}", "[".repeat(32), "]".repeat(32));
        let large = format!("{{\"amount\":5,\"x\":\"{}\"}}", "x".repeat(70_000));
        for (body, status, code) in [
            (r#"{"amount":5,"amount":5000}"#, 400, "two_keys"),
            (r#"{"amount":5,"Amount":5000}"#, 400, "two_keys"),
            (r#"{"amount":5,}"#, 400, "malformed_body"),
            (r#"{"amount":5} {"amount":5000}"#, 400, "malformed_body"),
            ("\u{feff}{\"amount\":5}", 400, "malformed_body"),
            (r#"{"amount":5,"x":NaN}"#, 400, "malformed_body"),
            (r#"{"amount":1234567890123456789012}"#, 400, "inexact_number"),
            (&deep, 400, "body_too_deep"),
            (&large, 413, "body_too_large"),
        ] {
            let reply = post(&alice, "/v1/transfers", body).await?;
            assert_eq!(reason(&reply, status)?, code, "{}", reply.text());
        }
        let (address, token) = (mesh.envoy()?.address(), mesh.control_plane.token(&ALICE).await?);
        let send = async |headers: &str, body: &[u8]| {
            let head = format!(
                "POST /v1/transfers HTTP/1.1\r\nhost: payments\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{headers}\r\n"
            );
            raw::exchange(address, &[head.as_bytes(), body].concat()).await
        };
        let json = "content-type: application/json\r\n";
        for (headers, body, status, code) in [
            ("content-type: text/plain\r\ncontent-length: 12\r\n".to_owned(), &b"{\"amount\":5}"[..], 415, "body_type"),
            ("content-length: 12\r\n".to_owned(), b"{\"amount\":5}", 415, "body_type"),
            (format!("{json}{json}content-length: 12\r\n"), b"{\"amount\":5}", 415, "body_type"),
            (
                "content-type: application/json; charset=utf-16\r\ncontent-length: 12\r\n".to_owned(),
                b"{\"amount\":5}",
                415,
                "body_type",
            ),
            (
                format!("{json}content-encoding: gzip\r\ncontent-length: 12\r\n"),
                b"{\"amount\":5}",
                415,
                "body_encoding",
            ),
            (format!("{json}content-length: 14\r\n"), b"{\"amount\":\"\xff\"}", 400, "malformed_body"),
            (format!("{json}content-length: 65537\r\n"), b"{", 413, "body_too_large"),
        ] {
            let reply = send(&headers, body).await?;
            assert_eq!(reply.status(), Some(status), "{headers}: {}", reply.text());
            assert!(reply.text().contains(code), "{headers}: {}", reply.text());
        }
        // In pieces, of which the last is one too many: nobody has said before how large it is.
        let piece = format!("2000\r\n{}\r\n", " ".repeat(0x2000)).repeat(9);
        let reply =
            send(&format!("{json}transfer-encoding: chunked\r\n"), format!("{piece}0\r\n\r\n").as_bytes()).await?;
        assert_eq!(reply.status(), Some(413), "{}", reply.text());
        assert_eq!(mesh.upstream.count(), 0, "nothing got through: {:?}", mesh.upstream.served());

        let envoy = mesh.envoy()?;
        until("the refusals are counted", PATIENCE, async || {
            Ok((envoy.stat("grantmesh.records.made").await? >= 17).then_some(()))
        })
        .await?;
        let decisions = mesh.decisions().await?;
        let refused = decisions.values().filter(|decision| decision["decision"] == "deny").count();
        assert!(refused > 4, "refusals are recorded: {decisions:?}");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_body_comes_in_pieces_with_trailers_or_late_and_counts_as_a_whole() {
    play(strict(), async |mesh| {
        let (address, token) = (mesh.envoy()?.address(), mesh.control_plane.token(&ALICE).await?);
        let head = |more: &str| {
            format!(
                "POST /v1/transfers HTTP/1.1\r\nhost: payments\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\n{more}\r\n"
            )
        };
        let chunked = head("transfer-encoding: chunked\r\ntrailer: x-sum\r\n");
        for (body, status) in [
            ("3\r\n{\"a\r\n9\r\nmount\":5}\r\n0\r\n\r\n", 200),
            ("3\r\n{\"a\r\n9\r\nmount\":5}\r\n0\r\nx-sum: 1\r\n\r\n", 200),
            ("3\r\n{\"a\r\nb\r\nmount\":500}\r\n0\r\nx-sum: 1\r\n\r\n", 403),
            ("0\r\n\r\n", 403),
            ("0\r\nx-sum: 1\r\n\r\n", 403),
        ] {
            let reply = raw::exchange(address, [chunked.as_bytes(), body.as_bytes()].concat().as_slice()).await?;
            assert_eq!(reply.status(), Some(status), "{body}: {}", reply.text());
        }
        assert_eq!(mesh.upstream.count(), 2);

        // Each piece on its own, and in between the service has seen nothing.
        let body = br#"{"amount":5,"to":{"iban":"DE1"}}"#;
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(head(&format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len())).as_bytes())
            .await?;
        read_until(&mut stream, "100 Continue").await?;
        for piece in body.chunks(8) {
            assert_eq!(mesh.upstream.count(), 2, "the service sees nothing before the body is whole");
            stream.write_all(piece).await?;
            stream.flush().await?;
        }
        read_until(&mut stream, "200 OK").await?;
        assert_eq!(mesh.upstream.served().pop().context("served")?.body, body);

        // A caller that goes away in the middle leaves nothing behind.
        let mut gone = TcpStream::connect(address).await?;
        gone.write_all(head("content-length: 100\r\n").as_bytes()).await?;
        gone.write_all(b"{\"amount\":").await?;
        assert_eq!(mesh.upstream.count(), 3);
        let envoy = mesh.envoy()?;
        let awaited = envoy.stat("grantmesh.bodies.awaited").await?;
        until("it waits for its body", PATIENCE, async || {
            Ok((envoy.stat("grantmesh.bodies.awaited").await? > awaited).then_some(()))
        })
        .await?;
        drop(gone);
        until(
            "it is forgotten",
            PATIENCE,
            async || Ok((envoy.stat("grantmesh.bodies.gone").await? == 1).then_some(())),
        )
        .await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// Reads until a text has come.
async fn read_until(stream: &mut TcpStream, text: &str) -> Result<()> {
    use tokio::io::AsyncReadExt as _;
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).contains(text) {
            ensure!(stream.read_buf(&mut seen).await? > 0, "closed after {}", String::from_utf8_lossy(&seen));
        }
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.context("nothing came")?
}

#[test]
fn who_does_not_depend_on_the_body_is_not_held_for_it() {
    play(strict(), async |mesh| {
        let large = "x".repeat(300_000);
        let report = "/v1/reports/r-1";
        let lead = mesh.caller(&LEA).await?;
        let reply = lead.send_bytes(Method::POST, report, Some(large.clone().into_bytes())).await?;
        assert_eq!(reply.status, 200, "whatever a lead reports: {}", reply.text());
        let alice = mesh.caller(&ALICE).await?;
        assert_eq!(reason(&post(&alice, report, &large).await?, 413)?, "body_too_large");
        assert_eq!(post(&alice, report, r#"{"kind":"daily"}"#).await?.status, 200, "also where the record comes first");
        assert_eq!(reason(&post(&alice, report, r#"{"kind":"yearly"}"#).await?, 403)?, "no_role");
        // A stranger is refused without a look at what they send.
        let stranger = mesh.caller(&MALLORY).await?;
        assert_eq!(reason(&post(&stranger, report, "{").await?, 403)?, "no_role");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_tool_is_told_by_the_body() {
    play(strict(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        let call = |name: &str, arguments: Value| {
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": arguments } })
                .to_string()
        };
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
        for (body, status, code) in [
            (list.clone(), 200, ""),
            (call("lookup", json!({ "customer": "c-1" })), 200, ""),
            (call("refund", json!({ "amount": 50.10 })), 200, ""),
            (call("refund", json!({ "amount": 50.11 })), 403, "no_role"),
            (call("lookup", json!({ "customer": "x" })), 403, "no_role"),
            (call("delete_everything", json!({})), 403, "unmatched"),
            (format!("[{list}]"), 403, "ambiguous_body"),
            (format!("[{list},{}]", call("refund", json!({ "amount": 5000 }))), 403, "ambiguous_body"),
            (r#"{"method":"tools/list","method":"tools/call","params":{"name":"refund"}}"#.to_owned(), 400, "two_keys"),
            (r#"{"method":"tools/call","params":["refund"]}"#.to_owned(), 403, "ambiguous_body"),
            (r#"{"method":["tools/list"]}"#.to_owned(), 403, "ambiguous_body"),
            ("\"tools/list\"".to_owned(), 403, "ambiguous_body"),
        ] {
            let reply = post(&alice, "/mcp", &body).await?;
            assert_eq!(reply.status, status, "{body}: {}", reply.text());
            if status != 200 {
                assert_eq!(reason(&reply, status)?, code, "{body}: {}", reply.text());
            }
        }
        assert_eq!(mesh.upstream.count(), 3);
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn where_heads_cannot_be_held_only_head_first_actions_are_decided() {
    play(Setup { bodies: Bodies::HeadFirst, ..strict() }, async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        let refused = post(&alice, "/v1/transfers", r#"{"amount":5}"#).await?;
        assert_eq!(reason(&refused, 403)?, "body_not_read");
        assert!(refused.text().contains("allow_on_headers_stop_iteration"), "it says what to do: {}", refused.text());
        assert_eq!(mesh.upstream.count(), 0);
        head_first(mesh, &alice).await
    });
}

#[test]
fn a_head_first_action_shows_the_service_the_head_and_nothing_else() {
    play(strict(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        head_first(mesh, &alice).await
    });
}

async fn head_first(mesh: &mut Mesh, alice: &Api) -> Result<()> {
    assert_eq!(post(alice, "/v1/notes", r#"{"text":"fine"}"#).await?.status, 200);
    assert_eq!(mesh.upstream.served().pop().context("served")?.body, br#"{"text":"fine"}"#);
    let forbidden = post(alice, "/v1/notes", r#"{"text":"forbidden"}"#).await?;
    assert_eq!(reason(&forbidden, 403)?, "no_role");
    let twice = post(alice, "/v1/notes", r#"{"text":"a","text":"forbidden"}"#).await?;
    assert_eq!(reason(&twice, 400)?, "two_keys");
    for call in mesh.upstream.served().iter().skip(1) {
        assert_eq!(call.body, b"", "no body that was refused arrives: {call:?}");
    }
    // A service that answers on the head alone is not heard before the call is decided.
    let address = mesh.envoy()?.address();
    let token = mesh.control_plane.token(&ALICE).await?;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /v1/notes HTTP/1.1\r\nhost: payments\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: 20\r\nx-answer: {{\"early\":true,\"headers\":{{\"content-type\":\"text/plain\"}},\"body\":[\"plain\"]}}\r\n\r\n{{\"text\""
    );
    stream.write_all(head.as_bytes()).await?;
    read_until(&mut stream, "answered_early").await?;
    // Nor while the record of the decision is on its way, whatever there is to mask.
    let call = format!(
        "POST /v1/pins HTTP/1.1\r\nhost: payments\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 15\r\n\
         {ANSWER}: {{\"early\":true,\"headers\":{{\"content-type\":\"application/json\"}},\"body\":[\"{{\\\"secret\\\":\\\"plain\\\"}}\"]}}\r\n\r\n\
         {{\"text\":\"fine\"}}"
    );
    mesh.cable.make(Weather::NoRecords);
    for _ in 0..5 {
        let early = raw::exchange(address, call.as_bytes()).await?;
        assert!(early.text().contains("answered_early"), "{}", early.text());
    }
    mesh.cable.mend();
    let decisions = mesh.decisions().await?;
    let pins: Vec<&Value> = decisions.values().filter(|event| event["path"] == "/v1/pins").collect();
    assert_eq!(pins.len(), 5);
    for pin in pins {
        assert_eq!(pin["decision"], "deny");
        assert!(pin["instead_of"].is_string(), "its record was on its way: {pin}");
    }
    mesh.envoy()?.filter_is_unharmed().await
}
