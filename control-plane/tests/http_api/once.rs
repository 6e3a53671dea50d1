//! `Idempotency-Key` on every route that makes something.

use grantmesh_control_plane::http::openapi;
use serde_json::{Value, json};

use super::server::{ACCOUNT, ALICE, LEA, OLAF, POLICY, Person, Reply, Server};

const RIGHT: &str = r#"---
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: emergency }
spec:
  service: payments
  actions: [refund.create]
  subjects: ["group:support"]
  maxDuration: 30m
  reviewers: ["group:platform"]
  offline: 12h
"#;

/// One send of something that makes something.
struct Send {
    who: Person,
    path: String,
    body: Value,
    /// A body that is another send.
    other: Value,
    status: u16,
}

impl Send {
    fn of(who: Person, path: &str, status: u16, body: Value, other: (&str, &str)) -> Self {
        let mut another = body.clone();
        another[other.0] = json!(other.1);
        Self { who, path: path.to_owned(), body, other: another, status }
    }

    async fn with(&self, server: &Server, keys: &[&str], body: String) -> Reply {
        let headers: Vec<_> = keys.iter().map(|key| ("Idempotency-Key", *key)).collect();
        server.said("POST", &self.path, &server.token(self.who), &headers, body).await
    }
}

async fn server() -> (Server, [Send; 7]) {
    let server = Server::bare().await;
    let text = POLICY.replacen("maxDuration: 1h", "maxDuration: 1h\n  extension: { withoutReview: 20m }", 1) + RIGHT;
    assert!(text.contains("withoutReview"));
    let policy = json!({ "files": [{ "name": "policy.yaml", "text": text }] });
    server.apply(OLAF, ("if-none-match", "*"), &policy).await.expect(201);
    let extend = format!("/v1/grants/{}/extend", server.grant().await["id"].as_str().unwrap());
    let glass = json!({ "service": "payments", "action": "refund.create", "resource": ACCOUNT, "reason": "fire" });
    let mut ask = Server::ask();
    ask["resource"] = json!("account/acc-7");
    let sends = [
        Send::of(ALICE, "/v1/requests", 201, ask, ("justification", "paid twice")),
        Send::of(ALICE, "/v1/break-glass", 201, glass, ("reason", "smoke")),
        Send::of(ALICE, &extend, 200, json!({ "duration": "5m" }), ("duration", "4m")),
        Send::of(ALICE, &extend, 202, json!({ "duration": "30m", "justification": "x" }), ("justification", "y")),
        Send::of(OLAF, "/v1/locks", 201, json!({ "service": "payments", "reason": "leak" }), ("reason", "leaks")),
        Send::of(
            LEA,
            "/v1/delegations",
            201,
            json!({ "to": "leo", "reason": "on leave", "duration": "48h" }),
            ("duration", "47h"),
        ),
        Send::of(
            ALICE,
            "/v1/offline-tokens",
            201,
            json!({ "service": "payments", "reason": "on call" }),
            ("reason", "on duty"),
        ),
    ];
    (server, sends)
}

#[tokio::test]
async fn a_repeated_send_is_answered_like_the_first_and_makes_nothing() {
    let (server, sends) = server().await;
    for (number, send) in sends.iter().enumerate() {
        let (key, path) = (format!("key-{number}"), &send.path);
        for malformed in [&["no spaces"][..], &[""], &["é"], &[&"k".repeat(129)], &[&key, &key]] {
            let reply = send.with(&server, malformed, send.body.to_string()).await;
            reply.problem(400, "bad_idempotency_key");
        }
        let first = send.with(&server, &[&key], send.body.to_string()).await.expect(send.status);
        let head = server.app.head().await.unwrap();
        let size = server.app.verify_log().await.unwrap().size;
        // How its JSON is written makes no other send of it; a token is signed the same.
        for body in [send.body.to_string(), format!("{:#}", send.body)] {
            assert_eq!(send.with(&server, &[&key], body).await.expect(send.status), first, "{path}");
        }
        let reused = send.with(&server, &[&key], send.other.to_string()).await;
        assert!(reused.problem(409, "idempotency_key_reused")["detail"].as_str().unwrap().contains(&key), "{path}");
        assert_eq!(server.app.head().await.unwrap().position, head.position, "{path}");
        assert_eq!(server.app.verify_log().await.unwrap().size, size, "{path}");
    }
    // A key that was used on one route is used on all: the body alone does not make it the same.
    for send in sends.iter().filter(|send| send.who == ALICE && send.path != "/v1/requests") {
        send.with(&server, &["key-0"], send.body.to_string()).await.problem(409, "idempotency_key_reused");
    }
    let lists = ["/v1/post-reviews", "/v1/locks", "/v1/delegations", "/v1/offline-tokens"];
    for (who, list) in [ALICE, OLAF, LEA, ALICE].into_iter().zip(lists) {
        assert_eq!(server.get(who, list).await.expect(200)["items"].as_array().unwrap().len(), 1, "{list}");
    }
}

#[tokio::test]
async fn the_same_body_for_another_grant_is_another_send() {
    let (server, [_, _, extend, ..]) = server().await;
    extend.with(&server, &["k"], extend.body.to_string()).await.expect(200);
    let other = format!("/v1/grants/{}/extend", server.grant().await["id"].as_str().unwrap());
    let other = Send { path: other, ..extend };
    other.with(&server, &["k"], other.body.to_string()).await.problem(409, "idempotency_key_reused");
}

#[test]
fn the_description_says_where_a_key_is_taken() {
    let document = openapi();
    let takes = |operation: &Value| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.filter(|one| one["name"] == "Idempotency-Key" && one["in"] == "header").count()
    };
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    let taking: Vec<String> = all.filter(|(_, operation)| takes(operation) == 1).map(|(name, _)| name).collect();
    insta::assert_snapshot!(taking.join("\n"), @r"
    post /v1/break-glass
    post /v1/delegations
    post /v1/grants/{id}/extend
    post /v1/locks
    post /v1/offline-tokens
    post /v1/requests
    ");
}
