//! All items that filters load, in memory, cut by service and indexed by revision.
//! What a question costs depends on what changed since the filter's position, never on how many items there are.
//! Pure: filled by [`super::Push`] from the store, asked by `sync` and `heartbeat`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use grantmesh_shared::wire::sync::{Applied, Position};
use grantmesh_shared::wire::table::{EngineItem, Item};
use grantmesh_shared::wire::{MAX_ANSWER_BYTES, MAX_PAGE_BYTES, TableHash};

/// The most sums that are remembered per service, to recognise a filter that diverged.
const MAX_SUMS: usize = 4_096;

/// What an item adds to an answer besides key and body.
const ITEM_FRAME: usize = 24;

/// The most bytes in one page of what comes into force at one go, unless a single item has more: what is no grant costs a
/// filter less for its bytes, and a large policy is not to need hundreds of exchanges.
const MIDDLE_PAGE_BYTES: usize = 4 * MAX_PAGE_BYTES;

/// What a grant that is gone costs a filter, as the bytes of one that is put: its item's hash is found out for the last time.
const GONE_BYTES: usize = 240;

/// What a filter loads: its services, and the items that belong to no service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(BTreeSet<Box<str>>);

impl Scope {
    /// The scope of a filter that enforces these services.
    #[must_use]
    pub fn of(services: &[String]) -> Self {
        Self(services.iter().map(|service| service.as_str().into()).collect())
    }

    /// Its services.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|service| &**service)
    }

    fn homes(&self) -> impl Iterator<Item = Home> {
        std::iter::once(None).chain(self.0.iter().cloned().map(Some))
    }
}

/// The service that an item belongs to; nothing if it concerns all of them.
pub type Home = Option<Box<str>>;

/// One item as the store has it: put at a revision, or removed at it.
#[derive(Debug, Clone)]
pub struct ItemChange {
    /// The revision of its last change.
    pub revision: u64,
    /// Where it belongs.
    pub home: Home,
    /// Its key.
    pub key: String,
    /// Its body; nothing if it was removed.
    pub item: Option<Item>,
    /// Whether no filter can hold an earlier state of it: nothing was known of it before.
    pub is_first: bool,
}

/// What a filter needs to be current.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Unchanged,
    /// A step: one page, or several where the filter takes them.
    Delta(Vec<Page>),
    /// Everything.
    Snapshot,
    /// It knows of changes that are not known here.
    Ahead,
}

/// So much of a step or a snapshot as one answer tells.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// New and replaced items.
    pub puts: Vec<Arc<Item>>,
    /// Keys of removed items; none in a snapshot.
    pub removes: Vec<Arc<str>>,
    /// Whether it comes into force with the next one; never in a snapshot.
    pub with_next: bool,
}

impl Page {
    fn of(part: Vec<One>) -> Self {
        let mut page = Self::default();
        for one in part {
            match one {
                One::Put(item) => page.puts.push(item),
                One::Gone(key) => page.removes.push(key),
            }
        }
        page
    }
}

/// What a page has.
enum One {
    Put(Arc<Item>),
    Gone(Arc<str>),
}

impl One {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(item) => item_bytes(item),
            Self::Gone(key) if is_grant(key) => GONE_BYTES,
            Self::Gone(key) => key_bytes(key),
        }
    }
}

#[derive(Debug, Default)]
struct Slice {
    live: HashMap<Arc<str>, Live>,
    gone: HashMap<Arc<str>, u64>,
    /// The latest change of each key, live or gone.
    changes: BTreeSet<(u64, Arc<str>)>,
    sum: TableHash,
    /// The sum after each revision that changed it, as far back as it is known.
    sums: BTreeMap<u64, TableHash>,
    changed: u64,
}

#[derive(Debug)]
struct Live {
    revision: u64,
    item: Arc<Item>,
    hash: TableHash,
    is_first: bool,
    /// Whether it is a grant all of whose uses are taken.
    is_exhausted: bool,
}

impl Slice {
    /// Forgets a key; gives the revision of its last change.
    fn take(&mut self, key: &str) -> Option<u64> {
        let live = self.live.remove(key).map(|live| {
            self.sum = self.sum.minus(live.hash);
            live.revision
        });
        let revision = live.or_else(|| self.gone.remove(key))?;
        self.changes.remove(&(revision, Arc::from(key)));
        Some(revision)
    }

