//! Ending many grants at once.

use grantmesh_control_plane::app::{GrantFilter, Limits, Page, RequestFilter, RevokeFilter};
use grantmesh_control_plane::domain::{Actor, Grant, GrantStateWord, NewRequest};

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, ask, bob, code, eve, lee, mia, olga, refund, someone, span};

async fn granted(world: &World, who: &Actor, account: &str) -> Grant {
    let request = world.app.file_request(who, refund(account)).await.unwrap().request;
    world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap()
}

fn of(holder: &str) -> RevokeFilter {
    RevokeFilter { holder: Some(holder.to_owned()), ..RevokeFilter::default() }
}

async fn live(world: &World) -> usize {
    world.keys().await.0.iter().filter(|key| key.starts_with("grant/")).count()
}

pub(crate) async fn all_of_a_principal_end_in_one_step(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let mut anns = vec![granted(&world, &ann(), "acc-1").await, granted(&world, &ann(), "acc-2").await];
    let bobs = granted(&world, &bob(), "acc-1").await;
    let later = NewRequest { starts_at: Some(world.now().plus(span("1d"))), ..refund("acc-3") };
    let request = app.file_request(&ann(), later).await.unwrap().request;
    anns.push(world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap());
    let (before, told) = (app.head().await.unwrap(), app.last_event().await.unwrap().0);
    // Looked at first: nothing changes.
    let dry = app.revoke_many(&olga(), &of("user:ann"), "left the company", true).await.unwrap();
    assert_eq!((dry.grants.len(), app.head().await.unwrap()), (3, before));
    let done = app.revoke_many(&olga(), &of("ann"), "left the company", false).await.unwrap();
    assert_eq!(
        done.grants.iter().map(|grant| &grant.id).collect::<Vec<_>>(),
        dry.grants.iter().map(|grant| &grant.id).collect::<Vec<_>>()
    );
    assert_eq!(done.position.unwrap().revision, before.position.revision + 1, "one step");
    let told = app.events_after(&ann(), told).await.unwrap().events;
    assert!(told.len() == 3 && told.iter().all(|event| event.kind == "grant.revoked"), "each is told: {told:?}");
    let after = app.head().await.unwrap();
    assert_eq!(after.log_size, before.log_size + 3, "one entry for each");
    for grant in &anns {
        let grant = app.grant(&ann(), &grant.id).await.unwrap();
        assert_eq!(grant.state.word(), GrantStateWord::Revoked);
        assert_eq!(world.story_of(grant.id.as_str()).await.last().unwrap(), "grant.revoked");
    }
    assert_eq!(app.grant(&bob(), &bobs.id).await.unwrap(), bobs);
    assert_eq!(live(&world).await, 1);
    let again = app.revoke_many(&olga(), &of("ann"), "left the company", false).await.unwrap();
    assert_eq!((again.grants.len(), again.position), (0, None));
    world.advance("1d");
    assert_eq!(app.start_grants().await.unwrap(), 0);
}

pub(crate) async fn all_accounts_of_one_person_end_together(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let person = "---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: ann }\nspec: { accounts: [{ subject: ann }, { subject: ann2 }] }\n";
    world.apply(&[&format!("{POLICY}{person}")], None).await.unwrap();
    granted(&world, &ann(), "acc-1").await;
    granted(&world, &someone("ann2", &["support"]), "acc-2").await;
    granted(&world, &bob(), "acc-3").await;
    for name in ["ann", "ann2"] {
        let dry = world.app.revoke_many(&olga(), &of(name), "left the company", true).await.unwrap();
        assert_eq!(dry.grants.len(), 2, "{name}");
    }
    world.app.revoke_many(&olga(), &of("ann2"), "left the company", false).await.unwrap();
    assert_eq!(live(&world).await, 1);
}

