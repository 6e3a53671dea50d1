//! What operators and machines ask: is it alive, is it ready, how much is going on, what can it do.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jsonwebtoken::jwk::JwkSet;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, OpenApi, OpenApiBuilder};

use super::Api;
use super::extract::Json;
use super::metrics::{MEDIA_TYPE, Readings};
use super::problem::ApiError;
use super::refusals::{Failing, NotFound};
use super::view::{ProblemView, ReasonView};
use crate::app::AppError;

/// The head of the API's description; the routes add themselves.
pub(super) fn document() -> OpenApi {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new()
        .security_scheme("token", bearer.clone())
        .security_scheme("credential", bearer)
        .schema_from::<ProblemView>()
        .schema_from::<ReasonView>()
        .build();
    let mut info = Info::new("Grantmesh", env!("CARGO_PKG_VERSION"));
    info.description = Some("Requests, reviews, grants, policy and the audit log; every refusal is a problem document with a stable `code`.".to_owned());
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, body = String)))]
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The database answers.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses((status = 200, body = String), Failing))]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<&'static str, ApiError> {
    api.app.head().await?;
    Ok("ready\n")
}

/// Counters and gauges in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), Failing))]
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let (position, head) = (api.push.position(), *api.app.changed().borrow());
    let streams = api.app.stream_sums().await.ok();
    let deliveries = api.app.delivery_sums().await.ok();
    let post_reviews = api.app.post_review_sums().await.ok();
    let (queued, lag) = api.push.fleet().queued(api.now());
    let text = api.metrics.text(Readings {
        live: api.push.fleet().live(api.now()),
        held: api.push.held(),
        epoch: position.epoch,
        revision: position.revision,
        log_size: head.log_size,
        queued,
        lag,
        streams,
        post_reviews,
        deliveries,
        behind: api.app.settings().clock.behind(),
    });
    match text {
        Ok(text) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(_) => ApiError::Panicked.into_response(),
    }
}

/// The public keys of the development issuer; only with `serve --dev`.
#[utoipa::path(get, path = "/dev/jwks.json", tag = "operation", responses((status = 200, body = Object), NotFound))]
pub(super) async fn dev_jwks(State(api): State<Arc<Api>>) -> Result<Json<JwkSet>, ApiError> {
    let jwks = api.dev_jwks.clone();
    jwks.map(Json).ok_or_else(|| AppError::NotFound { what: "development issuer", id: "dev".to_owned() }.into())
}

/// The API's own description.
pub(super) async fn openapi(State(api): State<Arc<Api>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], api.document.clone()).into_response()
}