    fn put(&mut self, revision: u64, item: Item, is_first: bool) {
        let key: Arc<str> = Arc::from(item.key.as_str());
        let hash = item.hash();
        self.take(&key);
        self.sum = self.sum.plus(hash);
        self.changes.insert((revision, Arc::clone(&key)));
        let is_exhausted = is_exhausted(&item);
        self.live.insert(key, Live { revision, item: Arc::new(item), hash, is_first, is_exhausted });
        self.changed = self.changed.max(revision);
    }

    fn remove(&mut self, revision: u64, key: &str) {
        self.take(key);
        let key: Arc<str> = Arc::from(key);
        self.changes.insert((revision, Arc::clone(&key)));
        self.gone.insert(key, revision);
        self.changed = self.changed.max(revision);
    }

    fn remember_sum(&mut self) {
        self.sums.insert(self.changed, self.sum);
        while self.sums.len() > MAX_SUMS {
            self.sums.pop_first();
        }
    }

    /// Forgets removals at or before the floor: no delta begins before it.
    fn prune(&mut self, floor: u64) {
        let old: Vec<Arc<str>> =
            self.gone.iter().filter(|(_, at)| **at <= floor).map(|(key, _)| Arc::clone(key)).collect();
        for key in old {
            self.take(&key);
        }
    }
}

/// The items.
#[derive(Debug)]
pub struct PushTable {
    position: Position,
    floor: u64,
    /// From this revision on every sum is known.
    known_from: u64,
    slices: BTreeMap<Home, Slice>,
    homes: HashMap<Arc<str>, Home>,
}

impl PushTable {
    /// A table with what the store holds at `position`; deltas begin at `floor` or later.
    #[must_use]
    pub fn load(position: Position, floor: u64, items: Vec<ItemChange>) -> Self {
        let known_from = items.iter().map(|change| change.revision).max().unwrap_or(0);
        let mut table = Self { position, floor, known_from, slices: BTreeMap::new(), homes: HashMap::new() };
        table.apply(position, floor, items);
        table
    }

    /// Brings the table to `position`; gives the homes that changed.
    pub fn apply(&mut self, position: Position, floor: u64, items: Vec<ItemChange>) -> HashSet<Home> {
        let mut changed = HashSet::new();
        for ItemChange { revision, home, key, item, is_first } in items {
            if let Some(earlier) = self.homes.get(key.as_str()).filter(|earlier| **earlier != home).cloned() {
                self.slices.entry(earlier.clone()).or_default().remove(revision, &key);
                changed.insert(earlier);
            }
            let slice = self.slices.entry(home.clone()).or_default();
            self.homes.insert(Arc::from(key.as_str()), home.clone());
            match item {
                Some(item) => slice.put(revision, item, is_first),
                None => slice.remove(revision, &key),
            }
            changed.insert(home);
        }
        for home in &changed {
            self.slices.entry(home.clone()).or_default().remember_sum();
        }
        if floor > self.floor {
            self.floor = floor;
            self.slices.values_mut().for_each(|slice| slice.prune(floor));
            let slices = &self.slices;
            self.homes.retain(|key, home| {
                slices.get(home).is_some_and(|slice| slice.live.contains_key(key) || slice.gone.contains_key(key))
            });
        }
        self.position = position;
        changed
    }

