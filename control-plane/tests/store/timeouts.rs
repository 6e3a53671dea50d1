//! What happens to a request that nobody decides: reminded, escalated, timed out, and never approved by time alone.

use grantmesh_control_plane::app::{Limits, Page, RequestFilter};
use grantmesh_control_plane::domain::{Actor, RequestStateWord};

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, bob, code, lee, olga, refund, someone, span};

/// Reviews what is escalated.
fn max() -> Actor {
    someone("max", &["managers"])
}

fn policy() -> String {
    POLICY.replace(
        "requestTimeout: 8h\n---",
        "requestTimeout: 8h\n  timeouts: { remindAfter: 1h, escalateAfter: 2h, escalateTo: [\"group:managers\"] }\n---",
    )
}

async fn world(db: Db) -> World {
    let world = World::bare(db, Limits::default()).await;
    world.apply(&[&policy()], None).await.unwrap();
    world
}

pub(crate) async fn nobody_decides_and_others_are_asked_until_it_times_out(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let request = world.asked().await;
    assert_eq!(app.next_deadline().await.unwrap(), Some(world.now().plus(span("1h"))));
    world.advance("59m59s");
    assert_eq!((app.remind_reviewers().await.unwrap(), app.escalate_requests().await.unwrap()), (0, 0));
    world.advance("1s");
    assert_eq!((app.remind_reviewers().await.unwrap(), app.remind_reviewers().await.unwrap()), (1, 0));
    assert_eq!(code(app.request(&max(), &request.id).await), "not_found");
    assert_eq!(code(world.review(&max(), &request.id, approval()).await), "not_found");
    world.advance("1h");
    assert_eq!((app.escalate_requests().await.unwrap(), app.escalate_requests().await.unwrap()), (1, 0));
    let escalated = app.request(&max(), &request.id).await.unwrap();
    assert_eq!(escalated.waited.escalated_at, Some(world.now()));
    world.advance("6h");
    // Nothing is approved by time, whoever was asked meanwhile.
    assert_eq!((app.time_out_requests().await.unwrap(), app.time_out_requests().await.unwrap()), (1, 0));
    assert_eq!(app.request(&ann(), &request.id).await.unwrap().state.word(), RequestStateWord::TimedOut);
    assert_eq!(
        world.story_of(request.id.as_str()).await,
        ["request.filed", "request.reminded", "request.escalated", "request.timed_out"]
    );
    assert_eq!(app.next_deadline().await.unwrap(), None);
}

pub(crate) async fn reviewers_are_told_and_then_others(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let begun = app.last_event().await.unwrap().0;
    let told = async |who: Actor| -> Vec<String> {
        app.events_after(&who, begun).await.unwrap().events.into_iter().map(|event| event.kind).collect()
    };
    let request = world.asked().await;
    world.advance("1h");
    app.remind_reviewers().await.unwrap();
    app.remind_reviewers().await.unwrap();
    for who in [ann(), lee(), olga()] {
        assert_eq!(told(who).await, ["request.filed", "request.reminded"]);
    }
    assert!(told(max()).await.is_empty(), "it is not theirs yet");
    world.advance("1h");
    app.escalate_requests().await.unwrap();
    app.escalate_requests().await.unwrap();
    // From then on it is, with what has happened to it so far.
    for who in [max(), lee()] {
        assert_eq!(told(who).await, ["request.filed", "request.reminded", "request.escalated"]);
    }
    world.review(&max(), &request.id, approval()).await.unwrap();
    let all = ["request.filed", "request.reminded", "request.escalated", "request.approved", "grant.issued"];
    assert_eq!(told(lee()).await, all);
    assert_eq!(told(max()).await, all[..4], "the grant is the reviewers', who may end it");
}

pub(crate) async fn an_escalated_request_is_decided_by_either(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let (one, two) = (world.asked().await, app.file_request(&bob(), refund("acc-7")).await.unwrap().request);
    world.advance("1h");
    let fresh = app.file_request(&ann(), refund("acc-8")).await.unwrap().request;
    world.advance("1h");
    assert_eq!(app.escalate_requests().await.unwrap(), 2);
    let seen = app.requests(&max(), &RequestFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(seen.len(), 2, "what is not escalated is not theirs");
    assert_eq!(code(world.review(&max(), &fresh.id, approval()).await), "not_found");
    assert!(world.review(&max(), &one.id, approval()).await.unwrap().grant.is_some());
    assert!(world.review(&lee(), &two.id, approval()).await.unwrap().grant.is_some());
    // Nobody gets to decide what they may not: the requester, an operator.
    let own = app.file_request(&someone("max", &["managers", "support"]), refund("acc-9")).await.unwrap().request;
    world.advance("2h");
    app.escalate_requests().await.unwrap();
    assert_eq!(code(world.review(&max(), &own.id, approval()).await), "self_approval");
    assert_eq!(code(world.review(&olga(), &own.id, approval()).await), "not_a_reviewer");
    // The policy of now names others.
    world.apply(&[&policy().replace("group:managers", "group:directors")], None).await.unwrap();
    let other = someone("mona", &["managers"]);
    assert_eq!(code(world.review(&other, &own.id, approval()).await), "not_found");
}
