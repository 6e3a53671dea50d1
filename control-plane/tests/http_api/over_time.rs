//! Requests and grants over time, as the API and the command line show them.

use grantmesh_control_plane::domain::EventKind;
use grantmesh_shared::id::DecisionId;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event, Record};
use grantmesh_shared::wire::signature::Sha256Hash;
use serde_json::json;

use super::automatic::are_twins;
use super::cli::Story;
use super::filters::deliver;
use super::server::{ALICE, LEA, LEO, MALLORY, OLAF, POLICY, Server};

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
    let grant = server.review(LEA, &path, &json!({ "verdict": "approve" })).await.expect(201)["grant"].clone();
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
    server.apply(OLAF, ("if-none-match", "*"), &policy).await.expect(201);
    let mut ask = Server::ask();
    ask["duration"] = json!("15m");
    let request = server.post(ALICE, "/v1/requests", &ask).await.expect(201);
    let path = format!("/v1/requests/{}/reviews", request["id"].as_str().unwrap());
    let grant = server.review(LEA, &path, &json!({ "verdict": "approve" })).await.expect(201)["grant"].clone();
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
    let longer = server.review(LEO, &path, &json!({ "verdict": "approve" })).await.expect(201)["grant"].clone();
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

const RIGHT: &str = r#"
---
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: emergency }
spec:
  service: payments
  actions: [refund.create]
  subjects: ["group:support"]
  maxDuration: 30m
  reviewers: ["group:payments-leads"]
  reviewWithin: 24h
"#;

/// A server where support may break the glass, and refunds have limits.
async fn limited() -> Server {
    let server = Server::bare().await;
    let limits = "maxDuration: 1h\n  limits: { pending: 2, coolDown: 10m }";
    let text = POLICY.replacen("maxDuration: 1h", limits, 1) + RIGHT;
    let policy = json!({ "files": [{ "name": "policy.yaml", "text": text }] });
    server.apply(OLAF, ("if-none-match", "*"), &policy).await.expect(201);
    server
}

