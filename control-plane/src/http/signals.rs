//! `/v1/signals`: list, set and clear the signals that the policy declares.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use grantmesh_shared::time::Span;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::Length;
use super::extract::{Asked, CurrentUser, Id, Json};
use super::precondition::{as_seen, etag, tag_of};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Changed, Conflict, Forbidden, NotFound, Unfit};
use super::view::{ArrivalView, PositionView, UserView};
use super::wait::Wait;
use crate::app::{App, DeclaredSignal, WhichSignal};
use crate::domain::{Signal, SignalDeclaration};

/// A signal to set.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetBody {
    /// Of which user or ticket, where the policy has it said of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// For how long from now, like `1h`.
    #[schema(value_type = Length)]
    pub(crate) duration: Span,
    /// How long to wait for its arrival at the filters, like `30s`; not at all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) wait: Option<Span>,
}

/// The query of what ends a signal.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClearQuery {
    /// Of which user or ticket, where the policy has it said of one.
    of: Option<String>,
    /// Why.
    reason: Option<String>,
    /// How long to wait for its arrival at the filters, like `30s`; not at all if it is left out.
    #[param(value_type = Option<Length>)]
    wait: Option<Span>,
}

/// A signal that the policy declares.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct SignalView {
    /// Its name.
    pub(crate) name: String,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// `user` or `ticket`, if it is said of one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of: Option<String>,
    /// Who may set and clear it, besides operators.
    pub(crate) setters: Vec<String>,
    /// The longest time it may be set for at once.
    pub(crate) max_duration: String,
    /// As it is set; nothing if it is not.
    pub(crate) set: Option<SetView>,
    /// As it is said of users or tickets, by their names; of more than 200 the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 200)]
    pub(crate) said: Vec<SetView>,
}

/// How a signal is set.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct SetView {
    /// Of which user or ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of: Option<String>,
    /// Why.
    pub(crate) reason: String,
    /// Who set it last.
    pub(crate) set_by: UserView,
    /// When.
    pub(crate) set_at: String,
    /// From when on it no longer holds.
    pub(crate) expires_at: String,
    /// Filters that have applied this point know of it.
    pub(crate) position: PositionView,
    /// Its entity tag, as `If-Match` takes it. It is another one whenever the signal was set anew.
    pub(crate) etag: String,
}

/// The signals. They have no pages: they are those that the policy declares, and one that declares more than 256 is refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct SignalsView {
    /// By name.
    #[schema(max_items = 256)]
    pub(crate) signals: Vec<SignalView>,
}

/// A signal that was set or cleared.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct SignalChangedView {
    /// The signal.
    pub(crate) signal: SignalView,
    /// What the filters did; only with `wait`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arrival: Option<ArrivalView>,
}

impl SignalView {
    fn of(app: &App, signal: &DeclaredSignal) -> Self {
        let DeclaredSignal { declaration, set, said } = signal;
        let SignalDeclaration { name, description, of, setters, max_duration } = declaration;
        Self {
            name: name.clone(),
            description: description.clone(),
            of: of.map(|of| of.as_str().to_owned()),
            setters: setters.iter().map(ToString::to_string).collect(),
            max_duration: max_duration.to_string(),
            set: set.as_ref().map(|set| SetView::of(app, set)),
            said: said.iter().map(|set| SetView::of(app, set)).collect(),
        }
    }
}

impl SetView {
    fn of(app: &App, signal: &Signal) -> Self {
        let Signal { name: _, about, reason, set_by, set_at, expires_at, revision } = signal;
        let position = app.position_at(*revision);
        Self {
            of: about.as_ref().map(|about| about.name().to_owned()),
            reason: reason.to_string(),
            set_by: set_by.into(),
            set_at: set_at.to_string(),
            expires_at: expires_at.to_string(),
            position: position.into(),
            etag: tag_of(position),
        }
    }
}

/// The signals that you may set, and whether they are; all of them for operators and auditors.
#[utoipa::path(get, path = "/v1/signals", tag = "signals", security(("token" = [])),
    responses((status = 200, body = SignalsView), Caller))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
) -> Result<Json<SignalsView>, ApiError> {
    let signals = api.app.signals(&actor).await?;
    Ok(Json(SignalsView { signals: signals.iter().map(|signal| SignalView::of(&api.app, signal)).collect() }))
}

/// Sets a signal for a while; one that is set is set anew. For its setters and operators. The latest word counts, unless
/// whoever says it asks that nobody was quicker.
#[utoipa::path(put, path = "/v1/signals/{name}", tag = "signals", security(("token" = [])), request_body = SetBody,
    params(
        ("name" = String, Path),
        ("If-Match" = Option<String>, Header, description = "only if it is set as you have seen it: the `etag` that it was listed with, or `*` for set in whatever way"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if it is not set"),
    ),
    responses(
        (status = 200, body = SignalChangedView, headers(("ETag" = String, description = "names how it is set now"))),
        Caller, BadBody, Forbidden, NotFound, Conflict, Changed, Unfit))]
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(name): Id<String>,
    headers: HeaderMap,
    Json(SetBody { of, reason, duration, wait }): Json<SetBody>,
) -> Result<impl IntoResponse, ApiError> {
    let (wait, seen) = (Wait::of(wait)?, as_seen(&headers)?);
    let set =
        api.app.set_signal(&actor, WhichSignal { name: &name, of: of.as_deref(), seen }, &reason, duration).await?;
    let arrival = wait.arrival(&api, None, set.position).await;
    Ok((etag(set.position), Json(SignalChangedView { signal: SignalView::of(&api.app, &set.signal), arrival })))
}

/// Clears a signal before its time. For its setters and operators.
#[utoipa::path(delete, path = "/v1/signals/{name}", tag = "signals", security(("token" = [])),
    params(
        ("name" = String, Path),
        ClearQuery,
        ("If-Match" = Option<String>, Header, description = "only if it is set as you have seen it: the `etag` that it was listed with, or `*` for set in whatever way"),
    ),
    responses((status = 200, body = SignalChangedView), Caller, BadRequest, Forbidden, NotFound, Conflict, Changed, Unfit))]
pub(super) async fn clear(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Id(name): Id<String>,
    headers: HeaderMap,
    Asked(ClearQuery { of, reason, wait }): Asked<ClearQuery>,
) -> Result<Json<SignalChangedView>, ApiError> {
    let (wait, seen) = (Wait::of(wait)?, as_seen(&headers)?);
    let cleared =
        api.app.clear_signal(&actor, WhichSignal { name: &name, of: of.as_deref(), seen }, reason.as_deref()).await?;
    let arrival = wait.arrival(&api, None, cleared.position).await;
    Ok(Json(SignalChangedView { signal: SignalView::of(&api.app, &cleared.signal), arrival }))
}
