//! Grants for a number of uses: how many are taken, by whom, and what is told of them.

use futures_util::future::join_all;
use grantmesh_control_plane::app::FilterIdentity;
use grantmesh_control_plane::domain::{Ask, Grant, GrantStateWord, NewRequest, NewReview};
use grantmesh_shared::id::{DecisionId, UseId};
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::claims::{ClaimOutcome, ClaimRefusal, ClaimsRequest, MAX_CLAIMS};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event, MoreCall, UseEvent, UseOutcome};
use serde_json::Value;

use crate::db::Db;
use crate::records::{Stream, deny, identity, vm};
use crate::world::{ISSUER, World, ann, approval, code, eve, lee, olga, refund};

/// A grant of Ann's for so many refunds on acc-42.
async fn granted(world: &World, uses: u32) -> Grant {
    let new = NewRequest { uses: Some(uses), ..refund("acc-42") };
    let request = world.app.file_request(&ann(), new).await.unwrap().request;
    world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap()
}

/// A call of Ann's that a filter lets through under a grant.
fn call(grant: &Grant, number: u64) -> DecisionEvent<'static> {
    DecisionEvent {
        decision: DecisionWord::Allow,
        action: Some("refund.create".into()),
        resource: Some("account/acc-42".into()),
        method: "POST".into(),
        path: "/v1/accounts/acc-42/refunds".into(),
        issuer: Some(ISSUER.into()),
        subject: Some("ann".into()),
        grant: Some(grant.id.clone()),
        reasons: Vec::new(),
        ..deny(DecisionId::new(number, [1; 10]))
    }
}

