//! The JSON Schema of policy documents, generated from their types, for editors and other programs that write policies.
//!
//! It knows what one document alone can be wrong about: fields, words, bounds and the form of texts. What documents say about
//! each other, the compiler checks. It refuses nothing that the compiler takes, if texts that look like numbers are quoted.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::engine::Routing;

use super::compile::{MAX_LENGTH, MAX_REASON, MAX_SELECT, MAX_USES};
use super::{
    API_VERSION, BindingSpec, BreakGlassSpec, DefaultsSpec, DenyRuleSpec, GroupSpec, MAX_SOURCE_BYTES, Metadata,
    PersonSpec, RoleSpec, RuleSpec, ServiceSpec,
};

/// The schema of a policy document of any kind, in draft 7, which editors understand best.
#[must_use]
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let kinds = [
        document::<DefaultsSpec>(&mut generator, "Defaults"),
        document::<ServiceSpec>(&mut generator, "Service"),
        document::<RoleSpec>(&mut generator, "Role"),
        document::<BindingSpec>(&mut generator, "Binding"),
        document::<RuleSpec>(&mut generator, "Rule"),
        document::<DenyRuleSpec>(&mut generator, "DenyRule"),
        document::<BreakGlassSpec>(&mut generator, "BreakGlass"),
        document::<PersonSpec>(&mut generator, "Person"),
        document::<GroupSpec>(&mut generator, "Group"),
    ];
    let definitions = generator.take_definitions(true);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Grantmesh policy document",
        "type": "object",
        "required": ["kind"],
        "oneOf": kinds,
        "definitions": definitions,
    })
}

fn document<Spec: JsonSchema>(generator: &mut SchemaGenerator, kind: &str) -> Schema {
    json_schema!({
        "title": kind,
        "type": "object",
        "properties": {
            "apiVersion": { "const": API_VERSION, "description": "The version of this form of documents." },
            "kind": { "const": kind, "description": "What the document is about." },
            "metadata": generator.subschema_for::<Metadata>(),
            "spec": generator.subschema_for::<Spec>(),
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
    })
}

/// An action says `method` and `path`, or `grpc` alone.
pub(super) fn one_way_to_call(schema: &mut Schema) {
    let ways = json!([
        { "required": ["method", "path"], "properties": { "grpc": { "type": "null" } } },
        { "required": ["grpc"], "properties": { "method": { "type": "null" }, "path": { "type": "null" } } },
    ]);
    schema.insert("anyOf".to_owned(), ways);
}

/// A role permits something, or inherits what does.
pub(super) fn some_permission(schema: &mut Schema) {
    schema.insert("anyOf".to_owned(), json!([{ "required": ["permissions"] }, { "required": ["inherits"] }]));
}

/// A rule names its reviewers, or stages of them.
pub(super) fn one_way_to_decide(schema: &mut Schema) {
    let ways = json!([
        { "required": ["reviewers"], "properties": { "stages": { "maxItems": 0 } } },
        { "required": ["stages"], "properties": { "reviewers": { "maxItems": 0 }, "approvals": { "type": "null" } } },
    ]);
    schema.insert("anyOf".to_owned(), ways);
}

/// What stands at a place of a document, as far as its form goes: the types there are plain texts and numbers with their line.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident: $form:tt)*) => {$(
        $(#[$doc])*
        pub(super) enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($form)
            }
        }
    )*};
}

forms! {
    /// The name of a document, action or field.
    Name: { "type": "string", "pattern": "^[a-z0-9._-]{1,64}$" }
    /// The name of an action, or `*` for all.
    Actions: { "type": "string", "pattern": "^([a-z0-9._-]{1,64}|\\*)$" }
    /// Anything else that has a name.
    Text: { "type": "string" }
    /// The `iss` of tokens.
    Issuer: { "type": "string", "pattern": "^[!-~]{1,512}$", "examples": ["https://id.example.com"] }
    /// A claim of tokens.
    Claim: { "type": "string", "pattern": "^[!-~]{1,128}$" }
    /// A length of time.
    Duration: { "type": "string", "pattern": "^\\s*[0-9][\\s0-9A-Za-zµ.]*$", "maxLength": 64, "examples": ["15m", "8h", "1h30m"] }
    /// A user, group or workload, or two of them at once.
    Principal: {
        "type": "string",
        "pattern": "^((user|group):[^\\s]|workload:spiffe://[^/])",
        "examples": ["user:alice", "group:support", "workload:spiffe://mesh/ns/shop/sa/cart", "group:support + workload:spiffe://mesh/ns/agents/sa/bot"]
    }
    /// A user or group.
    Person: { "type": "string", "pattern": "^(user|group):[^\\s]", "examples": ["user:alice", "group:support"] }
    /// An authority without its port.
    Host: { "type": "string", "pattern": "^[a-z0-9.-]{1,255}$", "examples": ["payments.example.com"] }
    /// A request header, but none that says who calls.
    Header: {
        "type": "string",
        "pattern": "^[a-z0-9_-]{1,128}$",
        "not": { "enum": ["authorization", "cookie", "host", "proxy-authorization"] },
        "examples": ["x-ticket"]
    }
    /// So many of a hundred.
    Percent: { "type": "integer", "minimum": 0, "maximum": 100 }
    /// At least one.
    Approvals: { "type": "integer", "minimum": 1, "maximum": u32::MAX }
    /// So many people to suggest.
    Suggested: { "type": "integer", "minimum": 0, "maximum": Routing::MOST_SUGGESTED }
    /// A length of a text.
    Length: { "type": "integer", "minimum": 1, "maximum": MAX_LENGTH }
    /// A regular expression.
    Pattern: { "type": "string", "minLength": 1, "maxLength": 512, "examples": ["^INC-[0-9]+$"] }
    /// A number of calls.
    Uses: { "type": "integer", "minimum": 1, "maximum": MAX_USES }
    /// An HTTP method.
    Method: { "type": "string", "pattern": "^[A-Z]{1,32}$", "examples": ["GET", "POST", "PUT", "PATCH", "DELETE"] }
    /// A path template.
    Path: { "type": "string", "pattern": "^/", "examples": ["/v1/accounts/{account}", "/v1/files/{path=**}"] }
    /// A gRPC method.
    Grpc: { "type": "string", "pattern": "^[A-Za-z0-9_.]+/[A-Za-z0-9_]+$", "examples": ["package.Service/Method"] }
    /// A text that stands in a body.
    Selected: { "type": "string", "minLength": 1, "maxLength": MAX_SELECT }
    /// A JSON pointer.
    Pointer: { "type": "string", "pattern": "^/([^~]|~[01])*$", "maxLength": MAX_SELECT, "examples": ["/order/amount"] }
    /// A condition in CEL.
    Condition: { "type": "string", "maxLength": MAX_SOURCE_BYTES }
    /// What the refused caller reads.
    Reason: { "type": "string", "pattern": "^[^\\x00-\\x1f\\x7f]*[^\\x00-\\x1f\\x7f\\s][^\\x00-\\x1f\\x7f]*$", "maxLength": MAX_REASON }
}
