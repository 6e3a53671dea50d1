//! From the text of a token to checked claims: form, algorithm, signature, then every claim by its type.
//! Used for users' tokens and filters' credentials alike.

use grantmesh_shared::text::misleads;
use grantmesh_shared::time::{Span, Timestamp};
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::jwks::KeySet;

/// The longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The longest subject, in bytes.
const MAX_SUBJECT_BYTES: usize = 256;

/// The most groups.
const MAX_GROUPS: usize = 256;

/// How far the issuer's clock may be off.
const LEEWAY: Span = Span::from_secs(10);

/// The algorithms that are accepted: all with a public key. Nobody who can verify such a token can forge one.
pub(super) const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Why a token is not accepted. Nothing of the token is in any of the texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is no token\nsend `authorization: Bearer TOKEN`")]
    Missing,
    /// The header has another form, or there are two.
    #[error("the `authorization` header is not one of the form `Bearer TOKEN`\nsend exactly one such header")]
    Header,
    /// Longer than any token should be.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes\nask the issuer for one with fewer claims")]
    TooLong,
    /// Not a JSON Web Token.
    #[error("the token is not a signed JSON Web Token\nuse the access token as the issuer gave it")]
    Malformed,
    /// Not signed, or signed with a shared secret.
    #[error("the token is not signed with a public-key algorithm\nconfigure the issuer for ES256, EdDSA or RS256")]
    Algorithm,
    /// Not signed by a key that is known.
    #[error("the token's key is not one of the issuer's\nget a new token")]
    UnknownKey,
    /// Forged or damaged.
    #[error("the token's signature does not hold\nget a new token")]
    Signature,
    /// A required claim is not there.
    #[error("the token has no claim `{0}`\nconfigure the issuer to include it")]
    ClaimMissing(&'static str),
    /// A claim is of another type or out of bounds.
    #[error("the token's claim `{0}` is not {1}\nconfigure the issuer to write it so")]
    ClaimForm(&'static str, &'static str),
    /// Of another issuer.
    #[error("the token is of another issuer\nget one of `{0}`")]
    Issuer(String),
    /// For somebody else.
    #[error("the token is for another audience\nget one for `{0}`")]
    Audience(String),
    /// Its time is over.
    #[error("the token expired at {0}\nget a new one")]
    Expired(Timestamp),
    /// Its time has not come.
    #[error("the token is not valid before {0}\ncheck the clocks of this machine and of the issuer")]
    NotYet(Timestamp),
}

/// What a user's token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaims {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `groups`; empty if the token names none.
    pub groups: Vec<String>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// All others, for rules whose condition names some.
    pub others: serde_json::Map<String, Value>,
}

/// Claims before their types are checked; a repeated claim is refused by the reader.
#[derive(Debug, Deserialize)]
pub(super) struct RawClaims {
    iss: Option<Value>,
    aud: Option<Value>,
    sub: Option<Value>,
    exp: Option<Value>,
    iat: Option<Value>,
    nbf: Option<Value>,
    groups: Option<Value>,
    pub(super) services: Option<Value>,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

/// Reads a token's header, of which only `alg` and `kid` are used, to find the key.
pub(super) fn header(token: &str) -> Result<Header, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| malformed_or_unsigned(token))?;
    if !ASYMMETRIC.contains(&header.alg) {
        return Err(TokenError::Algorithm);
    }
    // Extensions that the reader must understand; none is understood here.
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(TokenError::Malformed);
    }
    Ok(header)
}

/// Tells an unsigned token or one of an unknown algorithm from one that is no token.
fn malformed_or_unsigned(token: &str) -> TokenError {
    use base64::Engine as _;
    #[derive(Deserialize)]
    struct OnlyAlgorithm {
        #[serde(rename = "alg")]
        _alg: String,
    }
    let first = token.split('.').next().unwrap_or_default();
    let read = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(first).ok();
    match read.and_then(|json| serde_json::from_slice::<OnlyAlgorithm>(&json).ok()) {
        Some(_) if token.split('.').count() == 3 => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}

/// The claims of a token whose signature holds under one of the keys that fit its header.
pub(super) fn verified(token: &str, header: &Header, keys: &KeySet) -> Result<RawClaims, TokenError> {
    let key = keys.find(header).ok_or(TokenError::UnknownKey)?;
    // Times and names are checked by `user` and by the credentials, against our own clock and by type.
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<RawClaims>(token, key, &validation).map_err(|error| {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => {
                TokenError::Malformed
            }
            _ => TokenError::Signature,
        }
    })?;
    Ok(decoded.claims)
}

