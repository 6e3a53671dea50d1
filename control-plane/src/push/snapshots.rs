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

/// Everything in a scope.
#[derive(Debug)]
pub(super) struct Pages {
    /// The point of the last change in it.
    changed: Position,
    /// The hash of all pages together.
    pub(super) table_hash: TableHash,
    /// The pages; never none.
    pub(super) pages: Vec<Vec<Item>>,
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

    /// A snapshot at the table's point. Pages are made again only if something in the scope changed since.
    #[must_use]
    pub(super) fn fresh(&self, scope: &Scope, table: &PushTable, now: Timestamp) -> Arc<Pages> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now.since(kept.asked) < KEEP);
        let changed = table.changed(scope);
        let same = kept.iter().find(|((of, _), kept)| of == scope && kept.pages.changed == changed);
        let pages = same
            .map(|(_, kept)| Arc::clone(&kept.pages))
            .unwrap_or_else(|| Arc::new(Pages { changed, table_hash: table.hash(scope), pages: table.pages(scope) }));
        kept.insert((scope.clone(), table.position()), Kept { asked: now, pages: Arc::clone(&pages) });
        pages
    }
}
