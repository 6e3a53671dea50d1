//! Applying policy: only over what was expected, only what is new, and nothing forgotten.

use grantmesh_control_plane::app::{AppError, Conflict, Invalid, Limits, NewPolicy};
use grantmesh_control_plane::domain::Over;
use grantmesh_shared::id::PolicyId;

use crate::db::Db;
use crate::world::{LEDGER, POLICY, World, ann, approval, aud, code, files, lee, olga, page, refund};

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
    assert_eq!(code(world.app.file_request(&ann(), refund("acc-42")).await), "not_eligible");
}

pub(crate) async fn only_what_changed_is_pushed(db: Db) {
    let world = World::new(db).await;
    let revision = |items: &[grantmesh_control_plane::app::StoredItem], key: &str| {
        items.iter().find(|item| item.key == key).map(|item| (item.revision, item.body.is_some()))
    };
    let firsts = |items: &[grantmesh_control_plane::app::StoredItem]| {
        let firsts = items.iter().filter(|item| item.is_first && item.body.is_some());
        firsts.map(|item| item.key.clone()).collect::<Vec<_>>()
    };
    world.apply(&[POLICY, LEDGER], None).await.unwrap();
    let items = world.app.items_since(0).await.unwrap().items;
    assert_eq!(firsts(&items), ["service/payments", "service/ledger"]);
    assert_eq!(revision(&items, "service/payments"), Some((1, true)));
    assert_eq!(revision(&items, "service/ledger"), Some((2, true)));
    // How long a grant may be is nothing that filters decide, who may ask is.
    world.apply(&[&POLICY.replace("8h", "9h"), LEDGER], None).await.unwrap();
    assert!(world.app.items_since(2).await.unwrap().items.is_empty());
    let eligible = POLICY.replacen("group:support", "group:helpers", 1);
    world.apply(&[&eligible], None).await.unwrap();
    let items = world.app.items_since(3).await.unwrap();
    assert_eq!(items.head.position.revision, 4);
    assert_eq!(revision(&items.items, "service/payments"), Some((4, true)));
    assert_eq!(revision(&items.items, "service/ledger"), Some((4, false)));
    assert!(firsts(&items.items).is_empty(), "it was there before");
    // What was gone comes back under a new revision.
    world.apply(&[POLICY, LEDGER], None).await.unwrap();
    let items = world.app.items_since(4).await.unwrap().items;
    assert_eq!(revision(&items, "service/ledger"), Some((5, true)));
    assert!(firsts(&items).is_empty(), "as long as it is remembered that it was there");
}

pub(crate) async fn a_policy_is_applied_over_the_expected_one(db: Db) {
    let world = World::new(db).await;
    let first = world.app.policy(&olga()).await.unwrap().unwrap();
    assert_eq!((first.files.len(), first.files[0].text.as_str()), (1, POLICY));
    let first = first.about;
    assert_eq!((first.previous.clone(), first.revision), (None, 1));
    assert_eq!(first.services, ["payments".into()]);
    let second = world.apply(&[POLICY, LEDGER], Some(first.id.clone())).await.unwrap().about;
    assert_eq!(second.previous, Some(first.id.clone()));
    assert_eq!(world.app.policy(&aud()).await.unwrap().unwrap().about, second);
    let new = || NewPolicy { files: files(&[POLICY]), message: None, over: Over::Anything };
    for actor in [ann(), lee(), aud()] {
        assert_eq!(code(world.app.apply_policy(&actor, new()).await), "not_operator");
    }
    assert_eq!(code(world.app.policy(&lee()).await), "not_auditor");

    // Whoever expected another one is told what changed, by whom and when.
    let Err(AppError::Conflict(Conflict::PolicyChanged(changed))) =
        world.apply(&[&POLICY.replace("8h", "9h")], Some(first.id.clone())).await
    else {
        panic!("another one is in force")
    };
    assert_eq!((&changed.expected, &changed.current), (&Over::Version(first.id.clone()), &Some(second.clone())));
    let told: Vec<String> =
        changed.changes.iter().map(|one| format!("{} {} {}", one.change, one.kind, one.name)).collect();
    assert_eq!(told, ["added service ledger", "added action ledger entry.read"]);
    let text = changed.to_string();
    assert!(text.contains(&format!("`{}`, applied by `olga` at 2026-03-01T12:00:00Z (change)", second.id)), "{text}");
    assert_eq!(code(world.apply_over(&[&POLICY.replace("8h", "9h")], Over::Nothing).await), "policy_changed");

    // Two at once over the same version: one applies.
    let apply = async |timeout: &str| world.apply(&[&POLICY.replace("8h", timeout)], Some(second.id.clone())).await;
    let (one, two) = tokio::join!(apply("6h"), apply("7h"));
    assert_ne!(one.is_ok(), two.is_ok());
    // A request is reviewed by the rules of its own version too, whatever came after.
    let request = world.asked().await;
    world.apply(&[POLICY, LEDGER], None).await.unwrap();
    assert!(world.review(&lee(), &request.id, approval()).await.unwrap().grant.is_some());
}

