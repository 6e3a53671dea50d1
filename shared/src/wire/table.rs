//! The items of a filter's table as they cross the network, and their way into the engine's [`Table`].
//! An item that is not understood in every part refuses the whole answer: a filter never acts on half of what it was told.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::table_hash::TableHash;
use crate::engine::{
    Action, ActionTemplates, Audit, Binding, Condition, Criticality, Grant, GrantHolder, Lock, LockTarget, Rule,
    Service, ServiceError, ServiceParts, Signal, Subject, SubjectError, Table, TemplateError, Unmatched, User,
    Workload,
};
use crate::id::{GrantId, LockId, RequestId};
use crate::time::{Span, Timestamp};

/// One item: its key, and its body in exactly the bytes that are hashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// `service/NAME`, `grant/ID`, `lock/ID` or `signal/NAME`.
    pub key: String,
    /// A [`Body`] in JSON.
    pub body: Box<RawValue>,
}

impl Item {
    /// This item's part of the table hash.
    #[must_use]
    pub fn hash(&self) -> TableHash {
        TableHash::of_item(&self.key, self.body.get())
    }

    /// Reads and checks the item.
    ///
    /// # Errors
    /// If it is not understood in every part.
    pub fn parse(&self) -> Result<EngineItem, ItemError> {
        let body: Body = serde_json::from_str(self.body.get())
            .map_err(|error| ItemError::Json { key: self.key.clone(), text: error.to_string() })?;
        let key = body.key();
        if key != self.key {
            return Err(ItemError::Key { key: self.key.clone(), body: key });
        }
        Ok(match body {
            Body::Service(service) => EngineItem::Service(Box::new(Service::new(service.try_into()?)?)),
            Body::Grant(grant) => EngineItem::Grant(grant.try_into()?),
            Body::Lock(lock) => EngineItem::Lock(lock.try_into()?),
            Body::Signal(signal) => EngineItem::Signal(signal.into()),
        })
    }
}

/// An item as the engine has it.
#[derive(Debug)]
pub enum EngineItem {
    /// A service.
    Service(Box<Service>),
    /// A grant.
    Grant(Grant),
    /// A lock.
    Lock(Lock),
    /// A signal that is set.
    Signal(Signal),
}

impl EngineItem {
    /// Puts the item into a table.
    pub fn put_into(self, table: &mut Table) {
        match self {
            Self::Service(service) => table.put_service(*service),
            Self::Grant(grant) => table.put_grant(grant),
            Self::Lock(lock) => table.put_lock(lock),
            Self::Signal(signal) => table.put_signal(signal),
        }
    }
}

/// The key of an item, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKey {
    /// A service by name.
    Service(Box<str>),
    /// A grant by id.
    Grant(GrantId),
    /// A lock by id.
    Lock(LockId),
    /// A signal by name.
    Signal(Box<str>),
}

impl ItemKey {
    /// Reads a key.
    ///
    /// # Errors
    /// If it names no known kind of item.
    pub fn parse(key: &str) -> Result<Self, ItemError> {
        let refuse = || ItemError::UnknownKey { key: key.chars().take(96).collect() };
        let (kind, id) = key.split_once('/').ok_or_else(refuse)?;
        match kind {
            "service" if !id.is_empty() => Ok(Self::Service(id.into())),
            "grant" => id.parse().map(Self::Grant).map_err(|_| refuse()),
            "lock" => id.parse().map(Self::Lock).map_err(|_| refuse()),
            "signal" if !id.is_empty() => Ok(Self::Signal(id.into())),
            _ => Err(refuse()),
        }
    }

    /// Takes the item out of a table.
    pub fn remove_from(&self, table: &mut Table) {
        match self {
            Self::Service(name) => table.remove_service(name),
            Self::Grant(id) => table.remove_grant(id),
            Self::Lock(id) => table.remove_lock(id),
            Self::Signal(name) => table.remove_signal(name),
        }
    }
}

