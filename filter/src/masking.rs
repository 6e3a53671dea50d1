//! Responses with fields that their caller may not see: which calls have one, what a response must be for it to be masked,
//! and the document that takes its place otherwise. Pure; `http` does with the proxy what is said here.
//!
//! ```text
//!  permit.masked() ─► begin ─► head ─┬─► no body: goes on
//!                                    ├─► body: collected to its end ─► masked, goes on
//!                                    └─► cannot be masked: withheld, an error document and a record
//! ```
//!
//! No callback tells that a call has ended (`entry` says why), so `plugin` asks for those that are gone with its ticks.

use grantmesh_shared::body::{BodyError, mask};
use grantmesh_shared::engine::{Criticality, Field};
use grantmesh_shared::wire::records::DecisionEvent;

use crate::config::BodiesConfig;
use crate::flow::{JSON, media_type};
use crate::headers::Headers;
use crate::share::one_more;
use crate::waiting::Caller;

/// The most calls of one VM whose responses are awaited to be masked.
pub const MOST: usize = 4_096;

/// The response header that names what is masked.
pub const MASKED_HEADER: &str = "grantmesh-masked";

/// What a request must not ask for if its response is to be masked: another encoding, a part, or whether the plain
/// values are the ones that somebody guesses.
pub const REQUEST_HEADERS: [&str; 7] =
    ["accept-encoding", "range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];

/// What a masked response must not say: its former length, and what could be guessed from a digest of the plain values.
pub const RESPONSE_HEADERS: [&str; 8] = [
    "content-length",
    "etag",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
    "accept-ranges",
    "content-encoding",
];

/// A call whose response is to be masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedCall {
    /// Whose call it is.
    pub service: String,
    /// Of what criticality its action is.
    pub criticality: Option<Criticality>,
    /// Name and pointer of each field that is masked.
    pub fields: Vec<(String, String)>,
    /// The decision that let it through.
    pub event: Box<DecisionEvent<'static>>,
}

impl MaskedCall {
    /// Of the fields that a permit does not reveal.
    #[must_use]
    pub fn fields_of(masked: &[&Field]) -> Vec<(String, String)> {
        masked.iter().map(|field| (field.name.to_string(), field.pointer.to_string())).collect()
    }

    /// The names of the masked fields, for [`MASKED_HEADER`].
    #[must_use]
    pub fn names(&self) -> String {
        self.fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The body without the plain values.
    ///
    /// # Errors
    /// If that cannot be told.
    pub fn masked(&self, body: &[u8], config: &BodiesConfig) -> Result<Vec<u8>, Withheld> {
        if body.len() > config.response_bytes {
            return Err(Withheld::TooLarge(config.response_bytes));
        }
        if body.is_empty() {
            return Ok(Vec::new());
        }
        mask(body, self.fields.iter().map(|(_, pointer)| pointer.as_str()), config.depth).map_err(Withheld::Body)
    }
}

/// Why a response is withheld.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// Its content type is not JSON.
    #[error("the response has fields that you may not see, and it is not JSON, so that they cannot be masked")]
    Type,
    /// It is compressed, although nobody asked for that.
    #[error("the response has fields that you may not see, and it is encoded, so that they cannot be masked")]
    Encoding,
    /// It is a part, or leaves HTTP.
    #[error(
        "the response has fields that you may not see, and it is not one whole document, so that they cannot be masked"
    )]
    Partial,
    /// It is larger than what is read.
    #[error("the response has fields that you may not see, and more than {0} bytes, so that they cannot be masked")]
    TooLarge(usize),
    /// It cannot be read in one way.
    #[error("the response has fields that you may not see, and they cannot be masked: {0}")]
    Body(BodyError),
}

impl Withheld {
    /// A short stable word for records and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Type => "response_type",
            Self::Encoding => "response_encoding",
            Self::Partial => "response_partial",
            Self::TooLarge(_) => "response_too_large",
            Self::Body(BodyError::TwoKeys(_)) => "response_two_keys",
            Self::Body(BodyError::TooDeep(_)) => "response_too_deep",
            Self::Body(_) => "response_malformed",
        }
    }
}

/// What a response's head says about its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// There is none.
    NoBody,
    /// It will be masked.
    Body,
}

/// Judges the head of a response. `ends`: nothing follows it.
///
/// # Errors
/// If what follows cannot be masked.
pub fn head(headers: &Headers<'_>, ends: bool, config: &BodiesConfig) -> Result<Head, Withheld> {
    if ends {
        return Ok(Head::NoBody);
    }
    let all = |name: &'static [u8]| headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value);
    if matches!(status(headers), Some(101 | 206)) || all(b"content-range").next().is_some() {
        return Err(Withheld::Partial);
    }
    if all(b"content-encoding").any(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Withheld::Encoding);
    }
    if !headers.single(b"content-type").and_then(media_type).is_some_and(is_json) {
        return Err(Withheld::Type);
    }
    let length = headers.single(b"content-length").and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > config.response_bytes) {
        return Err(Withheld::TooLarge(config.response_bytes));
    }
    Ok(Head::Body)
}

