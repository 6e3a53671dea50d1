//! What a policy may say and probably does not mean. Warnings never refuse. Called by [`super::examine`] after everything
//! else, so that every document was looked at, also where some have faults.

use std::collections::{BTreeMap, BTreeSet};

use super::Compiler;
use super::roles::{Roles, all_inherited};
use crate::wire::policy::parse::Placed;
use crate::wire::table::{ActionsItem, DenyItem, RuleItem, ServiceItem, SubjectItem};

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
        let roles: Roles<'d> =
            documents.roles.iter().map(|role| (role.document.metadata.name.value.as_str(), role)).collect();
        let mut had = BTreeSet::new();
        for binding in &documents.bindings {
            let role = binding.document.spec.role.value.as_str();
            if !had.contains(role) {
                had.extend(all_inherited(&roles, role));
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
            let mut revealed: BTreeSet<(&str, &str)> = BTreeSet::new();
            let mut everywhere: BTreeSet<&str> = BTreeSet::new();
            for binding in service.bindings.iter().filter(|binding| !binding.reveals.is_empty()) {
                match &binding.actions {
                    ActionsItem::All => everywhere.extend(binding.reveals.iter().map(String::as_str)),
                    ActionsItem::Named(names) => {
                        let pairs =
                            names.iter().flat_map(|name| binding.reveals.iter().map(move |field| (&**name, &**field)));
                        revealed.extend(pairs);
                    }
                }
            }
            for rule in &service.rules {
                revealed.extend(
                    rule.actions.iter().flat_map(|name| rule.reveals.iter().map(move |field| (&**name, &**field))),
                );
            }
            let mut hidden = Vec::new();
            for action in &document.spec.actions {
                let shown =
                    |field: &str| everywhere.contains(field) || revealed.contains(&(action.name.value.as_str(), field));
                hidden.extend(
                    action.fields.iter().filter(|field| field.mask && !shown(&field.name.value)).map(|f| &f.name),
                );
            }
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
            let mut by_action: BTreeMap<&str, Vec<&RuleItem>> = BTreeMap::new();
            for rule in &service.rules {
                let first = rule.actions.first().map(String::as_str).unwrap_or_default();
                let earlier = by_action.get(first).into_iter().flatten().take(MAX_COMPARED);
                let covers = |earlier: &&&RuleItem| {
                    rule.actions.iter().all(|action| earlier.actions.contains(action))
                        && rule.eligible.iter().all(|subject| earlier.eligible.contains(subject))
                };
                if let Some(earlier) = earlier.into_iter().find(covers) {
                    found.push((rule.name.clone(), earlier.name.clone()));
                } else if rule.condition.is_none() {
                    for action in &rule.actions {
                        by_action.entry(action).or_default().push(rule);
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
            let always: Vec<&DenyItem> = service
                .denials
                .iter()
                .filter(|deny| deny.condition.is_none() && deny.except.is_empty())
                .take(MAX_COMPARED)
                .collect();
            let denied = |subjects: &[SubjectItem], has: &dyn Fn(&DenyItem) -> bool| {
                let fits = |deny: &&&DenyItem| {
                    has(deny) && (deny.subjects.is_empty() || subjects.iter().all(|one| deny.subjects.contains(one)))
                };
                always.iter().find(fits).map(|deny| deny.name.clone())
            };
            for binding in &service.bindings {
                let has = |deny: &DenyItem| covers(&deny.actions, &binding.actions);
                found.extend(denied(&binding.subjects, &has).map(|deny| ("binding", binding.name.clone(), deny)));
            }
            for rule in &service.rules {
                let actions = ActionsItem::Named(rule.actions.clone());
                let has = |deny: &DenyItem| covers(&deny.actions, &actions);
                found.extend(denied(&rule.eligible, &has).map(|deny| ("rule", rule.name.clone(), deny)));
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

/// Whether all of the second are among the first.
fn covers(wide: &ActionsItem, narrow: &ActionsItem) -> bool {
    match (wide, narrow) {
        (ActionsItem::All, _) => true,
        (ActionsItem::Named(_), ActionsItem::All) => false,
        (ActionsItem::Named(wide), ActionsItem::Named(narrow)) => narrow.iter().all(|action| wide.contains(action)),
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
