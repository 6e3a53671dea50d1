//! Locks: made and removed by operators, ended by the clock, given to filters.

use grantmesh_control_plane::domain::{LockState, LockStateWord, NewLock};
use grantmesh_shared::engine::{Call, Context, Decision, Now, Principal, Reason, Table, decide};
use grantmesh_shared::wire::table::{EngineItem, Item};
use serde_json::value::RawValue;

use crate::db::Db;
use crate::world::{ISSUER, World, ann, aud, code, lee, olga, page, span};

fn lock(subject: Option<&str>, action: Option<&str>) -> NewLock {
    NewLock {
        subject: subject.map(str::to_owned),
        service: Some("payments".to_owned()),
        action: action.map(str::to_owned),
        reason: "key leaked".to_owned(),
        ..NewLock::default()
    }
}

pub(crate) async fn a_lock_is_made_blocks_and_is_removed(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    world.granted().await;
    let made = app.create_lock(&olga(), &lock(Some("user:ann"), Some("refund.create"))).await.unwrap();
    let id = &made.lock.id;
    assert_eq!(made.position, app.head().await.unwrap().position);
    assert_eq!(made.position, app.position_at(made.lock.revision));
    // It is what an engine loads, and it blocks what it names in spite of the grant.
    assert_eq!(decided(&world, "POST", "/v1/accounts/acc-42/refunds").await, format!("locked {id} key leaked"));
    app.remove_lock(&olga(), id, Some("rotated")).await.unwrap();
    assert_eq!(decided(&world, "POST", "/v1/accounts/acc-42/refunds").await, "allowed");

    let locks = app.locks(&aud(), None, &page(10, None)).await.unwrap().items;
    assert_eq!(locks.len(), 1);
    assert!(matches!(&locks[0].state, LockState::Removed { by, reason: Some(why), .. }
        if *by == olga().user && why.as_str() == "rotated"));
    assert_eq!(code(app.remove_lock(&olga(), id, None).await), "already_ended");
    assert_eq!(world.story_of(id.as_str()).await, ["lock.created", "lock.removed"]);
    assert_eq!(world.keys().await.1, [format!("lock/{id}")]);
}

/// What the engine says of a call of Ann's over everything that filters load.
async fn decided(world: &World, method: &str, path: &str) -> String {
    let mut table = Table::default();
    for stored in world.app.all_items().await.unwrap().items {
        let item = Item { key: stored.key, body: RawValue::from_string(stored.body.unwrap()).unwrap() };
        item.parse().unwrap().put_into(&mut table);
    }
    let call = Call::new("payments", method.as_bytes(), path.as_bytes(), Principal::user(ISSUER, "ann", &["support"]));
    match decide(&table, &call.unwrap(), &Context::EMPTY, Now::exactly(world.now())) {
        Decision::Allow(_) => "allowed".to_owned(),
        Decision::Ask(refusal) | Decision::Deny(refusal) => match &refusal.reasons[0] {
            Reason::Locked { id, text } => format!("locked {id} {text}"),
            other => other.to_string(),
        },
    }
}

pub(crate) async fn locks_are_for_operators_and_name_what_is_there(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let made = app.create_lock(&olga(), &lock(None, None)).await.unwrap().lock;
    for actor in [ann(), lee(), aud()] {
        assert_eq!(code(app.create_lock(&actor, &lock(None, None)).await), "not_operator");
        assert_eq!(code(app.remove_lock(&actor, &made.id, None).await), "not_operator");
    }
    assert_eq!(code(app.locks(&lee(), None, &page(10, None)).await), "not_auditor");
    let bad = |change: fn(&mut NewLock)| {
        let mut new = lock(None, None);
        change(&mut new);
        new
    };
    for (new, expected) in [
        (bad(|new| new.service = None), "lock_unclear"),
        (bad(|new| new.everything = true), "lock_unclear"),
        (bad(|new| new.service = Some("nothing".to_owned())), "unknown_target"),
        (bad(|new| new.action = Some("refund.crate".to_owned())), "unknown_target"),
        (bad(|new| (new.service, new.action) = (None, Some("refund.create".to_owned()))), "unknown_target"),
        (bad(|new| new.subject = Some("ann".to_owned())), "bad_subject"),
        (bad(|new| new.reason = " ".to_owned()), "bad_text"),
        (bad(|new| new.duration = Some(span("0s"))), "duration_too_short"),
    ] {
        assert_eq!(code(app.create_lock(&olga(), &new).await), expected, "{new:?}");
    }
    // Nothing of that was kept; everything can be locked, but only in so many words.
    assert_eq!(app.locks(&olga(), None, &page(10, None)).await.unwrap().items, std::slice::from_ref(&made));
    world.advance("1s");
    let all = NewLock { everything: true, reason: "breach".to_owned(), ..NewLock::default() };
    let all = app.create_lock(&olga(), &all).await.unwrap().lock;
    let item = app.all_items().await.unwrap().items.into_iter().find(|item| item.key == format!("lock/{}", all.id));
    assert_eq!(item.unwrap().service, None, "the filters of every service load it");
    let second = app.locks(&olga(), Some(LockStateWord::Active), &page(1, Some(all.id.to_string()))).await.unwrap();
    assert_eq!(second.items, [made]);
}

pub(crate) async fn locks_end_by_the_clock(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let short = NewLock { duration: Some(span("10m")), ..lock(None, None) };
    let one = app.create_lock(&olga(), &short).await.unwrap().lock;
    let two = app.create_lock(&olga(), &short).await.unwrap().lock;
    let open = app.create_lock(&olga(), &lock(None, None)).await.unwrap().lock;
    assert_eq!(app.next_deadline().await.unwrap(), Some(world.now().plus(span("10m"))));
    assert_eq!(app.expire_locks().await.unwrap(), 0);
    world.advance("10m");
    // Removing what is over finds that it is over.
    assert_eq!(code(app.remove_lock(&olga(), &one.id, None).await), "already_ended");
    assert_eq!(app.expire_locks().await.unwrap(), 1);
    assert_eq!(app.expire_locks().await.unwrap(), 0);
    for ended in [&one, &two] {
        assert_eq!(world.story_of(ended.id.as_str()).await, ["lock.created", "lock.expired"]);
    }
    let active = app.locks(&olga(), Some(LockStateWord::Active), &page(10, None)).await.unwrap();
    assert_eq!(active.items, [open]);
    assert_eq!(app.next_deadline().await.unwrap(), None);
}

pub(crate) async fn one_of_many_removals_wins(db: Db) {
    let world = World::new(db).await;
    let made = world.app.create_lock(&olga(), &lock(None, None)).await.unwrap().lock;
    let (app, admin) = (&world.app, olga());
    let all = (0..20).map(|_| app.remove_lock(&admin, &made.id, None));
    let won = futures_util::future::join_all(all).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
    assert_eq!(world.story_of(made.id.as_str()).await, ["lock.created", "lock.removed"]);
    assert!(matches!(engine_items(&world).await.as_slice(), [EngineItem::Service(_)]));
}

async fn engine_items(world: &World) -> Vec<EngineItem> {
    let items = world.app.all_items().await.unwrap().items.into_iter();
    let parse = |stored: grantmesh_control_plane::app::StoredItem| {
        Item { key: stored.key, body: RawValue::from_string(stored.body.unwrap()).unwrap() }.parse().unwrap()
    };
    items.map(parse).collect()
}
