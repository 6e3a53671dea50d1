//! What a filter holds, with the hash of every item: a change is first understood in every part and its hash compared,
//! and only then touches the table; of a step in pages the hash is that of its last one. Pages of a snapshot build a table
//! apart, which takes the other's place all at once. Nothing takes long, whatever the table's size: pages are small, and a
//! table that has had its day is freed in parts.

use std::collections::{HashMap, HashSet};

use grantmesh_shared::engine::Table;
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::{EngineItem, Item, ItemKey, hash_of_grant};

use super::SyncError;
use crate::clock::Mono;
use crate::fence::{MAX_TABLE_BYTES, add_sealed};

/// The most items of a table.
const MAX_ITEMS: usize = 2_000_000;

/// The most bytes of a snapshot's items.
const MAX_SNAPSHOT_BYTES: usize = 1 << 30;

/// The table and the hash of what is in it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    table: Table,
    /// The hashes of what is no grant; a grant's is the table's to tell.
    others: HashMap<Box<str>, TableHash>,
    hash: TableHash,
}

impl Contents {
    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    pub(super) const fn hash(&self) -> TableHash {
        self.hash
    }

    pub(super) fn len(&self) -> usize {
        self.others.len().saturating_add(self.table.grant_count())
    }

    pub(super) fn check_hash(&self, expected: TableHash) -> Result<(), SyncError> {
        if self.hash == expected { Ok(()) } else { Err(SyncError::TableHash) }
    }

    /// The hash of the item of this key, if there is one.
    fn hash_of(&self, key: &str) -> Result<Option<TableHash>, SyncError> {
        Ok(match ItemKey::parse(key)? {
            ItemKey::Grant(id) => hash_of_grant(&self.table, &id),
            _ => self.others.get(key).copied(),
        })
    }

    fn has(&self, item: &Item, parsed: &EngineItem) -> bool {
        match parsed {
            EngineItem::Grant(grant) => self.table.grant(&grant.id).is_some(),
            _ => self.others.contains_key(item.key.as_str()),
        }
    }

    fn put(&mut self, item: &Item, parsed: EngineItem, hash: TableHash) {
        if let Some(other) = parsed.put_grant_into(&mut self.table, item, hash) {
            other.put_into(&mut self.table);
            self.others.insert(item.key.as_str().into(), hash);
        }
    }

    /// Applies a step or a page of one, all of it or nothing; not if the table then has not the hash that it must have, where
    /// that is known.
    pub(super) fn apply(
        &mut self,
        puts: &[Item],
        removes: &[String],
        expected: Option<TableHash>,
    ) -> Result<(), SyncError> {
        let mut hash = self.hash;
        let mut changed: HashSet<&str> = HashSet::new();
        let mut parsed = Vec::with_capacity(puts.len());
        for item in puts {
            let new = item.hash();
            if !changed.insert(&item.key) {
                return Err(SyncError::Twice(item.key.clone()));
            }
            parsed.push((item, item.parse()?, new));
            hash = hash.plus(new);
        }
        let mut gone = Vec::with_capacity(removes.len());
        for key in removes {
            if !changed.insert(key) {
                return Err(SyncError::Twice(key.clone()));
            }
            gone.push((key, ItemKey::parse(key)?));
        }
        for key in changed {
            if let Some(old) = self.hash_of(key)? {
                hash = hash.minus(old);
            }
        }
        if expected.is_some_and(|expected| hash != expected) {
            return Err(SyncError::TableHash);
        }
        if self.len().saturating_add(puts.len()) > MAX_ITEMS {
            return Err(SyncError::TooLarge);
        }
        for (text, key) in gone {
            key.remove_from(&mut self.table);
            self.others.remove(text.as_str());
        }
        for (item, parsed, hash) in parsed {
            self.put(item, parsed, hash);
        }
        self.hash = hash;
        Ok(())
    }
}

/// A step of which some pages are applied.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) position: Position,
    pub(super) expected: TableHash,
    /// When its first page was asked for.
    pub(super) begun: Mono,
    pub(super) next: u32,
    /// How often in a row the next one was asked for and did not come.
    pub(super) missed: u32,
}

/// The pages of a snapshot so far.
#[derive(Debug)]
pub(super) struct Pages {
    position: Position,
    expected: TableHash,
    /// When the first page was asked for: what the snapshot shows was current then.
    begun: Mono,
    next: u32,
    bytes: usize,
    contents: Contents,
    /// How often in a row the next one was asked for and did not come.
    missed: u32,
    /// All of them as they were signed, while they are few.
    signed: Option<Vec<u8>>,
}

impl Pages {
    pub(super) fn new(position: Position, expected: TableHash, begun: Mono) -> Self {
        let (contents, signed) = (Contents::default(), Some(Vec::new()));
        Self { position, expected, begun, next: 0, bytes: 0, contents, missed: 0, signed }
    }

    pub(super) const fn position(&self) -> Position {
        self.position
    }

    pub(super) const fn next_index(&self) -> u32 {
        self.next
    }

    pub(super) const fn begun(&self) -> Mono {
        self.begun
    }

    /// Adds the next page.
    pub(super) fn add(
        &mut self,
        index: u32,
        position: Position,
        expected: TableHash,
        puts: &[Item],
    ) -> Result<(), SyncError> {
        if index != self.next || position != self.position || expected != self.expected {
            return Err(SyncError::Unexpected);
        }
        self.next = self.next.saturating_add(1);
        self.missed = 0;
        for item in puts {
            self.bytes = self.bytes.saturating_add(item.key.len()).saturating_add(item.body.get().len());
            if self.bytes > MAX_SNAPSHOT_BYTES || self.contents.len() >= MAX_ITEMS {
                return Err(SyncError::TooLarge);
            }
            let (hash, parsed) = (item.hash(), item.parse()?);
            if self.contents.has(item, &parsed) {
                return Err(SyncError::Twice(item.key.clone()));
            }
            self.contents.put(item, parsed, hash);
            self.contents.hash = self.contents.hash.plus(hash);
        }
        Ok(())
    }

    /// How often in a row the next page was asked for and did not come.
    pub(super) const fn missed(&mut self) -> &mut u32 {
        &mut self.missed
    }

    /// Keeps the page that was added last as it was signed, for other VMs.
    pub(super) fn keep(&mut self, signature: &[u8], body: &[u8]) {
        if let Some(signed) = &mut self.signed {
            add_sealed(signed, signature, body);
        }
        self.signed = self.signed.take().filter(|signed| signed.len() <= MAX_TABLE_BYTES);
    }

    /// All pages as they were signed; nothing if they are too many to be kept.
    pub(super) const fn take_signed(&mut self) -> Option<Vec<u8>> {
        self.signed.take()
    }

    /// Whether what the pages have brought is what it must be.
    pub(super) fn check(&self) -> Result<(), SyncError> {
        self.contents.check_hash(self.expected)
    }

    /// What the pages have brought, right or not.
    pub(super) fn into_contents(self) -> Contents {
        self.contents
    }
}

/// Tables that have had their day, freed in parts: to drop one of a million grants at once would stop a worker.
#[derive(Debug, Default)]
pub(super) struct Retired(Vec<Table>);

impl Retired {
    pub(super) fn take(&mut self, contents: Contents) {
        self.0.push(contents.table);
    }

    /// Frees a part of one.
    pub(super) fn free_some(&mut self) {
        if self.0.last_mut().is_some_and(|table| !table.free_some()) {
            self.0.pop();
        }
    }

    /// Whether nothing is left to free.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
