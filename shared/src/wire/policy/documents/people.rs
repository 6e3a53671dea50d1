//! Who is who: the accounts of people, and who can edit the groups of tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::wire::policy::compile::MAX_ACCOUNTS;
use crate::wire::policy::schema;

/// `kind: Person`: the accounts of one person, who has one vote and decides no request of any of them; or of a machine, which
/// may ask and never decides. Accounts that no such document names are each a person of their own.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersonSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The accounts.
    #[schemars(length(min = 1, max = MAX_ACCOUNTS))]
    pub accounts: Vec<AccountSpec>,
    /// Whether these are accounts of a service, a bot or an agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub machine: bool,
    /// Whose machine it is: what it asks for, its owner does not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Name>")]
    pub owner: Option<Spanned<String>>,
}

/// An account, as its tokens name it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountSpec {
    /// The token's `sub`.
    #[schemars(with = "schema::Text")]
    pub subject: Spanned<String>,
    /// The token's `iss`; that of `Defaults` if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Issuer>")]
    pub issuer: Option<Spanned<String>>,
}

/// `kind: Group`: who decides who is in a group of the tokens. A reviewer who is one only by this group does not count for a
/// request of someone who could put people into it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The group as tokens name it; the name of this document if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Text>")]
    pub group: Option<Spanned<String>>,
    /// Who can edit it. Whoever can edit one of these groups can edit it, too.
    #[schemars(with = "Vec<schema::Person>", length(min = 1))]
    pub editors: Vec<Spanned<String>>,
}
