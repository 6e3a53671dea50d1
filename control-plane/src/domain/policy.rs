//! One applied version of the policy, as people see it. What it says is compiled elsewhere (`grantmesh_shared::wire::policy`).

use grantmesh_shared::engine::User;
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::PolicyFile;
use grantmesh_shared::wire::signature::Sha256Hash;

use super::text::Text;

/// The name of a service.
pub type ServiceName = Box<str>;

/// An applied version of the policy with its files.
#[derive(Debug, Clone)]
pub struct PolicyVersion {
    /// All but its files.
    pub about: PolicyAbout,
    /// The files as they were given.
    pub files: Vec<PolicyFile>,
}

/// An applied version of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyAbout {
    /// Its id.
    pub id: PolicyId,
    /// The version it replaced.
    pub previous: Option<PolicyId>,
    /// The hash over what its documents say; nothing if it was applied before hashes were kept.
    pub digest: Option<Sha256Hash>,
    /// Who applied it.
    pub author: User,
    /// Why.
    pub message: Option<Text>,
    /// When.
    pub applied_at: Timestamp,
    /// The revision from which on it is in force.
    pub revision: u64,
    /// The services it defines, sorted.
    pub services: Vec<ServiceName>,
}

/// What must be in force for a policy to be applied over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// This version: what the new one was made from.
    Version(PolicyId),
    /// None yet.
    Nothing,
    /// Whatever it is.
    Anything,
}

impl Over {
    /// Whether that is what is in force.
    #[must_use]
    pub fn is(&self, in_force: Option<&PolicyId>) -> bool {
        match self {
            Self::Version(expected) => in_force == Some(expected),
            Self::Nothing => in_force.is_none(),
            Self::Anything => true,
        }
    }
}