    /// The point up to which everything is known here.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    fn slices(&self, scope: &Scope) -> impl Iterator<Item = &Slice> {
        scope.homes().filter_map(|home| self.slices.get(&home))
    }

    /// The point of the last change of anything in the scope.
    #[must_use]
    pub fn changed(&self, scope: &Scope) -> Position {
        let revision = self.slices(scope).map(|slice| slice.changed).max().unwrap_or(0);
        Position { epoch: self.position.epoch, revision }
    }

    /// The hash of everything in the scope.
    #[must_use]
    pub fn hash(&self, scope: &Scope) -> TableHash {
        self.slices(scope).fold(TableHash::default(), |sum, slice| sum.plus(slice.sum))
    }

    /// The hash that the scope had at a revision, where that is known.
    fn hash_at(&self, scope: &Scope, revision: u64) -> Option<TableHash> {
        if revision < self.known_from {
            return None;
        }
        self.slices(scope).try_fold(TableHash::default(), |sum, slice| {
            let at = if revision >= slice.changed {
                slice.sum
            } else if let Some((_, at)) = slice.sums.range(..=revision).next_back() {
                *at
            } else if slice.sums.len() < MAX_SUMS {
                // Nothing of this slice was there yet.
                TableHash::default()
            } else {
                return None;
            };
            Some(sum.plus(at))
        })
    }

    /// Whether a filter that applied this needs nothing: [`Self::step`] without making the step.
    #[must_use]
    pub fn is_unchanged(&self, scope: &Scope, applied: Option<&Applied>) -> bool {
        applied.is_some_and(|applied| {
            self.follows(scope, applied) && self.changed(scope).revision <= applied.position.revision
        })
    }

    /// Whether what the filter applied is a state that the scope had, as far as that is known.
    pub(super) fn follows(&self, scope: &Scope, applied: &Applied) -> bool {
        let known = self.hash_at(scope, applied.position.revision);
        applied.position.epoch == self.position.epoch
            && applied.position <= self.position
            && known.is_none_or(|hash| hash == applied.table_hash)
    }

    /// What a filter that applied this needs; a step in several pages only if it takes those.
    #[must_use]
    pub fn step(&self, scope: &Scope, applied: Option<&Applied>, in_pages: bool) -> Step {
        let Some(applied) = applied else {
            return Step::Snapshot;
        };
        if applied.position > self.position {
            return Step::Ahead;
        }
        if !self.follows(scope, applied) {
            return Step::Snapshot;
        }
        let from = applied.position.revision;
        if self.changed(scope).revision <= from {
            return Step::Unchanged;
        }
        if from < self.floor { Step::Snapshot } else { self.delta(scope, from, in_pages) }
    }

    /// The changes after a revision, or everything where that is less to tell.
    fn delta(&self, scope: &Scope, from: u64, in_pages: bool) -> Step {
        let most = if in_pages { self.slices(scope).map(|slice| slice.live.len()).sum::<usize>() / 2 } else { 0 };
        let mut step = Changes::default();
        for slice in self.slices(scope) {
            for (_, key) in slice.changes.range((from.saturating_add(1), Arc::from(""))..) {
                match slice.live.get(key) {
                    Some(live) => step.put(live),
                    None => step.remove(key),
                }
                if step.bytes > MAX_ANSWER_BYTES && step.count() > most {
                    return Step::Snapshot;
                }
            }
        }
        step.settle();
        match in_pages && step.bytes > MAX_PAGE_BYTES {
            true => step.in_pages().map_or(Step::Snapshot, Step::Delta),
            false => Step::Delta(vec![step.at_one_go()]),
        }
    }

    /// Everything in the scope, in pages; at least one.
    #[must_use]
    pub fn pages(&self, scope: &Scope) -> Vec<Page> {
        let mut items: Vec<Arc<Item>> =
            self.slices(scope).flat_map(|slice| slice.live.values()).map(|live| Arc::clone(&live.item)).collect();
        // Services first, then in the order of their making; the same pages for the same state.
        items.sort_unstable_by(|one, two| {
            (!one.key.starts_with("service/"), &one.key).cmp(&(!two.key.starts_with("service/"), &two.key))
        });
        let mut pages = pages_of(MAX_PAGE_BYTES, items.into_iter().map(One::Put));
        if pages.is_empty() {
            pages.push(Page::default());
        }
        pages
    }
}

/// What a step tells.
#[derive(Default)]
struct Changes {
    /// New grants: such as no filter can hold in an earlier state.
    new: Vec<Arc<Item>>,
    /// Grants that are put again and give something.
    again: Vec<Arc<Item>>,
    /// Grants that are put again as exhausted, and give nothing.
    exhausted: Vec<Arc<Item>>,
    /// What is no grant.
    others: Vec<Arc<Item>>,
    removes: BTreeSet<Arc<str>>,
    bytes: usize,
}

impl Changes {
    fn put(&mut self, live: &Live) {
        self.bytes = self.bytes.saturating_add(item_bytes(&live.item));
        let puts = match (is_grant(&live.item.key), live.is_first) {
            (true, true) => &mut self.new,
            (true, false) if live.is_exhausted => &mut self.exhausted,
            (true, false) => &mut self.again,
            (false, _) => &mut self.others,
        };
        puts.push(Arc::clone(&live.item));
    }

