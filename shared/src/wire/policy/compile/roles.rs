//! Roles with what they inherit, and bindings.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::Compiler;
use crate::wire::policy::parse::{Placed, meant};
use crate::wire::policy::{BindingSpec, PermissionSpec, RoleSpec};
use crate::wire::table::{ActionsItem, BindingItem};

/// The most roles that one role has the permissions of, itself included.
const MAX_INHERITED: usize = 256;

/// The most actions that all bindings together give, one by one.
const MAX_GIVEN: usize = 1_000_000;

/// What a role permits in one service, and what it reveals there.
type Permitted<'d> = (&'d str, ActionsItem, Vec<String>);

pub(super) type Roles<'d> = BTreeMap<&'d str, &'d Placed<RoleSpec>>;

impl<'d> Compiler<'d> {
    pub(super) fn bindings(&mut self) {
        let documents = self.documents;
        let roles = self.roles();
        let mut seen = BTreeSet::new();
        let mut permitted: BTreeMap<&str, Vec<Permitted<'d>>> = BTreeMap::new();
        let mut given = 0_usize;
        for Placed { file, document } in &documents.bindings {
            if self.is_full() {
                return;
            }
            let BindingSpec { role, subjects, condition } = &document.spec;
            let name = &document.metadata.name;
            self.unique(&mut seen, "binding", *file, name);
            if subjects.is_empty() {
                let message = format!("the binding `{}` names nobody", name.value);
                self.fault(*file, name.referenced, message, "name at least one principal under `subjects`".to_owned());
            }
            let subjects = self.subjects(*file, subjects);
            if !roles.contains_key(role.value.as_str()) {
                let known: Vec<_> = roles.keys().copied().collect();
                let message = format!("there is no role `{}`", role.value);
                self.fault(*file, role.referenced, message, meant(&role.value, &known));
                continue;
            }
            let permitted = permitted.entry(&role.value).or_insert_with(|| permissions(&roles, &role.value));
            given = permitted.iter().fold(given, |given, (_, actions, _)| match actions {
                ActionsItem::All => given.saturating_add(1),
                ActionsItem::Named(names) => given.saturating_add(names.len()),
            });
            if given > MAX_GIVEN {
                let message = format!("the bindings up to here give more than {MAX_GIVEN} actions, counted one by one");
                let help = "bind fewer roles to more subjects at once, or write `actions: [\"*\"]`".to_owned();
                self.fault(*file, role.referenced, message, help);
                return;
            }
            for (service, actions, reveals) in permitted.iter().cloned() {
                if !self.services.contains_key(service) {
                    continue;
                }
                let condition = self.standing_condition(*file, condition.as_ref(), service, &actions);
                let Some(item) = self.services.get_mut(service) else { continue };
                item.bindings.push(BindingItem {
                    name: name.value.clone(),
                    role: role.value.clone(),
                    subjects: subjects.clone(),
                    actions,
                    reveals,
                    condition,
                });
            }
        }
    }

