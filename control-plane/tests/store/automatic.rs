//! What rules decide by themselves: in order, with denials above all, and nothing approved by what is not known.

use grantmesh_control_plane::app::{AppError, Extended, Limits, RevokeFilter};
use grantmesh_control_plane::domain::{Actor, GrantStateWord, NewRequest, Request, RequestStateWord};
use grantmesh_shared::wire::holds::HoldState;

use crate::db::Db;
use crate::holds::{call, filed};
use crate::world::{ISSUER, POLICY, World, ann, approval, bob, code, lee, mia, olga, refund, signal, someone, span};

const DEFAULTS: &str = r#"spec:
  issuer: "https://id.example"
  claims: [{ name: level, type: number }, { name: risk, type: number }]
  signals:
    - { name: incident, setters: ["group:sre"] }
    - { name: freeze, setters: ["group:sre"] }
    - { name: on.call, of: user, setters: ["group:sre"], maxDuration: 8h }
    - { name: ticket.done, of: ticket, setters: ["group:sre"] }"#;

const ANN: &str = r#"
---
apiVersion: grantmesh.dev/v1
kind: Person
metadata: { name: ann }
spec: { accounts: [{ subject: ann }, { subject: ann-admin }] }
---
apiVersion: grantmesh.dev/v1
kind: Person
metadata: { name: anns-job }
spec: { accounts: [{ subject: svc-ann }], machine: true, owner: ann }
"#;

const INCIDENT: &str = "{ name: in-incident, then: approve, when: 'signals.incident' }";

/// Sets signals.
fn sam() -> Actor {
    someone("sam", &["sre"])
}

/// Reviews what is escalated.
fn max() -> Actor {
    someone("max", &["managers"])
}

fn policy(automatic: &str, more: &str) -> String {
    let rule = format!(
        "requestTimeout: 8h\n  hold: 1m\n  timeouts: {{ escalateAfter: 4h, escalateTo: [\"group:managers\"] }}\n  \
         automatic: [{automatic}]{more}\n---"
    );
    POLICY.replace("spec: { issuer: \"https://id.example\" }", DEFAULTS).replacen("requestTimeout: 8h\n---", &rule, 1)
        + ANN
}

async fn world(db: Db, automatic: &str, more: &str) -> World {
    let world = World::bare(db, Limits::default()).await;
    world.apply(&[&policy(automatic, more)], None).await.unwrap();
    world
}

impl World {
    async fn signal(&self, who: &Actor, name: &str, duration: &str) {
        self.app.set_signal(who, signal(name, None), "so", span(duration)).await.unwrap();
    }

    async fn filed(&self, who: &Actor) -> Request {
        self.app.file_request(who, self.refund()).await.unwrap().request
    }

    async fn filed_is(&self, who: &Actor) -> RequestStateWord {
        self.filed(who).await.state.word()
    }
}

fn claims(level: u64) -> Actor {
    let claims = serde_json::json!({ "level": level });
    ann().with_claims(claims.as_object().unwrap().clone())
}

const PENDING: RequestStateWord = RequestStateWord::Pending;
const APPROVED: RequestStateWord = RequestStateWord::Approved;
const DENIED: RequestStateWord = RequestStateWord::Denied;

