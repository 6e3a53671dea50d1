//! `/v1/notifications`: deliveries of notifications to endpoints, and those that were given up.

use std::sync::Arc;

use axum::extract::State;
use grantmesh_shared::id::DeliveryId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::one_of;
use super::extract::{Asked, CurrentUser, Id, Json, Limit};
use super::problem::ApiError;
use super::refusals::{BadRequest, Caller, Conflict, Forbidden, NotFound};
use super::requests::unknown_state;
use super::view::ListView;
use crate::app::{Delivery, DeliveryFilter, Page};
use crate::domain::DeliveryState;

/// The delivery of an event to an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Its id.
    pub(crate) id: String,
    /// To whom, by the name in the configuration.
    pub(crate) endpoint: String,
    /// The event's id, which the endpoint gets as `webhook-id`.
    pub(crate) event: String,
    /// What happened, like `request.filed`.
    pub(crate) kind: String,
    /// The request, or delegation, that it is about.
    pub(crate) about: String,
    /// `waiting`, `delivered` or `dead`: tried often enough.
    pub(crate) state: String,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// When it is tried next; of one that has ended, when it was tried last.
    pub(crate) due_at: String,
    /// When it was delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let Delivery { id, endpoint, event, about, state, attempts, due_at, ended_at, fault } = delivery;
        Self {
            id: id.to_string(),
            endpoint,
            event: event.id.to_string(),
            kind: event.kind,
            about,
            state: state.as_str().to_owned(),
            attempts,
            due_at: due_at.to_string(),
            ended_at: ended_at.map(|at| at.to_string()),
            fault,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only in this state.
    #[param(schema_with = states)]
    state: Option<String>,
    /// Only to this endpoint.
    endpoint: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

fn states() -> utoipa::openapi::Schema {
    one_of(DeliveryState::ALL.map(DeliveryState::as_str))
}

/// Deliveries of notifications, newest first. For operators and auditors.
#[utoipa::path(get, path = "/v1/notifications", tag = "notifications", security(("token" = [])), params(ListQuery),
    responses((status = 200, body = ListView<DeliveryView>), Caller, BadRequest, Forbidden))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(ListQuery { state, endpoint, cursor, limit }): Asked<ListQuery>,
) -> Result<Json<ListView<DeliveryView>>, ApiError> {
    let known = |word: &str| {
        DeliveryState::parse(word).ok_or_else(|| unknown_state(word, &DeliveryState::ALL.map(DeliveryState::as_str)))
    };
    let filter = DeliveryFilter { state: state.as_deref().map(known).transpose()?, endpoint };
    let listed = api.app.deliveries(&actor, &filter, &Page { cursor, limit: limit.map(Limit::number) }).await?;
    Ok(Json(ListView::of(listed, DeliveryView::from)))
}

/// Has a delivery that was given up tried again. For operators.
#[utoipa::path(post, path = "/v1/notifications/{id}/resend", tag = "notifications", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = DeliveryView), Caller, Forbidden, NotFound, Conflict))]
pub(super) async fn resend(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(id): Id<DeliveryId>,
) -> Result<Json<DeliveryView>, ApiError> {
    Ok(Json(api.app.resend(&actor, &id).await?.into()))
}
