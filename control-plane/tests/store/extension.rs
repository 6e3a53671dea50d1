//! More time for a grant: the same grant, without a gap, never longer in all than its rule lets one be.

use futures_util::future::join_all;
use grantmesh_control_plane::app::{App, AppError, Extended};
use grantmesh_control_plane::domain::{Grant, GrantState, GrantStateWord, NewReview, Request, RequestStateWord};
use grantmesh_shared::time::{Span, Timestamp};

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, bob, code, denial, lee, mia, olga, review, span};

/// The policy, with refunds that last an hour in all, half of it without a review.
fn policy() -> String {
    POLICY.replace("defaultDuration: 15m", "defaultDuration: 15m\n  extension: { maxTotal: 1h, withoutReview: 30m }")
}

async fn world(db: Db) -> World {
    let world = World::bare(db, grantmesh_control_plane::app::Limits::default()).await;
    world.apply(&[&policy()], None).await.unwrap();
    world
}

async fn extend(app: &App, grant: &Grant, by: &str) -> Result<Extended, AppError> {
    app.extend(&ann(), &grant.id, span(by), Some("not done yet")).await
}

async fn asked(world: &World, grant: &Grant, by: &str) -> Request {
    match extend(&world.app, grant, by).await.unwrap() {
        Extended::Asked(request) => *request,
        Extended::Now(grant, _) => panic!("it has it already: {grant:?}"),
    }
}

async fn end(world: &World, grant: &Grant) -> Timestamp {
    world.app.grant(&ann(), &grant.id).await.unwrap().expires_at
}

/// The ends that the item of the grant has had, one for each revision.
async fn pushed(world: &World, grant: &Grant) -> Option<Timestamp> {
    let items = world.app.all_items().await.unwrap().items;
    let item = items.into_iter().find(|item| item.key == format!("grant/{}", grant.id))?;
    let body: serde_json::Value = serde_json::from_str(&item.body.unwrap()).unwrap();
    body["grant"]["expires_at"].as_i64().map(Timestamp::from_millis)
}

pub(crate) async fn a_grant_is_extended_at_once_up_to_what_its_rule_lets_it(db: Db) {
    let world = world(db).await;
    let grant = world.granted().await;
    world.advance("10m");
    assert_eq!(code(world.app.extend(&lee(), &grant.id, span("5m"), None).await), "not_the_holder");
    assert_eq!(code(world.app.extend(&bob(), &grant.id, span("5m"), None).await), "not_the_holder");
    assert_eq!(code(extend(&world.app, &grant, "0s").await), "duration_too_short");
    let Extended::Now(extended, position) = world.app.extend(&ann(), &grant.id, span("15m"), None).await.unwrap()
    else {
        panic!("it needs no review")
    };
    // The same grant from the same start, with a later end; filters have it replaced, never removed.
    let expected =
        Grant { expires_at: grant.expires_at.plus(span("15m")), revision: extended.revision, ..grant.clone() };
    assert_eq!(*extended, expected);
    assert_eq!(position, world.app.position_of(&extended));
    assert_eq!(
        (end(&world, &grant).await, pushed(&world, &grant).await),
        (expected.expires_at, Some(expected.expires_at))
    );
    assert!(world.keys().await.1.is_empty());
    world.advance("10m");
    assert_eq!(world.app.expire_grants().await.unwrap(), 0, "it would have ended by now");
    // Half an hour is what needs no review: what is over it does.
    assert_eq!(code(world.app.extend(&ann(), &grant.id, span("1s"), Some(" ")).await), "justification_required");
    let request = asked(&world, &grant, "1s").await;
    assert_eq!((request.ask.kind.extended(), request.ask.times_out_at), (Some(&grant.id), expected.expires_at));
    assert_eq!(code(extend(&world.app, &grant, "1s").await), "already_asked");
    assert_eq!(
        world.story_of(grant.id.as_str()).await,
        ["review.approved", "grant.issued", "grant.extended", "request.filed"]
    );
}

