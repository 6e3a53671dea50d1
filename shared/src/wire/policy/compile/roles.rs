//! Roles with what they inherit, and bindings.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::Compiler;
use crate::wire::policy::parse::{Placed, meant};
use crate::wire::policy::{BindingSpec, PermissionSpec, RoleSpec};
use crate::wire::table::{ActionsItem, BindingItem};

type Roles<'d> = BTreeMap<&'d str, &'d Placed<RoleSpec>>;

impl<'d> Compiler<'d> {
    pub(super) fn bindings(&mut self) {
        let documents = self.documents;
        let roles = self.roles();
        let mut seen = BTreeSet::new();
        for Placed { file, document } in &documents.bindings {
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
            for (service, actions, reveals) in permissions(&roles, &role.value) {
                if !self.services.contains_key(service) {
                    continue;
                }
                let condition = self.condition(*file, condition.as_ref(), service, &actions);
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
        for inherited in &role.document.spec.inherits {
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
        let concerned = |name: &str| match actions {
            ActionsItem::All => true,
            ActionsItem::Named(names) => names.iter().any(|known| known == name),
        };
        let declared = self.declared.get(service).into_iter().flat_map(|declared| &declared.actions);
        let masked: BTreeSet<String> =
            declared.filter(|facts| concerned(facts.name)).flat_map(|facts| facts.masked.iter().cloned()).collect();
        let known: Vec<&String> = masked.iter().collect();
        for name in names.iter().filter(|name| !masked.contains(&name.value)) {
            let message = format!("none of these actions has a masked field `{}`", name.value);
            self.fault(file, name.referenced, message, meant(&name.value, &known));
        }
        names.iter().map(|name| name.value.clone()).collect()
    }
}

/// A role and all that it inherits, itself included.
fn all_inherited<'d>(roles: &Roles<'d>, role: &'d str) -> BTreeSet<&'d str> {
    let mut all = BTreeSet::new();
    let mut open = vec![role];
    while let Some(role) = open.pop() {
        if all.insert(role) {
            let inherits = roles.get(role).into_iter().flat_map(|role| &role.document.spec.inherits);
            open.extend(inherits.map(|inherited| inherited.value.as_str()));
        }
    }
    all
}

/// Everything a role permits, service by service, with all that it inherits. What reveals different fields stays apart.
fn permissions<'d>(roles: &Roles<'d>, role: &'d str) -> Vec<(&'d str, ActionsItem, Vec<String>)> {
    let mut found: BTreeMap<(&str, Vec<String>), ActionsItem> = BTreeMap::new();
    for role in all_inherited(roles, role) {
        let permissions = roles.get(role).into_iter().flat_map(|role| &role.document.spec.permissions);
        for PermissionSpec { service, actions, reveals } in permissions {
            let mut reveals: Vec<String> = reveals.iter().map(|name| name.value.clone()).collect();
            reveals.sort();
            reveals.dedup();
            let all = matches!(actions.as_slice(), [all] if all.value == "*");
            let there = found.entry((&service.value, reveals)).or_insert_with(|| ActionsItem::Named(Vec::new()));
            match there {
                ActionsItem::All => {}
                there if all => *there = ActionsItem::All,
                ActionsItem::Named(names) => {
                    for action in actions {
                        if !names.contains(&action.value) {
                            names.push(action.value.clone());
                        }
                    }
                }
            }
        }
    }
    found.into_iter().map(|((service, reveals), actions)| (service, actions, reveals)).collect()
}
