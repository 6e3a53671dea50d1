//! The place of a condition on the context of a call: a binding, rule or grant holds only where its condition holds.

/// Whether something holds in the context of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// No condition was stated.
    #[default]
    Always,
    /// A condition was stated that this build cannot evaluate. It never allows.
    Unsupported,
}

impl Condition {
    /// Whether something that allows may do so.
    #[must_use]
    pub const fn allows(self) -> bool {
        matches!(self, Self::Always)
    }
}