pub(crate) async fn what_a_rule_approves_by_itself_is_a_grant_at_once(db: Db) {
    let world = world(db, INCIDENT, "").await;
    let app = &world.app;
    let waiting = world.filed(&ann()).await;
    assert_eq!((waiting.state.word(), &waiting.automatic), (PENDING, &None));
    let begun = app.last_event().await.unwrap().0;
    world.signal(&sam(), "incident", "1h").await;

    // What was filed before is for people, whatever is set since.
    assert_eq!(app.request(&ann(), &waiting.id).await.unwrap().state.word(), PENDING);
    let request = world.filed(&ann()).await;
    let grant = app.grant(&ann(), request.state.grant().unwrap()).await.unwrap();
    assert_eq!((grant.state.word(), grant.expires_at), (GrantStateWord::Active, world.now().plus(span("15m"))));
    assert!(world.keys().await.0.contains(&format!("grant/{}", grant.id)));
    assert_eq!(app.request(&ann(), &request.id).await.unwrap(), request);
    let automatic = request.automatic.as_ref().unwrap();
    assert_eq!(
        (&*automatic.name, automatic.word(), &automatic.policy),
        ("in-incident", "approve", &request.ask.policy)
    );

    // The log and the events say which of the rule's decisions it was, and under which version of the policy.
    let entries = world.entries().await;
    let named = |entry: &&serde_json::Value| entry["ids"]["request"] == request.id.as_str();
    let told: Vec<_> = entries.iter().filter(named).map(|entry| (&entry["kind"], &entry["actor"])).collect();
    assert_eq!(
        serde_json::json!(told),
        serde_json::json!([
            ["request.filed", { "issuer": ISSUER, "subject": "ann" }],
            ["request.automatic", "system"],
            ["grant.issued", "system"]
        ])
    );
    let entry = entries.iter().find(|entry| entry["kind"] == "request.automatic").unwrap();
    assert_eq!(entry["ids"]["policy"], request.ask.policy.as_str());
    assert_eq!(entry["ids"]["grant"], grant.id.as_str());
    let said = (&entry["data"]["rule"], &entry["data"]["name"], &entry["data"]["decision"]);
    assert_eq!(serde_json::json!(said), serde_json::json!(["refunds", "in-incident", "approve"]));
    let events = app.events_after(&lee(), begun).await.unwrap().events;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["request.filed", "request.approved", "grant.issued"]);
    let body: serde_json::Value = serde_json::from_str(&events[1].body).unwrap();
    assert_eq!(body["data"]["request"]["automatic"]["name"], "in-incident");
    assert_eq!(body["data"]["request"]["automatic"]["policy"], request.ask.policy.as_str());

    // People have the last word.
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "already_decided");
    app.revoke(&lee(), &grant.id, "not needed").await.unwrap();
    assert!(!world.keys().await.0.contains(&format!("grant/{}", grant.id)));
}

pub(crate) async fn what_is_not_known_never_approves(db: Db) {
    let list = "{ name: risky, then: deny, when: 'has(principal.claims.risk) && principal.claims.risk > 5' }, \
                { name: not-frozen, then: approve, when: '!signals.freeze && principal.claims.level >= 1' }, \
                { name: by-level, then: approve, when: 'signals.incident || principal.claims.level >= 3' }";
    let world = world(db, list, "").await;
    assert_eq!(world.filed_is(&ann()).await, PENDING);
    assert_eq!(world.filed_is(&claims(2)).await, PENDING);
    // What is true whatever else is not known is known.
    world.signal(&sam(), "freeze", "1h").await;
    assert_eq!(world.filed_is(&claims(3)).await, APPROVED);
    assert_eq!(world.filed_is(&claims(2)).await, PENDING);
    // Not by a claim that is no number, either.
    let odd = serde_json::json!({ "level": "9" });
    assert_eq!(world.filed_is(&ann().with_claims(odd.as_object().unwrap().clone())).await, PENDING);

    // A signal counts until its time is over, noticed or not, and whoever asks has not set it.
    world.apply(&[&policy(INCIDENT, "")], None).await.unwrap();
    world.signal(&sam(), "incident", "1h").await;
    assert_eq!(world.filed_is(&ann()).await, APPROVED);
    world.advance("1h");
    assert_eq!(world.filed_is(&ann()).await, PENDING);
    for (setter, by_ann, by_bob) in [
        ("ann", PENDING, APPROVED),
        ("ann-admin", PENDING, APPROVED),
        ("svc-ann", PENDING, APPROVED),
        ("bob", APPROVED, PENDING),
    ] {
        world.signal(&someone(setter, &["sre"]), "incident", "1h").await;
        assert_eq!(world.filed_is(&ann()).await, by_ann, "set by {setter}");
        assert_eq!(world.filed_is(&bob()).await, by_bob, "set by {setter}");
    }
    world.app.clear_signal(&sam(), signal("incident", None), None).await.unwrap();
    assert_eq!(world.filed_is(&ann()).await, PENDING);
    // Nor does what the requester has set keep off what would be held against them without it.
    for (then, without) in [("deny", DENIED), ("require, approvals: 2", PENDING), ("escalate", PENDING)] {
        let turned = format!(
            "{{ name: untrained, then: {then}, when: '!signals.incident' }}, \
             {{ name: senior, then: approve, when: 'principal.claims.level >= 3' }}"
        );
        world.apply(&[&policy(&turned, "")], None).await.unwrap();
        for (setter, state) in [("ann", without), ("ann-admin", without), ("sam", APPROVED)] {
            world.signal(&someone(setter, &["sre"]), "incident", "1h").await;
            assert_eq!(world.filed_is(&claims(3)).await, state, "{then}, set by {setter}");
        }
    }
    world.app.clear_signal(&sam(), signal("incident", None), None).await.unwrap();

    // A denial that cannot be judged leaves it to people.
    let unclear = format!("{INCIDENT}, {{ name: risky, then: deny, when: 'principal.claims.risk > 5' }}");
    world.apply(&[&policy(&unclear, "")], None).await.unwrap();
    world.signal(&sam(), "incident", "1h").await;
    assert_eq!(world.filed_is(&ann()).await, PENDING);
    let calm = serde_json::json!({ "risk": 5 });
    assert_eq!(world.filed_is(&ann().with_claims(calm.as_object().unwrap().clone())).await, APPROVED);
}

