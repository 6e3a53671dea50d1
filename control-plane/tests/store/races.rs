//! Many at once: exactly one wins, and the log tells it so.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use grantmesh_control_plane::app::{AppError, GrantFilter, Page};
use grantmesh_control_plane::domain::RequestStateWord;

use crate::db::Db;
use crate::world::{World, ann, approval, lee, mia, refund, review, someone};

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
    let request = world.asked().await;
    let approve = |number| {
        let (app, id) = (world.app.clone(), request.id.clone());
        async move { review(&app, &someone(&format!("lead-{number}"), &["leads"]), &id, approval()).await }
    };
    let results = all_at_once((0..50).map(approve)).await;
    assert_eq!(codes(&results), ["already_decided"; 49]);
    let grants = world.app.grants(&lee(), &GrantFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(grants.len(), 1);
    assert_eq!(world.story_of(request.id.as_str()).await, ["request.filed", "review.approved", "grant.issued"]);
}

pub(crate) async fn one_of_approve_and_withdraw_wins(db: Db) {
    let world = World::new(db).await;
    for _ in 0..12 {
        let request = world.asked().await;
        let (one, two) = (world.app.clone(), world.app.clone());
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
    for _ in 0..12 {
        let request = world.asked().await;
        world.advance("7h59m59s");
        let (one, two, clock) = (world.app.clone(), world.app.clone(), Arc::clone(&world.clock));
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
    let grant = world.granted().await;
    let revoke = |number: u32| {
        let (app, id) = (world.app.clone(), grant.id.clone());
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