/// Why an item is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Not the JSON of a known kind of item, or with a field that this build does not know.
    #[error("item `{key}` is not understood: {text}")]
    Json {
        /// The item.
        key: String,
        /// What the parser says.
        text: String,
    },
    /// The key is not the body's.
    #[error("item `{key}` holds the body of `{body}`")]
    Key {
        /// The item's key.
        key: String,
        /// The key that the body calls for.
        body: String,
    },
    /// A key of no known kind.
    #[error("`{key}` is no key of an item")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A name of a principal that is none.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A template that is none.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Parts that contradict each other.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A condition that is none.
    #[error(transparent)]
    Condition(#[from] super::condition::ConditionItemError),
    /// A grant without a holder, or one that ends before it begins.
    #[error("{0} is not a possible grant")]
    Grant(GrantId),
}

/// The body of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// A service with everything of the policy that concerns it.
    Service(ServiceItem),
    /// A grant.
    Grant(GrantItem),
    /// A lock.
    Lock(LockItem),
    /// A signal that is set.
    Signal(SignalItem),
}

impl Body {
    /// The key under which the item is kept.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Service(service) => format!("service/{}", service.name),
            Self::Grant(grant) => format!("grant/{}", grant.id),
            Self::Lock(lock) => format!("lock/{}", lock.id),
            Self::Signal(signal) => format!("signal/{}", signal.name),
        }
    }

    /// The service whose filters need the item; nothing if all of them do.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Service(service) => Some(&service.name),
            Self::Grant(grant) => Some(&grant.service),
            Self::Lock(lock) => lock.service.as_deref(),
            Self::Signal(_) => None,
        }
    }

    /// The item that carries this body.
    ///
    /// # Errors
    /// Never in practice: every body has a JSON form.
    pub fn into_item(self) -> Result<Item, serde_json::Error> {
        Ok(Item { key: self.key(), body: serde_json::value::to_raw_value(&self)? })
    }
}

/// A service with everything of the policy that concerns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceItem {
    /// Its name.
    pub name: String,
    /// The authorities it is called by.
    pub hosts: Vec<String>,
    /// What becomes of calls that match no action.
    pub unmatched: UnmatchedWord,
    /// Its actions.
    pub actions: Vec<ActionItem>,
    /// Standing permission.
    pub bindings: Vec<BindingItem>,
    /// What it takes to get a grant.
    pub rules: Vec<RuleItem>,
}

/// `deny` or `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnmatchedWord {
    /// Refused.
    #[default]
    Deny,
    /// Let through.
    Allow,
}

/// `low`, `standard` or `critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriticalityWord {
    /// Reading what many may read.
    Low,
    /// The default for changes.
    Standard,
    /// Money, keys, people's data.
    Critical,
}

impl From<CriticalityWord> for Criticality {
    fn from(word: CriticalityWord) -> Self {
        match word {
            CriticalityWord::Low => Self::Low,
            CriticalityWord::Standard => Self::Standard,
            CriticalityWord::Critical => Self::Critical,
        }
    }
}

/// `all` or `counted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditWord {
    /// Calls allowed by a role are recorded one by one.
    #[default]
    All,
    /// They are only counted.
    Counted,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionItem {
    /// Its name.
    pub name: String,
    /// The HTTP method.
    pub method: String,
    /// The path template.
    pub path: String,
    /// The resource template.
    pub resource: String,
    /// How critical it is.
    pub criticality: CriticalityWord,
    /// Whether role-allowed calls are recorded.
    pub audit: AuditWord,
}

/// Standing permission for actions of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingItem {
    /// Its name.
    pub name: String,
    /// The role.
    pub role: String,
    /// Who has it.
    pub subjects: Vec<SubjectItem>,
    /// The role's actions of this service.
    pub actions: Vec<String>,
    /// A condition of a kind that this version does not know; such a binding never allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<serde_json::Value>,
}

/// What it takes to get a grant for actions of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleItem {
    /// Its name.
    pub name: String,
    /// The actions it covers.
    pub actions: Vec<String>,
    /// Who may ask.
    pub eligible: Vec<SubjectItem>,
    /// Who may review.
    pub reviewers: Vec<SubjectItem>,
    /// How many approvals by different people.
    pub approvals: u32,
    /// The longest grant.
    pub max_duration: Span,
    /// The length of a grant when none is named.
    pub default_duration: Span,
    /// How long a request may wait.
    pub request_timeout: Span,
    /// A condition of a kind that this version does not know; nobody may ask under such a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<serde_json::Value>,
}

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
        })
    }
}

