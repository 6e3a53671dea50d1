//! A service with its actions, and for each action who has it by role, who may ask for it and who never may, indexed so that
//! cost does not grow with their number. Built from a policy's item, read by [`super::decide()`].

mod select;

use super::Map;
use super::action::{Action, FieldPlace, Rollout};
use super::canonical::CanonicalPath;
use super::condition::{Condition, Needs, insert_sorted};
#[cfg(feature = "policy")]
use super::course::BreakGlass;
use super::principal::{Principal, Subject, SubjectKey, Workload};
use super::route::{Routed, Routes};
use super::rule::{ActionSet, Binding, DenyRule, Rule};
pub(crate) use select::Selected;

/// What becomes of a call that matches no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// Refused.
    Deny,
    /// Let through.
    Allow,
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
    /// How strictly it is enforced, where an action does not say otherwise.
    pub rollout: Rollout,
    /// Its actions.
    pub actions: Vec<Action>,
    /// Who has them by role.
    pub bindings: Vec<Binding>,
    /// What it takes to get a grant for them.
    pub rules: Vec<Rule>,
    /// Who never has them.
    pub denials: Vec<DenyRule>,
    /// Who may act now and answer later. Decisions know nothing of it, and filters are built without it.
    #[cfg(feature = "policy")]
    pub break_glass: Vec<BreakGlass>,
    /// Who owns it: they see its requests and grants, and revoke these.
    #[cfg(feature = "policy")]
    pub owners: Vec<Subject>,
}

/// Why parts do not make a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Two actions with one method and path shape, and nothing in the body to tell them apart.
    #[error(
        "the actions `{first}` and `{second}` have the same method and path, and some body fits both\nkeep one of them, or give them `select` values of one pointer that differ"
    )]
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
    /// One name for two places of the body, where it is not known yet which action is called.
    #[error(
        "the field `{field}` of `{first}` and of `{second}` are two places of the body at one method and path\ngive one of them another name"
    )]
    FieldTwice {
        /// The field.
        field: String,
        /// The earlier action.
        first: String,
        /// The later one.
        second: String,
    },
}

/// What a subject is found with: the place of the binding or rule, and the workload that it needs besides.
#[derive(Debug)]
struct Found {
    at: usize,
    through: Option<Workload>,
}

type SubjectIndex = Map<SubjectKey, Vec<Found>>;

#[derive(Debug, Default)]
struct ActionIndex {
    bindings: SubjectIndex,
    rules: SubjectIndex,
    denials: SubjectIndex,
    /// Deny rules for everyone.
    denials_for_all: Vec<usize>,
    needs: Needs,
}

/// The actions at one method and path shape, and what deciding among and about them reads.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// One, or several that are told apart by the body.
    places: Vec<usize>,
    needs: Needs,
    /// Name and pointer of each part of the request's body that is needed.
    body: Vec<(Box<str>, Box<str>)>,
}

impl Group {
    /// What deciding a call of these actions reads of it.
    pub(crate) const fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Name and JSON pointer of each part of the request's body that is needed.
    pub(crate) fn body(&self) -> &[(Box<str>, Box<str>)] {
        &self.body
    }

    /// Its actions' places.
    pub(crate) fn places(&self) -> &[usize] {
        &self.places
    }
}

/// A service, indexed for [`super::decide()`].
#[derive(Debug)]
pub struct Service {
    parts: ServiceParts,
    routes: Routes,
    groups: Vec<Group>,
    by_action: Vec<ActionIndex>,
    /// Deny rules for all actions: they are for calls of none, too.
    unmatched: ActionIndex,
}

impl Service {
    /// Builds the indices.
    ///
    /// # Errors
    /// If the parts contradict each other.
    pub fn new(parts: ServiceParts) -> Result<Self, ServiceError> {
        let (routes, mut groups) = grouped(&parts.actions)?;
        let (by_action, unmatched) = indexed(&parts)?;
        for group in &mut groups {
            complete(group, &parts.actions, &by_action)?;
        }
        Ok(Self { parts, routes, groups, by_action, unmatched })
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

    /// How strictly it is enforced where no action says otherwise.
    #[must_use]
    pub const fn rollout(&self) -> Rollout {
        self.parts.rollout
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

    /// Its bindings.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.parts.bindings
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.parts.rules
    }

    /// Its deny rules.
    #[must_use]
    pub fn denials(&self) -> &[DenyRule] {
        &self.parts.denials
    }

    /// Who may act now and answer later.
    #[cfg(feature = "policy")]
    #[must_use]
    pub fn break_glass(&self) -> &[BreakGlass] {
        &self.parts.break_glass
    }

    /// Who owns it.
    #[cfg(feature = "policy")]
    #[must_use]
    pub fn owners(&self) -> &[Subject] {
        &self.parts.owners
    }

    /// The rule of that name.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.parts.rules.iter().find(|rule| *rule.name == *name)
    }

