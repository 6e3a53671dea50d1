//! `/v1/requests`: file, list, read and withdraw requests, and the body that files what a challenge names.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use grantmesh_shared::engine::Pattern;
use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::shown::ShownCall;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::{Length, Shown, one_of};
use super::extract::{Asked, CurrentUser, Id, Json, Limit, time};
use super::lists::Stated;
use super::once::{Once, OnceHeader};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Conflict, Forbidden, Limited, NotFound, Unfit};
use super::standing;
use super::view::{ListView, RequestView};
use crate::app::{Page, RequestFilter, Suggestion};
use crate::domain::{AskTarget, Narrower, NewRequest, RequestStateWord};

/// A request to file: an action on a resource, or the call that it is for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileBody {
    /// The service.
    pub(crate) service: String,
    /// The action; together with `resource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// What it touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    /// The HTTP method of the call; together with `path`, instead of `action` and `resource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// The path of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The rule to ask under; the first that fits if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Why; the reviewers read it.
    pub(crate) justification: String,
    /// The ticket that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ticket: Option<String>,
    /// For how long, like `15m`; the rule's default if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) duration: Option<Span>,
    /// For how many calls; for one if it is left out and the rule counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u32>,
    /// Where the rule binds a grant to what a call is: the parts of it that are bound, `bound.call` of its challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Shown>)]
    pub(crate) call: Option<ShownCall>,
    /// From when on, like `2026-03-01T12:00:00Z`; from its approval on if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts_at: Option<String>,
}

/// What to send to file a request, and what to know about it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct PrefillView {
    /// Where to send the body.
    pub(crate) post: String,
    /// The body; it needs a justification.
    pub(crate) body: FileBody,
    /// The longest duration.
    pub(crate) max_duration: String,
    /// For how many calls a grant may be, where the rule counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_uses: Option<u32>,
    /// Who reviews.
    pub(crate) reviewers: Vec<String>,
    /// The fewest characters of the justification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) justification_min_length: Option<u32>,
    /// What must be found in the justification, as a regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) justification_pattern: Option<String>,
    /// Whether a ticket must be named.
    #[serde(default)]
    pub(crate) ticket_required: bool,
    /// What must be found in the ticket, as a regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ticket_pattern: Option<String>,
    /// What would have been enough the last time that you had this and used it; nothing if you needed all of it. The body is
    /// without it: whether to ask for less is yours to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suggestion: Option<SuggestionView>,
}

/// What would have been enough the last time. A grant is for one resource, than which there is none narrower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SuggestionView {
    /// The grant of that time; `/v1/grants/{id}/ledger` tells what it was used for.
    pub(crate) grant: String,
    /// For so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<String>,
    /// For so many calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u32>,
}

impl From<Suggestion> for SuggestionView {
    fn from(Suggestion { grant, narrower: Narrower { duration, uses } }: Suggestion) -> Self {
        Self { grant: grant.to_string(), duration: duration.map(|duration| duration.to_string()), uses }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only in this state.
    #[param(schema_with = states)]
    state: Option<String>,
    /// Only those that you filed.
    #[serde(default)]
    mine: bool,
    /// Only those of this person, by the subject of their tokens.
    requester: Option<String>,
    /// Only of this service.
    service: Option<String>,
    /// Only of this action; needs `service`.
    action: Option<String>,
    /// Only under this rule; needs `service`.
    rule: Option<String>,
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
    one_of(RequestStateWord::ALL.map(RequestStateWord::as_str))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetQuery {
    /// The service.
    service: String,
    /// The action.
    action: String,
    /// What it touches.
    resource: String,
    /// The rule to ask under; the first that fits if it is left out.
    rule: Option<String>,
}

/// What is meant: an action on a resource, or what a call leads to.
pub(super) fn target(
    service: String,
    action: Option<String>,
    resource: Option<String>,
    method: Option<String>,
    path: Option<String>,
) -> Result<AskTarget, ApiError> {
    match (action, resource, method, path) {
        (Some(action), Some(resource), None, None) => Ok(AskTarget::Action { service, action, resource }),
        (None, None, Some(method), Some(path)) => Ok(AskTarget::Call { service, method, path }),
        _ => Err(ApiError::Value(
            "it is not said what is asked for\nsend `action` and `resource`, or `method` and `path`".to_owned(),
        )),
    }
}

/// Files a request.
#[utoipa::path(post, path = "/v1/requests", tag = "requests", security(("token" = [])), request_body = FileBody,
    params(OnceHeader),
    responses((status = 201, body = RequestView), Caller, BadBody, NotFound, Conflict, Unfit, Limited))]
