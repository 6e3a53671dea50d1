//! What a policy may say and probably does not mean. Warnings never refuse. Called by [`super::examine`] after everything
//! else, so that every document was looked at, also where some have faults.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Compiler;
use crate::wire::policy::parse::Placed;
use crate::wire::table::{ActionsItem, DenyItem, ServiceItem, SubjectItem};

/// So many earlier rules are compared with one.
const MAX_COMPARED: usize = 64;

impl<'d> Compiler<'d> {
    pub(super) fn warn(&mut self) {
        self.roles_that_nobody_has();
        self.declared_for_nothing();
        self.actions_that_nothing_covers();
        self.fields_that_nothing_reveals();
        self.shadowed_rules();
        self.denied_anyway();
    }

    fn roles_that_nobody_has(&mut self) {
        let documents = self.documents;
        let mut had = BTreeSet::new();
        for binding in &documents.bindings {
            let role = binding.document.spec.role.value.as_str();
            if !had.contains(role) {
                had.extend(self.inherited.get(role).into_iter().flatten().copied());
            }
        }
        for Placed { file, document } in &documents.roles {
            let name = &document.metadata.name;
            if !had.contains(name.value.as_str()) {
                let message = format!("nobody has the role `{}`", name.value);
                self.warning(*file, name.referenced, message, "bind it to someone, or remove it".to_owned());
            }
        }
    }

    fn declared_for_nothing(&mut self) {
        let documents = self.documents;
        for Placed { file, document } in &documents.defaults {
            for claim in &document.spec.claims {
                if !self.named.claims.contains(claim.name.value.as_str()) {
                    let message = format!("no condition names the claim `{}`", claim.name.value);
                    let help = format!("name it as `principal.claims.{}`, or remove it", claim.name.value);
                    self.warning(*file, claim.name.referenced, message, help);
                }
            }
            for signal in &document.spec.signals {
                if !self.named.signals.contains(signal.name.value.as_str()) {
                    let message = format!("no condition names the signal `{}`", signal.name.value);
                    let help = format!("name it as `signals[\"{}\"]`, or remove it", signal.name.value);
                    self.warning(*file, signal.name.referenced, message, help);
                }
            }
        }
    }

    fn actions_that_nothing_covers(&mut self) {
        let documents = self.documents;
        for Placed { file, document } in &documents.services {
            let Some(service) = self.services.get(document.metadata.name.value.as_str()) else { continue };
            let covered = Covered::of(service);
            let loose: Vec<_> = document
                .spec
                .actions
                .iter()
                .filter(|action| !covered.has(&action.name.value))
                .map(|a| &a.name)
                .collect();
            for name in loose {
                let message = format!("no binding, rule or deny rule is about the action `{}`", name.value);
                let help =
                    "every call of it is refused, and nobody can ask: let a role permit it, or write a rule".to_owned();
                self.warning(*file, name.referenced, message, help);
            }
        }
    }

    fn fields_that_nothing_reveals(&mut self) {
        let documents = self.documents;
        for Placed { file, document } in &documents.services {
            let Some(service) = self.services.get(document.metadata.name.value.as_str()) else { continue };
            // Fields that are masked, less those that something reveals.
            let mut masked: BTreeMap<&str, BTreeMap<&str, _>> = BTreeMap::new();
            for action in &document.spec.actions {
                let fields = action.fields.iter().filter(|field| field.mask);
                masked
                    .insert(&action.name.value, fields.map(|field| (field.name.value.as_str(), &field.name)).collect());
            }
            let bindings = service.bindings.iter().map(|binding| (Some(&binding.actions), &[][..], &binding.reveals));
            let rules = service.rules.iter().map(|rule| (None, rule.actions.as_slice(), &rule.reveals));
            for (set, named, reveals) in bindings.chain(rules).filter(|(.., reveals)| !reveals.is_empty()) {
                let reveals: BTreeSet<&str> = reveals.iter().map(String::as_str).collect();
                let named = match set {
                    Some(ActionsItem::All) => {
                        masked.values_mut().for_each(|fields| fields.retain(|field, _| !reveals.contains(field)));
                        continue;
                    }
                    Some(ActionsItem::Named(names)) => names.as_slice(),
                    None => named,
                };
                for action in named {
                    if let Some(fields) = masked.get_mut(action.as_str()) {
                        fields.retain(|field, _| !reveals.contains(field));
                    }
                }
            }
            let hidden: Vec<_> = masked.into_values().flat_map(BTreeMap::into_values).collect();
            for name in hidden {
                let message = format!("nothing reveals the masked field `{}`", name.value);
                let help =
                    "nobody ever sees it: name it under `reveals` of a role or rule, if somebody should".to_owned();
                self.warning(*file, name.referenced, message, help);
            }
        }
    }

