//! What rules say about time, and who may act now and answer later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::wire::policy::schema;

/// How far a grant may be extended.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtensionSpec {
    /// The longest that a grant lasts in all, with its extensions; `maxDuration` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub max_total: Option<Spanned<String>>,
    /// Up to which length in all its holder extends a grant without a review; every extension is reviewed if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub without_review: Option<Spanned<String>>,
}

/// What happens to a request that nobody decides, before it times out. Time alone never approves one.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeoutsSpec {
    /// After how long its reviewers are reminded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub remind_after: Option<Spanned<String>>,
    /// After how long those of `escalateTo` review it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub escalate_after: Option<Spanned<String>>,
    /// Who reviews a request besides the reviewers, once it is escalated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Person>")]
    pub escalate_to: Vec<Spanned<String>>,
}

/// How often one person may ask under the rule; as often as they like where nothing is said.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// How many requests of theirs may be pending at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Approvals>")]
    pub pending: Option<Spanned<u32>>,
    /// How many requests they may file within an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Approvals>")]
    pub per_hour: Option<Spanned<u32>>,
    /// How long after a denial they may not ask for the same action on the same resource again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub cool_down: Option<Spanned<String>>,
}

/// Whom a request is brought to first, of all who may review it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoutingSpec {
    /// How many of them are suggested, and named in what is told of it: 0 to 10; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Suggested>")]
    pub suggest: Option<Spanned<u32>>,
    /// The signal, said `of: user`, of those who are on call: they come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Name>")]
    pub on_call: Option<Spanned<String>>,
}

/// `kind: BreakGlass`: who may act now and answer later. It gives a short grant at once, and opens a review of what was done.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakGlassSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service.
    #[schemars(with = "schema::Name")]
    pub service: Spanned<String>,
    /// Its actions.
    #[schemars(with = "Vec<schema::Name>", length(min = 1))]
    pub actions: Vec<Spanned<String>>,
    /// Who has the right. An empty list means nobody.
    #[schemars(with = "Vec<schema::Person>")]
    pub subjects: Vec<Spanned<String>>,
    /// The longest grant; at most `4h`.
    #[schemars(with = "schema::Duration")]
    pub max_duration: Spanned<String>,
    /// Who reviews afterwards what was done; never the one who did it.
    #[schemars(with = "Vec<schema::Person>", length(min = 1))]
    pub reviewers: Vec<Spanned<String>>,
    /// Within what time that is due; `24h` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub review_within: Option<Spanned<String>>,
    /// For how long beforehand a token may be signed that filters honour while the control plane is not heard; at most
    /// `168h`, and none is signed by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub offline: Option<Spanned<String>>,
}
