//! One call, decided as filters would now: by the policy in force, with the grants, locks and signals in force. Changes nothing.

use grantmesh_shared::engine::Table;
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::cases::{Case, CaseFacts, Explanation, Stage, StepKind, read_caller, read_fact};
use grantmesh_shared::wire::policy::{PolicyFault, PolicyFile, parse};
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::Item;
use serde_json::value::RawValue;
use tokio::task::spawn_blocking;

use super::{App, AppError, Invalid};
use crate::domain::Actor;
use crate::store::{StoreError, StoredItem};

/// The most facts, and the most signals, that are stated of a call.
const MAX_STATED: usize = 256;

/// A call to explain, stated as cases do it.
#[derive(Debug, Clone, Default)]
pub struct StatedCall {
    /// The service; needed if the policy has several.
    pub service: Option<String>,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Who calls.
    pub caller: String,
    /// When; now if nothing is said.
    pub at: Option<Timestamp>,
    /// Facts of the call.
    pub facts: Vec<String>,
    /// Signals that are set besides those in force.
    pub signals: Vec<String>,
}

/// An explained call.
#[derive(Debug)]
pub struct Explained {
    /// The policy in force.
    pub policy: PolicyId,
    /// The state that it was decided from.
    pub position: Position,
    /// The call, as cases state it.
    pub call: String,
    /// When.
    pub at: Timestamp,
    /// The decision, and everything that the policy says about its action.
    pub explanation: Explanation,
}

impl App {
    /// Decides one call from the state in force, and tells everything about it. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither, no policy is in force, or what is stated is no call of it.
    pub async fn explain_call(&self, actor: &Actor, stated: StatedCall) -> Result<Explained, AppError> {
        self.must_audit(actor, "explain a call")?;
        if stated.facts.len().max(stated.signals.len()) > MAX_STATED {
            return Err(Invalid::Call(format!("a call has at most {MAX_STATED} facts and signals")).into());
        }
        let mut tx = self.read().await?;
        let policy = tx.current_policy().await?.ok_or_else(|| AppError::not_found("policy", "in force"))?;
        let files = tx.policy(&policy).await?.map(|version| version.files).unwrap_or_default();
        let signals = tx.declared_signals(&policy).await?.into_iter().map(|signal| signal.name).collect();
        let (position, items) = (tx.head().await?.position, tx.all_items().await?);
        // With what filters are not given: who decides, and what rules decide by themselves.
        let mut whole = Vec::new();
        for (name, hash) in tx.policy_services(&policy).await? {
            if stated.service.as_ref().is_none_or(|wanted| *wanted == name) {
                whole.push((format!("service/{name}"), tx.policy_text(&hash).await?));
            }
        }
        drop(tx);
        let at = stated.at.unwrap_or_else(|| self.inner.settings.clock.now());
        // Many grants take their time.
        let explain = move || {
            let mut stage = Stage::of(table(items, whole, stated.service.as_deref())?, &issuer(&files), signals);
            let case = case(&mut stage, stated, at).map_err(misstated)?;
            let explanation = stage.explain(&case).map_err(misstated)?;
            Ok(Explained { policy, position, call: case.to_string(), at, explanation })
        };
        spawn_blocking(explain).await?
    }
}

/// The table of a filter of the service, or of all services if none is named, with those services as the policy has them.
fn table(items: Vec<StoredItem>, whole: Vec<(String, String)>, service: Option<&str>) -> Result<Table, AppError> {
    let mut table = Table::default();
    let about = |item: &StoredItem| match (service, &item.service) {
        (Some(wanted), Some(of)) => wanted == of,
        _ => true,
    };
    let items = items.into_iter().filter(about).filter_map(|item| Some((item.key, item.body?)));
    for (key, body) in items.chain(whole) {
        let impossible =
            |why: String| StoreError::Impossible { table: "table_items", column: "body", row: key.clone(), why };
        let body = RawValue::from_string(body).map_err(|error| impossible(error.to_string()))?;
        let item = Item { key: key.clone(), body };
        item.parse().map_err(|error| impossible(error.to_string()))?.put_into(&mut table);
    }
    Ok(table)
}

fn issuer(files: &[PolicyFile]) -> String {
    parse(files).ok().and_then(|documents| documents.issuer().map(str::to_owned)).unwrap_or_default()
}

fn case(stage: &mut Stage, stated: StatedCall, at: Timestamp) -> Result<Case, PolicyFault> {
    let StatedCall { service, method, path, caller, facts: stated, signals, .. } = stated;
    for name in signals {
        stage.take(&StepKind::Signal { name, until: None })?;
    }
    let mut facts = CaseFacts::default();
    for fact in &stated {
        read_fact(&mut facts, fact)?;
    }
    Ok(Case { service, method, target: path, caller: read_caller(&caller)?, at, facts })
}

fn misstated(PolicyFault { message, help, .. }: PolicyFault) -> AppError {
    let help = help.map(|help| format!("\n{help}")).unwrap_or_default();
    Invalid::Call(format!("{message}{help}")).into()
}
