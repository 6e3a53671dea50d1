//! Tokens for times without a control plane: who has one signed, and what filters tell of them afterwards.

use grantmesh_control_plane::app::{GrantFilter, Limits, Page, PostReviewFilter};
use grantmesh_control_plane::domain::{Actor, GrantState, Lasting, NewDelegation, NewOffline, Offline, PostVerdict};
use grantmesh_shared::id::{DecisionId, GrantId};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event};

use crate::break_glass::{sam, zoe};
use crate::db::Db;
use crate::records::{Stream, deny, identity};
use crate::world::{ISSUER, POLICY, World, ann, aud, code, eve, lee, olga, someone, span};

const RIGHTS: &str = r#"
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: at-once }
spec:
  service: payments
  actions: [account.close]
  subjects: ["group:sre"]
  maxDuration: 30m
  reviewers: ["group:security"]
---
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: emergency }
spec:
  service: payments
  actions: [refund.create]
  subjects: ["group:sre"]
  maxDuration: 30m
  reviewers: ["group:security"]
  offline: 12h
"#;

async fn world(db: Db) -> World {
    let world = World::bare(db, Limits::default()).await;
    world.apply(&[POLICY, RIGHTS], None).await.unwrap();
    world
}

fn wanted() -> NewOffline {
    NewOffline { service: "payments".to_owned(), right: None, reason: "on call".to_owned(), duration: None }
}

pub(crate) async fn a_token_is_for_those_whom_the_policy_lets_have_one(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    for other in [ann(), lee(), olga(), aud(), eve()] {
        assert_eq!(code(app.issue_offline(&other, &wanted()).await), "no_break_glass");
    }
    let by = |right: &str| NewOffline { right: Some(right.to_owned()), ..wanted() };
    assert_eq!(code(app.issue_offline(&sam(), &by("at-once")).await), "no_break_glass");
    let elsewhere = NewOffline { service: "ledger".to_owned(), ..wanted() };
    assert_eq!(code(app.issue_offline(&sam(), &elsewhere).await), "no_break_glass");
    let silent = NewOffline { reason: " ".to_owned(), ..wanted() };
    assert_eq!(code(app.issue_offline(&sam(), &silent).await), "justification_required");
    for (duration, refused) in [("12h1s", "duration_over_maximum"), ("59s", "duration_too_short")] {
        let new = NewOffline { duration: Some(span(duration)), ..wanted() };
        assert_eq!(code(app.issue_offline(&sam(), &new).await), refused);
    }
    assert!(app.offline_tokens(&olga(), &Page::default()).await.unwrap().items.is_empty());

    let made = app.issue_offline(&sam(), &wanted()).await.unwrap();
    assert_eq!((&*made.right, &made.actions[..]), ("emergency", &["refund.create".to_owned()][..]));
    assert_eq!(made.expires_at, world.now().plus(span("12h")));
    assert_eq!(app.offline_tokens(&sam(), &Page::default()).await.unwrap().items, std::slice::from_ref(&made));
    assert_eq!(app.offline_tokens(&aud(), &Page::default()).await.unwrap().items, std::slice::from_ref(&made));
    assert!(app.offline_tokens(&ann(), &Page::default()).await.unwrap().items.is_empty());
    assert_eq!(world.story_of(made.grant.as_str()).await, ["offline_token.issued"]);
    assert!(app.grants(&olga(), &GrantFilter::default(), &Page::default()).await.unwrap().items.is_empty());
    assert!(app.all_items().await.unwrap().items.iter().all(|item| !item.key.starts_with("grant/")));
    for _ in 1..8 {
        app.issue_offline(&sam(), &wanted()).await.unwrap();
    }
    assert_eq!(code(app.issue_offline(&sam(), &wanted()).await), "too_many");
    world.advance("12h");
    assert!(app.offline_tokens(&olga(), &Page::default()).await.unwrap().items.is_empty());
    app.issue_offline(&sam(), &wanted()).await.unwrap();
}

