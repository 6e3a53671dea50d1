//! Credentials of filters: tokens that the control plane signed with its own key and that name the services a filter may load.
//! Minted offline by `grantmesh credential`, checked on every question of a filter.

use grantmesh_shared::time::{Span, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Serialize;

use super::claims::{self, TokenError};
use super::jwks::KeySet;
use crate::keys::{Ed25519Key, KeyError};

/// The `iss` of a credential.
pub const FILTER_ISSUER: &str = "grantmesh";

/// The `aud` of a credential: differs from every user's, so that neither passes for the other.
pub const FILTER_AUDIENCE: &str = "grantmesh-filter";

/// The most services in one credential.
const MAX_SERVICES: usize = 256;

/// What a credential says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterClaims {
    /// The node it was made for.
    pub node: String,
    /// The services it may load.
    pub services: Vec<String>,
}

/// Checks and mints credentials with the control plane's own key.
#[derive(Debug)]
pub struct FilterCredentials {
    keys: KeySet,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    services: &'a [String],
    iat: i64,
    exp: i64,
}

impl FilterCredentials {
    /// Credentials signed by `key`.
    #[must_use]
    pub fn new(key: &Ed25519Key) -> Self {
        Self { keys: KeySet::one(DecodingKey::from_ed_der(&key.public()), &[Algorithm::EdDSA]) }
    }

    /// Checks a credential.
    ///
    /// # Errors
    /// As for users' tokens.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<FilterClaims, TokenError> {
        let header = claims::header(token)?;
        let raw = claims::verified(token, &header, &self.keys)?;
        let (node, _) = claims::common(&raw, FILTER_ISSUER, FILTER_AUDIENCE, now)?;
        let services = raw.services.as_ref().ok_or(TokenError::ClaimMissing("services"))?;
        let services = claims::strings(services, MAX_SERVICES).filter(|services| !services.is_empty());
        let services = services.ok_or(TokenError::ClaimForm("services", "a list of 1 to 256 names"))?;
        Ok(FilterClaims { node, services })
    }

    /// Makes a credential.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn mint(
        key: &Ed25519Key,
        node: &str,
        services: &[String],
        ttl: Span,
        now: Timestamp,
    ) -> Result<String, KeyError> {
        let (iss, aud) = (FILTER_ISSUER, FILTER_AUDIENCE);
        let (iat, exp) = (now.millis() / 1_000, now.plus(ttl).millis() / 1_000);
        let claims = Claims { iss, aud, sub: node, services, iat, exp };
        let encoded = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key.encoding_key()?);
        encoded.map_err(|_| KeyError::Crypto("the credential could not be signed"))
    }
}
