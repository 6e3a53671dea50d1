//! Who is who, as it is kept with each version of the policy. Filters have none of it.

use serde::{Deserialize, Serialize};

use super::principal::{SubjectItem, UserItem};

/// The people and groups of a policy, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeopleItem {
    /// The people and machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonItem>,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupItem>,
}

/// The accounts of a person or machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonItem {
    /// The name.
    pub name: String,
    /// The accounts.
    pub accounts: Vec<UserItem>,
    /// Whether it is a machine's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub machine: bool,
    /// The person whose machine it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A group of tokens, and who can edit it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupItem {
    /// The issuer whose group it is.
    pub issuer: String,
    /// Its name in tokens.
    pub name: String,
    /// Who can edit it.
    pub editors: Vec<SubjectItem>,
}

impl PeopleItem {
    /// Whether the policy says nothing about people.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty() && self.groups.is_empty()
    }
}
