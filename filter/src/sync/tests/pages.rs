//! Snapshots in pages: what is in force meanwhile, and pages that do not belong together.

use super::*;

#[test]
fn pages_come_in_order_and_count_from_the_first() {
    let mut server = Server::new();
    server.put(2);
    server.put(3);
    let items: Vec<Item> = server.items.values().cloned().collect();
    let page = |server: &Server, question: &Question, index: usize| {
        let last = index + 1 == items.len();
        server.sync(question, json!({"snapshot": {"index": index, "last": last, "puts": [items[index]]}}))
    };
    let mut filter = Filter::new(&server);
    for index in 0..items.len() {
        let question = filter.poll(1_000 * u64::try_from(index).unwrap());
        let asked: Value = serde_json::from_slice(&question.body).unwrap();
        match index {
            0 => assert_eq!(asked["page"], Value::Null),
            _ => assert_eq!(asked["page"], json!({"position": server.position(), "index": index})),
        }
        assert!(filter.sync.table().is_none(), "nothing is in force before the last page");
        let answer = page(&server, &question, index);
        filter.tell(&server, Topic::Sync, &answer, 1_000 * u64::try_from(index).unwrap() + 10).unwrap();
    }
    assert_eq!(filter.sync.item_count(), 3);
    assert_eq!(filter.fresh(4_999), [true; 3]);
    assert_eq!(filter.fresh(5_000), [false, true, true], "what it shows was current when the first page was asked for");

    // A page twice and a page too far, one of another snapshot, of another history, of another table, and one that brings
    // nothing: begun anew each time.
    let other_hash = json!(hash_of([&lock(9)]));
    for (wrong, place, other) in [
        (0, "", Value::Null),
        (2, "", Value::Null),
        (1, "/position/revision", json!(99)),
        (1, "/position/epoch", json!(2)),
        (1, "/table_hash", other_hash),
        (1, "/change/snapshot/puts", json!([])),
        (1, "/change", json!("unchanged")),
        (1, "/change", json!({"delta": {"puts": [], "removes": []}})),
    ] {
        let mut filter = Filter::new(&server);
        let first = filter.poll(0);
        filter.tell(&server, Topic::Sync, &page(&server, &first, 0), 10).unwrap();
        let second = filter.poll(10);
        let mut answer = page(&server, &second, wrong);
        if !place.is_empty() {
            *answer.pointer_mut(place).unwrap() = other;
        }
        assert_eq!(filter.tell(&server, Topic::Sync, &answer, 20), Err(SyncError::Unexpected), "{place}");
        assert!(filter.sync.table().is_none());
        let again: Value = serde_json::from_slice(&filter.poll(40_000).body).unwrap();
        assert_eq!((&again["page"], &again["applied"]), (&Value::Null, &Value::Null));
    }
}

pub(super) fn grant(number: u64) -> Item {
    let body = json!({"grant": {
        "id": grantmesh_shared::id::GrantId::new(number, [0; 10]), "request": grantmesh_shared::id::RequestId::new(number, [1; 10]),
        "holder": {"user": {"issuer": "https://id.example", "subject": format!("user-{}", number / 10)}},
        "service": "payments", "action": "pay", "resource": format!("account/{number}"), "rule": "payers",
        "starts_at": number, "expires_at": number + 3_600_000,
    }});
    serde_json::from_value::<Body>(body).unwrap().into_item().unwrap()
}

/// Tells a change whose items keep their bytes, which they do not in a [`Value`].
pub(super) fn tell_as_it_is(
    filter: &mut Filter,
    server: &Server,
    question: &Question,
    change: Change,
    millis: u64,
) -> Result<Progress, SyncError> {
    let mut answer: SyncAnswer = serde_json::from_value(server.sync(question, json!("unchanged"))).unwrap();
    answer.change = change;
    let body = serde_json::to_vec(&answer).unwrap();
    let signature = server.sign(&body);
    filter.tell_raw(Topic::Sync, b"200", Some(&signature), &body, millis)
}

