//! Reading, signing and verifying the audit log.

use super::{App, AppError};
use crate::audit::LogHash;
use crate::domain::Actor;

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
    pub async fn audit_entries(&self, _actor: &Actor, _from: u64, _limit: u32) -> Result<AuditPage, AppError> {
        unimplemented!()
    }

    /// A signed note over the log's size and root as they are now. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither, or the stored tree does not fit the root.
    pub async fn checkpoint(&self, _actor: &Actor) -> Result<String, AppError> {
        unimplemented!()
    }

    /// Recomputes the whole log from the database.
    ///
    /// # Errors
    /// If the database cannot be read. A log that is wrong is a report with a fault.
    pub async fn verify_log(&self) -> Result<LogReport, AppError> {
        unimplemented!()
    }
}

/// Recomputes the whole log of a database without opening it for use: nothing is created, migrated or written.
///
/// # Errors
/// If the database cannot be read.
pub async fn verify_database(_database: &str) -> Result<LogReport, AppError> {
    unimplemented!()
}
