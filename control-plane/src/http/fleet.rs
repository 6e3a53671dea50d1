//! `/v1/fleet`: the filter VMs that follow this control plane.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Asked, CurrentUser, Json, Limit};
use super::problem::ApiError;
use super::refusals::{BadRequest, Caller, Forbidden};
use super::view::FilterView;
use crate::app::{self, AppError};
use crate::push::FleetRow;

/// The fleet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct FleetView {
    /// The VMs, by id.
    pub(crate) filters: Vec<FilterView>,
    /// The `cursor` of the next page; nothing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FleetQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most; 1,000 if nothing is said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

/// The filter VMs, what each has acknowledged and when it was last answered. For operators and auditors.
#[utoipa::path(get, path = "/v1/fleet", tag = "operation", security(("token" = [])), params(FleetQuery),
    responses((status = 200, body = FleetView), Caller, BadRequest, Forbidden))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(FleetQuery { cursor, limit }): Asked<FleetQuery>,
) -> Result<Json<FleetView>, ApiError> {
    let settings = api.app.settings();
    if !actor.is_among(&settings.operators) && !actor.is_among(&settings.auditors) {
        return Err(AppError::from(app::Forbidden::NotAuditor { what: "see the fleet" }).into());
    }
    let streams: HashMap<_, _> = api.app.streams().await?.into_iter().collect();
    let limit = usize::try_from(limit.map_or(Limit::MOST, Limit::number)).unwrap_or(usize::MAX);
    let is_past = |row: &FleetRow| cursor.as_deref().is_none_or(|cursor| row.vm.as_str() > cursor);
    let mut rows = api.push.fleet().rows(api.now()).into_iter().filter(is_past);
    let page: Vec<FleetRow> = rows.by_ref().take(limit).collect();
    let next_cursor = rows.next().and(page.last()).map(|row| row.vm.to_string());
    let filter = |row: FleetRow| {
        let kept = streams.get(&row.vm);
        FilterView::new(row, kept)
    };
    Ok(Json(FleetView { filters: page.into_iter().map(filter).collect(), next_cursor }))
}
