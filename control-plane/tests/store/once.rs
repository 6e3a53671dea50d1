//! A repeated send makes nothing new, whatever it makes: the key is kept with what was made, or neither is.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use grantmesh_control_plane::app::{App, AppError, Extended, IdempotencyKey, Limits, Page};
use grantmesh_control_plane::domain::{
    Actor, AskTarget, Lasting, NewBreakGlass, NewDelegation, NewLock, NewOffline, RequestStateWord,
};
use grantmesh_shared::id::GrantId;
use grantmesh_shared::wire::signature::Sha256Hash;

use crate::db::Db;
use crate::world::{POLICY, World, approval, code, lee, olga, refund, review, someone, span};

const RIGHT: &str = r#"
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

/// The use cases for one send.
pub(crate) fn once(app: &App, key: &str, sent: &str) -> App {
    app.once(IdempotencyKey::new(key).unwrap(), Sha256Hash::of(sent.as_bytes()))
}

/// What a send is to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Request,
    BrokenGlass,
    /// More time that is had at once.
    Time,
    /// More time that reviewers decide.
    TimeToReview,
    Lock,
    Delegation,
    Token,
}

const ALL: [What; 7] =
    [What::Request, What::BrokenGlass, What::Time, What::TimeToReview, What::Lock, What::Delegation, What::Token];

impl What {
    /// The entry that only this leaves in the log.
    const fn entry(self) -> &'static str {
        match self {
            Self::Request | Self::TimeToReview => "request.filed",
            Self::BrokenGlass => "break_glass.used",
            Self::Time => "grant.extended",
            Self::Lock => "lock.created",
            Self::Delegation => "delegation.given",
            Self::Token => "offline_token.issued",
        }
    }

    /// Whether the same is made only once anyhow, while the first one is pending.
    const fn waits(self) -> bool {
        matches!(self, Self::Request | Self::TimeToReview)
    }

    /// Makes it, for a reason; gives its id, and all that is known of it.
    async fn make(self, app: &App, (who, grant): (&Actor, &GrantId), why: &str) -> Result<(String, String), AppError> {
        let (service, reason) = ("payments".to_owned(), why.to_owned());
        Ok(match self {
            Self::Request => {
                let mut new = refund("acc-9");
                new.justification = reason;
                let made = app.file_request(who, new).await?.request;
                (made.id.to_string(), format!("{made:?}"))
            }
            Self::BrokenGlass => {
                let (action, resource) = ("refund.create".to_owned(), "account/acc-9".to_owned());
                let target = AskTarget::Action { service, action, resource };
                let new = NewBreakGlass { target, reason, duration: None, right: None };
                let made = app.break_glass(who, &new).await?;
                (made.post_review.id.to_string(), format!("{made:?}"))
            }
            Self::Time | Self::TimeToReview => {
                let by = span(if self == Self::Time { "5m" } else { "40m" });
                match app.extend(who, grant, by, Some(why)).await? {
                    Extended::Now(made, position) => (made.id.to_string(), format!("{made:?} {position}")),
                    Extended::Asked(made) => (made.id.to_string(), format!("{made:?}")),
                }
            }
            Self::Lock => {
                let new = NewLock { service: Some(service), reason, ..NewLock::default() };
                let made = app.create_lock(who, &new).await?;
                (made.lock.id.to_string(), format!("{made:?}"))
            }
            Self::Delegation => {
                let (to, lasting) = ("dan".to_owned(), Lasting::For(span("48h")));
                let new = NewDelegation { to, service: None, rule: None, reason, starts_at: None, lasting };
                let made = app.delegate(who, &new).await?;
                (made.id.to_string(), format!("{made:?}"))
            }
            Self::Token => {
                let new = NewOffline { service, right: None, reason, duration: None };
                let made = app.issue_offline(who, &new).await?;
                let signed = made.token().payload().unwrap();
                (made.grant.to_string(), format!("{signed:?}"))
            }
        })
    }
}

/// May do everything that makes something.
fn able(name: &str) -> Actor {
    someone(name, &["support", "leads", "sre", "operators"])
}

fn policy() -> String {
    let more = "defaultDuration: 15m\n  extension: { maxTotal: 1h, withoutReview: 30m }";
    POLICY.replace("defaultDuration: 15m", more) + "---" + RIGHT
}

async fn world(db: Db) -> World {
    let world = World::bare(db, Limits::default()).await;
    world.apply(&[&policy()], None).await.unwrap();
    world
}

impl World {
    /// A grant of somebody's, approved by Lee.
    async fn granted_to(&self, who: &Actor) -> GrantId {
        let request = self.app.file_request(who, self.refund()).await.unwrap().request;
        review(&self.app, &lee(), &request.id, approval()).await.unwrap().grant.unwrap().id
    }

