//! The documents of a policy, field by field. Strict: an unknown field is an error.

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::wire::table::{AuditItem, CriticalityWord, ModeWord, PlaceWord, UnmatchedWord};

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
    /// Claims of the tokens that conditions may name, as `principal.claims.NAME`.
    #[serde(default)]
    pub claims: Vec<ClaimSpec>,
    /// Signals that people may set and conditions may name, as `signals.NAME`.
    #[serde(default)]
    pub signals: Vec<SignalSpec>,
}

/// A claim of the tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimSpec {
    /// Its name in the token.
    pub name: Spanned<String>,
    /// The type of its value: `string`, `number`, `bool` or `list` (of strings).
    #[serde(rename = "type")]
    pub kind: ClaimWord,
}

/// The type of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimWord {
    /// A text.
    String,
    /// A number, compared exactly.
    Number,
    /// True or false.
    Bool,
    /// A list of texts.
    List,
}

/// A signal: a fact that people set for a while.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignalSpec {
    /// Its name, `incident.open`.
    pub name: Spanned<String>,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// Who may set and clear it, besides operators.
    #[serde(default)]
    pub setters: Vec<Spanned<String>>,
    /// The longest time it may be set for at once, like `8h`; `24h` by default.
    #[serde(default)]
    pub max_duration: Option<Spanned<String>>,
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
    /// Request headers that conditions and bindings of grants may name, in lower case.
    #[serde(default)]
    pub headers: Vec<Spanned<String>>,
    /// `enforce` (default) or `shadow`: calls are decided and recorded, and let through.
    #[serde(default)]
    pub mode: Option<ModeWord>,
    /// With `enforce`: for so many of a hundred principals; the others are in shadow. 100 by default.
    #[serde(default)]
    pub percent: Option<Spanned<u8>>,
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
    /// The HTTP method; with `path`, unless `grpc` is said.
    #[serde(default)]
    pub method: Option<Spanned<String>>,
    /// The path template; `{name}` is one segment, `{name=**}` the rest.
    #[serde(default)]
    pub path: Option<Spanned<String>>,
    /// A gRPC method, `package.Service/Method`, in the place of `method` and `path`.
    #[serde(default)]
    pub grpc: Option<Spanned<String>>,
    /// Texts in the JSON body that tell this action from others at its method and path.
    #[serde(default)]
    pub select: Vec<SelectSpec>,
    /// The method of a JSON-RPC 2.0 call, short for `select`.
    #[serde(default)]
    pub json_rpc: Option<Spanned<String>>,
    /// The tool of an MCP `tools/call`, short for `select`.
    #[serde(default)]
    pub mcp_tool: Option<Spanned<String>>,
    /// Not supported, and refused with the reason.
    #[serde(default)]
    pub graphql: Option<Spanned<String>>,
    /// Query parameters that conditions and bindings of grants may name.
    #[serde(default)]
    pub query: Vec<Spanned<String>>,
    /// How the request's body is read, where it is: `strict` or `head-first`.
    #[serde(default)]
    pub body: Option<BodySpec>,
    /// Named places of the JSON bodies.
    #[serde(default)]
    pub fields: Vec<FieldSpec>,
    /// What it touches, from the path's parameters; by default the path itself.
    #[serde(default)]
    pub resource: Option<Spanned<String>>,
    /// `low`, `standard` or `critical`; by default `low` for GET, HEAD and OPTIONS, else `standard`.
    #[serde(default)]
    pub criticality: Option<CriticalityWord>,
    /// Which role-allowed calls are recorded: `all` (default), `counted`, or a share in percent, `{ sampled: 10 }`.
    #[serde(default)]
    pub audit: Option<Spanned<AuditItem>>,
    /// As for the service, which it replaces for this action.
    #[serde(default)]
    pub mode: Option<ModeWord>,
    /// As for the service.
    #[serde(default)]
    pub percent: Option<Spanned<u8>>,
}

/// A text in the JSON body.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectSpec {
    /// The JSON pointer (RFC 6901), `/method`.
    pub pointer: Spanned<String>,
    /// The text that must stand there.
    pub value: Spanned<String>,
}

