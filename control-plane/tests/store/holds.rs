//! Calls that filters hold: whose requests are filed, joined and withdrawn for them, and what they are told.

use futures_util::future::join_all;
use grantmesh_control_plane::domain::{NewRequest, NewReview, RequestStateWord, Verdict};
use grantmesh_shared::id::{DecisionId, RequestId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::holds::{
    EndedHold, HoldEnd, HoldItem, HoldResult, HoldState, HoldsRequest, MAX_ASKED, MAX_FILED,
};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};
use grantmesh_shared::wire::sync::{Position, VmIdentity};

use crate::db::Db;
use crate::records::{deny, identity, vm};
use crate::world::{ISSUER, POLICY, World, ann, approval, bob, code, denial, eve, lee, refund};

/// The policy of the scenarios, whose refunds are held.
fn holding() -> String {
    POLICY.replace("  defaultDuration: 15m\n", "  defaultDuration: 15m\n  hold: 30s\n")
}

async fn world(db: Db) -> World {
    let world = World::new(db).await;
    world.apply(&[&holding()], None).await.unwrap();
    world
}

/// A refund of Ann's that a filter refuses and holds.
pub(crate) fn call(number: u64, until: Timestamp) -> HoldItem<'static> {
    let event = DecisionEvent {
        decision: DecisionWord::Ask,
        action: Some("refund.create".into()),
        resource: Some("account/acc-42".into()),
        method: "POST".into(),
        path: "/v1/accounts/acc-42/refunds".into(),
        issuer: Some(ISSUER.into()),
        subject: Some("ann".into()),
        groups: Some(vec!["support".into()]),
        ..deny(DecisionId::new(number, [1; 10]))
    };
    HoldItem { event, rule: "refunds".to_owned(), call: None, justification: None, until }
}

fn question(by: u8) -> HoldsRequest<'static> {
    let (file, ask, end) = (Vec::new(), Vec::new(), Vec::new());
    HoldsRequest { v: PROTOCOL_VERSION, filter: vm(by), nonce: "0".repeat(32), file, ask, end }
}

async fn told(world: &World, question: HoldsRequest<'static>) -> Vec<HoldResult> {
    world.app.holds(&identity(), &question).await.unwrap()
}

/// Files a hold of half a minute.
async fn file(world: &World, by: u8, number: u64) -> (Option<RequestId>, HoldState) {
    filed(world, by, call(number, world.now().plus(Span::from_secs(30)))).await
}

pub(crate) async fn filed(world: &World, by: u8, item: HoldItem<'static>) -> (Option<RequestId>, HoldState) {
    let decision = item.event.id.clone();
    let mut results = told(world, HoldsRequest { file: vec![item], ..question(by) }).await;
    let HoldResult { decision: answered, request, state } = results.remove(0);
    assert!(results.is_empty() && answered == decision);
    (request, state)
}

async fn ask(world: &World, by: u8, number: u64) -> HoldState {
    let ask = vec![DecisionId::new(number, [1; 10])];
    told(world, HoldsRequest { ask, ..question(by) }).await.remove(0).state
}

async fn end(world: &World, by: u8, number: u64, why: HoldEnd) {
    let end = vec![EndedHold { decision: DecisionId::new(number, [1; 10]), why }];
    assert!(told(world, HoldsRequest { end, ..question(by) }).await.is_empty());
}

async fn state(world: &World, id: &RequestId) -> RequestStateWord {
    world.app.request(&ann(), id).await.unwrap().state.word()
}

