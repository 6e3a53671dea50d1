//! `/v1/requests/{id}/reviews`: approve or deny.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::signature::Sha256Hash;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::description::{Digest, Length};
use super::extract::{CurrentUser, Id, Json};
use super::problem::ApiError;
use super::refusals::{BadBody, Caller, Conflict, Forbidden, NotFound, Unfit};
use super::standing;
use super::view::{GrantView, RequestView};
use super::wait;
use crate::domain::{NewReview, Verdict};

/// A review to give.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewBody {
    /// `approve` or `deny`.
    pub(crate) verdict: String,
    /// Why; needed to deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// A shorter duration than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) duration: Option<Span>,
    /// Fewer calls than were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u32>,
    /// Fewer revealed fields than the rule reveals; all of them if it is left out, none if it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reveals: Option<Vec<String>>,
    /// The digest of the request as it was shown to the reviewer: nobody decides what they have not seen. Refused if it is
    /// another request's.
    #[schema(value_type = Digest)]
    pub(crate) digest: Sha256Hash,
    /// In whose place, by the subject of their tokens: of somebody who has delegated their reviews to you. Needed where you
    /// could review by your own right, too, or in the place of more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_behalf_of: Option<String>,
}

/// What the review led to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReviewedView {
    /// The request in its new state.
    pub(crate) request: RequestView,
    /// The grant, if this was the deciding approval.
    pub(crate) grant: Option<GrantView>,
}

/// Approves or denies a request. The deciding approval's answer has the header `x-grantmesh-revision`: a call that carries
/// it is not refused by a filter that has not heard of the grant yet.
#[utoipa::path(post, path = "/v1/requests/{id}/reviews", tag = "requests", security(("token" = [])), request_body = ReviewBody,
    params(("id" = String, Path)), responses((status = 201, body = ReviewedView), Caller, BadBody, Forbidden, NotFound, Conflict, Unfit))]
pub(super) async fn review(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<RequestId>,
    Json(ReviewBody { verdict, reason, duration, uses, reveals, digest, on_behalf_of }): Json<ReviewBody>,
) -> Result<impl IntoResponse, ApiError> {
    let verdict = Verdict::parse(&verdict)
        .ok_or_else(|| ApiError::Value("the verdict is neither `approve` nor `deny`\nwrite one of them".to_owned()))?;
    let new = NewReview { verdict, reason, duration, uses, reveals, digest, on_behalf_of };
    let reviewed = api.app.review(&actor, &id, &new).await?;
    let grant = reviewed.grant.as_ref().map(|grant| GrantView::of(&api.app, grant));
    let revision = reviewed.grant.as_ref().map(|grant| wait::revision(api.app.position_of(grant)));
    let request = standing::request(&api, &reviewed.request).await?;
    Ok((StatusCode::CREATED, revision, Json(ReviewedView { request, grant })))
}