/// How a request's body is read before the call is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodySpec {
    /// The service sees nothing of the call before it is decided. Needs a proxy setting, see the deployment's notes.
    Strict,
    /// The service may see the head of the call before it is decided.
    HeadFirst,
}

/// A named place in a JSON body.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldSpec {
    /// Its name, unique in the action.
    pub name: Spanned<String>,
    /// Whose body: `request` or `response`.
    #[serde(rename = "in")]
    pub place: PlaceWord,
    /// The JSON pointer (RFC 6901); `/NAME` by default.
    #[serde(default)]
    pub pointer: Option<Spanned<String>>,
    /// The type of its value in a request, for conditions: `string` (default), `number` or `bool`.
    #[serde(default, rename = "type")]
    pub kind: Option<FieldWord>,
    /// In a response: masked, unless a role or grant reveals it.
    #[serde(default)]
    pub mask: bool,
}

/// The type of a request's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldWord {
    /// A text.
    #[default]
    String,
    /// A number, compared exactly.
    Number,
    /// True or false.
    Bool,
}

/// `kind: Role`: a named set of actions.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleSpec {
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// Roles whose permissions this one has, too.
    #[serde(default)]
    pub inherits: Vec<Spanned<String>>,
    /// The actions, service by service.
    #[serde(default)]
    pub permissions: Vec<PermissionSpec>,
}

/// Actions of one service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionSpec {
    /// The service.
    pub service: Spanned<String>,
    /// Its actions; `["*"]` for all that it has or will have.
    pub actions: Vec<Spanned<String>>,
    /// Masked response fields of these actions that the role reveals.
    #[serde(default)]
    pub reveals: Vec<Spanned<String>>,
}

/// `kind: Binding`: gives a role to principals.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingSpec {
    /// The role.
    pub role: Spanned<String>,
    /// Who has it: `user:`, `group:` or `workload:`, or a user or group `+` a workload for both at once.
    pub subjects: Vec<Spanned<String>>,
    /// What the context of a call must be, in CEL.
    #[serde(default)]
    pub condition: Option<Spanned<String>>,
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
    /// When it may be asked for, in CEL; may name the principal, the action, the resource, signals and the time.
    #[serde(default)]
    pub condition: Option<Spanned<String>>,
    /// What the context of each call under the grant must be, in CEL.
    #[serde(default)]
    pub grant_condition: Option<Spanned<String>>,
    /// What of a call the grant is bound to, beyond action and resource.
    #[serde(default)]
    pub bind: Option<BindSpec>,
    /// Masked response fields that the grant reveals.
    #[serde(default)]
    pub reveals: Vec<Spanned<String>>,
}

/// What of a call a grant is bound to: exactly this is what was approved, and only this goes through.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindSpec {
    /// Method, path and the whole query, byte for byte.
    #[serde(default)]
    pub exact: bool,
    /// Request fields, by name.
    #[serde(default)]
    pub fields: Vec<Spanned<String>>,
    /// Request headers that the service declares.
    #[serde(default)]
    pub headers: Vec<Spanned<String>>,
    /// Query parameters that the actions declare.
    #[serde(default)]
    pub query: Vec<Spanned<String>>,
}

/// `kind: DenyRule`: who never has some actions, whatever roles and grants say.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DenyRuleSpec {
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The service.
    pub service: Spanned<String>,
    /// Its actions; `["*"]` for all calls.
    pub actions: Vec<Spanned<String>>,
    /// Whom it is for; everyone if nobody is named.
    #[serde(default)]
    pub subjects: Vec<Spanned<String>>,
    /// Whom it is not for.
    #[serde(default)]
    pub except: Vec<Spanned<String>>,
    /// What the context of a call must be, in CEL; always if nothing is said. If it cannot be judged, it denies.
    #[serde(default)]
    pub condition: Option<Spanned<String>>,
    /// Why, in words for the refused caller.
    pub reason: Spanned<String>,
}
