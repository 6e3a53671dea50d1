//! Steps in pages: each is applied when it comes or with the next one, none counts as the whole, and what does not belong
//! together makes none.

use super::pages::{grant, tell_as_it_is};
use super::*;

fn id(grant: &Item) -> grantmesh_shared::id::GrantId {
    grant.key.strip_prefix("grant/").unwrap().parse().unwrap()
}

/// A page that puts these and removes those.
fn page(index: u32, more: bool, puts: &[&Item], removes: &[&str]) -> Change {
    let removes = removes.iter().map(|key| (*key).to_owned()).collect();
    Change::Delta { puts: puts.iter().copied().cloned().collect(), removes, index, more, with_next: false, cut: 9 }
}

/// The same, to be applied with the next one.
fn with_next(page: Change) -> Change {
    let Change::Delta { puts, removes, index, more, cut, .. } = page else { panic!("a step") };
    Change::Delta { puts, removes, index, more, with_next: true, cut }
}

/// What a poll says that is applied, by its revision, and which page it asks for.
fn asked(question: &Question) -> (Option<u64>, Option<u64>) {
    let question: Value = serde_json::from_slice(&question.body).unwrap();
    assert_eq!(question["in_pages"], json!(true));
    assert!(question["page"].is_null() || question["page"]["cut"] == json!(9) || question["applied"].is_null());
    (question["applied"]["position"]["revision"].as_u64(), question["page"]["index"].as_u64())
}

/// A control plane that is ahead of the filter: three grants and a lock more, one lock less.
fn ahead() -> (Server, Filter, [Item; 3]) {
    let mut server = Server::new();
    server.put(2);
    let filter = Filter::ready(&server);
    let grants = [1, 2, 3].map(grant);
    server.items.extend(grants.iter().map(|grant| (grant.key.clone(), grant.clone())));
    server.put(3);
    server.items.remove(&lock(1).key);
    server.revision += 1;
    (server, filter, grants)
}

fn state(filter: &Filter) -> (usize, TableHash) {
    (filter.sync.item_count(), filter.sync.contents.hash())
}

#[test]
fn every_page_of_a_step_is_in_force_and_only_the_last_one_counts() {
    let (server, mut filter, [one, two, three]) = ahead();
    let (known, base) = (filter.sync.position(), filter.sync.contents.hash());
    let mut due = filter.due(1_000).into_iter();
    let (first, heartbeat) = (due.next().unwrap(), due.next().unwrap());
    assert_eq!(asked(&first), (Some(3), None));
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 1_000), Ok(Progress::Behind));
    let told = tell_as_it_is(&mut filter, &server, &first, page(0, true, &[], &[&lock(1).key]), 1_001);
    assert_eq!((told, filter.sync.item_count()), (Ok(Progress::Page), 1));
    // Pages are not asked for with what the table has become: neither they nor a heartbeat acknowledge a part.
    for (index, puts) in [(1, vec![&lock(3)]), (2, vec![&one, &two])] {
        let question = filter.poll(1_001 * u64::from(index));
        assert_eq!(asked(&question), (Some(3), Some(u64::from(index))));
        assert_eq!(applied(&question)["table_hash"], json!(base));
        let told =
            tell_as_it_is(&mut filter, &server, &question, page(index, true, &puts, &[]), 1_001 * u64::from(index));
        assert_eq!((told, filter.sync.position()), (Ok(Progress::Page), known));
    }
    assert!(filter.sync.table().unwrap().grant(&id(&one)).is_some());
    let mut due = filter.due(3_600).into_iter();
    let (last, heartbeat) = (due.next().unwrap(), due.next().unwrap());
    assert_eq!((heartbeat.topic, &applied(&heartbeat)["table_hash"]), (Topic::Heartbeat, &json!(base)));
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 3_610), Ok(Progress::Behind));
    assert_eq!(filter.fresh(5_000), [false, true, true], "nothing was confirmed since");
    let told = tell_as_it_is(&mut filter, &server, &last, page(3, false, &[&three], &[]), 3_620);
    assert_eq!((told, state(&filter)), (Ok(Progress::Delta), (5, hash_of(server.items.values()))));
    assert_eq!(filter.fresh(5_999), [true; 3], "what it shows was current when the first page was asked for");
    assert_eq!(filter.fresh(6_000), [false, true, true]);
    let next = filter.poll(3_620);
    assert_eq!(
        (asked(&next), applied(&next)["table_hash"].clone()),
        ((Some(server.revision), None), json!(state(&filter).1))
    );
}

