//! What the policy says about the course of requests and grants, as it is kept with its service. Filters have none of it.

use serde::{Deserialize, Serialize};

use super::SubjectItem;
use super::policy::subjects;
use crate::engine::{AskLimits, BreakGlass, Extension, Routing, SubjectError, Timeouts};
use crate::time::Span;

/// How far a grant may be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionItem {
    /// The longest that a grant lasts in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total: Option<Span>,
    /// Up to which length in all an extension needs no review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_review: Option<Span>,
}

/// What happens to a request that nobody decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsItem {
    /// After how long its reviewers are reminded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remind_after: Option<Span>,
    /// After how long others review it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_after: Option<Span>,
    /// Who those are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_to: Vec<SubjectItem>,
}

/// How often one person may ask under a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsItem {
    /// How many requests of theirs may be pending at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u32>,
    /// How many they may file within an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    /// How long after a denial they may not ask for the same again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<Span>,
}

/// Whom a request is brought to first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingItem {
    /// So many people at most; as ever if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggest: Option<u32>,
    /// The signal by which reviewers are said to be on call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_call: Option<String>,
}

/// Who may act now and answer later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassItem {
    /// Its name.
    pub name: String,
    /// The actions it is for.
    pub actions: Vec<String>,
    /// Who has it; nobody if nobody is named.
    pub subjects: Vec<SubjectItem>,
    /// The longest grant.
    pub max_duration: Span,
    /// Who reviews afterwards what was done.
    pub reviewers: Vec<SubjectItem>,
    /// Within what time that is due.
    pub review_within: Span,
    /// For how long beforehand a token may be signed; none is if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<Span>,
}

impl TryFrom<BreakGlassItem> for BreakGlass {
    type Error = SubjectError;

    fn try_from(item: BreakGlassItem) -> Result<Self, SubjectError> {
        let BreakGlassItem { name, actions, subjects: named, max_duration, reviewers, review_within, offline } = item;
        Ok(Self {
            name: name.into(),
            actions: actions.into_iter().map(String::into_boxed_str).collect(),
            subjects: subjects(named)?,
            max_duration,
            reviewers: subjects(reviewers)?,
            review_within,
            offline,
        })
    }
}

impl From<RoutingItem> for Routing {
    fn from(RoutingItem { suggest, on_call }: RoutingItem) -> Self {
        Self { suggest: suggest.unwrap_or(Self::SUGGESTED), on_call: on_call.map(String::into_boxed_str) }
    }
}

impl From<ExtensionItem> for Extension {
    fn from(ExtensionItem { max_total, without_review }: ExtensionItem) -> Self {
        Self { max_total, without_review }
    }
}

impl TryFrom<TimeoutsItem> for Timeouts {
    type Error = SubjectError;

    fn try_from(item: TimeoutsItem) -> Result<Self, SubjectError> {
        let TimeoutsItem { remind_after, escalate_after, escalate_to } = item;
        Ok(Self { remind_after, escalate_after, escalate_to: subjects(escalate_to)? })
    }
}

impl From<LimitsItem> for AskLimits {
    fn from(LimitsItem { pending, per_hour, cool_down }: LimitsItem) -> Self {
        Self { pending, per_hour, cool_down }
    }
}