pub(crate) async fn an_extension_is_reviewed_like_the_grant_was(db: Db) {
    let world = world(db).await;
    let grant = world.granted().await;
    world.advance("5m");
    assert_eq!(code(extend(&world.app, &grant, "45m1s").await), "duration_over_maximum");
    let request = asked(&world, &grant, "45m").await;
    assert_eq!(code(world.review(&ann(), &request.id, approval()).await), "self_approval");
    assert_eq!(code(world.review(&olga(), &request.id, approval()).await), "not_a_reviewer");
    world.advance("5m");
    // Reviewers narrow it, too; the time is added to the end that there is, wherever in it they decide.
    let narrower = NewReview { duration: Some(span("20m")), ..approval() };
    let reviewed = world.review(&mia(), &request.id, narrower).await.unwrap();
    let extended = reviewed.grant.unwrap();
    assert_eq!((&extended.id, extended.starts_at), (&grant.id, grant.starts_at));
    assert_eq!(extended.expires_at, grant.expires_at.plus(span("20m")));
    assert_eq!(reviewed.request.state.grant(), Some(&grant.id));
    assert_eq!(world.app.request(&ann(), &request.id).await.unwrap(), reviewed.request);
    assert_eq!(pushed(&world, &grant).await, Some(extended.expires_at));
    assert_eq!(world.story_of(request.id.as_str()).await, ["request.filed", "review.approved", "grant.extended"]);
    // A denial leaves the grant as it is.
    let request = asked(&world, &grant, "25m").await;
    world.review(&lee(), &request.id, denial()).await.unwrap();
    assert_eq!(end(&world, &grant).await, extended.expires_at);
    // Nobody decides in time: it ends when it would have.
    let request = asked(&world, &grant, "25m").await;
    world.advance("25m");
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "already_decided");
    assert_eq!(world.app.expire_grants().await.unwrap(), 1);
    assert_eq!(code(extend(&world.app, &grant, "1m").await), "already_ended");
}

pub(crate) async fn a_stricter_policy_extends_less(db: Db) {
    let world = world(db).await;
    let grant = world.granted().await;
    let request = asked(&world, &grant, "45m").await;
    world
        .apply(
            &[&policy().replace("maxTotal: 1h", "maxTotal: 40m").replace("maxDuration: 1h", "maxDuration: 40m")],
            None,
        )
        .await
        .unwrap();
    let extended = world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap();
    assert_eq!(extended.expires_at, grant.starts_at.plus(span("40m")), "what was approved, as far as it may be");
    assert_eq!(code(extend(&world.app, &grant, "1s").await), "duration_over_maximum");
    // Whoever lost the right gets no more, and not what is pending either.
    world.apply(&[&policy()], None).await.unwrap();
    let request = asked(&world, &grant, "20m").await;
    world
        .apply(&[&policy().replace("eligible: [\"group:support\"]", "eligible: [\"group:others\"]")], None)
        .await
        .unwrap();
    assert_eq!(code(extend(&world.app, &grant, "1s").await), "already_asked");
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "not_eligible");
    world.app.withdraw(&ann(), &request.id).await.unwrap();
    assert_eq!(code(extend(&world.app, &grant, "1s").await), "not_eligible");
    // Without anything said, a grant lasts no longer than one may be asked for, and all of it is reviewed.
    world.apply(&[POLICY], None).await.unwrap();
    let plain = world.granted().await;
    assert_eq!(code(extend(&world.app, &plain, "45m1s").await), "duration_over_maximum");
    asked(&world, &plain, "45m").await;
}

pub(crate) async fn what_is_asked_for_a_grant_ends_with_it(db: Db) {
    let world = world(db).await;
    let grant = world.granted().await;
    let request = asked(&world, &grant, "45m").await;
    world.app.revoke(&lee(), &grant.id, "enough").await.unwrap();
    let withdrawn = world.app.request(&ann(), &request.id).await.unwrap();
    assert_eq!(withdrawn.state.word(), RequestStateWord::Withdrawn);
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "already_decided");
    assert_eq!(world.story_of(request.id.as_str()).await, ["request.filed", "request.withdrawn"]);
    assert_eq!(world.app.grant(&ann(), &grant.id).await.unwrap().state.word(), GrantStateWord::Revoked);
}