#[test]
fn pages_that_do_not_belong_together_make_no_step() {
    let (server, _, [one, two, three]) = ahead();
    let rest = [&two, &three, &lock(3)];
    let gone = lock(1).key;
    let changes: [(&str, Change, &str); 9] = [
        ("a change is missing", page(1, false, &[&two, &three], &[&gone]), "table_hash"),
        ("a change is another one", page(1, false, &[&two, &three, &lock(9)], &[&gone]), "table_hash"),
        ("a change comes twice", page(1, false, &[&two, &two, &three, &lock(3)], &[&gone]), "twice"),
        ("it is put and gone", page(1, false, &rest, &[&gone, &two.key]), "twice"),
        ("a change is not understood", page(1, true, &[], &["grants/x"]), "item"),
        ("it is another page", page(2, false, &rest, &[&gone]), "unexpected"),
        ("it is the same page", page(1, true, &[], &[]), "unexpected"),
        ("nothing has changed", Change::Unchanged, "unexpected"),
        ("it begins with a later page", page(0, true, &[], &[]), "unexpected"),
    ];
    for (name, change, error) in changes {
        let mut filter = ahead().1;
        let known = filter.sync.position();
        let first = filter.poll(1_000);
        tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one], &[]), 1_001).unwrap();
        let (second, before) = (filter.poll(1_001), state(&filter));
        let told = tell_as_it_is(&mut filter, &server, &second, change, 1_002);
        let code = if name == "nothing has changed" { "table_hash" } else { error };
        assert_eq!(told.map_err(|error| error.code()), Err(code), "{name}");
        assert_eq!((filter.sync.position(), state(&filter)), (known, before), "{name}: nothing of that page");
        assert!(filter.sync.step.is_none(), "{name}");
        // A table of which it is not known what it is lets nothing through.
        assert_eq!(filter.fresh(1_003) == [false; 3], error == "table_hash", "{name}");
        assert_eq!(asked(&filter.poll(40_000)), (None, None), "{name}: everything is asked for");
    }
    // Pages of another step: none is begun in its middle, and what leads elsewhere is not gone on with.
    let other_hash = json!(hash_of([&lock(9)]));
    for (place, other) in
        [("/position/revision", json!(99)), ("/table_hash", other_hash), ("/change/delta/cut", json!(8))]
    {
        let mut filter = ahead().1;
        let first = filter.poll(1_000);
        tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one], &[]), 1_001).unwrap();
        let second = filter.poll(1_001);
        let mut answer =
            server.sync(&second, json!({"delta": {"puts": [], "removes": [gone], "index": 1, "more": true, "cut": 9}}));
        *answer.pointer_mut(place).unwrap() = other;
        assert_eq!(filter.tell(&server, Topic::Sync, &answer, 1_002), Err(SyncError::Unexpected), "{place}");
    }
    let mut filter = ahead().1;
    let first = filter.poll(1_000);
    let told = tell_as_it_is(&mut filter, &server, &first, page(1, false, &rest, &[&gone]), 1_001);
    assert_eq!(told, Err(SyncError::Unexpected));
}

#[test]
fn what_comes_to_be_in_force_with_the_next_page_is_so_at_one_go() {
    let (server, mut filter, [one, two, three]) = ahead();
    let before = state(&filter);
    let gone = lock(1).key;
    let pages = [
        (with_next(page(0, true, &[&lock(3)], &[])), before.0),
        (with_next(page(1, true, &[&one], &[&gone])), before.0),
        (page(2, true, &[&two], &[]), 4),
        (with_next(page(3, true, &[&three], &[])), 4),
    ];
    for (index, (change, count)) in pages.into_iter().enumerate() {
        let question = filter.poll(1_000);
        assert_eq!(applied(&question)["table_hash"], json!(before.1));
        assert_eq!(tell_as_it_is(&mut filter, &server, &question, change, 1_000), Ok(Progress::Page), "{index}");
        assert_eq!(filter.sync.item_count(), count, "{index}");
        let in_force = u64::from(index > 1);
        assert_eq!((filter.sync.pages_applied(), u64::from(state(&filter) != before)), (in_force, in_force), "{index}");
        assert_eq!(filter.sync.before.is_some(), index > 1);
    }
    // The last one may have nothing of its own.
    let question = filter.poll(1_000);
    let told = tell_as_it_is(&mut filter, &server, &question, page(4, false, &[], &[]), 1_000);
    assert_eq!((told, state(&filter)), (Ok(Progress::Delta), (5, hash_of(server.items.values()))));
}

