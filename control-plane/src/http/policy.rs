//! `/v1/policy`: read, check, simulate and apply the policy.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::policy::{PolicyFault, PolicyFile};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{CurrentUser, Json};
use super::problem::ApiError;
use super::view::{PolicyFileView, PolicyView, ProblemView};
use crate::app::{AppError, CheckedPolicy, NewPolicy, Simulation};

/// A policy to apply.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyBody {
    /// All files; what is not in them is no longer in the policy.
    pub(crate) files: Vec<PolicyFileView>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The version that the files were made from; refused if another one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) expected: Option<PolicyId>,
}

/// Files to check.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody {
    /// The files.
    pub(crate) files: Vec<PolicyFileView>,
}

/// A candidate, and the time to judge again under it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulateBody {
    /// All files of the candidate.
    pub(crate) files: Vec<PolicyFileView>,
    /// The time before now whose recorded decisions are judged again.
    #[schema(value_type = String, example = "24h")]
    pub(crate) since: Span,
}

/// What is wrong with a policy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct FaultsView {
    /// Every fault; none if the policy could be applied.
    #[schema(value_type = Vec<Object>)]
    pub(crate) faults: Vec<PolicyFault>,
    /// What is allowed and probably not meant.
    #[schema(value_type = Vec<Object>)]
    pub(crate) warnings: Vec<PolicyFault>,
}

fn files(views: Vec<PolicyFileView>) -> Vec<PolicyFile> {
    views.into_iter().map(|PolicyFileView { name, text }| PolicyFile { name, text }).collect()
}

/// The policy in force.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", security(("token" = [])),
    responses((status = 200, body = PolicyView), (status = "4XX", body = ProblemView)))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
) -> Result<Json<PolicyView>, ApiError> {
    let policy = api.app.policy(&actor).await?;
    let none = || AppError::NotFound { what: "policy", id: "in force".to_owned() };
    Ok(Json(policy.ok_or_else(none)?.into()))
}

/// Puts a policy in force.
#[utoipa::path(post, path = "/v1/policy", tag = "policy", security(("token" = [])), request_body = ApplyBody,
    responses((status = 201, body = PolicyView), (status = "4XX", body = ProblemView)))]
pub(super) async fn apply(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Json(ApplyBody { files: views, message, expected }): Json<ApplyBody>,
) -> Result<(StatusCode, Json<PolicyView>), ApiError> {
    let applied = api.app.apply_policy(&actor, NewPolicy { files: files(views), message, expected }).await?;
    Ok((StatusCode::CREATED, Json(applied.into())))
}

/// Tells faults and warnings of a policy without applying it.
#[utoipa::path(post, path = "/v1/policy/check", tag = "policy", security(("token" = [])), request_body = CheckBody,
    responses((status = 200, body = FaultsView), (status = "4XX", body = ProblemView)))]
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    _user: CurrentUser,
    Json(CheckBody { files: views }): Json<CheckBody>,
) -> Result<Json<FaultsView>, ApiError> {
    let CheckedPolicy { policy, warnings } = api.app.check_policy(files(views)).await?;
    Ok(Json(FaultsView { faults: policy.err().unwrap_or_default(), warnings }))
}

/// Tells what a policy would have made of recorded decisions, without applying it. Changes nothing.
#[utoipa::path(post, path = "/v1/policy/simulate", tag = "policy", security(("token" = [])), request_body = SimulateBody,
    responses((status = 200, body = Simulation), (status = "4XX", body = ProblemView)))]
pub(super) async fn simulate(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Json(SimulateBody { files: views, since }): Json<SimulateBody>,
) -> Result<Json<Simulation>, ApiError> {
    Ok(Json(api.app.simulate_policy(&actor, files(views), since).await?))
}

/// The JSON Schema of policy documents, for editors. Needs no token: it is the same for everyone and says nothing about this server.
#[utoipa::path(get, path = "/v1/policy/schema", tag = "policy",
    responses((status = 200, body = Object, content_type = "application/schema+json")))]
pub(super) async fn schema(State(api): State<Arc<Api>>) -> Response {
    ([(CONTENT_TYPE, "application/schema+json")], api.policy_schema.clone()).into_response()
}
