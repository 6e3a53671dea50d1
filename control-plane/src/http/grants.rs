//! `/v1/grants`: list, read, extend, revoke and release grants.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Span;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::{Length, one_of};
use super::extract::{Asked, CurrentUser, Id, Json, Limit};
use super::lists::Stated;
use super::once::{Once, OnceHeader};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Conflict, Forbidden, Limited, NotFound, Unfit};
use super::requests::unknown_state;
use super::standing;
use super::view::{ArrivalView, GrantView, ListView, RequestView, UseView};
use super::wait::{Wait, revision};
use crate::app::{Extended, GrantFilter, Page, RevokeFilter, RevokedMany};
use crate::domain::GrantStateWord;

/// A revocation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeBody {
    /// Why.
    pub(crate) reason: String,
    /// How long to wait for its arrival at the filters, like `30s`; not at all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) wait: Option<Span>,
}

/// A grant that was revoked.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct RevokedView {
    /// The grant.
    pub(crate) grant: GrantView,
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
    /// Only those that you hold.
    #[serde(default)]
    mine: bool,
    /// Only those of this person, by the subject of their tokens.
    holder: Option<String>,
    /// Only of this service.
    service: Option<String>,
    /// Only of this action; needs `service`.
    action: Option<String>,
    /// Only under this rule; needs `service`.
    rule: Option<String>,
    /// Only those under which a call was let through, or, with `false`, those under which none ever was.
    used: Option<bool>,
    /// Only from this time on.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only before this time.
    #[param(format = DateTime)]
    until: Option<String>,
    /// `newest` first, as it is if nothing is said, or `oldest` first.
    #[param(schema_with = super::lists::orders)]
    order: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

fn states() -> utoipa::openapi::Schema {
    one_of(GrantStateWord::ALL.map(GrantStateWord::as_str))
}

/// The grants that you hold or whose rule you review, newest first.
#[utoipa::path(get, path = "/v1/grants", tag = "grants", security(("token" = [])), params(ListQuery),
    responses((status = 200, body = ListView<GrantView>), Caller, BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<ListView<GrantView>>, ApiError> {
    let known = |word: &str| {
        GrantStateWord::parse(word).ok_or_else(|| unknown_state(word, &GrantStateWord::ALL.map(GrantStateWord::as_str)))
    };
    let ListQuery { state, mine, holder: owner, service, action, rule, used, since, until, order, .. } = query;
    let stated = Stated { mine, owner, service, action, rule, since, until, order };
    let filter = GrantFilter { state: state.as_deref().map(known).transpose()?, used, only: stated.try_into()? };
    let (cursor, limit) = (query.cursor, query.limit);
    let listed = api.app.grants(&actor, &filter, &Page { cursor, limit: limit.map(Limit::number) }).await?;
    Ok(Json(standing::listed_grants(&api, listed).await?))
}

/// One grant.
#[utoipa::path(get, path = "/v1/grants/{id}", tag = "grants", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = GrantView), Caller, NotFound))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<GrantId>,
) -> Result<impl IntoResponse, ApiError> {
    let grant = api.app.grant(&actor, &id).await?;
    Ok((revision(api.app.position_of(&grant)), Json(standing::grant(&api, &grant).await?)))
}

/// Ends a grant; with `wait`, answers when every filter that could still hold it has acknowledged or heard nothing for too long.
#[utoipa::path(post, path = "/v1/grants/{id}/revoke", tag = "grants", security(("token" = [])), request_body = RevokeBody,
    params(("id" = String, Path)), responses((status = 200, body = RevokedView), Caller, BadBody, Forbidden, NotFound, Conflict, Unfit))]
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<GrantId>,
    Json(RevokeBody { reason, wait }): Json<RevokeBody>,
) -> Result<Json<RevokedView>, ApiError> {
    let wait = Wait::of(wait)?;
    let ended = api.app.revoke(&actor, &id, &reason).await?;
    let arrival = wait.arrival(&api, Some(&ended.grant.service), ended.position).await;
    Ok(Json(RevokedView { grant: standing::grant(&api, &ended.grant).await?, arrival }))
}