#[test]
fn what_came_to_be_in_force_with_a_page_that_is_refused_or_does_not_come_is_not() {
    let rest: [(Option<Change>, &str); 6] = [
        (Some(page(1, false, &[&lock(3)], &[])), "table_hash"),
        (Some(page(1, true, &[&lock(2), &grant(1)], &[])), "twice"),
        (Some(page(1, true, &[], &["grants/x"])), "item"),
        (Some(with_next(page(1, false, &[&grant(2)], &[]))), "unexpected"),
        (Some(with_next(page(2, true, &[&grant(2)], &[]))), "unexpected"),
        (None, "unreachable"),
    ];
    for (change, code) in rest {
        let (server, mut filter, [one, two, three]) = ahead();
        let before = state(&filter);
        let question = filter.poll(1_000);
        let first = with_next(page(0, true, &[&one, &lock(2)], &[&lock(1).key]));
        tell_as_it_is(&mut filter, &server, &question, first, 1_000).unwrap();
        let question = filter.poll(1_000);
        if let Some(change) = change {
            let told = tell_as_it_is(&mut filter, &server, &question, change, 1_001);
            assert_eq!(told.map_err(|error| error.code()), Err(code));
        } else {
            filter.sync.doubt(at(1_001));
        }
        assert_eq!((state(&filter), filter.sync.pages_applied()), (before, 0), "{code}");
        assert!(filter.sync.step.is_none() && filter.sync.before.is_none(), "{code}");
        // Told again, it counts once.
        filter.sync.wants_snapshot = false;
        let question = filter.poll(400_000);
        let whole = page(0, false, &[&one, &two, &three, &lock(3)], &[&lock(1).key]);
        assert_eq!(tell_as_it_is(&mut filter, &server, &question, whole, 400_000), Ok(Progress::Delta), "{code}");
        assert_eq!(state(&filter), (5, hash_of(server.items.values())), "{code}");
    }
}

