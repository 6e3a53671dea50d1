//! `/v1/grants/{id}/ledger`: what a grant was used for.

use std::sync::Arc;

use axum::extract::State;
use grantmesh_shared::id::GrantId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Asked, CurrentUser, Id, Json, Whole};
use super::problem::ApiError;
use super::refusals::{BadRequest, Caller, NotFound};
use super::standing;
use super::view::GrantView;
use crate::app::Ledger;
use crate::domain::{ApprovedPaths, Grant, LedgerCall, LedgerSummary, Narrower, PathUsed};

/// A grant with what it was used for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct LedgerView {
    /// The grant.
    pub(crate) grant: GrantView,
    /// Whether it was never used.
    pub(crate) unused: bool,
    /// How many calls were let through, of those that were looked at.
    pub(crate) calls: u64,
    /// Whether all of them were looked at, and not only the newest of very many.
    pub(crate) complete: bool,
    /// When the first of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_at: Option<String>,
    /// When the last of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_at: Option<String>,
    /// How many different paths were called.
    pub(crate) distinct_paths: u64,
    /// The paths that it was approved for, by the policy that it was asked for under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approved_paths: Option<ApprovedPathsView>,
    /// The paths that were called most.
    pub(crate) paths: Vec<PathView>,
    /// What would have been enough; nothing while the grant is in force, and where less cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) narrower: Option<NarrowerView>,
    /// What filters recorded, newest first.
    pub(crate) entries: Vec<CallView>,
    /// The `before` of the next page; nothing on the last one.
    pub(crate) next_before: Option<u64>,
}

/// A path that was called.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct PathView {
    /// The method.
    pub(crate) method: String,
    /// The path, without its query.
    pub(crate) path: String,
    /// How often.
    pub(crate) calls: u64,
}

/// The paths that a grant was approved for: those of its action that touch its resource.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ApprovedPathsView {
    /// The action's method.
    pub(crate) method: String,
    /// The action's path template.
    pub(crate) path: String,
    /// How many there are; nothing if a parameter of the template may be anything, so that there is no such number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) possible: Option<u64>,
}

/// What would have been enough.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct NarrowerView {
    /// For so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<String>,
    /// For so many calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u32>,
    /// The command that asks for it.
    pub(crate) command: String,
}

/// What a filter recorded of a call under a grant, or of several alike.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct CallView {
    /// When, by the filter's bound of the time.
    pub(crate) at: String,
    /// How many calls these are: more than one were decided alike within a short time. The log's entry lists each of those
    /// that were let through.
    pub(crate) count: u64,
    /// When the last of several was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// `let_through`, `ended` (reset while it ran, or its response was withheld) or `refused` (after it was let through on paper).
    pub(crate) outcome: String,
    /// The decision.
    pub(crate) decision: String,
    /// The decision that it ended or replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// The method.
    pub(crate) method: String,
    /// The path, without its query.
    pub(crate) path: String,
    /// Which use it was, if the grant is for a number of them; `/v1/grants/{id}/uses` has what came of it.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub(crate) use_id: Option<String>,
    /// The entry of the audit log that tells of it.
    pub(crate) seq: u64,
}

impl From<&LedgerCall> for CallView {
    fn from(call: &LedgerCall) -> Self {
        let LedgerCall { seq, at, count, until, decision, about, method, path, word, use_id } = call;
        Self {
            at: at.to_string(),
            count: *count,
            until: (*count > 1).then(|| until.to_string()),
            outcome: word.as_str().to_owned(),
            decision: decision.to_string(),
            about: about.as_ref().map(ToString::to_string),
            method: method.clone(),
            path: path.clone(),
            use_id: use_id.as_ref().map(ToString::to_string),
            seq: *seq,
        }
    }
}

impl NarrowerView {
    fn of(grant: &Grant, narrower: &Narrower) -> Self {
        let Narrower { duration, uses } = narrower;
        let duration = duration.map(|duration| duration.to_string());
        let mut command = format!(
            "grantmesh request --service {} --action {} --resource {} --rule {}",
            grant.service,
            grant.action,
            quoted(&grant.resource),
            grant.rule
        );
        command.extend(duration.iter().map(|duration| format!(" --duration {duration}")));
        command.extend(uses.map(|uses| format!(" --uses {uses}")));
        Self { duration, uses: *uses, command }
    }
}

/// A text as one word of a shell, whatever is in it.
fn quoted(text: &str) -> String {
    let plain =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '-' | '_' | '.' | ':' | ',' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LedgerQuery {
    /// `next_before` of the page before.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991u64)]
    before: Option<Whole>,
}

/// What a grant was used for, and what would have been enough.
#[utoipa::path(get, path = "/v1/grants/{id}/ledger", tag = "grants", security(("token" = [])),
    params(("id" = String, Path), LedgerQuery),
    responses((status = 200, body = LedgerView), Caller, BadRequest, NotFound))]
pub(super) async fn ledger(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<GrantId>,
    Asked(LedgerQuery { before }): Asked<LedgerQuery>,
) -> Result<Json<LedgerView>, ApiError> {
    let Ledger { grant, summary, approved, is_complete, calls, next } =
        api.app.ledger(&actor, &id, before.map(Whole::number)).await?;
    let LedgerSummary { is_unused, calls: count, between, paths, distinct_paths, narrower } = summary;
    let path = |PathUsed { method, path, calls }: PathUsed| PathView { method, path, calls };
    Ok(Json(LedgerView {
        grant: standing::grant(&api, &grant).await?,
        unused: is_unused,
        calls: count,
        complete: is_complete,
        first_at: between.map(|(first, _)| first.to_string()),
        last_at: between.map(|(_, last)| last.to_string()),
        distinct_paths,
        approved_paths: approved.map(|ApprovedPaths { method, path, possible }| ApprovedPathsView {
            method,
            path,
            possible,
        }),
        paths: paths.into_iter().map(path).collect(),
        narrower: narrower.map(|narrower| NarrowerView::of(&grant, &narrower)),
        entries: calls.iter().map(CallView::from).collect(),
        next_before: next,
    }))
}
