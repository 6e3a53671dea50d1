//! Who may see and do what, over the rulebook of the policy in force.

/// Compiled services by the hash of their text, so that a transaction compiles nothing that is known.
#[derive(Debug, Default)]
pub(super) struct ServiceCache;
