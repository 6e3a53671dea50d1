//! What a filter holds, with the hash of every item: a change is first understood in every part and its hash compared,
//! and only then touches the table. Pages of a snapshot are collected apart and take the table's place all at once.

use std::collections::HashMap;

use grantmesh_shared::engine::Table;
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::{EngineItem, Item, ItemKey};

use super::SyncError;
use crate::clock::Mono;

/// The most items of a table.
const MAX_ITEMS: usize = 2_000_000;

/// The most bytes of a snapshot's items.
const MAX_SNAPSHOT_BYTES: usize = 1 << 30;

/// The table and the hashes of what is in it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    table: Table,
    items: HashMap<Box<str>, TableHash>,
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
        self.items.len()
    }

    pub(super) fn check_hash(&self, expected: TableHash) -> Result<(), SyncError> {
        if self.hash == expected { Ok(()) } else { Err(SyncError::TableHash) }
    }

    /// Applies a step, all of it or nothing.
    pub(super) fn apply(&mut self, puts: &[Item], removes: &[String], expected: TableHash) -> Result<(), SyncError> {
        let mut hash = self.hash;
        let mut changed: HashMap<&str, Option<TableHash>> = HashMap::new();
        let mut parsed = Vec::with_capacity(puts.len());
        for item in puts {
            let new = item.hash();
            if changed.insert(&item.key, Some(new)).is_some() {
                return Err(SyncError::Twice(item.key.clone()));
            }
            parsed.push(item.parse()?);
            hash = hash.plus(new);
        }
        let mut gone = Vec::with_capacity(removes.len());
        for key in removes {
            if changed.insert(key, None).is_some() {
                return Err(SyncError::Twice(key.clone()));
            }
            gone.push(ItemKey::parse(key)?);
        }
        for old in changed.keys().filter_map(|key| self.items.get(*key)) {
            hash = hash.minus(*old);
        }
        if hash != expected {
            return Err(SyncError::TableHash);
        }
        if self.items.len().saturating_add(puts.len()) > MAX_ITEMS {
            return Err(SyncError::TooLarge);
        }
        for key in gone {
            key.remove_from(&mut self.table);
        }
        for item in parsed {
            item.put_into(&mut self.table);
        }
        for (key, new) in changed {
            match new {
                Some(new) => self.items.insert(key.into(), new),
                None => self.items.remove(key),
            };
        }
        self.hash = hash;
        Ok(())
    }
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
    hash: TableHash,
    items: HashMap<Box<str>, TableHash>,
    parsed: Vec<EngineItem>,
}

impl Pages {
    pub(super) fn new(position: Position, expected: TableHash, begun: Mono) -> Self {
        Self {
            position,
            expected,
            begun,
            next: 0,
            bytes: 0,
            hash: TableHash::default(),
            items: HashMap::new(),
            parsed: Vec::new(),
        }
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
        for item in puts {
            self.bytes = self.bytes.saturating_add(item.key.len()).saturating_add(item.body.get().len());
            if self.bytes > MAX_SNAPSHOT_BYTES || self.items.len() >= MAX_ITEMS {
                return Err(SyncError::TooLarge);
            }
            let hash = item.hash();
            if self.items.insert(item.key.as_str().into(), hash).is_some() {
                return Err(SyncError::Twice(item.key.clone()));
            }
            self.parsed.push(item.parse()?);
            self.hash = self.hash.plus(hash);
        }
        Ok(())
    }

    /// The whole table, if it is the right one.
    pub(super) fn finish(self) -> Result<Contents, SyncError> {
        if self.hash != self.expected {
            return Err(SyncError::TableHash);
        }
        let mut table = Table::default();
        for item in self.parsed {
            item.put_into(&mut table);
        }
        Ok(Contents { table, items: self.items, hash: self.hash })
    }
}
