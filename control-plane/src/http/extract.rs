//! What handlers take: the verified caller, and values that were parsed strictly. Each refusal says what to do.

use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use grantmesh_shared::time::{Timestamp, TimestampError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::Api;
use super::problem::ApiError;
use crate::app::{AppError, FilterIdentity};
use crate::domain::Actor;
use crate::identity::{FilterClaims, TokenError};

/// The user whose token came with the request.
pub(super) struct CurrentUser(pub(super) Actor);

/// The same, with the time until which the token is good.
pub(super) struct Session {
    pub(super) actor: Actor,
    pub(super) ends_at: Timestamp,
}

/// The filter whose credential came with the request.
pub(super) struct CurrentFilter(pub(super) FilterIdentity);

/// A JSON body, with faults told by line and column.
pub(super) struct Json<T>(pub(super) T);

/// The query, with unknown names refused where `T` does.
pub(super) struct Asked<T>(pub(super) T);

/// An id in the path. A text that is no id is an id that does not exist.
pub(super) struct Id<T>(pub(super) T);

/// How many things a page has at most; a page may have fewer.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Limit(u32);

/// A whole number that JSON's readers everywhere take exactly.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Whole(u64);

impl Limit {
    /// More than these are on no page.
    pub(super) const MOST: u32 = 1_000;

    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        let fits = (1..=Self::MOST).contains(&number);
        fits.then_some(Self(number))
            .ok_or_else(|| format!("`{number}` things make no page\nask for 1 to {}", Self::MOST))
    }
}

impl Whole {
    const MOST: u64 = (1 << 53) - 1;

    pub(super) const fn number(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Whole {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        let fits = number <= Self::MOST;
        fits.then_some(Self(number)).ok_or_else(|| format!("`{number}` is too large\nnothing here counts so far"))
    }
}

/// A time that a body or query states under a name.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let read = |text: &str| text.parse().map_err(|error: TimestampError| ApiError::Value(format!("`{name}`: {error}")));
    text.map(read).transpose()
}

/// The only `authorization` header's bearer token.
fn bearer(parts: &Parts) -> Result<&str, TokenError> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenError::Missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(TokenError::Header)?;
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Header);
    }
    Ok(token.trim())
}

impl FromRequestParts<Arc<Api>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let claims = api.users.verify(bearer(parts)?, api.now()).await?;
        let actor = Actor::new(&claims.issuer, &claims.subject, claims.groups).with_claims(claims.others);
        Ok(Self { actor, ends_at: claims.expires_at })
    }
}

impl FromRequestParts<Arc<Api>> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        Session::from_request_parts(parts, api).await.map(|Session { actor, .. }| Self(actor))
    }
}

impl FromRequestParts<Arc<Api>> for CurrentFilter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let FilterClaims { node, services } = api.filters.verify(bearer(parts)?, api.now())?;
        Ok(Self(FilterIdentity { node, services }))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|refused| match refused.status().as_u16() {
            413 => ApiError::TooLarge,
            _ => ApiError::Value("the body could not be read\nsend it again".to_owned()),
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| match error.classify() {
            Category::Data => {
                ApiError::Value(format!("the body is not what this route takes: {error}\nsee `/openapi.json`"))
            }
            Category::Syntax | Category::Eof | Category::Io => ApiError::Json(error.to_string()),
        })
    }
}

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|refused| {
            let text = refused.body_text();
            let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
            ApiError::Value(format!("the query is not what this route takes: {text}\nsee `/openapi.json`"))
        })
    }
}

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let what = match parts.uri.path().split('/').nth(2) {
            Some("grants") => "grant",
            Some("delegations") => "delegation",
            Some("locks") => "lock",
            Some("signals") => "signal",
            Some("policy") => "policy",
            Some("notifications") => "notification",
            _ => "request",
        };
        let unknown = |id: String| ApiError::App(AppError::NotFound { what, id });
        let path = Path::<String>::from_request_parts(parts, state).await.map_err(|_| unknown(String::new()))?;
        path.parse().map(Self).map_err(|_| unknown(path.chars().take(64).collect()))
    }
}
