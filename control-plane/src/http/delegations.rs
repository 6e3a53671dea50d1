//! `/v1/delegations`: let somebody else review in one's place, list and end that.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use grantmesh_shared::id::DelegationId;
use grantmesh_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::Length;
use super::extract::{Asked, CurrentUser, Id, Json, Limit, time};
use super::once::{Once, OnceHeader};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Conflict, Forbidden, NotFound, Unfit};
use super::view::{ListView, UserView};
use crate::app::Page;
use crate::domain::{Delegation, Lasting, NewDelegation};

/// A delegation to give. It lasts for 30 days at most, and covers what the delegator reviews by their own right.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DelegationBody {
    /// Who is to review, by the subject of their tokens.
    pub(crate) to: String,
    /// Only requests of this service, and what was done by its break-glass rights; of all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// Only requests under this rule of the service, or what was done by this break-glass right of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// From when on, within 30 days; at once if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts_at: Option<String>,
    /// Until when; this or `duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<String>,
    /// For how long from its start on, like `48h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) duration: Option<Span>,
}

/// A delegation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct DelegationView {
    /// Its id.
    pub(crate) id: String,
    /// `scheduled`, `active`, `expired` or `ended`.
    pub(crate) state: String,
    /// In whose place is reviewed.
    pub(crate) delegator: UserView,
    /// Who may.
    pub(crate) delegate: UserView,
    /// Only requests of this service, and what was done by its break-glass rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// Only requests under this rule of it, or what was done by this break-glass right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// When it was given.
    pub(crate) created_at: String,
    /// From when on.
    pub(crate) starts_at: String,
    /// Until when.
    pub(crate) ends_at: String,
    /// When it was ended before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_by: Option<UserView>,
}

impl DelegationView {
    fn of(delegation: &Delegation, now: Timestamp) -> Self {
        let Delegation { id, delegator, delegator_groups: _, delegate, service, rule, .. } = delegation;
        let Delegation { reason, created_at, starts_at, ends_at, ended, .. } = delegation;
        Self {
            id: id.to_string(),
            state: delegation.word(now).as_str().to_owned(),
            delegator: delegator.into(),
            delegate: delegate.into(),
            service: service.clone(),
            rule: rule.clone(),
            reason: reason.as_str().to_owned(),
            created_at: created_at.to_string(),
            starts_at: starts_at.to_string(),
            ends_at: ends_at.to_string(),
            ended_at: ended.as_ref().map(|(at, _)| at.to_string()),
            ended_by: ended.as_ref().map(|(_, by)| by.into()),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those that one has given or taken oneself.
    #[serde(default)]
    mine: bool,
    /// Only those that are not over.
    #[serde(default)]
    current: bool,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

/// The delegations that one has given or taken, newest first; all of them for operators and auditors.
#[utoipa::path(get, path = "/v1/delegations", tag = "delegations", security(("token" = [])), params(ListQuery),
    responses((status = 200, body = ListView<DelegationView>), Caller, BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(ListQuery { mine, current, cursor, limit }): Asked<ListQuery>,
) -> Result<Json<ListView<DelegationView>>, ApiError> {
    let page = Page { cursor, limit: limit.map(Limit::number) };
    let listed = api.app.delegations(&actor, (mine, current), &page).await?;
    Ok(Json(ListView::of(listed, |delegation| DelegationView::of(&delegation, api.now()))))
}

/// Lets somebody else review in one's place, for a time. Both names are kept with every review that is given so.
#[utoipa::path(post, path = "/v1/delegations", tag = "delegations", security(("token" = [])), request_body = DelegationBody,
    params(OnceHeader),
    responses((status = 201, body = DelegationView), Caller, BadBody, Forbidden, Conflict, Unfit))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Once { app, body }: Once<DelegationBody>,
) -> Result<(StatusCode, Json<DelegationView>), ApiError> {
    let DelegationBody { to, service, rule, reason, starts_at, ends_at, duration } = body;
    let starts_at = time("starts_at", starts_at.as_deref())?;
    let lasting = match (time("ends_at", ends_at.as_deref())?, duration) {
        (Some(at), None) => Lasting::Until(at),
        (None, Some(span)) => Lasting::For(span),
        _ => {
            let text = "it is not said, or said twice, when the delegation ends\nwrite `ends_at` or `duration`";
            return Err(ApiError::Value(text.to_owned()));
        }
    };
    let new = NewDelegation { to, service, rule, reason, starts_at, lasting };
    let delegation = app.delegate(&actor, &new).await?;
    Ok((StatusCode::CREATED, Json(DelegationView::of(&delegation, api.now()))))
}

/// Ends a delegation before its time. For whoever gave it, whoever has it, and operators.
#[utoipa::path(post, path = "/v1/delegations/{id}/end", tag = "delegations", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = DelegationView), Caller, BadRequest, Forbidden, NotFound, Conflict))]
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<DelegationId>,
) -> Result<Json<DelegationView>, ApiError> {
    let ended = api.app.end_delegation(&actor, &id).await?;
    Ok(Json(DelegationView::of(&ended, api.now())))
}
