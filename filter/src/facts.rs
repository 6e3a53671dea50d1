//! The facts of a call that the conditions of its service name, gathered for the engine: only those, and nothing where
//! no condition names any. What could be read in two ways refuses the call. For `flow`; knows nothing of the host.

mod source;

use std::borrow::Cow;
use std::net::IpAddr;

use grantmesh_shared::engine::{BodyFacts, Context, FactValue, Needs, Origin, QueryError, query_parameters};

use crate::config::Config;
use crate::headers::Headers;
use crate::identity::{ClaimValue, Identity, IdentityError};
use source::SourceError;

/// Why the facts of a call cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError<'n> {
    /// A header that a condition names comes twice.
    #[error("the call has more than one value of `{0}`, which conditions of the policy name")]
    TwoHeaders(&'n str),
    /// A header that a condition names is not text.
    #[error("the header `{0}`, which conditions of the policy name, is not plain text")]
    Header(&'n str),
    /// A query parameter that a condition names cannot be read in one way.
    #[error(transparent)]
    Query(QueryError<'n>),
    /// The header of the trusted proxy comes twice.
    #[error("the call has more than one header `{0}`, which says where it comes from")]
    TwoSources(String),
    /// The claims of the token cannot be read.
    #[error(transparent)]
    Identity(IdentityError),
}

impl FactsError<'_> {
    /// A short stable word for records and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TwoHeaders(_) | Self::TwoSources(_) => "two_values",
            Self::Header(_) => "malformed_header",
            Self::Query(error) => error.code(),
            Self::Identity(_) => "bad_identity",
        }
    }
}

impl From<SourceError<'_>> for FactsError<'_> {
    fn from(SourceError::Two(header): SourceError<'_>) -> Self {
        Self::TwoSources(header.to_owned())
    }
}

/// What is gathered from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'c> {
    /// The configuration: which proxies are trusted, and where this one stands.
    pub config: &'c Config,
    /// The call's headers.
    pub headers: &'c Headers<'c>,
    /// Who calls, with the token's claims.
    pub identity: &'c Identity<'c>,
    /// What follows the path's `?`.
    pub query: Option<&'c [u8]>,
    /// The authority without its port.
    pub host: Option<&'c [u8]>,
    /// What is known of the request's body.
    pub body: BodyFacts<'c>,
}

/// Gathers what is needed and lends it to `with`.
///
/// # Errors
/// If something that is needed could be read in two ways.
pub fn gather<'n, T>(
    sources: Sources<'_>,
    needs: &'n Needs,
    with: impl FnOnce(&Context<'_>) -> T,
) -> Result<T, FactsError<'n>> {
    let Sources { config, headers, identity, query, host, body } = sources;
    let headers_found = named_headers(headers, &needs.headers)?;
    let query_found = query_parameters(query.unwrap_or_default(), &needs.query).map_err(FactsError::Query)?;
    let query_lent: Vec<(&str, &str)> = query_found.iter().map(|(name, value)| (*name, &**value)).collect();
    let asks_token = !needs.claims.is_empty() || needs.actor || needs.auth_time;
    let claims = match identity.claims.filter(|_| asks_token) {
        Some(claims) => claims.find(&needs.claims).map_err(FactsError::Identity)?,
        None => crate::identity::Found::default(),
    };
    let claims_lent: Vec<(&str, FactValue<'_>)> =
        claims.values.iter().map(|(name, value)| (*name, lent(value))).collect();
    let host = needs.host.then(|| host.and_then(lower)).flatten();
    let address: Option<IpAddr> = match &config.source {
        Some(source) if needs.address => source::address(headers, source)?,
        _ => None,
    };
    let country = match &config.country_header {
        Some(header) if needs.country => source::country(headers, header)?,
        _ => None,
    };
    let origin = &config.origin;
    let context = Context {
        host: host.as_deref(),
        headers: &headers_found,
        query: &query_lent,
        claims: &claims_lent,
        body,
        actor: claims.actor,
        auth_time: claims.auth_time,
        address,
        country,
        origin: Origin {
            mesh: origin.mesh.as_deref(),
            namespace: origin.namespace.as_deref(),
            gateway: origin.gateway.as_deref(),
        },
    };
    Ok(with(&context))
}

const fn lent<'l>(value: &'l ClaimValue<'_>) -> FactValue<'l> {
    match value {
        ClaimValue::Text(text) => FactValue::Text(text),
        ClaimValue::Number(number) => FactValue::Number(*number),
        ClaimValue::Bool(truth) => FactValue::Bool(*truth),
        ClaimValue::Texts(texts) => FactValue::Texts(texts.as_slice()),
        ClaimValue::Other => FactValue::Other,
    }
}

/// The named headers that are there, once each and as plain text.
fn named_headers<'n, 'h>(
    headers: &Headers<'h>,
    names: &'n [Box<str>],
) -> Result<Vec<(&'n str, &'h str)>, FactsError<'n>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    if names.is_empty() {
        return Ok(found);
    }
    for (name, value) in headers.iter() {
        let Some(named) = names.iter().find(|named| named.as_bytes() == name) else {
            continue;
        };
        if found.iter().any(|(known, _)| *known == &**named) {
            return Err(FactsError::TwoHeaders(named));
        }
        found.push((named, plain(value).ok_or(FactsError::Header(named))?));
    }
    Ok(found)
}

/// A header's value as every part of the path of a call reads it: visible ASCII with single blanks between.
fn plain(value: &[u8]) -> Option<&str> {
    let fine = value.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| fine).map(str::trim_ascii)
}

/// A host in lower case.
fn lower(host: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(host).ok()?;
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_ascii_lowercase()) })
}

#[cfg(test)]
mod tests;