pub(crate) async fn a_denial_wins_and_cools_down(db: Db) {
    let list = format!("{INCIDENT}, {{ name: frozen, then: deny, when: 'signals.freeze' }}");
    let world = world(db, &list, "\n  limits: { coolDown: 10m }").await;
    world.signal(&sam(), "incident", "8h").await;
    // Nobody is heard against themselves less than for themselves.
    world.signal(&someone("ann", &["sre"]), "freeze", "1h").await;
    let denied = world.app.file_request(&ann(), refund("acc-1")).await.unwrap().request;
    assert_eq!((denied.state.word(), denied.automatic.as_ref().unwrap().word()), (DENIED, "deny"));
    assert_eq!(world.story_of(denied.id.as_str()).await, ["request.filed", "request.automatic"]);
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-1")).await), "cooling_down");
    assert_eq!(code(world.review(&lee(), &denied.id, approval()).await), "already_decided");
    world.app.clear_signal(&sam(), signal("freeze", None), None).await.unwrap();
    world.advance("10m");
    assert_eq!(world.app.file_request(&ann(), refund("acc-1")).await.unwrap().request.state.word(), APPROVED);
}

pub(crate) async fn more_is_required_and_others_are_asked(db: Db) {
    let list = "{ name: many, then: require, approvals: 2, when: 'principal.claims.risk > 5' }, \
                { name: managers, then: escalate, when: 'signals.incident' }, \
                { name: free, then: approve, when: 'signals.freeze' }";
    let world = world(db, list, "").await;
    world.signal(&sam(), "incident", "8h").await;
    world.signal(&sam(), "freeze", "8h").await;
    // Whether it is risky is not known, so that it is taken to be.
    let two = world.filed(&ann()).await;
    let automatic = two.automatic.clone().unwrap();
    assert_eq!((automatic.required(), two.approvals_needed, two.waited.escalated_at), (Some(2), 2, None));
    assert_eq!(world.review(&lee(), &two.id, approval()).await.unwrap().request.state.word(), PENDING);
    assert_eq!(code(world.app.request(&max(), &two.id).await), "not_found");
    assert_eq!(world.review(&mia(), &two.id, approval()).await.unwrap().request.state.word(), APPROVED);

    let calm = serde_json::json!({ "risk": 1 });
    let calm = ann().with_claims(calm.as_object().unwrap().clone());
    let begun = world.app.last_event().await.unwrap().0;
    let escalated = world.filed(&calm).await;
    assert_eq!((escalated.state.word(), escalated.waited.escalated_at), (PENDING, Some(world.now())));
    assert_eq!(world.app.request(&max(), &escalated.id).await.unwrap(), escalated);
    let told = world.app.events_after(&max(), begun).await.unwrap().events;
    assert!(told.iter().any(|event| event.kind == "request.escalated"), "{told:?}");
    assert_eq!(world.review(&max(), &escalated.id, approval()).await.unwrap().request.state.word(), APPROVED);
    world.advance("4h");
    assert_eq!(world.app.escalate_requests().await.unwrap(), 0);
    world.app.clear_signal(&sam(), signal("incident", None), None).await.unwrap();
    assert_eq!(world.filed_is(&calm).await, APPROVED);
}