    fn remove(&mut self, key: &Arc<str>) {
        self.bytes = self.bytes.saturating_add(key_bytes(key));
        self.removes.insert(Arc::clone(key));
    }

    fn count(&self) -> usize {
        [&self.new, &self.again, &self.exhausted, &self.others]
            .into_iter()
            .fold(self.removes.len(), |count, puts| count.saturating_add(puts.len()))
    }

    /// An item that moved between slices of the scope is gone from some of them and may be put in another one.
    fn settle(&mut self) {
        for item in self.new.iter().chain(&self.again).chain(&self.exhausted).chain(&self.others) {
            self.removes.remove(item.key.as_str());
        }
    }

    fn at_one_go(self) -> Page {
        let Self { new, again, exhausted, mut others, removes, .. } = self;
        for puts in [exhausted, again, new] {
            others.extend(puts);
        }
        Page { puts: others, removes: removes.into_iter().collect(), with_next: false }
    }

    /// So that a filter that has applied only the first pages admits nothing that no state of the history would: grants that
    /// are gone or exhausted come first, then, into force at one go, all that is no grant with the grants that are put again,
    /// which may give less than before or more, and new grants at last. Nothing if what must come at one go is more than an
    /// answer may have.
    ///
    /// A call is admitted by one grant. So where nothing but grants has changed, those that are put again come one by one: each
    /// admits what it did before or does afterwards. Of masked fields a call may then be shown, for the moment, what one grant
    /// revealed before and another one does afterwards.
    fn in_pages(self) -> Option<Vec<Page>> {
        let Self { new, mut again, exhausted, others, removes, .. } = self;
        let (gone, removes): (Vec<_>, Vec<_>) = removes.into_iter().partition(|key| is_grant(key));
        let mut at_one_go: Vec<One> =
            others.into_iter().map(One::Put).chain(removes.into_iter().map(One::Gone)).collect();
        if !at_one_go.is_empty() {
            at_one_go.extend(again.drain(..).map(One::Put));
        }
        if at_one_go.iter().map(One::bytes).fold(0, usize::saturating_add) > MAX_ANSWER_BYTES {
            return None;
        }
        let mut pages =
            pages_of(MAX_PAGE_BYTES, gone.into_iter().map(One::Gone).chain(exhausted.into_iter().map(One::Put)));
        let mut at_one_go = pages_of(MIDDLE_PAGE_BYTES, at_one_go);
        let last = at_one_go.len().saturating_sub(1);
        at_one_go.iter_mut().take(last).for_each(|page| page.with_next = true);
        pages.append(&mut at_one_go);
        pages.append(&mut pages_of(MAX_PAGE_BYTES, again.into_iter().chain(new).map(One::Put)));
        Some(pages)
    }
}

fn is_grant(key: &str) -> bool {
    key.starts_with("grant/")
}

/// Whether it is a grant all of whose uses are taken.
fn is_exhausted(item: &Item) -> bool {
    // Most need not be read for that: within a text a quote is escaped.
    let may_be = item.body.get().contains(r#""exhausted":true"#);
    may_be && matches!(item.parse(), Ok(EngineItem::Grant(grant)) if grant.uses.is_some_and(|uses| uses.exhausted))
}

/// Pages of so many bytes at most of these, in their order; one that is larger than a page has one to itself.
fn pages_of(most: usize, all: impl IntoIterator<Item = One>) -> Vec<Page> {
    let (mut pages, mut part, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    for one in all {
        let more = one.bytes();
        if bytes.saturating_add(more) > most && bytes > 0 {
            pages.push(Page::of(std::mem::take(&mut part)));
            bytes = 0;
        }
        bytes = bytes.saturating_add(more);
        part.push(one);
    }
    if !part.is_empty() {
        pages.push(Page::of(part));
    }
    pages
}

fn key_bytes(key: &str) -> usize {
    key.len().saturating_add(ITEM_FRAME)
}

fn item_bytes(item: &Arc<Item>) -> usize {
    item.key.len().saturating_add(item.body.get().len()).saturating_add(ITEM_FRAME)
}

#[cfg(test)]
mod tests;
