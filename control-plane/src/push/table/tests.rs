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
    let item = Some(item(key, body));
    ItemChange { revision, home: home.map(Box::from), key: key.to_owned(), item, is_first: false }
}

/// One that was put for the first time.
fn first(change: ItemChange) -> ItemChange {
    ItemChange { is_first: true, ..change }
}

fn remove(revision: u64, home: Option<&str>, key: &str) -> ItemChange {
    ItemChange { revision, home: home.map(Box::from), key: key.to_owned(), item: None, is_first: false }
}

fn scope(services: &[&str]) -> Scope {
    Scope::of(&services.iter().map(|service| (*service).to_owned()).collect::<Vec<_>>())
}

/// A filter as the protocol makes it: holds what it was told and believes the hash only if it fits.
#[derive(Debug, Default)]
struct Follower {
    items: Items,
    applied: Option<Applied>,
    in_pages: bool,
    /// The pages of a step that are still to come, and what it leads to.
    to_come: Vec<Page>,
    leads_to: Option<Applied>,
    /// Pages that come into force with the next one.
    at_one_go: Vec<Page>,
    /// What it held before the step, and will afterwards.
    before: Option<Items>,
    after: Option<Items>,
}

type Items = BTreeMap<String, String>;

impl Follower {
    fn hash(&self) -> TableHash {
        self.items.iter().fold(TableHash::default(), |sum, (key, body)| sum.plus(TableHash::of_item(key, body)))
    }

    /// Asks until nothing more is to come; gives what kind the last answer was.
    fn follow(&mut self, table: &PushTable, scope: &Scope) -> &'static str {
        loop {
            match self.ask(table, scope) {
                "page" => {}
                kind => return kind,
            }
        }
    }

    /// Asks once and applies the answer; gives what kind it was.
    fn ask(&mut self, table: &PushTable, scope: &Scope) -> &'static str {
        let now = Some(Applied { position: table.position(), table_hash: table.hash(scope) });
        if self.to_come.is_empty() {
            let unchanged = table.is_unchanged(scope, self.applied.as_ref());
            self.leads_to = now;
            let kind = match table.step(scope, self.applied.as_ref(), self.in_pages) {
                Step::Unchanged => "unchanged",
                Step::Ahead => panic!("a follower is never ahead"),
                Step::Delta(pages) => {
                    assert!(self.in_pages || pages.len() == 1, "only who asks for pages gets them");
                    self.to_come = pages;
                    "delta"
                }
                Step::Snapshot => {
                    self.items = held(table, scope);
                    "snapshot"
                }
            };
            assert_eq!(unchanged, kind == "unchanged", "both answers agree");
            if kind != "delta" {
                assert_eq!(self.hash(), table.hash(scope), "after {kind}");
                self.applied = now;
                return kind;
            }
        }
        if self.before.is_none() {
            self.before = Some(self.items.clone());
            self.after = Some(held(table, scope));
        }
        let page = self.to_come.remove(0);
        let with_next = page.with_next;
        self.at_one_go.push(page);
        if !with_next {
            self.apply();
        }
        if !self.to_come.is_empty() {
            return "page";
        }
        (self.before, self.after) = (None, None);
        assert_eq!(Some(self.hash()), self.leads_to.map(|applied| applied.table_hash));
        self.applied = self.leads_to;
        "delta"
    }

    /// Applies what has come, and looks at whether it may be in force.
    fn apply(&mut self) {
        let pages = std::mem::take(&mut self.at_one_go);
        let removes: Vec<&str> = pages.iter().flat_map(|page| &page.removes).map(|key| &**key).collect();
        let puts: Vec<&Arc<Item>> = pages.iter().flat_map(|page| &page.puts).collect();
        let keys: HashSet<&str> = puts.iter().map(|item| item.key.as_str()).chain(removes.iter().copied()).collect();
        assert_eq!(keys.len(), puts.len() + removes.len(), "nothing twice");
        for key in removes {
            self.items.remove(key);
        }
        self.items.extend(puts.iter().map(|item| (item.key.clone(), item.body.get().to_owned())));
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return };
        let others = |items: &Items| -> Items {
            items.iter().filter(|(key, _)| !is_grant(key)).map(|(key, body)| (key.clone(), body.clone())).collect()
        };
        let (here, before_others, after_others) = (others(&self.items), others(before), others(after));
        assert!(here == before_others || here == after_others, "a policy that was none");
        for (key, body) in self.items.iter().filter(|(key, _)| is_grant(key)) {
            let (was, is) = (before.get(key) == Some(body), after.get(key) == Some(body));
            assert!(was || is, "a grant that was none: {key}");
            assert!(was || here == after_others, "a grant of after under a policy of before: {key}");
            assert!(is || here == before_others, "a grant of before under a policy of after: {key}");
        }
    }

    /// Forgets what is still to come, as after a page that did not come: the next step begins where this one did.
    fn begin_anew(&mut self) {
        self.to_come.clear();
        self.at_one_go.clear();
        (self.before, self.after) = (None, None);
    }
}

