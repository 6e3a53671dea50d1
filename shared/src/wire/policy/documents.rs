//! The documents of a policy, field by field. Strict: an unknown field is an error.

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::wire::table::{AuditWord, CriticalityWord, UnmatchedWord};

/// What every document says first.
pub const API_VERSION: &str = "grantmesh.dev/v1";

/// Name of a document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Unique among documents of its kind: a-z, 0-9, `-` and `.`, at most 64 characters.
    pub name: Spanned<String>,
}

/// A document of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document<Spec> {
    /// [`API_VERSION`].
    pub api_version: Spanned<String>,
    /// The kind.
    pub kind: Spanned<String>,
    /// Its name.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
}

/// `kind: Defaults`: what holds for the whole policy. At most one.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultsSpec {
    /// The OpenID issuer whose users and groups `user:` and `group:` name.
    pub issuer: Spanned<String>,
}

/// `kind: Service`: a service and its actions.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// Authorities (host without port) it is called by; needed where one filter serves several services.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    /// What becomes of calls that match no action: `deny` (default) or `allow`.
    #[serde(default)]
    pub unmatched: UnmatchedWord,
    /// Its actions.
    pub actions: Vec<ActionSpec>,
}

/// An action of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionSpec {
    /// Its name, `refund.create`.
    pub name: Spanned<String>,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The HTTP method.
    pub method: Spanned<String>,
    /// The path template; `{name}` is one segment, `{name=**}` the rest.
    pub path: Spanned<String>,
    /// What it touches, from the path's parameters; by default the path itself.
    #[serde(default)]
    pub resource: Option<Spanned<String>>,
    /// `low`, `standard` or `critical`; by default `low` for GET, HEAD and OPTIONS, else `standard`.
    #[serde(default)]
    pub criticality: Option<CriticalityWord>,
    /// Which role-allowed calls are recorded: `all` (default) or `counted`.
    #[serde(default)]
    pub audit: AuditWord,
}

/// `kind: Role`: a named set of actions.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleSpec {
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The actions, service by service.
    pub permissions: Vec<PermissionSpec>,
}

/// Actions of one service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionSpec {
    /// The service.
    pub service: Spanned<String>,
    /// Its actions.
    pub actions: Vec<Spanned<String>>,
}

/// `kind: Binding`: gives a role to principals.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingSpec {
    /// The role.
    pub role: Spanned<String>,
    /// Who has it: `user:`, `group:` or `workload:`.
    pub subjects: Vec<Spanned<String>>,
}

/// `kind: Rule`: what it takes to get a grant.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The service.
    pub service: Spanned<String>,
    /// Its actions.
    pub actions: Vec<Spanned<String>>,
    /// Who may ask.
    pub eligible: Vec<Spanned<String>>,
    /// Who may review.
    pub reviewers: Vec<Spanned<String>>,
    /// How many approvals by different people; 1 by default.
    #[serde(default)]
    pub approvals: Option<Spanned<u32>>,
    /// The longest grant, like `1h`.
    pub max_duration: Spanned<String>,
    /// The length of a grant when none is named; `maxDuration` by default.
    #[serde(default)]
    pub default_duration: Option<Spanned<String>>,
    /// How long a request may wait for its reviews; `24h` by default.
    #[serde(default)]
    pub request_timeout: Option<Spanned<String>>,
}