pub(crate) async fn a_held_call_has_its_request_filed_and_learns_what_becomes_of_it(db: Db) {
    let world = world(db).await;
    let said = HoldItem { justification: Some("the customer waits".to_owned()), ..call(1, world.now()) };
    let (request, state) = filed(&world, 1, said).await;
    let request = request.unwrap();
    assert_eq!(state, HoldState::Pending);
    let stored = world.app.request(&ann(), &request).await.unwrap();
    assert_eq!((stored.ask.justification.as_str(), stored.ask.rule.as_str()), ("the customer waits", "refunds"));
    assert_eq!(stored.ask.requester_groups, ["support"]);
    assert_eq!(world.story_of(request.as_str()).await, ["request.filed", "hold.began"]);
    let holds = world.app.holds_of(&lee(), &request).await.unwrap();
    assert_eq!((holds.len(), holds[0].filed, holds[0].until > world.now()), (1, true, true));
    assert_eq!(code(world.app.holds_of(&eve(), &request).await), "not_found");

    assert_eq!(ask(&world, 1, 1).await, HoldState::Pending);
    let grant = world.review(&lee(), &request, approval()).await.unwrap().grant.unwrap();
    let epoch = world.app.head().await.unwrap().position.epoch;
    assert_eq!(ask(&world, 1, 1).await, HoldState::Approved(Position { epoch, revision: grant.revision }));
    end(&world, 1, 1, HoldEnd::Over).await;
    end(&world, 1, 1, HoldEnd::Gone).await;
    let story = world.story_of(DecisionId::new(1, [1; 10]).as_str()).await;
    assert_eq!(story, ["hold.began", "hold.ended"], "it ends once");

    // Without a word of the caller's, people see the call.
    let (request, _) = file(&world, 1, 2).await;
    let request = request.unwrap();
    let why = world.app.request(&lee(), &request).await.unwrap().ask.justification;
    assert_eq!(why.as_str(), "A call that waits: POST /v1/accounts/acc-42/refunds");
    let no = NewReview { verdict: Verdict::Deny, reason: Some("no".to_owned()), ..approval() };
    world.review(&lee(), &request, no).await.unwrap();
    assert_eq!(ask(&world, 1, 2).await, HoldState::Denied);

    let (request, _) = file(&world, 1, 3).await;
    world.app.withdraw(&ann(), &request.unwrap()).await.unwrap();
    assert_eq!(ask(&world, 1, 3).await, HoldState::Withdrawn);
    file(&world, 1, 4).await;
    world.advance("8h");
    assert_eq!(ask(&world, 1, 4).await, HoldState::TimedOut, "before anybody has noted it");
}

pub(crate) async fn the_same_call_waits_for_the_request_that_is_there(db: Db) {
    let world = world(db).await;
    let (request, _) = file(&world, 1, 1).await;
    assert_eq!(file(&world, 1, 1).await, (request.clone(), HoldState::Pending), "filed again");
    assert_eq!(file(&world, 2, 2).await, (request.clone(), HoldState::Pending), "at another proxy");
    let request = request.unwrap();
    assert_eq!(world.app.holds_of(&ann(), &request).await.unwrap().len(), 2);
    let other = call(3, world.now());
    let resource = Some("account/acc-7".into());
    let other = HoldItem { event: DecisionEvent { resource, ..other.event.clone() }, ..other };
    assert_ne!(filed(&world, 1, other).await.0, Some(request.clone()));

    // One caller goes: the other still waits. Both: nobody need decide it any more.
    end(&world, 1, 1, HoldEnd::Gone).await;
    assert_eq!(state(&world, &request).await, RequestStateWord::Pending);
    end(&world, 2, 2, HoldEnd::Gone).await;
    assert_eq!(state(&world, &request).await, RequestStateWord::Withdrawn);
    assert_eq!(
        world.story_of(request.as_str()).await,
        ["request.filed", "hold.began", "hold.began", "hold.ended", "hold.ended", "request.withdrawn"]
    );

    // What was asked for in another way is not taken back, nor what only was not decided in time.
    let asked = world.app.file_request(&ann(), refund("acc-42")).await.unwrap().request;
    assert_eq!(file(&world, 1, 5).await.0, Some(asked.id.clone()));
    end(&world, 1, 5, HoldEnd::Gone).await;
    assert_eq!(state(&world, &asked.id).await, RequestStateWord::Pending);
    world.app.withdraw(&ann(), &asked.id).await.unwrap();
    let (request, _) = file(&world, 1, 6).await;
    end(&world, 1, 6, HoldEnd::Over).await;
    assert_eq!(state(&world, &request.unwrap()).await, RequestStateWord::Pending);
}