fn asked(by: u8, claims: Vec<DecisionEvent<'static>>) -> ClaimsRequest<'static> {
    ClaimsRequest { v: PROTOCOL_VERSION, filter: vm(by), nonce: "0".repeat(32), claims }
}

async fn claim(world: &World, by: u8, event: DecisionEvent<'static>) -> Result<UseId, ClaimRefusal> {
    let results = world.app.claim(&identity(), &asked(by, vec![event.clone()])).await.unwrap();
    assert_eq!((results.len(), &results[0].decision), (1, &event.id));
    match results[0].outcome.clone() {
        ClaimOutcome::Claimed(id) => Ok(id),
        ClaimOutcome::Refused(why) => Err(why),
    }
}

async fn state(world: &World, grant: &Grant) -> (GrantStateWord, u32) {
    let grant = world.app.grant(&ann(), &grant.id).await.unwrap();
    (grant.state.word(), grant.uses.unwrap().claimed)
}

/// The item that filters load; nothing if they do not any more.
async fn item(world: &World, grant: &Grant) -> Option<Value> {
    let items = world.app.items_since(0).await.unwrap().items;
    let item = items.into_iter().find(|item| item.key == format!("grant/{}", grant.id))?;
    item.body.map(|body| serde_json::from_str::<Value>(&body).unwrap()["grant"].take())
}

pub(crate) async fn a_grant_is_good_for_as_many_calls_as_were_approved(db: Db) {
    let world = World::new(db).await;
    let grant = granted(&world, 2).await;
    assert_eq!(item(&world, &grant).await.unwrap()["uses"], serde_json::json!({ "allowed": 2 }));
    let before = world.app.head().await.unwrap().position;
    let first = claim(&world, 1, call(&grant, 1)).await.unwrap();
    assert_eq!(world.app.head().await.unwrap().position, before, "filters need not hear of it");
    assert_eq!(state(&world, &grant).await, (GrantStateWord::Active, 1));
    let second = claim(&world, 2, call(&grant, 2)).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(state(&world, &grant).await, (GrantStateWord::Exhausted, 2));
    assert_eq!(item(&world, &grant).await.unwrap()["uses"], serde_json::json!({ "allowed": 2, "exhausted": true }));
    assert_eq!(claim(&world, 1, call(&grant, 3)).await, Err(ClaimRefusal::Exhausted));
    let uses = world.app.uses(&lee(), &grant.id).await.unwrap();
    let told: Vec<_> = uses.iter().map(|taken| (taken.number, &taken.id, taken.outcome)).collect();
    assert_eq!(told, [(1, &first, None), (2, &second, None)]);
    assert_eq!(code(world.app.uses(&eve(), &grant.id).await), "not_found");
    assert_eq!(
        world.story_of(grant.id.as_str()).await,
        ["review.approved", "grant.issued", "use.claimed", "use.claimed"]
    );
    let entries = world.entries().await;
    let last = entries.iter().rfind(|entry| entry["kind"] == "use.claimed").unwrap();
    assert_eq!(
        (&last["data"]["number"], &last["data"]["of"], &last["data"]["exhausted"]),
        (&2.into(), &2.into(), &true.into())
    );
    assert_eq!(last["data"]["event"]["path"], "/v1/accounts/acc-42/refunds");

    // One that has ended, or was never counted, has no uses.
    let revoked = granted(&world, 5).await;
    world.app.revoke(&lee(), &revoked.id, "enough").await.unwrap();
    assert_eq!(claim(&world, 1, call(&revoked, 10)).await, Err(ClaimRefusal::Ended));
    let over = granted(&world, 5).await;
    world.advance("15m");
    assert_eq!(claim(&world, 1, call(&over, 11)).await, Err(ClaimRefusal::Ended));
    let any = world.granted().await;
    assert_eq!(claim(&world, 1, call(&any, 12)).await, Err(ClaimRefusal::NotYours));
}

pub(crate) async fn a_claim_is_one_callers_and_the_same_however_often_it_is_asked(db: Db) {
    let world = World::new(db).await;
    let grant = granted(&world, 3).await;
    let first = claim(&world, 1, call(&grant, 1)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(claim(&world, 1, call(&grant, 1)).await, Ok(first.clone()));
    }
    assert_eq!(claim(&world, 2, call(&grant, 1)).await, Err(ClaimRefusal::NotYours), "another VM under its id");
    let twice = world.app.claim(&identity(), &asked(1, vec![call(&grant, 2), call(&grant, 2)])).await.unwrap();
    assert_eq!(twice[0].outcome, twice[1].outcome);
    assert_eq!(state(&world, &grant).await, (GrantStateWord::Active, 2));
    // Whatever is not a call that the grant lets through.
    let good = || call(&grant, 9);
    for (what, event) in [
        ("action", DecisionEvent { action: Some("account.close".into()), ..good() }),
        ("resource", DecisionEvent { resource: Some("account/acc-4".into()), ..good() }),
        ("cut", DecisionEvent { resource: Some("account/acc-…".into()), ..good() }),
        ("subject", DecisionEvent { subject: Some("bob".into()), ..good() }),
        ("issuer", DecisionEvent { issuer: None, ..good() }),
        ("service", DecisionEvent { service: "ledger".into(), ..good() }),
        ("word", DecisionEvent { decision: DecisionWord::Ask, ..good() }),
        ("grant", DecisionEvent { grant: None, ..good() }),
        ("count", DecisionEvent { count: 2, ..good() }),
        ("more", DecisionEvent { more: vec![MoreCall { after_ms: 1, request_id: None }], ..good() }),
    ] {
        assert_eq!(claim(&world, 1, event).await, Err(ClaimRefusal::NotYours), "{what}");
    }
    // A filter of other services, too many at once, and one that is too long.
    let mut elsewhere = asked(1, vec![good()]);
    elsewhere.filter.services = vec!["ledger".to_owned()];
    let results = world.app.claim(&identity(), &elsewhere).await.unwrap();
    assert_eq!(results[0].outcome, ClaimOutcome::Refused(ClaimRefusal::NotYours));
    elsewhere.filter.services = vec!["vault".to_owned()];
    assert_eq!(code(world.app.claim(&identity(), &elsewhere).await), "filter_not_covered");
    let many = asked(1, (0..=MAX_CLAIMS as u64).map(|number| call(&grant, 100 + number)).collect());
    assert_eq!(code(world.app.claim(&identity(), &many).await), "filter_not_covered");
    // One that is too long takes nothing, and no other one with it.
    let long = DecisionEvent { path: "x".repeat(11_000).into(), ..good() };
    let results = world.app.claim(&identity(), &asked(1, vec![long, call(&grant, 20)])).await.unwrap();
    assert_eq!(results[0].outcome, ClaimOutcome::Refused(ClaimRefusal::NotYours));
    assert!(matches!(results[1].outcome, ClaimOutcome::Claimed(_)));
    assert_eq!(state(&world, &grant).await, (GrantStateWord::Exhausted, 3));
    // A VM is its credential's, once it is known.
    world.app.vm_seen(&identity(), &vm(1), None).await.unwrap();
    let stranger = FilterIdentity { node: "node-2".to_owned(), ..identity() };
    let claims = asked(1, vec![call(&grant, 21)]);
    assert_eq!(code(world.app.claim(&stranger, &claims).await), "filter_not_covered");
}

pub(crate) async fn no_more_are_taken_whoever_asks_at_once(db: Db) {
    let world = World::new(db).await;
    let grant = granted(&world, 5).await;
    let replicas = [world.app.clone(), world.another().await];
    let claims = (0..24_u64).map(|number| {
        let (app, event) = (replicas[number as usize % 2].clone(), call(&grant, number));
        let by = (number % 6) as u8;
        tokio::spawn(async move { app.claim(&identity(), &asked(by, vec![event])).await })
    });
    let results: Vec<_> = join_all(claims).await.into_iter().map(Result::unwrap).collect();
    let outcomes: Vec<ClaimOutcome> =
        results.into_iter().flat_map(|result| result.unwrap()).map(|result| result.outcome).collect();
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, ClaimOutcome::Claimed(_))).count();
    let exhausted = outcomes.iter().filter(|outcome| **outcome == ClaimOutcome::Refused(ClaimRefusal::Exhausted));
    assert_eq!((taken, exhausted.count()), (5, 19));
    let numbers: Vec<u32> = world.app.uses(&ann(), &grant.id).await.unwrap().iter().map(|taken| taken.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(world.app.verify_log().await.unwrap().fault, None);
}

