//! `/v1/requests/{id}/holds`: the calls that waited, or wait, for what becomes of a request.

use std::sync::Arc;

use axum::extract::State;
use grantmesh_shared::id::RequestId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{CurrentUser, Id, Json};
use super::problem::ApiError;
use super::refusals::{Caller, NotFound};
use crate::domain::Hold;

/// A refused call that a proxy held, or holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct HoldView {
    /// The decision that held it.
    pub(crate) decision: String,
    /// The filter VM that decided.
    pub(crate) vm: String,
    /// Its node.
    pub(crate) node: String,
    /// `waiting`; `over` if the call was decided or its time is; `gone` if its caller went away.
    pub(crate) state: String,
    /// Since when.
    pub(crate) since: String,
    /// Until when at most.
    pub(crate) until: String,
    /// When its filter told that it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
}

/// The calls of a request that were held. They have no pages: only the newest 1,000 are read, which is as many as one proxy
/// holds at a time; of those before, the log tells.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct RequestHoldsView {
    /// The oldest first, at most 1,000.
    #[schema(max_items = 1000)]
    pub(crate) holds: Vec<HoldView>,
}

/// The calls that a proxy held, or holds, for a request.
#[utoipa::path(get, path = "/v1/requests/{id}/holds", tag = "requests", security(("token" = [])), params(("id" = String, Path)),
    responses((status = 200, body = RequestHoldsView), Caller, NotFound))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<RequestId>,
) -> Result<Json<RequestHoldsView>, ApiError> {
    let holds = api.app.holds_of(&actor, &id).await?;
    let now = api.now();
    let view = |hold: &Hold| HoldView {
        decision: hold.decision.to_string(),
        vm: hold.vm.to_string(),
        node: hold.node.clone(),
        state: match hold.ended {
            Some((why, _)) => why.as_str(),
            None if hold.waits(now) => "waiting",
            None => "over",
        }
        .to_owned(),
        since: hold.since.to_string(),
        until: hold.until.to_string(),
        ended_at: hold.ended.map(|(_, at)| at.to_string()),
    };
    Ok(Json(RequestHoldsView { holds: holds.iter().map(view).collect() }))
}
