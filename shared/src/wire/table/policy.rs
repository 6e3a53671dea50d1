//! A service as it crosses the network, with everything of the policy that concerns it.

use serde::{Deserialize, Serialize};

use super::{BindItem, ItemError, SubjectItem};
#[cfg(feature = "policy")]
use super::{BreakGlassItem, WorkflowItem};
use crate::engine::{
    Action, ActionSet, ActionTemplates, Audit, Binding, BodyMode, Condition, Criticality, DenyRule, Field, FieldPlace,
    Mode, Percent, Rollout, Rule, Selector, ServiceParts, Subject, SubjectError, Unmatched,
};
use crate::time::Span;
use crate::wire::condition::ConditionItem;

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
    /// How strictly it is enforced; fully if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutItem>,
    /// Its actions.
    pub actions: Vec<ActionItem>,
    /// Standing permission.
    pub bindings: Vec<BindingItem>,
    /// What it takes to get a grant.
    pub rules: Vec<RuleItem>,
    /// Who never has some actions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<DenyItem>,
    /// Who may act now and answer later. Filters get none of it, and are built without it.
    #[cfg(feature = "policy")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub break_glass: Vec<BreakGlassItem>,
    /// Who owns it. Filters get none of it, and are built without it.
    #[cfg(feature = "policy")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<SubjectItem>,
}

/// `deny` or `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema), schemars(inline))]
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
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema), schemars(inline))]
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

/// Which calls allowed by a role are recorded: `"all"`, `{"sampled": PERCENT}` or `"counted"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuditItem {
    /// Every one.
    #[default]
    All,
    /// So many of a hundred; the others are only counted.
    Sampled(#[cfg_attr(feature = "policy", schemars(range(min = 1, max = 99)))] u8),
    /// They are only counted.
    Counted,
}

/// `enforce` or `shadow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "snake_case")]
pub enum ModeWord {
    /// Refused calls are refused.
    #[default]
    Enforce,
    /// Calls are decided and recorded, and let through.
    Shadow,
}

/// How strictly decisions are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutItem {
    /// The mode.
    pub mode: ModeWord,
    /// With `enforce`: for so many of a hundred principals.
    pub percent: u8,
}

/// `strict` or `head_first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyWord {
    /// The service sees nothing of the call before it is decided.
    Strict,
    /// The service may see the head of the call before it is decided.
    HeadFirst,
}

/// `request` or `response`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "snake_case")]
pub enum PlaceWord {
    /// The request's body.
    Request,
    /// The response's body.
    Response,
}

/// A named place in the JSON body of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldItem {
    /// Its name.
    pub name: String,
    /// Whose body.
    pub place: PlaceWord,
    /// The JSON pointer.
    pub pointer: String,
    /// Whether it is masked unless revealed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask: bool,
}

/// A text in the body that tells an action from others at its method and path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorItem {
    /// The JSON pointer.
    pub pointer: String,
    /// The text that must stand there.
    pub value: String,
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
    /// What in the body tells it from others at its method and path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<SelectorItem>,
    /// The resource template.
    pub resource: String,
    /// How critical it is.
    pub criticality: CriticalityWord,
    /// Which role-allowed calls are recorded.
    pub audit: AuditItem,
    /// How strictly it is enforced; as the service if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutItem>,
    /// Declared query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
    /// How its request body is read, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyWord>,
    /// Declared body fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldItem>,
}

/// Actions of one service: `"all"` or `{"named": [...]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ActionsItem {
    /// All that there are.
    All,
    /// Those named.
    Named(Vec<String>),
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
    pub actions: ActionsItem,
    /// Masked response fields that the role reveals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reveals: Vec<String>,
    /// What the context must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionItem>,
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
    /// How long a refused call may be held while people decide; not at all if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// What the context must be for asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionItem>,
    /// What the context must be at each call under the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_condition: Option<ConditionItem>,
    /// What of a call the grant is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindItem>,
    /// Masked response fields that the grant reveals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reveals: Vec<String>,
    /// How requests under it are decided. Filters get none of it, and are built without it.
    #[cfg(feature = "policy")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Box<WorkflowItem>>,
}

/// Who never has some actions of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenyItem {
    /// Its name.
    pub name: String,
    /// The actions.
    pub actions: ActionsItem,
    /// Whom it is for; everyone if nobody is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<SubjectItem>,
    /// Whom it is not for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<SubjectItem>,
    /// What the context must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionItem>,
    /// Why, in words for the refused caller.
    pub reason: String,
}

fn boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(String::into_boxed_str).collect()
}

pub(super) fn subjects(items: Vec<SubjectItem>) -> Result<Vec<Subject>, SubjectError> {
    items.into_iter().map(Subject::try_from).collect()
}

fn condition(item: Option<ConditionItem>) -> Result<Condition, ItemError> {
    Ok(item.map(Condition::try_from).transpose()?.unwrap_or_default())
}

