//! Services and their actions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::wire::policy::compile::{MAX_ACTIONS, MAX_NAMES};
use crate::wire::policy::{schema, stated};
use crate::wire::table::{AuditItem, CriticalityWord, ModeWord, PlaceWord, UnmatchedWord};

/// `kind: Service`: a service and its actions.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Authorities (host without port) it is called by; needed where one filter serves several services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Host>")]
    pub hosts: Vec<Spanned<String>>,
    /// What becomes of calls that match no action: `deny` (default) or `allow`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unmatched: UnmatchedWord,
    /// Request headers that conditions and bindings of grants may name, in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Header>", length(max = MAX_NAMES))]
    pub headers: Vec<Spanned<String>>,
    /// `enforce` (default) or `shadow`: calls are decided and recorded, and let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeWord>,
    /// With `enforce`: for so many of a hundred principals; the others are in shadow. 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Percent>")]
    pub percent: Option<Spanned<u8>>,
    /// Who owns it, as `user:NAME` or `group:NAME`: they see what is asked and granted for it, whoever reviews it, and may
    /// revoke its grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Person>")]
    pub owners: Vec<Spanned<String>>,
    /// Its actions.
    #[schemars(length(max = MAX_ACTIONS))]
    pub actions: Vec<ActionSpec>,
}

impl ServiceSpec {
    /// A service that says nothing but its actions.
    #[must_use]
    pub const fn new(actions: Vec<ActionSpec>) -> Self {
        Self {
            description: None,
            hosts: Vec::new(),
            unmatched: UnmatchedWord::Deny,
            headers: Vec::new(),
            mode: None,
            percent: None,
            owners: Vec::new(),
            actions,
        }
    }
}

/// An action of a service.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = schema::one_way_to_call)]
pub struct ActionSpec {
    /// Its name, `refund.create`.
    #[schemars(with = "schema::Name")]
    pub name: Spanned<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The HTTP method; with `path`, unless `grpc` is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Method>")]
    pub method: Option<Spanned<String>>,
    /// The path template; `{name}` is one segment, `{name=**}` the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Path>")]
    pub path: Option<Spanned<String>>,
    /// A gRPC method, `package.Service/Method`, in the place of `method` and `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Grpc>")]
    pub grpc: Option<Spanned<String>>,
    /// Texts in the JSON body that tell this action from others at its method and path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_NAMES))]
    pub select: Vec<SelectSpec>,
    /// The method of a JSON-RPC 2.0 call, short for `select`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Selected>")]
    pub json_rpc: Option<Spanned<String>>,
    /// The tool of an MCP `tools/call`, short for `select`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Selected>")]
    pub mcp_tool: Option<Spanned<String>>,
    /// Not supported, and refused with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub graphql: Option<Spanned<String>>,
    /// Query parameters that conditions and bindings of grants may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Text>", length(max = MAX_NAMES))]
    pub query: Vec<Spanned<String>>,
    /// How the request's body is read, where it is: `strict` or `head-first`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodySpec>,
    /// Named places of the JSON bodies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_NAMES))]
    pub fields: Vec<FieldSpec>,
    /// What it touches, from the path's parameters; by default the path itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Text>")]
    pub resource: Option<Spanned<String>>,
    /// `low`, `standard` or `critical`; by default `low` for GET, HEAD and OPTIONS, else `standard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criticality: Option<CriticalityWord>,
    /// Which role-allowed calls are recorded: `all` (default), `counted`, or a share in percent, `{ sampled: 10 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AuditItem>")]
    pub audit: Option<Spanned<AuditItem>>,
    /// As for the service, which it replaces for this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeWord>,
    /// As for the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Percent>")]
    pub percent: Option<Spanned<u8>>,
}

impl ActionSpec {
    /// An action that says nothing but its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: stated(name.to_owned()),
            description: None,
            method: None,
            path: None,
            grpc: None,
            select: Vec::new(),
            json_rpc: None,
            mcp_tool: None,
            graphql: None,
            query: Vec::new(),
            body: None,
            fields: Vec::new(),
            resource: None,
            criticality: None,
            audit: None,
            mode: None,
            percent: None,
        }
    }
}

/// A text in the JSON body.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectSpec {
    /// The JSON pointer (RFC 6901), `/method`.
    #[schemars(with = "schema::Pointer")]
    pub pointer: Spanned<String>,
    /// The text that must stand there.
    #[schemars(with = "schema::Selected")]
    pub value: Spanned<String>,
}

/// How a request's body is read before the call is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum BodySpec {
    /// The service sees nothing of the call before it is decided. The proxy must run the plugin with `allow_on_headers_stop_iteration`.
    Strict,
    /// The service may see the head of the call before it is decided.
    HeadFirst,
}

/// A named place in a JSON body.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldSpec {
    /// Its name, unique in the action.
    #[schemars(with = "schema::Name")]
    pub name: Spanned<String>,
    /// Whose body: `request` or `response`.
    #[serde(rename = "in")]
    pub place: PlaceWord,
    /// The JSON pointer (RFC 6901); `/NAME` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Pointer>")]
    pub pointer: Option<Spanned<String>>,
    /// The type of its value in a request, for conditions: `string` (default), `number` or `bool`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<FieldWord>,
    /// In a response: masked, unless a role or grant reveals it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask: bool,
}

/// The type of a request's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum FieldWord {
    /// A text.
    #[default]
    String,
    /// A number, compared exactly.
    Number,
    /// True or false.
    Bool,
}

/// Whether a value is the one that leaving it out stands for.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
