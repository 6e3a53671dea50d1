//! The life of a request and its grant, as the API shows it.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::server::{ACCOUNT, ALICE, LEA, MALLORY, OLAF, Server};

#[tokio::test]
async fn filed_approved_used_up_and_logged() {
    let server = Server::start().await;
    let request = server.post(ALICE, "/v1/requests", &Server::ask()).await.expect(201);
    assert_eq!(
        (&request["state"], &request["duration"], &request["rule"]),
        (&json!("pending"), &json!("15m"), &json!("refund-by-support"))
    );
    assert_eq!(request["requester"]["subject"], "alice");
    let path = format!("/v1/requests/{}", request["id"].as_str().unwrap());
    assert_eq!(server.get(LEA, &path).await.expect(200), request);

    let review = json!({ "verdict": "approve", "reason": "seen", "duration": "5m", "digest": request["digest"] });
    let answer = server.post(LEA, &format!("{path}/reviews"), &review).await;
    let token = answer.headers["x-grantmesh-revision"].to_str().unwrap().to_owned();
    let reviewed = answer.expect(201);
    assert_eq!(reviewed["grant"]["revision"], token, "what filters must have heard of");
    let position = &reviewed["grant"]["position"];
    assert_eq!(token, format!("{}.{}", position["epoch"], position["revision"]));
    assert_eq!((&reviewed["request"]["state"], &reviewed["grant"]["state"]), (&json!("approved"), &json!("active")));
    let (grant, id) = (&reviewed["grant"], reviewed["grant"]["id"].as_str().unwrap());
    assert_eq!(
        (&grant["starts_at"], &grant["expires_at"]),
        (&json!("2027-01-15T08:00:00Z"), &json!("2027-01-15T08:05:00Z"))
    );
    assert_eq!(server.get(ALICE, &format!("/v1/grants/{id}")).await.expect(200)["holder"]["subject"], "alice");
    assert_eq!(server.get(ALICE, "/v1/grants?state=active&mine=true").await.expect(200)["items"], json!([grant]));

    let ended = server.post(LEA, &format!("/v1/grants/{id}/revoke"), &json!({ "reason": "enough" })).await.expect(200);
    assert_eq!((&ended["grant"]["state"], &ended["grant"]["reason"]), (&json!("revoked"), &json!("enough")));
    assert!(ended["grant"]["position"]["revision"].as_u64() > grant["position"]["revision"].as_u64());
    assert_eq!(ended.get("arrival"), None, "nobody asked to wait");

    let log = server.get(OLAF, "/v1/audit/entries?from=0").await.expect(200);
    let kinds: Vec<String> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = entry["entry"].as_str().unwrap();
            serde_json::from_str::<Value>(text).unwrap()["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        ["log.begun", "policy.applied", "request.filed", "review.approved", "grant.issued", "grant.revoked"]
    );
    let checkpoint = server.get(OLAF, "/v1/audit/checkpoint").await;
    assert!(checkpoint.text().lines().nth(1) == Some("6"), "{}", checkpoint.text());
}

#[tokio::test]
async fn the_challenges_url_gives_the_body_that_files_it() {
    let server = Server::start().await;
    let url = "/v1/requests/new?service=payments&action=refund.create&resource=account%2Facc-42";
    let prefill = server.get(ALICE, url).await.expect(200);
    assert_eq!(prefill["post"], "https://grantmesh.example/v1/requests");
    assert_eq!((&prefill["max_duration"], &prefill["reviewers"]), (&json!("1h"), &json!(["group:payments-leads"])));
    let mut body = prefill["body"].clone();
    server.post(ALICE, "/v1/requests", &body).await.problem(422, "justification_required");
    body["justification"] = json!("charged twice");
    assert_eq!(server.post(ALICE, "/v1/requests", &body).await.expect(201)["resource"], ACCOUNT);
    server.get(MALLORY, url).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_call_itself_can_be_named_and_a_repeated_send_files_once() {
    let server = Server::start().await;
    let body = json!({ "service": "payments", "method": "POST", "path": "/v1/accounts/acc-42/refunds", "justification": "charged twice" });
    let send = async |key: &str, body: &Value| {
        let request = Request::post("/v1/requests").header("authorization", format!("bearer {}", server.token(ALICE)));
        server.send(request.header("idempotency-key", key).body(Body::from(body.to_string())).unwrap()).await
    };
    let first = send("a-1", &body).await.expect(201);
    assert_eq!((&first["action"], &first["resource"]), (&json!("refund.create"), &json!(ACCOUNT)));
    assert_eq!(send("a-1", &body).await.expect(201)["id"], first["id"]);
    // Another key is another ask, and the same is asked once.
    send("a-2", &body).await.problem(409, "already_asked");
    let other = json!({ "service": "payments", "method": "POST", "path": "/v1/accounts/acc-43/refunds", "justification": "charged twice" });
    assert_ne!(send("a-3", &other).await.expect(201)["id"], first["id"]);
    send("a-1", &Server::ask()).await.problem(409, "idempotency_key_reused");
    send("no spaces", &body).await.problem(400, "bad_idempotency_key");
    assert_eq!(server.get(ALICE, "/v1/requests").await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = Server::start().await;
    let mut filed = Vec::new();
    for _ in 0..5 {
        filed.insert(0, server.request().await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(LEA, &format!("/v1/requests?state=pending&limit=2{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    let (mut sorted, mut expected) = (seen.clone(), filed);
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected, "each once");
}