pub(crate) async fn a_filter_files_only_what_the_policy_lets_its_callers_wait_for(db: Db) {
    let world = world(db).await;
    let until = world.now().plus(Span::from_secs(30));
    let good = || call(1, until).event;
    let with = |event: DecisionEvent<'static>| HoldItem { event, ..call(1, until) };
    for (what, item) in [
        ("word", with(DecisionEvent { decision: DecisionWord::Allow, ..good() })),
        ("service", with(DecisionEvent { service: "vault".into(), ..good() })),
        ("no user", with(DecisionEvent { subject: None, ..good() })),
        ("a name unseen", with(DecisionEvent { subject: Some("ann\u{200d}".into()), ..good() })),
        ("a group turned", with(DecisionEvent { groups: Some(vec!["support".into(), "a\u{202e}b".into()]), ..good() })),
        ("unknown groups", with(DecisionEvent { groups: None, ..good() })),
        ("not eligible", with(DecisionEvent { groups: Some(vec!["guests".into()]), ..good() })),
        ("another issuer", with(DecisionEvent { issuer: Some("https://evil.example".into()), ..good() })),
        ("action", with(DecisionEvent { action: Some("account.close".into()), ..good() })),
        ("resource", with(DecisionEvent { resource: None, ..good() })),
        ("long", with(DecisionEvent { path: "x".repeat(11_000).into(), ..good() })),
        ("rule", HoldItem { rule: "closing".to_owned(), ..call(1, until) }),
        ("unknown rule", HoldItem { rule: "nothing".to_owned(), ..call(1, until) }),
        ("justification", HoldItem { justification: Some("a\u{202e}b".to_owned()), ..call(1, until) }),
    ] {
        let (request, state) = filed(&world, 1, item).await;
        assert!(request.is_none() && matches!(state, HoldState::Refused(_)), "{what}: {state:?}");
    }
    // A service that its callers could wait for, were it one that this VM loads.
    let of_others = VmIdentity { services: vec!["ledger".to_owned()], ..vm(1) };
    let asked = HoldsRequest { filter: of_others, file: vec![call(1, until)], ..question(1) };
    assert!(matches!(told(&world, asked).await.remove(0).state, HoldState::Refused(_)));
    // One that is refused takes no other one with it.
    let mixed = vec![with(DecisionEvent { subject: None, ..good() }), call(2, until)];
    let results = told(&world, HoldsRequest { file: mixed, ..question(1) }).await;
    assert!(matches!(results[0].state, HoldState::Refused(_)) && results[1].state == HoldState::Pending);

    // What another VM holds is not this one's to ask for or to end.
    assert!(matches!(ask(&world, 2, 2).await, HoldState::Refused(_)));
    assert!(matches!(file(&world, 2, 2).await.1, HoldState::Refused(_)));
    end(&world, 2, 2, HoldEnd::Gone).await;
    assert_eq!(ask(&world, 1, 2).await, HoldState::Pending);

    let many = |count: usize| (0..count as u64).map(|number| call(100 + number, until)).collect::<Vec<_>>();
    let too_many = HoldsRequest { file: many(MAX_FILED + 1), ..question(1) };
    assert_eq!(code(world.app.holds(&identity(), &too_many).await), "filter_not_covered");
    let ids = |count: usize| many(count).into_iter().map(|item| item.event.id).collect::<Vec<_>>();
    let too_many = HoldsRequest { ask: ids(MAX_ASKED + 1), ..question(1) };
    assert_eq!(code(world.app.holds(&identity(), &too_many).await), "filter_not_covered");

    // However long a filter says that a call waits, it is no longer than its rule says, and it is over by its time.
    let (request, _) = filed(&world, 1, call(3, until.plus(Span::from_secs(3_600)))).await;
    let holds = world.app.holds_of(&ann(), &request.unwrap()).await.unwrap();
    assert!(holds.iter().all(|hold| hold.until <= until), "{holds:?}");
    // A rule that no longer holds.
    world.apply(&[POLICY], None).await.unwrap();
    assert!(matches!(file(&world, 1, 4).await.1, HoldState::Refused(_)));
}