/// Checks what every token must say: issuer, audience, times and subject.
pub(super) fn common(
    raw: &RawClaims,
    issuer: &str,
    audience: &str,
    now: Timestamp,
) -> Result<(String, Timestamp), TokenError> {
    if text("iss", raw.iss.as_ref())? != issuer {
        return Err(TokenError::Issuer(issuer.to_owned()));
    }
    let for_us = match raw.aud.as_ref().ok_or(TokenError::ClaimMissing("aud"))? {
        Value::String(one) => one == audience,
        Value::Array(many) if many.iter().all(Value::is_string) => many.iter().any(|one| one == audience),
        _ => {
            return Err(TokenError::ClaimForm("aud", "a string or a list of strings"));
        }
    };
    if !for_us {
        return Err(TokenError::Audience(audience.to_owned()));
    }
    let subject = text("sub", raw.sub.as_ref())?;
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(misleads) {
        return Err(TokenError::ClaimForm("sub", "1 to 256 bytes of characters that all show as what they are"));
    }
    let expires_at = date("exp", raw.exp.as_ref())?;
    if expires_at.plus(LEEWAY) <= now {
        return Err(TokenError::Expired(expires_at));
    }
    let not_before = raw.nbf.as_ref().map(|nbf| date("nbf", Some(nbf))).transpose()?;
    for begins in [Some(date("iat", raw.iat.as_ref())?), not_before].into_iter().flatten() {
        if begins > now.plus(LEEWAY) {
            return Err(TokenError::NotYet(begins));
        }
    }
    Ok((subject.to_owned(), expires_at))
}

/// Checks the claims of a user's token.
pub(super) fn user(raw: RawClaims, issuer: &str, audience: &str, now: Timestamp) -> Result<UserClaims, TokenError> {
    let (subject, expires_at) = common(&raw, issuer, audience, now)?;
    let groups = match raw.groups {
        None => Vec::new(),
        Some(groups) => {
            strings(&groups, MAX_GROUPS).ok_or(TokenError::ClaimForm("groups", "a list of at most 256 strings"))?
        }
    };
    // They are shown to those who decide.
    if groups.iter().any(|group| group.chars().any(misleads)) {
        return Err(TokenError::ClaimForm("groups", "names of characters that all show as what they are"));
    }
    Ok(UserClaims { issuer: issuer.to_owned(), subject, groups, expires_at, others: raw.others })
}

/// A list of non-empty strings.
pub(super) fn strings(value: &Value, most: usize) -> Option<Vec<String>> {
    let list = value.as_array().filter(|list| list.len() <= most)?;
    list.iter().map(|one| one.as_str().filter(|one| !one.is_empty() && one.len() <= 256).map(str::to_owned)).collect()
}

fn text<'v>(name: &'static str, value: Option<&'v Value>) -> Result<&'v str, TokenError> {
    let value = value.ok_or(TokenError::ClaimMissing(name))?;
    value.as_str().ok_or(TokenError::ClaimForm(name, "a string"))
}

/// A `NumericDate`: seconds since the Unix epoch, possibly with a fraction.
fn date(name: &'static str, value: Option<&Value>) -> Result<Timestamp, TokenError> {
    let value = value.ok_or(TokenError::ClaimMissing(name))?;
    let form = || TokenError::ClaimForm(name, "a number of seconds");
    let whole = match value {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().and_then(whole_seconds)).ok_or_else(form)?
        }
        _ => return Err(form()),
    };
    i64::try_from(whole.saturating_mul(1_000)).map(Timestamp::from_millis).map_err(|_| form())
}

fn whole_seconds(seconds: f64) -> Option<u64> {
    if !(0.0..=1e12).contains(&seconds) {
        return None;
    }
    format!("{:.0}", seconds.floor()).parse().ok()
}
