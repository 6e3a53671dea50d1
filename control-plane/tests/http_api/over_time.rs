//! Requests and grants over time, as the API and the command line show them.

use serde_json::json;

use super::cli::Story;
use super::server::{ALICE, LEA, LEO, POLICY, Server};

#[tokio::test]
async fn a_grant_is_asked_for_ahead() {
    let server = Server::start().await;
    let mut ask = Server::ask();
    for (start, status, code) in [
        ("tomorrow", 400, "bad_value"),
        ("2027-01-15T07:59:59Z", 422, "start_out_of_range"),
        ("2027-02-15T08:00:00Z", 422, "start_out_of_range"),
    ] {
        ask["starts_at"] = json!(start);
        server.post(ALICE, "/v1/requests", &ask).await.problem(status, code);
    }
    ask["starts_at"] = json!("2027-01-16T10:00:00+02:00");
    let request = server.post(ALICE, "/v1/requests", &ask).await.expect(201);
    assert_eq!((&request["starts_at"], &request["kind"]), (&json!("2027-01-16T08:00:00Z"), &json!("grant")));
    let path = format!("/v1/requests/{}/reviews", request["id"].as_str().unwrap());
    let grant = server.post(LEA, &path, &json!({ "verdict": "approve" })).await.expect(201)["grant"].clone();
    assert_eq!((&grant["state"], &grant["starts_at"]), (&json!("scheduled"), &json!("2027-01-16T08:00:00Z")));
    assert_eq!(server.get(ALICE, "/v1/grants?state=scheduled").await.expect(200)["items"], json!([grant]));
    let path = format!("/v1/grants/{}/extend", grant["id"].as_str().unwrap());
    server.post(ALICE, &path, &json!({ "duration": "5m" })).await.problem(422, "not_extendable");
}

#[tokio::test]
async fn more_time_is_had_at_once_or_asked_for() {
    let server = Server::bare().await;
    let text = POLICY.replace("maxDuration: 1h", "maxDuration: 1h\n  extension: { withoutReview: 20m }");
    assert_ne!(text, POLICY);
    let policy = json!({ "files": [{ "name": "policy.yaml", "text": text }] });
    server.apply(super::server::OLAF, ("if-none-match", "*"), &policy).await.expect(201);
    let mut ask = Server::ask();
    ask["duration"] = json!("15m");
    let request = server.post(ALICE, "/v1/requests", &ask).await.expect(201);
    let path = format!("/v1/requests/{}/reviews", request["id"].as_str().unwrap());
    let grant = server.post(LEA, &path, &json!({ "verdict": "approve" })).await.expect(201)["grant"].clone();
    let path = format!("/v1/grants/{}/extend", grant["id"].as_str().unwrap());
    server.post(LEA, &path, &json!({ "duration": "5m" })).await.problem(403, "not_the_holder");
    server
        .post(ALICE, &path, &json!({ "duration": "46m", "justification": "x" }))
        .await
        .problem(422, "duration_over_maximum");
    let now = server.post(ALICE, &path, &json!({ "duration": "5m" })).await.expect(200);
    assert_eq!((&now["grant"]["expires_at"], now.get("request")), (&json!("2027-01-15T08:20:00Z"), None));
    server.post(ALICE, &path, &json!({ "duration": "5m" })).await.problem(422, "justification_required");
    let body = json!({ "duration": "10m", "justification": "not done yet" });
    let asked = server.post(ALICE, &path, &body).await.expect(202)["request"].clone();
    assert_eq!((&asked["kind"], &asked["extends"]), (&json!("extension"), &grant["id"]));
    let twice = server.post(ALICE, &path, &body).await.problem(409, "already_asked");
    assert!(twice["detail"].as_str().unwrap().contains(asked["id"].as_str().unwrap()), "{twice}");
    let path = format!("/v1/requests/{}/reviews", asked["id"].as_str().unwrap());
    let longer = server.post(LEO, &path, &json!({ "verdict": "approve" })).await.expect(201)["grant"].clone();
    assert_eq!((&longer["id"], &longer["expires_at"]), (&grant["id"], &json!("2027-01-15T08:30:00Z")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_when_and_how_long() {
    let story = Story::with(Server::start().await).await;
    let request = "request --service payments --action refund.create --resource account/acc-42 --justification why";
    let wrong = story.say(ALICE, &format!("{request} --start soon")).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.err.contains("a length of time like"), "{wrong:?}");
    let asked = story.say(ALICE, &format!("{request} --start 2027-01-15T12:00:00Z")).await.fine();
    assert!(asked.contains("  from 2027-01-15T12:00:00Z on"), "{asked}");
    let id = asked.split(' ').next().unwrap().replace('_', "~");
    let approved = story.say(LEA, &format!("approve {id}")).await.fine();
    assert!(approved.contains("is scheduled from 2027-01-15T12:00:00Z until 2027-01-15T12:"), "{approved}");
    let listed = story.say(ALICE, "grants --state scheduled").await.fine();
    assert!(listed.contains("scheduled"), "{listed}");

    let grant = story.server.grant().await["id"].as_str().unwrap().replace('_', "~");
    let asked = story.say(ALICE, &format!("extend {grant} --duration 5m --justification not_done")).await.fine();
    assert!(asked.contains("is pending") && asked.contains("more, for grant_"), "{asked}");
    assert!(story.say(ALICE, "requests").await.fine().contains("+5m"));
}
