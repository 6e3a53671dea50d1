//! Delegations: who reviews in whose place, for which requests and how long, and that nobody has two votes by them.

use grantmesh_control_plane::app::{Attempt, Limits, Only, Page, RequestFilter};
use grantmesh_control_plane::domain::{
    Actor, Delegation, EventKind, Lasting, MOST_GIVEN, MOST_GIVEN_LATELY, MOST_TAKEN, NewDelegation, NewReview,
    RequestStateWord,
};
use serde_json::json;

use crate::db::Db;
use crate::world::{
    LEDGER, POLICY, World, ann, approval, ask, aud, bob, code, denial, eve, lee, mia, olga, review, someone, span,
};

/// Reviews nothing.
fn dan() -> Actor {
    someone("dan", &["guests"])
}

fn to(name: &str) -> NewDelegation {
    NewDelegation {
        to: name.to_owned(),
        service: None,
        rule: None,
        reason: "on leave".to_owned(),
        starts_at: None,
        lasting: Lasting::For(span("48h")),
    }
}

fn for_rule(name: &str, rule: &str) -> NewDelegation {
    NewDelegation { service: Some("payments".to_owned()), rule: Some(rule.to_owned()), ..to(name) }
}

fn on_behalf_of(name: &str, review: NewReview) -> NewReview {
    NewReview { on_behalf_of: Some(name.to_owned()), ..review }
}

impl World {
    async fn lent(&self, from: &Actor, new: &NewDelegation) -> Delegation {
        self.app.delegate(from, new).await.unwrap()
    }
}

pub(crate) async fn somebody_reviews_in_anothers_place_and_both_names_are_kept(db: Db) {
    let world = World::new(db).await;
    let request = world.asked().await;
    assert_eq!(code(world.review(&dan(), &request.id, approval()).await), "not_found");
    let lent = world.lent(&lee(), &for_rule("dan", "refunds")).await;
    assert_eq!((&lent.delegator, &lent.delegate), (&lee().user, &dan().user));
    // What they may review they see: the request, in lists, and as it happens; nothing else of it.
    let listed = world.app.requests(&dan(), &RequestFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(listed, std::slice::from_ref(&request));
    let other = world.app.file_request(&ann(), ask("account.close", "acc-1")).await.unwrap().request;
    assert_eq!(code(world.review(&dan(), &other.id, approval()).await), "not_found");
    let mine =
        RequestFilter { only: Only { mine: true, owner: Some("ann".to_owned()), ..Only::default() }, state: None };
    assert!(world.app.requests(&dan(), &mine, &Page::default()).await.unwrap().items.is_empty());

    let reviewed = world.review(&dan(), &request.id, approval()).await.unwrap();
    let grant = reviewed.grant.unwrap();
    let kept = world.app.request(&lee(), &request.id).await.unwrap().reviews;
    assert_eq!(kept, std::slice::from_ref(&reviewed.review));
    let of = kept[0].on_behalf_of.as_ref().unwrap();
    assert_eq!((&kept[0].reviewer, &of.user, &of.delegation), (&dan().user, &lee().user, &lent.id));
    assert_eq!(code(world.app.grant(&dan(), &grant.id).await), "not_found");
    let events = world.app.events_after(&dan(), 0).await.unwrap().events;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["request.filed", "delegation.given", "request.approved"]);
    let told: serde_json::Value = serde_json::from_str(&events[2].body).unwrap();
    let review = &told["data"]["request"]["reviews"][0];
    assert_eq!((&review["reviewer"]["subject"], &review["on_behalf_of"]["subject"]), (&json!("dan"), &json!("lee")));
    let entries = world.entries().await;
    let entry = entries.iter().find(|entry| entry["kind"] == "review.approved").unwrap();
    assert_eq!((&entry["actor"]["subject"], &entry["data"]["on_behalf_of"]["subject"]), (&json!("dan"), &json!("lee")));
    assert_eq!(world.story_of(lent.id.as_str()).await, ["delegation.given", "review.approved"]);
}

