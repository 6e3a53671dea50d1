//! `/v1/fleet`: the filter VMs that follow this control plane.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{CurrentUser, Json};
use super::problem::ApiError;
use super::refusals::{Caller, Forbidden};
use super::view::FilterView;
use crate::app::{self, AppError};

/// The fleet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct FleetView {
    /// The VMs, by id.
    pub(crate) filters: Vec<FilterView>,
}

/// The filter VMs, what each has acknowledged and when it was last answered. For operators and auditors.
#[utoipa::path(get, path = "/v1/fleet", tag = "operation", security(("token" = [])),
    responses((status = 200, body = FleetView), Caller, Forbidden))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
) -> Result<Json<FleetView>, ApiError> {
    let settings = api.app.settings();
    if !actor.is_among(&settings.operators) && !actor.is_among(&settings.auditors) {
        return Err(AppError::from(app::Forbidden::NotAuditor { what: "see the fleet" }).into());
    }
    let streams: HashMap<_, _> = api.app.streams().await?.into_iter().collect();
    let rows = api.push.fleet().rows(api.now()).into_iter();
    let filters = rows.map(|row| {
        let kept = streams.get(&row.vm);
        FilterView::new(row, kept)
    });
    Ok(Json(FleetView { filters: filters.collect() }))
}
