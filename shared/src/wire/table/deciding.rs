//! What it takes to decide a request, as it is kept with each version of the policy. Filters decide nothing of it and get
//! none of it: [`ServiceItem::for_filters`].

use serde::{Deserialize, Serialize};

use super::policy::{RuleItem, ServiceItem, subjects};
use super::principal::SubjectItem;
use crate::engine::{Deciding, Factor, Stage, SubjectError};

/// What a rule says about deciding beyond reviewers and their number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecidingItem {
    /// The stages; with none, the rule's reviewers and their number are the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageItem>,
    /// How many denials deny; one if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denials: Option<u32>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageItem {
    /// Its name.
    pub name: String,
    /// What it takes to pass it.
    pub factors: Vec<FactorItem>,
}

/// A factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorItem {
    /// How many approvals.
    pub approvals: u32,
    /// By whom.
    pub reviewers: Vec<SubjectItem>,
}

impl ServiceItem {
    /// The service as filters have it: without what only people who review need.
    #[must_use]
    pub fn for_filters(&self) -> Self {
        let plain = |rule: &RuleItem| RuleItem {
            deciding: None,
            starts_within: None,
            extension: None,
            timeouts: None,
            limits: None,
            ..rule.clone()
        };
        Self { rules: self.rules.iter().map(plain).collect(), break_glass: Vec::new(), ..self.clone() }
    }
}

impl TryFrom<StageItem> for Stage {
    type Error = SubjectError;

    fn try_from(StageItem { name, factors }: StageItem) -> Result<Self, SubjectError> {
        let factor = |FactorItem { approvals, reviewers }| Ok(Factor { approvals, reviewers: subjects(reviewers)? });
        Ok(Self { name: name.into(), factors: factors.into_iter().map(factor).collect::<Result<_, _>>()? })
    }
}

/// What it takes to decide under a rule that names these reviewers and so many approvals, or more than that.
pub(super) fn deciding(
    reviewers: Vec<SubjectItem>,
    approvals: u32,
    item: Option<DecidingItem>,
) -> Result<Deciding, SubjectError> {
    let DecidingItem { stages, denials } = item.unwrap_or_default();
    let deciding = if stages.is_empty() {
        Deciding::by(subjects(reviewers)?, approvals)
    } else {
        Deciding { stages: stages.into_iter().map(Stage::try_from).collect::<Result<_, _>>()?, ..Deciding::default() }
    };
    Ok(Deciding { denials: denials.unwrap_or(1).max(1), ..deciding })
}
