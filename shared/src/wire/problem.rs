//! `application/problem+json` (RFC 9457): the one envelope of every refusal, from the control plane and from the filter.

use serde::{Deserialize, Serialize};

use super::shown::ShownCall;
use super::signature::Sha256Hash;
use crate::id::RequestId;

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:grantmesh:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable word that programs compare.
    pub code: String,
    /// What was wrong with this request and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Every single fault or reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ProblemReason>,
    /// How to ask for what was refused: only in the filter's challenge.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
}

/// One reason within a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemReason {
    /// The stable word.
    pub code: String,
    /// The reason in words.
    pub detail: String,
}

/// What a refused caller needs to ask for a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// `ask` if the caller may ask, else `deny`.
    pub decision: String,
    /// The decision's id in the audit log.
    pub decision_id: String,
    /// The service.
    pub service: String,
    /// The action, where the call matched one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What the call touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The rules to ask under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Gives the body that files this very request, ready to be completed and sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_url: Option<String>,
    /// The call itself, where a rule binds grants to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<BoundChallenge>,
    /// The request that was filed for the call while it was held in the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

/// A call that a grant would be bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundChallenge {
    /// The rule that binds it.
    pub rule: String,
    /// The digest that a call must have to be this one.
    pub digest: Sha256Hash,
    /// The bound parts: what to file as `call`.
    pub call: ShownCall,
}

impl Problem {
    /// A problem with only the required members.
    #[must_use]
    pub fn new(status: u16, code: &str, title: &str) -> Self {
        Self {
            kind: format!("urn:grantmesh:problem:{code}"),
            title: title.to_owned(),
            status,
            code: code.to_owned(),
            detail: None,
            reasons: Vec::new(),
            challenge: None,
        }
    }

    /// With a detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