pub(crate) async fn the_same_content_is_not_applied_again(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let first = world.apply_over(&[POLICY, LEDGER], Over::Nothing).await.unwrap();
    assert!(first.changed);
    let size = world.app.head().await.unwrap().log_size;
    // Other files, another order and comments say the same; also to whoever repeats a send with what was expected then.
    let moved = format!("# a comment\n{LEDGER}---{POLICY}");
    for over in [Over::Nothing, Over::Anything, Over::Version(first.policy.about.id.clone())] {
        let again = world.apply_over(&[&moved], over).await.unwrap();
        assert_eq!((again.changed, &again.policy.about, again.position), (false, &first.policy.about, first.position));
    }
    assert_eq!(world.app.head().await.unwrap().log_size, size);
    let other = world.apply_over(&[POLICY], Over::Anything).await.unwrap();
    assert!(other.changed && other.policy.about.digest != first.policy.about.digest);
    // What was in force before is another version when it comes back, with the digest it had.
    let back = world.apply_over(&[&moved], Over::Anything).await.unwrap();
    assert!(back.changed && back.policy.about.id != first.policy.about.id);
    assert_eq!(back.policy.about.digest, first.policy.about.digest);
    let entries = world.entries().await;
    let applied = entries.iter().filter(|entry| entry["kind"] == "policy.applied");
    let digests: Vec<_> = applied.map(|entry| entry["data"]["digest"].clone()).collect();
    assert_eq!((digests.len(), &digests[0]), (3, &digests[2]));
    assert_eq!(digests[0], serde_json::json!(first.policy.about.digest));
}

pub(crate) async fn the_history_keeps_every_version(db: Db) {
    let world = World::new(db).await;
    let mut versions = vec![world.app.policy(&olga()).await.unwrap().unwrap().about];
    for hours in 1..=4 {
        world.advance("1m");
        // Revisions in between belong to other things.
        world.asked().await;
        versions.push(world.apply(&[&POLICY.replace("8h", &format!("{hours}h"))], None).await.unwrap().about);
    }
    versions.reverse();
    let first = world.app.policy_history(&aud(), &page(3, None)).await.unwrap();
    assert_eq!(first.items, versions[..3]);
    let second = world.app.policy_history(&aud(), &page(3, first.next)).await.unwrap();
    assert_eq!((second.items.as_slice(), second.next), (&versions[3..], None));
    let nonsense = world.app.policy_history(&aud(), &page(3, Some("x".to_owned()))).await.unwrap();
    assert_eq!((nonsense.items.len(), nonsense.next), (0, None));
    assert_eq!(code(world.app.policy_history(&ann(), &page(3, None)).await), "not_auditor");
    for version in &versions {
        assert_eq!(world.app.policy_version(&aud(), &version.id).await.unwrap().about, *version);
        let at = world.app.policy_at(&aud(), version.revision).await.unwrap().unwrap();
        assert_eq!(at.about, *version);
        let before = world.app.policy_at(&aud(), version.revision - 1).await.unwrap();
        assert_eq!(before.map(|policy| policy.about.id), version.previous);
    }
    assert_eq!(code(world.app.policy_version(&aud(), &PolicyId::new(0, [0; 10])).await), "not_found");
    assert_eq!(code(world.app.policy_version(&ann(), &versions[0].id).await), "not_auditor");
    assert_eq!(code(world.app.policy_at(&ann(), 1).await), "not_auditor");
}
