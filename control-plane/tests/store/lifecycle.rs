//! From a request to a grant and to its end.

use grantmesh_control_plane::app::{GrantFilter, IdempotencyKey, Only, Page, RequestFilter};
use grantmesh_control_plane::domain::{AskTarget, GrantState, GrantStateWord, RequestStateWord};
use grantmesh_shared::wire::table::{EngineItem, Item};
use serde_json::value::RawValue;

use crate::db::Db;
use crate::once::once;
use crate::world::{World, ann, approval, aud, bob, code, denial, eve, lee, mia, olga, page, refund, span};

pub(crate) async fn a_request_becomes_a_grant_and_ends(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let request = world.asked().await;
    assert_eq!(request.state.word(), RequestStateWord::Pending);
    assert_eq!((request.ask.rule.as_str(), request.ask.duration), ("refunds", span("15m")));
    for reader in [ann(), lee(), olga(), aud()] {
        assert_eq!(app.request(&reader, &request.id).await.unwrap(), request);
    }
    // To a stranger it does not exist, whatever they try.
    assert_eq!(code(app.request(&eve(), &request.id).await), "not_found");
    assert_eq!(code(world.review(&eve(), &request.id, approval()).await), "not_found");
    assert_eq!(code(app.withdraw(&eve(), &request.id).await), "not_found");
    // The requester, an operator and an auditor see it and may not approve it.
    assert_eq!(code(world.review(&ann(), &request.id, approval()).await), "self_approval");
    assert_eq!(code(world.review(&olga(), &request.id, approval()).await), "not_a_reviewer");
    assert_eq!(code(world.review(&aud(), &request.id, approval()).await), "not_a_reviewer");

    world.advance("5m");
    let reviewed = world.review(&lee(), &request.id, approval()).await.unwrap();
    let grant = reviewed.grant.unwrap();
    assert_eq!(reviewed.request.state.word(), RequestStateWord::Approved);
    assert_eq!((grant.starts_at, grant.expires_at), (world.now(), world.now().plus(span("15m"))));
    assert_eq!(app.request(&ann(), &request.id).await.unwrap(), reviewed.request);
    assert_eq!(app.grant(&ann(), &grant.id).await.unwrap(), grant);
    assert_eq!(code(app.grant(&eve(), &grant.id).await), "not_found");
    assert_eq!(code(world.review(&mia(), &request.id, approval()).await), "already_decided");
    assert_eq!(code(app.withdraw(&ann(), &request.id).await), "already_decided");
    let item = app
        .all_items()
        .await
        .unwrap()
        .items
        .into_iter()
        .find(|item| item.key == format!("grant/{}", grant.id))
        .unwrap();
    assert_eq!((item.revision, item.service.as_deref()), (grant.revision, Some("payments")));
    let wire = Item { key: item.key, body: RawValue::from_string(item.body.unwrap()).unwrap() };
    assert!(matches!(wire.parse(), Ok(EngineItem::Grant(engine)) if engine.expires_at == grant.expires_at));

    assert_eq!(code(app.revoke(&eve(), &grant.id, "no").await), "not_found");
    assert_eq!(code(app.revoke(&ann(), &grant.id, "no").await), "not_a_reviewer");
    assert_eq!(code(app.revoke(&aud(), &grant.id, "no").await), "not_a_reviewer");
    assert_eq!(code(app.revoke(&lee(), &grant.id, " ").await), "bad_text");
    let ended = app.revoke(&lee(), &grant.id, "ticket closed").await.unwrap();
    assert!(matches!(&ended.grant.state, GrantState::Revoked { by: Some(by), .. } if *by == lee().user));
    assert_eq!(ended.position, app.head().await.unwrap().position);
    assert_eq!(ended.position, app.position_of(&ended.grant));
    assert_eq!(code(app.revoke(&olga(), &grant.id, "again").await), "already_ended");
    assert_eq!(code(app.release(&ann(), &grant.id).await), "already_ended");
    assert_eq!(world.keys().await, (vec!["service/payments".to_owned()], vec![format!("grant/{}", grant.id)]));
    assert_eq!(
        world.story_of(request.id.as_str()).await,
        ["request.filed", "review.approved", "grant.issued", "grant.revoked"]
    );
    assert_eq!(world.story_of(grant.id.as_str()).await, ["review.approved", "grant.issued", "grant.revoked"]);
    assert_eq!(world.story_of(request.ask.policy.as_str()).await, ["policy.applied", "request.filed", "grant.issued"]);
}

