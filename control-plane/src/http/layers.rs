//! What happens around every request: its id, its span in the log, its count in the metrics, and its bound in time.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use super::problem::ApiError;
use super::{Api, TIMEOUT};

/// Names a request in its answer and in the log; the caller may choose it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn observe(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let id = request_id(&api, &request);
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, route);
    let begun = api.now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, elapsed_ms) = (response.status().as_u16(), api.now().since(begun).millis());
    span.in_scope(|| tracing::debug!(status, elapsed_ms, "answered"));
    api.metrics.answered(method.as_str(), &route, status);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's id if it is short and plain, else a new one.
fn request_id(api: &Api, request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        let bytes = id.as_bytes();
        (1..=64).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    });
    if let Some(given) = given {
        return given.clone();
    }
    let mut random = [0; 8];
    // Without random numbers ids repeat, which harms nobody.
    let _ = api.app.settings().random.fill(&mut random);
    let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
}

pub(super) async fn time_out(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::TimedOut.into_response(),
    }
}
