//! Checking, applying and reading the policy.

use std::collections::BTreeMap;

use grantmesh_shared::engine::Subject;
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::wire::policy::{DeclaredSignal, Examined, Policy, PolicyFault, PolicyFile, examine, parse};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::table::Body;
use serde::Serialize;

use super::{App, AppError, Conflict, Invalid, signals};
use crate::audit::{ActorField, AuditError, Entry, EntryIds, EntryKind};
use crate::domain::{Actor, PolicyVersion, SignalDeclaration, Text};
use crate::store::{PolicyTexts, StoreError, WriteTx};

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

/// What there is to say about policy files.
#[derive(Debug)]
pub struct CheckedPolicy {
    /// The policy, or every fault.
    pub policy: Result<Policy, Vec<PolicyFault>>,
    /// What is allowed and probably not meant; never a reason to refuse.
    pub warnings: Vec<PolicyFault>,
}

/// Reads and checks policy files. Pure; also the CLI's `policy check`.
pub fn examine_policy(files: &[PolicyFile]) -> CheckedPolicy {
    if files.is_empty() {
        let help = Some("name at least one file; a policy without services is a file with a comment".to_owned());
        let message = "there are no files".to_owned();
        let fault = PolicyFault { file: String::new(), line: 0, column: 0, message, help };
        return CheckedPolicy { policy: Err(vec![fault]), warnings: Vec::new() };
    }
    match parse(files) {
        Ok(documents) => {
            let Examined { policy, warnings } = examine(&documents);
            CheckedPolicy { policy: policy.and_then(usable), warnings }
        }
        Err(faults) => CheckedPolicy { policy: Err(faults), warnings: Vec::new() },
    }
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
        let Some(id) = tx.current_policy().await? else {
            return Ok(None);
        };
        Ok(tx.policy(&id).await?)
    }

    /// Puts a policy in force. For operators.
    ///
    /// # Errors
    /// If the actor is none, the policy has faults, or another version is in force than expected.
    pub async fn apply_policy(&self, actor: &Actor, new: NewPolicy) -> Result<PolicyVersion, AppError> {
        self.must_operate(actor, "change the policy")?;
        let NewPolicy { files, message, expected } = new;
        let message = Text::optional(message.as_deref(), "message").map_err(Invalid::Text)?;
        let (files, compiled) = compiled(files).await?;
        let compiled = compiled.map_err(Invalid::Policy)?;
        let declared = declared_signals(&compiled)?;
        let services = texts(compiled)?;
        let mut tx = self.write().await?;
        let previous = tx.current_policy().await?;
        if let Some(expected) = expected.filter(|expected| Some(expected) != previous.as_ref()) {
            let current = previous.map_or_else(|| "none".to_owned(), |current| format!("`{current}`"));
            return Err(Conflict::PolicyChanged { expected, current }.into());
        }
        let policy = PolicyVersion {
            id: self.new_id(&tx)?,
            previous,
            author: actor.user.clone(),
            message,
            applied_at: tx.now(),
            files,
            services: services.iter().map(|(name, _)| name.as_str().into()).collect(),
        };
        let changes = put_services(&mut tx, policy.previous.as_ref(), &services).await?;
        tx.insert_policy(&policy, &services).await?;
        tx.insert_declared_signals(&policy.id, &declared).await?;
        tx.log(&applied_entry(&policy, &services, changes))?;
        signals::end_undeclared(&mut tx, &declared, actor).await?;
        tx.commit().await?;
        Ok(policy)
    }

    /// Faults and warnings of a policy. For everyone: it says nothing about the policy in force.
    ///
    /// # Errors
    /// If the check could not run.
    pub async fn check_policy(&self, files: Vec<PolicyFile>) -> Result<CheckedPolicy, AppError> {
        Ok(tokio::task::spawn_blocking(move || examine_policy(&files)).await?)
    }
}

/// Compiles away from the threads that answer everyone else.
pub(super) async fn compiled(
    files: Vec<PolicyFile>,
) -> Result<(Vec<PolicyFile>, Result<Policy, Vec<PolicyFault>>), AppError> {
    let compile = move || {
        let compiled = compile_policy(&files);
        (files, compiled)
    };
    Ok(tokio::task::spawn_blocking(compile).await?)
}

/// The signals that a policy lets people set.
fn declared_signals(policy: &Policy) -> Result<Vec<SignalDeclaration>, AppError> {
    let declaration = |signal: &DeclaredSignal| {
        let DeclaredSignal { name, description, setters, max_duration } = signal;
        let setters = setters.iter().cloned().map(Subject::try_from).collect::<Result<_, _>>();
        // The compiler made them from subjects.
        let setters = setters.map_err(|error| StoreError::Impossible {
            table: "policy_signals",
            column: "setters",
            row: name.clone(),
            why: error.to_string(),
        })?;
        let (name, description) = (name.clone(), description.clone());
        Ok(SignalDeclaration { name, description, setters, max_duration: *max_duration })
    };
    policy.signals.iter().map(declaration).collect()
}

/// Name and exact item body of each service.
fn texts(policy: Policy) -> Result<PolicyTexts, AppError> {
    let text = |service: grantmesh_shared::wire::table::ServiceItem| {
        let name = service.name.clone();
        let item = Body::Service(service).into_item().map_err(AuditError::Json)?;
        Ok((name, item.body.get().to_owned()))
    };
    policy.services.into_iter().map(text).collect()
}

/// How many services a policy changed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Changes {
    put: usize,
    removed: usize,
}

/// Gives filters the services whose body is another than before, and takes from them those that are gone.
async fn put_services(
    tx: &mut WriteTx,
    previous: Option<&PolicyId>,
    services: &PolicyTexts,
) -> Result<Changes, AppError> {
    let mut before = match previous {
        Some(previous) => tx.policy_services(previous).await?.into_iter().collect(),
        None => BTreeMap::new(),
    };
    let mut changes = Changes::default();
    for (name, body) in services {
        let hash = Sha256Hash::of(body.as_bytes()).to_string();
        if before.remove(name) != Some(hash) {
            tx.put_item(&format!("service/{name}"), Some(name), body).await?;
            changes.put += 1;
        }
    }
    for name in before.keys() {
        tx.remove_item_of(&format!("service/{name}")).await?;
        changes.removed += 1;
    }
    Ok(changes)
}

#[derive(Serialize)]
struct AppliedData<'a> {
    previous: Option<&'a PolicyId>,
    files: usize,
    /// Over the names and texts of all files, in order.
    files_hash: Sha256Hash,
    services: usize,
    /// Over the names and bodies of all services, in order.
    services_hash: Sha256Hash,
    changes: Changes,
    message: Option<&'a Text>,
}

fn applied_entry<'a>(policy: &'a PolicyVersion, services: &PolicyTexts, changes: Changes) -> Entry<AppliedData<'a>> {
    let files: Vec<(&str, &str)> = policy.files.iter().map(|file| (&*file.name, &*file.text)).collect();
    Entry {
        kind: EntryKind::PolicyApplied,
        actor: ActorField::User(policy.author.clone()),
        ids: EntryIds { policy: Some(policy.id.clone()), ..EntryIds::default() },
        data: AppliedData {
            previous: policy.previous.as_ref(),
            files: policy.files.len(),
            files_hash: Sha256Hash::of(serde_json::json!(files).to_string().as_bytes()),
            services: services.len(),
            services_hash: Sha256Hash::of(serde_json::json!(services).to_string().as_bytes()),
            changes,
            message: policy.message.as_ref(),
        },
    }
}
