//! The body of a call: whether deciding needs it, what it must be to be read, and what refuses the call for it. For `flow`.

use grantmesh_shared::body::{self, BodyError, BodyValue};
use grantmesh_shared::engine::{BodyMode, Decision, EvalError, Prepared, Reason};

use crate::config::BodiesConfig;
use crate::headers::Headers;

/// What there is of a call's body when the call is decided.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'b> {
    /// Nothing yet: the head is all that has come.
    Head,
    /// The call has none.
    Nothing,
    /// All of it.
    Whole(&'b [u8]),
    /// It is not going to be read.
    Never(Unread),
}

/// Why a body that deciding needs is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// There is more of it than is read.
    TooLarge,
    /// It did not come in time.
    Late,
    /// Too many calls wait for theirs.
    NoRoom,
    /// The service answered before it was there.
    Answered,
    /// The call was not held when it came.
    NotHeld,
}

/// Why a call is refused for its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BodyRefusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// A short stable word.
    pub(super) code: &'static str,
    /// The reason in words.
    pub(super) detail: String,
}

impl BodyRefusal {
    fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    pub(super) fn unread(unread: Unread, config: &BodiesConfig) -> Self {
        match unread {
            Unread::TooLarge => Self::new(
                413,
                "body_too_large",
                format!(
                    "whether the call is allowed depends on its body, which has more than {} bytes",
                    config.request_bytes
                ),
            ),
            Unread::Late => Self::new(
                408,
                "body_late",
                "whether the call is allowed depends on its body, which did not come in time",
            ),
            Unread::NoRoom => Self::new(503, "too_many_bodies", "too many calls wait for their bodies already"),
            Unread::Answered => Self::new(
                403,
                "answered_early",
                "the service answered before the call was decided, so the answer is withheld",
            ),
            Unread::NotHeld => {
                Self::new(403, "body_not_read", "the policy changed while the call waited, and now depends on its body")
            }
        }
    }

    /// A call whose head may not go on before its body is there, in a proxy that cannot hold it.
    fn not_strict() -> Self {
        Self::new(
            403,
            "body_not_read",
            "whether the call is allowed depends on its body, which the policy says to read before the service sees \
             anything, and this proxy is not set up to hold heads\nset `allow_on_headers_stop_iteration` in the proxy and \
             `bodies.hold_heads` in the plugin configuration, or write `body: head-first` in the policy",
        )
    }
}

impl From<BodyError> for BodyRefusal {
    fn from(error: BodyError) -> Self {
        Self::new(400, error.code(), error.to_string())
    }
}

/// Whether a decision that was made without the body could be another one with it.
pub(super) fn depends_on_body(decision: &Decision<'_>) -> bool {
    let (errors, rest) = match decision {
        // What is masked depends on grants, and those may be bound to the body.
        Decision::Allow(permit) => (permit.errors(), !permit.masked().is_empty()),
        Decision::Ask(refusal) | Decision::Deny(refusal) => {
            // Whatever the body says, what is used up stays that.
            let of_grant = |reason: &Reason| {
                reason.code().starts_with("grant_") && !matches!(reason, Reason::GrantExhausted { .. })
            };
            let unsure = |reason: &Reason| *reason == Reason::BodyNotRead || of_grant(reason);
            let binds = refusal.rules.iter().filter_map(|rule| rule.bind.as_ref()).any(|bind| !bind.fields.is_empty());
            (refusal.errors.as_slice(), binds || refusal.reasons.iter().any(unsure))
        }
    };
    rest || errors.iter().any(|error| error.error == EvalError::BodyNotRead)
}

/// How a body that is to come will be read, if it can be.
pub(super) fn to_come(
    prepared: &Prepared<'_, '_>,
    headers: &Headers<'_>,
    config: &BodiesConfig,
) -> Result<Option<BodyMode>, BodyRefusal> {
    let Some(mode) = prepared.body_mode() else { return Ok(None) };
    if mode == BodyMode::Strict && !config.hold_heads {
        return Err(BodyRefusal::not_strict());
    }
    is_json(headers)?;
    let length = headers.single(b"content-length").and_then(|length| std::str::from_utf8(length).ok());
    if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > config.request_bytes) {
        return Err(BodyRefusal::unread(Unread::TooLarge, config));
    }
    Ok(Some(mode))
}

/// What a body says at the places that deciding reads.
pub(super) fn read<'n, 'b>(
    prepared: &Prepared<'n, '_>,
    headers: &Headers<'_>,
    config: &BodiesConfig,
    body: &'b [u8],
) -> Result<Vec<(&'n str, BodyValue<'b>)>, BodyRefusal> {
    if body.len() > config.request_bytes {
        return Err(BodyRefusal::unread(Unread::TooLarge, config));
    }
    is_json(headers)?;
    Ok(body::read(body, prepared.body(), config.depth)?)
}

/// Whether the headers say exactly that the body is JSON in UTF-8, as it is.
fn is_json(headers: &Headers<'_>) -> Result<(), BodyRefusal> {
    let refused = |code, what: &str| {
        Err(BodyRefusal::new(415, code, format!("whether the call is allowed depends on its body, and {what}")))
    };
    if !headers.single(b"content-type").is_some_and(says_json) {
        return refused("body_type", "its content type is not exactly `application/json`");
    }
    if headers.iter().any(|(name, _)| name == b"content-encoding") {
        return refused("body_encoding", "its content encoding is not read here");
    }
    Ok(())
}

/// The media type of JSON.
pub(crate) const JSON: &[u8] = b"application/json";

/// The media type in a header that says no more than that and, at most, UTF-8.
pub(crate) fn media_type(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (kind, parameter) = value.split_at_checked(end)?;
    let utf8 = |parameter: &[u8]| {
        [&b"charset=utf-8"[..], b"charset=\"utf-8\""].iter().any(|known| parameter.eq_ignore_ascii_case(known))
    };
    let fine = parameter.is_empty() || parameter.get(1..).is_some_and(|parameter| utf8(parameter.trim_ascii()));
    fine.then_some(kind.trim_ascii())
}

/// Whether a header says exactly that what follows is JSON in UTF-8.
fn says_json(value: &[u8]) -> bool {
    media_type(value).is_some_and(|kind| kind.eq_ignore_ascii_case(JSON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_json() {
        for value in [
            "application/json",
            "Application/JSON",
            " application/json ; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(says_json(value.as_bytes()), "{value}");
        }
        for value in [
            "",
            "application/json, text/plain",
            "application/json;",
            "application/json; charset=utf-16",
            "application/json; charset=utf-8; charset=utf-7",
            "application/json; v=1",
            "application/jsonp",
            "application/json-seq",
            "text/json",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!says_json(value.as_bytes()), "{value}");
        }
    }
}