/// What a filter tells of a call by a token.
fn call(token: &Offline, number: u64) -> DecisionEvent<'static> {
    DecisionEvent {
        decision: DecisionWord::Allow,
        action: Some("refund.create".into()),
        resource: Some("account/acc-42".into()),
        issuer: Some(ISSUER.into()),
        subject: Some("sam".into()),
        grant: Some(token.grant.clone()),
        break_glass: true,
        offline: true,
        reasons: Vec::new(),
        ..deny(DecisionId::new(number, [1; 10]))
    }
}

async fn told(world: &World, stream: &mut Stream, events: Vec<DecisionEvent<'static>>) {
    for event in events {
        stream.push_at(Event::Decision(Box::new(event)), world.now());
    }
    world.app.append_records(&identity(), &stream.batch(..)).await.unwrap();
}

pub(crate) async fn what_is_done_by_a_token_is_broken_glass_once_it_is_told(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let begun = app.last_event().await.unwrap().0;
    let events = async || -> Vec<String> {
        let told = app.events_after(&zoe(), begun).await.unwrap().events;
        told.into_iter().map(|event| event.kind).collect()
    };
    let token = app.issue_offline(&sam(), &wanted()).await.unwrap();
    assert_eq!(events().await, Vec::<String>::new());
    world.advance("11h50m");
    let mut stream = Stream::new(1);
    told(&world, &mut stream, vec![call(&token, 1), call(&token, 2)]).await;
    let grant = app.grant(&sam(), &token.grant).await.unwrap();
    assert_eq!((&grant.state, grant.break_glass, &*grant.resource), (&GrantState::Active, true, "account/acc-42"));
    assert_eq!(grant.expires_at, token.expires_at, "never longer than the token");
    let reviews = app.post_reviews(&olga(), &PostReviewFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!((reviews.len(), &reviews[0].grant, reviews[0].reason.as_str()), (1, &token.grant, "on call"));
    assert_eq!(app.offline_tokens(&sam(), &Page::default()).await.unwrap().items[0].used_at, Some(world.now()));
    let story = ["offline_token.issued", "break_glass.used", "post_review.opened", "decision", "decision"];
    assert_eq!(world.story_of(token.grant.as_str()).await, story);
    assert_eq!(events().await, ["break_glass.used", "post_review.opened"]);
    assert_eq!(app.ledger(&sam(), &token.grant, None).await.unwrap().calls.len(), 2);

    // Another filter tells of it later, and after the grant has ended: nothing is made twice.
    app.revoke(&olga(), &token.grant, "enough").await.unwrap();
    let mut other = Stream::new(2);
    told(&world, &mut other, vec![call(&token, 3)]).await;
    assert!(matches!(app.grant(&sam(), &token.grant).await.unwrap().state, GrantState::Revoked { .. }));
    assert_eq!(app.post_review_sums().await.unwrap().all, 1);

    // Told when the token has ended, it is over at once.
    let late = app.issue_offline(&sam(), &NewOffline { duration: Some(span("1m")), ..wanted() }).await.unwrap();
    world.advance("1h");
    told(&world, &mut other, vec![call(&late, 4)]).await;
    world.advance("1s");
    app.expire_grants().await.unwrap();
    assert!(!matches!(app.grant(&sam(), &late.grant).await.unwrap().state, GrantState::Active));
}

pub(crate) async fn what_a_filter_says_of_other_tokens_is_kept_and_makes_nothing(db: Db) {
    let world = world(db).await;
    let token = world.app.issue_offline(&sam(), &wanted()).await.unwrap();
    let unknown = Offline { grant: GrantId::new(1, [9; 10]), ..token.clone() };
    let mut stream = Stream::new(1);
    let events = vec![
        call(&unknown, 1),
        DecisionEvent { subject: Some("ann".into()), ..call(&token, 2) },
        DecisionEvent { action: Some("account.close".into()), ..call(&token, 3) },
        DecisionEvent { service: "ledger".into(), ..call(&token, 4) },
        DecisionEvent { decision: DecisionWord::Deny, ..call(&token, 5) },
        DecisionEvent { offline: false, ..call(&token, 6) },
    ];
    told(&world, &mut stream, events).await;
    assert_eq!(world.app.post_review_sums().await.unwrap().all, 0);
    assert_eq!(code(world.app.grant(&sam(), &token.grant).await), "not_found");
    assert_eq!(world.entries().await.iter().filter(|entry| entry["kind"] == "decision").count(), 6);
    told(&world, &mut stream, vec![call(&token, 7)]).await;
    assert_eq!(world.app.post_review_sums().await.unwrap().all, 1);
}

pub(crate) async fn who_has_lost_the_right_has_nothing_more_by_a_token(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let token = app.issue_offline(&sam(), &wanted()).await.unwrap();
    // A VM that does not have the service tells of it: nothing is made of that.
    let mut stranger = Stream::new(3);
    stranger.push_at(Event::Decision(Box::new(call(&token, 1))), world.now());
    let mut batch = stranger.batch(..);
    batch.filter.services = vec!["ledger".to_owned()];
    app.append_records(&identity(), &batch).await.unwrap();
    assert_eq!(code(app.grant(&sam(), &token.grant).await), "not_found");

    world.apply(&[POLICY], None).await.unwrap();
    let mut stream = Stream::new(1);
    told(&world, &mut stream, vec![call(&token, 1)]).await;
    let grant = app.grant(&sam(), &token.grant).await.unwrap();
    assert_eq!(grant.expires_at.since(grant.starts_at), span("1ms"));
    assert_eq!(app.post_review_sums().await.unwrap().open, 1, "what was done is reviewed all the same");
}

pub(crate) async fn tokens_are_listed_in_pages(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let mut made = Vec::new();
    for number in 0..5 {
        world.advance("1s");
        // Whose end comes first is of no matter to their order.
        let duration = Some(span(if number % 2 == 0 { "2h" } else { "1h" }));
        made.push(app.issue_offline(&sam(), &NewOffline { duration, ..wanted() }).await.unwrap().grant);
    }
    made.reverse();
    for who in [sam(), aud()] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = Page { cursor: cursor.take(), limit: Some(2) };
            let listed = app.offline_tokens(&who, &page).await.unwrap();
            (pages, cursor) = (pages + 1, listed.next);
            seen.extend(listed.items.into_iter().map(|token| token.grant));
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((pages, &seen), (3, &made));
    }
}

