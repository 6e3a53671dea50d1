//! `/filter/v1/*`: what filters ask. Every answer to a verified filter is signed, refusals too, so that nothing in between
//! can speak for the control plane.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::claims::{ClaimsAnswer, ClaimsKind, ClaimsRequest};
use grantmesh_shared::wire::holds::{HoldsAnswer, HoldsKind, HoldsRequest};
use grantmesh_shared::wire::problem::MEDIA_TYPE;
use grantmesh_shared::wire::records::{DecisionWord, RecordsAnswer, RecordsKind, RecordsRequest, UseOutcome};
use grantmesh_shared::wire::signature::SIGNATURE_HEADER;
use grantmesh_shared::wire::sync::{HeartbeatRequest, SyncRequest};
use serde::Deserialize;

use super::Api;
use super::description::{
    ClaimsQuestion, ClaimsReply, HeartbeatQuestion, HeartbeatReply, HoldsQuestion, HoldsReply, RecordsBatch,
    RecordsReply, SyncQuestion, SyncReply,
};
use super::extract::{CurrentFilter, Json};
use super::problem::ApiError;
use super::refusals::{BadBody, Caller, Conflict, Forbidden};
use crate::app::{AppError, Appended, FilterIdentity, RecordsRefused};
use crate::push::SignedAnswer;

/// An answer, or a refusal that is signed like one.
fn reply(api: &Api, answer: Result<SignedAnswer, ApiError>) -> Response {
    let (status, media_type, SignedAnswer { body, signature }) = match answer {
        Ok(answer) => (StatusCode::OK, "application/json", answer),
        Err(error) => {
            let problem = error.problem();
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if status.is_server_error() {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    code = problem.code,
                    "a filter's question failed"
                );
            } else {
                tracing::warn!(%error, code = problem.code, "a filter's question was refused");
            }
            let body = serde_json::to_vec(&problem).unwrap_or_default();
            let signature = api.push.sign_body(&body);
            (status, MEDIA_TYPE, SignedAnswer { body, signature })
        }
    };
    let mut response = (status, [(CONTENT_TYPE, media_type)], body).into_response();
    if let Ok(value) = HeaderValue::from_str(&signature.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(SIGNATURE_HEADER), value);
    }
    response
}

/// Answers a long poll for state.
#[utoipa::path(post, path = "/filter/v1/sync", tag = "filters", security(("credential" = [])), request_body = SyncQuestion,
    responses((status = 200, body = SyncReply), Caller, BadBody, Forbidden, Conflict))]
pub(super) async fn sync(
    State(api): State<Arc<Api>>,
    CurrentFilter(filter): CurrentFilter,
    asked: Result<Json<SyncRequest>, ApiError>,
) -> Response {
    let answer = match asked {
        Ok(Json(asked)) => api.push.sync(&filter, &asked).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    reply(&api, answer)
}

/// Answers whether a filter is current.
#[utoipa::path(post, path = "/filter/v1/heartbeat", tag = "filters", security(("credential" = [])), request_body = HeartbeatQuestion,
    responses((status = 200, body = HeartbeatReply), Caller, BadBody, Forbidden, Conflict))]
pub(super) async fn heartbeat(
    State(api): State<Arc<Api>>,
    CurrentFilter(filter): CurrentFilter,
    asked: Result<Json<HeartbeatRequest>, ApiError>,
) -> Response {
    let answer = match asked {
        Ok(Json(asked)) => api.push.heartbeat(&filter, &asked).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    reply(&api, answer)
}

/// Takes uses of grants for calls.
#[utoipa::path(post, path = "/filter/v1/claims", tag = "filters", security(("credential" = [])), request_body = ClaimsQuestion,
    responses((status = 200, body = ClaimsReply), Caller, BadBody, Forbidden, Conflict))]
pub(super) async fn claims(
    State(api): State<Arc<Api>>,
    CurrentFilter(filter): CurrentFilter,
    asked: Result<Json<ClaimsRequest<'static>>, ApiError>,
) -> Response {
    let answer = match asked {
        Ok(Json(asked)) => claim(&api, &filter, &asked).await,
        Err(error) => Err(error),
    };
    reply(&api, answer)
}

