//! Checking, applying and reading the policy.

use grantmesh_shared::id::PolicyId;
use grantmesh_shared::wire::policy::{Policy, PolicyFault, PolicyFile};

use super::{App, AppError};
use crate::domain::{Actor, PolicyVersion};

/// A policy to apply.
#[derive(Debug, Clone)]
pub struct NewPolicy {
    /// All files; what is not in them is no longer in the policy.
    pub files: Vec<PolicyFile>,
    /// Why.
    pub message: Option<String>,
    /// The version that the files were made from; nothing to apply over whatever is there.
    pub expected: Option<PolicyId>,
}

/// Reads and checks policy files. Pure; also the CLI's `policy check`.
///
/// # Errors
/// Every fault.
pub fn compile_policy(_files: &[PolicyFile]) -> Result<Policy, Vec<PolicyFault>> {
    unimplemented!()
}

impl App {
    /// The policy in force; nothing before the first. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither.
    pub async fn policy(&self, _actor: &Actor) -> Result<Option<PolicyVersion>, AppError> {
        unimplemented!()
    }

    /// Puts a policy in force. For operators.
    ///
    /// # Errors
    /// If the actor is none, the policy has faults, or another version is in force than expected.
    pub async fn apply_policy(&self, _actor: &Actor, _new: NewPolicy) -> Result<PolicyVersion, AppError> {
        unimplemented!()
    }

    /// The faults of a policy; none if it could be applied. For everyone: it says nothing about the policy in force.
    ///
    /// # Errors
    /// If the check could not run.
    pub async fn check_policy(&self, _files: Vec<PolicyFile>) -> Result<Vec<PolicyFault>, AppError> {
        unimplemented!()
    }
}
