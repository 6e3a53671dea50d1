//! What a filter holds, with the hash of every item: a change is first understood in every part and its hash compared,
//! and only then touches the table; of a step in pages the hash is that of its last one, and some of them are understood when
//! they come and applied with the next. Pages of a snapshot build a table apart, which takes the other's place all at once.
//! Nothing takes long, whatever the table's size: pages are small, and tables and services that have had their day are freed
//! in parts.

use std::collections::HashMap;

use grantmesh_shared::engine::{Service, Table};
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

/// The most bytes that a step changes at one go.
const MAX_STEP_BYTES: usize = 2 << 20;

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

    pub(super) fn into_table(self) -> Table {
        self.table
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

    /// Puts an item in; gives the service that it replaces.
    fn put(&mut self, item: &Item, parsed: EngineItem, hash: TableHash) -> Option<Service> {
        let other = parsed.put_grant_into(&mut self.table, item, hash)?;
        self.others.insert(item.key.as_str().into(), hash);
        other.put_into(&mut self.table)
    }

    /// Understands what a step or a page of one changes, after what was understood already; the table stays as it is.
    pub(super) fn understand(
        &self,
        understood: Option<Changes>,
        puts: Vec<Item>,
        removes: Vec<String>,
    ) -> Result<Changes, SyncError> {
        let mut changes = understood.unwrap_or_else(|| Changes { hash: self.hash, ..Changes::default() });
        for key in puts.iter().map(|item| &item.key).chain(&removes) {
            let old = self.hash_of(key)?.unwrap_or_default();
            if changes.old.insert(key.as_str().into(), old).is_some() {
                return Err(SyncError::Twice(key.clone()));
            }
            changes.hash = changes.hash.minus(old);
        }
        for key in removes {
            changes.bytes = changes.bytes.saturating_add(key.len());
            changes.removes.push((ItemKey::parse(&key)?, key));
        }
        for item in puts {
            let hash = item.hash();
            changes.hash = changes.hash.plus(hash);
            changes.bytes = changes.bytes.saturating_add(item.key.len()).saturating_add(item.body.get().len());
            changes.puts.push((item.parse()?, item, hash));
        }
        if self.len().saturating_add(changes.puts.len()) > MAX_ITEMS || changes.bytes > MAX_STEP_BYTES {
            return Err(SyncError::TooLarge);
        }
        Ok(changes)
    }

    /// Applies changes that were understood from what the table is now; nothing if it would not have the hash that it must have,
    /// where that is known. Gives the services that are gone.
    pub(super) fn apply(&mut self, changes: Changes, expected: Option<TableHash>) -> Result<Table, SyncError> {
        if expected.is_some_and(|expected| changes.hash != expected) {
            return Err(SyncError::TableHash);
        }
        let mut gone = Table::default();
        for (key, text) in &changes.removes {
            key.remove_from(&mut self.table).and_then(|service| gone.put_service(service));
            self.others.remove(text.as_str());
        }
        for (parsed, item, hash) in changes.puts {
            self.put(&item, parsed, hash).and_then(|service| gone.put_service(service));
        }
        self.hash = changes.hash;
        Ok(gone)
    }
}

/// What pages of a step change, understood and not yet made.
#[derive(Debug, Default)]
pub(super) struct Changes {
    puts: Vec<(EngineItem, Item, TableHash)>,
    removes: Vec<(ItemKey, String)>,
    /// The hashes of the items that were there, by the keys of all of them; that of no item is zero. No more than which keys
    /// there are is asked of it; a set of them would be another kind of map in the module.
    old: HashMap<Box<str>, TableHash>,
    /// The table's, once they are made.
    hash: TableHash,
    bytes: usize,
}

impl Changes {
    /// The services that would have been put.
    pub(super) fn into_services(self) -> Table {
        let mut table = Table::default();
        for (parsed, ..) in self.puts {
            if let EngineItem::Service(service) = parsed {
                table.put_service(*service);
            }
        }
        table
    }
}

/// A step of which some pages are there.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) position: Position,
    pub(super) expected: TableHash,
    /// When its first page was asked for.
    pub(super) begun: Mono,
    pub(super) next: u32,
    pub(super) cut: u32,
    /// How often in a row the next one was asked for and did not come.
    pub(super) missed: u32,
    /// What came to be applied with the next one.
    pub(super) understood: Option<Changes>,
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
    pub(super) fn take(&mut self, table: Table) {
        if table.grant_count() > 0 || table.services().next().is_some() {
            self.0.push(table);
        }
    }

    /// Frees a part of one.
    pub(super) fn free_some(&mut self) {
        if self.0.first_mut().is_some_and(|table| !table.free_some()) {
            self.0.remove(0);
        }
    }

    /// Whether nothing is left to free.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
