//! `/v1/break-glass` and `/v1/post-reviews`: act now, answer later.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use grantmesh_shared::id::PostReviewId;
use grantmesh_shared::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::{Length, one_of};
use super::extract::{Asked, CurrentUser, Id, Json, Limit};
use super::lists::Stated;
use super::once::{Once, OnceHeader};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Conflict, Forbidden, NotFound, Unfit};
use super::requests::{target, unknown_state};
use super::standing;
use super::view::{GrantView, ListView, UserView};
use crate::app::{Page, PostReviewFilter};
use crate::domain::{NewBreakGlass, PostReview, PostReviewWord, PostVerdict};

/// What is to be done without an approval: an action on a resource, or a call.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakGlassBody {
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
    /// By which right; the first that fits if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) right: Option<String>,
    /// Why; whoever reviews it afterwards reads it.
    pub(crate) reason: String,
    /// For how long, like `15m`; as long as the right gives if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) duration: Option<Span>,
}

/// What breaking the glass led to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct BrokeView {
    /// The grant.
    pub(crate) grant: GrantView,
    /// The review that is open.
    pub(crate) post_review: PostReviewView,
}

/// The review of what somebody did without an approval.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct PostReviewView {
    /// Its id.
    pub(crate) id: String,
    /// `open`, `accepted` or `disputed`.
    pub(crate) state: String,
    /// Whether it is open and should not be any more.
    pub(crate) overdue: bool,
    /// The grant that was given.
    pub(crate) grant: String,
    /// The request that stands for it.
    pub(crate) request: String,
    /// Who did it.
    pub(crate) holder: UserView,
    /// The service.
    pub(crate) service: String,
    /// The action.
    pub(crate) action: String,
    /// What it touches.
    pub(crate) resource: String,
    /// The right.
    pub(crate) right: String,
    /// Why, as they said then.
    pub(crate) said: String,
    /// When it was done.
    pub(crate) opened_at: String,
    /// From when on it is overdue.
    pub(crate) due_at: String,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decided_at: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decided_by: Option<UserView>,
    /// In whose place, if not by their own right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_behalf_of: Option<UserView>,
    /// What they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl PostReviewView {
    fn of(review: &PostReview, now: Timestamp) -> Self {
        let overdue = review.is_overdue(now);
        let PostReview { id, grant, request, holder, service, action, resource, rule, .. } = review;
        let PostReview { reason, policy: _, opened_at, due_at, state, .. } = review;
        let decided = state.decided();
        Self {
            id: id.to_string(),
            state: state.word().to_string(),
            overdue,
            grant: grant.to_string(),
            request: request.to_string(),
            holder: holder.into(),
            service: service.clone(),
            action: action.clone(),
            resource: resource.clone(),
            right: rule.clone(),
            said: reason.as_str().to_owned(),
            opened_at: opened_at.to_string(),
            due_at: due_at.to_string(),
            decided_at: decided.map(|(at, ..)| at.to_string()),
            decided_by: decided.map(|(_, by, _)| by.into()),
            on_behalf_of: state.on_behalf_of().map(|of| (&of.user).into()),
            reason: decided.and_then(|(.., reason)| reason).map(|reason| reason.as_str().to_owned()),
        }
    }
}

/// What somebody says of what was done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostReviewBody {
    /// `accept` or `dispute`.
    pub(crate) verdict: String,
    /// Why; needed for a dispute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// In whose place, by their name; needed where several have delegated their reviews to you.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_behalf_of: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostReviewQuery {
    /// Only in this state.
    #[param(schema_with = states)]
    state: Option<String>,
    /// Only of what you did.
    #[serde(default)]
    mine: bool,
    /// Only those that are overdue.
    #[serde(default)]
    overdue: bool,
    /// Only of what this person did, by the subject of their tokens.
    holder: Option<String>,
    /// Only of this service.
    service: Option<String>,
    /// Only of this action; needs `service`.
    action: Option<String>,
    /// Only by this right; needs `service`.
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
    one_of(PostReviewWord::ALL.map(PostReviewWord::as_str))
}