#[test]
fn a_large_snapshot_is_taken_in_parts_beside_the_table_that_decides_and_the_old_one_is_freed_in_parts() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    // Loads everything in pages of 100 from this time on; gives up before the page `until`.
    let load = |filter: &mut Filter, server: &Server, from: u64, until: usize| {
        let items: Vec<&Item> = server.items.values().collect();
        let pages: Vec<&[&Item]> = items.chunks(100).collect();
        for (index, puts) in pages.iter().enumerate().take(until) {
            let last = index + 1 == pages.len();
            let question = filter.poll(from + u64::try_from(index).unwrap());
            let puts = puts.iter().copied().cloned().collect();
            let change = Change::Snapshot { index: u32::try_from(index).unwrap(), last, puts };
            let progress = tell_as_it_is(filter, server, &question, change, from + u64::try_from(index).unwrap());
            assert_eq!(progress, Ok(if last { Progress::Snapshot } else { Progress::Page }));
        }
    };
    for number in 0..3_000 {
        let item = grant(number);
        server.items.insert(item.key.clone(), item);
    }
    server.revision += 1;
    let before = (filter.sync.position(), filter.sync.item_count());
    load(&mut filter, &server, 10, 20);
    assert_eq!((filter.sync.position(), filter.sync.item_count()), before, "the old table decides");
    // The next page never comes: it is asked for some times, then what came is forgotten, in parts, and everything is asked
    // for anew.
    for asked in 0..=u64::from(PAGE_ASKED_AGAIN) {
        let question = filter.poll(100 + asked * 40_000);
        let question: Value = serde_json::from_slice(&question.body).unwrap();
        assert_eq!(question["page"]["index"], json!(20));
        filter.sync.failed(Topic::Sync, at(101 + asked * 40_000), &mut filter.random);
        assert_eq!((filter.sync.position(), filter.sync.item_count()), before);
    }
    let mut parts = 0;
    while !filter.sync.retired.is_empty() {
        filter.due(160_102);
        parts += 1;
    }
    assert!((1..100).contains(&parts), "{parts}");
    load(&mut filter, &server, 400_000, 100);
    assert_eq!((filter.sync.item_count(), filter.sync.contents.hash()), (3_001, hash_of(server.items.values())));
    assert_eq!(filter.fresh(400_100), [true; 3]);

    // A step on it: one grant more, one again with another end, one less.
    let poll = filter.poll(400_100);
    let longer: Value = serde_json::from_str(&grant(7).body.get().replace("3600007", "9999999")).unwrap();
    let again = Item { body: serde_json::value::to_raw_value(&longer).unwrap(), ..grant(7) };
    for item in [grant(5_000), again.clone()] {
        server.items.insert(item.key.clone(), item);
    }
    let gone = grant(8).key;
    server.items.remove(&gone);
    server.revision += 1;
    let step = Change::Delta {
        puts: vec![grant(5_000), again],
        removes: vec![gone],
        index: 0,
        more: false,
        with_next: false,
        cut: 0,
    };
    assert_eq!(tell_as_it_is(&mut filter, &server, &poll, step, 400_101), Ok(Progress::Delta));
    assert_eq!((filter.sync.item_count(), filter.fresh(400_110)), (3_001, [true; 3]));
}

