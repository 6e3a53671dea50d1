//! `Idempotency-Key`: a repeated send makes nothing new.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use grantmesh_shared::wire::signature::Sha256Hash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::Api;
use super::extract::Json;
use super::problem::ApiError;
use crate::app::{App, IdempotencyKey};

/// Names a send, so that it makes something once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The body of a send that makes something, and the use cases, which know the send again by its key.
pub(super) struct Once<T> {
    pub(super) app: App,
    pub(super) body: T,
}

impl<T: DeserializeOwned + Serialize> FromRequest<Arc<Api>> for Once<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let key = key(request.headers())?;
        let route = format!("{} {}\n", request.method(), request.uri().path());
        let Json(body) = Json::<T>::from_request(request, api).await?;
        let app = match key {
            None => api.app.clone(),
            Some(key) => api.app.once(key, sent(route, &body)?),
        };
        Ok(Self { app, body })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // A header that is no text, or there twice, is as little a key as one with other signs in it.
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    Ok(Some(IdempotencyKey::new(text.unwrap_or_default())?))
}

/// The hash of all that was sent. Of the body as it was understood: how its JSON was written makes no other send.
fn sent(route: String, body: &impl Serialize) -> Result<Sha256Hash, ApiError> {
    let mut all = route.into_bytes();
    serde_json::to_writer(&mut all, body).map_err(|error| ApiError::Json(error.to_string()))?;
    Ok(Sha256Hash::of(&all))
}

/// The header, for the description of a route that makes something.
pub(super) enum OnceHeader {}

impl IntoParams for OnceHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128));
        let described = "your word for this very send, like a random UUID, known for a day: a repeat of it makes nothing new \
                         and answers with what is there by then; the same key with something else is refused";
        let header = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(described))
            .schema(Some(key.pattern(Some("^[!-~]+$")).build()));
        vec![header.build()]
    }
}