/// Which grants to end at once, and why: those that fit every part that is stated.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeManyBody {
    /// Whose, by name or as `user:NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<String>,
    /// Of which service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// Of which action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// Under which rule or break-glass right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// Only tell which those are.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// How long to wait for its arrival at the filters, like `30s`; not at all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) wait: Option<Span>,
}

/// Grants that were ended at once, or would be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct RevokedManyView {
    /// The grants.
    pub(crate) grants: Vec<GrantView>,
    /// Whether they were only looked at.
    pub(crate) dry_run: bool,
    /// What the filters did; only with `wait`, and only if some were ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arrival: Option<ArrivalView>,
}

/// Ends all grants that fit and that you may end, in one step.
#[utoipa::path(post, path = "/v1/grants/revoke", tag = "grants", security(("token" = [])), request_body = RevokeManyBody,
    responses((status = 200, body = RevokedManyView), Caller, BadBody, Unfit))]
pub(super) async fn revoke_many(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Json(body): Json<RevokeManyBody>,
) -> Result<Json<RevokedManyView>, ApiError> {
    let RevokeManyBody { holder, service, action, rule, reason, dry_run, wait } = body;
    let wait = Wait::of(wait)?;
    let filter = RevokeFilter { holder, service, action, rule };
    let RevokedMany { grants, position } = api.app.revoke_many(&actor, &filter, &reason, dry_run).await?;
    let arrival = match position {
        Some(position) => wait.arrival(&api, filter.service.as_deref(), position).await,
        None => None,
    };
    Ok(Json(RevokedManyView { grants: standing::grants(&api, &grants).await?, dry_run, arrival }))
}

/// More time for a grant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendBody {
    /// How much more, like `30m`.
    #[schema(value_type = Length)]
    pub(crate) duration: Span,
    /// Why; needed where reviewers decide it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) justification: Option<String>,
}

/// What came of asking for more time: the grant with it, or the request that reviewers decide.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ExtendedView {
    /// The grant, if it has more time now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<GrantView>,
    /// The request, if it is to be reviewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<RequestView>,
}

/// Asks for more time for your own grant: at once where its rule lets it (200), else by a request (202).
#[utoipa::path(post, path = "/v1/grants/{id}/extend", tag = "grants", security(("token" = [])), request_body = ExtendBody,
    params(("id" = String, Path), OnceHeader), responses((status = 200, body = ExtendedView),
    (status = 202, body = ExtendedView), Caller, BadBody, Forbidden, NotFound, Conflict, Unfit, Limited))]
pub(super) async fn extend(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<GrantId>,
    Once { app, body: ExtendBody { duration, justification } }: Once<ExtendBody>,
) -> Result<(StatusCode, Json<ExtendedView>), ApiError> {
    Ok(match app.extend(&actor, &id, duration, justification.as_deref()).await? {
        Extended::Now(grant, _) => {
            let grant = Some(GrantView::of(&api.app, &grant));
            (StatusCode::OK, Json(ExtendedView { grant, request: None }))
        }
        Extended::Asked(request) => {
            let request = Some(RequestView::from(&*request));
            (StatusCode::ACCEPTED, Json(ExtendedView { grant: None, request }))
        }
    })
}

/// The uses of a grant that is for a number of them. They have no pages: a grant is for 1,000 calls at most, each use has a
/// number of its own up to that, and whoever asks or reviews may only have fewer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct GrantUsesView {
    /// In their order.
    #[schema(max_items = 1000)]
    pub(crate) uses: Vec<UseView>,
}

/// The uses of a grant that were taken, with what came of each.
#[utoipa::path(get, path = "/v1/grants/{id}/uses", tag = "grants", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = GrantUsesView), Caller, NotFound))]
pub(super) async fn uses(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<GrantId>,
) -> Result<Json<GrantUsesView>, ApiError> {
    let uses = api.app.uses(&actor, &id).await?;
    Ok(Json(GrantUsesView { uses: uses.iter().map(UseView::from).collect() }))
}

/// Gives your own grant back.
#[utoipa::path(post, path = "/v1/grants/{id}/release", tag = "grants", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = GrantView), Caller, Forbidden, NotFound, Conflict))]
pub(super) async fn release(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<GrantId>,
) -> Result<Json<GrantView>, ApiError> {
    Ok(Json(standing::grant(&api, &api.app.release(&actor, &id).await?.grant).await?))
}
