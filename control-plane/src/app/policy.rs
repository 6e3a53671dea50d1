//! Checking and reading the policy. Putting one in force is in [`apply`].

mod apply;

use std::sync::Arc;

use grantmesh_shared::id::PolicyId;
use grantmesh_shared::wire::policy::{Documents, Examined, Policy, PolicyFault, PolicyFile, examine, parse, read};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::table::Body;

use super::{App, AppError, Listed, Page};
use crate::domain::{Actor, PolicyAbout, PolicyVersion};
use crate::store::Tx;
pub use apply::{Applied, NewPolicy};

/// What there is to say about policy files.
#[derive(Debug)]
pub struct CheckedPolicy {
    /// The policy, or every fault.
    pub policy: Result<Policy, Vec<PolicyFault>>,
    /// The hash over what the documents say; nothing if they cannot be read.
    pub digest: Option<Sha256Hash>,
    /// What is allowed and probably not meant; never a reason to refuse.
    pub warnings: Vec<PolicyFault>,
}

/// Reads and checks policy files. Pure; also the CLI's `policy check`.
pub fn examine_policy(files: &[PolicyFile]) -> CheckedPolicy {
    if files.is_empty() {
        let help = Some("name at least one file; a policy without services is a file with a comment".to_owned());
        let message = "there are no files".to_owned();
        let fault = PolicyFault { file: String::new(), line: 0, column: 0, message, help };
        return CheckedPolicy { policy: Err(vec![fault]), digest: None, warnings: Vec::new() };
    }
    match read(files) {
        Ok(documents) => examine_documents(&documents),
        Err(faults) => CheckedPolicy { policy: Err(faults), digest: None, warnings: Vec::new() },
    }
}

/// Checks documents that were read. Pure.
pub fn examine_documents(documents: &Documents) -> CheckedPolicy {
    let Examined { policy, warnings } = examine(documents);
    CheckedPolicy { policy: policy.and_then(usable), digest: documents.digest().ok(), warnings }
}

/// What [`examine_policy`] says, without warnings.
///
/// # Errors
/// Every fault.
pub fn compile_policy(files: &[PolicyFile]) -> Result<Policy, Vec<PolicyFault>> {
    examine_policy(files).policy
}

/// What the engine itself would refuse must never get to a filter.
fn usable(policy: Policy) -> Result<Policy, Vec<PolicyFault>> {
    for service in &policy.services {
        let item = Body::Service(service.clone()).into_item();
        if let Err(text) =
            item.map_err(|error| error.to_string()).and_then(|item| item.parse().map_err(|error| error.to_string()))
        {
            let message = format!("the service `{}` cannot be used: {text}", service.name);
            return Err(vec![PolicyFault { file: String::new(), line: 0, column: 0, message, help: None }]);
        }
    }
    Ok(policy)
}

impl App {
    /// The policy in force; nothing before the first. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither.
    pub async fn policy(&self, actor: &Actor) -> Result<Option<PolicyVersion>, AppError> {
        self.must_audit(actor, "read the policy")?;
        let mut tx = self.read().await?;
        let id = tx.current_policy().await?;
        version(&mut tx, id).await
    }

    /// The policy that was in force at a revision; nothing before the first. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither.
    pub async fn policy_at(&self, actor: &Actor, revision: u64) -> Result<Option<PolicyVersion>, AppError> {
        self.must_audit(actor, "read the policy")?;
        let mut tx = self.read().await?;
        let id = tx.policy_at(revision).await?;
        version(&mut tx, id).await
    }

    /// One version of the policy. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither, or there is none of that id.
    pub async fn policy_version(&self, actor: &Actor, id: &PolicyId) -> Result<PolicyVersion, AppError> {
        self.must_audit(actor, "read the policy")?;
        let found = version(&mut self.read().await?, Some(id.clone())).await?;
        found.ok_or_else(|| AppError::not_found("policy", id.as_str()))
    }

    /// All versions of the policy, newest first. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither.
    pub async fn policy_history(&self, actor: &Actor, page: &Page) -> Result<Listed<PolicyAbout>, AppError> {
        self.must_audit(actor, "read the policy")?;
        let most = self.inner.settings.limits.page.max(1);
        let limit = page.limit.unwrap_or(most).clamp(1, most);
        let before = page.cursor.as_deref().map_or(u64::MAX, |cursor| cursor.parse().unwrap_or(0));
        let items = self.read().await?.policies_before(before, limit.saturating_add(1)).await?;
        Ok(Listed::up_to(items, limit, |about| about.revision.to_string()))
    }

    /// Faults and warnings of a policy. For everyone: it says nothing about the policy in force. Only a few are checked at
    /// once, so that nobody takes all processors by it.
    ///
    /// # Errors
    /// If as many are being checked already, or the check could not run.
    pub async fn check_policy(&self, files: Vec<PolicyFile>) -> Result<CheckedPolicy, AppError> {
        let Ok(permit) = Arc::clone(&self.inner.checks).try_acquire_owned() else { return Err(AppError::Busy) };
        // The work goes on if nobody waits for it any more, and the permit with it.
        let examine = move || {
            let checked = examine_policy(&files);
            drop(permit);
            checked
        };
        Ok(tokio::task::spawn_blocking(examine).await?)
    }
}

/// Checks away from the threads that answer everyone else.
pub(super) async fn examined(files: Vec<PolicyFile>) -> Result<(Vec<PolicyFile>, CheckedPolicy), AppError> {
    let examine = move || {
        let checked = examine_policy(&files);
        (files, checked)
    };
    Ok(tokio::task::spawn_blocking(examine).await?)
}

/// A version with its files, also with its hash if it is from before hashes were kept.
async fn version(tx: &mut Tx, id: Option<PolicyId>) -> Result<Option<PolicyVersion>, AppError> {
    let Some(id) = id else { return Ok(None) };
    let Some(mut policy) = tx.policy(&id).await? else { return Ok(None) };
    if policy.about.digest.is_none() {
        let digested = move || {
            policy.about.digest = parse(&policy.files).ok().and_then(|documents| documents.digest().ok());
            policy
        };
        return Ok(Some(tokio::task::spawn_blocking(digested).await?));
    }
    Ok(Some(policy))
}
