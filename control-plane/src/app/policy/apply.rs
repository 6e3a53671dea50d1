//! Putting a policy in force: only over the version that it was made from, and only if it says something else.

use std::collections::BTreeSet;

use grantmesh_shared::engine::Subject;
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::wire::policy::{DeclaredSignal, Difference, Policy, PolicyFile, compile, diff, parse};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::{Body, ServiceItem};
use serde::Serialize;

use super::{CheckedPolicy, examined, version};
use crate::app::{App, AppError, Conflict, Forbidden, Invalid, PolicyChanged, signals};
use crate::audit::{ActorField, AuditError, Entry, EntryIds, EntryKind};
use crate::domain::{Actor, Over, PolicyAbout, PolicyVersion, SignalDeclaration, Text};
use crate::store::{PolicyTexts, StoreError, Tx, WriteTx};

/// A policy to apply.
#[derive(Debug, Clone)]
pub struct NewPolicy {
    /// All files; what is not in them is no longer in the policy.
    pub files: Vec<PolicyFile>,
    /// Why.
    pub message: Option<String>,
    /// What must be in force.
    pub over: Over,
}

/// What applying a policy led to.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The version that is in force.
    pub policy: PolicyVersion,
    /// Filters that have applied this position know of it.
    pub position: Position,
    /// Whether it is a new version; not if the one in force says the same already.
    pub changed: bool,
}

impl App {
    /// Whether the actor may put policies in force.
    ///
    /// # Errors
    /// If not.
    pub fn may_apply_policies(&self, actor: &Actor) -> Result<(), Forbidden> {
        self.must_operate(actor, "change the policy")
    }

    /// Puts a policy in force. For operators. One that says what the version in force says is not applied again, whatever was
    /// expected: whoever repeats a send whose answer was lost is told that it is done.
    ///
    /// # Errors
    /// If the actor is none, the policy has faults, or another version is in force than expected.
    pub async fn apply_policy(&self, actor: &Actor, new: NewPolicy) -> Result<Applied, AppError> {
        self.may_apply_policies(actor)?;
        let NewPolicy { files, message, over } = new;
        let message = Text::optional(message.as_deref(), "message").map_err(Invalid::Text)?;
        let (files, CheckedPolicy { policy: compiled, digest, .. }) = examined(files).await?;
        let compiled = compiled.map_err(Invalid::Policy)?;
        let declared = declared_signals(&compiled)?;
        let people = match &compiled.people {
            people if people.is_empty() => None,
            people => Some(serde_json::to_string(people).map_err(AuditError::Json)?),
        };
        let (services, pushed) = tokio::task::spawn_blocking(move || texts(&compiled)).await??;
        let mut tx = self.write().await?;
        let previous = tx.current_policy().await?;
        let compiled = (&services, &declared[..], people.as_deref());
        if let Some(policy) = unchanged(&mut tx, previous.as_ref(), digest, compiled).await? {
            let position = self.position_at(policy.about.revision);
            return Ok(Applied { policy, position, changed: false });
        }
        if !over.is(previous.as_ref()) {
            // The head is let go of before texts are compared.
            drop(tx);
            return Err(self.policy_changed(over, previous).await?.into());
        }
        let about = PolicyAbout {
            id: self.new_id(&tx)?,
            previous,
            digest,
            author: actor.user.clone(),
            message,
            applied_at: tx.now(),
            revision: tx.revision(),
            services: services.iter().map(|(name, _)| name.as_str().into()).collect(),
        };
        let policy = PolicyVersion { about, files };
        let changes = put_services(&mut tx, policy.about.previous.as_ref(), &pushed).await?;
        tx.insert_policy(&policy, &services, people.as_deref()).await?;
        tx.insert_declared_signals(&policy.about.id, &declared).await?;
        tx.log(&applied_entry(&policy, &services, changes))?;
        signals::end_undeclared(&mut tx, &declared, actor).await?;
        let position = tx.commit().await?.position;
        Ok(Applied { policy, position, changed: true })
    }

    /// What changed between what was expected to be in force and what is.
    async fn policy_changed(&self, expected: Over, in_force: Option<PolicyId>) -> Result<Conflict, AppError> {
        let mut tx = self.read().await?;
        let current = version(&mut tx, in_force).await?;
        let expected_version = match &expected {
            Over::Version(id) => version(&mut tx, Some(id.clone())).await?,
            Over::Nothing | Over::Anything => None,
        };
        drop(tx);
        let about = current.as_ref().map(|policy| policy.about.clone());
        let changes = match (expected_version, current) {
            (Some(before), Some(after)) => {
                tokio::task::spawn_blocking(move || differences(&before.files, &after.files)).await?
            }
            _ => Vec::new(),
        };
        Ok(Conflict::PolicyChanged(Box::new(PolicyChanged { expected, current: about, changes })))
    }
}