#[test]
fn services_that_are_replaced_or_gone_are_freed_in_parts() {
    let service = |number: u32, host: &str| {
        let name = format!("s-{number}");
        let body = json!({"service": {
            "name": name, "hosts": [host], "unmatched": "deny", "actions": [], "bindings": [], "rules": []
        }});
        Item { key: format!("service/{name}"), body: serde_json::value::to_raw_value(&body).unwrap() }
    };
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    for (host, gone) in [("a", 0..0), ("b", 0..0), ("c", 0..50)] {
        let new: Vec<Item> =
            (0..100).filter(|number| !gone.contains(number)).map(|number| service(number, host)).collect();
        server.items.extend(new.iter().map(|item| (item.key.clone(), item.clone())));
        let gone: Vec<String> = gone.map(|number| service(number, host).key).collect();
        server.items.retain(|key, _| !gone.contains(key));
        server.revision += 1;
        let question = filter.poll(1_000);
        let change =
            page(0, false, &new.iter().collect::<Vec<_>>(), &gone.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(tell_as_it_is(&mut filter, &server, &question, change, 1_000), Ok(Progress::Delta));
        assert!(filter.sync.table().unwrap().services().all(|service| *service.hosts() == [host.into()]));
        let mut parts = 0;
        while !filter.sync.retired.is_empty() {
            filter.sync.retired.free_some();
            parts += 1;
        }
        assert_eq!(parts, if host == "a" { 0 } else { 26 }, "{host}");
    }
    assert_eq!(filter.sync.table().unwrap().services().count(), 50);
    // So are those of a step that is broken off.
    let question = filter.poll(1_000);
    let new: Vec<Item> = (0..50).map(|number| service(number, "d")).collect();
    let change = with_next(page(0, true, &new.iter().collect::<Vec<_>>(), &[]));
    tell_as_it_is(&mut filter, &server, &question, change, 1_000).unwrap();
    filter.sync.doubt(at(1_001));
    assert!(!filter.sync.retired.is_empty());
}

#[test]
fn no_more_is_kept_for_one_go_than_a_step_may_have() {
    let (server, mut filter, _) = ahead();
    let before = state(&filter);
    let long = |number: u64| {
        let mut grant = grant(number);
        let body = grant.body.get().replacen('{', &format!("{{{}", " ".repeat(800 << 10)), 1);
        grant.body = serde_json::value::RawValue::from_string(body).unwrap();
        grant
    };
    for index in 0..3 {
        let question = filter.poll(1_000);
        let change = with_next(page(index, true, &[&long(u64::from(index))], &[]));
        let told = tell_as_it_is(&mut filter, &server, &question, change, 1_000);
        let expected = if index < 2 { Ok(Progress::Page) } else { Err(SyncError::TooLarge) };
        assert_eq!((told, state(&filter)), (expected, before));
    }
}

#[test]
fn a_step_that_is_broken_off_is_begun_anew_from_where_it_began() {
    type Disturb = fn(&mut Filter);
    let lost: Disturb = |filter| {
        for asked in 0..=u64::from(PAGE_ASKED_AGAIN) {
            let question = filter.poll(1_001 + asked * 40_000);
            assert_eq!(
                super::steps::asked(&question),
                (Some(3), Some(1)),
                "a page that does not come is asked for again"
            );
            filter.sync.failed(Topic::Sync, at(1_002 + asked * 40_000), &mut filter.random);
        }
    };
    let slept: Disturb = |filter| filter.sync.doubt(at(1_002));
    let configured: Disturb = |filter| {
        let (services, keys) = (filter.sync.filter.services.clone(), filter.sync.keys.clone());
        filter.sync.retarget(services, keys, at(1_002));
    };
    for (name, disturb) in [("lost", lost), ("slept", slept), ("configured", configured)] {
        let (mut server, mut filter, [one, two, three]) = ahead();
        let first = filter.poll(1_000);
        tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one, &two], &[]), 1_001).unwrap();
        disturb(&mut filter);
        let again = filter.poll(400_000);
        assert_eq!(asked(&again), (Some(3), None), "{name}");
        // Meanwhile one of those that were told is gone again.
        server.items.remove(&one.key);
        server.revision += 1;
        tell_as_it_is(&mut filter, &server, &again, page(0, true, &[], &[&one.key, &lock(1).key]), 400_001).unwrap();
        let second = filter.poll(400_001);
        let ends = page(1, false, &[&two, &three, &lock(3)], &[]);
        assert_eq!(tell_as_it_is(&mut filter, &server, &second, ends, 400_002), Ok(Progress::Delta), "{name}");
        assert_eq!(state(&filter), (4, hash_of(server.items.values())), "{name}");
    }
    // At one go, or as everything: as it comes.
    for at_one_go in [true, false] {
        let (server, mut filter, [one, two, three]) = ahead();
        let first = filter.poll(1_000);
        tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one, &two], &[]), 1_001).unwrap();
        let second = filter.poll(1_001);
        let change = if at_one_go {
            page(0, false, &[&one, &two, &three, &lock(3)], &[&lock(1).key])
        } else {
            Change::Snapshot { index: 0, last: true, puts: server.items.values().cloned().collect() }
        };
        tell_as_it_is(&mut filter, &server, &second, change, 1_002).unwrap();
        assert_eq!((state(&filter).1, filter.fresh(1_003)), (hash_of(server.items.values()), [true; 3]));
        assert_eq!(asked(&filter.poll(1_002)), (Some(server.revision), None));
    }
}

#[test]
fn a_step_that_replicas_cut_in_different_ways_is_asked_for_in_one_answer() {
    let (server, mut filter, [one, two, three]) = ahead();
    let in_pages = |question: &Question| -> Value {
        serde_json::from_slice::<Value>(&question.body).unwrap().get("in_pages").cloned().unwrap_or_default()
    };
    for begun in 0..=BEGUN_ANEW {
        let question = filter.poll(1_000);
        assert_eq!(in_pages(&question), json!(true), "{begun}");
        let change = with_next(page(0, true, &[&one], &[]));
        assert_eq!(tell_as_it_is(&mut filter, &server, &question, change, 1_000), Ok(Progress::Page));
    }
    let question = filter.poll(1_000);
    assert_eq!(in_pages(&question), Value::Null);
    let whole = page(0, false, &[&one, &two, &three, &lock(3)], &[&lock(1).key]);
    assert_eq!(tell_as_it_is(&mut filter, &server, &question, whole, 1_000), Ok(Progress::Delta));
    assert_eq!(state(&filter), (5, hash_of(server.items.values())));
    assert_eq!(in_pages(&filter.poll(1_000)), json!(true));
}

