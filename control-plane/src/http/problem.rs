//! What a refusal tells its caller: one status per kind of error, chosen here and nowhere else, in one envelope
//! (`application/problem+json`) with the stable code of the error.

use std::any::Any;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use grantmesh_shared::wire::policy::Difference;
use grantmesh_shared::wire::problem::{MEDIA_TYPE, Problem, ProblemReason};

use crate::app::{AppError, Conflict, Invalid, PolicyChanged, RecordsRefused};
use crate::identity::TokenError;
use crate::push::PushError;
use crate::redact::redacted;
use crate::store::StoreError;

/// So many changes of the policy are told to whoever expected another one.
const MAX_CHANGES: usize = 100;

/// Everything that a handler can refuse or fail with.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The caller is not who they must be.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// A value of the body, the query or a header has another form.
    #[error("{0}")]
    Value(String),
    /// It is not said what the policy was made from.
    #[error(
        "it is not said which policy is replaced\nsend the `ETag` of the version that the files were made from as `If-Match`, or `If-None-Match: *` for the first one"
    )]
    Precondition,
    /// The body is too large.
    #[error(
        "the body is too large\nsend at most 64 KiB, 1 MiB with policy files to check, or 16 MiB with those to apply or simulate: as JSON, about 15 MiB of files"
    )]
    TooLarge,
    /// The use case refused or failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The filter's question is refused or cannot be answered.
    #[error(transparent)]
    Push(#[from] PushError),
    /// As many listen to events as may.
    #[error("{0} listen to events already, as many as may\nend one of them, or try again later")]
    Streams(&'static str),
    /// It took too long.
    #[error("the request took too long\ntry again; a write that was acknowledged is kept")]
    TimedOut,
    /// A handler panicked.
    #[error("something failed inside")]
    Panicked,
    /// No such route.
    #[error("there is nothing at `{0}`\nsee `/openapi.json`")]
    Route(String),
    /// The route has another method.
    #[error("`{0}` is not a method of this route\nsee `/openapi.json`")]
    Method(String),
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Token(_) => (StatusCode::UNAUTHORIZED, "bad_token"),
            Self::Json(_) => (StatusCode::BAD_REQUEST, "malformed_json"),
            Self::Value(_) => (StatusCode::BAD_REQUEST, "bad_value"),
            Self::Precondition => (StatusCode::PRECONDITION_REQUIRED, "precondition_required"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::App(error) => (app_status(error), error.code()),
            Self::Push(error) => push_status_and_code(error),
            Self::Streams(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_streams"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed_out"),
            Self::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Route(_) => (StatusCode::NOT_FOUND, "unknown_route"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "unknown_method"),
        }
    }

    /// The document that tells the caller. What failed inside is logged, not told.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        let mut problem = Problem::new(status.as_u16(), code, &title(code));
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            return problem
                .detail("something failed inside; the server's log says what, under this request's `x-request-id`");
        }
        problem.reasons = match self {
            Self::App(AppError::Invalid(Invalid::Policy(faults))) => {
                faults.iter().map(|fault| reason("fault", fault.to_string())).collect()
            }
            Self::App(AppError::Conflict(Conflict::PolicyChanged(changed))) => changes(changed),
            Self::App(AppError::Conflict(Conflict::AlreadyAsked { request })) => {
                vec![reason("pending_request", request.to_string())]
            }
            _ => Vec::new(),
        };
        for reason in &mut problem.reasons {
            reason.detail = redacted(&reason.detail).into_owned();
        }
        problem.detail(redacted(&self.to_string()))
    }
}

fn reason(code: &str, detail: String) -> ProblemReason {
    ProblemReason { code: code.to_owned(), detail }
}

/// What changed in the policy meanwhile, or the beginning of it.
fn changes(PolicyChanged { changes, .. }: &PolicyChanged) -> Vec<ProblemReason> {
    let told = |change: &Difference| {
        let fields: String = change.fields.iter().map(|field| format!("\n  {field}")).collect();
        reason(change.change, format!("{}: {} {}{fields}", change.change, change.kind, change.name))
    };
    let mut reasons: Vec<ProblemReason> = changes.iter().take(MAX_CHANGES).map(told).collect();
    let more = changes.len().saturating_sub(MAX_CHANGES);
    reasons.extend((more > 0).then(|| reason("more", format!("and {more} more"))));
    reasons
}

fn app_status(error: &AppError) -> StatusCode {
    match error {
        AppError::NotFound { .. } => StatusCode::NOT_FOUND,
        AppError::Forbidden(_) => StatusCode::FORBIDDEN,
        AppError::Conflict(Conflict::PolicyChanged(_) | Conflict::SignalChanged { .. }) => {
            StatusCode::PRECONDITION_FAILED
        }
        AppError::Conflict(_) => StatusCode::CONFLICT,
        AppError::Invalid(Invalid::IdempotencyKey) => StatusCode::BAD_REQUEST,
        AppError::Invalid(Invalid::Filter { .. }) => StatusCode::FORBIDDEN,
        AppError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        AppError::Records(refused) => match refused {
            RecordsRefused::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            RecordsRefused::Malformed { .. } => StatusCode::BAD_REQUEST,
            RecordsRefused::Hole { .. } | RecordsRefused::WrongPrev { .. } => StatusCode::CONFLICT,
            RecordsRefused::NotYours { .. } => StatusCode::FORBIDDEN,
        },
        AppError::Busy | AppError::Limit(_) => StatusCode::TOO_MANY_REQUESTS,
        AppError::Store(StoreError::Database(_) | StoreError::Open(_)) => StatusCode::SERVICE_UNAVAILABLE,
        AppError::Store(_) | AppError::Audit(_) | AppError::Random(_) | AppError::Check(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

fn push_status_and_code(error: &PushError) -> (StatusCode, &'static str) {
    match error {
        PushError::Version(_) => (StatusCode::BAD_REQUEST, "unknown_version"),
        PushError::Nonce | PushError::Services => (StatusCode::BAD_REQUEST, "bad_value"),
        PushError::NotCovered(_) => (StatusCode::FORBIDDEN, "service_not_covered"),
        PushError::Ahead => (StatusCode::CONFLICT, "filter_ahead"),
        PushError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        PushError::App(error) => (app_status(error), error.code()),
        PushError::Json(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// `already_decided` as people read it.
fn title(code: &str) -> String {
    let words = code.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(error = &self as &dyn std::error::Error, code = problem.code, "a request failed");
        }
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        let more = match status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            // When it is worth another try, the document says; a second is too soon.
            StatusCode::TOO_MANY_REQUESTS if matches!(self, Self::App(AppError::Limit(_))) => None,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = more {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

pub(super) async fn unknown_route(request: Request) -> ApiError {
    ApiError::Route(request.uri().path().chars().take(128).collect())
}

pub(super) async fn unknown_method(request: Request) -> ApiError {
    ApiError::Method(request.method().as_str().chars().take(32).collect())
}

pub(super) fn caught_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("without a text"), "a handler panicked");
    ApiError::Panicked.into_response()
}