    /// How many entries of a kind the log has, and how many in all.
    async fn told(&self, kind: &str) -> (usize, usize) {
        let entries = self.entries().await;
        (entries.iter().filter(|entry| entry["kind"] == kind).count(), entries.len())
    }
}

pub(crate) async fn a_repeated_send_makes_nothing_new(db: Db) {
    let world = world(db).await;
    let other = world.another().await;
    for what in ALL {
        let (sam, name) = (able("sam"), format!("{what:?}"));
        let grant = world.granted_to(&sam).await;
        let before = world.told(what.entry()).await.0;
        let send = async |app: &App, key: &str, why: &str| {
            what.make(&once(app, &format!("{name}-{key}"), why), (&sam, &grant), why).await
        };
        let first = send(&world.app, "a", "fire").await.unwrap();
        let told = world.told(what.entry()).await;
        assert_eq!(told.0, before + 1, "{what:?}");
        // Whichever replica hears of it, and however often.
        for app in [&world.app, &other, &world.app] {
            assert_eq!(send(app, "a", "fire").await.unwrap(), first, "{what:?}");
        }
        assert_eq!(code(send(&world.app, "a", "smoke").await), "idempotency_key_reused", "{what:?}");
        assert_eq!(world.told(what.entry()).await, told, "{what:?}");
        // Another key, or none, is another send.
        for again in [send(&world.app, "b", "fire").await, what.make(&world.app, (&sam, &grant), "fire").await] {
            if what.waits() {
                assert_eq!(code(again), "already_asked", "{what:?}");
            } else {
                assert_ne!(again.unwrap().1, first.1, "{what:?}");
            }
        }
        assert_eq!(world.told(what.entry()).await.0, before + if what.waits() { 1 } else { 3 }, "{what:?}");
    }
    let tokens = world.app.offline_tokens(&olga(), &Page::default()).await.unwrap().items;
    assert_eq!(tokens.len(), 3);
}

pub(crate) async fn a_key_is_for_one_send_of_one_person(db: Db) {
    let world = world(db).await;
    for what in ALL {
        let (sam, kim) = (able("sam"), able("kim"));
        let (his, hers) = (world.granted_to(&sam).await, world.granted_to(&kim).await);
        let app = once(&world.app, &format!("{what:?}"), "fire");
        let one = what.make(&app, (&sam, &his), "fire").await.unwrap();
        let two = what.make(&app, (&kim, &hers), "fire").await.unwrap();
        assert_ne!(one.0, two.0, "{what:?}");
        assert_eq!(what.make(&app, (&sam, &his), "fire").await.unwrap(), one, "{what:?}");
        assert_eq!(what.make(&app, (&kim, &hers), "fire").await.unwrap(), two, "{what:?}");
        // What it was used for is not given to who sends something else with it.
        for other in ALL.into_iter().filter(|other| *other != what) {
            let app = once(&world.app, &format!("{what:?}"), "another route");
            assert_eq!(code(other.make(&app, (&sam, &his), "fire").await), "idempotency_key_reused", "{what:?}");
        }
        // Each waits for nothing when the next one is tried.
        for filed in [&one.0, &two.0].into_iter().filter(|id| id.starts_with("req_")) {
            let who = if *filed == one.0 { &sam } else { &kim };
            world.app.withdraw(who, &filed.parse().unwrap()).await.unwrap();
        }
    }
}

pub(crate) async fn many_sends_with_one_key_make_one(db: Db) {
    let world = world(db).await;
    let replicas = [world.app.clone(), world.another().await];
    let sam = able("sam");
    for what in ALL {
        let grant = world.granted_to(&sam).await;
        let before = world.told(what.entry()).await.0;
        let sends = (0..20_usize).map(|at| {
            let app = once(&replicas[at % 2], &format!("{what:?}"), "fire");
            let (sam, grant) = (sam.clone(), grant.clone());
            tokio::spawn(async move { what.make(&app, (&sam, &grant), "fire").await.unwrap() })
        });
        let made: BTreeSet<_> = join_all(sends).await.into_iter().map(|made| made.unwrap()).collect();
        assert_eq!(made.len(), 1, "{what:?}: {made:?}");
        assert_eq!(world.told(what.entry()).await.0, before + 1, "{what:?}");
    }
}

