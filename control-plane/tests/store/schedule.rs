//! Grants that start later than they were approved.

use futures_util::future::join_all;
use grantmesh_control_plane::app::Limits;
use grantmesh_control_plane::domain::{Grant, GrantState, GrantStateWord, NewRequest};
use serde_json::Value;

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, ask, bob, code, lee, olga, refund, someone, span};

/// A grant of Ann's that starts in two hours, for 15 minutes.
async fn scheduled(world: &World, account: &str) -> Grant {
    let new = NewRequest { starts_at: Some(world.now().plus(span("2h"))), ..refund(account) };
    let request = world.app.file_request(&ann(), new).await.unwrap().request;
    world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap()
}

async fn again(world: &World, grant: &Grant) -> Grant {
    world.app.grant(&ann(), &grant.id).await.unwrap()
}

/// The item that filters load; nothing if they have none.
async fn item(world: &World, grant: &Grant) -> Option<Value> {
    let items = world.app.all_items().await.unwrap().items;
    let item = items.into_iter().find(|item| item.key == format!("grant/{}", grant.id))?;
    Some(serde_json::from_str::<Value>(&item.body.unwrap()).unwrap()["grant"].take())
}

pub(crate) async fn a_scheduled_grant_starts_at_its_time_and_not_before(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let (first, late) = (scheduled(&world, "acc-1").await, scheduled(&world, "acc-2").await);
    let start = world.now().plus(span("2h"));
    assert_eq!(
        (&first.state, first.starts_at, first.expires_at),
        (&GrantState::Scheduled, start, start.plus(span("15m")))
    );
    assert_eq!(again(&world, &first).await, first);
    assert_eq!(app.next_deadline().await.unwrap(), Some(start));
    world.advance("1h59m59s");
    assert_eq!(app.start_grants().await.unwrap(), 0);
    assert_eq!(item(&world, &first).await, None, "filters hear nothing of it");
    assert_eq!(app.expire_grants().await.unwrap(), 0);
    world.advance("1s");
    // The one that is looked at now, and the one that the reconciler is late for: both last from when they start.
    let ended = app.release(&ann(), &first.id).await.unwrap().grant;
    assert_eq!(ended.starts_at, start);
    world.advance("10m");
    assert_eq!((app.start_grants().await.unwrap(), app.start_grants().await.unwrap()), (1, 0));
    let started = again(&world, &late).await;
    assert_eq!((&started.state, started.starts_at), (&GrantState::Active, world.now()));
    assert_eq!(started.expires_at, world.now().plus(span("15m")));
    let told = item(&world, &late).await.unwrap();
    assert_eq!(
        (&told["starts_at"], &told["expires_at"]),
        (&started.starts_at.millis().into(), &started.expires_at.millis().into())
    );
    assert_eq!(
        world.story_of(first.id.as_str()).await,
        ["review.approved", "grant.scheduled", "grant.started", "grant.released"]
    );
    assert_eq!(world.story_of(late.id.as_str()).await, ["review.approved", "grant.scheduled", "grant.started"]);
    // One that is approved after its start begins at once.
    let new = NewRequest { starts_at: Some(world.now().plus(span("1h"))), ..refund("acc-3") };
    let request = app.file_request(&ann(), new).await.unwrap().request;
    world.advance("2h");
    let grant = world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap();
    assert_eq!((grant.state, grant.starts_at), (GrantState::Active, world.now()));
}

pub(crate) async fn a_start_has_bounds(db: Db) {
    let world = World::new(db).await;
    let file = async |after: &str, from: &str| {
        let starts_at = Some(world.now().plus(span(after)));
        code(world.app.file_request(&ann(), NewRequest { starts_at, ..refund(from) }).await)
    };
    assert_eq!(file("0s", "acc-1").await, "start_out_of_range");
    assert_eq!(file("30d1s", "acc-1").await, "start_out_of_range");
    let fine = NewRequest { starts_at: Some(world.now().plus(span("30d"))), ..refund("acc-1") };
    assert!(world.app.file_request(&ann(), fine).await.is_ok());
    let stricter =
        POLICY.replace("maxDuration: 1h\n  defaultDuration", "maxDuration: 1h\n  startsWithin: 2d\n  defaultDuration");
    world.apply(&[&stricter], None).await.unwrap();
    assert_eq!(file("2d1s", "acc-2").await, "start_out_of_range");
    let fine = NewRequest { starts_at: Some(world.now().plus(span("2d"))), ..refund("acc-2") };
    let filed = world.app.file_request(&ann(), fine.clone()).await.unwrap().request;
    assert_eq!(filed.ask.starts_at, fine.starts_at);
    // What reviewers decide on has the start in it.
    let other = NewRequest { starts_at: None, ..fine };
    let other = world.app.file_request(&bob(), other).await.unwrap().request;
    let mut alike = filed.ask.clone();
    (alike.starts_at, alike.requester) = (None, other.ask.requester.clone());
    assert_ne!(alike.digest(), filed.ask.digest());
}