pub(crate) async fn owners_of_a_service_see_and_end_what_they_do_not_review(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let owned = POLICY.replacen("spec:\n  actions:", "spec:\n  owners: [\"group:payments\"]\n  actions:", 1);
    assert_ne!(owned, POLICY);
    world.apply(&[&owned], None).await.unwrap();
    let (app, pia) = (&world.app, someone("pia", &["payments"]));
    let begun = app.last_event().await.unwrap().0;
    let (one, other) = (granted(&world, &ann(), "acc-1").await, granted(&world, &bob(), "acc-2").await);
    let request = world.app.file_request(&ann(), refund("acc-3")).await.unwrap().request;
    // They see all of it, in lists, one by one and as it happens.
    let page = Page::default();
    assert_eq!(app.grants(&pia, &GrantFilter::default(), &page).await.unwrap().items.len(), 2);
    assert_eq!(app.requests(&pia, &RequestFilter::default(), &page).await.unwrap().items.len(), 3);
    assert_eq!(app.request(&pia, &request.id).await.unwrap(), request);
    assert_eq!(app.events_after(&pia, begun).await.unwrap().events.len(), 7);
    // And decide none of it.
    assert_eq!(code(world.review(&pia, &request.id, approval()).await), "not_a_reviewer");
    let ended = app.revoke(&pia, &one.id, "not in this service").await.unwrap().grant;
    assert_eq!(ended.state.word(), GrantStateWord::Revoked);
    let all = RevokeFilter { service: Some("payments".to_owned()), ..RevokeFilter::default() };
    let many = app.revoke_many(&pia, &all, "closing", false).await.unwrap();
    assert_eq!(many.grants.iter().map(|grant| &grant.id).collect::<Vec<_>>(), [&other.id]);
    // Of another service they are nobody.
    let of_others = owned.replacen("metadata: { name: payments }", "metadata: { name: payouts }", 1);
    let of_others = of_others.replace("service: payments", "service: payouts");
    let (_, others) = of_others.split_once("---").unwrap();
    let theirs = POLICY.replacen("spec:\n  actions:", "spec:\n  owners: [\"group:others\"]\n  actions:", 1);
    let both = format!(
        "{theirs}---{}",
        others.replace("{ name: refunds }", "{ name: payouts }").replace("{ name: closing }", "{ name: ends }")
    );
    world.apply(&[&both], None).await.unwrap();
    assert_eq!(code(app.grant(&pia, &one.id).await), "not_found");
    world.apply(&[&owned], None).await.unwrap();
    // Filters hear nothing of owners, and nobody owns what the policy does not say.
    let items = app.all_items().await.unwrap().items;
    assert!(items.iter().all(|item| item.body.as_deref().is_none_or(|body| !body.contains("owners"))));
    world.apply(&[POLICY], None).await.unwrap();
    assert_eq!(code(app.grant(&pia, &one.id).await), "not_found");
}

pub(crate) async fn more_than_one_transaction_ends_are_not_ended_at_all(db: Db) {
    let world = World::bare(db, Limits { revoked: 2, ..Limits::default() }).await;
    world.apply(&[POLICY], None).await.unwrap();
    for account in ["acc-1", "acc-2", "acc-3"] {
        granted(&world, &ann(), account).await;
    }
    for dry in [true, false] {
        assert_eq!(code(world.app.revoke_many(&olga(), &of("ann"), "left the company", dry).await), "too_many");
        // Whoever may end none of them is told the same: what lies beyond the bound was not looked at.
        assert_eq!(code(world.app.revoke_many(&eve(), &of("ann"), "why not", dry).await), "too_many");
    }
    assert_eq!(live(&world).await, 3);
    world.advance("20m");
    world.app.expire_grants().await.unwrap();
    granted(&world, &ann(), "acc-4").await;
    assert_eq!(world.app.revoke_many(&olga(), &of("ann"), "left the company", false).await.unwrap().grants.len(), 1);
}

pub(crate) async fn what_is_to_end_is_named_and_is_the_revokers(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let refunds = [granted(&world, &ann(), "acc-1").await, granted(&world, &bob(), "acc-1").await];
    let closing = app.file_request(&ann(), ask("account.close", "acc-1")).await.unwrap().request;
    world.review(&lee(), &closing.id, approval()).await.unwrap();
    world.review(&mia(), &closing.id, approval()).await.unwrap();
    assert_eq!(code(app.revoke_many(&olga(), &RevokeFilter::default(), "why", false).await), "nothing_named");
    assert_eq!(code(app.revoke_many(&olga(), &of("user:"), "why", false).await), "bad_subject");
    assert_eq!(code(app.revoke_many(&olga(), &of("group:support"), "why", false).await), "bad_subject");
    assert_eq!(code(app.revoke_many(&olga(), &of("ann"), " ", false).await), "bad_text");
    // Whoever may revoke none of them ends none, and learns of none: also the holder.
    for nobody in [ann(), eve()] {
        assert!(app.revoke_many(&nobody, &of("ann"), "why", true).await.unwrap().grants.is_empty());
        assert!(app.revoke_many(&nobody, &of("ann"), "why", false).await.unwrap().grants.is_empty());
    }
    let by = |service: Option<&str>, action: Option<&str>, rule: Option<&str>| RevokeFilter {
        holder: None,
        service: service.map(str::to_owned),
        action: action.map(str::to_owned),
        rule: rule.map(str::to_owned),
    };
    let dry = async |filter: RevokeFilter| app.revoke_many(&lee(), &filter, "why", true).await.unwrap().grants.len();
    assert_eq!(dry(by(Some("payments"), None, None)).await, 3);
    assert_eq!(dry(by(Some("ledger"), None, None)).await, 0);
    assert_eq!(dry(by(Some("payments"), Some("account.close"), None)).await, 1);
    assert_eq!(dry(by(None, None, Some("refunds"))).await, 2);
    assert_eq!(dry(RevokeFilter { holder: Some("bob".to_owned()), ..by(None, None, Some("refunds")) }).await, 1);
    // What is over by then has expired and is not revoked.
    world.advance("15m");
    let done = app.revoke_many(&lee(), &by(Some("payments"), None, None), "why", false).await.unwrap();
    assert_eq!(done.grants.len(), 1);
    for grant in &refunds {
        assert_eq!(app.grant(&olga(), &grant.id).await.unwrap().state.word(), GrantStateWord::Expired);
    }
    assert_eq!(live(&world).await, 0);
}
