//! What the policy says about the course of requests and grants, as it crosses the network with its service.

use serde::{Deserialize, Serialize};

use super::policy::subjects;
use super::{RuleItem, SubjectItem};
use crate::engine::{AskLimits, BreakGlass, Course, Extension, SubjectError, Timeouts};
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
}

impl RuleItem {
    /// Takes out what the rule says about time.
    pub(super) fn take_course(&mut self) -> Result<Course, SubjectError> {
        let extension = self
            .extension
            .take()
            .map(|ExtensionItem { max_total, without_review }| Extension { max_total, without_review });
        let timeouts = match self.timeouts.take() {
            None => Timeouts::default(),
            Some(TimeoutsItem { remind_after, escalate_after, escalate_to }) => {
                Timeouts { remind_after, escalate_after, escalate_to: subjects(escalate_to)? }
            }
        };
        let limits = self.limits.take().map(|LimitsItem { pending, per_hour, cool_down }| AskLimits {
            pending,
            per_hour,
            cool_down,
        });
        Ok(Course {
            starts_within: self.starts_within,
            extension: extension.unwrap_or_default(),
            timeouts,
            limits: limits.unwrap_or_default(),
        })
    }
}

impl TryFrom<BreakGlassItem> for BreakGlass {
    type Error = SubjectError;

    fn try_from(item: BreakGlassItem) -> Result<Self, SubjectError> {
        let BreakGlassItem { name, actions, subjects: named, max_duration, reviewers, review_within } = item;
        Ok(Self {
            name: name.into(),
            actions: actions.into_iter().map(String::into_boxed_str).collect(),
            subjects: subjects(named)?,
            max_duration,
            reviewers: subjects(reviewers)?,
            review_within,
        })
    }
}
