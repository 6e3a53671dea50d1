//! What it takes to decide a request, as it is kept with each version of the policy. Filters have none of it.

use serde::{Deserialize, Serialize};

use super::ItemError;
use super::policy::subjects;
use super::principal::SubjectItem;
use crate::engine::{Deciding, Factor, Pattern, Stage, SubjectError, TicketRule, WordsRule};
use crate::wire::condition::{AutomatonItem, ConditionItemError, automaton};

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
    /// What a justification must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<WordsItem>,
    /// What the ticket must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketItem>,
}

/// What a text of a request must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordsItem {
    /// At least so many characters.
    pub min_chars: u32,
    /// What must be found in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<PatternItem>,
}

/// What the ticket of a request must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketItem {
    /// Whether there must be one.
    pub required: bool,
    /// What must be found in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<PatternItem>,
}

/// A regular expression with the table that it was compiled to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternItem {
    /// As it was written.
    pub source: String,
    /// The table.
    pub table: AutomatonItem,
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

impl TryFrom<StageItem> for Stage {
    type Error = SubjectError;

    fn try_from(StageItem { name, factors }: StageItem) -> Result<Self, SubjectError> {
        let factor = |FactorItem { approvals, reviewers }| Ok(Factor { approvals, reviewers: subjects(reviewers)? });
        Ok(Self { name: name.into(), factors: factors.into_iter().map(factor).collect::<Result<_, _>>()? })
    }
}

impl TryFrom<PatternItem> for Pattern {
    type Error = ItemError;

    fn try_from(PatternItem { source, table }: PatternItem) -> Result<Self, ItemError> {
        let automaton = automaton(table).ok_or(ConditionItemError::Constant("pattern"))?;
        Ok(Self { source: source.into(), automaton })
    }
}

/// What it takes to decide under a rule that names these reviewers and so many approvals, or more than that.
pub(super) fn deciding(
    reviewers: Vec<SubjectItem>,
    approvals: u32,
    item: Option<DecidingItem>,
) -> Result<Deciding, ItemError> {
    let DecidingItem { stages, denials, justification, ticket } = item.unwrap_or_default();
    let justification = justification.map(|WordsItem { min_chars, pattern }| {
        Ok::<_, ItemError>(WordsRule { min_chars, pattern: pattern.map(Pattern::try_from).transpose()? })
    });
    let ticket = ticket.map(|TicketItem { required, pattern }| {
        Ok::<_, ItemError>(TicketRule { required, pattern: pattern.map(Pattern::try_from).transpose()? })
    });
    let deciding = if stages.is_empty() {
        Deciding::by(subjects(reviewers)?, approvals)
    } else {
        Deciding { stages: stages.into_iter().map(Stage::try_from).collect::<Result<_, _>>()?, ..Deciding::default() }
    };
    Ok(Deciding {
        denials: denials.unwrap_or(1).max(1),
        justification: justification.transpose()?.unwrap_or_default(),
        ticket: ticket.transpose()?.unwrap_or_default(),
        ..deciding
    })
}
