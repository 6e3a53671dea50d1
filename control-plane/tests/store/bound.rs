//! Requests under a rule that binds: what was shown is kept, reviewed and bound, on every database alike.

use grantmesh_control_plane::domain::NewRequest;
use grantmesh_shared::wire::shown::ShownCall;
use serde_json::json;

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, code, lee, refund};

fn policy() -> String {
    POLICY
        .replace(
            "    - { name: refund.create, method: POST,",
            "    - { name: refund.create, body: strict, fields: [{ name: amount, in: request, type: number }], method: POST,",
        )
        .replace("  defaultDuration: 15m", "  defaultDuration: 15m\n  bind: { exact: true, fields: [amount] }")
}

/// Ann's refund, with a call as a filter shows it.
fn shown(amount: &str) -> NewRequest {
    let call = json!({ "method": "POST", "target": "/v1/accounts/acc-42/refunds?now=1", "fields": { "amount": { "number": amount } } });
    let call: ShownCall = serde_json::from_value(call).unwrap();
    NewRequest { call: Some(call), ..refund("acc-42") }
}

pub(crate) async fn a_bound_request_is_kept_as_it_was_shown(db: Db) {
    let world = World::bare(db, grantmesh_control_plane::app::Limits::default()).await;
    world.apply(&[&policy()], None).await.unwrap();
    let app = &world.app;
    assert_eq!(code(app.file_request(&ann(), refund("acc-42")).await), "call_not_shown");
    let elsewhere = NewRequest { call: shown("5").call, ..refund("acc-43") };
    assert_eq!(code(app.file_request(&ann(), elsewhere).await), "call_not_bound");

    let request = app.file_request(&ann(), shown("50.10")).await.unwrap().request;
    assert_eq!(app.request(&lee(), &request.id).await.unwrap(), request, "it reads back as it was filed");
    let kept = request.ask.shown.clone().unwrap();
    assert_eq!(kept.call.parts().last().unwrap(), &("field amount".to_owned(), "50.1".to_owned()));
    let other = app.file_request(&ann(), shown("50.11")).await.unwrap().request;
    assert_ne!(other.ask.shown.as_ref().unwrap().bound.digest, kept.bound.digest);
    assert_ne!(other.ask.digest(), request.ask.digest(), "a review is of what was shown");

    let grant = world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap();
    assert_eq!(grant.terms.bound.as_deref(), Some(&kept.bound));
    assert_eq!(app.grant(&ann(), &grant.id).await.unwrap(), grant, "it reads back as it was made");
    let items = world.another().await.all_items().await.unwrap().items;
    let item = items.into_iter().find(|item| item.key == format!("grant/{}", grant.id)).unwrap();
    assert!(item.body.unwrap().contains(&kept.bound.digest.to_string()), "filters get the digest");

    // The field comes to mean another place of the body: what was approved is another call now.
    world.apply(&[&policy().replace("type: number", "type: number, pointer: /fee")], None).await.unwrap();
    let moved = app.file_request(&ann(), shown("50.10")).await.unwrap().request;
    assert_ne!(moved.ask.shown.unwrap().bound.digest, kept.bound.digest);
}
