//! Principals as they cross the network.

use serde::{Deserialize, Serialize};

use crate::engine::{Subject, SubjectError, Through, User};

/// A principal's name with its issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SubjectItem {
    /// A user.
    User {
        /// The token's `iss`.
        issuer: String,
        /// The token's `sub`.
        subject: String,
    },
    /// A group.
    Group {
        /// The token's `iss`.
        issuer: String,
        /// One of the token's `groups`.
        name: String,
    },
    /// A workload by SPIFFE id.
    Workload(String),
    /// A user or group, only through a workload.
    Through {
        /// The user or group.
        user: Box<SubjectItem>,
        /// The workload's SPIFFE id.
        workload: String,
    },
}

impl TryFrom<SubjectItem> for Subject {
    type Error = SubjectError;

    fn try_from(item: SubjectItem) -> Result<Self, SubjectError> {
        Ok(match item {
            SubjectItem::User { issuer, subject } => {
                Self::User(User { issuer: issuer.into(), subject: subject.into() })
            }
            SubjectItem::Group { issuer, name } => Self::Group { issuer: issuer.into(), name: name.into() },
            SubjectItem::Workload(id) => Self::Workload(id.parse()?),
            SubjectItem::Through { user, workload } => {
                // One level: both identities of both identities is nobody.
                let user = match *user {
                    SubjectItem::Through { workload, .. } => return Err(SubjectError::Form(workload)),
                    other => Self::try_from(other)?,
                };
                let through = Through::new(user, workload.parse()?);
                through.map(Self::Through).ok_or(SubjectError::Form(workload))?
            }
        })
    }
}

impl From<Subject> for SubjectItem {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::User(user) => Self::User { issuer: user.issuer.into(), subject: user.subject.into() },
            Subject::Group { issuer, name } => Self::Group { issuer: issuer.into(), name: name.into() },
            Subject::Workload(workload) => Self::Workload(workload.as_str().to_owned()),
            Subject::Through(through) => Self::Through {
                workload: through.workload().as_str().to_owned(),
                user: Box::new(through.user().clone().into()),
            },
        }
    }
}

/// A user: issuer and subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserItem {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
}

impl From<&User> for UserItem {
    fn from(user: &User) -> Self {
        Self { issuer: user.issuer.to_string(), subject: user.subject.to_string() }
    }
}