pub(crate) async fn a_delegation_counts_for_its_time_and_its_rules(db: Db) {
    let world = World::new(db).await;
    let request = world.asked().await;
    let refused = async |why: &str| {
        assert_eq!(code(world.app.request(&dan(), &request.id).await), "not_found", "{why}");
        assert_eq!(code(world.review(&dan(), &request.id, approval()).await), "not_found", "{why}");
        let listed = world.app.requests(&dan(), &RequestFilter::default(), &Page::default()).await.unwrap();
        assert!(listed.items.is_empty(), "{why}");
    };
    world.lent(&lee(), &for_rule("dan", "closing")).await;
    refused("it is for another rule").await;
    let starts_at = Some(world.now().plus(span("1h")));
    let later = NewDelegation { starts_at, lasting: Lasting::For(span("1h")), ..to("dan") };
    world.lent(&lee(), &later).await;
    refused("it begins later").await;
    world.advance("1h");
    world.app.request(&dan(), &request.id).await.unwrap();
    // Whoever sees the request for another reason than a delegation is told what is missing.
    let named = on_behalf_of("lee", approval());
    assert_eq!(code(world.review(&mia(), &request.id, named).await), "no_delegation");
    world.advance("1h");
    refused("its time is over").await;
    let ended = world.lent(&lee(), &to("dan")).await;
    world.app.end_delegation(&dan(), &ended.id).await.unwrap();
    refused("it was ended").await;
    // The delegator must still be a reviewer.
    world.lent(&lee(), &to("dan")).await;
    world.apply(&[&POLICY.replace("group:leads", "group:chiefs")], None).await.unwrap();
    refused("the delegator reviews nothing any more").await;
    world.apply(&[POLICY], None).await.unwrap();
    assert!(world.review(&dan(), &request.id, approval()).await.unwrap().grant.is_some());
}

pub(crate) async fn one_person_has_one_vote_over_delegations(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let alias = "---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: lee }\nspec: { accounts: [{ subject: lee }, { subject: lee2 }] }\n";
    world.apply(&[&format!("{}{alias}", POLICY.replace("approvals: 2", "approvals: 3"))], None).await.unwrap();
    let lee2 = someone("lee2", &["leads"]);
    for (from, name) in [(lee(), "dan"), (lee2.clone(), "eve"), (mia(), "dan"), (mia(), "lee")] {
        world.lent(&from, &to(name)).await;
    }
    let request = world.app.file_request(&ann(), ask("account.close", "acc-42")).await.unwrap().request;
    let review = async |who: &Actor, review| world.review(who, &request.id, review).await;
    assert_eq!(code(review(&dan(), approval()).await), "several_delegations");
    review(&dan(), on_behalf_of("lee", approval())).await.unwrap();
    for (who, new) in [
        (lee(), approval()),
        (lee2, denial()),
        (lee(), on_behalf_of("mia", approval())),
        (dan(), on_behalf_of("mia", denial())),
        (eve(), approval()),
    ] {
        assert_eq!(code(review(&who, new).await), "already_reviewed", "{who:?}");
    }
    review(&mia(), approval()).await.unwrap();
    let last = review(&bob(), approval()).await.unwrap();
    assert_eq!((last.request.state.word(), last.grant.is_some()), (RequestStateWord::Approved, true));
    assert_eq!(last.request.reviews.len(), 3);
}

pub(crate) async fn nobody_approves_their_own_request_by_a_delegation(db: Db) {
    let world = World::new(db).await;
    // Bob asks and reviews: whom he lets review does not review what he asks for, nor does he in another's place.
    let request = async || world.app.file_request(&bob(), world.refund()).await.unwrap().request;
    let first = request().await;
    world.lent(&bob(), &to("dan")).await;
    assert_eq!(code(world.review(&dan(), &first.id, approval()).await), "not_a_reviewer");
    assert_eq!(code(world.review(&dan(), &first.id, on_behalf_of("bob", approval())).await), "self_approval");
    world.lent(&lee(), &to("bob")).await;
    assert_eq!(code(world.review(&bob(), &first.id, approval()).await), "self_approval");
    assert_eq!(code(world.review(&bob(), &first.id, on_behalf_of("lee", approval())).await), "self_approval");
    // Nor does anybody who stands in for Bob, in the place of somebody else, though that ended just before.
    world.lent(&lee(), &to("dan")).await;
    assert_eq!(code(world.review(&dan(), &first.id, approval()).await), "self_approval");
    let given = world.app.delegations(&bob(), (true, true), &Page::default()).await.unwrap().items;
    let own = given.iter().find(|one| one.delegator == bob().user).unwrap();
    world.advance("1m");
    world.app.end_delegation(&bob(), &own.id).await.unwrap();
    assert_eq!(code(world.review(&dan(), &first.id, approval()).await), "self_approval");
    world.advance("1m");
    let second = request().await;
    assert!(world.review(&dan(), &second.id, approval()).await.unwrap().grant.is_some());
    // The other way round: Ann stands in for Mia, who has Lee's right and would use it for Ann.
    let asked = world.asked().await;
    world.lent(&mia(), &to("ann")).await;
    world.lent(&lee(), &to("mia")).await;
    let by_lee = on_behalf_of("lee", approval());
    assert_eq!(code(world.review(&mia(), &asked.id, by_lee).await), "self_approval");
    assert_eq!(code(world.review(&ann(), &asked.id, approval()).await), "self_approval");
}

