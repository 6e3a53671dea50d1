//! What a rule decides by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::wire::policy::schema;

/// One decision that a rule makes by itself, when a request is filed.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutomaticSpec {
    /// Its name, once within the rule: requests, the log and events name it.
    #[schemars(with = "schema::Name")]
    pub name: Spanned<String>,
    /// What is decided: `approve`, `deny`, `require` (so many `approvals`) or `escalate` (to `escalateTo`, at once).
    #[schemars(with = "ThenWord")]
    pub then: Spanned<ThenWord>,
    /// When, in CEL; may name the principal, the action, the resource, signals and the time. Always if nothing is said. An
    /// approval goes by nothing that is not known, and takes a signal that is not set for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Condition>")]
    pub when: Option<Spanned<String>>,
    /// How many approvals by different people it then takes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Approvals>")]
    pub approvals: Option<Spanned<u32>>,
}

/// What a rule decides by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ThenWord {
    /// The request is approved.
    Approve,
    /// The request is denied.
    Deny,
    /// It takes more approvals.
    Require,
    /// Those to whom the rule escalates review it, too.
    Escalate,
}