#[test]
fn a_step_that_was_overtaken_while_it_came_confirms_nothing() {
    let (server, mut filter, [one, two, three]) = ahead();
    let first = filter.poll(1_000);
    tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one, &two], &[]), 1_001).unwrap();
    // Another worker of this proxy has heard of a change since.
    let mut later = Server::new();
    later.revision += 20;
    let heard = {
        let mut other = Filter::ready(&later);
        let heartbeat = other.the(Topic::Heartbeat, 5_000);
        other.tell(&later, Topic::Heartbeat, &later.heartbeat(&heartbeat), 5_001).unwrap();
        other.sync.point_to_keep().unwrap().to_vec()
    };
    let known = [PinnedKey::new(server.key.verifying_key().as_bytes()).unwrap()];
    filter.sync.fence.read(&heard, &known);
    let second = filter.poll(1_010);
    let ends = page(1, false, &[&three, &lock(3)], &[&lock(1).key]);
    assert_eq!(tell_as_it_is(&mut filter, &server, &second, ends, 1_011), Ok(Progress::Delta));
    assert_eq!(filter.fresh(5_500), [false, true, true], "it lacks a change: as fresh as it was before");
    let next = filter.poll(1_012);
    let unchanged = later.sync(&next, json!("unchanged"));
    assert_eq!(filter.tell(&later, Topic::Sync, &unchanged, 1_013), Err(SyncError::TableHash));
}

#[test]
fn nothing_goes_back_behind_what_pages_led_to() {
    let (mut server, mut filter, [one, _, _]) = ahead();
    let first = filter.poll(1_000);
    tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one], &[&lock(1).key]), 1_001).unwrap();
    filter.sync.doubt(at(1_002));
    // A control plane whose database went back: it has the filter's point, and less than the pages that are in force.
    server.revision -= 1;
    for snapshot in [false, true] {
        filter.sync.wants_snapshot = snapshot;
        let millis = if snapshot { 400_000 } else { 100_000 };
        let question = filter.poll(millis);
        let change = if snapshot {
            Change::Snapshot { index: 0, last: true, puts: vec![lock(1), lock(2)] }
        } else {
            page(0, false, &[&lock(1)], &[&one.key])
        };
        let told = tell_as_it_is(&mut filter, &server, &question, change, millis);
        assert!(matches!(told, Err(SyncError::Rollback(_))), "{told:?}");
        assert_eq!((filter.sync.item_count(), filter.fresh(400_002)), (2, [false; 3]));
    }
}

#[test]
fn a_heartbeat_that_knows_nothing_of_what_pages_led_to_confirms_nothing() {
    let (server, mut filter, [one, two, _]) = ahead();
    let base = filter.sync.contents.hash();
    let mut due = filter.due(4_000).into_iter();
    let (first, heartbeat) = (due.next().unwrap(), due.next().unwrap());
    tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one, &two], &[]), 4_001).unwrap();
    // Answered before the change came, or by a control plane that has lost it.
    let mut answer = server.heartbeat(&heartbeat);
    (answer["position"]["revision"], answer["table_hash"]) = (json!(3), json!(base));
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &answer, 4_002), Ok(Progress::Behind));
    assert_eq!((filter.fresh(4_999), filter.fresh(5_000)), ([true; 3], [false, true, true]), "as fresh as it was");
}

#[test]
fn a_heartbeat_with_another_hash_ends_a_step() {
    let (server, mut filter, [one, two, _]) = ahead();
    let mut due = filter.due(1_000).into_iter();
    let (first, heartbeat) = (due.next().unwrap(), due.next().unwrap());
    tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one, &two], &[]), 1_001).unwrap();
    let mut answer = server.heartbeat(&heartbeat);
    (answer["position"]["revision"], answer["table_hash"]) = (json!(3), json!(hash_of([&lock(9)])));
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &answer, 1_002), Err(SyncError::TableHash));
    assert_eq!((asked(&filter.poll(1_002)), filter.fresh(1_003)), ((None, None), [false; 3]));
}