pub(crate) async fn a_repeat_gives_what_is_there_by_then(db: Db) {
    let world = world(db).await;
    let (app, sam) = (&world.app, able("sam"));
    let grant = world.granted_to(&sam).await;
    let send =
        async |what: What| what.make(&once(&world.app, &format!("{what:?}"), "fire"), (&sam, &grant), "fire").await;
    let mut first = Vec::new();
    for what in ALL {
        first.push(send(what).await.unwrap());
    }
    let [request, broken, time, asked, lock, delegation, token] = &first[..] else { panic!("{first:?}") };
    app.withdraw(&sam, &request.0.parse().unwrap()).await.unwrap();
    let review = app.post_review(&sam, &broken.0.parse().unwrap()).await.unwrap();
    app.release(&sam, &review.grant).await.unwrap();
    app.revoke(&olga(), &grant, "enough").await.unwrap();
    app.remove_lock(&olga(), &lock.0.parse().unwrap(), Some("rotated")).await.unwrap();
    app.end_delegation(&sam, &delegation.0.parse().unwrap()).await.unwrap();
    let told = world.told("").await;
    for (what, before, then) in [
        (What::Request, request, "Withdrawn"),
        (What::BrokenGlass, broken, "Released"),
        (What::Time, time, "Revoked"),
        // With the grant ended what was asked for it.
        (What::TimeToReview, asked, "Withdrawn"),
        (What::Lock, lock, "Removed"),
        (What::Delegation, delegation, "ended: Some"),
    ] {
        let again = send(what).await.unwrap();
        assert_eq!(again.0, before.0, "{what:?}");
        assert!(again.1.contains(then) && !before.1.contains(then), "{what:?}: {again:?}");
    }
    // A token is the very same, for as long as it could be signed for its holder.
    assert_eq!(send(What::Token).await.unwrap(), *token);
    assert_eq!(world.told("").await, told);
    let gone = policy().replace("subjects: [\"group:sre\"]", "subjects: [\"group:others\"]");
    world.apply(&[&gone], None).await.unwrap();
    assert_eq!(code(send(What::Token).await), "no_break_glass");
    // The others are theirs to see whatever the policy says by now.
    assert_eq!(send(What::BrokenGlass).await.unwrap().0, broken.0);
    assert_eq!(app.request(&sam, &request.0.parse().unwrap()).await.unwrap().state.word(), RequestStateWord::Withdrawn);
}

pub(crate) async fn what_is_refused_keeps_no_key_and_a_key_is_kept_for_a_day(db: Db) {
    let world = world(db).await;
    let sam = able("sam");
    for what in ALL {
        let grant = world.granted_to(&sam).await;
        let send = async |who: &Actor, why: &str| {
            what.make(&once(&world.app, &format!("{what:?}"), why), (who, &grant), why).await
        };
        let told = world.told("").await;
        if what == What::Time {
            // It needs no reason; nobody else may have it.
            assert_eq!(code(send(&able("kim"), " ").await), "not_the_holder");
        } else {
            send(&sam, " ").await.unwrap_err();
        }
        assert_eq!(world.told("").await, told, "{what:?}");
        send(&sam, "fire").await.unwrap();
    }
    assert_eq!(world.app.forget_idempotency_keys().await.unwrap(), 0);
    let lock = async || {
        let app = once(&world.app, "Lock", "fire");
        What::Lock.make(&app, (&sam, &GrantId::new(0, [0; 10])), "fire").await.unwrap().0
    };
    let before = lock().await;
    world.advance("1d");
    assert_eq!(world.app.forget_idempotency_keys().await.unwrap(), 0);
    assert_eq!(lock().await, before);
    world.advance("1s");
    assert_eq!(world.app.forget_idempotency_keys().await.unwrap(), ALL.len());
    assert_ne!(lock().await, before);
}

pub(crate) async fn a_key_that_cannot_be_kept_leaves_nothing_made(db: Db) {
    let world = world(db).await;
    let sam = able("sam");
    for what in ALL {
        let grant = world.granted_to(&sam).await;
        let app = once(&world.app, &format!("{what:?}"), "fire");
        let told = world.told("").await;
        world.db.tamper("ALTER TABLE idempotency_keys RENAME COLUMN created_at TO elsewhere").await;
        assert_eq!(code(what.make(&app, (&sam, &grant), "fire").await), "internal", "{what:?}");
        world.db.tamper("ALTER TABLE idempotency_keys RENAME COLUMN elsewhere TO created_at").await;
        assert_eq!(world.told("").await, told, "{what:?}");
        what.make(&app, (&sam, &grant), "fire").await.unwrap();
    }
}

pub(crate) async fn keys_of_the_release_before_still_count(db: Db) {
    let world = world(db).await;
    let sam = able("sam");
    let grant = world.granted_to(&sam).await;
    let app = once(&world.app, "k", "fire");
    let first = What::Request.make(&app, (&sam, &grant), "fire").await.unwrap();
    assert_eq!(world.db.tamper("UPDATE idempotency_keys SET request = made, made = NULL").await, 1);
    assert_eq!(What::Request.make(&app, (&sam, &grant), "fire").await.unwrap(), first);
    assert_eq!(code(What::Lock.make(&once(&world.app, "k", "x"), (&sam, &grant), "x").await), "idempotency_key_reused");
}
