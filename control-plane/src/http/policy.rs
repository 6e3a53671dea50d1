//! `/v1/policy`: read, check, explain, simulate and apply the policy.

mod callers;
mod views;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use grantmesh_shared::id::PolicyId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::extract::{Asked, CurrentUser, Id, Json, Limit, Whole};
use super::precondition::{etag, over};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Conflict, Forbidden, NotFound, PreconditionFailed, TooMany, Unfit};
use super::view::ListView;
use super::wait::{Wait, revision};
use crate::app::{AppError, CheckedPolicy, NewPolicy, Page, Simulation};
use callers::{Auditor, Operator};
pub(crate) use views::{
    ApplyBody, CheckBody, ExplainBody, ExplainedView, FaultsView, PolicyAppliedView, PolicyFileView, PolicyVersionView,
    PolicyView, SimulateBody,
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadQuery {
    /// The policy that was in force at this revision; the one in force now if it is left out.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991u64)]
    revision: Option<Whole>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

fn files<To, From: Into<To>>(files: Vec<From>) -> Vec<To> {
    files.into_iter().map(Into::into).collect()
}

/// The policy in force, or the one that was. Its `ETag` is what applying the next one needs.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", security(("token" = [])), params(ReadQuery),
    responses((status = 200, body = PolicyView, headers(("ETag" = String, description = "names the version"))),
        Caller, BadRequest, Forbidden, NotFound))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(ReadQuery { revision }): Asked<ReadQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let found = match revision {
        Some(revision) => api.app.policy_at(&actor, revision.number()).await?,
        None => api.app.policy(&actor).await?,
    };
    let none = || AppError::NotFound { what: "policy", id: "in force".to_owned() };
    let view = PolicyView::from(found.ok_or_else(none)?);
    Ok((etag(&view.about.id), Json(view)))
}

/// The versions of the policy, newest first.
#[utoipa::path(get, path = "/v1/policy/versions", tag = "policy", security(("token" = [])), params(HistoryQuery),
    responses((status = 200, body = ListView<PolicyVersionView>), Caller, BadRequest, Forbidden))]
pub(super) async fn history(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(HistoryQuery { cursor, limit }): Asked<HistoryQuery>,
) -> Result<Json<ListView<PolicyVersionView>>, ApiError> {
    let listed = api.app.policy_history(&actor, &Page { cursor, limit: limit.map(Limit::number) }).await?;
    Ok(Json(ListView::of(listed, PolicyVersionView::from)))
}

/// One version of the policy.
#[utoipa::path(get, path = "/v1/policy/versions/{id}", tag = "policy", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = PolicyView, headers(("ETag" = String, description = "names the version"))),
        Caller, Forbidden, NotFound))]
pub(super) async fn read_version(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<PolicyId>,
) -> Result<impl IntoResponse, ApiError> {
    let view = PolicyView::from(api.app.policy_version(&actor, &id).await?);
    Ok((etag(&view.about.id), Json(view)))
}

/// Puts a policy in force over the version that it was made from. One that says the same as the version in force changes nothing.
#[utoipa::path(post, path = "/v1/policy", tag = "policy", security(("token" = [])), request_body = ApplyBody,
    params(
        ("If-Match" = Option<String>, Header, description = "the `ETag` of the version that the files were made from, or `*` for whatever is in force"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if no policy is in force; one of both is needed"),
    ),
    responses(
        (status = 201, body = PolicyAppliedView, headers(("ETag" = String, description = "names the version"))),
        (status = 200, body = PolicyAppliedView, description = "the version in force says the same"),
        Caller, BadBody, Forbidden, Conflict, PreconditionFailed, Unfit))]
pub(super) async fn apply(
    State(api): State<Arc<Api>>,
    Operator(actor): Operator,
    headers: HeaderMap,
    Json(ApplyBody { files: views, message, wait }): Json<ApplyBody>,
) -> Result<impl IntoResponse, ApiError> {
    let (wait, over) = (Wait::of(wait)?, over(&headers)?);
    let applied = api.app.apply_policy(&actor, NewPolicy { files: files(views), message, over }).await?;
    let arrival = wait.arrival(&api, None, applied.position).await;
    let status = if applied.changed { StatusCode::CREATED } else { StatusCode::OK };
    let view = PolicyAppliedView { policy: applied.policy.about.into(), changed: applied.changed, arrival };
    Ok((status, etag(&view.policy.id), revision(applied.position), Json(view)))
}

/// Tells faults and warnings of a policy without applying it.
#[utoipa::path(post, path = "/v1/policy/check", tag = "policy", security(("token" = [])), request_body = CheckBody,
    responses((status = 200, body = FaultsView),
        Caller, BadBody, TooMany))]
pub(super) async fn check(
    State(api): State<Arc<Api>>,
    _user: CurrentUser,
    Json(CheckBody { files: views }): Json<CheckBody>,
) -> Result<Json<FaultsView>, ApiError> {
    let CheckedPolicy { policy, digest, warnings } = api.app.check_policy(files(views)).await?;
    let digest = digest.map(|digest| digest.to_string());
    Ok(Json(FaultsView { faults: policy.err().unwrap_or_default(), warnings, digest }))
}

/// Tells what a policy would have made of recorded decisions, without applying it. Changes nothing.
#[utoipa::path(post, path = "/v1/policy/simulate", tag = "policy", security(("token" = [])), request_body = SimulateBody,
    responses((status = 200, body = Simulation), Caller, BadBody, Forbidden, NotFound, Unfit))]
pub(super) async fn simulate(
    State(api): State<Arc<Api>>,
    Auditor(actor): Auditor,
    Json(SimulateBody { files: views, since }): Json<SimulateBody>,
) -> Result<Json<Simulation>, ApiError> {
    Ok(Json(api.app.simulate_policy(&actor, files(views), since).await?))
}

/// Decides one call as filters would now, from the policy, grants, locks and signals in force, and tells everything that the
/// policy says about it. Changes nothing.
#[utoipa::path(post, path = "/v1/policy/explain", tag = "policy", security(("token" = [])), request_body = ExplainBody,
    responses((status = 200, body = ExplainedView), Caller, BadBody, Forbidden, NotFound, Unfit))]
pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Json(body): Json<ExplainBody>,
) -> Result<Json<ExplainedView>, ApiError> {
    Ok(Json(api.app.explain_call(&actor, body.try_into()?).await?.into()))
}

/// The JSON Schema of policy documents, for editors. Needs no token: it is the same for everyone and says nothing about this server.
#[utoipa::path(get, path = "/v1/policy/schema", tag = "policy",
    responses((status = 200, body = Object, content_type = "application/schema+json")))]
pub(super) async fn schema(State(api): State<Arc<Api>>) -> Response {
    ([(CONTENT_TYPE, "application/schema+json")], api.policy_schema.clone()).into_response()
}