#[test]
fn a_new_epoch_ends_a_step_with_everything() {
    let (mut server, mut filter, [one, two, _]) = ahead();
    let first = filter.poll(1_000);
    tell_as_it_is(&mut filter, &server, &first, page(0, true, &[&one, &two], &[]), 1_001).unwrap();
    (server.epoch, server.revision) = (2, 1);
    let items: Vec<Item> = server.items.values().cloned().collect();
    let pages = [(0, &items[..2]), (1, &items[2..])];
    for (index, puts) in pages {
        let question = filter.poll(1_001);
        assert_eq!(asked(&question).1, Some(1), "of the step, then of the snapshot");
        let change = Change::Snapshot { index, last: index == 1, puts: puts.to_vec() };
        let told = tell_as_it_is(&mut filter, &server, &question, change, 1_001);
        assert_eq!(told, Ok(if index == 1 { Progress::Snapshot } else { Progress::Page }));
        if index == 0 {
            assert_eq!(
                filter.sync.applied().unwrap().position,
                Position { epoch: 1, revision: 3 },
                "of both it is before"
            );
        }
    }
    assert_eq!(state(&filter), (items.len(), hash_of(&items)));
    let next = filter.poll(1_001);
    assert_eq!((asked(&next), &applied(&next)["table_hash"]), ((Some(1), None), &json!(hash_of(&items))));
}

proptest! {
    /// Whatever is put and removed, in whatever pages, broken off wherever: the table is what it would be at one go.
    #[test]
    fn pages_make_what_the_step_would_at_one_go(
        changes in proptest::collection::vec((0..12_u8, any::<bool>(), 0..8_u8), 1..40),
    ) {
        let mut server = Server::new();
        server.items.extend((0..6).map(|number| (grant(number).key, grant(number))));
        let mut filter = Filter::new(&server);
        let question = filter.poll(0);
        let everything = Change::Snapshot { index: 0, last: true, puts: server.items.values().cloned().collect() };
        tell_as_it_is(&mut filter, &server, &question, everything, 0).unwrap();
        let base = filter.sync.contents.hash();
        // All that has changed since the filter's point; `event` says what happens after a change.
        let (mut changed, mut in_force) = (BTreeMap::new(), server.items.clone());
        let count = changes.len();
        for (at_change, (number, is_put, event)) in changes.into_iter().enumerate() {
            let item = if number < 8 { grant(u64::from(number)) } else { lock(number) };
            if is_put {
                server.items.insert(item.key.clone(), item.clone());
            } else {
                server.items.remove(&item.key);
            }
            changed.insert(item.key.clone(), is_put.then_some(item));
            server.revision += 1;
            // The step of this moment, as far as it comes; the last one comes to its end.
            let pages = changed.len().div_ceil(3);
            let is_last = at_change + 1 == count;
            let comes = match event {
                _ if is_last => pages,
                0..4 => 0,
                event => pages.min(usize::from(event - 3)).min(pages - 1),
            };
            let mut at_one_go = Vec::new();
            for (index, some) in changed.iter().collect::<Vec<_>>().chunks(3).take(comes).enumerate() {
                let puts: Vec<&Item> = some.iter().filter_map(|(_, item)| item.as_ref()).collect();
                let gone: Vec<&str> = some.iter().filter(|(_, item)| item.is_none()).map(|(key, _)| key.as_str()).collect();
                let question = filter.poll(1);
                prop_assert_eq!(&applied(&question)["table_hash"], &json!(base));
                let more = index + 1 < pages;
                let change = page(u32::try_from(index).unwrap(), more, &puts, &gone);
                let waits = more && (index + at_change).is_multiple_of(2);
                let told = tell_as_it_is(&mut filter, &server, &question, if waits { with_next(change) } else { change }, 1);
                prop_assert_eq!(told, Ok(if more { Progress::Page } else { Progress::Delta }));
                at_one_go.extend(some.iter().map(|(key, item)| ((*key).clone(), (*item).clone())));
                if !waits {
                    for (key, item) in at_one_go.drain(..) {
                        match item {
                            Some(item) => in_force.insert(key, item),
                            None => in_force.remove(&key),
                        };
                    }
                }
                prop_assert_eq!(state(&filter), (in_force.len(), hash_of(in_force.values())));
                for number in 0..8 {
                    let held = filter.sync.table().unwrap().grant(&id(&grant(number))).is_some();
                    prop_assert_eq!(held, in_force.contains_key(&grant(number).key));
                }
            }
            if !is_last {
                filter.sync.doubt(at(1));
            }
        }
        prop_assert_eq!(state(&filter), (server.items.len(), hash_of(server.items.values())));
    }
}
