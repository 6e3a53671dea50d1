//! The audit log's entries and hashes as they are kept.

use super::StoreError;
use super::tx::{Tx, Value, args};
use crate::audit::{Frontier, LogHash, leaf_index};

/// An entry with its place.
#[derive(Debug, Clone)]
pub(crate) struct StoredEntry {
    pub(crate) seq: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A hash with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredHash {
    pub(crate) idx: u64,
    pub(crate) hash: LogHash,
}

impl Tx {
    /// Up to `limit` entries from `from` on.
    pub(crate) async fn log_entries(&mut self, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let sql = "SELECT seq, entry FROM log_entries WHERE seq >= $1 ORDER BY seq LIMIT $2";
        let rows = self.rows(("log_entries", "seq"), sql, args![from, limit]).await?;
        rows.iter().map(|row| Ok(StoredEntry { seq: row.unsigned("seq")?, bytes: row.bytes("entry")? })).collect()
    }

    /// The stored hashes from one index to before another.
    pub(crate) async fn log_hashes(&mut self, from: u64, to: u64) -> Result<Vec<StoredHash>, StoreError> {
        let sql = "SELECT idx, hash FROM log_hashes WHERE idx >= $1 AND idx < $2 ORDER BY idx";
        let rows = self.rows(("log_hashes", "idx"), sql, args![from, to]).await?;
        rows.iter().map(|row| Ok(StoredHash { idx: row.unsigned("idx")?, hash: LogHash(row.hash("hash")?) })).collect()
    }

    /// The leaf hashes of up to `count` entries from `from` on.
    pub(crate) async fn leaf_hashes(&mut self, from: u64, count: u64) -> Result<Vec<LogHash>, StoreError> {
        let to = from.saturating_add(count);
        let stored = self.log_hashes(leaf_index(from), leaf_index(to)).await?;
        let mut leaves = (from..to).map(leaf_index).peekable();
        Ok(stored
            .into_iter()
            .filter(|stored| leaves.next_if_eq(&stored.idx).is_some())
            .map(|stored| stored.hash)
            .collect())
    }

    /// The frontier of a log of that size, checked against the root.
    pub(crate) async fn log_frontier(&mut self, size: u64, root: LogHash) -> Result<Frontier, StoreError> {
        let mut hashes = Vec::new();
        for index in Frontier::indexes(size) {
            hashes.extend(self.log_hashes(index, index.saturating_add(1)).await?);
        }
        let hashes: Vec<LogHash> = hashes.into_iter().map(|stored| stored.hash).collect();
        Ok(Frontier::load(size, &hashes, root)?)
    }

    pub(super) async fn insert_log(
        &mut self,
        entries: Vec<StoredEntry>,
        hashes: Vec<StoredHash>,
    ) -> Result<(), StoreError> {
        let entries = entries.into_iter().flat_map(|entry| [Value::from(entry.seq), entry.bytes.into()]).collect();
        self.insert_many("INSERT INTO log_entries (seq, entry)", 2, entries).await?;
        let hashes = hashes.into_iter().flat_map(|hash| [Value::from(hash.idx), hash.hash.0.to_vec().into()]).collect();
        self.insert_many("INSERT INTO log_hashes (idx, hash)", 2, hashes).await
    }
}