    /// The break-glass right of that name.
    #[cfg(feature = "policy")]
    #[must_use]
    pub fn right(&self, name: &str) -> Option<&BreakGlass> {
        self.parts.break_glass.iter().find(|right| *right.name == *name)
    }

    /// The actions that a method and path lead to: several only where the body tells which.
    #[must_use]
    pub fn route(&self, method: &str, path: &CanonicalPath<'_>) -> Routed<Vec<&Action>> {
        match self.group(method, path) {
            Routed::Action(group) => {
                let actions = group.places.iter().filter_map(|place| self.parts.actions.get(*place));
                Routed::Action(actions.collect())
            }
            Routed::Unmatched => Routed::Unmatched,
            Routed::TrailingSlash => Routed::TrailingSlash,
            Routed::LetterCase => Routed::LetterCase,
        }
    }

    pub(crate) fn group(&self, method: &str, path: &CanonicalPath<'_>) -> Routed<&Group> {
        match self.routes.find(method, path) {
            Routed::Action(at) => self.groups.get(at).map_or(Routed::Unmatched, Routed::Action),
            Routed::Unmatched => Routed::Unmatched,
            Routed::TrailingSlash => Routed::TrailingSlash,
            Routed::LetterCase => Routed::LetterCase,
        }
    }

    /// What deciding a call of no action reads of it.
    pub(crate) const fn unmatched_needs(&self) -> &Needs {
        &self.unmatched.needs
    }

    /// Bindings that give the action at `place` to the principal, in the order user, workload, groups.
    pub(crate) fn bindings_for(&self, place: usize, principal: &Principal<'_>) -> impl Iterator<Item = &Binding> {
        let index = self.by_action.get(place).map(|index| &index.bindings);
        found(index, principal).filter_map(|at| self.parts.bindings.get(at))
    }

    /// Deny rules about the action at `place`, or about calls of none, that are for the principal.
    pub(crate) fn denials_for(
        &self,
        place: Option<usize>,
        principal: &Principal<'_>,
    ) -> impl Iterator<Item = &DenyRule> {
        let index = place.map_or(Some(&self.unmatched), |place| self.by_action.get(place));
        let for_all = index.into_iter().flat_map(|index| index.denials_for_all.iter().copied());
        let named = found(index.map(|index| &index.denials), principal);
        for_all
            .chain(named)
            .filter_map(|at| self.parts.denials.get(at))
            .filter(move |denial| !denial.excepts(principal))
    }

    /// Rules that name the principal as eligible for the action at `place`, each once, in the policy's order.
    /// Whether their conditions hold is another question.
    pub(crate) fn rules_for(&self, place: usize, principal: &Principal<'_>) -> Vec<&Rule> {
        let index = self.by_action.get(place).map(|index| &index.rules);
        let mut places: Vec<usize> = found(index, principal).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|at| self.parts.rules.get(at)).collect()
    }

    /// The place of the named action.
    pub(crate) fn place_of(&self, action: &str) -> Option<usize> {
        self.parts.actions.iter().position(|known| *known.name == *action)
    }
}

/// What an index holds for the principal.
fn found(index: Option<&SubjectIndex>, principal: &Principal<'_>) -> impl Iterator<Item = usize> {
    let workload = principal.workload;
    principal
        .subjects()
        .filter_map(move |subject| index?.get(&subject))
        .flatten()
        .filter(move |found| found.through.as_ref().is_none_or(|needed| workload == Some(needed.as_str())))
        .map(|found| found.at)
}

/// The routes, and the actions at each.
fn grouped(actions: &[Action]) -> Result<(Routes, Vec<Group>), ServiceError> {
    let mut routes = Routes::default();
    let mut groups: Vec<Group> = Vec::new();
    for (place, action) in actions.iter().enumerate() {
        let there = routes.insert(&action.method, &action.templates.path, groups.len());
        let Some(group) = there.and_then(|there| groups.get_mut(there)) else {
            groups.push(Group { places: vec![place], ..Group::default() });
            continue;
        };
        let mut others = group.places.iter().filter_map(|other| actions.get(*other));
        if let Some(other) = others.find(|other| !select::told_apart(other, action)) {
            let (first, second) = (other.name.to_string(), action.name.to_string());
            return Err(ServiceError::SameRoute { first, second });
        }
        group.places.push(place);
    }
    Ok((routes, groups))
}

/// What each action is found with, and what calls of none are.
fn indexed(parts: &ServiceParts) -> Result<(Vec<ActionIndex>, ActionIndex), ServiceError> {
    let mut places: Map<&str, usize> = Map::default();
    for (place, action) in parts.actions.iter().enumerate() {
        if places.insert(&action.name, place).is_some() {
            return Err(ServiceError::SameName { name: action.name.to_string() });
        }
    }
    let mut by_action: Vec<ActionIndex> = Vec::new();
    by_action.resize_with(parts.actions.len(), ActionIndex::default);
    let mut index = Indexing { places, by_action, unmatched: ActionIndex::default() };
    for (at, binding) in parts.bindings.iter().enumerate() {
        index.binding(at, binding)?;
    }
    for (at, rule) in parts.rules.iter().enumerate() {
        index.rule(at, rule)?;
    }
    for (at, denial) in parts.denials.iter().enumerate() {
        index.denial(at, denial)?;
    }
    Ok((index.by_action, index.unmatched))
}

