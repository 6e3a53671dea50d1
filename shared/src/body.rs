//! JSON bodies, read as strictly as every parser behind the proxy could read them: the named places of a request, for
//! conditions and bindings of grants, and the places of a response that are masked. What two parsers could take
//! differently about a place that is read refuses the whole body. The grammar is `serde_json`'s; numbers stay as written.
//!
//! Called by the filter for bodies of callers and services, by the control plane for what a requester shows.
//! Work is bounded by size of the body times depth of the deepest pointer; nothing recurses further than a pointer is deep.

mod pointer;
mod walk;

use std::borrow::Cow;

use crate::engine::{Decimal, FactValue};
use pointer::Pointer;
use walk::{Found, walk};

/// The deepest nesting that is read where nothing else is configured.
pub const DEFAULT_DEPTH: usize = 32;

/// Why a body is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not UTF-8.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Not one JSON value and nothing else.
    #[error("the body is not strict JSON: {0}")]
    Malformed(String),
    /// Nested too deep.
    #[error("the body is nested deeper than {0} levels")]
    TooDeep(usize),
    /// An object on the way to a place that is read has a key twice, or two that some parsers take for one.
    #[error("the body has the key `{0}` twice, or in two spellings that some parsers do not tell apart")]
    TwoKeys(String),
    /// A number with more digits than can be compared exactly.
    #[error("the number at `{0}` of the body has more digits than can be compared exactly")]
    Number(String),
}

impl BodyError {
    /// A short stable word for records and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 | Self::Malformed(_) => "malformed_body",
            Self::TooDeep(_) => "body_too_deep",
            Self::TwoKeys(_) => "two_keys",
            Self::Number(_) => "inexact_number",
        }
    }
}

/// The value at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyValue<'b> {
    /// A text.
    Text(Cow<'b, str>),
    /// A number, exactly.
    Number(Decimal),
    /// `true` or `false`.
    Bool(bool),
    /// `null`, an object, an array, a text with a zero in it; or something that is no object or array stands on the way.
    Other,
}

impl BodyValue<'_> {
    /// As conditions see it.
    #[must_use]
    pub fn lent(&self) -> FactValue<'_> {
        match self {
            Self::Text(text) => FactValue::Text(text),
            Self::Number(number) => FactValue::Number(*number),
            Self::Bool(truth) => FactValue::Bool(*truth),
            Self::Other => FactValue::Other,
        }
    }
}

/// Reads the values at the places that are wanted, each a name with its JSON pointer. Places that the body does not have
/// are left out.
///
/// A name that is its own pointer is a selector's: in a body that is no object it is [`BodyValue::Other`], so that a batch
/// is never one of its calls.
///
/// # Errors
/// If the body is no strict JSON, or could be read in two ways where it is read.
pub fn read<'b, 'n>(
    body: &'b [u8],
    wanted: &'n [(Box<str>, Box<str>)],
    depth: usize,
) -> Result<Vec<(&'n str, BodyValue<'b>)>, BodyError> {
    let text = checked(body, depth)?;
    let pointers: Vec<Pointer<'_>> = wanted.iter().map(|(_, pointer)| Pointer::new(pointer)).collect();
    let mut found: Vec<Option<Found<'b>>> = vec![None; pointers.len()];
    walk(text, &pointers, &mut |place, value| {
        if let Some(slot) = found.get_mut(place) {
            *slot = Some(value);
        }
    })?;
    let is_object = text.starts_with('{');
    let mut values = Vec::with_capacity(found.len());
    for ((name, pointer), found) in wanted.iter().zip(found) {
        let value = match found {
            _ if !is_object && name == pointer => BodyValue::Other,
            None => continue,
            Some(Found::InTheWay(_)) => BodyValue::Other,
            Some(Found::Value(raw)) => value(raw, pointer)?,
        };
        values.push((&**name, value));
    }
    Ok(values)
}

/// The body with `null` in place of the values at the pointers. What stands on the way to one and leads nowhere is masked
/// as a whole: it may hold the value in another form. Everything else stays, byte for byte.
///
/// # Errors
/// If the body is no strict JSON, or could be read in two ways on the way to a place.
pub fn mask<'p>(body: &[u8], pointers: impl IntoIterator<Item = &'p str>, depth: usize) -> Result<Vec<u8>, BodyError> {
    const MASK: &[u8] = b"null";
    let text = checked(body, depth)?;
    let pointers: Vec<Pointer<'_>> = pointers.into_iter().map(Pointer::new).collect();
    let mut ranges = Vec::new();
    walk(text, &pointers, &mut |_, found| {
        let (Found::Value(raw) | Found::InTheWay(raw)) = found;
        // Every piece is a part of `text`.
        let start = raw.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        ranges.push(start..start.saturating_add(raw.len()));
    })?;
    ranges.sort_unstable_by_key(|range| (range.start, usize::MAX.saturating_sub(range.end)));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0_usize;
    // One that begins before the end of another lies within it.
    for range in ranges.into_iter() {
        if range.start < at {
            continue;
        }
        out.extend_from_slice(text.as_bytes().get(at..range.start).unwrap_or_default());
        out.extend_from_slice(MASK);
        at = range.end;
    }
    out.extend_from_slice(text.as_bytes().get(at..).unwrap_or_default());
    Ok(out)
}

/// The one value of a body, without the blanks around it.
fn checked(body: &[u8], depth: usize) -> Result<&str, BodyError> {
    let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    if is_deeper(text, depth) {
        return Err(BodyError::TooDeep(depth));
    }
    let raw: &serde_json::value::RawValue =
        // From bytes, as everything else that a filter reads: the parser is in its module once.
        serde_json::from_slice(body).map_err(|error| BodyError::Malformed(error.to_string()))?;
    Ok(raw.get())
}

/// Whether brackets are open within each other more than `depth` times. Of a text that is no JSON this may say anything.
fn is_deeper(text: &str, depth: usize) -> bool {
    let (mut open, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                open = open.saturating_add(1);
                if open > depth {
                    return true;
                }
            }
            b'}' | b']' if !in_text => open = open.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A value as conditions know it.
fn value<'b>(raw: &'b str, pointer: &str) -> Result<BodyValue<'b>, BodyError> {
    Ok(match raw.as_bytes().first() {
        Some(b'"') => {
            let text = walk::text(raw)?;
            if text.contains('\0') { BodyValue::Other } else { BodyValue::Text(text) }
        }
        Some(b't') => BodyValue::Bool(true),
        Some(b'f') => BodyValue::Bool(false),
        Some(b'-' | b'0'..=b'9') => BodyValue::Number(raw.parse().map_err(|_| BodyError::Number(pointer.to_owned()))?),
        _ => BodyValue::Other,
    })
}

#[cfg(test)]
mod tests;