pub(crate) async fn what_came_of_a_use_is_told_once_by_who_took_it(db: Db) {
    let world = World::new(db).await;
    let grant = granted(&world, 2).await;
    let id = claim(&world, 1, call(&grant, 1)).await.unwrap();
    let told = |outcome, status| {
        let event = UseEvent { id: id.clone(), grant: grant.id.clone(), outcome, status };
        Event::Use(Box::new(event))
    };
    let outcome = async || world.app.uses(&ann(), &grant.id).await.unwrap()[0].outcome;
    let mut other = Stream::new(2);
    other.push(told(UseOutcome::Answered, Some(200)));
    world.app.append_records(&identity(), &other.batch(..)).await.unwrap();
    assert_eq!(outcome().await, None, "it is not that VM's to tell");
    let mut stream = Stream::new(1);
    stream.push(told(UseOutcome::Failed, Some(503)));
    stream.push(told(UseOutcome::Answered, Some(200)));
    world.app.append_records(&identity(), &stream.batch(..)).await.unwrap();
    let first = outcome().await.unwrap();
    assert_eq!((first.word, first.status), (UseOutcome::Failed, Some(503)), "the first word counts");
    let kinds = world.story_of(id.as_str()).await;
    assert_eq!(kinds, ["use.claimed", "use.ended", "use.ended", "use.ended"], "the log has all that was said");
}

pub(crate) async fn reviewers_narrow_the_number(db: Db) {
    let world = World::new(db).await;
    let new = NewRequest { uses: Some(3), ..refund("acc-42") };
    let request = world.app.file_request(&ann(), new).await.unwrap().request;
    let other = NewRequest { uses: Some(2), ..refund("acc-41") };
    let other = world.app.file_request(&ann(), other).await.unwrap().request;
    let fewer = Ask { uses: Some(2), ..request.ask.clone() };
    assert_ne!(request.ask.digest(), fewer.digest(), "a reviewer sees how many");
    let narrowed = |uses| NewReview { uses: Some(uses), ..approval() };
    for wrong in [0, 4] {
        assert_eq!(code(world.review(&lee(), &request.id, narrowed(wrong)).await), "uses_over_maximum");
    }
    let grant = world.review(&lee(), &request.id, narrowed(1)).await.unwrap().grant.unwrap();
    assert_eq!(grant.uses.unwrap().allowed, 1);
    assert_eq!(world.app.request(&ann(), &request.id).await.unwrap().reviews[0].uses, Some(1));
    for wrong in [0, 1_001] {
        let new = NewRequest { uses: Some(wrong), ..refund("acc-42") };
        assert_eq!(code(world.app.file_request(&ann(), new).await), "uses_over_maximum");
    }
    // Where the rule counts, one is asked for by default, and no more than it says.
    let counted = crate::world::POLICY.replace("  defaultDuration: 15m\n", "  defaultDuration: 15m\n  maxUses: 2\n");
    world.apply(&[&counted], None).await.unwrap();
    assert_eq!(world.asked().await.ask.uses, Some(1));
    let new = NewRequest { uses: Some(3), ..refund("acc-42") };
    assert_eq!(code(world.app.file_request(&ann(), new).await), "uses_over_maximum");
    // A request from before has the stricter of both.
    let grant = world.review(&lee(), &other.id, approval()).await.unwrap().grant.unwrap();
    assert_eq!(grant.uses.unwrap().allowed, 2);
}

pub(crate) async fn an_exhausted_grant_stays_with_filters_until_its_time_or_its_revocation(db: Db) {
    let world = World::new(db).await;
    let (one, other) = (granted(&world, 1).await, granted(&world, 1).await);
    for (number, grant) in [(1, &one), (2, &other)] {
        claim(&world, 1, call(grant, number)).await.unwrap();
        assert_eq!(state(&world, grant).await.0, GrantStateWord::Exhausted);
    }
    assert_eq!(code(world.app.release(&ann(), &one.id).await), "already_ended");
    // Its call may still run, so that it can be ended.
    world.app.revoke(&olga(), &one.id, "stop it").await.unwrap();
    assert_eq!((state(&world, &one).await.0, item(&world, &one).await), (GrantStateWord::Revoked, None));
    assert_eq!(world.app.next_deadline().await.unwrap(), Some(other.expires_at));
    assert_eq!(world.app.expire_grants().await.unwrap(), 0);
    world.advance("15m");
    assert_eq!(code(world.app.revoke(&olga(), &other.id, "too late").await), "already_ended");
    assert_eq!(world.app.expire_grants().await.unwrap(), 1);
    assert_eq!((state(&world, &other).await.0, item(&world, &other).await), (GrantStateWord::Exhausted, None));
    assert_eq!(world.app.expire_grants().await.unwrap(), 0);
    let story = world.story_of(other.id.as_str()).await;
    assert_eq!(story, ["review.approved", "grant.issued", "use.claimed", "grant.forgotten"]);
}
