//! Who acts: a person whose token was verified at the edge.

use grantmesh_shared::engine::{Principal, Subject, User};

/// A verified user with the groups of the token that came with this action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Issuer and subject.
    pub user: User,
    /// The groups of the token, at most a few hundred.
    pub groups: Vec<String>,
}

impl Actor {
    /// A user with groups.
    #[must_use]
    pub fn new(issuer: &str, subject: &str, groups: Vec<String>) -> Self {
        Self { user: User { issuer: issuer.into(), subject: subject.into() }, groups }
    }

    /// Lends the actor as the engine's principal.
    pub fn as_principal<R>(&self, with: impl FnOnce(&Principal<'_>) -> R) -> R {
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        with(&Principal::user(&self.user.issuer, &self.user.subject, &groups))
    }

    /// Whether one of the subjects names this actor. An empty list names nobody.
    #[must_use]
    pub fn is_among(&self, subjects: &[Subject]) -> bool {
        self.as_principal(|principal| subjects.iter().any(|subject| subject.names(principal)))
    }
}
