//! Snapshots that filters are in the middle of loading: pages made once per scope and point, shared by all who load them,
//! dropped a minute after they were last asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::Item;

use super::table::{PushTable, Scope};

/// How long pages are kept after they were last asked for.
const KEEP: Span = Span::from_secs(60);

/// With more points than this in memory none is kept that only a question names.
const MANY: usize = 1_024;

/// Everything in a scope.
#[derive(Debug)]
pub(super) struct Pages {
    /// The point of the last change in it.
    changed: Position,
    /// The hash of all pages together.
    pub(super) table_hash: TableHash,
    /// The pages; never none.
    pub(super) pages: Vec<Vec<Arc<Item>>>,
}

/// The snapshots that are being loaded, by scope and by the point that their answers name.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    kept: Mutex<BTreeMap<(Scope, Position), Kept>>,
}

#[derive(Debug)]
struct Kept {
    asked: Timestamp,
    pages: Arc<Pages>,
}

impl Snapshots {
    /// The snapshot that was begun at `position`, if it is still kept.
    #[must_use]
    pub(super) fn begun(&self, scope: &Scope, position: Position, now: Timestamp) -> Option<Arc<Pages>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get_mut(&(scope.clone(), position))?;
        found.asked = now;
        Some(Arc::clone(&found.pages))
    }

    /// A snapshot that was begun at `position`, by another replica it may be, if nothing in the scope has changed since: its
    /// pages are the same everywhere.
    #[must_use]
    pub(super) fn elsewhere(
        &self,
        scope: &Scope,
        table: &PushTable,
        position: Position,
        now: Timestamp,
    ) -> Option<Arc<Pages>> {
        let is_same = position <= table.position() && table.changed(scope) <= position;
        is_same.then(|| self.fresh(scope, table, position, now))
    }

    /// A snapshot of the table, as one at a point since which nothing in the scope has changed. Pages are made again only if
    /// something has.
    #[must_use]
    pub(super) fn fresh(&self, scope: &Scope, table: &PushTable, position: Position, now: Timestamp) -> Arc<Pages> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now.since(kept.asked) < KEEP);
        let changed = table.changed(scope);
        let same = kept.iter().find(|((of, _), kept)| of == scope && kept.pages.changed == changed);
        let pages = same
            .map(|(_, kept)| Arc::clone(&kept.pages))
            .unwrap_or_else(|| Arc::new(Pages { changed, table_hash: table.hash(scope), pages: table.pages(scope) }));
        if kept.len() < MANY || position == table.position() {
            kept.insert((scope.clone(), position), Kept { asked: now, pages: Arc::clone(&pages) });
        }
        pages
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::push::table::ItemChange;

    fn at(epoch: u64, revision: u64) -> Position {
        Position { epoch, revision }
    }

    fn put(revision: u64, home: &str) -> ItemChange {
        let (key, body) = (format!("grant/{revision}"), RawValue::from_string(format!("\"{revision}\"")).unwrap());
        ItemChange { revision, home: Some(home.into()), key: key.clone(), item: Some(Item { key, body }) }
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
            let pages = here.elsewhere(&scope, &table, position, now);
            assert_eq!(pages.is_some(), goes_on, "{position:?}");
            assert_eq!(here.begun(&scope, position, now).is_some(), goes_on, "{position:?}");
            let Some(pages) = pages else { continue };
            let keys = |pages: &Pages| -> Vec<Vec<String>> {
                pages.pages.iter().map(|page| page.iter().map(|item| item.key.clone()).collect()).collect()
            };
            assert_eq!((keys(&pages), pages.table_hash), (keys(&begun), begun.table_hash));
        }
    }

    #[test]
    fn no_question_makes_many_points_be_kept() {
        let scope = Scope::of(&["a".to_owned()]);
        let table = PushTable::load(at(1, 10_000), 0, vec![put(3, "a")]);
        let (snapshots, now) = (Snapshots::default(), Timestamp::from_millis(1));
        for revision in 3..10_000 {
            assert!(snapshots.elsewhere(&scope, &table, at(1, revision), now).is_some());
        }
        assert_eq!(snapshots.kept.lock().unwrap().len(), MANY);
        let pages = snapshots.fresh(&scope, &table, table.position(), now);
        assert!(snapshots.begun(&scope, table.position(), now).is_some());
        let later = snapshots.fresh(&scope, &table, table.position(), now.plus(KEEP));
        assert!(!Arc::ptr_eq(&pages, &later));
        assert_eq!(snapshots.kept.lock().unwrap().len(), 1, "those that nobody asks for go");
    }
}
