//! Many at once, over two replicas: exactly one wins, and the log tells it so.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use grantmesh_control_plane::app::{AppError, GrantFilter, Limits, Page};
use grantmesh_control_plane::domain::{GrantStateWord, RequestStateWord};

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, lee, mia, refund, review, someone, span};

/// Runs everything on its own task and gives the results.
pub(crate) async fn all_at_once<T: Send + 'static>(
    runs: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = runs.map(tokio::spawn).collect();
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

pub(crate) fn codes<T>(results: &[Result<T, AppError>]) -> Vec<&'static str> {
    results.iter().filter_map(|result| result.as_ref().err().map(AppError::code)).collect()
}

pub(crate) async fn fifty_approvals_make_one_grant(db: Db) {
    let world = World::new(db).await;
    let replicas = [world.app.clone(), world.another().await];
    let request = world.asked().await;
    let approve = |number: usize| {
        let (app, id) = (replicas[number % 2].clone(), request.id.clone());
        async move { review(&app, &someone(&format!("lead-{number}"), &["leads"]), &id, approval()).await }
    };
    let results = all_at_once((0..50).map(approve)).await;
    assert_eq!(codes(&results), ["already_decided"; 49]);
    let grants = world.app.grants(&lee(), &GrantFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(grants.len(), 1);
    let replica = &replicas[1];
    assert_eq!(replica.grants(&lee(), &GrantFilter::default(), &Page::default()).await.unwrap().items, grants);
    assert_eq!(world.story_of(request.id.as_str()).await, ["request.filed", "review.approved", "grant.issued"]);
}

pub(crate) async fn one_of_approve_and_withdraw_wins(db: Db) {
    let world = World::new(db).await;
    let replicas = [world.app.clone(), world.another().await];
    for round in 0..12 {
        let request = world.asked().await;
        let (one, two) = (replicas[round % 2].clone(), replicas[(round + 1) % 2].clone());
        let (id, same) = (request.id.clone(), request.id.clone());
        let approved = tokio::spawn(async move { review(&one, &lee(), &id, approval()).await });
        let withdrawn = tokio::spawn(async move { two.withdraw(&ann(), &same).await });
        let (approved, withdrawn) = (approved.await.unwrap(), withdrawn.await.unwrap());
        assert_ne!(approved.is_ok(), withdrawn.is_ok());
        let word = world.app.request(&ann(), &request.id).await.unwrap().state.word();
        let expected = if approved.is_ok() { RequestStateWord::Approved } else { RequestStateWord::Withdrawn };
        assert_eq!(word, expected);
    }
    assert_eq!(world.app.verify_log().await.unwrap().fault, None);
}

pub(crate) async fn one_of_approve_and_time_out_wins(db: Db) {
    let world = World::new(db).await;
    let replicas = [world.app.clone(), world.another().await];
    for round in 0..12 {
        let request = world.asked().await;
        world.advance("7h59m59s");
        let (one, two) = (replicas[round % 2].clone(), replicas[(round + 1) % 2].clone());
        let clock = Arc::clone(&world.clock);
        let id = request.id.clone();
        let approved = tokio::spawn(async move { review(&one, &lee(), &id, approval()).await });
        let timed_out = tokio::spawn(async move {
            clock.advance("1s".parse().unwrap());
            two.time_out_requests().await.unwrap()
        });
        let (approved, timed_out) = (approved.await.unwrap(), timed_out.await.unwrap());
        let request = world.app.request(&ann(), &request.id).await.unwrap();
        match approved {
            Ok(reviewed) => {
                let grant = reviewed.grant.unwrap();
                assert!(grant.starts_at < request.ask.times_out_at);
                assert_eq!((timed_out, request.state.word()), (0, RequestStateWord::Approved));
            }
            Err(error) => {
                assert_eq!((error.code(), request.state.word()), ("already_decided", RequestStateWord::TimedOut));
                assert_eq!(world.story_of(request.id.as_str()).await, ["request.filed", "request.timed_out"]);
            }
        }
    }
}

pub(crate) async fn one_of_many_revocations_wins(db: Db) {
    let world = World::new(db).await;
    let replicas = [world.app.clone(), world.another().await];
    let grant = world.granted().await;
    let revoke = |number: usize| {
        let (app, id) = (replicas[number / 2 % 2].clone(), grant.id.clone());
        async move {
            match number % 2 {
                0 => app.revoke(&mia(), &id, "over").await,
                _ => app.release(&ann(), &id).await,
            }
        }
    };
    let results = all_at_once((0..12).map(revoke)).await;
    assert_eq!(codes(&results), ["already_ended"; 11]);
    assert_eq!(world.story_of(grant.id.as_str()).await.len(), 3);
}

/// More time that needs no review, against the end: it is had before the end or not at all, by whichever replica.
pub(crate) async fn what_is_revoked_is_extended_before_or_not_at_all(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let rule = "defaultDuration: 15m\n  extension: { withoutReview: 30m }";
    world.apply(&[&POLICY.replace("defaultDuration: 15m", rule)], None).await.unwrap();
    let replicas = [world.app.clone(), world.another().await];
    for round in 0..8 {
        let grant = world.granted().await;
        let tries = |number: usize| {
            let (app, id) = (replicas[(number + round) % 2].clone(), grant.id.clone());
            async move {
                match number {
                    0 | 1 => ("revoke", app.revoke(&mia(), &id, "over").await.map(drop)),
                    _ => ("extend", app.extend(&ann(), &id, span("5m"), None).await.map(drop)),
                }
            }
        };
        let (revoked, extended): (Vec<_>, Vec<_>) =
            all_at_once((0..4).map(tries)).await.into_iter().partition(|(what, _)| *what == "revoke");
        let revoked: Vec<_> = revoked.into_iter().map(|(_, result)| result).collect();
        let extended: Vec<_> = extended.into_iter().map(|(_, result)| result).collect();
        assert_eq!(codes(&revoked), ["already_ended"]);
        assert!(codes(&extended).iter().all(|code| *code == "already_ended"), "{extended:?}");
        let times = extended.iter().filter(|result| result.is_ok()).count();
        let story = world.story_of(grant.id.as_str()).await;
        let told = |kind: &str| story.iter().filter(|told| *told == kind).count();
        assert_eq!((told("grant.extended"), told("grant.revoked")), (times, 1), "{story:?}");
        assert_eq!(story.last().map(String::as_str), Some("grant.revoked"));
        let later = (0..times).fold(grant.expires_at, |at, _| at.plus(span("5m")));
        for app in &replicas {
            let after = app.grant(&ann(), &grant.id).await.unwrap();
            assert_eq!((after.state.word(), after.expires_at), (GrantStateWord::Revoked, later));
        }
    }
}

pub(crate) async fn two_processes_share_one_history(db: Db) {
    let world = World::new(db).await;
    let other = world.another().await;
    let mut heard = other.changed();
    heard.borrow_and_update();
    let file = |number: u32| {
        let app = if number.is_multiple_of(2) { world.app.clone() } else { other.clone() };
        async move { app.file_request(&ann(), refund(&number.to_string())).await.unwrap().request.id }
    };
    let filed = all_at_once((0..20).map(file)).await;
    let entries = world.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry["kind"] == "request.filed").count(), filed.len());
    // A commit of one process is heard by the other: by a wake on PostgreSQL, by looking on SQLite.
    heard.borrow_and_update();
    let grant = world.granted().await;
    if !world.db.is_postgres() {
        other.head().await.unwrap();
    }
    let position = world.app.position_of(&grant);
    let told = heard.wait_for(|head| head.position >= position);
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    assert_eq!(other.grant(&ann(), &grant.id).await.unwrap(), grant);
}
