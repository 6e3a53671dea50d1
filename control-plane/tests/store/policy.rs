//! Applying policy.

use grantmesh_control_plane::app::{AppError, Invalid, Limits};

use crate::db::Db;
use crate::world::{LEDGER, POLICY, World, ann, approval, aud, code, files, lee, olga, refund};

pub(crate) async fn faults_are_all_told(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let broken = POLICY
        .replace("maxDuration: 1h\n  defaultDuration", "maxDurations: 1h\n  defaultDuration")
        .replace("actions: [account.close]", "actions: [account.shut]");
    let faults = world.app.check_policy(files(&[&broken])).await.unwrap().policy.unwrap_err();
    assert!(!faults.is_empty() && faults.iter().all(|fault| fault.file == "0.yaml" && fault.line > 0), "{faults:?}");
    let Err(AppError::Invalid(Invalid::Policy(refused))) = world.apply(&[&broken], None).await else {
        panic!("it has faults")
    };
    assert_eq!(refused, faults);
    assert_eq!(code(world.apply(&[], None).await), "policy_invalid");
    assert!(world.app.policy(&olga()).await.unwrap().is_none());
    assert!(world.app.all_items().await.unwrap().items.is_empty());
    let checked = world.app.check_policy(files(&[POLICY])).await.unwrap();
    assert!(checked.policy.is_ok() && checked.warnings.is_empty());
    // Without a policy nobody may ask for anything.
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-42"), None).await), "not_eligible");
}

pub(crate) async fn only_what_changed_is_pushed(db: Db) {
    let world = World::new(db).await;
    let revision = |items: &[grantmesh_control_plane::app::StoredItem], key: &str| {
        items.iter().find(|item| item.key == key).map(|item| (item.revision, item.body.is_some()))
    };
    world.apply(&[POLICY, LEDGER], None).await.unwrap();
    let items = world.app.items_since(0).await.unwrap().items;
    assert_eq!(revision(&items, "service/payments"), Some((1, true)));
    assert_eq!(revision(&items, "service/ledger"), Some((2, true)));
    world.apply(&[&POLICY.replace("8h", "9h")], None).await.unwrap();
    let items = world.app.items_since(2).await.unwrap();
    assert_eq!(items.head.position.revision, 3);
    assert_eq!(revision(&items.items, "service/payments"), Some((3, true)));
    assert_eq!(revision(&items.items, "service/ledger"), Some((3, false)));
    // What was gone comes back under a new revision.
    world.apply(&[POLICY, LEDGER], None).await.unwrap();
    assert_eq!(revision(&world.app.items_since(3).await.unwrap().items, "service/ledger"), Some((4, true)));
}

pub(crate) async fn a_policy_is_applied_over_the_expected_one(db: Db) {
    let world = World::new(db).await;
    let first = world.app.policy(&olga()).await.unwrap().unwrap();
    assert_eq!((first.files.len(), first.files[0].text.as_str(), first.previous.clone()), (1, POLICY, None));
    assert_eq!(first.services, ["payments".into()]);
    let second = world.apply(&[POLICY, LEDGER], Some(first.id.clone())).await.unwrap();
    assert_eq!(second.previous, Some(first.id.clone()));
    assert_eq!(code(world.apply(&[POLICY], Some(first.id.clone())).await), "policy_changed");
    assert_eq!(world.app.policy(&aud()).await.unwrap().unwrap().id, second.id);
    let new = || grantmesh_control_plane::app::NewPolicy { files: files(&[POLICY]), message: None, expected: None };
    for actor in [ann(), lee(), aud()] {
        assert_eq!(code(world.app.apply_policy(&actor, new()).await), "not_operator");
    }
    assert_eq!(code(world.app.policy(&lee()).await), "not_auditor");
    // Two at once over the same version: one applies.
    let apply = || world.apply(&[POLICY], Some(second.id.clone()));
    let (one, two) = tokio::join!(apply(), apply());
    assert_ne!(one.is_ok(), two.is_ok());
    // A request is reviewed by the rules of its own version too, whatever came after.
    let request = world.asked().await;
    world.apply(&[POLICY, LEDGER], None).await.unwrap();
    assert!(world.review(&lee(), &request.id, approval()).await.unwrap().grant.is_some());
}