#[test]
fn a_large_snapshot_is_taken_gently_while_the_table_that_there_is_lets_calls_through() {
    let mut server = Server::new();
    let (mut ready, mut new) = (Filter::ready(&server), Filter::new(&server));
    (0..u64::from(PAUSED_FROM) + 20).map(grant).for_each(|item| drop(server.items.insert(item.key.clone(), item)));
    server.revision += 1;
    let items: Vec<Item> = server.items.values().cloned().collect();
    // Takes the next page at a time; the pause that it asked for.
    let page = |filter: &mut Filter, index: u32, millis: u64| {
        let question = filter.poll(millis);
        let asked: Value = serde_json::from_slice(&question.body).unwrap();
        let puts = vec![items[usize::try_from(index).unwrap()].clone()];
        let change = Change::Snapshot { index, last: false, puts };
        assert_eq!(tell_as_it_is(filter, &server, &question, change, millis), Ok(Progress::Page));
        asked["page"].get("pause_ms").cloned()
    };
    for index in 0..PAUSED_FROM + 10 {
        let (millis, is_late) = (1_000 + u64::from(index), index >= PAUSED_FROM);
        assert_eq!(page(&mut ready, index, millis), is_late.then(|| json!(PAGE_PAUSE.millis())), "{index}");
        assert_eq!(page(&mut new, index, millis), None, "{index}");
    }
    // Once it no longer does for most, there is haste.
    assert_eq!(ready.fresh(40_000), [false, false, true]);
    assert_eq!(page(&mut ready, PAUSED_FROM + 10, 40_000), None);
}

#[test]
fn a_page_that_comes_at_last_goes_on_where_the_others_ended_and_a_refusal_begins_anew() {
    let mut server = Server::new();
    server.put(2);
    server.put(3);
    let (mut filter, items) = begun(&server, 1_000);
    for asked in 1..=u64::from(PAGE_ASKED_AGAIN) {
        filter.poll(asked * 40_000);
        filter.sync.failed(Topic::Sync, at(asked * 40_000 + 1), &mut filter.random);
    }
    let question = filter.poll(400_000);
    assert_eq!(tell_page(&mut filter, &server, &question, &items, 1, 400_001), Ok(Progress::Page));
    // Counted anew with every page that comes.
    filter.poll(400_001);
    filter.sync.failed(Topic::Sync, at(400_002), &mut filter.random);
    let question = filter.poll(440_002);
    assert_eq!(tell_page(&mut filter, &server, &question, &items, 2, 440_003), Ok(Progress::Snapshot));
    assert_eq!(filter.sync.item_count(), 3);
    assert_eq!(filter.fresh(440_003), [false, false, false], "what it shows is of when the first page was asked for");

    let (mut filter, _) = begun(&server, 1_000);
    filter.poll(1_001);
    let refusal = br#"{"status":404}"#;
    let refused = filter.tell_raw(Topic::Sync, b"404", Some(&server.sign(refusal)), refusal, 1_002);
    assert!(matches!(refused, Err(SyncError::Answer(AnswerError::Refused { .. }))));
    assert!(filter.sync.pages.is_none());
}

#[test]
fn a_kept_table_has_all_its_pages_or_is_none() {
    let mut server = Server::new();
    server.put(2);
    server.put(3);
    let (mut veteran, items) = begun(&server, 1_000);
    assert_eq!(veteran.sync.take_table_to_keep(), None, "it is not whole");
    for index in [1, 2] {
        let question = veteran.poll(1_000);
        tell_page(&mut veteran, &server, &question, &items, index, 1_000).unwrap();
    }
    let kept = veteran.sync.take_table_to_keep().unwrap();
    let mut young = Filter::new(&server);
    assert!(young.sync.begin_with(&kept));
    assert_eq!((young.sync.item_count(), young.sync.contents.hash()), (3, hash_of(&items)));
    assert_eq!((young.sync.position(), young.fresh(0)), (veteran.sync.position(), [false; 3]));

    // Where each page begins.
    let mut ends = vec![0];
    while let Some((length, _)) = kept[*ends.last().unwrap()..].split_first_chunk::<4>() {
        ends.push(ends.last().unwrap() + 4 + usize::try_from(u32::from_le_bytes(*length)).unwrap());
    }
    let [first, second, third] = [0, 1, 2].map(|page| &kept[ends[page]..ends[page + 1]]);
    let (mut cut, mut forged) = (kept.clone(), kept.clone());
    cut.pop();
    *forged.last_mut().unwrap() = b' ';
    for bad in [
        [first, second].concat(),
        [first, third].concat(),
        [second, third].concat(),
        [first, second, third, third].concat(),
        [second, first, third].concat(),
        cut,
        forged,
        vec![255; 4],
        vec![0; 4],
    ] {
        let mut young = Filter::new(&server);
        assert!(!young.sync.begin_with(&bad) && young.sync.table().is_none());
    }

    // One that is too large to be kept is none, and nothing of it stays.
    let mut large = Server::new();
    for number in 0..4_000 {
        let item = grant(number);
        large.items.insert(item.key.clone(), item);
    }
    let items: Vec<Item> = large.items.values().cloned().collect();
    let mut filter = Filter::new(&large);
    for (index, puts) in items.chunks(1_000).enumerate() {
        let question = filter.poll(1_000);
        let change = Change::Snapshot { index: u32::try_from(index).unwrap(), last: index == 4, puts: puts.to_vec() };
        tell_as_it_is(&mut filter, &large, &question, change, 1_000).unwrap();
    }
    assert_eq!((filter.sync.item_count(), filter.sync.take_table_to_keep()), (4_001, None));
}

