//! How far a request has come, as the API shows it: stage by stage what it takes, what it has, and from whom more may come;
//! and how what was done without an approval stands afterwards.

use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::problem::ApiError;
use super::view::{GrantView, ListView, RequestView, UserView};
use crate::app::Listed;
use crate::domain::{AskKind, Automatic, FactorStanding, Grant, PostReview, Request, StageStanding, Standing};

/// A stage of a request's rule.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StageView {
    /// Its name.
    pub name: String,
    /// `passed`, `open` or `waiting`.
    pub state: String,
    /// What it takes: all of them.
    pub factors: Vec<FactorView>,
}

/// A factor of a stage.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FactorView {
    /// How many approvals by different people.
    pub needed: u32,
    /// Who has given them.
    pub approvals: Vec<UserView>,
    /// Who may, as `user:NAME` or `group:NAME`.
    pub reviewers: Vec<String>,
}

/// What a rule decided about a request by itself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AutomaticView {
    /// The decision's name within the rule.
    pub name: String,
    /// `approve`, `deny`, `require` or `escalate`.
    pub decision: String,
    /// How many approvals it requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<u32>,
    /// The policy version that says so.
    pub policy: String,
}

/// How the review of what was done by breaking the glass stands; `/v1/post-reviews/{id}` has all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostReviewMark {
    /// Its id.
    pub id: String,
    /// `open`, `accepted` or `disputed`.
    pub state: String,
    /// From when on it is overdue.
    pub due_at: String,
    /// Whether it is open and should not be any more.
    pub overdue: bool,
}

impl PostReviewMark {
    fn of(review: &PostReview, now: Timestamp) -> Self {
        Self {
            id: review.id.to_string(),
            state: review.state.word().to_string(),
            due_at: review.due_at.to_string(),
            overdue: review.is_overdue(now),
        }
    }
}

/// Grants as the API shows them, each that was given by breaking the glass with how the review of that stands. However many
/// there are, they take one look-up together.
pub(super) async fn grants(api: &Api, grants: &[Grant]) -> Result<Vec<GrantView>, ApiError> {
    let broken: Vec<&GrantId> = grants.iter().filter(|grant| grant.break_glass).map(|grant| &grant.id).collect();
    let (reviews, now) = (api.app.post_reviews_of(&broken).await?, api.now());
    let mark = |id: &GrantId| reviews.get(id).map(|review| PostReviewMark::of(review, now));
    Ok(grants
        .iter()
        .map(|grant| GrantView { post_review: mark(&grant.id), ..GrantView::of(&api.app, grant) })
        .collect())
}

/// One grant as the API shows it.
pub(super) async fn grant(api: &Api, grant: &Grant) -> Result<GrantView, ApiError> {
    let mut shown = grants(api, std::slice::from_ref(grant)).await?;
    Ok(shown.pop().unwrap_or_else(|| GrantView::of(&api.app, grant)))
}

/// A page of grants as the API shows them.
pub(super) async fn listed_grants(api: &Api, listed: Listed<Grant>) -> Result<ListView<GrantView>, ApiError> {
    Ok(ListView { items: grants(api, &listed.items).await?, next_cursor: listed.next })
}

/// Requests as the API shows them, each that stands for broken glass with how the review of that stands. However many there
/// are, they take one look-up together.
async fn requests(api: &Api, requests: &[Request]) -> Result<Vec<RequestView>, ApiError> {
    let broken = |request: &&Request| request.ask.kind == AskKind::BreakGlass;
    let broken: Vec<&GrantId> = requests.iter().filter(broken).filter_map(|request| request.state.grant()).collect();
    let (reviews, now) = (api.app.post_reviews_of(&broken).await?, api.now());
    let view = |request: &Request| {
        // The grant of one that was asked for has no post-review.
        let review = request.state.grant().and_then(|grant| reviews.get(grant));
        RequestView { post_review: review.map(|review| PostReviewMark::of(review, now)), ..RequestView::from(request) }
    };
    Ok(requests.iter().map(view).collect())
}

/// One request with how far it has come.
pub(super) async fn request(api: &Api, request: &Request) -> Result<RequestView, ApiError> {
    let mut shown = requests(api, std::slice::from_ref(request)).await?;
    let view = shown.pop().unwrap_or_else(|| RequestView::from(request));
    Ok(view.with(&api.app.standing(request).await?))
}

/// A page of requests as the API shows them.
pub(super) async fn listed_requests(api: &Api, listed: Listed<Request>) -> Result<ListView<RequestView>, ApiError> {
    Ok(ListView { items: requests(api, &listed.items).await?, next_cursor: listed.next })
}

impl From<&Automatic> for AutomaticView {
    fn from(automatic: &Automatic) -> Self {
        Self {
            name: automatic.name.clone(),
            decision: automatic.word().to_owned(),
            approvals: automatic.required(),
            policy: automatic.policy.to_string(),
        }
    }
}

impl From<&StageStanding> for StageView {
    fn from(StageStanding { name, word, factors }: &StageStanding) -> Self {
        let factor = |FactorStanding { needed, approvals, reviewers }: &FactorStanding| FactorView {
            needed: *needed,
            approvals: approvals.iter().map(UserView::from).collect(),
            reviewers: reviewers.iter().map(ToString::to_string).collect(),
        };
        Self { name: name.clone(), state: word.as_str().to_owned(), factors: factors.iter().map(factor).collect() }
    }
}

impl RequestView {
    /// The request with how far it has come.
    #[must_use]
    pub fn with(self, standing: &Standing) -> Self {
        let Standing { stages, at_request, denials_needed, awaited } = standing;
        Self {
            stages: stages.iter().map(StageView::from).collect(),
            stages_at_request: at_request.iter().map(StageView::from).collect(),
            denials_needed: Some(*denials_needed),
            awaited: awaited.iter().map(ToString::to_string).collect(),
            ..self
        }
    }
}
