//! What it takes to decide a request: stages and their factors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::engine::MAX_FACTORS;
use crate::wire::policy::schema;

/// What a justification must be.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JustificationSpec {
    /// A regular expression that must be found in it, as `matches` of conditions finds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Pattern>")]
    pub pattern: Option<Spanned<String>>,
    /// At least so many characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Length>")]
    pub min_length: Option<Spanned<u32>>,
}

/// What the ticket of a request must be.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketSpec {
    /// Whether there must be one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// A regular expression that must be found in it, as `matches` of conditions finds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Pattern>")]
    pub pattern: Option<Spanned<String>>,
}

/// A stage on the way to a grant: the next one is open when all factors of this one are met.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageSpec {
    /// Its name, once within the rule.
    #[schemars(with = "schema::Name")]
    pub name: Spanned<String>,
    /// What it takes to pass it: all of them.
    #[schemars(length(min = 1, max = MAX_FACTORS))]
    pub factors: Vec<FactorSpec>,
}

/// A number of approvals by people of a set. One person fills one place only, over all factors and stages.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FactorSpec {
    /// How many approvals by different people; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Approvals>")]
    pub approvals: Option<Spanned<u32>>,
    /// By whom.
    #[schemars(with = "Vec<schema::Person>", length(min = 1))]
    pub reviewers: Vec<Spanned<String>>,
}