/// A filter with the first of three pages of what the server has.
fn begun(server: &Server, millis: u64) -> (Filter, Vec<Item>) {
    let items: Vec<Item> = server.items.values().cloned().collect();
    let mut filter = Filter::new(server);
    let poll = filter.poll(millis);
    assert_eq!(tell_page(&mut filter, server, &poll, &items, 0, millis), Ok(Progress::Page));
    (filter, items)
}

fn tell_page(
    filter: &mut Filter,
    server: &Server,
    question: &Question,
    items: &[Item],
    index: usize,
    millis: u64,
) -> Result<Progress, SyncError> {
    let last = index + 1 == items.len();
    let mut answer = server.sync(question, json!({"snapshot": {"index": index, "last": last, "puts": [items[index]]}}));
    answer["table_hash"] = json!(hash_of(items));
    filter.tell(server, Topic::Sync, &answer, millis)
}

#[test]
fn news_while_pages_come_do_not_begin_them_anew_and_are_not_forgotten() {
    let mut server = Server::new();
    server.put(2);
    server.put(3);
    let (mut filter, items) = begun(&server, 1_000);
    let then = server.revision;
    // Another worker of this proxy has heard of a change since, which is after the pages' point.
    server.put(4);
    let (later, known) = (server.revision, [PinnedKey::new(server.key.verifying_key().as_bytes()).unwrap()]);
    let heard = {
        let mut other = Filter::ready(&server);
        let heartbeat = other.the(Topic::Heartbeat, 5_000);
        other.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 5_001).unwrap();
        other.sync.point_to_keep().unwrap().to_vec()
    };
    filter.sync.fence.read(&heard, &known);
    server.revision = then;
    for (index, millis, progress) in [(1, 1_005, Progress::Page), (2, 1_010, Progress::Snapshot)] {
        let question = filter.poll(millis);
        assert_eq!(tell_page(&mut filter, &server, &question, &items, index, millis), Ok(progress));
    }
    assert_eq!((filter.sync.item_count(), filter.fresh(1_011)), (3, [false; 3]), "it lacks a change");
    // A control plane that went back behind that change is not believed, whatever it confirms.
    let poll = filter.poll(1_020);
    let mut unchanged = server.sync(&poll, json!("unchanged"));
    unchanged["table_hash"] = json!(hash_of(&items));
    assert!(matches!(filter.tell(&server, Topic::Sync, &unchanged, 1_030), Err(SyncError::Rollback(_))));
    server.revision = later;
    let poll = filter.poll(40_000);
    assert_eq!(applied(&poll)["position"]["revision"], json!(then));
    let step = server.sync(&poll, json!({"delta": {"puts": [lock(4)], "removes": []}}));
    assert_eq!(filter.tell(&server, Topic::Sync, &step, 40_010), Ok(Progress::Delta));
    assert_eq!((filter.sync.item_count(), filter.fresh(40_011)), (4, [true; 3]));
}