pub(crate) async fn who_lost_the_right_never_starts(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let (one, two, gone) =
        (scheduled(&world, "acc-1").await, scheduled(&world, "acc-2").await, scheduled(&world, "acc-3").await);
    let others = POLICY.replace("eligible: [\"group:support\"]", "eligible: [\"group:nobody\"]");
    world.apply(&[&others], None).await.unwrap();
    world.advance("2h");
    assert_eq!(code(app.release(&ann(), &one.id).await), "already_ended");
    assert_eq!(app.start_grants().await.unwrap(), 2);
    for grant in [&one, &two, &gone] {
        let ended = again(&world, grant).await;
        let GrantState::Revoked { at, by: None, reason } = &ended.state else { panic!("{:?}", ended.state) };
        assert_eq!((*at, reason.as_str()), (world.now(), "the policy no longer lets the holder ask for this"));
        assert_eq!(item(&world, grant).await, None);
        assert_eq!(world.story_of(grant.id.as_str()).await, ["review.approved", "grant.scheduled", "grant.revoked"]);
    }
    let entries = world.entries().await;
    let entry = entries.iter().rfind(|entry| entry["kind"] == "grant.revoked").unwrap();
    assert_eq!(
        (&entry["actor"], &entry["data"]["reason"]),
        (&"system".into(), &"the policy no longer lets the holder ask for this".into())
    );
    // Nothing brings them back.
    world.apply(&[POLICY], None).await.unwrap();
    assert_eq!(app.start_grants().await.unwrap(), 0);

    // One that nobody started before its time was over, either.
    let missed = scheduled(&world, "acc-4").await;
    world.advance("2h15m");
    assert_eq!(app.start_grants().await.unwrap(), 1);
    assert_eq!(again(&world, &missed).await.state, GrantState::Expired { at: world.now() });
    assert_eq!(item(&world, &missed).await, None);
}

pub(crate) async fn who_has_left_the_group_meanwhile_starts_nothing(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let support = "[account.close]\n  eligible: [\"group:support\"";
    let policy = POLICY.replace(support, &format!("{support}, \"group:closers\""));
    assert_ne!(policy, POLICY);
    world.apply(&[&policy], None).await.unwrap();
    let app = &world.app;
    let (left, stayed) = (scheduled(&world, "acc-1").await, scheduled(&world, "acc-2").await);
    // Ann comes by with another group besides: what she has asked for as one of support stays hers.
    let more = someone("ann", &["support", "interns"]);
    app.file_request(&more, refund("acc-3")).await.unwrap();
    world.advance("2h");
    assert_eq!(again(&world, &stayed).await.state.word(), GrantStateWord::Scheduled);
    assert!(app.release(&ann(), &stayed.id).await.unwrap().grant.starts_at == world.now(), "it had started");
    let later = scheduled(&world, "acc-4").await;
    world.advance("1s");
    // And then as one who is in support no more. Another rule lets her ask.
    let gone = someone("ann", &["closers"]);
    app.file_request(&gone, ask("account.close", "acc-9")).await.unwrap();
    assert_eq!(app.start_grants().await.unwrap(), 1);
    world.advance("2h");
    assert_eq!(app.start_grants().await.unwrap(), 1);
    for grant in [&left, &later] {
        let ended = again(&world, grant).await;
        assert!(matches!(&ended.state, GrantState::Revoked { by: None, .. }), "{:?}", ended.state);
        assert_eq!(item(&world, grant).await, None);
    }
}

pub(crate) async fn what_starts_has_the_stricter_terms_of_then(db: Db) {
    let world = World::new(db).await;
    let grant = scheduled(&world, "acc-1").await;
    let stricter = POLICY.replace(
        "maxDuration: 1h\n  defaultDuration: 15m",
        "maxDuration: 5m\n  defaultDuration: 5m\n  grantCondition: 'request.path.startsWith(\"/v1\")'",
    );
    world.apply(&[&stricter], None).await.unwrap();
    world.advance("2h");
    assert_eq!(world.app.start_grants().await.unwrap(), 1);
    let started = again(&world, &grant).await;
    assert_eq!(started.expires_at, world.now().plus(span("5m")));
    assert_eq!(started.terms.conditions.len(), 1);
    assert_eq!(item(&world, &grant).await.unwrap()["conditions"].as_array().unwrap().len(), 1);
}

pub(crate) async fn a_scheduled_grant_can_be_ended_like_any_other(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let (revoked, released) = (scheduled(&world, "acc-1").await, scheduled(&world, "acc-2").await);
    app.revoke(&olga(), &revoked.id, "not needed").await.unwrap();
    app.release(&ann(), &released.id).await.unwrap();
    assert_eq!(code(app.revoke(&lee(), &revoked.id, "again").await), "already_ended");
    world.advance("2h");
    assert_eq!(app.start_grants().await.unwrap(), 0);
    assert_eq!(again(&world, &revoked).await.state.word(), GrantStateWord::Revoked);
    assert_eq!(again(&world, &released).await.state.word(), GrantStateWord::Released);
    assert_eq!(world.story_of(revoked.id.as_str()).await, ["review.approved", "grant.scheduled", "grant.revoked"]);
    assert_eq!(world.keys().await.0, ["service/payments"]);
}

pub(crate) async fn one_of_many_starts_and_ends_wins(db: Db) {
    let world = World::new(db).await;
    let grant = scheduled(&world, "acc-1").await;
    let replicas = [world.app.clone(), world.another().await];
    world.advance("2h");
    let starts = (0..16_usize).map(|at| {
        let (app, id) = (replicas[at % 2].clone(), grant.id.clone());
        tokio::spawn(async move {
            match at % 4 {
                0 => app.revoke(&olga(), &id, "now").await.is_ok().then_some("revoked"),
                1 => app.release(&ann(), &id).await.is_ok().then_some("released"),
                _ => {
                    app.start_grants().await.unwrap();
                    None
                }
            }
        })
    });
    let ended: Vec<_> = join_all(starts).await.into_iter().filter_map(|end| end.unwrap()).collect();
    assert_eq!(ended.len(), 1);
    let how = format!("grant.{}", ended[0]);
    assert_eq!(world.story_of(grant.id.as_str()).await, ["review.approved", "grant.scheduled", "grant.started", &how]);
    assert_eq!(item(&world, &grant).await, None);
}