pub(crate) async fn only_ones_own_right_is_delegated(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let people = "---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: lee }\nspec: { accounts: [{ subject: lee }, { subject: lee2 }] }\n---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: bot }\nspec: { accounts: [{ subject: svc-bot }], machine: true }\n";
    world.apply(&[&format!("{POLICY}{people}"), LEDGER], None).await.unwrap();
    let refused = async |from: &Actor, new: NewDelegation| code(world.app.delegate(from, &new).await);
    for name in ["lee", "user:lee", "lee2"] {
        assert_eq!(refused(&lee(), to(name)).await, "self_delegation");
    }
    assert_eq!(refused(&lee(), to("svc-bot")).await, "machine");
    assert_eq!(refused(&someone("svc-bot", &["leads"]), to("dan")).await, "machine");
    for name in ["", "group:leads", "workload:spiffe://x/y"] {
        assert_eq!(refused(&lee(), to(name)).await, "bad_subject", "{name}");
    }
    assert_eq!(refused(&dan(), to("eve")).await, "nothing_to_delegate");
    assert_eq!(refused(&olga(), to("eve")).await, "nothing_to_delegate");
    let of = |service: Option<&str>, rule: Option<&str>| NewDelegation {
        service: service.map(str::to_owned),
        rule: rule.map(str::to_owned),
        ..to("dan")
    };
    assert_eq!(refused(&lee(), of(Some("ledger"), None)).await, "nothing_to_delegate");
    for (service, rule) in [(Some("none"), None), (Some("payments"), Some("none")), (None, Some("refunds"))] {
        assert_eq!(refused(&lee(), of(service, rule)).await, "unknown_target");
    }
    let lasting = |lasting| NewDelegation { lasting, ..to("dan") };
    assert_eq!(refused(&lee(), lasting(Lasting::For(span("721h")))).await, "duration_over_maximum");
    assert_eq!(refused(&lee(), lasting(Lasting::Until(world.now()))).await, "duration_too_short");
    let past = NewDelegation { starts_at: Some(world.now().minus(span("1s"))), ..to("dan") };
    assert_eq!(refused(&lee(), past).await, "start_out_of_range");
    assert_eq!(refused(&lee(), NewDelegation { reason: " ".to_owned(), ..to("dan") }).await, "bad_text");
    // What one has by a delegation is not given on: not by making one, nor by one that was made for another right.
    world.lent(&lee(), &to("dan")).await;
    assert_eq!(refused(&dan(), to("eve")).await, "nothing_to_delegate");
    let request = world.asked().await;
    assert_eq!(code(world.review(&eve(), &request.id, approval()).await), "not_found");
    // So many that are not over, and no more.
    for _ in 1..MOST_GIVEN {
        world.lent(&lee(), &to("dan")).await;
    }
    assert_eq!(refused(&lee(), to("eve")).await, "too_many_delegations");
    for at in MOST_GIVEN..MOST_TAKEN {
        world.lent(&someone(&format!("lead-{}", at % 10), &["leads"]), &to("dan")).await;
    }
    assert_eq!(refused(&mia(), to("dan")).await, "too_many_delegations");
    world.lent(&mia(), &to("eve")).await;
    world.advance("48h");
    world.lent(&lee(), &to("dan")).await;
    // Nor does giving and ending them in a loop make more than reviews can be held against.
    for _ in 1..MOST_GIVEN_LATELY {
        let lent = world.lent(&mia(), &to("eve")).await;
        world.app.end_delegation(&mia(), &lent.id).await.unwrap();
    }
    assert_eq!(refused(&mia(), to("eve")).await, "too_many_delegations");
    world.advance("720h");
    world.lent(&mia(), &to("user:eve")).await;
}