    /// The roles by their names, checked.
    fn roles(&mut self) -> Roles<'d> {
        let documents = self.documents;
        let mut roles = Roles::new();
        let mut seen = BTreeSet::new();
        for role in &documents.roles {
            let name = &role.document.metadata.name;
            self.unique(&mut seen, "role", role.file, name);
            for permission in &role.document.spec.permissions {
                let actions = self.action_set(role.file, &permission.service, &permission.actions);
                self.reveals(role.file, &permission.service.value, &actions, &permission.reveals);
            }
            if role.document.spec.permissions.is_empty() && role.document.spec.inherits.is_empty() {
                let message = format!("the role `{}` has no permissions", name.value);
                self.fault(role.file, name.referenced, message, "give it some, or let it inherit a role".to_owned());
            }
            roles.insert(&name.value, role);
        }
        for role in &documents.roles {
            self.inheritance(&roles, role);
        }
        roles
    }

    /// Reports inherited roles that are not there, and circles.
    fn inheritance(&mut self, roles: &Roles<'d>, role: &'d Placed<RoleSpec>) {
        let own = role.document.metadata.name.value.as_str();
        if all_inherited(roles, own).len() > MAX_INHERITED {
            let place = role.document.metadata.name.referenced;
            let message = format!("the role `{own}` inherits more than {MAX_INHERITED} roles");
            return self.fault(role.file, place, message, "put their permissions together".to_owned());
        }
        for inherited in &role.document.spec.inherits {
            if self.is_full() {
                return;
            }
            if !roles.contains_key(inherited.value.as_str()) {
                let known: Vec<_> = roles.keys().copied().filter(|known| *known != own).collect();
                let message = format!("there is no role `{}`", inherited.value);
                self.fault(role.file, inherited.referenced, message, meant(&inherited.value, &known));
            } else if all_inherited(roles, &inherited.value).contains(own) {
                let message = format!("the role `{own}` inherits itself through `{}`", inherited.value);
                let help = "remove one of the roles from the circle".to_owned();
                self.fault(role.file, inherited.referenced, message, help);
            }
        }
    }

    /// Names of masked response fields that some of the actions have; reports the others.
    pub(super) fn reveals(
        &mut self,
        file: usize,
        service: &str,
        actions: &ActionsItem,
        names: &[Spanned<String>],
    ) -> Vec<String> {
        if names.is_empty() {
            return Vec::new();
        }
        let declared = self.declared.get(service).into_iter().flat_map(|declared| declared.of(actions));
        let masked: BTreeSet<String> = declared.flat_map(|facts| facts.masked.iter().cloned()).collect();
        let known: Vec<&String> = masked.iter().collect();
        for name in names.iter().filter(|name| !masked.contains(&name.value)) {
            let message = format!("none of these actions has a masked field `{}`", name.value);
            self.fault(file, name.referenced, message, meant(&name.value, &known));
        }
        names.iter().map(|name| name.value.clone()).collect()
    }
}

/// A role and all that it inherits, itself included; of very many not all.
pub(super) fn all_inherited<'d>(roles: &Roles<'d>, role: &'d str) -> BTreeSet<&'d str> {
    let mut all = BTreeSet::new();
    let mut open = vec![role];
    while let Some(role) = open.pop().filter(|_| all.len() <= MAX_INHERITED) {
        if all.insert(role) {
            let inherits = roles.get(role).into_iter().flat_map(|role| &role.document.spec.inherits);
            open.extend(inherits.map(|inherited| inherited.value.as_str()));
        }
    }
    all
}

/// Everything a role permits, service by service, with all that it inherits. What reveals different fields stays apart.
fn permissions<'d>(roles: &Roles<'d>, role: &'d str) -> Vec<Permitted<'d>> {
    /// The names in their order, and whether all are meant.
    #[derive(Default)]
    struct Gathered<'d> {
        all: bool,
        names: Vec<String>,
        seen: BTreeSet<&'d str>,
    }
    let mut found: BTreeMap<(&str, Vec<String>), Gathered<'d>> = BTreeMap::new();
    for role in all_inherited(roles, role) {
        let permissions = roles.get(role).into_iter().flat_map(|role| &role.document.spec.permissions);
        for PermissionSpec { service, actions, reveals } in permissions {
            let mut reveals: Vec<String> = reveals.iter().map(|name| name.value.clone()).collect();
            reveals.sort();
            reveals.dedup();
            let there = found.entry((&service.value, reveals)).or_default();
            there.all |= matches!(actions.as_slice(), [all] if all.value == "*");
            for action in actions {
                if there.seen.insert(action.value.as_str()) {
                    there.names.push(action.value.clone());
                }
            }
        }
    }
    let item = |gathered: Gathered<'_>| match gathered {
        Gathered { all: true, .. } => ActionsItem::All,
        Gathered { names, .. } => ActionsItem::Named(names),
    };
    found.into_iter().map(|((service, reveals), gathered)| (service, item(gathered), reveals)).collect()
}
