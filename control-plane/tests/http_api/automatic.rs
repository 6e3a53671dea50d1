//! What rules decide by themselves, over the API and the command line.

use serde_json::{Value, json};

use super::cli::Story;
use super::server::{ALICE, LEA, MALLORY, OLAF, POLICY, Server};

const AUTOMATIC: &str = r#"maxDuration: 1h
  automatic:
    - { name: frozen, then: deny, when: 'signals["freeze"]' }
    - { name: in-incident, then: approve, when: 'signals["incident"]' }
    - { name: on-call, then: approve, when: 'signals["on.call"]' }
    - { name: by-account, then: require, approvals: 2, when: 'resource == "account/acc-2"' }"#;

async fn server() -> Server {
    let server = Server::bare().await;
    let issuer = "issuer: https://dev-issuer.grantmesh.invalid";
    let signals = "signals: [{ name: incident, setters: [\"group:payments-leads\"] }, { name: freeze, setters: [\"group:payments-leads\"] }, { name: on.call, of: user, setters: [\"group:payments-leads\"] }]";
    let text = POLICY.replacen(issuer, &format!("{issuer}\n  {signals}"), 1).replacen("maxDuration: 1h", AUTOMATIC, 1);
    let policy = json!({ "files": [{ "name": "policy.yaml", "text": text }] });
    server.apply(OLAF, ("if-none-match", "*"), &policy).await.expect(201);
    server
}

async fn signal(server: &Server, name: &str) {
    let body = json!({ "reason": "PAY-7", "duration": "1h" });
    server.raw("PUT", &format!("/v1/signals/{name}"), &server.token(LEA), body.to_string()).await.expect(200);
}

/// What is random of a request's id and of its grant's, 80 bits, is the same.
#[track_caller]
pub(super) fn are_twins(request: &Value, grant: &Value) {
    let random = |id: &Value| id.as_str().and_then(|id| id.len().checked_sub(16).map(|at| id[at..].to_owned()));
    assert!(random(request).is_some() && random(request) == random(grant), "{request} {grant}");
}

fn ask(account: &str) -> Value {
    json!({ "service": "payments", "action": "refund.create", "resource": format!("account/{account}"), "justification": "why" })
}

#[tokio::test]
async fn a_request_says_what_its_rule_decided() {
    let server = server().await;
    let waits = server.post(ALICE, "/v1/requests", &ask("acc-1")).await.expect(201);
    assert_eq!((&waits["state"], waits.get("automatic")), (&json!("pending"), None));
    let two = server.post(ALICE, "/v1/requests", &ask("acc-2")).await.expect(201);
    assert_eq!((&two["state"], &two["approvals_needed"]), (&json!("pending"), &json!(2)));
    let said = json!({ "name": "by-account", "decision": "require", "approvals": 2, "policy": two["policy"] });
    assert_eq!(two["automatic"], said);

    signal(&server, "incident").await;
    let approved = server.post(ALICE, "/v1/requests", &ask("acc-3")).await.expect(201);
    let said = json!({ "name": "in-incident", "decision": "approve", "policy": approved["policy"] });
    assert_eq!((&approved["state"], &approved["automatic"]), (&json!("approved"), &said));
    are_twins(&approved["id"], &approved["grant"]);
    let grant = format!("/v1/grants/{}", approved["grant"].as_str().unwrap());
    assert_eq!(server.get(ALICE, &grant).await.expect(200)["state"], "active");
    server.get(MALLORY, &grant).await.problem(404, "not_found");
    server.post(LEA, &format!("{grant}/revoke"), &json!({ "reason": "over" })).await.expect(200);

    signal(&server, "freeze").await;
    let denied = server.post(ALICE, "/v1/requests", &ask("acc-4")).await.expect(201);
    let said = json!({ "name": "frozen", "decision": "deny", "policy": denied["policy"] });
    assert_eq!((&denied["state"], &denied["automatic"]), (&json!("denied"), &said));
    let listed = server.get(LEA, "/v1/requests?state=denied").await.expect(200);
    assert_eq!(listed["items"][0]["automatic"], said);
}