pub(super) async fn file(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Once { app, body }: Once<FileBody>,
) -> Result<(StatusCode, Json<RequestView>), ApiError> {
    let FileBody { service, action, resource, method, path, rule, justification, ticket, duration, uses, call, .. } =
        body;
    let target = target(service, action, resource, method, path)?;
    let starts_at = time("starts_at", body.starts_at.as_deref())?;
    let new = NewRequest { target, justification, ticket, duration, uses, rule, call, starts_at };
    let filed = app.file_request(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(standing::request(&api, &filed.request).await?)))
}

/// The body that files a request for this target, ready to be completed. The URL of a challenge leads here; what stands
/// behind its `#` is the `call` of a rule that binds one, and is for the client to put in.
#[utoipa::path(get, path = "/v1/requests/new", tag = "requests", security(("token" = [])), params(TargetQuery),
    responses((status = 200, body = PrefillView), Caller, BadRequest, NotFound))]
pub(super) async fn prefill(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(TargetQuery { service, action, resource, rule }): Asked<TargetQuery>,
) -> Result<Json<PrefillView>, ApiError> {
    let target = AskTarget::Action { service, action, resource };
    let found = api.app.prefill(&actor, &target, rule.as_deref()).await?;
    let body = FileBody {
        service: found.service,
        action: Some(found.action),
        resource: Some(found.resource),
        method: None,
        path: None,
        rule: Some(found.rule),
        justification: String::new(),
        ticket: None,
        duration: Some(found.duration),
        uses: found.max_uses.map(|_| 1),
        call: None,
        starts_at: None,
    };
    let (post, max_duration) = (format!("{}/v1/requests", api.public_url), found.max_duration.to_string());
    let source = |pattern: Option<Pattern>| pattern.map(|pattern| pattern.source.into());
    Ok(Json(PrefillView {
        post,
        body,
        max_duration,
        max_uses: found.max_uses,
        reviewers: found.reviewers,
        justification_min_length: Some(found.justification.min_chars).filter(|least| *least > 1),
        justification_pattern: source(found.justification.pattern),
        ticket_required: found.ticket.required,
        ticket_pattern: source(found.ticket.pattern),
        suggestion: found.suggestion.map(SuggestionView::from),
    }))
}

/// The requests that you filed or may review, newest first.
#[utoipa::path(get, path = "/v1/requests", tag = "requests", security(("token" = [])), params(ListQuery),
    responses((status = 200, body = ListView<RequestView>), Caller, BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<ListView<RequestView>>, ApiError> {
    let known = |word: &str| {
        RequestStateWord::parse(word)
            .ok_or_else(|| unknown_state(word, &RequestStateWord::ALL.map(RequestStateWord::as_str)))
    };
    let ListQuery { state, mine, requester: owner, service, action, rule, since, until, order, cursor, limit } = query;
    let stated = Stated { mine, owner, service, action, rule, since, until, order };
    let filter = RequestFilter { state: state.as_deref().map(known).transpose()?, only: stated.try_into()? };
    let listed = api.app.requests(&actor, &filter, &Page { cursor, limit: limit.map(Limit::number) }).await?;
    Ok(Json(standing::listed_requests(&api, listed).await?))
}

/// Refuses a word that is no state.
pub(super) fn unknown_state(word: &str, known: &[&str]) -> ApiError {
    let word: String = word.chars().take(64).collect();
    ApiError::Value(format!("`{}` is not a state\nuse one of {}", word.escape_debug(), known.join(", ")))
}

/// One request.
#[utoipa::path(get, path = "/v1/requests/{id}", tag = "requests", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = RequestView), Caller, NotFound))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<RequestId>,
) -> Result<Json<RequestView>, ApiError> {
    Ok(Json(standing::request(&api, &api.app.request(&actor, &id).await?).await?))
}

/// Takes your own request back.
#[utoipa::path(post, path = "/v1/requests/{id}/withdraw", tag = "requests", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = RequestView), Caller, Forbidden, NotFound, Conflict))]
pub(super) async fn withdraw(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<RequestId>,
) -> Result<Json<RequestView>, ApiError> {
    Ok(Json(standing::request(&api, &api.app.withdraw(&actor, &id).await?).await?))
}