/// What a filter of the scope holds in the end.
fn held(table: &PushTable, scope: &Scope) -> Items {
    let items = table.pages(scope).into_iter().flat_map(|page| page.puts);
    items.map(|item| (item.key.clone(), item.body.get().to_owned())).collect()
}

#[derive(Debug, Clone)]
enum Event {
    Change { service: u8, key: u8, body: Option<u16> },
    Prune { behind: u8 },
    Ask { follower: u8 },
    Diverge { follower: u8 },
    Lose { follower: u8 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4_u8, 0..6_u8, proptest::option::weighted(0.7, any::<u16>())).prop_map(|(service, key, body)| Event::Change { service, key, body }),
        1 => (0..6_u8).prop_map(|behind| Event::Prune { behind }),
        4 => (0..3_u8).prop_map(|follower| Event::Ask { follower }),
        1 => (0..3_u8).prop_map(|follower| Event::Diverge { follower }),
        1 => (0..3_u8).prop_map(|follower| Event::Lose { follower }),
    ]
}

proptest! {
    #[test]
    fn followers_hold_what_the_table_holds(events in proptest::collection::vec(event(), 1..80)) {
        let scopes = [scope(&["a"]), scope(&["b"]), scope(&["a", "b", "c"])];
        let in_pages = || Follower { in_pages: true, ..Follower::default() };
        let mut followers = [in_pages(), Follower::default(), in_pages()];
        let mut table = PushTable::load(at(0), 0, Vec::new());
        let (mut revision, mut floor, mut known) = (0_u64, 0_u64, HashSet::new());
        for event in events {
            match event {
                Event::Change { service, key, body } => {
                    revision += 1;
                    let home = [None, Some("a"), Some("b"), Some("c")][usize::from(service)];
                    let key = format!("{}/{key}", if key < 4 { "grant" } else { "lock" });
                    let change = match body {
                        // Two of them are a page.
                        Some(body) => {
                            let length = if is_grant(&key) { 1_500 } else { 6_000 };
                            let change = put(revision, home, &key, &format!("\"{body:>length$}\""));
                            ItemChange { is_first: known.insert(key), ..change }
                        }
                        None => remove(revision, home, &key),
                    };
                    table.apply(at(revision), floor, vec![change]);
                }
                Event::Prune { behind } => {
                    floor = floor.max(revision.saturating_sub(u64::from(behind)));
                    table.apply(at(revision), floor, Vec::new());
                }
                Event::Ask { follower } => {
                    followers[usize::from(follower)].ask(&table, &scopes[usize::from(follower)]);
                }
                Event::Lose { follower } => followers[usize::from(follower)].begin_anew(),
                Event::Diverge { follower } => {
                    let follower = &mut followers[usize::from(follower)];
                    if let Some(applied) = &mut follower.applied && follower.to_come.is_empty() {
                        follower.items.insert("item/stray".to_owned(), "0".to_owned());
                        applied.table_hash = applied.table_hash.plus(TableHash::of_item("item/stray", "0"));
                    }
                }
            }
        }
        for (follower, scope) in followers.iter_mut().zip(&scopes) {
            // A step that was begun, and what has changed since.
            follower.follow(&table, scope);
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
    assert!(matches!(table.step(&scope, Some(&applied(2, hash)), false), Step::Snapshot), "before the floor");
    assert!(
        matches!(table.step(&scope, Some(&applied(3, hash)), false), Step::Delta { .. }),
        "at the floor; the filter checks the hash"
    );
    assert!(matches!(table.step(&scope, Some(&applied(6, hash)), false), Step::Ahead));
    let other_epoch = Applied { position: Position { epoch: 0, revision: 9 }, table_hash: hash };
    assert!(matches!(table.step(&scope, Some(&other_epoch), false), Step::Snapshot));
    assert!(matches!(table.step(&scope, Some(&applied(5, TableHash::default())), false), Step::Snapshot), "diverged");
    table.apply(at(6), 6, vec![remove(6, Some("a"), "grant/1")]);
    assert_eq!(table.hash(&scope), TableHash::default());
}

#[test]
fn much_at_once_comes_in_pages_that_fit() {
    let body = format!("\"{}\"", "x".repeat(3_500));
    let mut items: Vec<_> =
        (0..600).map(|number| first(put(number + 1, Some("a"), &format!("grant/{number}"), &body))).collect();
    // What is larger than a page has one to itself.
    items.push(put(600, Some("b"), "grant/large", &format!("\"{}\"", "y".repeat(50_000))));
    let mut table = PushTable::load(at(0), 0, Vec::new());
    table.apply(at(600), 0, items);
    let sizes: Vec<usize> = table.pages(&scope(&["a", "b"])).iter().map(|page| page.puts.len()).collect();
    assert!(sizes.ends_with(&[1]) && sizes.iter().sum::<usize>() == 601, "{sizes:?}");
    let scope = scope(&["a"]);
    let pages = table.pages(&scope);
    assert!(pages.len() > 3, "{}", pages.len());
    for page in &pages {
        assert!(page.puts.iter().map(item_bytes).sum::<usize>() <= MAX_PAGE_BYTES);
    }
    assert_eq!(pages.iter().map(|page| page.puts.len()).sum::<usize>(), 600);
    // From the beginning it would not fit into one answer, from the middle it does; in pages it may have half of all there is.
    let step = |revision, in_pages| {
        let applied = Applied { position: at(revision), table_hash: TableHash::default() };
        match table.step(&scope, Some(&applied), in_pages) {
            Step::Delta(pages) => pages.iter().map(|page| page.puts.len()).collect(),
            Step::Snapshot => Vec::new(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((step(0, false), step(590, false)), (vec![], vec![10]));
    assert_eq!((step(299, true), step(300, true)), (vec![], vec![1; 300]));
    assert_eq!(step(599, true), [1]);
}

#[test]
fn a_step_in_pages_takes_first_and_gives_last() {
    let [body, large] = [1_500, 6_000].map(|length| format!("\"{}\"", "x".repeat(length)));
    let grants = |revision: u64| (0..6).map(move |number| (revision, format!("grant/{revision}-{number}")));
    let gone = (1_000..1_200).map(|number| format!("grant/{number}"));
    let mut items: Vec<ItemChange> = gone.clone().map(|key| put(1, Some("a"), &key, "1")).collect();
    items.extend(grants(1).map(|(at, key)| put(at, Some("a"), &key, &body)));
    items.push(put(1, None, "lock/1", "1"));
    let mut table = PushTable::load(at(1), 0, items);
    let applied = Applied { position: at(1), table_hash: table.hash(&scope(&["a"])) };
    let mut changes: Vec<ItemChange> = grants(2).map(|(at, key)| first(put(at, Some("a"), &key, &body))).collect();
    changes.push(put(2, Some("a"), "grant/1-0", &large));
    changes.push(put(3, None, "lock/2", &large));
    changes.push(put(3, Some("a"), "service/a", &large));
    changes.push(put(3, None, "signal/s", &large));
    changes.push(remove(4, None, "lock/1"));
    changes.extend(gone.map(|key| remove(5, Some("a"), &key)));
    table.apply(at(5), 0, changes);
    // One of the new ones is put again, another one goes and comes back: a filter may have seen either before.
    table.apply(at(6), 0, vec![put(6, Some("a"), "grant/2-0", &large), remove(6, Some("a"), "grant/2-1")]);
    table.apply(at(7), 0, vec![put(7, Some("a"), "grant/2-1", &large)]);
    let Step::Delta(pages) = table.step(&scope(&["a"]), Some(&applied), true) else { panic!("no step") };
    let kinds = |keys: Vec<&str>| {
        let mut kinds: Vec<_> = keys.iter().filter_map(|key| key.split('/').next()).map(str::to_owned).collect();
        kinds.dedup();
        (kinds.join(" "), keys.len())
    };
    let pages: Vec<_> = pages
        .iter()
        .map(|page| {
            let puts = page.puts.iter().map(|item| item.key.as_str()).collect();
            (kinds(page.removes.iter().map(|key| &**key).collect()), kinds(puts), page.with_next)
        })
        .collect();
    let none = || (String::new(), 0);
    let of = |kind: &str, count| (kind.to_owned(), count);
    let expected = [
        // At one go, whatever it has: what none of the states between would admit is not admitted either.
        (none(), of("lock signal", 2), true),
        (of("lock", 1), of("service grant", 2), true),
        (none(), of("grant", 2), false),
        (none(), of("grant", 2), false),
        (none(), of("grant", 2), false),
    ];
    let sizes: Vec<_> = pages.iter().map(|((_, removes), ..)| *removes).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 201);
    assert_eq!(pages[sizes.len() - 5..], expected, "{pages:?}");
    let gone = &pages[..sizes.len() - 5];
    assert!(gone.iter().all(|(gone, put, with_next)| gone.0 == "grant" && *put == none() && !with_next), "{pages:?}");
}

#[test]
fn exhausted_grants_come_with_those_that_are_gone() {
    let grant = |number: u8, uses: &str, rule: &str| {
        let id = |kind: &str| format!("{kind}_0000000000000000000000{number:04}");
        let (key, rule) = (format!("grant/{}", id("grant")), format!("{rule}{}", "x".repeat(1_500)));
        let body = format!(
            r#"{{"grant":{{"id":"{}","request":"{}","holder":{{"workload":"spiffe://a/b"}},"service":"a","action":"b","resource":"c","rule":"{rule}","starts_at":1,"expires_at":2{uses}}}}}"#,
            id("grant"),
            id("req"),
        );
        put(2, Some("a"), &key, &body)
    };
    let before = (1..8).map(|number| ItemChange { revision: 1, ..grant(number, "", "") });
    let mut table = PushTable::load(at(1), 0, before.collect());
    let applied = Applied { position: at(1), table_hash: table.hash(&scope(&["a"])) };
    let used = |allowed: u32, exhausted| format!(r#","uses":{{"allowed":{allowed},"exhausted":{exhausted}}}"#);
    let quoted = r#"\"exhausted\":true"#;
    let changes = vec![
        put(2, None, "lock/1", "1"),
        grant(1, &used(1, false), ""),
        grant(2, &used(1, true), ""),
        grant(3, "", quoted),
        grant(4, &used(2, true), quoted),
        first(grant(5, &used(1, true), "")),
        remove(2, Some("a"), "grant/grant_00000000000000000000000006"),
    ];
    table.apply(at(2), 0, changes);
    let Step::Delta(pages) = table.step(&scope(&["a"]), Some(&applied), true) else { panic!("no step") };
    let numbers = |page: &Page| -> String { page.puts.iter().filter_map(|item| item.key.chars().last()).collect() };
    let numbers: Vec<_> = pages.iter().map(|page| (page.removes.len(), numbers(page), page.with_next)).collect();
    let of = |gone, numbers: &str| (gone, numbers.to_owned(), false);
    // With the lock comes what may give something: what is gone or exhausted does not, and new grants give it last.
    assert_eq!(numbers, [of(1, "24"), of(0, "113"), of(0, "5")]);
}

#[test]
fn grants_that_are_put_again_come_one_by_one_where_nothing_else_has_changed() {
    let body = |n: u64| format!("\"{}{n}\"", "x".repeat(1_500));
    let grants = |revision| (0..400).map(move |n| put(revision, Some("a"), &format!("grant/{n}"), &body(revision)));
    let mut table = PushTable::load(at(1), 0, grants(1).chain([put(1, None, "lock/1", "1")]).collect());
    let applied = Applied { position: at(1), table_hash: table.hash(&scope(&["a"])) };
    table.apply(at(2), 0, grants(2).take(150).collect());
    for (revision, at_one_go) in [(2, (75, 0)), (3, (16, 15))] {
        let Step::Delta(pages) = table.step(&scope(&["a"]), Some(&applied), true) else { panic!("no step") };
        let with_next = pages.iter().filter(|page| page.with_next).count();
        assert_eq!((pages.len(), with_next), at_one_go);
        table.apply(at(revision + 1), 0, vec![put(revision + 1, None, "lock/1", &body(2))]);
    }
}

#[test]
fn what_must_come_at_one_go_and_does_not_fit_comes_as_everything() {
    let body = |length: usize| format!("\"{}\"", "x".repeat(length));
    let mut table = PushTable::load(at(1), 0, (0..9).map(|n| put(1, Some("a"), &format!("grant/{n}"), "1")).collect());
    let applied = Applied { position: at(1), table_hash: table.hash(&scope(&["a"])) };
    for (revision, length, fits) in [(2, MAX_ANSWER_BYTES / 2 - 100, true), (3, MAX_ANSWER_BYTES / 2 + 100, false)] {
        let changes = ["service/a", "lock/1"].map(|key| put(revision, Some("a"), key, &body(length)));
        table.apply(at(revision), 0, changes.to_vec());
        let step = table.step(&scope(&["a"]), Some(&applied), true);
        assert_eq!(matches!(step, Step::Delta(pages) if pages.len() == 2 && pages[0].with_next), fits);
    }
}