/// Breaks the glass: gives you a short grant at once, if the policy gives you that right, and opens the review of what you do.
#[utoipa::path(post, path = "/v1/break-glass", tag = "break-glass", security(("token" = [])), request_body = BreakGlassBody,
    params(OnceHeader),
    responses((status = 201, body = BrokeView), Caller, BadBody, Forbidden, NotFound, Conflict, Unfit))]
pub(super) async fn break_glass(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Once { app, body }: Once<BreakGlassBody>,
) -> Result<(StatusCode, Json<BrokeView>), ApiError> {
    let BreakGlassBody { service, action, resource, method, path, right, reason, duration } = body;
    let target = target(service, action, resource, method, path)?;
    let broke = app.break_glass(&actor, &NewBreakGlass { target, reason, duration, right }).await?;
    let grant = standing::grant(&api, &broke.grant).await?;
    let post_review = PostReviewView::of(&broke.post_review, api.now());
    Ok((StatusCode::CREATED, Json(BrokeView { grant, post_review })))
}

/// The post-reviews of what you did or may review, newest first.
#[utoipa::path(get, path = "/v1/post-reviews", tag = "break-glass", security(("token" = [])), params(PostReviewQuery),
    responses((status = 200, body = ListView<PostReviewView>), Caller, BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(query): Asked<PostReviewQuery>,
) -> Result<Json<ListView<PostReviewView>>, ApiError> {
    let known = |word: &str| {
        PostReviewWord::parse(word).ok_or_else(|| unknown_state(word, &PostReviewWord::ALL.map(PostReviewWord::as_str)))
    };
    let PostReviewQuery { state, mine, overdue, holder: owner, service, action, rule, since, until, order, .. } = query;
    let stated = Stated { mine, owner, service, action, rule, since, until, order };
    let state = state.as_deref().map(known).transpose()?;
    let filter = PostReviewFilter { state, overdue, only: stated.try_into()? };
    let (cursor, limit) = (query.cursor, query.limit);
    let listed = api.app.post_reviews(&actor, &filter, &Page { cursor, limit: limit.map(Limit::number) }).await?;
    let now = api.now();
    Ok(Json(ListView::of(listed, |review| PostReviewView::of(&review, now))))
}

/// One post-review.
#[utoipa::path(get, path = "/v1/post-reviews/{id}", tag = "break-glass", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = PostReviewView), Caller, NotFound))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<PostReviewId>,
) -> Result<Json<PostReviewView>, ApiError> {
    Ok(Json(PostReviewView::of(&api.app.post_review(&actor, &id).await?, api.now())))
}

/// Says whether it was right to break the glass: a reviewer of the right, or somebody in their place; never whoever did it.
#[utoipa::path(post, path = "/v1/post-reviews/{id}/review", tag = "break-glass", security(("token" = [])),
    request_body = PostReviewBody, params(("id" = String, Path)),
    responses((status = 200, body = PostReviewView), Caller, BadBody, Forbidden, NotFound, Conflict, Unfit))]
pub(super) async fn decide(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<PostReviewId>,
    Json(PostReviewBody { verdict, reason, on_behalf_of }): Json<PostReviewBody>,
) -> Result<Json<PostReviewView>, ApiError> {
    let verdict = match verdict.as_str() {
        "accept" => PostVerdict::Accept(reason),
        "dispute" => PostVerdict::Dispute(reason.unwrap_or_default()),
        _ => return Err(ApiError::Value("the verdict is neither `accept` nor `dispute`\nsend one of them".to_owned())),
    };
    let decided = api.app.decide_post_review(&actor, &id, (&verdict, on_behalf_of.as_deref())).await?;
    Ok(Json(PostReviewView::of(&decided, api.now())))
}
