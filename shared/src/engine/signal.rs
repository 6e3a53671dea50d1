//! A signal as the data plane holds it: a named fact that people set for a while, `incident.open`.

use crate::time::Timestamp;

/// A signal that is set. One that is not in the table, or has ended, is false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its name.
    pub name: Box<str>,
    /// First moment at which it no longer holds.
    pub expires_at: Timestamp,
}
