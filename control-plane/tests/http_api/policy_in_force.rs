//! What is asked about the policy in force and about recorded decisions, over the API and with the program.

use grantmesh_control_plane::identity::DEV_ISSUER;
use grantmesh_shared::id::DecisionId;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event, Record};
use grantmesh_shared::wire::signature::Sha256Hash;
use serde_json::{Value, json};

use super::cli::Story;
use super::filters::deliver;
use super::server::{ALICE, LEA, OLAF, POLICY, Server};

const CALL: [&str; 2] = ["POST", "/v1/accounts/acc-42/refunds"];

fn refund(caller: &str) -> Value {
    json!({ "method": CALL[0], "path": CALL[1], "caller": caller })
}

#[tokio::test]
async fn a_call_is_explained_from_all_that_is_in_force() {
    let server = Server::start().await;
    let explained = async |body: &Value| server.post(OLAF, "/v1/policy/explain", body).await.expect(200);
    let asks = explained(&refund("alice[support]")).await;
    assert_eq!(asks["explanation"]["outcome"]["decision"], "ask");
    let grant = server.grant().await;
    // A filter knows the time to half a second.
    server.clock.advance(Span::from_secs(1));
    let allowed = explained(&refund("alice[support]")).await;
    let outcome = &allowed["explanation"]["outcome"];
    assert_eq!(outcome["basis"], format!("grant {}", grant["id"].as_str().unwrap()));
    assert!(allowed["position"]["revision"].as_u64() > asks["position"]["revision"].as_u64(), "{allowed}");
    assert_eq!(allowed["policy"], server.get(OLAF, "/v1/policy").await.expect(200)["id"]);
    let other = explained(&refund("bob[support]")).await;
    assert_eq!(other["explanation"]["outcome"]["decision"], "ask", "it is not bob's: {other}");
    let mut later = refund("alice[support]");
    later["at"] = json!("2027-06-01T00:00:00Z");
    let ended = explained(&later).await["explanation"]["outcome"]["reasons"].to_string();
    assert!(ended.contains("grant_ended"), "{ended}");

    let lock = json!({ "subject": "user:alice", "reason": "key leaked" });
    server.post(OLAF, "/v1/locks", &lock).await.expect(201);
    let locked = explained(&refund("alice[support]")).await;
    assert_eq!(locked["explanation"]["outcome"]["reasons"][0]["code"], "locked");

    server.post(LEA, "/v1/policy/explain", &refund("alice")).await.problem(403, "not_auditor");
    server.post(OLAF, "/v1/policy/explain", &refund("alice[")).await.problem(422, "bad_call");
    later["at"] = json!("soon");
    server.post(OLAF, "/v1/policy/explain", &later).await.problem(400, "bad_value");
    let mut many = refund("alice");
    many["facts"] = json!(vec!["header a b"; 257]);
    server.post(OLAF, "/v1/policy/explain", &many).await.problem(422, "bad_call");
    Server::bare().await.post(OLAF, "/v1/policy/explain", &refund("alice")).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_explains_from_what_is_in_force() {
    let story = Story::with(Server::start().await).await;
    let explain = "policy explain --method POST --path /v1/accounts/acc-42/refunds --as alice[support]";
    let before = story.say(OLAF, explain).await.fine();
    assert!(before.contains("ask, because") && before.contains("rule refund-by-support"), "{before}");
    story.server.grant().await;
    story.server.clock.advance(Span::from_secs(1));
    let after = story.say(OLAF, explain).await.fine();
    assert!(after.contains("allow, by grant grant_") && after.contains("decided from policy_"), "{after}");
    let json: Value = serde_json::from_str(&story.say(OLAF, &format!("{explain} --json")).await.fine()).unwrap();
    assert_eq!(json["explanation"]["outcome"]["decision"], "allow");
    let refused = story.say(ALICE, explain).await;
    assert!(refused.code == 1 && refused.err.contains("not_auditor"), "{refused:?}");
    let unknown = story.say(OLAF, &format!("{explain} --signal nothing")).await;
    assert!(unknown.code == 1 && unknown.err.contains("there is no signal `nothing`"), "{unknown:?}");
}

/// Two refused calls of alice's, one that was let through only on paper, and some that were not recorded.
async fn recorded(server: &Server) {
    let event = |number: u64, decision| {
        let id = DecisionId::new(number, [1; 10]);
        DecisionEvent {
            issuer: Some(DEV_ISSUER.into()),
            subject: Some("alice".into()),
            groups: Some(vec!["support".into()]),
            reasons: if decision == DecisionWord::Allow { Vec::new() } else { vec!["no_role".into()] },
            ..DecisionEvent::new(id, decision, "payments", (CALL[0], CALL[1]))
        }
    };
    let paper = event(3, DecisionWord::Allow);
    let replaces = DecisionEvent {
        instead_of: Some(paper.id.clone()),
        reasons: vec!["record_unacknowledged".into()],
        ..event(4, DecisionWord::Deny)
    };
    let decisions = [event(1, DecisionWord::Deny), event(2, DecisionWord::Deny), paper, replaces];
    let events = decisions.map(|event| Event::Decision(Box::new(event))).into_iter().chain([Event::Gap { dropped: 5 }]);
    let records = (0..).zip(events).scan(Sha256Hash::default(), |prev, (seq, event)| {
        let record = Record { seq, prev: *prev, at: server.now(), event };
        *prev = Sha256Hash::of(serde_json::to_string(&record).unwrap().as_bytes());
        Some(record)
    });
    deliver(server, &records.collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_simulated_over_recorded_calls() {
    let story = Story::with(Server::start().await).await;
    recorded(&story.server).await;
    let body = json!({ "files": [{ "name": "p.yaml", "text": POLICY }], "since": "24h" });
    let found = story.server.post(OLAF, "/v1/policy/simulate", &body).await.expect(200);
    let sums = ["decisions", "changed", "not_by_policy", "asks", "requests", "unrecorded"].map(|field| &found[field]);
    assert_eq!(sums.map(|sum| sum.as_u64()), [3, 2, 1, 2, 1, 5].map(Some), "{found}");
    assert_eq!((&found["complete"], &found["requests_a_day"]), (&json!(true), &json!(1.0)));

    let policies = story.server.folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("p.yaml"), POLICY).unwrap();
    let line = format!("policy simulate {} --since 24h", policies.display().to_string().replace('_', "~"));
    let said = story.say(OLAF, &line).await.fine();
    for told in [
        "3 recorded decision(s) from ",
        "calls of which there is no record are not among them",
        "nor are 5 decision(s) of that time that filters dropped or lost",
        "2 would change, 0 would be the same",
        "2 x user:alice, payments refund.create: deny -> ask: no_role may_ask",
        "2 call(s) would be asked for: 1 request(s), 1 a day",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
}
