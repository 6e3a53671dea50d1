//! Snapshots, and steps of many pages, that filters are in the middle of loading: made once per scope and point, shared by all
//! who load them, dropped a minute after they were last asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::sync::{Applied, Position};
use sha2::{Digest as _, Sha256};

use super::table::{Page, PushTable, Scope, Step};

/// How long pages are kept after they were last asked for.
const KEEP: Span = Span::from_secs(60);

/// With more points than this in memory none is kept that only a question names.
const MANY: usize = 1_024;

/// So many steps are kept, those that were asked for last: filters that were away together have come to the same point.
const STEPS: usize = 256;

/// So many pages all kept steps may have together, but for the newest.
const STEP_PAGES: usize = 131_072;

/// Everything in a scope, or what has changed since a point.
#[derive(Debug)]
pub(super) struct Pages {
    /// The point of the last change in it.
    changed: Position,
    /// Whether they are of a step.
    pub(super) is_step: bool,
    /// The hash of everything, which a filter's table has with the last of them.
    pub(super) table_hash: TableHash,
    /// The pages; never none.
    pub(super) pages: Vec<Page>,
    /// What says how those of a step are cut; 0 of a snapshot, of which no page is in force before the last.
    pub(super) cut: u32,
}

impl Pages {
    fn new(table: &PushTable, scope: &Scope, is_step: bool, pages: Vec<Page>) -> Self {
        let (changed, table_hash) = (table.changed(scope), table.hash(scope));
        let cut = if is_step { cut_of(&pages) } else { 0 };
        Self { changed, is_step, table_hash, pages, cut }
    }
}

/// The same for what is cut in the same way.
fn cut_of(pages: &[Page]) -> u32 {
    let mut digest = Sha256::new();
    for page in pages {
        digest.update([u8::from(page.with_next)]);
        for key in page.removes.iter().map(|key| &**key).chain(page.puts.iter().map(|item| item.key.as_str())) {
            digest.update(key);
            digest.update([0]);
        }
    }
    let digest: [u8; 32] = digest.finalize().into();
    let [a, b, c, d, ..] = digest;
    u32::from_le_bytes([a, b, c, d])
}

/// What was begun: by which scope, from which point if it is a step, and to which point.
type Begun = (Scope, Option<Position>, Position);

/// What is being loaded.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    kept: Mutex<BTreeMap<Begun, Kept>>,
}

#[derive(Debug)]
struct Kept {
    asked: Timestamp,
    pages: Arc<Pages>,
}

impl Snapshots {
    /// What was begun at `position`, if it is still kept.
    #[must_use]
    pub(super) fn begun(
        &self,
        scope: &Scope,
        from: Option<Position>,
        position: Position,
        now: Timestamp,
    ) -> Option<Arc<Pages>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get_mut(&(scope.clone(), from, position))?;
        found.asked = now;
        Some(Arc::clone(&found.pages))
    }

    /// What was begun at `position`, by another replica it may be, if nothing in the scope has changed since: its pages are the
    /// same at every replica of a release.
    #[must_use]
    pub(super) fn elsewhere(
        &self,
        scope: &Scope,
        table: &PushTable,
        applied: Option<&Applied>,
        position: Position,
        now: Timestamp,
    ) -> Option<Arc<Pages>> {
        let is_same = position <= table.position() && table.changed(scope) <= position;
        match applied {
            _ if !is_same => None,
            None => Some(self.fresh(scope, table, position, now)),
            Some(applied) => match table.step(scope, Some(applied), true) {
                Step::Delta(pages) if pages.len() > 1 => {
                    Some(self.step(scope, applied.position, table, position, pages, now))
                }
                Step::Delta(_) | Step::Unchanged | Step::Snapshot | Step::Ahead => None,
            },
        }
    }

    /// A snapshot of the table, as one at a point since which nothing in the scope has changed. Pages are made again only if
    /// something has.
    #[must_use]
    pub(super) fn fresh(&self, scope: &Scope, table: &PushTable, position: Position, now: Timestamp) -> Arc<Pages> {
        self.keep(scope, None, table, position, now, || table.pages(scope))
    }

    /// The pages of a step from a point, as the table gives them, to be asked for one after the other.
    #[must_use]
    pub(super) fn step(
        &self,
        scope: &Scope,
        from: Position,
        table: &PushTable,
        position: Position,
        pages: Vec<Page>,
        now: Timestamp,
    ) -> Arc<Pages> {
        self.keep(scope, Some(from), table, position, now, || pages)
    }

    /// A step from this point that was made for another filter, as one to `position`, if nothing in the scope has changed since.
    #[must_use]
    pub(super) fn same_step(
        &self,
        scope: &Scope,
        from: Position,
        table: &PushTable,
        position: Position,
        now: Timestamp,
    ) -> Option<Arc<Pages>> {
        let mut kept = self.lately(now);
        let pages = same(&kept, scope, Some(from), table)?;
        insert(&mut kept, (scope.clone(), Some(from), position), table, &pages, now);
        Some(pages)
    }

    /// Those that were asked for lately; the others are forgotten.
    fn lately(&self, now: Timestamp) -> MutexGuard<'_, BTreeMap<Begun, Kept>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now.since(kept.asked) < KEEP);
        kept
    }

    fn keep(
        &self,
        scope: &Scope,
        from: Option<Position>,
        table: &PushTable,
        position: Position,
        now: Timestamp,
        pages: impl FnOnce() -> Vec<Page>,
    ) -> Arc<Pages> {
        let mut kept = self.lately(now);
        let pages = same(&kept, scope, from, table)
            .unwrap_or_else(|| Arc::new(Pages::new(table, scope, from.is_some(), pages())));
        insert(&mut kept, (scope.clone(), from, position), table, &pages, now);
        pages
    }
}

