//! Who may do what, who may ask for more, and who never may: roles, bindings, rules and deny rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::{
    AutomaticSpec, ExtensionSpec, JustificationSpec, LimitsSpec, RoutingSpec, StageSpec, TicketSpec, TimeoutsSpec,
};
use crate::engine::{MAX_AUTOMATIC, MAX_STAGES};
use crate::wire::policy::schema;

/// `kind: Role`: a named set of actions.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = schema::some_permission)]
pub struct RoleSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Roles whose permissions this one has, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Name>")]
    pub inherits: Vec<Spanned<String>>,
    /// The actions, service by service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<PermissionSpec>,
}

/// Actions of one service.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionSpec {
    /// The service.
    #[schemars(with = "schema::Name")]
    pub service: Spanned<String>,
    /// Its actions; `["*"]` for all that it has or will have.
    #[schemars(with = "Vec<schema::Actions>", length(min = 1))]
    pub actions: Vec<Spanned<String>>,
    /// Masked response fields of these actions that the role reveals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Name>")]
    pub reveals: Vec<Spanned<String>>,
}

/// `kind: Binding`: gives a role to principals.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingSpec {
    /// The role.
    #[schemars(with = "schema::Name")]
    pub role: Spanned<String>,
    /// Who has it: `user:`, `group:` or `workload:`, or a user or group `+` a workload for both at once.
    #[schemars(with = "Vec<schema::Principal>", length(min = 1))]
    pub subjects: Vec<Spanned<String>>,
    /// What the context of a call must be, in CEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Condition>")]
    pub condition: Option<Spanned<String>>,
}

/// `kind: Rule`: what it takes to get a grant.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = schema::one_way_to_decide)]
pub struct RuleSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service.
    #[schemars(with = "schema::Name")]
    pub service: Spanned<String>,
    /// Its actions.
    #[schemars(with = "Vec<schema::Name>", length(min = 1))]
    pub actions: Vec<Spanned<String>>,
    /// Who may ask.
    #[schemars(with = "Vec<schema::Person>", length(min = 1))]
    pub eligible: Vec<Spanned<String>>,
    /// Who may review, where that is one stage with one factor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Person>", length(min = 1))]
    pub reviewers: Vec<Spanned<String>>,
    /// How many approvals by different people `reviewers` give; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Approvals>")]
    pub approvals: Option<Spanned<u32>>,
    /// In place of `reviewers` and `approvals`: stages that are passed in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = MAX_STAGES))]
    pub stages: Vec<StageSpec>,
    /// So many denials by different people deny; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Approvals>")]
    pub denials: Option<Spanned<u32>>,
    /// What is decided without people, or made harder for them, when a request is filed: the first denial that holds, or else
    /// the first other decision that does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_AUTOMATIC))]
    pub automatic: Vec<AutomaticSpec>,
    /// What a justification must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<JustificationSpec>,
    /// Whether a request must name a ticket, and what that must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketSpec>,
    /// The longest grant, like `1h`.
    #[schemars(with = "schema::Duration")]
    pub max_duration: Spanned<String>,
    /// The length of a grant when none is named; `maxDuration` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub default_duration: Option<Spanned<String>>,
    /// For how many calls a grant may be, each of them claimed from the control plane before it goes on: at most so many go
    /// through, over all proxies. For any number of calls if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Uses>")]
    pub max_uses: Option<Spanned<u32>>,
    /// How long a request may wait for its reviews; `24h` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub request_timeout: Option<Spanned<String>>,
    /// How long a call that is refused may be held in the proxy while people decide, like `30s`; the filter then files the
    /// request. Calls are not held if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub hold: Option<Spanned<String>>,
    /// When it may be asked for, in CEL; may name the principal, the action, the resource, signals and the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Condition>")]
    pub condition: Option<Spanned<String>>,
    /// What the context of each call under the grant must be, in CEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Condition>")]
    pub grant_condition: Option<Spanned<String>>,
    /// What of a call the grant is bound to, beyond action and resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindSpec>,
    /// Masked response fields that the grant reveals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Name>")]
    pub reveals: Vec<Spanned<String>>,
    /// How far ahead a grant may be asked to start, like `7d`; `30d` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub starts_within: Option<Spanned<String>>,
    /// How far a grant may be extended before it ends; up to `maxDuration` in all, after a review, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionSpec>,
    /// What happens to a request that nobody decides, before it times out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsSpec>,
    /// How often one person may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// Whom a request is brought to first, of all who may review it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<RoutingSpec>,
}

/// What of a call a grant is bound to: exactly this was approved, and only such calls go through, until the grant ends.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindSpec {
    /// Method, path and the whole query, byte for byte.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// Request fields, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Name>")]
    pub fields: Vec<Spanned<String>>,
    /// Request headers that the service declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Header>")]
    pub headers: Vec<Spanned<String>>,
    /// Query parameters that the actions declare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Text>")]
    pub query: Vec<Spanned<String>>,
}

/// `kind: DenyRule`: who never has some actions, whatever roles and grants say.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DenyRuleSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service.
    #[schemars(with = "schema::Name")]
    pub service: Spanned<String>,
    /// Its actions; `["*"]` for all calls.
    #[schemars(with = "Vec<schema::Actions>", length(min = 1))]
    pub actions: Vec<Spanned<String>>,
    /// Whom it is for; everyone if nobody is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Principal>")]
    pub subjects: Vec<Spanned<String>>,
    /// Whom it is not for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Principal>")]
    pub except: Vec<Spanned<String>>,
    /// What the context of a call must be, in CEL; always if nothing is said. If it cannot be judged, it denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Condition>")]
    pub condition: Option<Spanned<String>>,
    /// Why, in words for the refused caller.
    #[schemars(with = "schema::Reason")]
    pub reason: Spanned<String>,
}
