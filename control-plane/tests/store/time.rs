//! Time that does not go back, whatever the clock of a machine says.

use std::sync::Arc;
use std::time::Duration;

use grantmesh_control_plane::app::App;
use grantmesh_control_plane::clock::{Clock, SteadyClock, SystemClock};
use grantmesh_control_plane::domain::Text;
use grantmesh_control_plane::keys::Ed25519Key;
use grantmesh_control_plane::push::Push;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::sync::Freshness;

use crate::db::Db;
use crate::world::{World, ann, open};

/// A process whose machine's clock is right, beside one whose clock was a long time ahead.
pub(crate) async fn no_replica_tells_an_earlier_time_than_another(db: Db) {
    let world = World::new(db).await;
    let grant = world.granted().await;
    // What was committed before machines' clocks were is of no matter to them.
    let early = with(&world, SteadyClock::default()).await;
    assert_eq!(early.settings().clock.behind(), Span::default());
    world.advance("3650d");
    let ahead = world.now();
    assert!(ahead > SystemClock.now(), "move the clock of this scenario further ahead");
    assert_eq!(world.app.expire_grants().await.unwrap(), 1);

    let other = with(&world, SteadyClock::default()).await;
    let clock = &other.settings().clock;
    assert!(clock.now() >= ahead && clock.behind() > Span::default());
    let filed = other.file_request(&ann(), world.refund()).await.unwrap().request;
    assert!(filed.ask.created_at >= ahead, "{filed:?}");
    assert_eq!(other.expire_grants().await.unwrap(), 0, "{grant:?} has ended once");
    // One that was there all the time learns it with its next write.
    assert!(early.settings().clock.now() < ahead);
    let filed = early.file_request(&ann(), world.refund()).await.unwrap().request;
    assert!(filed.ask.created_at >= ahead, "{filed:?}");

    // Somebody says that it was wrong.
    let right = with(&world, SystemClock).await;
    let before = right.head().await.unwrap();
    let told = right.begin_epoch(&Text::new("the clock was ahead", "reason").unwrap(), None).await.unwrap();
    assert_eq!((told.before, told.head), (before, right.head().await.unwrap()));
    assert_eq!(told.time_goes_back(), Some(before.told_at.since(told.head.told_at)), "{told:?}");
    let after = with(&world, SteadyClock::default()).await;
    assert!(after.settings().clock.now() < ahead);
    assert_eq!(after.settings().clock.behind(), Span::default());
    let begun = world.entries().await.pop().unwrap();
    assert_eq!(begun["kind"], "epoch.begun");
    assert!(begun["data"]["before_told_at"].as_i64() >= Some(ahead.millis()), "{begun}");
    assert!(begun["at"].as_i64() < Some(ahead.millis()), "the log says how far time goes back");
}

async fn with(world: &World, clock: impl Clock + 'static) -> App {
    open(&world.db, Arc::new(clock), *world.limits()).await
}

/// A process that writes nothing learns of a later time by the wake alone, before its filters ask it for the time.
pub(crate) async fn a_replica_that_only_listens_follows_the_time_that_another_told(db: Db) {
    if !db.is_postgres() {
        // SQLite has one process, and that one writes.
        return;
    }
    let world = World::new(db).await;
    let listens = with(&world, SteadyClock::default()).await;
    let push = Push::start(listens.clone(), Arc::new(Ed25519Key::generate().unwrap()), Freshness::default());
    let push = push.await.unwrap();
    let running = tokio::spawn(Arc::clone(&push).run());
    world.advance("3650d");
    let ahead = world.now();
    world.asked().await;
    let clock = &listens.settings().clock;
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while clock.now() < ahead {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "it still tells {}", clock.now());
    running.abort();
}