/// The status of a response.
#[must_use]
pub fn status(headers: &Headers<'_>) -> Option<u16> {
    std::str::from_utf8(headers.single(b":status")?).ok()?.parse().ok()
}

/// JSON, or a kind of document that is written in it, such as `application/problem+json`.
fn is_json(kind: &[u8]) -> bool {
    let ending = kind.len().checked_sub(5).filter(|head| *head > 0).and_then(|head| kind.get(head..));
    kind.eq_ignore_ascii_case(JSON) || ending.is_some_and(|ending| ending.eq_ignore_ascii_case(b"+json"))
}

/// The calls whose responses are to be masked.
#[derive(Debug, Default)]
pub struct Masking {
    /// Sorted by context. The proxy counts contexts up, so that a new one comes to the end.
    calls: Vec<Awaited>,
    /// Where the next look for those that are gone begins.
    looked_at: usize,
}

#[derive(Debug)]
struct Awaited {
    caller: Caller,
    whose: u64,
    response: Response,
}

/// What is to become of a response.
#[derive(Debug)]
enum Response {
    /// It is masked.
    Masked(Box<MaskedCall>),
    /// It is withheld, and this takes its place where it ends.
    Withheld(Vec<u8>),
}

/// How many calls are looked at by one tick.
const LOOKS: usize = 256;

impl Masking {
    /// Whether one more of a principal has room. `whose` is asked only where room gets scarce.
    #[must_use]
    pub fn has_room(&self, whose: impl FnOnce() -> u64) -> bool {
        one_more(self.calls.len(), MOST, || {
            let whose = whose();
            self.calls.iter().filter(|awaited| awaited.whose == whose).count()
        })
    }

    /// Whether no response is to be masked, which is the usual case.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.calls.len()
    }

    fn place(&self, context: u32) -> Result<usize, usize> {
        self.calls.binary_search_by_key(&context, |awaited| awaited.caller.context)
    }

    fn awaited(&self, context: u32) -> Option<&Awaited> {
        self.place(context).ok().and_then(|place| self.calls.get(place))
    }

    fn put(&mut self, caller: Caller, whose: u64, response: Response) {
        let awaited = Awaited { caller, whose, response };
        match self.place(caller.context) {
            Ok(place) => {
                if let Some(known) = self.calls.get_mut(place) {
                    *known = awaited;
                }
            }
            Err(place) => self.calls.insert(place, awaited),
        }
    }

    /// Notes a call that goes on, and whose it is ([`crate::identity::Identity::mark`]).
    pub fn begin(&mut self, caller: Caller, whose: u64, call: MaskedCall) {
        self.put(caller, whose, Response::Masked(Box::new(call)));
    }

    /// Notes that a response whose head has gone on is withheld: what is left of it is not to be seen either.
    pub fn withhold(&mut self, caller: Caller, document: Vec<u8>) {
        // Few bytes are to come of it: it is nobody's.
        self.put(caller, 0, Response::Withheld(document));
    }

    /// Whose response is awaited in this context.
    #[must_use]
    pub fn caller(&self, context: u32) -> Option<Caller> {
        self.awaited(context).map(|awaited| awaited.caller)
    }

    /// The call of this context, if its response is to be masked.
    #[must_use]
    pub fn get(&self, context: u32) -> Option<&MaskedCall> {
        match &self.awaited(context)?.response {
            Response::Masked(call) => Some(call),
            Response::Withheld(_) => None,
        }
    }

    /// What takes the place of this context's response, if that is withheld.
    #[must_use]
    pub fn document(&self, context: u32) -> Option<&[u8]> {
        match &self.awaited(context)?.response {
            Response::Withheld(document) => Some(document),
            Response::Masked(_) => None,
        }
    }

    /// Takes out a call whose response has gone by, or that is gone; tells of one that was to be masked.
    pub fn end(&mut self, context: u32) -> Option<(Caller, MaskedCall)> {
        let place = self.place(context).ok()?;
        let Awaited { caller, response, .. } = self.calls.remove(place);
        match response {
            Response::Masked(call) => Some((caller, *call)),
            Response::Withheld(_) => None,
        }
    }

    /// Some of the calls, others each time, to look whether they are still there.
    pub fn some(&mut self) -> Vec<Caller> {
        let from = if self.looked_at < self.calls.len() { self.looked_at } else { 0 };
        let some: Vec<Caller> = self.calls.iter().skip(from).take(LOOKS).map(|awaited| awaited.caller).collect();
        self.looked_at = from.saturating_add(some.len());
        some
    }
}

#[cfg(test)]
mod tests;