pub(crate) async fn a_delegation_is_ended_once_by_whom_it_concerns(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    for (who, code_of_others) in
        [(lee(), None), (dan(), None), (olga(), None), (aud(), Some("not_operator")), (mia(), Some("not_found"))]
    {
        let lent = world.lent(&lee(), &to("dan")).await;
        let ended = app.end_delegation(&who, &lent.id).await;
        match code_of_others {
            Some(expected) => assert_eq!(code(ended), expected),
            None => {
                assert_eq!(ended.unwrap().ended, Some((world.now(), who.user.clone())));
                assert_eq!(code(app.end_delegation(&lee(), &lent.id).await), "already_ended");
                assert_eq!(world.story_of(lent.id.as_str()).await, ["delegation.given", "delegation.ended"]);
            }
        }
    }
    let seen = async |who: &Actor, narrowed: (bool, bool)| {
        app.delegations(who, narrowed, &Page::default()).await.unwrap().items.len()
    };
    assert_eq!((seen(&lee(), (false, false)).await, seen(&dan(), (false, false)).await), (5, 5));
    assert_eq!((seen(&olga(), (false, false)).await, seen(&aud(), (false, true)).await), (5, 2));
    assert_eq!((seen(&mia(), (false, false)).await, seen(&olga(), (true, false)).await), (0, 0));
    let first = app.delegations(&lee(), (false, false), &Page { cursor: None, limit: Some(3) }).await.unwrap();
    let rest =
        app.delegations(&lee(), (false, false), &Page { cursor: first.next.clone(), limit: Some(3) }).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (3, 2, None));
    world.advance("48h");
    assert_eq!(seen(&lee(), (false, true)).await, 0);
    let over = &first.items[0];
    assert_eq!(code(app.end_delegation(&lee(), &over.id).await), "already_ended");
}

pub(crate) async fn one_of_delegator_and_delegate_votes(db: Db) {
    let world = World::new(db).await;
    world.lent(&lee(), &to("dan")).await;
    world.lent(&lee(), &to("eve")).await;
    for _ in 0..5 {
        let request = world.app.file_request(&ann(), ask("account.close", "acc-42")).await.unwrap().request;
        let votes = [lee(), dan(), eve()].map(|who| {
            let (app, id) = (world.app.clone(), request.id.clone());
            tokio::spawn(async move { review(&app, &who, &id, approval()).await.is_ok() })
        });
        let mut taken = 0;
        for vote in votes {
            taken += usize::from(vote.await.unwrap());
        }
        let request = world.app.request(&olga(), &request.id).await.unwrap();
        assert_eq!((taken, request.reviews.len(), request.state.word()), (1, 1, RequestStateWord::Pending));
        world.app.withdraw(&ann(), &request.id).await.unwrap();
    }
}

pub(crate) async fn both_whom_a_delegation_concerns_hear_of_it(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let begun = app.last_event().await.unwrap().0;
    let heard = async |who: &Actor| -> Vec<serde_json::Value> {
        let told = app.events_after(who, begun).await.unwrap().events;
        told.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect()
    };
    let lent = world.lent(&lee(), &for_rule("dan", "refunds")).await;
    world.advance("1m");
    app.end_delegation(&dan(), &lent.id).await.unwrap();
    assert_eq!(code(app.end_delegation(&dan(), &lent.id).await), "already_ended");
    let told = heard(&dan()).await;
    let kinds: Vec<&str> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["delegation.given", "delegation.ended"], "what is refused tells nothing");
    let (given, ended) = (&told[0]["data"]["delegation"], &told[1]["data"]["delegation"]);
    assert_eq!((&given["delegator"]["subject"], &given["delegate"]["subject"]), (&json!("lee"), &json!("dan")));
    assert_eq!((&given["id"], &given["rule"], &given["ended_at"]), (&json!(lent.id), &json!("refunds"), &json!(null)));
    assert_eq!((&given["ends_at"], &ended["ended_by"]["subject"]), (&json!(lent.ends_at.to_string()), &json!("dan")));
    assert_eq!(heard(&lee()).await, told);
    assert_eq!(heard(&olga()).await, told, "operators see all");
    // Who reviews the same is not told who is away.
    for other in [mia(), bob(), eve(), ann()] {
        assert!(heard(&other).await.is_empty(), "{other:?}");
    }
    // A webhook hears of both in their order, and what is given up is found in the log by the delegation.
    app.know_endpoint("hook").await.unwrap();
    let lent = world.lent(&mia(), &to("dan")).await;
    app.end_delegation(&mia(), &lent.id).await.unwrap();
    app.fan_out("hook", &EventKind::ALL).await.unwrap();
    let due = app.take_due_deliveries("hook", 10).await.unwrap();
    assert_eq!(
        (due.len(), due[0].about.as_str(), due[0].event.kind.as_str()),
        (1, lent.id.as_str(), "delegation.given")
    );
    let refused = Attempt::Refused("gone".to_owned());
    app.settle_deliveries(due.into_iter().map(|one| (one, refused.clone())).collect()).await.unwrap();
    assert_eq!(app.take_due_deliveries("hook", 10).await.unwrap()[0].event.kind, "delegation.ended");
    let story = ["delegation.given", "delegation.ended", "notification.dead"];
    assert_eq!(world.story_of(lent.id.as_str()).await, story);
}