fn each<From, To: TryFrom<From>>(items: Vec<From>) -> Result<Vec<To>, To::Error> {
    items.into_iter().map(To::try_from).collect()
}

impl TryFrom<ServiceItem> for ServiceParts {
    type Error = ItemError;

    fn try_from(item: ServiceItem) -> Result<Self, ItemError> {
        let ServiceItem { name, hosts, unmatched, rollout, actions, bindings, rules, denials, .. } = item;
        Ok(Self {
            name: name.into(),
            hosts: boxed(hosts),
            unmatched: match unmatched {
                UnmatchedWord::Deny => Unmatched::Deny,
                UnmatchedWord::Allow => Unmatched::Allow,
            },
            rollout: rollout.map(Rollout::try_from).transpose()?.unwrap_or_default(),
            actions: each(actions)?,
            bindings: each(bindings)?,
            rules: each(rules)?,
            denials: each(denials)?,
            #[cfg(feature = "policy")]
            break_glass: each(item.break_glass)?,
            #[cfg(feature = "policy")]
            owners: each(item.owners)?,
        })
    }
}

fn percent(percent: u8) -> Result<Percent, ItemError> {
    Percent::new(percent).ok_or(ItemError::Percent(percent))
}

impl TryFrom<RolloutItem> for Rollout {
    type Error = ItemError;

    fn try_from(item: RolloutItem) -> Result<Self, ItemError> {
        let mode = match item.mode {
            ModeWord::Enforce => Mode::Enforce,
            ModeWord::Shadow => Mode::Shadow,
        };
        Ok(Self { mode, percent: percent(item.percent)? })
    }
}

impl TryFrom<ActionItem> for Action {
    type Error = ItemError;

    fn try_from(item: ActionItem) -> Result<Self, ItemError> {
        let ActionItem { name, method, path, selectors, resource, criticality, audit, .. } = item;
        let ActionItem { rollout, query, body, fields, .. } = item;
        let selector = |SelectorItem { pointer, value }| Selector { pointer: pointer.into(), value: value.into() };
        let field = |FieldItem { name, place, pointer, mask }| Field {
            name: name.into(),
            place: match place {
                PlaceWord::Request => FieldPlace::Request,
                PlaceWord::Response => FieldPlace::Response,
            },
            pointer: pointer.into(),
            mask,
        };
        Ok(Self {
            name: name.into(),
            method: method.into(),
            templates: ActionTemplates::parse(&path, Some(&resource))?,
            selectors: selectors.into_iter().map(selector).collect(),
            criticality: criticality.into(),
            audit: match audit {
                AuditItem::All => Audit::All,
                AuditItem::Sampled(share) => Audit::Sampled(percent(share)?),
                AuditItem::Counted => Audit::Counted,
            },
            rollout: rollout.map(Rollout::try_from).transpose()?,
            query: boxed(query),
            body: body.map(|word| match word {
                BodyWord::Strict => BodyMode::Strict,
                BodyWord::HeadFirst => BodyMode::HeadFirst,
            }),
            fields: fields.into_iter().map(field).collect(),
        })
    }
}

impl From<ActionsItem> for ActionSet {
    fn from(item: ActionsItem) -> Self {
        match item {
            ActionsItem::All => Self::All,
            ActionsItem::Named(names) => Self::Named(boxed(names)),
        }
    }
}

impl TryFrom<BindingItem> for Binding {
    type Error = ItemError;

    fn try_from(item: BindingItem) -> Result<Self, ItemError> {
        let BindingItem { name, role, subjects: named, actions, reveals, condition: stated } = item;
        Ok(Self {
            name: name.into(),
            role: role.into(),
            subjects: subjects(named)?,
            actions: actions.into(),
            reveals: boxed(reveals),
            condition: condition(stated)?,
        })
    }
}

impl TryFrom<RuleItem> for Rule {
    type Error = ItemError;

    fn try_from(item: RuleItem) -> Result<Self, ItemError> {
        let RuleItem { name, actions, eligible, hold, condition: asking, grant_condition, bind, reveals, .. } = item;
        Ok(Self {
            name: name.into(),
            actions: boxed(actions),
            eligible: subjects(eligible)?,
            hold,
            condition: condition(asking)?,
            grant_condition: condition(grant_condition)?,
            bind: bind.map(Into::into),
            reveals: boxed(reveals),
            #[cfg(feature = "policy")]
            workflow: item
                .workflow
                .map(|workflow| (*workflow).try_into())
                .transpose()?
                .map(Box::new)
                .unwrap_or_default(),
        })
    }
}

impl TryFrom<DenyItem> for DenyRule {
    type Error = ItemError;

    fn try_from(item: DenyItem) -> Result<Self, ItemError> {
        let DenyItem { name, actions, subjects: named, except, condition: stated, reason } = item;
        Ok(Self {
            name: name.into(),
            actions: actions.into(),
            subjects: subjects(named)?,
            except: subjects(except)?,
            condition: condition(stated)?,
            reason: reason.into(),
        })
    }
}