#[test]
fn a_snapshot_does_not_begin_before_what_was_heard_of() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    server.put(2);
    let heartbeat = filter.the(Topic::Heartbeat, 5_000);
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 5_001), Ok(Progress::Behind));
    filter.sync.wants_snapshot = true;
    filter.sync.poll = None;
    server.revision -= 1;
    let poll = filter.poll(5_010);
    let first = server.sync(&poll, json!({"snapshot": {"index": 0, "last": false, "puts": [lock(1)]}}));
    assert!(matches!(filter.tell(&server, Topic::Sync, &first, 5_020), Err(SyncError::Rollback(_))));
}

#[test]
fn pages_are_forgotten_with_a_doubt_another_configuration_and_the_vm() {
    let mut server = Server::new();
    server.put(2);
    server.put(3);
    let keys = vec![PinnedKey::new(server.key.verifying_key().as_bytes()).unwrap()];
    let services = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    type Change = Box<dyn Fn(&mut Filter)>;
    let changes: [Change; 3] = [
        Box::new(|filter| filter.sync.doubt(at(2_000))),
        Box::new({
            let keys = keys.clone();
            move |filter| filter.sync.retarget(services(&["payments", "others"]), keys.clone(), at(2_000))
        }),
        Box::new(move |filter| filter.sync = Sync::new(filter.sync.filter().clone(), keys.clone())),
    ];
    for change in changes {
        let (mut filter, items) = begun(&server, 1_000);
        let question = filter.poll(1_500);
        change(&mut filter);
        assert_eq!(tell_page(&mut filter, &server, &question, &items, 1, 2_001), Err(SyncError::Unexpected));
        let again = filter.poll(40_000);
        let asked: Value = serde_json::from_slice(&again.body).unwrap();
        assert_eq!((&asked["page"], &asked["applied"]), (&Value::Null, &Value::Null));
        assert_eq!(tell_page(&mut filter, &server, &again, &items, 1, 40_001), Err(SyncError::Unexpected));
        assert!(filter.sync.table().is_none());
        for index in 0..3 {
            let question = filter.poll(80_000);
            tell_page(&mut filter, &server, &question, &items, index, 80_000).unwrap();
        }
        assert_eq!((filter.sync.item_count(), filter.fresh(80_002)), (3, [true; 3]));
    }
}

#[test]
fn pages_that_do_not_make_the_table_that_they_should_make_none() {
    let mut server = Server::new();
    server.put(2);
    server.put(3);
    for (name, change) in [
        ("an item is missing", (|items: &mut Vec<Item>| drop(items.remove(1))) as fn(&mut Vec<Item>)),
        ("an item is another one", |items| items[1] = lock(9)),
        ("an item comes twice", |items| items[1] = items[0].clone()),
        ("an item is not understood", |items| items[1].key = "lock/x".to_owned()),
    ] {
        let mut filter = Filter::ready(&server);
        filter.sync.wants_snapshot = true;
        let mut items: Vec<Item> = server.items.values().cloned().collect();
        change(&mut items);
        let (before, mut last) = (filter.sync.position(), Ok(Progress::Page));
        for index in 0..items.len() {
            let question = filter.poll(1_000);
            let last_page = index + 1 == items.len();
            let page = json!({"snapshot": {"index": index, "last": last_page, "puts": [items[index]]}});
            last = filter.tell(&server, Topic::Sync, &server.sync(&question, page), 1_000);
            if last.is_err() {
                break;
            }
        }
        assert!(
            matches!(last, Err(SyncError::TableHash | SyncError::Twice(_) | SyncError::Item(_))),
            "{name}: {last:?}"
        );
        assert_eq!((filter.sync.position(), filter.sync.item_count()), (before, 3), "{name}: the old one decides on");
        assert!(filter.sync.pages.is_none() && filter.sync.wants_snapshot, "{name}");
    }
}