pub(crate) async fn what_starts_later_is_asked_again_when_it_does(db: Db) {
    let world = world(db, INCIDENT, "").await;
    let app = &world.app;
    let later = |world: &World| NewRequest { starts_at: Some(world.now().plus(span("1h"))), ..world.refund() };
    world.signal(&sam(), "incident", "90m").await;
    let scheduled = async |world: &World| {
        let request = app.file_request(&ann(), later(world)).await.unwrap().request;
        app.grant(&ann(), request.state.grant().unwrap()).await.unwrap()
    };
    let first = scheduled(&world).await;
    assert_eq!(first.state.word(), GrantStateWord::Scheduled);
    world.advance("1h");
    assert_eq!(app.start_grants().await.unwrap(), 1);
    assert_eq!(app.grant(&ann(), &first.id).await.unwrap().state.word(), GrantStateWord::Active);
    // The incident is over when the second one is to start.
    let second = scheduled(&world).await;
    world.advance("1h");
    assert_eq!(app.start_grants().await.unwrap(), 1);
    let ended = app.grant(&ann(), &second.id).await.unwrap();
    assert_eq!(ended.state.word(), GrantStateWord::Revoked);
    assert!(format!("{:?}", ended.state).contains("no longer approves this by itself"), "{ended:?}");
    // What people approved starts.
    let request = app.file_request(&ann(), later(&world)).await.unwrap().request;
    let third = world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap();
    world.advance("1h");
    app.start_grants().await.unwrap();
    assert_eq!(app.grant(&ann(), &third.id).await.unwrap().state.word(), GrantStateWord::Active);
}

pub(crate) async fn more_time_is_for_people_and_a_call_need_not_wait(db: Db) {
    let list = format!("{INCIDENT}, {{ name: frozen, then: deny, when: 'signals.freeze' }}");
    let world = world(db, &list, "").await;
    let app = &world.app;
    world.signal(&sam(), "incident", "8h").await;
    let request = world.filed(&ann()).await;
    let grant = request.state.grant().unwrap();
    let Extended::Asked(more) = app.extend(&ann(), grant, span("5m"), Some("more")).await.unwrap() else {
        panic!("nothing is free")
    };
    assert_eq!((more.state.word(), &more.automatic), (PENDING, &None));
    app.withdraw(&ann(), &more.id).await.unwrap();

    let until = world.now().plus(span("30s"));
    assert!(matches!(filed(&world, 1, call(1, until)).await.1, HoldState::Approved(_)));
    world.signal(&sam(), "freeze", "1h").await;
    assert_eq!(filed(&world, 1, call(2, until)).await.1, HoldState::Denied);
    let Extended::Asked(more) = app.extend(&ann(), grant, span("5m"), Some("more")).await.unwrap() else {
        panic!("nothing is free")
    };
    assert_eq!(more.state.word(), DENIED);
}

