//! Decision records: what each filter VM decided, as a stream without holes in which each record names the hash of the one before.
//! Written by the filter's `records`, checked and kept by the control plane's audit log.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::signature::Sha256Hash;
use super::sync::{Position, VmIdentity};
use crate::id::{DecisionId, GrantId, UseId};
use crate::time::Timestamp;

/// Where filters send records: `POST`.
pub const RECORDS_PATH: &str = "/filter/v1/records";

/// The most records in one batch.
pub const MAX_BATCH: usize = 500;

/// The longest record, in bytes of JSON.
pub const MAX_RECORD_BYTES: usize = 10 * 1024;

/// A batch of records of one VM's stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RecordsRequest {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// Whose stream.
    pub filter: VmIdentity,
    /// 32 hexadecimal digits, new for every question.
    #[cfg_attr(feature = "policy", schemars(regex(pattern = "^[0-9a-fA-F]{32}$")))]
    pub nonce: String,
    /// How the stream stands.
    #[serde(default)]
    pub stream: StreamState,
    /// The records in order; each is a [`Record`] in exactly the bytes that are hashed.
    #[cfg_attr(feature = "policy", schemars(with = "Vec<Record>"))]
    pub records: Vec<Box<RawValue>>,
}

/// How a VM's stream stands, by its own count. In every batch and heartbeat, so that what a VM takes with it when it is
/// gone is known from its last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// How many decisions there have been to record, from the VM's start: sent, waiting, counted as dropped, all of them.
    pub made: u64,
    /// How many of them wait or are not acknowledged.
    pub kept: u64,
    /// How long the oldest of those has been kept, in milliseconds.
    pub lag_ms: u64,
}

/// The answer: everything before `next_seq` is durably kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RecordsAnswer {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// `records`.
    pub kind: RecordsKind,
    /// The question's.
    pub nonce: String,
    /// The first seq that is not kept yet.
    pub next_seq: u64,
}

/// The constant word `records`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RecordsKind {
    /// The only value.
    #[default]
    Records,
}

/// One entry of a VM's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// From 0, without holes.
    pub seq: u64,
    /// The hash of the bytes of the record before; zeros for the first.
    pub prev: Sha256Hash,
    /// The filter's upper bound of the control plane's time.
    pub at: Timestamp,
    /// What happened.
    pub event: Event<'static>,
}

/// What a record tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event<'a> {
    /// A call was decided.
    Decision(Box<DecisionEvent<'a>>),
    /// A call that was a use of a grant had its outcome.
    Use(Box<UseEvent>),
    /// Calls were decided but could not be kept; counted, never silent.
    Gap {
        /// How many records were dropped.
        dropped: u64,
    },
}

impl Event<'_> {
    /// How many decisions a record with this event accounts for; an outcome is counted like one.
    #[must_use]
    pub const fn decisions(&self) -> u64 {
        match self {
            Self::Decision(event) => event.count,
            Self::Use(_) => 1,
            Self::Gap { dropped } => *dropped,
        }
    }
}

const fn one() -> u64 {
    1
}

const fn is_one(count: &u64) -> bool {
    *count == 1
}

/// What came of a use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UseEvent {
    /// The use.
    pub id: UseId,
    /// The grant.
    pub grant: GrantId,
    /// The word.
    pub outcome: UseOutcome,
    /// The status that the service answered with, or the proxy in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// What came of the call of a use, as far as the proxy saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UseOutcome {
    /// The service answered; whether it did what it was asked is told by the status.
    Answered,
    /// The service did not answer, and the proxy did in its place. It may have done what it was asked.
    Failed,
    /// The call was gone before there was an answer.
    Unknown,
    /// The call did not go on: it was gone, or refused after all, when the use had been taken.
    Unused,
}

impl UseOutcome {
    /// Every word.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::Unknown, Self::Unused];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Unused => "unused",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// The word of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DecisionWord {
    /// Let through.
    Allow,
    /// Refused; may be asked for.
    Ask,
    /// Refused.
    Deny,
}

