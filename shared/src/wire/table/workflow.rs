//! What a rule says about requests and grants beyond single calls, as it is kept with each version of the policy. Filters
//! decide nothing of it and get none of it: [`ServiceItem::for_filters`].

use serde::{Deserialize, Serialize};

use super::deciding::deciding;
use super::{
    AutomaticItem, DecidingItem, ExtensionItem, ItemError, LimitsItem, RoutingItem, RuleItem, ServiceItem, SubjectItem,
    TimeoutsItem,
};
use crate::engine::{Automatic, Course, Timeouts, Workflow};
use crate::time::Span;

/// How requests under a rule are decided, and what grants they lead to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowItem {
    /// Who may review, where there are no stages.
    pub reviewers: Vec<SubjectItem>,
    /// How many approvals by different people, where there are no stages.
    pub approvals: u32,
    /// What else it takes to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deciding: Option<Box<DecidingItem>>,
    /// What the rule decides by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automatic: Vec<AutomaticItem>,
    /// The longest grant.
    pub max_duration: Span,
    /// The length of a grant when none is named.
    pub default_duration: Span,
    /// For how many calls a grant may be; for any number if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// How long a request may wait.
    pub request_timeout: Span,
    /// How far ahead a grant may be asked to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_within: Option<Span>,
    /// How far a grant may be extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionItem>,
    /// What happens to a request that nobody decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsItem>,
    /// How often one person may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsItem>,
    /// Whom a request is brought to first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<RoutingItem>,
}

impl ServiceItem {
    /// The service as filters have it: without what only people who review need.
    #[must_use]
    pub fn for_filters(&self) -> Self {
        let plain = |rule: &RuleItem| RuleItem { workflow: None, ..rule.clone() };
        let rules = self.rules.iter().map(plain).collect();
        Self { rules, break_glass: Vec::new(), owners: Vec::new(), ..self.clone() }
    }
}

impl TryFrom<WorkflowItem> for Workflow {
    type Error = ItemError;

    fn try_from(item: WorkflowItem) -> Result<Self, ItemError> {
        let WorkflowItem { reviewers, approvals, deciding: decided, max_duration, default_duration, .. } = item;
        let WorkflowItem { automatic, max_uses, request_timeout, .. } = item;
        let WorkflowItem { starts_within, extension, timeouts, limits, routing, .. } = item;
        Ok(Self {
            deciding: deciding(reviewers, approvals, decided.map(|item| *item))?,
            automatic: automatic.into_iter().map(Automatic::try_from).collect::<Result<_, _>>()?,
            max_duration,
            default_duration,
            max_uses,
            request_timeout,
            course: Course {
                starts_within,
                extension: extension.map(Into::into).unwrap_or_default(),
                timeouts: timeouts.map(Timeouts::try_from).transpose()?.unwrap_or_default(),
                limits: limits.map(Into::into).unwrap_or_default(),
                routing: routing.map(Into::into).unwrap_or_default(),
            },
        })
    }
}