#[tokio::test]
async fn an_explained_call_says_what_its_rule_would_decide() {
    let server = server().await;
    let call = json!({ "method": "POST", "path": "/v1/accounts/acc-2/refunds", "caller": "alice[support]" });
    let rule = async |call: &Value| {
        let explained = server.post(OLAF, "/v1/policy/explain", call).await.expect(200);
        let considered = explained["explanation"]["considered"].as_array().unwrap().clone();
        considered.into_iter().find(|part| part["kind"] == "rule").unwrap()["automatic"].clone()
    };
    let said = rule(&call).await;
    let told = |at: usize| (said[at]["verdict"].as_str().unwrap(), said[at]["decides"].as_bool().unwrap());
    assert_eq!(
        [told(0), told(1), told(2), told(3)],
        [("fails", false), ("missing", false), ("missing", false), ("holds", true)],
        "{said}"
    );
    let mut call = call;
    call["signals"] = json!(["incident"]);
    assert_eq!(rule(&call).await[1]["decides"], true);
    call["signals"] = json!(["incident", "freeze"]);
    assert_eq!(rule(&call).await[0]["decides"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_was_decided_by_itself() {
    let story = Story::with(server().await).await;
    let ask = "request --service payments --action refund.create --resource account/acc-2 --justification why";
    let waits = story.say(ALICE, ask).await.fine();
    assert!(waits.contains("decided by the rule itself: require 2 approvals, by `by-account` of policy_"), "{waits}");
    signal(&story.server, "incident").await;
    let approved = story.say(ALICE, &ask.replace("acc-2", "acc-3")).await.fine();
    assert!(approved.contains("is approved") && approved.contains("approve, by `in-incident` of"), "{approved}");
    let id = approved.split_whitespace().next().unwrap().replace('_', "~");
    assert!(story.say(LEA, &format!("request show {id}")).await.fine().contains("by `in-incident` of"));
    assert!(story.say(ALICE, "grants --state active").await.fine().contains("acc-3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_said_of_one_user_at_a_time() {
    let story = Story::with(server().await).await;
    let body = |of: Option<&str>| json!({ "reason": "her week", "duration": "8h", "of": of });
    let path = "/v1/signals/on.call";
    let put = async |body: Value| story.server.raw("PUT", path, &story.server.token(LEA), body.to_string()).await;
    put(body(None)).await.problem(422, "said_of_what");
    let set = put(body(Some("alice"))).await.expect(200);
    assert_eq!((&set["signal"]["of"], &set["signal"]["said"][0]["of"]), (&json!("user"), &json!("alice")));
    assert_eq!(set["signal"]["set"], Value::Null);
    let approved = story.server.post(ALICE, "/v1/requests", &ask("acc-7")).await.expect(201);
    assert_eq!(approved["automatic"]["name"], "on-call");

    let said = story.say(LEA, "signal set on.call --of bo --reason hers --duration 1h").await.fine();
    assert!(said.contains("on.call is set of bo until"), "{said}");
    let again = story.say(LEA, "signal set on.call --of bo --reason hers --duration 1h --if-not-set").await;
    assert!(again.code == 1 && again.err.contains("signal_changed"), "{again:?}");
    let listed = story.say(LEA, "signal list").await.fine();
    assert!(listed.contains("on.call of alice") && listed.contains("on.call of bo"), "{listed}");
    assert!(story.say(LEA, "signal clear on.call --of bo").await.fine().contains("on.call is cleared"));
    assert_eq!(story.say(LEA, "signal clear on.call --of bo").await.code, 1);
    let listed = story.say(LEA, "signal list").await.fine();
    assert!(listed.contains("on.call of alice") && !listed.contains("on.call of bo"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reviews_is_listed_and_suggested() {
    let story = Story::with(server().await).await;
    let server = &story.server;
    let first = server.post(ALICE, "/v1/requests", &ask("acc-1")).await.expect(201);
    let path = |request: &Value| format!("/v1/requests/{}", request["id"].as_str().unwrap());
    let none = server.get(ALICE, &format!("{}/reviewers", path(&first))).await.expect(200);
    assert_eq!(none, json!({ "reviewers": [], "awaited": ["group:payments-leads"] }));
    server.get(MALLORY, &format!("{}/reviewers", path(&first))).await.problem(404, "not_found");
    server.review(LEA, &format!("{}/reviews", path(&first)), &json!({ "verdict": "approve" })).await.expect(201);
    are_twins(&first["id"], &server.get(ALICE, &path(&first)).await.expect(200)["grant"]);
    let second = server.post(ALICE, "/v1/requests", &ask("acc-5")).await.expect(201);
    let known = server.get(ALICE, &format!("{}/reviewers", path(&second))).await.expect(200);
    let lea = &known["reviewers"][0];
    assert_eq!(lea["user"]["subject"], "lea");
    assert_eq!((&lea["suggested"], &lea["on_call"], &lea["waiting"]), (&json!(true), &json!(false), &json!(1)));
    let id = second["id"].as_str().unwrap().replace('_', "~");
    let shown = story.say(ALICE, &format!("request show {id}")).await.fine();
    assert!(shown.contains("suggested: lea (1 waiting)"), "{shown}");
}