    /// Rules of which an earlier one is always the first that fits, so that they are used only by name.
    fn shadowed_rules(&mut self) {
        let documents = self.documents;
        let places: BTreeMap<&str, _> =
            documents.rules.iter().map(|rule| (rule.document.metadata.name.value.as_str(), rule)).collect();
        let mut found = Vec::new();
        for service in self.services.values() {
            let mut by_action: BTreeMap<&str, Vec<Rc<Earlier<'_>>>> = BTreeMap::new();
            for rule in &service.rules {
                let first = rule.actions.first().map(String::as_str).unwrap_or_default();
                let earlier = by_action.get(first).into_iter().flatten();
                let actions: BTreeSet<&String> = rule.actions.iter().collect();
                let eligible: BTreeSet<&SubjectItem> = rule.eligible.iter().collect();
                let covers = |earlier: &&Rc<Earlier<'_>>| {
                    actions.is_subset(&earlier.actions) && eligible.is_subset(&earlier.eligible)
                };
                if let Some(earlier) = earlier.into_iter().find(covers) {
                    found.push((rule.name.clone(), earlier.name.to_owned()));
                } else if rule.condition.is_none() {
                    let earlier = Rc::new(Earlier { name: &rule.name, actions, eligible });
                    for action in &rule.actions {
                        let there = by_action.entry(action).or_default();
                        if there.len() < MAX_COMPARED {
                            there.push(Rc::clone(&earlier));
                        }
                    }
                }
            }
        }
        for (rule, earlier) in found {
            let Some(Placed { file, document }) = places.get(rule.as_str()) else { continue };
            let message = format!(
                "the rule `{rule}` is never the first that fits: by name, `{earlier}` comes before it, for all of its actions and people"
            );
            let help =
                "who asks gets the first rule by name unless they name this one: give the narrower rule the earlier name, or remove one"
                    .to_owned();
            self.warning(*file, document.metadata.name.referenced, message, help);
        }
    }

    /// Bindings and rules for what a deny rule refuses to the same people under every condition.
    fn denied_anyway(&mut self) {
        let documents = self.documents;
        let mut found: BTreeSet<(&str, String, String)> = BTreeSet::new();
        for service in self.services.values() {
            let always: Vec<Always<'_>> = service
                .denials
                .iter()
                .filter(|deny| deny.condition.is_none() && deny.except.is_empty())
                .take(MAX_COMPARED)
                .map(Always::of)
                .collect();
            // Nothing for all actions of the service.
            let denied = |subjects: &[SubjectItem], actions: Option<&[String]>| {
                always.iter().find(|deny| deny.refuses(subjects, actions)).map(|deny| deny.name.to_owned())
            };
            for binding in &service.bindings {
                let actions = match &binding.actions {
                    ActionsItem::All => None,
                    ActionsItem::Named(names) => Some(names.as_slice()),
                };
                let deny = denied(&binding.subjects, actions);
                found.extend(deny.map(|deny| ("binding", binding.name.clone(), deny)));
            }
            for rule in &service.rules {
                let deny = denied(&rule.eligible, Some(&rule.actions));
                found.extend(deny.map(|deny| ("rule", rule.name.clone(), deny)));
            }
        }
        let mut places = BTreeMap::new();
        for Placed { file, document } in &documents.bindings {
            places
                .insert(("binding", document.metadata.name.value.as_str()), (*file, document.metadata.name.referenced));
        }
        for Placed { file, document } in &documents.rules {
            places.insert(("rule", document.metadata.name.value.as_str()), (*file, document.metadata.name.referenced));
        }
        for (what, name, deny) in found {
            let Some((file, place)) = places.get(&(what, name.as_str())) else { continue };
            let message = format!("the deny rule `{deny}` always refuses what the {what} `{name}` gives");
            let help = "add `except` or a condition to the deny rule, or remove one of them".to_owned();
            self.warning(*file, *place, message, help);
        }
    }
}

/// A rule that later ones are compared with.
struct Earlier<'a> {
    name: &'a str,
    actions: BTreeSet<&'a String>,
    eligible: BTreeSet<&'a SubjectItem>,
}

/// A deny rule without condition or exceptions.
struct Always<'a> {
    name: &'a str,
    /// Nothing for all of them.
    actions: Option<BTreeSet<&'a String>>,
    /// Nothing for everyone.
    subjects: Option<BTreeSet<&'a SubjectItem>>,
}

impl<'a> Always<'a> {
    fn of(deny: &'a DenyItem) -> Self {
        let actions = match &deny.actions {
            ActionsItem::All => None,
            ActionsItem::Named(names) => Some(names.iter().collect()),
        };
        let subjects = (!deny.subjects.is_empty()).then(|| deny.subjects.iter().collect());
        Self { name: &deny.name, actions, subjects }
    }

    /// Whether it refuses all of these actions, or all that there are, to all of these people.
    fn refuses(&self, subjects: &[SubjectItem], actions: Option<&[String]>) -> bool {
        let has_actions = self
            .actions
            .as_ref()
            .is_none_or(|denied| actions.is_some_and(|actions| actions.iter().all(|action| denied.contains(action))));
        let has_subjects =
            || self.subjects.as_ref().is_none_or(|denied| subjects.iter().all(|subject| denied.contains(subject)));
        has_actions && has_subjects()
    }
}

/// The actions that something is about.
#[derive(Default)]
struct Covered<'a> {
    all: bool,
    names: BTreeSet<&'a str>,
}

impl<'a> Covered<'a> {
    fn of(service: &'a ServiceItem) -> Self {
        let mut covered = Self::default();
        let bound = service.bindings.iter().map(|binding| &binding.actions);
        for actions in bound.chain(service.denials.iter().map(|deny| &deny.actions)) {
            match actions {
                ActionsItem::All => covered.all = true,
                ActionsItem::Named(names) => covered.names.extend(names.iter().map(String::as_str)),
            }
        }
        covered.names.extend(service.rules.iter().flat_map(|rule| &rule.actions).map(String::as_str));
        covered
    }

    fn has(&self, action: &str) -> bool {
        self.all || self.names.contains(action)
    }
}
