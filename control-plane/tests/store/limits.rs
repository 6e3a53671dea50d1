//! How often one person may ask, whichever way the request comes.

use futures_util::future::join_all;
use grantmesh_control_plane::app::{AppError, Conflict, Filed, Limits};
use grantmesh_control_plane::domain::{Actor, AskTarget, NewRequest};
use grantmesh_shared::id::RequestId;

use crate::db::Db;
use crate::once::once;
use crate::world::{POLICY, World, ann, approval, ask, bob, code, denial, lee, refund, someone, span};

async fn world(db: Db, limits: &str) -> World {
    let world = World::bare(db, Limits::default()).await;
    let limits = format!("defaultDuration: 15m\n  limits: {{ {limits} }}");
    world.apply(&[&POLICY.replace("defaultDuration: 15m", &limits)], None).await.unwrap();
    world
}

async fn file(world: &World, who: &Actor, account: &str) -> Result<Filed, AppError> {
    world.app.file_request(who, refund(account)).await
}

/// The same ask as the URL of a challenge brings it: by the call.
fn by_call(account: &str) -> NewRequest {
    let target = AskTarget::Call {
        service: "payments".to_owned(),
        method: "POST".to_owned(),
        path: format!("/v1/accounts/{account}/refunds"),
    };
    NewRequest { target, ..refund(account) }
}

/// The request that the same was asked by already.
fn pending(refused: Result<Filed, AppError>) -> RequestId {
    match refused {
        Err(AppError::Conflict(Conflict::AlreadyAsked { request })) => request,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn so_many_of_one_person_are_pending(db: Db) {
    let world = world(db, "pending: 2").await;
    let first = file(&world, &ann(), "acc-1").await.unwrap().request;
    file(&world, &ann(), "acc-2").await.unwrap();
    assert_eq!(code(file(&world, &ann(), "acc-3").await), "too_many_pending");
    assert_eq!(code(world.app.file_request(&ann(), by_call("acc-3")).await), "too_many_pending");
    // It is for each person and each rule.
    file(&world, &bob(), "acc-3").await.unwrap();
    world.app.file_request(&ann(), ask("account.close", "acc-3")).await.unwrap();
    world.review(&lee(), &first.id, approval()).await.unwrap();
    file(&world, &ann(), "acc-3").await.unwrap();
    // What timed out is not pending, whether or not somebody has noticed yet.
    world.advance("8h");
    file(&world, &ann(), "acc-4").await.unwrap();
}

pub(crate) async fn so_many_are_filed_within_an_hour(db: Db) {
    let world = world(db, "perHour: 2").await;
    for account in ["acc-1", "acc-2"] {
        let request = file(&world, &ann(), account).await.unwrap().request;
        world.app.withdraw(&ann(), &request.id).await.unwrap();
        world.advance("10m");
    }
    assert_eq!(code(file(&world, &ann(), "acc-3").await), "asked_too_often");
    assert_eq!(code(world.app.file_request(&ann(), by_call("acc-3")).await), "asked_too_often");
    file(&world, &bob(), "acc-3").await.unwrap();
    world.advance("39m59s");
    let Err(AppError::Limit(refused)) = file(&world, &ann(), "acc-3").await else { panic!("too soon") };
    assert_eq!(refused.again_at(), Some(world.now().plus(span("1s"))));
    world.advance("1s");
    file(&world, &ann(), "acc-3").await.unwrap();
}

pub(crate) async fn a_denial_cools_down(db: Db) {
    let world = world(db, "coolDown: 30m").await;
    let request = file(&world, &ann(), "acc-1").await.unwrap().request;
    world.review(&lee(), &request.id, denial()).await.unwrap();
    assert_eq!(code(file(&world, &ann(), "acc-1").await), "cooling_down");
    assert_eq!(code(world.app.file_request(&ann(), by_call("acc-1")).await), "cooling_down");
    // Only for the same, and only for whom it was denied to.
    file(&world, &ann(), "acc-2").await.unwrap();
    file(&world, &bob(), "acc-1").await.unwrap();
    world.advance("29m59s");
    assert_eq!(code(file(&world, &ann(), "acc-1").await), "cooling_down");
    world.advance("1s");
    file(&world, &ann(), "acc-1").await.unwrap();
}

pub(crate) async fn the_same_is_asked_once(db: Db) {
    let world = World::new(db).await;
    let sent = once(&world.app, "k", "acc-1");
    let first = sent.file_request(&ann(), refund("acc-1")).await.unwrap().request;
    assert_eq!(pending(file(&world, &ann(), "acc-1").await), first.id);
    assert_eq!(pending(world.app.file_request(&ann(), by_call("acc-1")).await), first.id);
    let longer = NewRequest { duration: Some(span("1h")), justification: "again".to_owned(), ..refund("acc-1") };
    assert_eq!(pending(world.app.file_request(&ann(), longer).await), first.id);
    // A repeated send is no second ask.
    assert!(sent.file_request(&ann(), refund("acc-1")).await.unwrap().repeated);
    // Another person, another resource, another start is another ask.
    file(&world, &bob(), "acc-1").await.unwrap();
    file(&world, &ann(), "acc-2").await.unwrap();
    let later = NewRequest { starts_at: Some(world.now().plus(span("1d"))), ..refund("acc-1") };
    world.app.file_request(&ann(), later).await.unwrap();
    world.review(&lee(), &first.id, denial()).await.unwrap();
    assert_ne!(file(&world, &ann(), "acc-1").await.unwrap().request.id, first.id);
}

pub(crate) async fn limits_hold_whoever_asks_at_once(db: Db) {
    let world = world(db, "pending: 3").await;
    let replicas = [world.app.clone(), world.another().await];
    let asks = (0..16_usize).map(|at| {
        let app = replicas[at % 2].clone();
        let new = if at % 3 == 0 { by_call(&format!("acc-{}", at / 2)) } else { refund(&format!("acc-{}", at / 2)) };
        tokio::spawn(async move { app.file_request(&ann(), new).await.is_ok() })
    });
    let filed = join_all(asks).await.into_iter().filter(|filed| *filed.as_ref().unwrap()).count();
    assert_eq!(filed, 3);
}

pub(crate) async fn one_person_has_the_limits_once_by_whatever_account(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let limits = "defaultDuration: 15m\n  limits: { pending: 1, coolDown: 30m }";
    let person = "---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: ann }\nspec: { accounts: [{ subject: ann }, { subject: ann2 }] }\n";
    let policy = POLICY.replace("defaultDuration: 15m", limits) + person;
    world.apply(&[&policy], None).await.unwrap();
    let again = someone("ann2", &["support"]);
    let first = file(&world, &ann(), "acc-1").await.unwrap().request;
    assert_eq!(code(file(&world, &again, "acc-2").await), "too_many_pending");
    world.review(&lee(), &first.id, denial()).await.unwrap();
    assert_eq!(code(file(&world, &again, "acc-1").await), "cooling_down");
    file(&world, &again, "acc-2").await.unwrap();
    assert_eq!(code(file(&world, &ann(), "acc-3").await), "too_many_pending");
    file(&world, &bob(), "acc-1").await.unwrap();
}
