//! Locks as the API shows them, with the proof that filters know of them.

use std::sync::Arc;

use axum::body::Body;
use grantmesh_shared::wire::sync::Change;
use serde_json::json;

use super::filters::{applied, load, question, sync};
use super::server::{ALICE, LEA, OLAF, Person, Reply, Server};

async fn delete(server: &Server, person: Person, path: &str) -> Reply {
    server.raw("DELETE", path, &server.token(person), Body::empty()).await
}

#[tokio::test]
async fn a_lock_is_made_listed_and_removed() {
    let server = Server::start().await;
    let body = json!({ "subject": "user:alice", "service": "payments", "action": "refund.create", "reason": "key leaked", "duration": "1h" });
    let made = server.post(OLAF, "/v1/locks", &body).await.expect(201);
    let (lock, id) = (&made["lock"], made["lock"]["id"].as_str().unwrap());
    assert_eq!(made.get("arrival"), None, "nobody asked to wait");
    assert_eq!(
        (&lock["state"], &lock["subject"], &lock["expires_at"], &lock["created_by"]["subject"]),
        (&json!("active"), &json!("user:alice"), &json!("2027-01-15T09:00:00Z"), &json!("olaf"))
    );
    assert_eq!(server.get(OLAF, "/v1/locks?state=active").await.expect(200)["items"], json!([lock]));
    server.get(ALICE, "/v1/locks").await.problem(403, "not_auditor");
    server.post(LEA, "/v1/locks", &body).await.problem(403, "not_operator");
    delete(&server, LEA, &format!("/v1/locks/{id}")).await.problem(403, "not_operator");

    let removed = delete(&server, OLAF, &format!("/v1/locks/{id}?reason=key%20rotated")).await.expect(200);
    assert_eq!((&removed["lock"]["state"], &removed["lock"]["end_reason"]), (&json!("removed"), &json!("key rotated")));
    delete(&server, OLAF, &format!("/v1/locks/{id}")).await.problem(409, "already_ended");
    delete(&server, OLAF, "/v1/locks/lock_00000000000000000000000000").await.problem(404, "not_found");
    delete(&server, OLAF, "/v1/locks/..%2f..").await.problem(404, "not_found");
    for (change, status, code) in [
        (json!({ "service": "paymens" }), 422, "unknown_target"),
        (json!({ "subject": "alice" }), 422, "bad_subject"),
        (json!({ "everything": true }), 422, "lock_unclear"),
        (json!({ "reason": "" }), 422, "bad_text"),
        (json!({ "duration": "0s" }), 422, "duration_too_short"),
        (json!({ "wait": "1h" }), 400, "bad_value"),
        (json!({ "until": "never" }), 400, "bad_value"),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        server.post(OLAF, "/v1/locks", &body).await.problem(status, code);
    }
    assert_eq!(server.get(OLAF, "/v1/locks").await.expect(200)["items"], json!([removed["lock"]]));
    server.get(OLAF, "/v1/locks?state=open").await.problem(400, "bad_value");
}

#[tokio::test]
async fn a_lock_on_everything_is_proven_at_every_filter() {
    let server = Arc::new(Server::start().await);
    let known = load(&server, 1).await;
    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        let body = json!({ "everything": true, "reason": "breach", "wait": "60s" });
        async move { server.post(OLAF, "/v1/locks", &body).await.expect(201) }
    });
    let told = sync(&server, &question(1, known, 30_000)).await;
    let Change::Delta { puts, .. } = &told.change else { panic!("{told:?}") };
    assert!(puts[0].key.starts_with("lock/"), "{puts:?}");
    puts[0].parse().unwrap();
    assert!(!waiting.is_finished(), "the filter has not acknowledged");
    sync(&server, &question(1, applied(&told), 0)).await;
    let made = waiting.await.unwrap();
    assert_eq!(
        (&made["arrival"]["complete"], &made["arrival"]["filters"][0]["state"]),
        (&json!(true), &json!("acknowledged"))
    );
}
