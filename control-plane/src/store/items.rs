//! The items of filters' tables, with tombstones for what was removed lately.

use grantmesh_shared::wire::table::Body;

use super::tx::{Row, Tx, args};
use super::{Head, StoreError, WriteTx};

/// An item of filters' tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// Its key, `grant/…`.
    pub key: String,
    /// The service whose filters need it; nothing if all do.
    pub service: Option<String>,
    /// When it changed last.
    pub revision: u64,
    /// The exact JSON of its body; nothing if it was removed.
    pub body: Option<String>,
    /// Whether it was put for the first time then: nothing was there of it before, that anybody remembers.
    pub is_first: bool,
}

const TABLE: (&str, &str) = ("table_items", "item_key");

impl TryFrom<Row> for StoredItem {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            key: row.text("item_key")?,
            service: row.opt_text("service")?,
            revision: row.unsigned("revision")?,
            body: row.opt_text("body")?,
            is_first: row.unsigned::<u8>("is_first")? == 1,
        })
    }
}

impl Tx {
    /// Items and tombstones after a revision.
    pub(crate) async fn items_since(&mut self, revision: u64) -> Result<Vec<StoredItem>, StoreError> {
        let sql = "SELECT item_key, service, revision, body, is_first FROM table_items WHERE revision > $1 ORDER BY revision, item_key";
        self.rows(TABLE, sql, args![revision]).await?.into_iter().map(StoredItem::try_from).collect()
    }

    /// The body of one item; nothing if it is not there.
    pub(crate) async fn item_body(&mut self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT item_key, body FROM table_items WHERE item_key = $1 AND body IS NOT NULL";
        self.row(TABLE, sql, args![key]).await?.map(|row| row.text("body")).transpose()
    }

    /// All items, no tombstones.
    pub(crate) async fn all_items(&mut self) -> Result<Vec<StoredItem>, StoreError> {
        let sql = "SELECT item_key, service, revision, body, is_first FROM table_items WHERE body IS NOT NULL ORDER BY revision, item_key";
        self.rows(TABLE, sql, args![]).await?.into_iter().map(StoredItem::try_from).collect()
    }

    /// Drops old tombstones once enough of them may be there; gives the delta floor from now on.
    pub(super) async fn prune_tombstones(&mut self, head: &Head, keep: u64) -> Result<u64, StoreError> {
        let floor = head.position.revision.saturating_sub(keep);
        // Every `keep` revisions is often enough: at most twice as many are kept.
        if floor < head.delta_floor.saturating_add(keep.max(1)) {
            return Ok(head.delta_floor);
        }
        let sql = "DELETE FROM table_items WHERE body IS NULL AND revision <= $1";
        self.execute(sql, args![floor]).await?;
        Ok(floor)
    }
}

impl WriteTx {
    /// Puts an item, in exactly this body.
    pub(crate) async fn put_item(&mut self, key: &str, service: Option<&str>, body: &str) -> Result<(), StoreError> {
        self.change();
        let sql = "INSERT INTO table_items (item_key, service, revision, body, is_first) VALUES ($1, $2, $3, $4, 1) \
                   ON CONFLICT (item_key) DO UPDATE SET service = excluded.service, revision = excluded.revision, \
                   body = excluded.body, is_first = 0";
        let values = args![key, service, self.revision(), body];
        self.execute(sql, values).await.map(drop)
    }

    /// Leaves a tombstone in the place of an item.
    pub(crate) async fn remove_item(&mut self, body: &Body) -> Result<(), StoreError> {
        self.remove_item_of(&body.key()).await
    }

    /// Leaves a tombstone under a key.
    pub(crate) async fn remove_item_of(&mut self, key: &str) -> Result<(), StoreError> {
        self.change();
        let sql = "UPDATE table_items SET revision = $1, body = NULL WHERE item_key = $2 AND body IS NOT NULL";
        let values = args![self.revision(), key];
        self.execute_one("table_items", key, sql, values).await
    }
}