pub(crate) async fn one_of_extension_and_end_wins(db: Db) {
    let world = world(db).await;
    let replicas = [world.app.clone(), world.another().await];
    for round in 0..6_u64 {
        let grant = world.granted().await;
        let reviewed = asked(&world, &grant, "45m").await;
        // In every third round it is over, in every other one it is revoked at the same time.
        if round % 3 == 0 {
            world.advance("15m");
        }
        let tries = (0..12_usize).map(|at| {
            let (app, id, request) = (replicas[at % 2].clone(), grant.id.clone(), reviewed.id.clone());
            tokio::spawn(async move {
                match at % 4 {
                    0 => app.revoke(&olga(), &id, "now").await.is_ok().then_some("revoked"),
                    1 => review(&app, &lee(), &request, approval()).await.is_ok().then_some("extended"),
                    2 => review(&app, &mia(), &request, approval()).await.is_ok().then_some("extended"),
                    _ => (app.expire_grants().await.unwrap() > 0).then_some("expired"),
                }
            })
        });
        let done: Vec<_> = join_all(tries).await.into_iter().filter_map(|done| done.unwrap()).collect();
        let count = |what| done.iter().filter(|done| **done == what).count();
        let after = world.app.grant(&ann(), &grant.id).await.unwrap();
        let story = world.story_of(grant.id.as_str()).await;
        let told = |what: &str| story.iter().filter(|kind| *kind == what).count();
        assert_eq!(told("grant.extended"), count("extended"), "{story:?}");
        assert!(count("extended") <= 1 && told("grant.revoked") + told("grant.expired") == 1, "{story:?}");
        assert_eq!(
            after.expires_at,
            grant.expires_at.plus(if count("extended") == 1 { span("45m") } else { Span::default() })
        );
        match after.state.word() {
            GrantStateWord::Revoked => assert_eq!((count("revoked"), told("grant.revoked")), (1, 1)),
            state => assert_eq!((state, count("revoked"), count("extended")), (GrantStateWord::Expired, 0, 0)),
        }
        assert_eq!(pushed(&world, &grant).await, None);
    }
}

pub(crate) async fn a_window_is_never_begun_again(db: Db) {
    let world = world(db).await;
    let grant = world.granted().await;
    let before = world.app.all_items().await.unwrap().items;
    world.advance("10m");
    // Whoever loads the table anew, from whichever process, gets the window that there is.
    for app in [world.app.clone(), world.another().await] {
        assert_eq!(app.all_items().await.unwrap().items, before);
        let again = app.grant(&ann(), &grant.id).await.unwrap();
        assert_eq!((again.starts_at, again.expires_at), (grant.starts_at, grant.expires_at));
    }
    world.advance("5m");
    assert_eq!(world.app.expire_grants().await.unwrap(), 1);
    assert!(matches!(world.app.grant(&ann(), &grant.id).await.unwrap().state, GrantState::Expired { .. }));
}

pub(crate) async fn holders_are_warned_once_of_each_end(db: Db) {
    let world = world(db).await;
    let grant = world.granted().await;
    let app = &world.app;
    assert_eq!(app.next_deadline().await.unwrap(), Some(grant.starts_at.plus(span("12m"))));
    world.advance("11m59s");
    assert_eq!(app.warn_holders().await.unwrap(), 0);
    let before = app.head().await.unwrap().position;
    world.advance("1s");
    assert_eq!((app.warn_holders().await.unwrap(), app.warn_holders().await.unwrap()), (1, 0));
    assert_eq!(app.head().await.unwrap().position, before, "filters need not hear of it");
    extend(app, &grant, "15m").await.unwrap();
    // A fifth of half an hour before the new end.
    assert_eq!(app.next_deadline().await.unwrap(), Some(grant.starts_at.plus(span("24m"))));
    world.advance("12m");
    assert_eq!(app.warn_holders().await.unwrap(), 1);
    world.advance("6m");
    assert_eq!((app.warn_holders().await.unwrap(), app.expire_grants().await.unwrap()), (0, 1));
    assert_eq!(
        world.story_of(grant.id.as_str()).await,
        ["review.approved", "grant.issued", "grant.expiring", "grant.extended", "grant.expiring", "grant.expired"]
    );
}
