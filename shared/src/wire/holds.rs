//! Holds: a refused call waits in the proxy while people decide. Asked by the filter's `holds`, which files the request for
//! its caller; answered by the control plane with how each request stands. A hold that is filed twice is the same hold.
//! Nothing here lets a call through: it is decided again, from the table, when its request is.

use serde::{Deserialize, Serialize};

use super::records::DecisionEvent;
use super::shown::ShownCall;
use super::sync::{Position, VmIdentity};
use crate::id::{DecisionId, RequestId};
use crate::time::Timestamp;

/// Where filters file for calls that they hold, and ask how they stand: `POST`, answered at once.
pub const HOLDS_PATH: &str = "/filter/v1/holds";

/// The most holds that are filed by one question.
pub const MAX_FILED: usize = 16;

/// The most holds that are asked for, or told as ended, by one question.
pub const MAX_ASKED: usize = 256;

/// The most bytes of a justification that a call brings.
pub const MAX_JUSTIFICATION_BYTES: usize = 1_024;

/// The request header in which a caller may say why, for the people who decide. Percent-encoded, as headers are ASCII.
pub const JUSTIFICATION_HEADER: &str = "x-grantmesh-justification";

/// What one VM has to say and to ask of the calls that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HoldsRequest<'a> {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// Whose calls.
    pub filter: VmIdentity,
    /// 32 hexadecimal digits, new for every question.
    #[cfg_attr(feature = "policy", schemars(regex(pattern = "^[0-9a-fA-F]{32}$")))]
    pub nonce: String,
    /// Calls for which a request is to be filed.
    #[serde(default)]
    pub file: Vec<HoldItem<'a>>,
    /// Holds that were filed and still wait.
    #[serde(default)]
    pub ask: Vec<DecisionId>,
    /// Holds that are over.
    #[serde(default)]
    pub end: Vec<EndedHold>,
}

/// A call that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HoldItem<'a> {
    /// The decision `ask`; its id is the hold's.
    pub event: DecisionEvent<'a>,
    /// The rule to ask under.
    pub rule: String,
    /// The call that the grant is to be bound to, where the rule binds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<ShownCall>,
    /// Why, as far as the caller says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
    /// Until when the call waits at most.
    pub until: Timestamp,
}

/// A hold that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EndedHold {
    /// The hold.
    pub decision: DecisionId,
    /// Why.
    pub why: HoldEnd,
}

/// Why a hold is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldEnd {
    /// The call was decided, or waited long enough. Its request stays as it is.
    Over,
    /// The caller went away. A request that was filed for it alone is withdrawn.
    Gone,
}

impl HoldEnd {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Over => "over",
            Self::Gone => "gone",
        }
    }
}

/// The answer: how the holds stand that were filed or asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HoldsAnswer {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// `holds`.
    pub kind: HoldsKind,
    /// The question's.
    pub nonce: String,
    /// Each of them.
    pub results: Vec<HoldResult>,
}

/// The constant word `holds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldsKind {
    /// The only value.
    #[default]
    Holds,
}

/// How one hold stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HoldResult {
    /// The hold.
    pub decision: DecisionId,
    /// Its request, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// How that stands.
    pub state: HoldState,
}

/// How the request of a hold stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// People have not decided.
    Pending,
    /// It is approved; filters know of it from here on.
    Approved(Position),
    /// It is denied.
    Denied,
    /// Nobody decided in time.
    TimedOut,
    /// It was taken back.
    Withdrawn,
    /// None was filed, for this reason.
    Refused(String),
}
