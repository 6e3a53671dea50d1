//! A service with its actions, and for each action who has it by role and who may ask for it.

use super::Map;
use super::canonical::CanonicalPath;
use super::condition::Condition;
use super::principal::{Principal, Subject, SubjectKey};
use super::route::{Routed, Routes};
use super::template::ActionTemplates;
use crate::time::Span;

/// How much harm a wrongly admitted call does; sets how fresh the filter's table must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Criticality {
    /// Reading what many may read.
    Low,
    /// The default for changes.
    Standard,
    /// Money, keys, people's data.
    Critical,
}

impl Criticality {
    /// The word in policies, records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Standard => "standard",
            Self::Critical => "critical",
        }
    }
}

/// What becomes of a call that matches no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// Refused.
    Deny,
    /// Let through.
    Allow,
}

/// Which calls allowed by a standing role are recorded. Refusals and calls under a grant always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Every one.
    All,
    /// None; they are only counted in the metrics.
    Counted,
}

/// A named operation of a service.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its name, `refund.create`.
    pub name: Box<str>,
    /// The HTTP method.
    pub method: Box<str>,
    /// Its path and what it touches.
    pub templates: ActionTemplates,
    /// How critical it is.
    pub criticality: Criticality,
    /// Whether role-allowed calls are recorded.
    pub audit: Audit,
}

/// Standing permission: these subjects have these actions by this role.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The binding's name.
    pub name: Box<str>,
    /// The role's name.
    pub role: Box<str>,
    /// Who has it.
    pub subjects: Vec<Subject>,
    /// The role's actions of this service.
    pub actions: Vec<Box<str>>,
    /// What the context must be.
    pub condition: Condition,
}

/// What it takes to get a grant for some actions of this service.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The rule's name.
    pub name: Box<str>,
    /// The actions it covers.
    pub actions: Vec<Box<str>>,
    /// Who may ask.
    pub eligible: Vec<Subject>,
    /// Who may review.
    pub reviewers: Vec<Subject>,
    /// How many approvals by different people.
    pub approvals: u32,
    /// The longest grant.
    pub max_duration: Span,
    /// The length of a grant when the requester names none.
    pub default_duration: Span,
    /// How long a request may wait for its reviews.
    pub request_timeout: Span,
    /// What the context must be for asking.
    pub condition: Condition,
}

impl Rule {
    /// Whether the principal may ask under this rule.
    #[must_use]
    pub fn may_ask(&self, principal: &Principal<'_>) -> bool {
        self.condition.is_always() && self.eligible.iter().any(|subject| subject.names(principal))
    }

    /// Whether the principal is among the reviewers. That it is not also the requester is the workflow's matter.
    #[must_use]
    pub fn may_review(&self, principal: &Principal<'_>) -> bool {
        self.reviewers.iter().any(|subject| subject.names(principal))
    }
}

/// What a [`Service`] is made of.
#[derive(Debug, Clone)]
pub struct ServiceParts {
    /// The service's name.
    pub name: Box<str>,
    /// The authorities (host without port) it is called by; needed where one filter serves several services.
    pub hosts: Vec<Box<str>>,
    /// What becomes of calls that match no action.
    pub unmatched: Unmatched,
    /// Its actions.
    pub actions: Vec<Action>,
    /// Who has them by role.
    pub bindings: Vec<Binding>,
    /// What it takes to get a grant for them.
    pub rules: Vec<Rule>,
}

/// Why parts do not make a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Two actions with one method and path shape.
    #[error("the actions `{first}` and `{second}` have the same method and path\nkeep one of them")]
    SameRoute {
        /// The earlier one.
        first: String,
        /// The later one.
        second: String,
    },
    /// Two actions with one name.
    #[error("two actions are named `{name}`\ngive each its own name")]
    SameName {
        /// The name.
        name: String,
    },
    /// A binding or rule names an action that the service has not.
    #[error("`{by}` names the action `{action}`, which the service does not have")]
    UnknownAction {
        /// The binding or rule.
        by: String,
        /// The action.
        action: String,
    },
}

/// Subject → places of bindings or rules.
type SubjectIndex = Map<SubjectKey, Vec<usize>>;

#[derive(Debug, Default)]
struct ActionIndex {
    bindings: SubjectIndex,
    rules: SubjectIndex,
}

/// A service, indexed for [`super::decide()`].
#[derive(Debug)]
pub struct Service {
    parts: ServiceParts,
    routes: Routes,
    by_action: Vec<ActionIndex>,
}

