//! One applied version of the policy, as people see it. What it says is compiled elsewhere (`grantmesh_shared::wire::policy`).

use grantmesh_shared::engine::User;
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::PolicyFile;

use super::text::Text;

/// The name of a service.
pub type ServiceName = Box<str>;

/// An applied version of the policy.
#[derive(Debug, Clone)]
pub struct PolicyVersion {
    /// Its id.
    pub id: PolicyId,
    /// The version it replaced.
    pub previous: Option<PolicyId>,
    /// Who applied it.
    pub author: User,
    /// Why.
    pub message: Option<Text>,
    /// When.
    pub applied_at: Timestamp,
    /// The files as they were given.
    pub files: Vec<PolicyFile>,
    /// The services it defines, sorted.
    pub services: Vec<ServiceName>,
}