/// Adds to a group what its actions need, and the body's parts that tell them apart.
fn complete(group: &mut Group, actions: &[Action], by_action: &[ActionIndex]) -> Result<(), ServiceError> {
    let several = group.places.len() > 1;
    let mut body: Vec<(Box<str>, Box<str>, &str)> = Vec::new();
    for place in &group.places {
        let (Some(action), Some(index)) = (actions.get(*place), by_action.get(*place)) else {
            continue;
        };
        group.needs.add(&index.needs);
        if several || !action.selectors.is_empty() {
            for selector in &action.selectors {
                insert_sorted(&mut group.needs.fields, &selector.pointer);
                if !body.iter().any(|(name, ..)| *name == selector.pointer) {
                    body.push((selector.pointer.clone(), selector.pointer.clone(), &action.name));
                }
            }
        }
        for field in action.fields.iter().filter(|field| field.place == FieldPlace::Request) {
            match body.iter().find(|(name, ..)| *name == field.name) {
                Some((_, pointer, first)) if *pointer != field.pointer => {
                    return Err(ServiceError::FieldTwice {
                        field: field.name.to_string(),
                        first: (*first).to_owned(),
                        second: action.name.to_string(),
                    });
                }
                Some(_) => {}
                None => body.push((field.name.clone(), field.pointer.clone(), &action.name)),
            }
        }
    }
    let needed = body.into_iter().filter(|(name, ..)| group.needs.fields.contains(name));
    group.body = needed.map(|(name, pointer, _)| (name, pointer)).collect();
    Ok(())
}

/// The indices while they are filled.
struct Indexing<'p> {
    places: Map<&'p str, usize>,
    by_action: Vec<ActionIndex>,
    unmatched: ActionIndex,
}

impl Indexing<'_> {
    /// Fills the index of each of the actions, once.
    fn each(
        &mut self,
        by: &str,
        actions: &ActionSet,
        mut fill: impl FnMut(&mut ActionIndex),
    ) -> Result<(), ServiceError> {
        let ActionSet::Named(names) = actions else {
            self.by_action.iter_mut().for_each(fill);
            return Ok(());
        };
        let unknown = |action: &str| ServiceError::UnknownAction { by: by.to_owned(), action: action.to_owned() };
        let place = |name: &str| self.places.get(name).copied().ok_or_else(|| unknown(name));
        let mut places = Vec::new();
        for name in names {
            places.push(place(name)?);
        }
        places.sort_unstable();
        places.dedup();
        for place in places {
            if let Some(slot) = self.by_action.get_mut(place) {
                fill(slot);
            }
        }
        Ok(())
    }

    fn binding(&mut self, at: usize, binding: &Binding) -> Result<(), ServiceError> {
        self.each(&binding.name, &binding.actions, |slot| {
            put(&mut slot.bindings, &binding.subjects, at);
            need(&mut slot.needs, &binding.condition);
        })
    }

    fn rule(&mut self, at: usize, rule: &Rule) -> Result<(), ServiceError> {
        self.each(&rule.name, &ActionSet::Named(rule.actions.clone()), |slot| {
            put(&mut slot.rules, &rule.eligible, at);
            need(&mut slot.needs, &rule.condition);
            need(&mut slot.needs, &rule.grant_condition);
            let Some(bind) = &rule.bind else { return };
            let Needs { headers, query, fields, .. } = &mut slot.needs;
            for (list, names) in [(headers, &bind.headers), (query, &bind.query), (fields, &bind.fields)] {
                names.iter().for_each(|name| insert_sorted(list, name));
            }
        })
    }

    fn denial(&mut self, at: usize, denial: &DenyRule) -> Result<(), ServiceError> {
        let fill = |slot: &mut ActionIndex| {
            need(&mut slot.needs, &denial.condition);
            if denial.subjects.is_empty() {
                slot.denials_for_all.push(at);
            }
            put(&mut slot.denials, &denial.subjects, at);
        };
        if denial.actions == ActionSet::All {
            fill(&mut self.unmatched);
        }
        self.each(&denial.name, &denial.actions, fill)
    }
}

fn put(index: &mut SubjectIndex, subjects: &[Subject], at: usize) {
    for subject in subjects {
        let found = Found { at, through: subject.through().cloned() };
        index.entry(SubjectKey(subject.clone())).or_default().push(found);
    }
}

fn need(needs: &mut Needs, condition: &Condition) {
    if let Some(more) = condition.needs() {
        needs.add(more);
    }
}
