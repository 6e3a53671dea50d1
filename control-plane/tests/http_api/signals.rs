//! Signals as the API shows them, with the proof that filters know of them.

use std::sync::Arc;

use axum::body::Body;
use grantmesh_shared::wire::sync::Change;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

use super::filters::{applied, load, question, sync};
use super::server::{ALICE, LEA, MALLORY, OLAF, Person, Reply, Server};

/// A server where leads of payments may open an incident: the row that a policy leaves.
async fn server() -> Server {
    let server = Server::start().await;
    let setters = r#"[{"group":{"issuer":"https://dev-issuer.grantmesh.invalid","name":"payments-leads"}}]"#;
    let path = format!("sqlite:{}", server.folder.path().join("grantmesh.db").display());
    let mut database = SqliteConnection::connect(&path).await.unwrap();
    let sql = "INSERT INTO policy_signals (policy, name, description, setters, max_duration_ms) \
               SELECT id, 'incident.open', 'someone works on it', $1, 28800000 FROM policies";
    let declared = sqlx::query(sql).bind(setters).execute(&mut database).await.unwrap();
    assert_eq!(declared.rows_affected(), 1);
    server
}

async fn delete(server: &Server, person: Person, path: &str) -> Reply {
    server.raw("DELETE", path, &server.token(person), Body::empty()).await
}

async fn put(server: &Server, person: Person, path: &str, body: &Value) -> Reply {
    server.raw("PUT", path, &server.token(person), body.to_string()).await
}

const SIGNAL: &str = "/v1/signals/incident.open";

#[tokio::test]
async fn a_signal_is_listed_set_and_cleared() {
    let server = server().await;
    let listed = server.get(LEA, "/v1/signals").await.expect(200);
    assert_eq!(
        listed["signals"],
        json!([{ "name": "incident.open", "description": "someone works on it", "setters": ["group:payments-leads"],
            "max_duration": "8h", "set": null }])
    );
    let body = json!({ "reason": "PAY-7 is down", "duration": "1h" });
    let set = put(&server, LEA, SIGNAL, &body).await.expect(200);
    assert_eq!(set.get("arrival"), None, "nobody asked to wait");
    let how = &set["signal"]["set"];
    assert_eq!(
        (&how["reason"], &how["set_by"]["subject"], &how["expires_at"]),
        (&json!("PAY-7 is down"), &json!("lea"), &json!("2027-01-15T09:00:00Z"))
    );
    assert_eq!(server.get(OLAF, "/v1/signals").await.expect(200)["signals"], json!([set["signal"]]));
    // Who may not set it learns nothing of it.
    for stranger in [ALICE, MALLORY] {
        assert_eq!(server.get(stranger, "/v1/signals").await.expect(200)["signals"], json!([]));
        put(&server, stranger, SIGNAL, &body).await.problem(404, "not_found");
        delete(&server, stranger, SIGNAL).await.problem(404, "not_found");
    }
    for (change, status, code) in [
        (json!({ "duration": "9h" }), 422, "duration_over_maximum"),
        (json!({ "duration": "1ms" }), 422, "duration_too_short"),
        (json!({ "reason": "\n" }), 422, "bad_text"),
        (json!({ "reason": "x".repeat(2_001) }), 422, "bad_text"),
        (json!({ "duration": "soon" }), 400, "bad_value"),
        (json!({ "wait": "11m" }), 400, "bad_value"),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        put(&server, LEA, SIGNAL, &body).await.problem(status, code);
    }
    put(&server, LEA, SIGNAL, &json!({ "reason": "no end" })).await.problem(400, "bad_value");
    put(&server, LEA, "/v1/signals/incident.closed", &body).await.problem(404, "not_found");
    server.post(LEA, SIGNAL, &body).await.problem(405, "unknown_method");

    let cleared = delete(&server, LEA, &format!("{SIGNAL}?reason=over")).await.expect(200);
    assert_eq!(cleared["signal"]["set"], Value::Null);
    delete(&server, LEA, SIGNAL).await.problem(409, "signal_not_set");
}

#[tokio::test]
async fn a_signal_is_changed_only_as_it_was_seen_where_that_is_said() {
    let server = server().await;
    let body = json!({ "reason": "PAY-7 is down", "duration": "1h" }).to_string();
    let send = async |method: &str, said: &[(&str, &str)]| {
        let body = if method == "PUT" { body.clone() } else { String::new() };
        server.said(method, SIGNAL, &server.token(LEA), said, body).await
    };
    send("PUT", &[("if-match", "*")]).await.problem(412, "signal_changed");
    send("DELETE", &[("if-match", "*")]).await.problem(412, "signal_changed");
    let first = send("PUT", &[("if-none-match", "*")]).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(first.expect(200)["signal"]["set"]["etag"], tag.as_str());
    assert_eq!(server.get(OLAF, "/v1/signals").await.expect(200)["signals"][0]["set"]["etag"], tag.as_str());
    let refused = send("PUT", &[("if-none-match", "*")]).await.problem(412, "signal_changed");
    assert!(refused["detail"].as_str().unwrap().contains("was set by `lea`"), "{refused}");
    let second = send("PUT", &[("if-match", &tag)]).await;
    let next = second.headers["etag"].to_str().unwrap().to_owned();
    second.expect(200);
    assert_ne!(tag, next, "setting it anew makes it another one");
    for method in ["PUT", "DELETE"] {
        send(method, &[("if-match", &tag)]).await.problem(412, "signal_changed");
        send(method, &[("if-match", "\"1\"")]).await.problem(400, "bad_value");
        send(method, &[("if-match", "*"), ("if-none-match", "*")]).await.problem(400, "bad_value");
    }
    send("DELETE", &[("if-match", &next)]).await.expect(200);
    send("DELETE", &[("if-match", &next)]).await.problem(412, "signal_changed");
    send("PUT", &[]).await.expect(200);
}

#[tokio::test]
async fn a_signal_is_proven_at_every_filter() {
    let server = Arc::new(server().await);
    let known = load(&server, 1).await;
    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        let body = json!({ "reason": "down", "duration": "1h", "wait": "60s" });
        async move { put(&server, LEA, SIGNAL, &body).await.expect(200) }
    });
    let told = sync(&server, &question(1, known, 30_000)).await;
    let Change::Delta { puts, .. } = &told.change else { panic!("{told:?}") };
    assert_eq!(puts[0].key, "signal/incident.open");
    assert!(!waiting.is_finished(), "the filter has not acknowledged");
    let known = applied(&sync(&server, &question(1, applied(&told), 0)).await);
    let set = waiting.await.unwrap();
    assert_eq!(
        (&set["arrival"]["complete"], &set["arrival"]["filters"][0]["state"]),
        (&json!(true), &json!("acknowledged"))
    );

    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        async move { delete(&server, LEA, &format!("{SIGNAL}?wait=60s")).await.expect(200) }
    });
    let told = sync(&server, &question(1, known, 30_000)).await;
    let Change::Delta { puts, removes, index: 0, more: false, .. } = &told.change else { panic!("{told:?}") };
    assert_eq!((puts.len(), removes.as_slice()), (0, &["signal/incident.open".to_owned()][..]));
    sync(&server, &question(1, applied(&told), 0)).await;
    assert_eq!(waiting.await.unwrap()["arrival"]["complete"], true);
}