pub(crate) async fn as_many_calls_of_a_proxy_wait_as_it_holds(db: Db) {
    let world = world(db).await;
    let until = world.now().plus(Span::from_secs(30));
    let calls: Vec<HoldItem<'static>> = (0..1_001).map(|number| call(number, until)).collect();
    let mut refused = 0;
    for file in calls.chunks(MAX_FILED) {
        let results = told(&world, HoldsRequest { file: file.to_vec(), ..question(1) }).await;
        refused += results.iter().filter(|result| matches!(result.state, HoldState::Refused(_))).count();
    }
    assert_eq!(refused, 1);
    assert_eq!(file(&world, 2, 2_000).await.1, HoldState::Pending, "another proxy has room");
    world.advance("30s");
    assert_eq!(file(&world, 1, 2_001).await.1, HoldState::Pending, "those are over");
}

pub(crate) async fn a_call_that_waits_obeys_the_limits_of_its_rule(db: Db) {
    let world = World::new(db).await;
    let limits = "  hold: 30s\n  limits: { pending: 2, perHour: 4, coolDown: 30m }\n";
    world.apply(&[&holding().replace("  hold: 30s\n", limits)], None).await.unwrap();
    let on = |number: u64, account: &str| {
        let item = call(number, world.now().plus(Span::from_secs(30)));
        let resource = Some(format!("account/{account}").into());
        HoldItem { event: DecisionEvent { resource, ..item.event.clone() }, ..item }
    };
    let refused = async |number: u64, account: &str| match filed(&world, 1, on(number, account)).await {
        (None, HoldState::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    // What was asked for in either way counts for both.
    let one = world.app.file_request(&ann(), refund("acc-1")).await.unwrap().request;
    let two = filed(&world, 1, on(1, "acc-2")).await.0.unwrap();
    assert!(refused(2, "acc-3").await.contains("2 pending requests under the rule `refunds`"));
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-3")).await), "too_many_pending");
    // To wait for what is there already is no further ask.
    assert_eq!(filed(&world, 1, on(3, "acc-1")).await.0, Some(one.id.clone()));
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-2")).await), "already_asked");
    world.review(&lee(), &two, denial()).await.unwrap();
    assert!(refused(4, "acc-2").await.contains("this was denied to you"));
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-2")).await), "cooling_down");
    // One that begins later is not what a call waits for.
    world.app.withdraw(&ann(), &one.id).await.unwrap();
    let later = NewRequest { starts_at: Some(world.now().plus(Span::from_secs(7_200))), ..refund("acc-1") };
    let later = world.app.file_request(&ann(), later).await.unwrap().request;
    let (now, state) = filed(&world, 1, on(5, "acc-1")).await;
    assert!(state == HoldState::Pending && now.as_ref() != Some(&later.id), "{now:?}");
    world.app.withdraw(&ann(), &now.unwrap()).await.unwrap();
    assert!(refused(6, "acc-4").await.contains("lets one person ask 4 times an hour"));
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-4")).await), "asked_too_often");
    // One that is refused takes no other one with it.
    let bobs = on(7, "acc-4");
    let bobs = HoldItem { event: DecisionEvent { subject: Some("bob".into()), ..bobs.event.clone() }, ..bobs };
    let results = told(&world, HoldsRequest { file: vec![on(8, "acc-4"), bobs], ..question(1) }).await;
    assert!(matches!(results[0].state, HoldState::Refused(_)) && results[1].state == HoldState::Pending);
}

pub(crate) async fn many_filters_at_once_file_one_request_for_one_caller(db: Db) {
    let world = world(db).await;
    let requests = join_all((1..=8).map(|by| file(&world, by, u64::from(by)))).await;
    let first = requests[0].0.clone().unwrap();
    assert!(requests.iter().all(|(request, state)| *request == Some(first.clone()) && *state == HoldState::Pending));
    // Bob asks for himself.
    let bobs = call(50, world.now());
    let event = DecisionEvent { subject: Some("bob".into()), ..bobs.event.clone() };
    let (request, _) = filed(&world, 1, HoldItem { event, ..bobs }).await;
    assert_ne!(request, Some(first.clone()));
    let other = world.app.request(&bob(), &request.unwrap()).await.unwrap();
    assert_eq!(&*other.ask.requester.subject, "bob");
    let ended = join_all((1..=8).map(|by| end(&world, by, u64::from(by), HoldEnd::Gone))).await;
    assert_eq!((ended.len(), state(&world, &first).await), (8, RequestStateWord::Withdrawn));
}