impl Service {
    /// Builds the indices.
    ///
    /// # Errors
    /// If the parts contradict each other.
    pub fn new(parts: ServiceParts) -> Result<Self, ServiceError> {
        let mut routes = Routes::default();
        let mut places: Map<&str, usize> = Map::default();
        for (place, action) in parts.actions.iter().enumerate() {
            if places.insert(&action.name, place).is_some() {
                return Err(ServiceError::SameName { name: action.name.to_string() });
            }
            if let Some(taken) = routes.insert(&action.method, &action.templates.path, place) {
                let first = parts.actions.get(taken).map(|action| action.name.to_string()).unwrap_or_default();
                return Err(ServiceError::SameRoute { first, second: action.name.to_string() });
            }
        }
        let mut by_action: Vec<ActionIndex> = Vec::new();
        by_action.resize_with(parts.actions.len(), ActionIndex::default);
        let mut index = |by: &str,
                         actions: &[Box<str>],
                         subjects: &[Subject],
                         at: usize,
                         pick: fn(&mut ActionIndex) -> &mut SubjectIndex| {
            for action in actions {
                let slot = places.get(&**action).and_then(|place| by_action.get_mut(*place));
                let Some(slot) = slot else {
                    return Err(ServiceError::UnknownAction { by: by.to_owned(), action: action.to_string() });
                };
                for subject in subjects {
                    pick(slot).entry(SubjectKey(subject.clone())).or_default().push(at);
                }
            }
            Ok(())
        };
        for (at, binding) in parts.bindings.iter().enumerate() {
            index(&binding.name, &binding.actions, &binding.subjects, at, |slot| &mut slot.bindings)?;
        }
        for (at, rule) in parts.rules.iter().enumerate() {
            index(&rule.name, &rule.actions, &rule.eligible, at, |slot| &mut slot.rules)?;
        }
        drop(places);
        Ok(Self { parts, routes, by_action })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// What becomes of calls that match no action.
    #[must_use]
    pub const fn unmatched(&self) -> Unmatched {
        self.parts.unmatched
    }

    /// The authorities it is called by.
    #[must_use]
    pub fn hosts(&self) -> &[Box<str>] {
        &self.parts.hosts
    }

    /// Its actions.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.parts.actions
    }

    /// The action of that name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.parts.actions.iter().find(|action| *action.name == *name)
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.parts.rules
    }

    /// The rule of that name.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.parts.rules.iter().find(|rule| *rule.name == *name)
    }

    /// The action that a method and path lead to.
    #[must_use]
    pub fn route(&self, method: &str, path: &CanonicalPath<'_>) -> Routed<&Action> {
        match self.place(method, path) {
            Routed::Action(place) => self.parts.actions.get(place).map_or(Routed::Unmatched, Routed::Action),
            Routed::Unmatched => Routed::Unmatched,
            Routed::TrailingSlash => Routed::TrailingSlash,
        }
    }

    pub(crate) fn place(&self, method: &str, path: &CanonicalPath<'_>) -> Routed<usize> {
        self.routes.find(method, path)
    }

    /// Bindings that give the action at `place` to the principal, in the order user, workload, groups.
    pub(crate) fn bindings_for(&self, place: usize, principal: &Principal<'_>) -> impl Iterator<Item = &Binding> {
        let index = self.by_action.get(place);
        principal
            .subjects()
            .filter_map(move |subject| index?.bindings.get(&subject))
            .flatten()
            .filter_map(|at| self.parts.bindings.get(*at))
    }

    /// Rules under which the principal may ask for the action at `place`, each once, in the policy's order.
    pub(crate) fn rules_for(&self, place: usize, principal: &Principal<'_>) -> Vec<&Rule> {
        let index = self.by_action.get(place);
        let mut found: Vec<usize> =
            principal.subjects().filter_map(|subject| index?.rules.get(&subject)).flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| self.parts.rules.get(at)).filter(|rule| rule.condition.is_always()).collect()
    }

    /// Rules under which the principal may ask for the named action.
    #[must_use]
    pub fn rules_to_ask(&self, action: &str, principal: &Principal<'_>) -> Vec<&Rule> {
        let place = self.parts.actions.iter().position(|known| *known.name == *action);
        place.map(|place| self.rules_for(place, principal)).unwrap_or_default()
    }
}
