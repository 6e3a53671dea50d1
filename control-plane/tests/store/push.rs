//! What filters follow, and what a restart keeps.

use grantmesh_control_plane::app::{FilterIdentity, Limits, OpenWait, VmReached, VmSeen, WaitToTell};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::sync::{Applied, Position};

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
    world.app.vm_seen(&identity(), &vm(1), None).await.unwrap();
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
    let first = app.vm_seen(&identity(), &vm(1), None).await.unwrap();
    world.advance("10s");
    let again = app.vm_seen(&identity(), &vm(1), None).await.unwrap();
    assert_eq!((again.first_seen, again.last_seen), (first.first_seen, world.now()));
    app.vm_seen(&identity(), &vm(2), None).await.unwrap();
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
    assert_eq!(app.vm_seen(&identity(), &beside, None).await.unwrap().node, format!("{}/pod-7", identity().node));
    assert_eq!(app.vms_gone(&[beside.vm], later).await.unwrap(), 1);
    // Another replica may have heard of a VM that this one has not heard of for long.
    assert_eq!(app.vms_gone(&[vm(1).vm], later).await.unwrap(), 0);
    let thief = FilterIdentity { node: "node-2".to_owned(), ..identity() };
    assert_eq!(code(app.vm_seen(&thief, &vm(1), None).await), "filter_not_covered");
    let mut stolen = vm(1);
    stolen.node = "node-2".to_owned();
    assert_eq!(code(app.vm_seen(&thief, &stolen, None).await), "filter_not_covered");
    assert_eq!(app.vms_gone(&[vm(1).vm, vm(9).vm], later.plus(Span::from_millis(1))).await.unwrap(), 1);
    assert_eq!(app.load_vms().await.unwrap().len(), 1);
    assert_eq!(world.story_of(vm(1).vm.as_str()).await, ["filter.joined", "filter.left"]);
}

pub(crate) async fn what_a_vm_has_reached_is_kept_and_never_more(db: Db) {
    let world = World::new(db).await;
    let (app, other) = (&world.app, world.another().await);
    let reached = async || -> Vec<Option<Position>> {
        other.load_vms().await.unwrap().into_iter().map(|vm| vm.reached).collect()
    };
    let head = app.head().await.unwrap().position;
    let later = |by: u64| Position { revision: head.revision + by, ..head };
    // One that begins with nothing is told nothing older than what was there when it was kept; of one that has something
    // nothing is known. What is there later makes neither more.
    let holding = Applied { position: head, table_hash: TableHash::default() };
    app.vm_seen(&identity(), &vm(1), None).await.unwrap();
    app.vm_seen(&identity(), &vm(2), Some(&holding)).await.unwrap();
    world.granted().await;
    for replica in [app, &other] {
        assert_eq!(replica.vm_seen(&identity(), &vm(1), None).await.unwrap().reached, Some(head));
        assert_eq!(replica.vm_seen(&identity(), &vm(2), None).await.unwrap().reached, None);
    }
    let word = |number, position| VmReached { vm: vm(number).vm, services: vm(number).services, position };
    app.vms_reached(&[word(1, later(2)), word(2, later(2)), word(3, later(2))]).await.unwrap();
    other.vms_reached(&[word(1, later(1)), word(2, later(3))]).await.unwrap();
    let old = Position { epoch: head.epoch.saturating_sub(1), revision: head.revision + 9 };
    other.vms_reached(&[word(1, old)]).await.unwrap();
    assert_eq!(reached().await, [Some(later(2)), Some(later(3))]);
    // With other services it has acknowledged nothing, and a late word of before says nothing of them.
    let mut more = vm(2);
    more.services.push("ledger".to_owned());
    assert_eq!(app.vm_seen(&identity(), &more, Some(&holding)).await.unwrap().reached, None);
    other.vms_reached(&[word(2, later(4))]).await.unwrap();
    assert_eq!(reached().await, [Some(later(2)), None]);
    // A new epoch is later than any revision of the one before.
    let epoch = Position { epoch: head.epoch + 1, revision: 0 };
    app.vms_reached(&[word(1, epoch)]).await.unwrap();
    assert_eq!(reached().await, [Some(epoch), None]);
}

pub(crate) async fn many_vms_reach_a_point_at_once(db: Db) {
    let world = World::new(db).await;
    let head = world.app.head().await.unwrap().position;
    let vms: Vec<_> = (0..40).map(vm).collect();
    for vm in &vms {
        world.app.vm_seen(&identity(), vm, None).await.unwrap();
    }
    let position = Position { revision: head.revision + 1, ..head };
    // More than one statement may name, most of which are not there.
    let word = |id| VmReached { vm: id, services: vm(0).services, position };
    let strangers = (100..2_600).map(|millis| word(grantmesh_shared::id::VmId::new(millis, [7; 10])));
    let all: Vec<_> = strangers.chain(vms.into_iter().map(|vm| word(vm.vm))).collect();
    world.app.vms_reached(&all).await.unwrap();
    let kept = world.app.load_vms().await.unwrap();
    assert!(kept.len() == 40 && kept.iter().all(|vm| vm.reached == Some(position)), "{kept:?}");
}

pub(crate) async fn waits_are_told_to_other_replicas_until_they_end(db: Db) {
    let postgres = db.is_postgres();
    let world = World::new(db).await;
    let (app, other) = (&world.app, world.another().await);
    let mut told = other.fleet_told();
    let position = app.head().await.unwrap().position;
    let begun = |id: &str, service: Option<&str>, lasts: &str| WaitToTell {
        id: id.to_owned(),
        replica: "a".to_owned(),
        wait: OpenWait { service: service.map(str::to_owned), position },
        ends_at: world.now().plus(lasts.parse().unwrap()),
    };
    let waits =
        [begun("a-1", Some("payments"), "10s"), begun("a-2", Some("payments"), "30s"), begun("a-3", None, "30s")];
    app.tell_waits(&waits, &[]).await.unwrap();
    if postgres {
        // It may not listen yet, and a wake is only a hint: it is told again, as a wait that lasts is.
        let woken = async {
            while tokio::time::timeout(std::time::Duration::from_millis(500), told.changed()).await.is_err() {
                app.tell_waits(&waits, &[]).await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), woken).await.expect("a wake");
    }
    let services = async |app: &grantmesh_control_plane::app::App, replica: &str| {
        let waits = app.waits_elsewhere(replica).await.unwrap();
        assert!(waits.iter().all(|wait| wait.position == position));
        let mut services: Vec<_> = waits.into_iter().map(|wait| wait.service).collect();
        services.sort();
        services
    };
    let payments = Some("payments".to_owned());
    assert_eq!(services(&other, "b").await, [None, payments.clone()]);
    assert!(services(app, "a").await.is_empty(), "its own");
    app.tell_waits(&[], &["a-3".to_owned()]).await.unwrap();
    assert_eq!(services(&other, "b").await, std::slice::from_ref(&payments));
    world.advance("11s");
    assert_eq!(services(&other, "b").await, [payments]);
    world.advance("30s");
    assert!(services(&other, "b").await.is_empty(), "a replica that is gone waits for nothing");
    other.tell_waits(&[], &[]).await.unwrap();
    assert_eq!(world.db.tamper("DELETE FROM waits").await, 0, "and leaves nothing");
}
