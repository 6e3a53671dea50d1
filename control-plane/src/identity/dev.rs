//! The development issuer: mints tokens for whoever is named, with a key that lies in the data folder.
//! For trying things out on one machine; `serve` uses it only with `--dev`.

use grantmesh_shared::time::{Span, Timestamp};
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::keys::{DEV_KEY_ID, DevIssuerKey, KeyError};

/// The `iss` of development tokens.
pub const DEV_ISSUER: &str = "https://dev-issuer.grantmesh.invalid";

/// Their `aud`, unless another one is asked for.
pub const DEV_AUDIENCE: &str = "grantmesh";

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    groups: &'a [String],
    iat: i64,
    exp: i64,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

/// The claims that every token has; no others of these names can be added.
pub const DEV_CLAIMS: [&str; 6] = ["iss", "aud", "sub", "groups", "iat", "exp"];

/// Makes a token for `subject`.
///
/// # Errors
/// If the key cannot sign.
pub fn mint_dev_token(
    key: &DevIssuerKey,
    subject: &str,
    groups: &[String],
    audience: &str,
    ttl: Span,
    now: Timestamp,
) -> Result<String, KeyError> {
    mint_dev_token_with(key, subject, groups, audience, ttl, now, &Map::new())
}

/// Makes a token for `subject` with further claims, none of [`DEV_CLAIMS`].
///
/// # Errors
/// If the key cannot sign.
pub fn mint_dev_token_with(
    key: &DevIssuerKey,
    subject: &str,
    groups: &[String],
    audience: &str,
    ttl: Span,
    now: Timestamp,
    more: &Map<String, Value>,
) -> Result<String, KeyError> {
    let (iat, exp) = (now.millis() / 1_000, now.plus(ttl).millis() / 1_000);
    let claims = Claims { iss: DEV_ISSUER, aud: audience, sub: subject, groups, iat, exp, more };
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(DEV_KEY_ID.to_owned());
    jsonwebtoken::encode(&header, &claims, key.encoding_key())
        .map_err(|_| KeyError::Crypto("the token could not be signed"))
}
