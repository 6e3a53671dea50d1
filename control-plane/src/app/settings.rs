//! What an [`super::App`] is opened with.

use std::sync::Arc;

use grantmesh_shared::engine::Subject;

use crate::audit::LogKey;
use crate::clock::{Clock, Random, SteadyClock, SystemRandom};

/// Settings of the use cases. Made by the configuration, or by a test.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `sqlite:PATH` or `postgres://…`.
    pub database: String,
    /// Who may change the policy and revoke any grant.
    pub operators: Vec<Subject>,
    /// Who may read everything.
    pub auditors: Vec<Subject>,
    /// Signs checkpoints.
    pub log_key: LogKey,
    /// Bounds.
    pub limits: Limits,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub random: Arc<dyn Random>,
}

impl Settings {
    /// Settings with the machine's clock and random source, without operators or auditors.
    #[must_use]
    pub fn new(database: impl Into<String>, log_key: LogKey) -> Self {
        Self {
            database: database.into(),
            operators: Vec::new(),
            auditors: Vec::new(),
            log_key,
            limits: Limits::default(),
            clock: Arc::new(SteadyClock::default()),
            random: Arc::new(SystemRandom),
        }
    }
}

/// Bounds of the use cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most things on one page.
    pub page: u32,
    /// For how many revisions the removal of a table item is remembered; a filter that is further behind gets a snapshot.
    pub tombstone_revisions: u64,
    /// How many things a reconciler changes in one transaction.
    pub reconcile_batch: u32,
    /// The most grants that are revoked at once, in one transaction.
    pub revoked: u32,
    /// How many policies are checked at once for people who need not be operators.
    pub checks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { page: 200, tombstone_revisions: 10_000, reconcile_batch: 500, revoked: 10_000, checks: 2 }
    }
}