impl From<Subject> for SubjectItem {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::User(user) => Self::User { issuer: user.issuer.into(), subject: user.subject.into() },
            Subject::Group { issuer, name } => Self::Group { issuer: issuer.into(), name: name.into() },
            Subject::Workload(workload) => Self::Workload(workload.as_str().to_owned()),
        }
    }
}

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

/// A user: issuer and subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserItem {
    /// The token's `iss`.
    pub issuer: String,
    /// The token's `sub`.
    pub subject: String,
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

fn condition(stated: Option<&serde_json::Value>) -> Condition {
    if stated.is_some() { Condition::Unsupported } else { Condition::Always }
}

fn boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(String::into_boxed_str).collect()
}

fn subjects(items: Vec<SubjectItem>) -> Result<Vec<Subject>, SubjectError> {
    items.into_iter().map(Subject::try_from).collect()
}

impl TryFrom<ServiceItem> for ServiceParts {
    type Error = ItemError;

    fn try_from(item: ServiceItem) -> Result<Self, ItemError> {
        let ServiceItem { name, hosts, unmatched, actions, bindings, rules } = item;
        Ok(Self {
            name: name.into(),
            hosts: boxed(hosts),
            unmatched: match unmatched {
                UnmatchedWord::Deny => Unmatched::Deny,
                UnmatchedWord::Allow => Unmatched::Allow,
            },
            actions: actions.into_iter().map(Action::try_from).collect::<Result<_, _>>()?,
            bindings: bindings.into_iter().map(Binding::try_from).collect::<Result<_, _>>()?,
            rules: rules.into_iter().map(Rule::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<ActionItem> for Action {
    type Error = ItemError;

    fn try_from(item: ActionItem) -> Result<Self, ItemError> {
        let ActionItem { name, method, path, resource, criticality, audit } = item;
        Ok(Self {
            name: name.into(),
            method: method.into(),
            templates: ActionTemplates::parse(&path, Some(&resource))?,
            criticality: criticality.into(),
            audit: match audit {
                AuditWord::All => Audit::All,
                AuditWord::Counted => Audit::Counted,
            },
        })
    }
}

impl TryFrom<BindingItem> for Binding {
    type Error = ItemError;

    fn try_from(item: BindingItem) -> Result<Self, ItemError> {
        let BindingItem { name, role, subjects: named, actions, condition: stated } = item;
        Ok(Self {
            name: name.into(),
            role: role.into(),
            subjects: subjects(named)?,
            actions: boxed(actions),
            condition: condition(stated.as_ref()),
        })
    }
}

impl TryFrom<RuleItem> for Rule {
    type Error = ItemError;

    fn try_from(item: RuleItem) -> Result<Self, ItemError> {
        let RuleItem {
            name,
            actions,
            eligible,
            reviewers,
            approvals,
            max_duration,
            default_duration,
            request_timeout,
            condition: stated,
        } = item;
        Ok(Self {
            name: name.into(),
            actions: boxed(actions),
            eligible: subjects(eligible)?,
            reviewers: subjects(reviewers)?,
            approvals,
            max_duration,
            default_duration,
            request_timeout,
            condition: condition(stated.as_ref()),
        })
    }
}

impl TryFrom<GrantItem> for Grant {
    type Error = ItemError;

    fn try_from(item: GrantItem) -> Result<Self, ItemError> {
        let GrantItem { id, request, holder, service, action, resource, rule, starts_at, expires_at } = item;
        let user = holder.user.map(|user| User { issuer: user.issuer.into(), subject: user.subject.into() });
        let workload = holder.workload.as_deref().map(str::parse::<Workload>).transpose()?;
        let holder = match (user, workload) {
            (Some(user), None) => GrantHolder::User(user),
            (None, Some(workload)) => GrantHolder::Workload(workload),
            (Some(user), Some(workload)) => GrantHolder::Both(user, workload),
            (None, None) => return Err(ItemError::Grant(id)),
        };
        if expires_at <= starts_at {
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
            condition: Condition::Always,
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
