//! Filters that follow the table by its steps hold what the table holds, whatever happened in between.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn at(revision: u64) -> Position {
    Position { epoch: 1, revision }
}

fn item(key: &str, body: &str) -> Item {
    Item { key: key.to_owned(), body: RawValue::from_string(body.to_owned()).unwrap() }
}

fn put(revision: u64, home: Option<&str>, key: &str, body: &str) -> ItemChange {
    ItemChange { revision, home: home.map(Box::from), key: key.to_owned(), item: Some(item(key, body)) }
}

fn remove(revision: u64, home: Option<&str>, key: &str) -> ItemChange {
    ItemChange { revision, home: home.map(Box::from), key: key.to_owned(), item: None }
}

fn scope(services: &[&str]) -> Scope {
    Scope::of(&services.iter().map(|service| (*service).to_owned()).collect::<Vec<_>>())
}

/// A filter as the protocol makes it: holds what it was told and believes the hash only if it fits.
#[derive(Debug, Default)]
struct Follower {
    items: BTreeMap<String, String>,
    applied: Option<Applied>,
}

impl Follower {
    fn hash(&self) -> TableHash {
        self.items.iter().fold(TableHash::default(), |sum, (key, body)| sum.plus(TableHash::of_item(key, body)))
    }

    /// Asks once and applies the answer; gives what kind it was.
    fn follow(&mut self, table: &PushTable, scope: &Scope) -> &'static str {
        let unchanged = table.is_unchanged(scope, self.applied.as_ref());
        let kind = match table.step(scope, self.applied.as_ref()) {
            Step::Unchanged => "unchanged",
            Step::Ahead => panic!("a follower is never ahead"),
            Step::Delta { puts, removes } => {
                for key in removes {
                    self.items.remove(&key);
                }
                self.items.extend(puts.into_iter().map(|item| (item.key.clone(), item.body.get().to_owned())));
                "delta"
            }
            Step::Snapshot => {
                let pages = table.pages(scope);
                self.items =
                    pages.into_iter().flatten().map(|item| (item.key.clone(), item.body.get().to_owned())).collect();
                "snapshot"
            }
        };
        assert_eq!(unchanged, kind == "unchanged", "both answers agree");
        assert_eq!(self.hash(), table.hash(scope), "after {kind}");
        self.applied = Some(Applied { position: table.position(), table_hash: self.hash() });
        kind
    }
}

#[derive(Debug, Clone)]
enum Event {
    Change { service: u8, key: u8, body: Option<u16> },
    Prune { behind: u8 },
    Ask { follower: u8 },
    Diverge { follower: u8 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4_u8, 0..6_u8, proptest::option::weighted(0.7, any::<u16>())).prop_map(|(service, key, body)| Event::Change { service, key, body }),
        1 => (0..6_u8).prop_map(|behind| Event::Prune { behind }),
        4 => (0..3_u8).prop_map(|follower| Event::Ask { follower }),
        1 => (0..3_u8).prop_map(|follower| Event::Diverge { follower }),
    ]
}

proptest! {
    #[test]
    fn followers_hold_what_the_table_holds(events in proptest::collection::vec(event(), 1..80)) {
        let scopes = [scope(&["a"]), scope(&["b"]), scope(&["a", "b", "c"])];
        let mut followers = [Follower::default(), Follower::default(), Follower::default()];
        let mut table = PushTable::load(at(0), 0, Vec::new());
        let (mut revision, mut floor) = (0_u64, 0_u64);
        for event in events {
            match event {
                Event::Change { service, key, body } => {
                    revision += 1;
                    let home = [None, Some("a"), Some("b"), Some("c")][usize::from(service)];
                    let key = format!("item/{key}");
                    let change = match body {
                        Some(body) => put(revision, home, &key, &body.to_string()),
                        None => remove(revision, home, &key),
                    };
                    table.apply(at(revision), floor, vec![change]);
                }
                Event::Prune { behind } => {
                    floor = floor.max(revision.saturating_sub(u64::from(behind)));
                    table.apply(at(revision), floor, Vec::new());
                }
                Event::Ask { follower } => {
                    followers[usize::from(follower)].follow(&table, &scopes[usize::from(follower)]);
                }
                Event::Diverge { follower } => {
                    let follower = &mut followers[usize::from(follower)];
                    if let Some(applied) = &mut follower.applied {
                        follower.items.insert("item/stray".to_owned(), "0".to_owned());
                        applied.table_hash = applied.table_hash.plus(TableHash::of_item("item/stray", "0"));
                    }
                }
            }
        }
        for (follower, scope) in followers.iter_mut().zip(&scopes) {
            follower.follow(&table, scope);
            prop_assert_eq!(follower.follow(&table, scope), "unchanged");
        }
    }
}

