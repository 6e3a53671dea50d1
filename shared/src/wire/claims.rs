//! Claims: a use of a grant that is for a number of uses is taken from the control plane before the call goes on. Asked by
//! the filter's `claims`, answered by the control plane once the use is durably taken; signed like every answer. A claim
//! that is asked twice is the same claim, so that nothing on the way can take two uses for one call.

use serde::{Deserialize, Serialize};

use super::records::DecisionEvent;
use super::sync::VmIdentity;
use crate::id::{DecisionId, UseId};

/// Where filters claim uses: `POST`.
pub const CLAIMS_PATH: &str = "/filter/v1/claims";

/// The most claims in one question.
pub const MAX_CLAIMS: usize = 64;

/// Claims of one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimsRequest<'a> {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// Whose calls.
    pub filter: VmIdentity,
    /// 32 hexadecimal digits, new for every question.
    #[cfg_attr(feature = "policy", schemars(regex(pattern = "^[0-9a-fA-F]{32}$")))]
    pub nonce: String,
    /// The decisions that let the calls through if a use is left, each with its grant. The decision's id is the claim's.
    pub claims: Vec<DecisionEvent<'a>>,
}

/// The answer, in the order of the claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimsAnswer {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// `claims`.
    pub kind: ClaimsKind,
    /// The question's.
    pub nonce: String,
    /// What became of each.
    pub results: Vec<ClaimResult>,
}

/// The constant word `claims`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClaimsKind {
    /// The only value.
    #[default]
    Claims,
}

/// What became of one claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimResult {
    /// The claim.
    pub decision: DecisionId,
    /// What became of it.
    pub outcome: ClaimOutcome,
}

/// Whether a use was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClaimOutcome {
    /// It was, durably: the call may go on, once.
    Claimed(UseId),
    /// It was not.
    Refused(ClaimRefusal),
}

/// Why a use was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClaimRefusal {
    /// None is left.
    Exhausted,
    /// The grant has ended, or not begun.
    Ended,
    /// There is no such grant for these services, or it is for another call.
    NotYours,
}
