//! Bad input: each with its status, its code and a text that says what to do.

use axum::body::Body;
use axum::http::Request;
use grantmesh_control_plane::identity::{DEV_AUDIENCE, mint_dev_token};
use grantmesh_shared::time::Span;
use serde_json::json;

use super::server::{ALICE, LEA, LEO, MALLORY, OLAF, Server};

const NOBODYS_REQUEST: &str = "req_00000000000000000000000000";

#[tokio::test]
async fn without_a_good_token_nobody_learns_anything() {
    let server = Server::start().await;
    let old = mint_dev_token(
        &server.issuer,
        "alice",
        &[],
        DEV_AUDIENCE,
        Span::from_secs(60),
        server.now().minus(Span::from_secs(600)),
    )
    .unwrap();
    let elsewhere = mint_dev_token(&server.issuer, "alice", &[], "other", Span::from_secs(60), server.now()).unwrap();
    let filter = server.credential(&["payments"]);
    for (token, told) in
        [(old.as_str(), "expired"), (&elsewhere, "audience"), (&filter, "key"), ("nonsense", "not a signed")]
    {
        let reply = server.raw("GET", "/v1/requests", token, Body::empty()).await;
        let problem = reply.problem(401, "bad_token");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert!(!reply.text().contains(token));
    }
    let bare = Request::get("/v1/requests").body(Body::empty()).unwrap();
    server.send(bare).await.problem(401, "bad_token");
    let token = server.token(ALICE);
    let twice = Request::get("/v1/requests").header("authorization", format!("Bearer {token}"));
    let twice = twice.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
    server.send(twice).await.problem(401, "bad_token");
    let basic = Request::get("/v1/requests").header("authorization", "Basic YTpi").body(Body::empty()).unwrap();
    server.send(basic).await.problem(401, "bad_token");
    let bytes =
        Request::get("/v1/requests").header("authorization", &b"Bearer \xff\xfe"[..]).body(Body::empty()).unwrap();
    server.send(bytes).await.problem(401, "bad_token");
    // The token comes before the body: nobody unknown makes the server read one.
    server.raw("POST", "/v1/policy", "nonsense", vec![b'x'; 3 << 20]).await.problem(401, "bad_token");
}

#[tokio::test]
async fn malformed_json_is_told_by_line_and_column() {
    let server = Server::start().await;
    let token = server.token(ALICE);
    let reply = server.raw("POST", "/v1/requests", &token, "{\n  \"service\": \"payments\",\n}").await;
    let problem = reply.problem(400, "malformed_json");
    assert!(problem["detail"].as_str().unwrap().contains("line 3 column 1"), "{problem}");
    server.raw("POST", "/v1/requests", &token, "").await.problem(400, "malformed_json");
    server.raw("POST", "/v1/requests", &token, &b"{\"service\":\"\xff\"}"[..]).await.problem(400, "malformed_json");

    let unknown = server.raw("POST", "/v1/requests", &token, "{\n\"servise\": 1}").await.problem(400, "bad_value");
    assert!(
        unknown["detail"].as_str().unwrap().contains("`servise`")
            && unknown["detail"].as_str().unwrap().contains("line 2"),
        "{unknown}"
    );
    let mut ask = Server::ask();
    ask["duration"] = json!("soon");
    server.post(ALICE, "/v1/requests", &ask).await.problem(400, "bad_value");
    let both = json!({ "service": "payments", "action": "refund.create", "method": "POST", "justification": "x" });
    server.post(ALICE, "/v1/requests", &both).await.problem(400, "bad_value");
    for query in ["state=open", "colour=red", "limit=many", "mine=perhaps"] {
        server.get(ALICE, &format!("/v1/requests?{query}")).await.problem(400, "bad_value");
    }
}

#[tokio::test]
async fn bodies_have_a_size() {
    let server = Server::start().await;
    let token = server.token(OLAF);
    let padded = |bytes: usize| format!("{{\"files\":[{{\"name\":\"a\",\"text\":\"{}\"}}]}}", "#".repeat(bytes));
    server.raw("POST", "/v1/requests", &token, padded(64 * 1024)).await.problem(413, "body_too_large");
    for path in ["/v1/policy", "/v1/policy/simulate"] {
        server.raw("POST", path, &token, padded(16 * 1024 * 1024)).await.problem(413, "body_too_large");
    }
    // Who may not send a policy is told so before it is read.
    let other = server.token(ALICE);
    server.raw("POST", "/v1/policy", &other, padded(16 * 1024 * 1024)).await.problem(403, "not_operator");
    server.raw("POST", "/v1/policy/simulate", &other, padded(16 * 1024 * 1024)).await.problem(403, "not_auditor");
    server.raw("POST", "/v1/policy/check", &token, padded(1024 * 1024)).await.problem(413, "body_too_large");
    assert_eq!(server.raw("POST", "/v1/policy/check", &token, padded(900 * 1024)).await.status, 200);
}

