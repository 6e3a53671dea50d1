//! Signals: set and cleared by those whom the policy names, ended by the clock and by the policy, given to filters.

use futures_util::future::join_all;
use grantmesh_control_plane::app::WhichSignal;
use grantmesh_control_plane::domain::AsSeen;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::{Body, Item};
use serde_json::value::RawValue;

use crate::db::Db;
use crate::world::{ISSUER, POLICY, World, ann, aud, code, eve, lee, olga, signal, span};

/// Declares two signals under the policy in force, the first one for people of support: the rows that a policy leaves.
async fn world(db: Db) -> World {
    let world = World::new(db).await;
    let policy = world.app.policy(&olga()).await.unwrap().unwrap().about.id;
    let support = format!(r#"[{{"group":{{"issuer":"{ISSUER}","name":"support"}}}}]"#);
    for (name, setters, max) in [("incident.open", support.as_str(), "8h"), ("freeze.active", "[]", "30d")] {
        let max = span(max).millis();
        let sql = format!(
            "INSERT INTO policy_signals (policy, name, setters, max_duration_ms) VALUES ('{policy}', '{name}', '{setters}', {max})"
        );
        assert_eq!(world.db.tamper(&sql).await, 1);
    }
    world
}

/// When each signal that filters load ends.
async fn loaded(world: &World) -> Vec<(String, Timestamp)> {
    let items = world.app.all_items().await.unwrap().items.into_iter();
    let signals = items.filter(|item| item.key.starts_with("signal/"));
    let read = |stored: grantmesh_control_plane::app::StoredItem| {
        assert_eq!(stored.service, None, "the filters of every service load it");
        let body = stored.body.unwrap();
        let Body::Signal(signal) = serde_json::from_str(&body).unwrap() else { panic!("{body}") };
        Item { key: stored.key, body: RawValue::from_string(body).unwrap() }.parse().unwrap();
        (signal.name, signal.expires_at)
    };
    signals.map(read).collect()
}

/// The kinds of the log's entries about signals.
async fn story(world: &World) -> Vec<String> {
    let kinds = world.entries().await.into_iter().map(|entry| entry["kind"].as_str().unwrap().to_owned());
    kinds.filter(|kind| kind.starts_with("signal.")).collect()
}

pub(crate) async fn a_signal_is_set_again_and_cleared(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let set = app.set_signal(&ann(), signal("incident.open", None), "PAY-7 is down", span("1h")).await.unwrap();
    assert_eq!(set.position, app.head().await.unwrap().position);
    let first = set.signal.set.clone().unwrap();
    assert_eq!((first.set_by.clone(), first.expires_at), (ann().user, world.now().plus(span("1h"))));
    assert_eq!(loaded(&world).await, [("incident.open".to_owned(), first.expires_at)]);
    // The latest word counts, for longer or for shorter, and from the moment that it is said.
    for duration in ["8h", "5m"] {
        world.advance("1m");
        let again = app.set_signal(&olga(), signal("incident.open", None), "still", span(duration)).await.unwrap();
        let ends = world.now().plus(span(duration));
        assert_eq!(loaded(&world).await, [("incident.open".to_owned(), ends)]);
        assert_eq!(again.signal.set.unwrap().set_by, olga().user);
    }
    let listed = app.signals(&ann()).await.unwrap();
    assert_eq!(listed.len(), 1, "only what she may set");
    assert_eq!(listed[0].set.as_ref().unwrap().reason.as_str(), "still");
    let cleared = app.clear_signal(&ann(), signal("incident.open", None), Some("over")).await.unwrap();
    assert_eq!(cleared.signal.set, None);
    assert!(loaded(&world).await.is_empty());
    assert_eq!(world.keys().await.1, ["signal/incident.open"]);
    assert_eq!(code(app.clear_signal(&ann(), signal("incident.open", None), None).await), "signal_not_set");
    // What was cleared can be set once more.
    app.set_signal(&ann(), signal("incident.open", None), "again", span("1h")).await.unwrap();
    assert_eq!(story(&world).await, ["signal.set", "signal.set", "signal.set", "signal.cleared", "signal.set"]);
    let entries = world.entries().await;
    let second = entries.iter().filter(|entry| entry["kind"] == "signal.set").nth(1).unwrap();
    assert_eq!(second["data"]["before"], first.expires_at.millis());
    assert_eq!((&second["actor"]["subject"], &second["data"]["signal"]), (&"olga".into(), &"incident.open".into()));
}

pub(crate) async fn signals_are_for_their_setters(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let hour = span("1h");
    // What one may not set does not exist; an auditor sees it and may not.
    for stranger in [eve(), lee()] {
        assert_eq!(code(app.set_signal(&stranger, signal("incident.open", None), "x", hour).await), "not_found");
        assert_eq!(code(app.clear_signal(&stranger, signal("incident.open", None), None).await), "not_found");
        assert!(app.signals(&stranger).await.unwrap().is_empty());
    }
    assert_eq!(app.signals(&aud()).await.unwrap().len(), 2);
    assert_eq!(code(app.set_signal(&aud(), signal("incident.open", None), "x", hour).await), "not_a_setter");
    assert_eq!(code(app.set_signal(&ann(), signal("freeze.active", None), "x", hour).await), "not_found");
    app.set_signal(&olga(), signal("freeze.active", None), "quarter's end", span("10d")).await.unwrap();
    for (name, reason, duration, expected) in [
        ("incident.closed", "x", hour, "not_found"),
        ("incident.open", " ", hour, "bad_text"),
        ("incident.open", "a\u{202e}b", hour, "bad_text"),
        ("incident.open", "x", span("8h1ms"), "duration_over_maximum"),
        ("incident.open", "x", span("999ms"), "duration_too_short"),
    ] {
        assert_eq!(
            code(app.set_signal(&ann(), signal(name, None), reason, duration).await),
            expected,
            "{name} {reason}"
        );
        // An operator is not above the policy.
        assert_eq!(
            code(app.set_signal(&olga(), signal(name, None), reason, duration).await),
            expected,
            "{name} {reason}"
        );
    }
    assert_eq!(story(&world).await, ["signal.set"]);
    // Where the policy declares none, there is none.
    let bare = World::new(Db::sqlite()).await;
    assert_eq!(code(bare.app.set_signal(&olga(), signal("incident.open", None), "x", hour).await), "not_found");
    assert!(bare.app.signals(&olga()).await.unwrap().is_empty());
}

pub(crate) async fn signals_end_by_the_clock(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    app.set_signal(&ann(), signal("incident.open", None), "x", span("10m")).await.unwrap();
    app.set_signal(&olga(), signal("freeze.active", None), "x", span("20m")).await.unwrap();
    assert_eq!(app.next_deadline().await.unwrap(), Some(world.now().plus(span("10m"))));
    world.advance("10m");
    // Over is over, whether the log knows it yet or not.
    let listed = app.signals(&olga()).await.unwrap();
    assert!(listed.iter().all(|signal| signal.set.is_some() == (signal.declaration.name == "freeze.active")));
    assert_eq!(code(app.clear_signal(&ann(), signal("incident.open", None), None).await), "signal_not_set");
    assert_eq!(story(&world).await, ["signal.set", "signal.set", "signal.expired"]);
    world.advance("10m");
    assert_eq!((app.expire_signals().await.unwrap(), app.expire_signals().await.unwrap()), (1, 0));
    assert_eq!(story(&world).await, ["signal.set", "signal.set", "signal.expired", "signal.expired"]);
    assert!(loaded(&world).await.is_empty());
    // Set anew after its time, before the reconciler came by: it was not extended.
    app.set_signal(&ann(), signal("incident.open", None), "x", span("1m")).await.unwrap();
    world.advance("2m");
    app.set_signal(&ann(), signal("incident.open", None), "x", span("1m")).await.unwrap();
    assert_eq!(world.entries().await.last().unwrap()["data"].get("before"), None);
}

pub(crate) async fn a_policy_that_declares_a_signal_no_more_ends_it(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    app.set_signal(&ann(), signal("incident.open", None), "x", span("1h")).await.unwrap();
    app.set_signal(&olga(), signal("freeze.active", None), "x", span("1h")).await.unwrap();
    assert_eq!(loaded(&world).await.len(), 2);
    world.apply(&[POLICY], None).await.unwrap();
    assert!(loaded(&world).await.is_empty());
    assert_eq!(story(&world).await, ["signal.set", "signal.set", "signal.undeclared", "signal.undeclared"]);
    let ended = world.entries().await.pop().unwrap();
    assert_eq!(ended["actor"]["subject"], "olga", "who applied the policy ended them");
    // What is no longer declared is not there, for operators neither.
    assert_eq!(code(app.set_signal(&olga(), signal("incident.open", None), "x", span("1h")).await), "not_found");
    assert!(app.signals(&olga()).await.unwrap().is_empty());
}

pub(crate) async fn one_of_many_clears_wins(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    app.set_signal(&ann(), signal("incident.open", None), "x", span("1h")).await.unwrap();
    let actor = ann();
    let clears = (0..20).map(|_| app.clear_signal(&actor, signal("incident.open", None), None));
    let won = join_all(clears).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
    assert_eq!(story(&world).await, ["signal.set", "signal.cleared"]);
    let sets = (0..10).map(|_| {
        app.set_signal(&actor, signal("incident.open", None), "x", grantmesh_shared::time::Span::from_secs(60))
    });
    assert!(join_all(sets).await.into_iter().all(|set| set.is_ok()));
    assert_eq!(loaded(&world).await.len(), 1);
}

pub(crate) async fn a_signal_is_changed_only_as_it_was_seen(db: Db) {
    let world = world(db).await;
    let (app, who) = (&world.app, ann());
    let incident = |seen| WhichSignal { name: "incident.open", of: None, seen };
    let set = async |seen| app.set_signal(&who, incident(seen), "x", span("10m")).await;
    let clear = async |seen| app.clear_signal(&who, incident(seen), None).await;
    assert_eq!(code(clear(AsSeen::Set).await), "signal_changed");
    assert_eq!(code(clear(AsSeen::NotSet).await), "signal_not_set");
    assert_eq!(code(set(AsSeen::Set).await), "signal_changed");
    // Of many who open it because it is not set, one does.
    let won = join_all((0..10).map(|_| set(AsSeen::NotSet))).await;
    let told: Vec<&str> = won.iter().filter_map(|set| set.as_ref().err()).map(|refused| refused.code()).collect();
    assert_eq!(told, ["signal_changed"; 9]);
    let first = won.into_iter().find_map(Result::ok).unwrap().position;
    // Of many who make it longer as they have seen it, one does; and what was seen before is over.
    let longer = join_all((0..10).map(|_| set(AsSeen::At(first)))).await;
    assert_eq!(longer.iter().filter(|set| set.is_ok()).count(), 1);
    let second = longer.into_iter().find_map(Result::ok).unwrap().position;
    assert_eq!(code(clear(AsSeen::At(first)).await), "signal_changed");
    let elsewhere = Position { epoch: second.epoch + 1, ..second };
    assert_eq!(code(clear(AsSeen::At(elsewhere)).await), "signal_changed", "another history may have had it otherwise");
    assert_eq!(code(clear(AsSeen::NotSet).await), "signal_changed");
    assert_eq!(story(&world).await, ["signal.set", "signal.set"], "what is refused changes nothing");
    // One whose time is over is not set, before the log knows it too.
    world.advance("10m");
    assert_eq!(code(clear(AsSeen::At(second)).await), "signal_changed");
    set(AsSeen::NotSet).await.unwrap();
    clear(AsSeen::Set).await.unwrap();
    assert_eq!(story(&world).await, ["signal.set", "signal.set", "signal.set", "signal.cleared"]);
}
