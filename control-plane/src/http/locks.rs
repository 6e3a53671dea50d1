//! `/v1/locks`: make, list and remove locks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use grantmesh_shared::id::LockId;
use grantmesh_shared::time::Span;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::{Length, one_of};
use super::extract::{Asked, CurrentUser, Id, Json, Limit};
use super::once::{Once, OnceHeader};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Conflict, Forbidden, NotFound, Unfit};
use super::requests::unknown_state;
use super::view::{ArrivalView, ListView, PositionView, UserView};
use super::wait::{EndQuery, Wait};
use crate::app::{App, Page};
use crate::domain::{Lock, LockState, LockStateWord, NewLock, Text};

/// A lock to make. Every stated part must fit the calls that it blocks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockBody {
    /// Only this principal: `user:NAME`, `group:NAME` or `workload:spiffe://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// Only this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// Only this action of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// Must be `true` where nothing else is named: blocks every call of every service.
    #[serde(default)]
    pub(crate) everything: bool,
    /// Why; refused callers read it.
    pub(crate) reason: String,
    /// For how long, like `1h`; until it is removed if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) duration: Option<Span>,
    /// How long to wait for its arrival at the filters, like `30s`; not at all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) wait: Option<Span>,
}

/// A lock.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct LockView {
    /// Its id.
    pub(crate) id: String,
    /// `active`, `expired` or `removed`.
    pub(crate) state: String,
    /// Only this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// Only this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// Only this action of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// Who made it.
    pub(crate) created_by: UserView,
    /// When.
    pub(crate) created_at: String,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
    /// Who removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_by: Option<UserView>,
    /// Why it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end_reason: Option<String>,
    /// Filters that have applied this point know of the lock's present state.
    pub(crate) position: PositionView,
}

impl LockView {
    fn of(app: &App, lock: &Lock) -> Self {
        let Lock { id, subject, service, action, reason, created_by, created_at, expires_at, revision, state } = lock;
        let (ended_by, end_reason) = match state {
            LockState::Removed { at: _, by, reason } => (Some(by.into()), reason.as_ref()),
            LockState::Active | LockState::Expired { .. } => (None, None),
        };
        Self {
            id: id.to_string(),
            state: state.word().to_string(),
            subject: subject.as_ref().map(ToString::to_string),
            service: service.clone(),
            action: action.clone(),
            reason: reason.as_str().to_owned(),
            created_by: created_by.into(),
            created_at: created_at.to_string(),
            expires_at: expires_at.map(|at| at.to_string()),
            ended_at: state.ended_at().map(|at| at.to_string()),
            ended_by,
            end_reason: end_reason.map(Text::to_string),
            position: app.position_at(*revision).into(),
        }
    }
}

/// A lock that was made or removed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct LockChangedView {
    /// The lock.
    pub(crate) lock: LockView,
    /// What the filters did; only with `wait`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arrival: Option<ArrivalView>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only in this state.
    #[param(schema_with = states)]
    state: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

fn states() -> utoipa::openapi::Schema {
    one_of(LockStateWord::ALL.map(LockStateWord::as_str))
}

/// The locks, newest first. For operators and auditors.
#[utoipa::path(get, path = "/v1/locks", tag = "locks", security(("token" = [])), params(ListQuery),
    responses((status = 200, body = ListView<LockView>), Caller, BadRequest, Forbidden))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(ListQuery { state, cursor, limit }): Asked<ListQuery>,
) -> Result<Json<ListView<LockView>>, ApiError> {
    let known = |word: &str| {
        LockStateWord::parse(word).ok_or_else(|| unknown_state(word, &LockStateWord::ALL.map(LockStateWord::as_str)))
    };
    let state = state.as_deref().map(known).transpose()?;
    let listed = api.app.locks(&actor, state, &Page { cursor, limit: limit.map(Limit::number) }).await?;
    Ok(Json(ListView::of(listed, |lock| LockView::of(&api.app, &lock))))
}

/// Makes a lock. For operators.
#[utoipa::path(post, path = "/v1/locks", tag = "locks", security(("token" = [])), request_body = LockBody,
    params(OnceHeader),
    responses((status = 201, body = LockChangedView), Caller, BadBody, Forbidden, Conflict, Unfit))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Once { app, body }: Once<LockBody>,
) -> Result<(StatusCode, Json<LockChangedView>), ApiError> {
    let LockBody { subject, service, action, everything, reason, duration, wait } = body;
    let wait = Wait::of(wait)?;
    let new = NewLock { subject, service, action, everything, reason, duration };
    let made = app.create_lock(&actor, &new).await?;
    let arrival = wait.arrival(&api, made.lock.service.as_deref(), made.position).await;
    Ok((StatusCode::CREATED, Json(LockChangedView { lock: LockView::of(&api.app, &made.lock), arrival })))
}

/// Removes a lock. For operators.
#[utoipa::path(delete, path = "/v1/locks/{id}", tag = "locks", security(("token" = [])),
    params(("id" = String, Path), EndQuery),
    responses((status = 200, body = LockChangedView), Caller, BadRequest, Forbidden, NotFound, Conflict, Unfit))]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<LockId>,
    Asked(EndQuery { reason, wait }): Asked<EndQuery>,
) -> Result<Json<LockChangedView>, ApiError> {
    let wait = Wait::of(wait)?;
    let removed = api.app.remove_lock(&actor, &id, reason.as_deref()).await?;
    let arrival = wait.arrival(&api, removed.lock.service.as_deref(), removed.position).await;
    Ok(Json(LockChangedView { lock: LockView::of(&api.app, &removed.lock), arrival }))
}