#[test]
fn small_changes_are_deltas_and_other_services_are_not_told() {
    let mut table = PushTable::load(at(1), 0, vec![put(1, Some("a"), "grant/1", "1")]);
    let (scope_a, scope_b) = (scope(&["a"]), scope(&["b"]));
    let (mut a, mut b) = (Follower::default(), Follower::default());
    assert_eq!((a.follow(&table, &scope_a), b.follow(&table, &scope_b)), ("snapshot", "snapshot"));
    let changed = table.apply(at(2), 0, vec![put(2, Some("a"), "grant/2", "2")]);
    assert_eq!(changed, HashSet::from([Some(Box::from("a"))]));
    assert_eq!((a.follow(&table, &scope_a), b.follow(&table, &scope_b)), ("delta", "unchanged"));
    table.apply(at(3), 0, vec![put(3, None, "lock/1", "3")]);
    assert_eq!((a.follow(&table, &scope_a), b.follow(&table, &scope_b)), ("delta", "delta"));
    assert_eq!(table.changed(&scope_b), at(3));
}

#[test]
fn an_unknown_past_leads_to_a_snapshot() {
    let mut table = PushTable::load(at(5), 3, vec![put(5, Some("a"), "grant/1", "1")]);
    let scope = scope(&["a"]);
    let applied = |revision, hash| Applied { position: at(revision), table_hash: hash };
    let hash = table.hash(&scope);
    assert!(matches!(table.step(&scope, Some(&applied(2, hash))), Step::Snapshot), "before the floor");
    assert!(
        matches!(table.step(&scope, Some(&applied(3, hash))), Step::Delta { .. }),
        "at the floor; the filter checks the hash"
    );
    assert!(matches!(table.step(&scope, Some(&applied(6, hash))), Step::Ahead));
    let other_epoch = Applied { position: Position { epoch: 0, revision: 9 }, table_hash: hash };
    assert!(matches!(table.step(&scope, Some(&other_epoch)), Step::Snapshot));
    assert!(matches!(table.step(&scope, Some(&applied(5, TableHash::default()))), Step::Snapshot), "diverged");
    table.apply(at(6), 6, vec![remove(6, Some("a"), "grant/1")]);
    assert_eq!(table.hash(&scope), TableHash::default());
}

#[test]
fn much_at_once_comes_in_pages_that_fit() {
    let body = format!("\"{}\"", "x".repeat(5_000));
    let mut items: Vec<_> =
        (0..300).map(|number| put(number + 1, Some("a"), &format!("grant/{number}"), &body)).collect();
    // What is larger than a page has one to itself.
    items.push(put(300, Some("b"), "grant/large", &format!("\"{}\"", "y".repeat(50_000))));
    let table = PushTable::load(at(300), 0, items);
    let sizes: Vec<usize> = table.pages(&scope(&["a", "b"])).iter().map(Vec::len).collect();
    assert!(sizes.ends_with(&[1]) && sizes.iter().sum::<usize>() == 301, "{sizes:?}");
    let scope = scope(&["a"]);
    let pages = table.pages(&scope);
    assert!(pages.len() > 3, "{}", pages.len());
    for page in &pages {
        assert!(page.iter().map(|item| item_bytes(item)).sum::<usize>() <= MAX_PAGE_BYTES);
    }
    assert_eq!(pages.iter().map(Vec::len).sum::<usize>(), 300);
    // From the beginning it would not fit into one answer, from the middle it does.
    let from = |revision| Applied { position: at(revision), table_hash: TableHash::default() };
    assert!(matches!(table.step(&scope, Some(&from(0))), Step::Snapshot));
    assert!(matches!(table.step(&scope, Some(&from(290))), Step::Delta { puts, .. } if puts.len() == 10));
}