pub(crate) async fn a_denial_a_withdrawal_and_a_release(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let denied = world.asked().await;
    let mut silent = denial();
    silent.reason = None;
    assert_eq!(code(world.review(&lee(), &denied.id, silent).await), "bad_text");
    let reviewed = world.review(&lee(), &denied.id, denial()).await.unwrap();
    assert_eq!((reviewed.request.state.word(), reviewed.grant), (RequestStateWord::Denied, None));
    assert_eq!(code(world.review(&mia(), &denied.id, approval()).await), "already_decided");
    assert_eq!(world.story_of(denied.id.as_str()).await, ["request.filed", "review.denied"]);

    let withdrawn = world.asked().await;
    assert_eq!(code(app.withdraw(&lee(), &withdrawn.id).await), "not_the_requester");
    let withdrawn = app.withdraw(&ann(), &withdrawn.id).await.unwrap();
    assert_eq!(withdrawn.state.word(), RequestStateWord::Withdrawn);
    assert_eq!(code(app.withdraw(&ann(), &withdrawn.id).await), "already_decided");
    assert_eq!(code(world.review(&lee(), &withdrawn.id, approval()).await), "already_decided");

    let grant = world.granted().await;
    assert_eq!(code(app.release(&lee(), &grant.id).await), "not_the_holder");
    let ended = app.release(&ann(), &grant.id).await.unwrap();
    assert_eq!(ended.grant.state.word(), GrantStateWord::Released);
    assert_eq!(app.grant(&ann(), &grant.id).await.unwrap(), ended.grant);
    assert_eq!(code(app.revoke(&lee(), &grant.id, "late").await), "already_ended");
}

pub(crate) async fn grants_expire_by_the_clock(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let (first, second) = (world.granted().await, world.granted().await);
    // Their holders are warned before; then the next thing that happens is that they end.
    world.advance("14m59s");
    assert_eq!((app.warn_holders().await.unwrap(), app.next_deadline().await.unwrap()), (2, Some(first.expires_at)));
    assert_eq!(app.expire_grants().await.unwrap(), 0);
    world.advance("1s");
    // Too late to end it otherwise: the one who tries finds it expired, and it is.
    assert_eq!(code(app.revoke(&lee(), &second.id, "now").await), "already_ended");
    assert_eq!(app.grant(&ann(), &second.id).await.unwrap().state, GrantState::Expired { at: world.now() });
    assert_eq!(app.expire_grants().await.unwrap(), 1);
    assert_eq!(app.expire_grants().await.unwrap(), 0);
    for grant in [&first, &second] {
        assert_eq!(app.grant(&ann(), &grant.id).await.unwrap().state, GrantState::Expired { at: world.now() });
        assert_eq!(
            world.story_of(grant.id.as_str()).await,
            ["review.approved", "grant.issued", "grant.expiring", "grant.expired"]
        );
    }
    assert_eq!(world.keys().await.0, ["service/payments"]);
    assert_eq!(app.next_deadline().await.unwrap(), None);
}

pub(crate) async fn requests_time_out_and_are_never_approved_late(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let (one, two, three) = (world.asked().await, world.asked().await, world.asked().await);
    world.advance("8h");
    assert_eq!(code(world.review(&lee(), &one.id, approval()).await), "already_decided");
    assert_eq!(code(app.withdraw(&ann(), &two.id).await), "already_decided");
    assert_eq!(app.time_out_requests().await.unwrap(), 1);
    assert_eq!(app.time_out_requests().await.unwrap(), 0);
    for request in [&one, &two, &three] {
        assert_eq!(app.request(&ann(), &request.id).await.unwrap().state.word(), RequestStateWord::TimedOut);
        assert_eq!(world.story_of(request.id.as_str()).await, ["request.filed", "request.timed_out"]);
    }
    assert!(app.grants(&ann(), &GrantFilter::default(), &Page::default()).await.unwrap().items.is_empty());
}

