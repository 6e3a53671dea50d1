//! The documents of a policy, field by field. Strict: an unknown field is an error. Each field says here how it is read,
//! written and described to editors; what they mean together is checked by the compiler.

mod access;
mod automatic;
mod course;
mod deciding;
mod people;
mod service;

pub use access::*;
pub use automatic::*;
pub use course::*;
pub use deciding::*;
pub use people::*;
pub use service::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};

use super::compile::MAX_DECLARED;
use super::schema;

/// What every document says first.
pub const API_VERSION: &str = "grantmesh.dev/v1";

/// Name of a document.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Unique among documents of its kind: a-z, 0-9, `-`, `_` and `.`, at most 64 characters.
    #[schemars(with = "schema::Name")]
    pub name: Spanned<String>,
}

/// A document of one kind.
#[derive(Debug, Clone, Deserialize, Serialize)]
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

impl<Spec> Document<Spec> {
    /// A document that stands in no file yet.
    #[must_use]
    pub fn new(kind: &str, name: &str, spec: Spec) -> Self {
        Self {
            api_version: stated(API_VERSION.to_owned()),
            kind: stated(kind.to_owned()),
            metadata: Metadata { name: stated(name.to_owned()) },
            spec,
        }
    }
}

/// A value that stands in no file yet.
#[must_use]
pub const fn stated<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}

/// `kind: Defaults`: what holds for the whole policy. At most one.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultsSpec {
    /// The OpenID issuer whose users and groups `user:` and `group:` name.
    #[schemars(with = "schema::Issuer")]
    pub issuer: Spanned<String>,
    /// Claims of the tokens that conditions may name, as `principal.claims.NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_DECLARED))]
    pub claims: Vec<ClaimSpec>,
    /// Signals that people may set and conditions may name, as `signals["NAME"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_DECLARED))]
    pub signals: Vec<SignalSpec>,
}

/// A claim of the tokens.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimSpec {
    /// Its name in the token.
    #[schemars(with = "schema::Claim")]
    pub name: Spanned<String>,
    /// The type of its value: `string`, `number`, `bool` or `list` (of strings).
    #[serde(rename = "type")]
    pub kind: ClaimWord,
}

/// The type of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
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
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignalSpec {
    /// Its name, `incident.open`.
    #[schemars(with = "schema::Name")]
    pub name: Spanned<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is said of, each on its own: of a `user` or of a `ticket`. Only automatic decisions and `onCall` go by such a
    /// one: that of the requester, the request's ticket, or a reviewer. It is said of nothing in particular if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<OfWord>,
    /// Who may set and clear it, besides operators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Person>")]
    pub setters: Vec<Spanned<String>>,
    /// The longest time it may be set for at once, like `8h`; `24h` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub max_duration: Option<Spanned<String>>,
}

/// What a signal is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OfWord {
    /// Of a user, by the subject of their tokens.
    User,
    /// Of a ticket.
    Ticket,
}

impl OfWord {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Ticket => "ticket",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Ticket].into_iter().find(|known| known.as_str() == word)
    }
}
