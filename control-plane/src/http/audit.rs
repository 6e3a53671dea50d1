//! `/v1/audit`: the entries of the log and its signed head.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Asked, CurrentUser, Json, Limit, Whole};
use super::problem::ApiError;
use super::refusals::{BadRequest, Caller, Forbidden};
use crate::app::AuditEntry;

/// How many entries are given when nothing is said, and at most.
const PAGE: u32 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntriesQuery {
    /// The first entry.
    #[serde(default)]
    #[param(value_type = u64, minimum = 0, maximum = 9007199254740991u64)]
    from: Whole,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

/// An entry of the log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct EntryView {
    /// Its place, from 0.
    pub(crate) seq: u64,
    /// Its RFC 6962 leaf hash.
    pub(crate) leaf_hash: String,
    /// The entry's JSON in exactly the bytes that are hashed.
    pub(crate) entry: String,
}

/// A part of the log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct EntriesView {
    /// The entries.
    pub(crate) entries: Vec<EntryView>,
    /// How many the whole log has.
    pub(crate) size: u64,
}

/// Entries in order.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", security(("token" = [])), params(EntriesQuery),
    responses((status = 200, body = EntriesView), Caller, BadRequest, Forbidden))]
pub(super) async fn entries(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(EntriesQuery { from, limit }): Asked<EntriesQuery>,
) -> Result<Json<EntriesView>, ApiError> {
    let page = api.app.audit_entries(&actor, from.number(), limit.map_or(PAGE, Limit::number).clamp(1, PAGE)).await?;
    let view = |AuditEntry { seq, leaf_hash, entry }| EntryView { seq, leaf_hash: leaf_hash.to_string(), entry };
    Ok(Json(EntriesView { entries: page.entries.into_iter().map(view).collect(), size: page.size }))
}

/// The log's size and root as they are now, as a signed note.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit", security(("token" = [])),
    responses((status = 200, body = String), Caller, Forbidden))]
pub(super) async fn checkpoint(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
) -> Result<String, ApiError> {
    Ok(api.app.checkpoint(&actor).await?)
}
