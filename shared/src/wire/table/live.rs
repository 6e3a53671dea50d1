//! Grants, locks and signals as they cross the network: what changes between two versions of the policy.

use serde::{Deserialize, Serialize};

use super::{ItemError, SubjectItem, UserItem};
use crate::engine::{
    Bind, Condition, Digest, Grant, GrantHolder, Lock, LockTarget, Signal, Subject, User, Uses, Workload,
};
use crate::id::{GrantId, LockId, RequestId};
use crate::time::Timestamp;
use crate::wire::condition::ConditionItem;
use crate::wire::signature::Sha256Hash;

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantItem {
    /// Its id.
    pub id: GrantId,
    /// The request it came from.
    pub request: RequestId,
    /// The holder.
    pub holder: HolderItem,
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The rule.
    pub rule: String,
    /// First moment at which it allows.
    pub starts_at: Timestamp,
    /// First moment at which it no longer allows.
    pub expires_at: Timestamp,
    /// What the context must be at each call: all of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionItem>,
    /// What it is bound to, beyond action and resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Box<BoundItem>>,
    /// Masked response fields that it reveals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reveals: Vec<String>,
    /// For how many calls it is, if it is for a number of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<UsesItem>,
    /// Whether it was given at once, without an approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

/// For how many calls a grant is. How many of them have been is the control plane's to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsesItem {
    /// So many; at least one.
    pub allowed: u32,
    /// Whether none is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exhausted: bool,
}

/// The parts of a call that are bound, and the digest over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundItem {
    /// The parts.
    pub bind: BindItem,
    /// The digest that a call must have.
    pub digest: Sha256Hash,
}

/// What of a call a grant is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindItem {
    /// Method, path and the whole query, byte for byte.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// Declared fields of the request's body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Declared request headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Declared query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
}

impl From<BindItem> for Bind {
    fn from(item: BindItem) -> Self {
        let BindItem { exact, fields, headers, query } = item;
        Self { exact, fields: sorted(fields), headers: sorted(headers), query: sorted(query) }
    }
}

impl From<&Bind> for BindItem {
    fn from(bind: &Bind) -> Self {
        let Bind { exact, fields, headers, query } = bind;
        let plain = |names: &[Box<str>]| names.iter().map(ToString::to_string).collect();
        Self { exact: *exact, fields: plain(fields), headers: plain(headers), query: plain(query) }
    }
}

/// In the order that a digest is over.
fn sorted(mut names: Vec<String>) -> Vec<Box<str>> {
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(String::into_boxed_str).collect()
}

/// Who holds a grant: a user, a workload, or both at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HolderItem {
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserItem>,
    /// The workload's SPIFFE id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockItem {
    /// Its id.
    pub id: LockId,
    /// Only this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectItem>,
    /// Only this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A signal that is set: a fact that people told, for a while. For the filters of all services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalItem {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// First moment at which it no longer holds.
    pub expires_at: Timestamp,
}

impl TryFrom<GrantItem> for Grant {
    type Error = ItemError;

    fn try_from(item: GrantItem) -> Result<Self, ItemError> {
        let GrantItem { id, request, holder, service, action, resource, rule, starts_at, expires_at, .. } = item;
        let GrantItem { conditions, bound, reveals, uses, break_glass, .. } = item;
        let user = holder.user.map(|user| User { issuer: user.issuer.into(), subject: user.subject.into() });
        let workload = holder.workload.as_deref().map(str::parse::<Workload>).transpose()?;
        let holder = match (user, workload) {
            (Some(user), None) => GrantHolder::User(user),
            (None, Some(workload)) => GrantHolder::Workload(workload),
            (Some(user), Some(workload)) => GrantHolder::Both(user, workload),
            (None, None) => return Err(ItemError::Grant(id)),
        };
        if expires_at <= starts_at || uses.is_some_and(|uses| uses.allowed == 0) {
            return Err(ItemError::Grant(id));
        }
        Ok(Self {
            id,
            request,
            holder,
            service: service.into(),
            action: action.into(),
            resource: resource.into(),
            rule: rule.into(),
            starts_at,
            expires_at,
            conditions: conditions.into_iter().map(Condition::try_from).collect::<Result<_, _>>()?,
            bound: bound.map(|bound| Box::new((bound.bind.into(), Digest(bound.digest.0)))),
            reveals: reveals.into_iter().map(String::into_boxed_str).collect(),
            uses: uses.map(|UsesItem { allowed, exhausted }| Uses { allowed, exhausted }),
            break_glass,
        })
    }
}

impl TryFrom<LockItem> for Lock {
    type Error = ItemError;

    fn try_from(item: LockItem) -> Result<Self, ItemError> {
        let LockItem { id, subject, service, action, reason, expires_at } = item;
        let target = LockTarget {
            subject: subject.map(Subject::try_from).transpose()?,
            service: service.map(String::into_boxed_str),
            action: action.map(String::into_boxed_str),
        };
        Ok(Self { id, target, reason: reason.into(), expires_at })
    }
}

impl From<SignalItem> for Signal {
    fn from(item: SignalItem) -> Self {
        let SignalItem { name, reason: _, expires_at } = item;
        Self { name: name.into(), expires_at }
    }
}