pub(crate) async fn who_stood_in_for_the_holder_since_a_token_was_signed_says_nothing_of_its_use(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let lend = async |from: &Actor, to: &str| {
        let new = NewDelegation {
            to: to.to_owned(),
            service: None,
            rule: None,
            reason: "on leave".to_owned(),
            starts_at: None,
            lasting: Lasting::For(span("48h")),
        };
        app.delegate(from, &new).await.unwrap()
    };
    // Sam reviews what others do, and lends that for a while; Zoe lends hers to the same two.
    let (both, dan, kim) = (someone("sam", &["sre", "security"]), someone("dan", &["x"]), someone("kim", &["x"]));
    let before = lend(&both, "kim").await;
    world.advance("1m");
    app.end_delegation(&both, &before.id).await.unwrap();
    world.advance("1m");
    let token = app.issue_offline(&sam(), &wanted()).await.unwrap();
    world.advance("1h");
    let between = lend(&both, "dan").await;
    world.advance("1h");
    app.end_delegation(&both, &between.id).await.unwrap();
    world.advance("1h");
    lend(&zoe(), "dan").await;
    lend(&zoe(), "kim").await;
    told(&world, &mut Stream::new(1), vec![call(&token, 1)]).await;
    let review =
        app.post_reviews(&olga(), &PostReviewFilter::default(), &Page::default()).await.unwrap().items.remove(0);
    assert_eq!(review.opened_at, world.now());
    let accept = PostVerdict::Accept(None);
    // What was arranged since the token was signed counts, though it was over when its use was told.
    assert_eq!(code(app.decide_post_review(&dan, &review.id, (&accept, None)).await), "self_review");
    assert_eq!(code(app.decide_post_review(&dan, &review.id, (&accept, Some("zoe"))).await), "self_review");
    let accepted = app.decide_post_review(&kim, &review.id, (&accept, None)).await.unwrap();
    assert_eq!(accepted.state.on_behalf_of().map(|of| &of.user), Some(&zoe().user), "what was over by then does not");
}