/// Keeps pages, within the bounds.
fn insert(kept: &mut BTreeMap<Begun, Kept>, begun: Begun, table: &PushTable, pages: &Arc<Pages>, now: Timestamp) {
    let (scope, from, position) = &begun;
    if from.is_some() && !kept.contains_key(&begun) {
        make_room(kept, scope);
    }
    if kept.len() < MANY || *position == table.position() {
        kept.insert(begun, Kept { asked: now, pages: Arc::clone(pages) });
    }
}

/// Pages of the scope as it is, from the same point.
fn same(kept: &BTreeMap<Begun, Kept>, scope: &Scope, from: Option<Position>, table: &PushTable) -> Option<Arc<Pages>> {
    let changed = table.changed(scope);
    let mut all = kept.iter().filter(|((of, since, _), _)| of == scope && *since == from);
    all.find(|(_, kept)| kept.pages.changed == changed).map(|(_, kept)| Arc::clone(&kept.pages))
}

/// Forgets steps that were not asked for the longest, those of the same scope first, until one more may be kept.
fn make_room(kept: &mut BTreeMap<Begun, Kept>, scope: &Scope) {
    loop {
        let steps: Vec<_> = kept.iter().filter(|((_, from, _), _)| from.is_some()).collect();
        let pages = steps.iter().map(|(_, kept)| kept.pages.pages.len()).fold(0, usize::saturating_add);
        if steps.len() < STEPS && pages < STEP_PAGES {
            return;
        }
        let oldest = steps.into_iter().min_by_key(|((of, _, _), kept)| (of != scope, kept.asked));
        let Some(oldest) = oldest.map(|(begun, _)| begun.clone()) else { return };
        kept.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use grantmesh_shared::wire::table::Item;
    use serde_json::value::RawValue;

    use super::*;
    use crate::push::table::ItemChange;

    fn at(epoch: u64, revision: u64) -> Position {
        Position { epoch, revision }
    }

    fn put(revision: u64, home: &str) -> ItemChange {
        let (key, body) = (format!("grant/{revision}"), RawValue::from_string(format!("\"{revision}\"")).unwrap());
        let item = Some(Item { key: key.clone(), body });
        ItemChange { revision, home: Some(home.into()), key, item, is_first: true }
    }

    #[test]
    fn a_replica_goes_on_with_what_another_one_began_while_nothing_has_changed() {
        let scope = Scope::of(&["a".to_owned()]);
        let table = PushTable::load(at(2, 9), 0, vec![put(3, "a"), put(5, "a"), put(8, "b")]);
        let (here, there) = (Snapshots::default(), Snapshots::default());
        let now = Timestamp::from_millis(1);
        let begun = there.fresh(&scope, &table, at(2, 6), now);
        for (position, goes_on) in [
            (at(2, 4), false),
            (at(2, 5), true),
            (at(2, 6), true),
            (at(2, 9), true),
            (at(2, 10), false),
            (at(1, 9), false),
            (at(3, 5), false),
        ] {
            let pages = here.elsewhere(&scope, &table, None, position, now);
            assert_eq!(pages.is_some(), goes_on, "{position:?}");
            assert_eq!(here.begun(&scope, None, position, now).is_some(), goes_on, "{position:?}");
            let Some(pages) = pages else { continue };
            let keys = |pages: &Pages| -> Vec<Vec<String>> {
                pages.pages.iter().map(|page| page.puts.iter().map(|item| item.key.clone()).collect()).collect()
            };
            assert_eq!((keys(&pages), pages.table_hash), (keys(&begun), begun.table_hash));
        }
    }

    #[test]
    fn a_step_is_kept_for_its_beginning_and_a_replica_goes_on_with_it() {
        let scope = Scope::of(&["a".to_owned()]);
        let body = format!("\"{}\"", "x".repeat(5_000));
        let long = |revision| {
            let mut change = put(revision, "a");
            let item = change.item.as_mut().unwrap();
            item.body = RawValue::from_string(body.clone()).unwrap();
            change
        };
        let table = PushTable::load(at(1, 9), 0, (1..10).map(long).collect());
        let (here, there, now) = (Snapshots::default(), Snapshots::default(), Timestamp::from_millis(1));
        let applied = |revision| Applied { position: at(1, revision), table_hash: TableHash::default() };
        let step = |snapshots: &Snapshots, from: u64| {
            let Step::Delta(pages) = table.step(&scope, Some(&applied(from)), true) else { panic!("no step") };
            snapshots.step(&scope, at(1, from), &table, at(1, 9), pages, now)
        };
        let pages = step(&there, 3);
        assert_eq!((pages.pages.len(), pages.is_step, pages.table_hash), (6, true, table.hash(&scope)));
        assert!(there.begun(&scope, Some(at(1, 3)), at(1, 9), now).is_some_and(|kept| Arc::ptr_eq(&kept, &pages)));
        for from in [None, Some(at(1, 2))] {
            assert!(there.begun(&scope, from, at(1, 9), now).is_none(), "another beginning");
        }
        let goes_on = here.elsewhere(&scope, &table, Some(&applied(3)), at(1, 9), now).unwrap();
        assert_eq!((goes_on.pages.len(), goes_on.table_hash), (6, pages.table_hash));
        assert!(
            here.elsewhere(&scope, &table, Some(&applied(3)), at(1, 8), now).is_none(),
            "something has changed since"
        );
        let again = there.same_step(&scope, at(1, 3), &table, at(1, 9), now).unwrap();
        assert!(Arc::ptr_eq(&again, &pages), "made once for all who ask");
        assert!(there.same_step(&scope, at(1, 2), &table, at(1, 9), now).is_none());
        // Nor are there more of them for being asked for at one point after the other.
        for revision in 10..10 + 2 * u64::try_from(STEPS).unwrap() {
            assert!(there.same_step(&scope, at(1, 3), &table, at(1, revision), now).is_some());
        }
        assert_eq!(there.kept.lock().unwrap().len(), STEPS);
        assert!(there.same_step(&scope, at(1, 3), &table, at(1, 9), now).is_some());
        let one_page = here.elsewhere(&scope, &table, Some(&applied(8)), at(1, 9), now);
        assert!(one_page.is_none() && here.kept.lock().unwrap().len() == 1, "a step of one page is not kept");
        // However many there are, those that are asked for stay.
        for from in 0..2 * u64::try_from(STEPS).unwrap() {
            let later = Timestamp::from_millis(2 + i64::try_from(from).unwrap());
            let again = there.begun(&scope, Some(at(1, 3)), at(1, 9), later);
            assert!(again.is_some_and(|kept| Arc::ptr_eq(&kept, &pages)), "{from}");
            assert!(there.step(&scope, at(0, from), &table, at(1, 9), table.pages(&scope), later).is_step);
        }
        assert_eq!(there.kept.lock().unwrap().len(), STEPS);
        // Another scope's do not end it either, although they were asked for later.
        let other = Scope::of(&["b".to_owned()]);
        for from in 0..2 * u64::try_from(STEPS).unwrap() {
            assert!(
                there
                    .step(&other, at(0, from), &table, at(1, 9), table.pages(&scope), Timestamp::from_millis(10_000))
                    .is_step
            );
        }
        assert!(there.begun(&scope, Some(at(1, 3)), at(1, 9), now).is_some());
        // Nor are there more pages than fit.
        let large: Vec<Page> = vec![Page::default(); STEP_PAGES];
        assert!(
            there.step(&other, at(0, 9_001), &table, at(1, 8), large.clone(), Timestamp::from_millis(10_000)).is_step
        );
        assert!(there.step(&other, at(0, 9_002), &table, at(1, 8), large, Timestamp::from_millis(10_000)).is_step);
        let pages: usize = there.kept.lock().unwrap().values().map(|kept| kept.pages.pages.len()).sum();
        assert!((STEP_PAGES..2 * STEP_PAGES).contains(&pages), "{pages}");
    }

    #[test]
    fn no_question_makes_many_points_be_kept() {
        let scope = Scope::of(&["a".to_owned()]);
        let table = PushTable::load(at(1, 10_000), 0, vec![put(3, "a")]);
        let (snapshots, now) = (Snapshots::default(), Timestamp::from_millis(1));
        for revision in 3..10_000 {
            assert!(snapshots.elsewhere(&scope, &table, None, at(1, revision), now).is_some());
        }
        assert_eq!(snapshots.kept.lock().unwrap().len(), MANY);
        let pages = snapshots.fresh(&scope, &table, table.position(), now);
        assert!(snapshots.begun(&scope, None, table.position(), now).is_some());
        let later = snapshots.fresh(&scope, &table, table.position(), now.plus(KEEP));
        assert!(!Arc::ptr_eq(&pages, &later));
        assert_eq!(snapshots.kept.lock().unwrap().len(), 1, "those that nobody asks for go");
    }
}