#[tokio::test]
async fn the_glass_is_broken_and_somebody_else_looks_at_it() {
    let server = limited().await;
    let target = json!({ "service": "payments", "action": "refund.create", "resource": "account/acc-42" });
    let with = |more: serde_json::Value| {
        let mut body = target.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    server.post(LEA, "/v1/break-glass", &with(json!({ "reason": "fire" }))).await.problem(403, "no_break_glass");
    server.post(ALICE, "/v1/break-glass", &with(json!({}))).await.problem(400, "bad_value");
    server.post(ALICE, "/v1/break-glass", &with(json!({ "reason": " " }))).await.problem(422, "justification_required");
    let long = with(json!({ "reason": "fire", "duration": "31m" }));
    server.post(ALICE, "/v1/break-glass", &long).await.problem(422, "duration_over_maximum");
    let broke = server.post(ALICE, "/v1/break-glass", &with(json!({ "reason": "fire" }))).await.expect(201);
    assert_eq!((&broke["grant"]["state"], &broke["grant"]["break_glass"]), (&json!("active"), &json!(true)));
    are_twins(&broke["grant"]["request"], &broke["grant"]["id"]);
    let review = &broke["post_review"];
    assert_eq!(
        (&review["state"], &review["overdue"], &review["said"]),
        (&json!("open"), &json!(false), &json!("fire"))
    );
    let request = format!("/v1/requests/{}", broke["grant"]["request"].as_str().unwrap());
    assert_eq!(server.get(LEA, &request).await.expect(200)["kind"], "break_glass");
    assert_eq!(server.get(LEA, "/v1/post-reviews?state=open").await.expect(200)["items"], json!([review]));
    assert_eq!(server.get(MALLORY, "/v1/post-reviews").await.expect(200)["items"], json!([]));
    server.get(LEA, "/v1/post-reviews?state=lost").await.problem(400, "bad_value");
    let dry = json!({ "holder": "alice", "reason": "fire", "dry_run": true });
    let listed = server.get(LEA, "/v1/grants?state=active").await.expect(200)["items"].clone();
    assert_eq!(server.post(OLAF, "/v1/grants/revoke", &dry).await.expect(200)["grants"], listed);
    server.clock.advance("24h".parse().unwrap());
    let overdue = server.get(LEA, "/v1/post-reviews?overdue=true").await.expect(200)["items"].clone();
    assert_eq!((overdue.as_array().unwrap().len(), &overdue[0]["overdue"]), (1, &json!(true)));
    // What it belongs to says so, too, wherever it is shown.
    let mark = json!({ "id": review["id"], "state": "open", "due_at": review["due_at"], "overdue": true });
    let grant = format!("/v1/grants/{}", broke["grant"]["id"].as_str().unwrap());
    assert_eq!(broke["grant"]["post_review"]["overdue"], false);
    assert_eq!(server.get(LEA, &grant).await.expect(200)["post_review"], mark);
    assert_eq!(server.get(LEA, &format!("{grant}/ledger")).await.expect(200)["grant"]["post_review"], mark);
    assert_eq!(server.get(LEA, "/v1/grants").await.expect(200)["items"][0]["post_review"], mark);
    assert_eq!(server.get(ALICE, &request).await.expect(200)["post_review"], mark);
    assert_eq!(server.get(ALICE, "/v1/requests").await.expect(200)["items"][0]["post_review"], mark);
    let metrics = server.get(LEA, "/metrics").await.text();
    for line in ["grantmesh_break_glass_grants 1", "grantmesh_post_reviews_open 1", "grantmesh_post_reviews_overdue 1"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
    let path = format!("/v1/post-reviews/{}", review["id"].as_str().unwrap());
    let decide = format!("{path}/review");
    server.post(ALICE, &decide, &json!({ "verdict": "accept" })).await.problem(403, "self_review");
    server.post(MALLORY, &decide, &json!({ "verdict": "accept" })).await.problem(404, "not_found");
    server.post(LEA, &decide, &json!({ "verdict": "approve" })).await.problem(400, "bad_value");
    server.post(LEA, &decide, &json!({ "verdict": "dispute" })).await.problem(422, "bad_text");
    let decided = server.post(LEA, &decide, &json!({ "verdict": "dispute", "reason": "no fire" })).await.expect(200);
    assert_eq!((&decided["state"], &decided["overdue"]), (&json!("disputed"), &json!(false)));
    server.post(LEO, &decide, &json!({ "verdict": "accept" })).await.problem(409, "already_decided");
    let after = server.get(LEA, &grant).await.expect(200)["post_review"].clone();
    assert_eq!((&after["state"], &after["overdue"]), (&json!("disputed"), &json!(false)));
    assert_eq!(server.get(ALICE, &path).await.expect(200), decided);
}

#[tokio::test]
async fn limits_are_told_with_what_to_do() {
    let server = limited().await;
    let ask = |account: &str| json!({ "service": "payments", "method": "POST", "path": format!("/v1/accounts/{account}/refunds"), "justification": "why" });
    let first = server.post(ALICE, "/v1/requests", &ask("acc-1")).await.expect(201);
    let twice = server.post(ALICE, "/v1/requests", &ask("acc-1")).await.problem(409, "already_asked");
    assert_eq!(twice["reasons"], json!([{ "code": "pending_request", "detail": first["id"] }]));
    server.post(ALICE, "/v1/requests", &ask("acc-2")).await.expect(201);
    server.post(ALICE, "/v1/requests", &ask("acc-3")).await.problem(429, "too_many_pending");
    let path = format!("/v1/requests/{}/reviews", first["id"].as_str().unwrap());
    server.review(LEA, &path, &json!({ "verdict": "deny", "reason": "no" })).await.expect(201);
    let cool = server.post(ALICE, "/v1/requests", &ask("acc-1")).await.problem(429, "cooling_down");
    assert!(cool["detail"].as_str().unwrap().contains("ask again at 2027-01-15T08:10:00Z"), "{cool}");
}

#[tokio::test]
async fn many_end_in_one_step() {
    let server = Server::start().await;
    server.grant().await;
    let body = |more: serde_json::Value| {
        let mut body = json!({ "reason": "left" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    server.post(OLAF, "/v1/grants/revoke", &body(json!({}))).await.problem(422, "nothing_named");
    server
        .post(OLAF, "/v1/grants/revoke", &body(json!({ "holder": "group:support" })))
        .await
        .problem(422, "bad_subject");
    let dry =
        server.post(OLAF, "/v1/grants/revoke", &body(json!({ "holder": "alice", "dry_run": true }))).await.expect(200);
    assert_eq!((dry["grants"].as_array().unwrap().len(), &dry["grants"][0]["state"]), (1, &json!("active")));
    let none = server.post(ALICE, "/v1/grants/revoke", &body(json!({ "holder": "alice" }))).await.expect(200);
    assert_eq!(none["grants"], json!([]));
    let done =
        server.post(OLAF, "/v1/grants/revoke", &body(json!({ "holder": "alice", "wait": "1s" }))).await.expect(200);
    assert_eq!(done["grants"][0]["state"], "revoked");
    assert_eq!(done["arrival"]["complete"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_breaks_reviews_revokes_and_shows() {
    let story = Story::with(limited().await).await;
    let target = "--service payments --action refund.create --resource account/acc-42";
    let broke = story.say(ALICE, &format!("break-glass {target} --reason fire")).await.fine();
    assert!(broke.contains("is active until") && broke.contains("somebody else reviews what you do"), "{broke}");
    assert!(story.say(ALICE, "grants").await.fine().contains("active (break-glass)"));
    let word = |text: &str, begin: &str| {
        text.split_whitespace().find(|word| word.starts_with(begin)).unwrap().replace('_', "~")
    };
    let told = story.say(ALICE, "grants").await.fine();
    let (grant, listed) = (word(&told, "grant_"), story.say(ALICE, "requests").await.fine());
    let request = word(&listed, "req_");
    assert!(story.say(LEA, &format!("grants show {grant}")).await.fine().contains("is open, due "));
    story.server.clock.advance("24h".parse().unwrap());
    assert!(story.say(ALICE, "grants").await.fine().contains("(break-glass, post-review overdue)"));
    assert!(story.say(ALICE, "requests").await.fine().contains("approved (break-glass, post-review overdue)"));
    assert!(story.say(LEA, &format!("grants show {grant}")).await.fine().contains("is open, overdue since "));
    assert!(story.say(LEA, &format!("request show {request}")).await.fine().contains("is open, overdue since "));
    let listed = story.say(LEA, "post-review list --state open").await.fine();
    let id = listed.split_whitespace().find(|word| word.starts_with("postreview_")).unwrap().replace('_', "~");
    let shown = story.say(LEA, &format!("post-review show {id}")).await.fine();
    assert!(
        shown.contains("alice took refund.create on account/acc-42 of payments, by the right emergency"),
        "{shown}"
    );
    assert!(
        story
            .say(LEA, &format!("post-review accept {id} --reason fine"))
            .await
            .fine()
            .contains("accepted by lea: fine")
    );
    let refused = story.say(LEA, &format!("post-review dispute {id} --reason no")).await;
    assert!(refused.code == 1 && refused.err.contains("already_decided"), "{refused:?}");

    let grant = story.server.grant().await["id"].as_str().unwrap().replace('_', "~");
    let shown = story.say(ALICE, &format!("grants show {grant}")).await.fine();
    assert!(shown.contains("never used"), "{shown}");
    story.say(ALICE, &format!("break-glass {target} --reason again")).await.fine();
    let dry = story.say(OLAF, "revoke --all-of alice --reason left --dry-run").await.fine();
    assert!(dry.contains("2 grants would be revoked"), "{dry}");
    let done = story.say(OLAF, "revoke --all-of alice --rule emergency --reason left").await.fine();
    assert!(done.contains("1 grant revoked"), "{done}");
    assert!(story.say(OLAF, &format!("revoke {grant} --reason over")).await.fine().contains("is revoked"));
    assert_eq!(story.say(OLAF, "revoke --reason over").await.code, 2);
    assert_eq!(story.say(OLAF, &format!("revoke {grant} --all-of alice --reason over")).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_is_told_and_less_is_suggested() {
    let story = Story::with(Server::start().await).await;
    let server = &story.server;
    let granted = server.grant().await;
    let (id, resource) = (granted["id"].as_str().unwrap(), granted["resource"].as_str().unwrap());
    let path = format!("/v1/accounts/{}/refunds", resource.trim_start_matches("account/"));
    let items =
        async |query: &str| server.get(ALICE, &format!("/v1/grants?{query}")).await.expect(200)["items"].clone();
    assert_eq!((items("used=false").await, items("used=true").await), (json!([granted]), json!([])));
    server.get(ALICE, "/v1/grants?used=perhaps").await.problem(400, "bad_value");
    let grant = id.replace('_', "~");
    assert!(story.say(ALICE, "grants --unused").await.fine().contains(id));
    let shown = story.say(ALICE, &format!("grants show {grant}")).await.fine();
    assert!(shown.contains("used 0 of 1 approved paths: POST /v1/accounts/{account}/refunds"), "{shown}");
    let url = format!("/v1/requests/new?service=payments&action=refund.create&resource={resource}");
    assert_eq!(server.get(ALICE, &url).await.expect(200).get("suggestion"), None);

    let call = DecisionEvent {
        grant: Some(id.parse().unwrap()),
        ..DecisionEvent::new(DecisionId::new(1, [1; 10]), DecisionWord::Allow, "payments", ("POST", &path))
    }
    .into_owned();
    let event = Event::Decision(Box::new(call));
    deliver(server, &[Record { seq: 0, prev: Sha256Hash::default(), at: server.now(), event }]).await.expect(200);
    assert_eq!((items("used=false").await, items("used=true&state=active").await), (json!([]), json!([granted])));
    assert!(story.say(ALICE, "grants --unused").await.fine().is_empty());
    let ledger = server.get(ALICE, &format!("/v1/grants/{id}/ledger")).await.expect(200);
    let approved = json!({ "method": "POST", "path": "/v1/accounts/{account}/refunds", "possible": 1 });
    assert_eq!((&ledger["approved_paths"], &ledger["distinct_paths"]), (&approved, &json!(1)));
    let shown = story.say(ALICE, &format!("grants show {grant}")).await.fine();
    assert!(shown.contains("used 1 of 1 approved paths"), "{shown}");
    story.say(ALICE, &format!("release {grant}")).await.fine();
    let suggestion = server.get(ALICE, &url).await.expect(200)["suggestion"].clone();
    assert_eq!(suggestion, json!({ "grant": id, "duration": "5m" }));
    let asked = format!("request --from-url http://{}{url} --justification again", story.address);
    let filed = story.say(ALICE, &asked).await;
    assert!(filed.code == 0 && filed.err.contains("less was enough the last time"), "{filed:?}");
    assert!(filed.err.contains("--duration 5m"), "{filed:?}");
}

#[tokio::test]
async fn the_outbox_is_in_the_metrics() {
    let server = Server::start().await;
    server.app.know_endpoint("chat").await.unwrap();
    server.request().await;
    server.app.fan_out("chat", &EventKind::ALL).await.unwrap();
    let metrics = server.get(LEA, "/metrics").await.text();
    assert!(metrics.contains("grantmesh_notifications_waiting 1\n"), "{metrics}");
}