pub(crate) async fn an_idempotency_key_files_once(db: Db) {
    let world = World::new(db).await;
    let file =
        async |account: &str, key: &str| once(&world.app, key, account).file_request(&ann(), refund(account)).await;
    let first = file("acc-42", "k1").await.unwrap();
    let again = file("acc-42", "k1").await.unwrap();
    assert_eq!((first.repeated, again.repeated, &first.request), (false, true, &again.request));
    assert_eq!(code(file("acc-43", "k1").await), "idempotency_key_reused");
    // The key is the user's own; without one, what is asked again is pointed to what waits.
    let bobs = once(&world.app, "k1", "acc-42").file_request(&bob(), refund("acc-42")).await.unwrap();
    assert_ne!(bobs.request.id, first.request.id);
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-42")).await), "already_asked");
    let sends = (0..8).map(|_| file("acc-9", "k2"));
    let ids: Vec<_> =
        futures_util::future::join_all(sends).await.into_iter().map(|filed| filed.unwrap().request.id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(world.app.forget_idempotency_keys().await.unwrap(), 0);
    world.advance("1d1s");
    assert_eq!(world.app.forget_idempotency_keys().await.unwrap(), 3);
    assert!(!file("acc-42", "k1").await.unwrap().repeated);
    for bad in ["", "a b", "é", &"k".repeat(129)] {
        assert_eq!(code(IdempotencyKey::new(bad)), "bad_idempotency_key");
    }
}

pub(crate) async fn lists_show_what_the_reader_may_see(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let mut filed = Vec::new();
    for account in 0..7 {
        let who = if account % 2 == 0 { ann() } else { bob() };
        filed.push(app.file_request(&who, refund(&account.to_string())).await.unwrap().request.id);
        world.advance("1s");
    }
    filed.reverse();
    world.review(&lee(), &filed[0], approval()).await.unwrap();
    let all = RequestFilter::default();
    let ids = async |actor, filter: &RequestFilter| -> Vec<_> {
        let listed = app.requests(&actor, filter, &Page::default()).await.unwrap();
        listed.items.into_iter().map(|request| request.id).collect()
    };
    for reader in [lee(), bob(), olga(), aud()] {
        assert_eq!(ids(reader, &all).await, filed);
    }
    assert_eq!(ids(ann(), &all).await.len(), 4);
    assert_eq!(
        ids(bob(), &RequestFilter { only: Only { mine: true, ..Only::default() }, ..all.clone() }).await.len(),
        3
    );
    assert_eq!(ids(eve(), &all).await, []);
    let pending = RequestFilter { state: Some(RequestStateWord::Pending), ..all.clone() };
    assert_eq!(ids(lee(), &pending).await, filed[1..]);

    let mut paged = Vec::new();
    let mut cursor = None;
    loop {
        let listed = app.requests(&lee(), &all, &page(3, cursor)).await.unwrap();
        paged.extend(listed.items.into_iter().map(|request| request.id));
        cursor = listed.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, filed);

    let grants = async |actor| app.grants(&actor, &GrantFilter::default(), &Page::default()).await.unwrap().items.len();
    assert_eq!((grants(ann()).await, grants(lee()).await, grants(eve()).await), (1, 1, 0));
    let call = |path: &str| AskTarget::Call { service: "payments".into(), method: "POST".into(), path: path.into() };
    let prefill = app.prefill(&ann(), &call("/v1/accounts/acc-42/refunds?x=1"), None).await.unwrap();
    assert_eq!((prefill.action.as_str(), prefill.resource.as_str()), ("refund.create", "account/acc-42"));
    assert_eq!((prefill.max_duration, prefill.reviewers), (span("1h"), vec!["group:leads".to_owned()]));
    assert_eq!(code(app.prefill(&eve(), &call("/v1/accounts/acc-42/refunds"), None).await), "not_found");
    assert_eq!(code(app.prefill(&ann(), &call("/v1/accounts//refunds"), None).await), "not_found");
}
