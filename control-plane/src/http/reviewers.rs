//! `/v1/requests/{id}/reviewers`: who may review a request, and who is asked first.

use std::sync::Arc;

use axum::extract::State;
use grantmesh_shared::engine::{Subject, User};
use grantmesh_shared::id::RequestId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{CurrentUser, Id, Json};
use super::problem::ApiError;
use super::refusals::{Caller, NotFound};
use super::view::UserView;
use crate::app::Reviewers;
use crate::domain::Reviewer;

/// Somebody whose approval would bring the request on now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReviewerView {
    /// Who.
    pub(crate) user: UserView,
    /// Who may review in their place now. Who is suggested is whose right it is; delegates see the request and hear of it
    /// like them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) delegates: Vec<UserView>,
    /// Whether they are suggested, and named in what is told of the request.
    pub(crate) suggested: bool,
    /// Whether they are said to be on call.
    pub(crate) on_call: bool,
    /// How many pending requests they are suggested for and have not reviewed.
    pub(crate) waiting: u64,
}

/// Who may review a request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReviewersView {
    /// Those who are known to, at most 200, the first to ask first. Of a group's members those are known who have reviewed
    /// under the rule lately, and of those who are on call whoever has asked for something.
    pub(crate) reviewers: Vec<ReviewerView>,
    /// Whose approval would bring it on now, known or not, as `user:NAME` or `group:NAME`.
    pub(crate) awaited: Vec<String>,
}

/// Who may review a pending request, and who is suggested. Nobody is kept from reviewing by not being suggested.
#[utoipa::path(get, path = "/v1/requests/{id}/reviewers", tag = "requests", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = ReviewersView), Caller, NotFound))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<RequestId>,
) -> Result<Json<ReviewersView>, ApiError> {
    let Reviewers { known, delegates, suggested, awaited } = api.app.reviewers_of(&actor, &id).await?;
    let in_place_of = |user: &User| delegates.iter().filter(|(of, _)| of == user).map(|(_, by)| by.into()).collect();
    let view = |Reviewer { user, on_call, waiting }: &Reviewer| ReviewerView {
        user: user.into(),
        delegates: in_place_of(user),
        suggested: suggested.contains(user),
        on_call: *on_call,
        waiting: *waiting,
    };
    let reviewers = known.iter().map(view).collect();
    Ok(Json(ReviewersView { reviewers, awaited: awaited.iter().map(Subject::to_string).collect() }))
}