impl DecisionWord {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// One decided call. Its texts may be borrowed from the call, since one is made for every call under a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DecisionEvent<'a> {
    /// The decision's id, as the challenge shows it.
    pub id: DecisionId,
    /// The word.
    pub decision: DecisionWord,
    /// How many calls this stands for, if it is more than one, within a short time: refusals with the same caller, action
    /// and reasons, or calls that were let through and are alike in all that is said here. What differs is the first's.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// The decision that was recorded before the call and that this one replaces: the call was let through only on paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<DecisionId>,
    /// The decision that had let this call through: it was reset while it ran, or its response was withheld. `grant` is
    /// the one that had allowed it. If it stands for several calls, `request_id` tells which. Where allowed calls are not
    /// recorded, it is in no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DecisionId>,
    /// The service.
    pub service: Cow<'a, str>,
    /// The action, where the call matched one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Cow<'a, str>>,
    /// What the call touches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Cow<'a, str>>,
    /// The method, shortened and escaped if it is not canonical.
    pub method: Cow<'a, str>,
    /// The path without its query, shortened and escaped if it is not canonical.
    pub path: Cow<'a, str>,
    /// The user's issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Cow<'a, str>>,
    /// The user's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    /// The user's groups, by which policies decide; nothing without a user, or if they are too many to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<Cow<'a, str>>>,
    /// The peer's SPIFFE id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Cow<'a, str>>,
    /// The grant that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// Whether that grant was given at once, without an approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// Whether that grant is a token that was signed beforehand: the filter did not hear from the control plane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// Which use of that grant it was, if that is for a number of uses.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub use_id: Option<UseId>,
    /// The binding that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Cow<'a, str>>,
    /// Whether the service or action is in shadow for this principal: a refusal was let through.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Conditions that could not be judged, as `NAME: CODE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub condition_errors: Vec<Cow<'a, str>>,
    /// Codes of the reasons of a refusal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Cow<'a, str>>,
    /// The proxy's `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Cow<'a, str>>,
    /// The state it was decided from, at least: while a step comes in pages, some of what is newer. Nothing if the filter had
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The other calls that were let through by this decision, each of them: `count` is one more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<MoreCall<'a>>,
}

/// A call that is like the first of its record but for what is said here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MoreCall<'a> {
    /// How many milliseconds after the first it came.
    pub after_ms: u64,
    /// The proxy's `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Cow<'a, str>>,
}

impl<'a> DecisionEvent<'a> {
    /// A decision about a call of which nothing else is known.
    #[must_use]
    pub fn new(
        id: DecisionId,
        decision: DecisionWord,
        service: impl Into<Cow<'a, str>>,
        (method, path): (impl Into<Cow<'a, str>>, impl Into<Cow<'a, str>>),
    ) -> Self {
        Self {
            id,
            decision,
            count: 1,
            instead_of: None,
            ended: None,
            service: service.into(),
            action: None,
            resource: None,
            method: method.into(),
            path: path.into(),
            issuer: None,
            subject: None,
            groups: None,
            workload: None,
            grant: None,
            break_glass: false,
            offline: false,
            use_id: None,
            binding: None,
            shadow: false,
            condition_errors: Vec::new(),
            reasons: Vec::new(),
            request_id: None,
            position: None,
            more: Vec::new(),
        }
    }
}

impl DecisionEvent<'_> {
    /// The same, with texts of its own.
    #[must_use]
    pub fn into_owned(self) -> DecisionEvent<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let own_all = |texts: Vec<Cow<'_, str>>| texts.into_iter().map(own).collect();
        let own_call = |MoreCall { after_ms, request_id }| MoreCall { after_ms, request_id: request_id.map(own) };
        DecisionEvent {
            id: self.id,
            decision: self.decision,
            count: self.count,
            instead_of: self.instead_of,
            ended: self.ended,
            service: own(self.service),
            action: self.action.map(own),
            resource: self.resource.map(own),
            method: own(self.method),
            path: own(self.path),
            issuer: self.issuer.map(own),
            subject: self.subject.map(own),
            groups: self.groups.map(own_all),
            workload: self.workload.map(own),
            grant: self.grant,
            break_glass: self.break_glass,
            offline: self.offline,
            use_id: self.use_id,
            binding: self.binding.map(own),
            shadow: self.shadow,
            condition_errors: own_all(self.condition_errors),
            reasons: own_all(self.reasons),
            request_id: self.request_id.map(own),
            position: self.position,
            more: self.more.into_iter().map(own_call).collect(),
        }
    }

    /// Whether it counts as many calls as it lists, where it lists any. Of refusals only the first is told.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        let listed = u64::try_from(self.more.len()).unwrap_or(u64::MAX);
        let lists_all = self.count == listed.saturating_add(1);
        if self.decision == DecisionWord::Allow { lists_all } else { listed == 0 }
    }
}
