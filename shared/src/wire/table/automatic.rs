//! What a rule decides by itself, as it is kept with each version of the policy. Filters have none of it.

use serde::{Deserialize, Serialize};

use super::ItemError;
use crate::engine::{Automatic, Condition, Then};
use crate::wire::condition::ConditionItem;

/// One decision that a rule makes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutomaticItem {
    /// Its name.
    pub name: String,
    /// When; always if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<ConditionItem>,
    /// What then.
    pub then: ThenItem,
}

/// What is decided: `"approve"`, `"deny"`, `{"require": NUMBER}` or `"escalate"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ThenItem {
    /// The request is approved.
    Approve,
    /// The request is denied.
    Deny,
    /// It takes so many approvals.
    Require(u32),
    /// Those to whom the rule escalates review it, too.
    Escalate,
}

impl From<ThenItem> for Then {
    fn from(item: ThenItem) -> Self {
        match item {
            ThenItem::Approve => Self::Approve,
            ThenItem::Deny => Self::Deny,
            ThenItem::Require(approvals) => Self::Require(approvals),
            ThenItem::Escalate => Self::Escalate,
        }
    }
}

impl From<Then> for ThenItem {
    fn from(then: Then) -> Self {
        match then {
            Then::Approve => Self::Approve,
            Then::Deny => Self::Deny,
            Then::Require(approvals) => Self::Require(approvals),
            Then::Escalate => Self::Escalate,
        }
    }
}

impl TryFrom<AutomaticItem> for Automatic {
    type Error = ItemError;

    fn try_from(AutomaticItem { name, when, then }: AutomaticItem) -> Result<Self, ItemError> {
        let when = when.map(Condition::try_from).transpose()?.unwrap_or_default();
        Ok(Self { name: name.into(), when, then: then.into() })
    }
}
