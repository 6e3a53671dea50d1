//! The claims of the verified token that conditions name: read only when a policy names some, and only those, each of
//! exactly the type that it has. What is of no type that a condition knows is there but matches nothing.

use grantmesh_shared::engine::Decimal;
use grantmesh_shared::time::Timestamp;

use super::protobuf::{Fields, Value};
use super::{IdentityError, name_in};

/// The longest text of a claim, in bytes.
const MAX_TEXT_BYTES: usize = 8_192;

/// The most texts of a list.
const MAX_TEXTS: usize = 256;

/// Beyond this the proxy's numbers are no longer exact.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The verified claims as the proxy has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims<'a>(pub(super) &'a [u8]);

/// The value of one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimValue<'a> {
    /// A text.
    Text(&'a str),
    /// A number that the proxy has exactly.
    Number(Decimal),
    /// `true` or `false`.
    Bool(bool),
    /// A list of texts.
    Texts(Vec<&'a str>),
    /// Anything else.
    Other,
}

/// The claims that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found<'a, 'n> {
    /// The named claims that the token has.
    pub values: Vec<(&'n str, ClaimValue<'a>)>,
    /// `act.sub`: who acts for the user.
    pub actor: Option<&'a str>,
    /// `auth_time`.
    pub auth_time: Option<Timestamp>,
}

impl<'a> Claims<'a> {
    /// Reads the named claims, `act.sub` and `auth_time`. A claim that is `null` is none.
    ///
    /// # Errors
    /// If one of these is there twice, or the metadata cannot be read.
    pub fn find<'n>(self, wanted: &'n [Box<str>]) -> Result<Found<'a, 'n>, IdentityError> {
        let mut found = Found::default();
        let (mut act, mut auth_time) = (None, None);
        for entry in Fields(self.0).entries(1) {
            let (name, value) = entry?;
            let twice = match name {
                b"act" => act.replace(value).is_some(),
                b"auth_time" => auth_time.replace(value).is_some(),
                _ => false,
            };
            let named = wanted.iter().find(|wanted| wanted.as_bytes() == name);
            if twice || named.is_some_and(|named| found.values.iter().any(|(known, _)| *known == &**named)) {
                return Err(IdentityError::Metadata);
            }
            if let Some((named, value)) = named.zip(claim(value)?) {
                found.values.push((named, value));
            }
        }
        found.actor = act.map(actor).transpose()?.flatten();
        found.auth_time = auth_time.map(seconds).transpose()?.flatten();
        Ok(found)
    }
}

fn claim(value: &[u8]) -> Result<Option<ClaimValue<'_>>, IdentityError> {
    Ok(Some(match Value::read(value)? {
        Value::Null => return Ok(None),
        Value::Text(text) => text_of(text).map_or(ClaimValue::Other, ClaimValue::Text),
        Value::Bool(truth) => ClaimValue::Bool(truth),
        Value::Number(number) => exact(number).map_or(ClaimValue::Other, ClaimValue::Number),
        Value::List(list) => texts(list)?.map_or(ClaimValue::Other, ClaimValue::Texts),
        Value::Struct(_) => ClaimValue::Other,
    }))
}

fn text_of(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX_TEXT_BYTES)
}

/// A number as the token wrote it, if the proxy's form of it is certainly the same.
fn exact(number: f64) -> Option<Decimal> {
    let certain = number.is_finite() && number.abs() <= MAX_EXACT;
    certain.then(|| format!("{number:e}").parse().ok()).flatten()
}

fn texts(list: &[u8]) -> Result<Option<Vec<&str>>, IdentityError> {
    let mut texts = Vec::new();
    for item in Fields(list).messages(1) {
        match Value::read(item?)? {
            Value::Text(text) if texts.len() < MAX_TEXTS => match text_of(text) {
                Some(text) => texts.push(text),
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Ok(Some(texts))
}

/// `sub` of the claim `act` (RFC 8693). An actor without a name, or with a strange one, is none: what asks for one errs.
fn actor(act: &[u8]) -> Result<Option<&str>, IdentityError> {
    let Value::Struct(fields) = Value::read(act)? else {
        return Ok(None);
    };
    let sub = Fields(fields).entry(1, b"sub")?;
    Ok(sub.and_then(|sub| name_in(Some(sub), "act").ok()))
}

/// Seconds since 1970, as OpenID Connect writes `auth_time`.
fn seconds(value: &[u8]) -> Result<Option<Timestamp>, IdentityError> {
    let Value::Number(number) = Value::read(value)? else {
        return Ok(None);
    };
    let plain = (0.0..=1e12).contains(&number).then_some(number * 1_000.0);
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1e15 every value has its whole number")]
    let millis = plain.map(|millis| millis as i64);
    Ok(millis.map(Timestamp::from_millis))
}
