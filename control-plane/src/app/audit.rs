//! Reading, signing and verifying the audit log.

use serde::Deserialize;

use super::{App, AppError};
use crate::audit::{Frontier, LogHash, leaf_index};
use crate::domain::Actor;
use crate::store::{Head, StoreError, StoredEntry, StoredHash, Tx, look};

/// The most entries that are read at once.
const MOST_ENTRIES: u32 = 1_000;

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place, from 0.
    pub seq: u64,
    /// Its leaf hash as stored.
    pub leaf_hash: LogHash,
    /// The JSON in exactly the bytes that were hashed.
    pub entry: String,
}

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries in order.
    pub entries: Vec<AuditEntry>,
    /// How many entries the whole log has.
    pub size: u64,
}

/// What verifying found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// How many entries the head row tells of.
    pub size: u64,
    /// The root that the head row tells.
    pub root: LogHash,
    /// How many entries were recomputed and found right.
    pub verified: u64,
    /// The first thing that is wrong, naming the entry; nothing if all is right.
    pub fault: Option<String>,
}

impl App {
    /// Entries from a place on. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither.
    pub async fn audit_entries(&self, actor: &Actor, from: u64, limit: u32) -> Result<AuditPage, AppError> {
        self.must_audit(actor, "read the audit log")?;
        let mut tx = self.read().await?;
        let size = tx.head().await?.log_size;
        let stored = tx.log_entries(from, limit.clamp(1, MOST_ENTRIES)).await?;
        let leaves = tx.leaf_hashes(from, u64::try_from(stored.len()).unwrap_or(0)).await?;
        if leaves.len() != stored.len() {
            return Err(impossible(from, "hash", "the leaf hashes of these entries are not all there").into());
        }
        let entry = |(stored, leaf_hash): (StoredEntry, LogHash)| {
            let seq = stored.seq;
            let entry =
                String::from_utf8(stored.bytes).map_err(|error| impossible(seq, "entry", &error.to_string()))?;
            Ok(AuditEntry { seq, leaf_hash, entry })
        };
        let entries = stored.into_iter().zip(leaves).map(entry).collect::<Result<_, StoreError>>()?;
        Ok(AuditPage { entries, size })
    }

    /// A signed note over the log's size and root as they are now. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither, or the stored tree does not fit the root.
    pub async fn checkpoint(&self, actor: &Actor) -> Result<String, AppError> {
        self.must_audit(actor, "read the audit log")?;
        let mut tx = self.read().await?;
        let Head { log_size, log_root, .. } = tx.head().await?;
        // Nothing is signed that the stored tree does not give.
        tx.log_frontier(log_size, log_root).await?;
        Ok(self.inner.settings.log_key.sign(log_size, log_root)?)
    }

    /// Recomputes the whole log from the database.
    ///
    /// # Errors
    /// If the database cannot be read. A log that is wrong is a report with a fault.
    pub async fn verify_log(&self) -> Result<LogReport, AppError> {
        verify(&mut self.read().await?).await
    }
}

/// Recomputes the whole log of a database without opening it for use: nothing is created, migrated or written.
///
/// # Errors
/// If the database cannot be read.
pub async fn verify_database(database: &str) -> Result<LogReport, AppError> {
    verify(&mut look(database).await?).await
}

fn impossible(seq: u64, column: &'static str, why: &str) -> StoreError {
    StoreError::Impossible { table: "log_entries", column, row: seq.to_string(), why: why.to_owned() }
}

async fn verify(tx: &mut Tx) -> Result<LogReport, AppError> {
    let head = tx.head().await?;
    let mut frontier = Frontier::default();
    let mut fault = None;
    while fault.is_none() {
        let from = frontier.size();
        let entries = tx.log_entries(from, MOST_ENTRIES).await?;
        let Some(last) = entries.last() else { break };
        let hashes = tx.log_hashes(leaf_index(from), leaf_index(last.seq.saturating_add(1))).await?;
        fault = verify_part(&mut frontier, &entries, &hashes)?;
    }
    if fault.is_none() {
        fault = verify_end(tx, &head, &frontier).await?;
    }
    Ok(LogReport { size: head.log_size, root: head.log_root, verified: frontier.size(), fault })
}

/// Recomputes a run of entries; gives the first thing that is wrong.
fn verify_part(
    frontier: &mut Frontier,
    entries: &[StoredEntry],
    hashes: &[StoredHash],
) -> Result<Option<String>, AppError> {
    let mut stored = hashes.iter();
    for entry in entries {
        let seq = frontier.size();
        if entry.seq != seq {
            return Ok(Some(format!("entry {seq} is missing")));
        }
        if let Some(why) = misread(seq, &entry.bytes) {
            return Ok(Some(format!("entry {seq} is not an entry of this place: {why}")));
        }
        // Grown on a copy: an entry that is wrong is not counted as verified.
        let mut grown = frontier.clone();
        for (level, (idx, hash)) in grown.append(LogHash::of_entry(&entry.bytes))?.into_iter().enumerate() {
            let is = stored.next().filter(|stored| stored.idx == idx);
            match is {
                Some(stored) if stored.hash == hash => {}
                Some(_) if level == 0 => {
                    return Ok(Some(format!("entry {seq} does not have its stored leaf hash")));
                }
                Some(_) => {
                    return Ok(Some(format!(
                        "entry {seq}: the node hash at {idx} is not that of the entries under it"
                    )));
                }
                None => return Ok(Some(format!("entry {seq}: the hash at {idx} is missing"))),
            }
        }
        *frontier = grown;
    }
    Ok(None)
}

/// Whether the bytes say of themselves that they stand elsewhere, or nothing at all.
fn misread(seq: u64, bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Placed {
        v: u8,
        seq: u64,
    }
    match serde_json::from_slice::<Placed>(bytes) {
        Ok(Placed { v: 1, seq: said }) if said == seq => None,
        Ok(Placed { v, seq: said }) => Some(format!("it says it is entry {said} of version {v}")),
        Err(error) => Some(error.to_string()),
    }
}

async fn verify_end(tx: &mut Tx, head: &Head, frontier: &Frontier) -> Result<Option<String>, AppError> {
    let size = frontier.size();
    if size < head.log_size {
        return Ok(Some(format!("entry {size} is missing: the head row tells of {} entries", head.log_size)));
    }
    if size > head.log_size {
        return Ok(Some(format!(
            "entry {} is not in the head row, which tells of {} entries",
            head.log_size, head.log_size
        )));
    }
    let root = frontier.root()?;
    if root != head.log_root {
        return Ok(Some(format!("the head row's root is {}, the entries give {root}", head.log_root)));
    }
    let beyond = tx.log_hashes(leaf_index(size), u64::MAX).await?;
    Ok(beyond.first().map(|stored| format!("the hash at {} belongs to no entry", stored.idx)))
}