async fn claim(api: &Api, filter: &FilterIdentity, asked: &ClaimsRequest<'_>) -> Result<SignedAnswer, ApiError> {
    api.push.check(filter, asked.v, &asked.nonce, &asked.filter)?;
    let results = api.app.claim(filter, asked).await?;
    let nonce = asked.nonce.clone();
    Ok(api.push.sign(&ClaimsAnswer { v: PROTOCOL_VERSION, kind: ClaimsKind::Claims, nonce, results })?)
}

/// Files requests for calls that are held, and tells how they stand.
#[utoipa::path(post, path = "/filter/v1/holds", tag = "filters", security(("credential" = [])), request_body = HoldsQuestion,
    responses((status = 200, body = HoldsReply), Caller, BadBody, Forbidden, Conflict))]
pub(super) async fn holds(
    State(api): State<Arc<Api>>,
    CurrentFilter(filter): CurrentFilter,
    asked: Result<Json<HoldsRequest<'static>>, ApiError>,
) -> Response {
    let answer = match asked {
        Ok(Json(asked)) => hold(&api, &filter, &asked).await,
        Err(error) => Err(error),
    };
    reply(&api, answer)
}

async fn hold(api: &Api, filter: &FilterIdentity, asked: &HoldsRequest<'_>) -> Result<SignedAnswer, ApiError> {
    api.push.check(filter, asked.v, &asked.nonce, &asked.filter)?;
    let results = api.app.holds(filter, asked).await?;
    let nonce = asked.nonce.clone();
    Ok(api.push.sign(&HoldsAnswer { v: PROTOCOL_VERSION, kind: HoldsKind::Holds, nonce, results })?)
}

/// Keeps a batch of decision records.
#[utoipa::path(post, path = "/filter/v1/records", tag = "filters", security(("credential" = [])), request_body = RecordsBatch,
    responses((status = 200, body = RecordsReply), Caller, BadBody, Forbidden, Conflict))]
pub(super) async fn records(
    State(api): State<Arc<Api>>,
    CurrentFilter(filter): CurrentFilter,
    batch: Result<Json<RecordsRequest>, ApiError>,
) -> Response {
    let answer = match batch {
        Ok(Json(batch)) => keep(&api, &filter, &batch).await,
        Err(error) => Err(error),
    };
    reply(&api, answer)
}

async fn keep(api: &Api, filter: &FilterIdentity, batch: &RecordsRequest) -> Result<SignedAnswer, ApiError> {
    api.push.check(filter, batch.v, &batch.nonce, &batch.filter)?;
    api.push.reported(filter, &batch.filter, batch.stream);
    let next_seq = match api.app.append_records(filter, batch).await {
        Ok(Appended { next_seq, new }) => {
            for record in batch.records.iter().rev().take(new) {
                if let Some((word, count)) = counted(record.get()) {
                    api.metrics.decisions(word, count);
                }
            }
            next_seq
        }
        // Nothing was kept; the answer says from where on to send, which is what it always says.
        Err(AppError::Records(RecordsRefused::Hole { next_seq, .. })) => next_seq,
        Err(error) => return Err(error.into()),
    };
    let nonce = batch.nonce.clone();
    Ok(api.push.sign(&RecordsAnswer { v: PROTOCOL_VERSION, kind: RecordsKind::Records, nonce, next_seq })?)
}

/// The word under which a record is counted, and for how many decisions; nothing if it tells of none.
fn counted(record: &str) -> Option<(&'static str, u64)> {
    #[derive(Deserialize)]
    struct Peek {
        event: EventPeek,
    }
    #[derive(Deserialize)]
    struct EventPeek {
        decision: Option<DecisionWord>,
        count: Option<u64>,
        outcome: Option<UseOutcome>,
        dropped: Option<u64>,
    }
    Some(match serde_json::from_str::<Peek>(record) {
        Ok(Peek { event: EventPeek { decision: Some(word), count, .. } }) => (word.as_str(), count.unwrap_or(1)),
        Ok(Peek { event: EventPeek { outcome: Some(_), .. } }) => return None,
        Ok(Peek { event: EventPeek { dropped, .. } }) => ("dropped", dropped.unwrap_or(1)),
        Err(_) => ("dropped", 1),
    })
}
