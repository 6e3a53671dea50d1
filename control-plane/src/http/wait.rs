//! `wait`: answer only when every filter that a change concerns has acknowledged it, or can no longer act without it.

use std::time::Duration;

use axum::http::HeaderName;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::sync::{Position, REVISION_HEADER};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::description::Length;
use super::problem::ApiError;
use super::view::ArrivalView;

/// The longest that `wait` may be.
const MAX_WAIT: Span = Span::from_secs(600);

/// How long a caller waits, checked before anything is changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait(Option<Duration>);

/// The query of what ends something.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndQuery {
    /// Why.
    pub(super) reason: Option<String>,
    /// How long to wait for its arrival at the filters, like `30s`; not at all if it is left out.
    #[param(value_type = Option<Length>)]
    pub(super) wait: Option<Span>,
}

/// Tells from which point on filters know of what was done; calls may carry it on.
pub(super) fn revision(position: Position) -> [(HeaderName, String); 1] {
    [(HeaderName::from_static(REVISION_HEADER), position.to_string())]
}

impl Wait {
    pub(super) fn of(wait: Option<Span>) -> Result<Self, ApiError> {
        match wait.filter(|wait| *wait > MAX_WAIT) {
            Some(long) => Err(ApiError::Value(format!("`{long}` is too long to wait\nwait at most `{MAX_WAIT}`"))),
            None => Ok(Self(wait.map(Span::duration))),
        }
    }

    /// What the filters of a service (of all services if none is named) did with the change at `position`.
    pub(super) async fn arrival(self, api: &Api, service: Option<&str>, position: Position) -> Option<ArrivalView> {
        let Self(wait) = self;
        Some(api.push.prove_arrival(service, position, wait?).await.into())
    }
}