/// The version in force, if it has these documents and they still compile to what is kept of it: a newer release may compile
/// the same documents to something else, and then applying them is how everyone gets it.
async fn unchanged(
    tx: &mut Tx,
    in_force: Option<&PolicyId>,
    digest: Option<Sha256Hash>,
    (services, declared, people): (&PolicyTexts, &[SignalDeclaration], Option<&str>),
) -> Result<Option<PolicyVersion>, AppError> {
    let Some(id) = in_force.filter(|_| digest.is_some()) else { return Ok(None) };
    let mut known = tx.declared_signals(id).await?;
    let mut declared = declared.to_vec();
    known.sort_by(|one, other| one.name.cmp(&other.name));
    declared.sort_by(|one, other| one.name.cmp(&other.name));
    if known != declared
        || tx.policy_people(id).await? != people.map(|body| Sha256Hash::of(body.as_bytes()).to_string())
    {
        return Ok(None);
    }
    let hashes = services.iter().map(|(name, body)| (name.clone(), Sha256Hash::of(body.as_bytes()).to_string()));
    if tx.policy_services(id).await? != hashes.collect::<Vec<_>>() {
        return Ok(None);
    }
    Ok(version(tx, Some(id.clone())).await?.filter(|policy| policy.about.digest == digest))
}

/// What differs between the policies of two versions, as far as they can still be read.
fn differences(before: &[PolicyFile], after: &[PolicyFile]) -> Vec<Difference> {
    let read = |files| {
        let documents = parse(files).ok()?;
        let policy = compile(&documents).ok()?;
        Some((documents, policy))
    };
    match (read(before), read(after)) {
        (Some(before), Some(after)) => diff((&before.0, &before.1), (&after.0, &after.1)),
        _ => Vec::new(),
    }
}

/// The signals that a policy lets people set.
fn declared_signals(policy: &Policy) -> Result<Vec<SignalDeclaration>, AppError> {
    let declaration = |signal: &DeclaredSignal| {
        let DeclaredSignal { name, description, of, setters, max_duration } = signal;
        let setters = setters.iter().cloned().map(Subject::try_from).collect::<Result<_, _>>();
        // The compiler made them from subjects.
        let setters = setters.map_err(|error| StoreError::Impossible {
            table: "policy_signals",
            column: "setters",
            row: name.clone(),
            why: error.to_string(),
        })?;
        let (name, description) = (name.clone(), description.clone());
        Ok(SignalDeclaration { name, description, of: *of, setters, max_duration: *max_duration })
    };
    policy.signals.iter().map(declaration).collect()
}

/// Name and exact item body of each service: all of it, and what filters get.
fn texts(policy: &Policy) -> Result<(PolicyTexts, PolicyTexts), AppError> {
    let text = |service: ServiceItem| {
        let name = service.name.clone();
        let item = Body::Service(service).into_item().map_err(AuditError::Json)?;
        Ok((name, item.body.get().to_owned()))
    };
    let whole = policy.services.iter().cloned().map(text).collect::<Result<_, AppError>>()?;
    Ok((whole, policy.services.iter().map(ServiceItem::for_filters).map(text).collect::<Result<_, AppError>>()?))
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
        Some(previous) => tx.policy_services(previous).await?.into_iter().map(|(name, _)| name).collect(),
        None => BTreeSet::new(),
    };
    let mut changes = Changes::default();
    for (name, body) in services {
        let (key, known) = (format!("service/{name}"), before.remove(name));
        // What filters have is compared, not what is kept: they are not told of what only reviewers need.
        if !known || tx.item_body(&key).await?.as_deref() != Some(body) {
            tx.put_item(&key, Some(name), body).await?;
            changes.put += 1;
        }
    }
    for name in &before {
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
    /// Over what the documents say, wherever they stand.
    digest: Option<Sha256Hash>,
    services: usize,
    /// Over the names and bodies of all services, in order.
    services_hash: Sha256Hash,
    changes: Changes,
    message: Option<&'a Text>,
}

fn applied_entry<'a>(policy: &'a PolicyVersion, services: &PolicyTexts, changes: Changes) -> Entry<AppliedData<'a>> {
    let PolicyVersion { about, files } = policy;
    let files: Vec<(&str, &str)> = files.iter().map(|file| (&*file.name, &*file.text)).collect();
    Entry {
        kind: EntryKind::PolicyApplied,
        actor: ActorField::User(about.author.clone()),
        ids: EntryIds { policy: Some(about.id.clone()), ..EntryIds::default() },
        data: AppliedData {
            previous: about.previous.as_ref(),
            files: files.len(),
            files_hash: Sha256Hash::of(serde_json::json!(files).to_string().as_bytes()),
            digest: about.digest,
            services: services.len(),
            services_hash: Sha256Hash::of(serde_json::json!(services).to_string().as_bytes()),
            changes,
            message: about.message.as_ref(),
        },
    }
}