pub(crate) async fn limits_hold_for_what_is_approved_at_once(db: Db) {
    let world = world(db, INCIDENT, "\n  limits: { perHour: 3 }").await;
    world.signal(&sam(), "incident", "1h").await;
    let world = std::sync::Arc::new(world);
    let ask = |_| {
        let world = std::sync::Arc::clone(&world);
        tokio::spawn(async move { world.app.file_request(&ann(), world.refund()).await })
    };
    let mut filed = 0;
    for asked in (0..20).map(ask).collect::<Vec<_>>() {
        match asked.await.unwrap() {
            Ok(one) => {
                assert_eq!(one.request.state.word(), APPROVED);
                filed += 1;
            }
            Err(refused @ AppError::Limit(_)) => assert_eq!(refused.code(), "asked_too_often"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(filed, 3);
    // The policy of the moment decides, and is what is named.
    let before = world.filed(&bob()).await.automatic.unwrap();
    let other = world.apply(&[&policy(&INCIDENT.replace("in-incident", "another"), "")], None).await.unwrap();
    let after = world.filed(&bob()).await.automatic.unwrap();
    assert_eq!((&*before.name, &*after.name, &after.policy), ("in-incident", "another", &other.about.id));
    assert!(before.policy != after.policy);
    let (service, rule) = (Some("payments".to_owned()), Some("refunds".to_owned()));
    let all = RevokeFilter { service, rule, ..RevokeFilter::default() };
    assert_eq!(world.app.revoke_many(&olga(), &all, "over", false).await.unwrap().grants.len(), 5);
}

pub(crate) async fn what_is_said_of_one_is_not_said_of_others(db: Db) {
    let list = "{ name: on-call, then: approve, when: 'signals[\"on.call\"]' }, \
                { name: done, then: approve, when: 'signals[\"ticket.done\"]' }";
    let world = world(db, list, "").await;
    let app = &world.app;
    let hour = span("1h");
    for (name, of) in [("on.call", None), ("incident", Some("ann"))] {
        assert_eq!(code(app.set_signal(&sam(), signal(name, of), "so", hour).await), "said_of_what");
        assert_eq!(code(app.clear_signal(&sam(), signal(name, of), None).await), "said_of_what");
    }
    for (of, refused) in [(" ", "said_of_what"), (&"x".repeat(257), "bad_text")] {
        assert_eq!(code(app.set_signal(&sam(), signal("on.call", Some(of)), "so", hour).await), refused);
    }
    assert_eq!(code(app.set_signal(&ann(), signal("on.call", Some("ann")), "so", hour).await), "not_found");
    app.set_signal(&sam(), signal("on.call", Some("ann")), "so", hour).await.unwrap();
    assert_eq!((world.filed_is(&ann()).await, world.filed_is(&bob()).await), (APPROVED, PENDING));
    assert_eq!(world.filed_is(&someone("ann-admin", &["support"])).await, PENDING, "it is said of an account");
    // Who says it of themselves says nothing.
    app.set_signal(&someone("bob", &["sre"]), signal("on.call", Some("bob")), "so", hour).await.unwrap();
    assert_eq!(world.filed_is(&bob()).await, PENDING);
    // What is said against somebody holds for all of their accounts.
    let deny = "{ name: away, then: deny, when: 'signals[\"on.call\"]' }";
    world.apply(&[&policy(deny, "")], None).await.unwrap();
    for (name, becomes) in [("ann-admin", DENIED), ("svc-ann", DENIED), ("cat", PENDING)] {
        assert_eq!(world.filed_is(&someone(name, &["support"])).await, becomes, "{name}");
    }
    world.apply(&[&policy(list, "")], None).await.unwrap();
    // Filters decide nothing by it and have nothing of it; people who may set it see of whom it is said.
    assert!(!world.keys().await.0.iter().any(|key| key.contains("on.call")));
    let listed = app.signals(&sam()).await.unwrap();
    let on_call = listed.iter().find(|signal| signal.declaration.name == "on.call").unwrap();
    let said: Vec<&str> = on_call.said.iter().map(|signal| signal.about.as_ref().unwrap().name()).collect();
    assert_eq!((&on_call.set, said), (&None, vec!["ann", "bob"]));
    let entries = world.entries().await;
    let set = entries.iter().find(|entry| entry["kind"] == "signal.set").unwrap();
    let of = serde_json::json!({ "user": { "issuer": ISSUER, "subject": "ann" } });
    assert_eq!((&set["data"]["signal"], &set["data"]["of"]), (&"on.call".into(), &of));

    let ticket = async |ticket: Option<&str>| {
        let new = NewRequest { ticket: ticket.map(str::to_owned), ..world.refund() };
        app.file_request(&bob(), new).await.unwrap().request.state.word()
    };
    app.set_signal(&sam(), signal("ticket.done", Some("INC-1")), "so", hour).await.unwrap();
    assert_eq!(ticket(Some("INC-1")).await, APPROVED);
    assert_eq!(
        (ticket(Some("INC-2")).await, ticket(Some("inc-1")).await, ticket(None).await),
        (PENDING, PENDING, PENDING)
    );
    app.clear_signal(&sam(), signal("ticket.done", Some("INC-1")), None).await.unwrap();
    assert_eq!(ticket(Some("INC-1")).await, PENDING);
    assert_eq!(code(app.clear_signal(&sam(), signal("ticket.done", Some("INC-1")), None).await), "signal_not_set");

    // It ends by its time, and with what declares it.
    world.advance("1h");
    assert_eq!((world.filed_is(&ann()).await, app.expire_signals().await.unwrap()), (PENDING, 2));
    app.set_signal(&sam(), signal("on.call", Some("ann")), "so", span("8h")).await.unwrap();
    let other = policy(list, "").replace("of: user", "of: ticket");
    world.apply(&[&other], None).await.unwrap();
    world.apply(&[&policy(list, "")], None).await.unwrap();
    assert_eq!(world.filed_is(&ann()).await, PENDING);
}

pub(crate) async fn a_call_that_is_sent_again_is_told_no_again(db: Db) {
    let list = "{ name: frozen, then: deny, when: 'signals.freeze' }, { name: always, then: deny, when: 'resource == \"account/acc-9\"' }";
    let world = world(db, list, "").await;
    world.signal(&sam(), "freeze", "2h").await;
    let mut number = 0;
    let mut sent = async || {
        number += 1;
        filed(&world, 1, call(number, world.now().plus(span("30s")))).await
    };
    let (first, state) = sent().await;
    assert_eq!(state, HoldState::Denied);
    for _ in 0..3 {
        assert_eq!(sent().await, (first.clone(), HoldState::Denied));
    }
    let first = first.unwrap();
    // Of anything else it is not said by that request: not of another resource, nor of another person.
    for (at, key) in [("account/acc-43", "ann"), ("account/acc-42", "bob")].into_iter().enumerate() {
        let mut other = call(100 + at as u64, world.now().plus(span("30s")));
        (other.event.resource, other.event.subject) = (Some(key.0.into()), Some(key.1.into()));
        let (request, state) = filed(&world, 1, other).await;
        assert!(request.as_ref() != Some(&first) && state == HoldState::Denied, "{key:?}");
        assert_eq!(
            world.story_of(request.unwrap().as_str()).await,
            ["request.filed", "request.automatic", "hold.began"]
        );
    }
    let story = ["request.filed", "request.automatic", "hold.began", "hold.began", "hold.began", "hold.began"];
    assert_eq!(world.story_of(first.as_str()).await, story, "each call is on record, and one request");
    // It is judged anew each time: what no longer holds denies nothing, and another policy says it for itself.
    world.app.clear_signal(&sam(), signal("freeze", None), None).await.unwrap();
    let (second, state) = sent().await;
    assert!(second.as_ref() != Some(&first) && state == HoldState::Pending);
    world.app.withdraw(&ann(), &second.unwrap()).await.unwrap();
    world.signal(&sam(), "freeze", "2h").await;
    assert_eq!(sent().await, (Some(first.clone()), HoldState::Denied));
    world.apply(&[&policy(&list.replace("frozen", "frozen-now"), "")], None).await.unwrap();
    let (third, state) = sent().await;
    assert!(third.as_ref() != Some(&first) && state == HoldState::Denied);
    // After an hour it is asked anew.
    world.advance("1h");
    let (fourth, state) = sent().await;
    assert!(fourth != third && state == HoldState::Denied);
}
