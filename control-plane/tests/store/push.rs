//! What filters follow, and what a restart keeps.

use grantmesh_control_plane::app::{FilterIdentity, Limits, VmSeen};
use grantmesh_shared::time::Span;

use crate::db::Db;
use crate::records::{identity, vm};
use crate::world::{POLICY, World, ann, code};

pub(crate) async fn tombstones_are_pruned_and_the_floor_rises(db: Db) {
    let world = World::bare(db, Limits { tombstone_revisions: 6, ..Limits::default() }).await;
    world.apply(&[POLICY], None).await.unwrap();
    let mut floors = vec![0];
    for _ in 0..10 {
        let grant = world.granted().await;
        world.app.release(&ann(), &grant.id).await.unwrap();
        let items = world.app.items_since(0).await.unwrap();
        let (floor, revision) = (items.head.delta_floor, items.head.position.revision);
        let tombstones: Vec<_> =
            items.items.iter().filter(|item| item.body.is_none()).map(|item| item.revision).collect();
        assert!(tombstones.iter().all(|at| *at > floor), "{tombstones:?} {floor}");
        // Every removal that a delta from the floor on must tell is there: each third revision is one.
        let expected = (floor + 1..=revision).filter(|at| at % 3 == 1 && *at > 1).count();
        assert_eq!(tombstones.len(), expected, "{tombstones:?} after {floor}");
        assert!(revision - floor <= 12 && floor <= revision);
        floors.push(floor);
    }
    assert!(floors.is_sorted() && floors.last() > Some(&12), "{floors:?}");
    assert_eq!(world.keys().await.0, ["service/payments"]);
}

pub(crate) async fn a_restart_forgets_nothing(db: Db) {
    let world = World::new(db).await;
    let grant = world.granted().await;
    let (head, items) = (world.app.head().await.unwrap(), world.app.all_items().await.unwrap().items);
    world.app.vm_seen(&identity(), &vm(1)).await.unwrap();
    world.app.close().await;
    world.advance("1s");
    let app = world.another().await;
    let after = app.head().await.unwrap();
    assert_eq!((after.position, after.log_size), (head.position, head.log_size + 1));
    assert_eq!(app.all_items().await.unwrap().items, items);
    assert_eq!(app.grant(&ann(), &grant.id).await.unwrap(), grant);
    assert_eq!(app.load_vms().await.unwrap().len(), 1);
    app.release(&ann(), &grant.id).await.unwrap();
    assert_eq!(app.verify_log().await.unwrap().fault, None);
}

pub(crate) async fn filters_are_kept_at_first_contact(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let first = app.vm_seen(&identity(), &vm(1)).await.unwrap();
    world.advance("10s");
    let again = app.vm_seen(&identity(), &vm(1)).await.unwrap();
    assert_eq!((again.first_seen, again.last_seen), (first.first_seen, world.now()));
    app.vm_seen(&identity(), &vm(2)).await.unwrap();
    let later = world.now().plus(Span::from_secs(60));
    app.vms_seen_at(&[
        VmSeen { vm: vm(1).vm, at: later, made: 0 },
        VmSeen { vm: vm(2).vm, at: first.first_seen, made: 0 },
    ])
    .await
    .unwrap();
    let seen: Vec<_> = app.load_vms().await.unwrap().into_iter().map(|vm| vm.last_seen).collect();
    assert_eq!(seen, [later, world.now()]);
    // One credential serves many proxies; another one's VM is never theirs, whatever node it says it is.
    let mut beside = vm(3);
    beside.node = "pod-7".to_owned();
    assert_eq!(app.vm_seen(&identity(), &beside).await.unwrap().node, format!("{}/pod-7", identity().node));
    assert_eq!(app.vms_gone(&[beside.vm]).await.unwrap(), 1);
    let thief = FilterIdentity { node: "node-2".to_owned(), ..identity() };
    assert_eq!(code(app.vm_seen(&thief, &vm(1)).await), "filter_not_covered");
    let mut stolen = vm(1);
    stolen.node = "node-2".to_owned();
    assert_eq!(code(app.vm_seen(&thief, &stolen).await), "filter_not_covered");
    assert_eq!(app.vms_gone(&[vm(1).vm, vm(9).vm]).await.unwrap(), 1);
    assert_eq!(app.load_vms().await.unwrap().len(), 1);
    assert_eq!(world.story_of(vm(1).vm.as_str()).await, ["filter.joined", "filter.left"]);
}