#[tokio::test]
async fn unknown_and_forbidden_ids_read_alike() {
    let server = Server::start().await;
    let id = server.request().await;
    for rest in ["", "/withdraw", "/reviews"] {
        let of = async |id: &str| {
            let path = format!("/v1/requests/{id}{rest}");
            let reply = match rest {
                "" => server.get(MALLORY, &path).await,
                "/reviews" => server.review(MALLORY, &path, &json!({ "verdict": "approve" })).await,
                _ => server.post(MALLORY, &path, &json!({ "verdict": "approve" })).await,
            };
            reply.problem(404, "not_found").to_string().replace(id, "ID")
        };
        assert_eq!(of(&id).await, of(NOBODYS_REQUEST).await, "{rest}");
    }
    let grant = server.grant().await["id"].as_str().unwrap().to_owned();
    for id in [grant.as_str(), "grant_00000000000000000000000000", "grant_1", "req_x", "%00", "..%2f..%2f"] {
        server.get(MALLORY, &format!("/v1/grants/{id}")).await.problem(404, "not_found");
        server
            .post(MALLORY, &format!("/v1/grants/{id}/revoke"), &json!({ "reason": "mine" }))
            .await
            .problem(404, "not_found");
    }
    server.get(ALICE, "/v1/nothing").await.problem(404, "unknown_route");
    server.raw("DELETE", "/v1/requests", &server.token(ALICE), Body::empty()).await.problem(405, "unknown_method");
}

#[tokio::test]
async fn rules_hold() {
    let server = Server::start().await;
    let mut long = Server::ask();
    long["duration"] = json!("2h");
    let problem = server.post(ALICE, "/v1/requests", &long).await.problem(422, "duration_over_maximum");
    assert!(problem["detail"].as_str().unwrap().contains("at most `1h`"), "{problem}");
    server.post(MALLORY, "/v1/requests", &Server::ask()).await.problem(422, "not_eligible");

    let id = server.request().await;
    let (reviews, approve) = (format!("/v1/requests/{id}/reviews"), json!({ "verdict": "approve" }));
    server.review(ALICE, &reviews, &approve).await.problem(403, "self_approval");
    // Nobody decides what they have not seen.
    let unseen = server.post(LEA, &reviews, &approve).await.problem(400, "bad_value");
    assert!(unseen["detail"].as_str().unwrap().contains("missing field `digest`"), "{unseen}");
    let other = json!({ "verdict": "approve", "digest": "0".repeat(64) });
    server.post(LEA, &reviews, &other).await.problem(409, "digest_differs");
    server.review(OLAF, &reviews, &approve).await.problem(403, "not_a_reviewer");
    server.review(LEA, &reviews, &json!({ "verdict": "perhaps" })).await.problem(400, "bad_value");
    server
        .review(LEA, &reviews, &json!({ "verdict": "approve", "duration": "2h" }))
        .await
        .problem(422, "duration_over_maximum");
    let grant = server.review(LEA, &reviews, &approve).await.expect(201)["grant"]["id"].as_str().unwrap().to_owned();
    server.review(LEO, &reviews, &approve).await.problem(409, "already_decided");
    server.post(ALICE, &format!("/v1/requests/{id}/withdraw"), &json!({})).await.problem(409, "already_decided");

    let (revoke, reason) = (format!("/v1/grants/{grant}/revoke"), json!({ "reason": "enough" }));
    server.post(LEA, &revoke, &json!({ "reason": "enough", "wait": "1h" })).await.problem(400, "bad_value");
    server.post(LEA, &format!("/v1/grants/{grant}/release"), &json!({})).await.problem(403, "not_the_holder");
    server.post(ALICE, &format!("/v1/grants/{grant}/release"), &json!({})).await.expect(200);
    server.post(LEA, &revoke, &reason).await.problem(409, "already_ended");
    server.get(ALICE, "/v1/fleet").await.problem(403, "not_auditor");
    server.get(ALICE, "/v1/audit/entries").await.problem(403, "not_auditor");
    server.get(ALICE, "/dev/jwks.json").await.problem(404, "not_found");
}

#[tokio::test]
async fn answers_carry_the_request_id() {
    let server = Server::bare().await;
    let with_id = |id: &str| Request::get("/healthz").header("x-request-id", id).body(Body::empty()).unwrap();
    assert_eq!(server.send(with_id("abc-1")).await.headers["x-request-id"], "abc-1");
    let replaced = server.send(with_id("a b\t")).await.headers["x-request-id"].clone();
    assert_eq!(replaced.len(), 16);
    assert_eq!(server.get(ALICE, "/readyz").await.status, 200);
    let metrics = server.get(ALICE, "/metrics").await.text();
    assert!(
        metrics.contains("grantmesh_http_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 2"),
        "{metrics}"
    );
    assert!(metrics.contains("grantmesh_held_polls 0"), "{metrics}");
}
