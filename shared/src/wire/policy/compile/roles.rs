//! Roles with what they inherit, and bindings.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::Compiler;
use crate::wire::policy::parse::Placed;
use crate::wire::policy::{BindingSpec, PermissionSpec, RoleSpec};
use crate::wire::table::{ActionsItem, BindingItem};

/// The most roles that one role has the permissions of, itself included.
const MAX_INHERITED: usize = 256;

/// What a role permits in one service, and what it reveals there.
type Permitted<'d> = (&'d str, ActionsItem, Vec<String>);

type Roles<'d> = BTreeMap<&'d str, &'d Placed<RoleSpec>>;

impl<'d> Compiler<'d> {
    pub(super) fn bindings(&mut self) {
        let documents = self.documents;
        let roles = self.roles();
        let mut seen = BTreeSet::new();
        let mut permitted: BTreeMap<&str, Vec<Permitted<'d>>> = BTreeMap::new();
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
            if !roles.contains_key(role.value.as_str()) && self.documents.may_have("Role") {
                continue;
            }
            if !roles.contains_key(role.value.as_str()) {
                let known: Vec<_> = roles.keys().copied().collect();
                let message = format!("there is no role `{}`", role.value);
                let help = self.meant(&role.value, &known);
                self.fault(*file, role.referenced, message, help);
                continue;
            }
            if !permitted.contains_key(role.value.as_str()) {
                let Some(found) = self.permissions(&roles, *file, role) else { return };
                permitted.insert(&role.value, found);
            }
            let permitted = permitted.get(role.value.as_str()).into_iter().flatten();
            for (service, actions, reveals) in permitted {
                if !self.services.contains_key(service) {
                    continue;
                }
                let pairs = self.count(service, actions).saturating_add(reveals.len());
                if !self.may_pair(*file, name, pairs, subjects.len()) || self.is_full() {
                    return;
                }
                let condition = self.standing_condition(*file, condition.as_ref(), service, actions);
                let Some(item) = self.services.get_mut(service) else { continue };
                item.bindings.push(BindingItem {
                    name: name.value.clone(),
                    role: role.value.clone(),
                    subjects: subjects.clone(),
                    actions: actions.clone(),
                    reveals: reveals.clone(),
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
            if self.is_full() {
                break;
            }
            if let Some(inherited) = self.all_inherited(&roles, role) {
                self.inherited.insert(&role.document.metadata.name.value, inherited);
            }
        }
        for role in &documents.roles {
            if self.is_full() {
                break;
            }
            self.inheritance(&roles, role);
        }
        roles
    }

    /// Reports inherited roles that are not there, and circles.
    fn inheritance(&mut self, roles: &Roles<'d>, role: &'d Placed<RoleSpec>) {
        let own = role.document.metadata.name.value.as_str();
        if self.inherited.get(own).is_some_and(|inherited| inherited.len() > MAX_INHERITED) {
            let place = role.document.metadata.name.referenced;
            let message = format!("the role `{own}` inherits more than {MAX_INHERITED} roles");
            return self.fault(role.file, place, message, "put their permissions together".to_owned());
        }
        for inherited in &role.document.spec.inherits {
            if self.is_full() {
                return;
            }
            if !roles.contains_key(inherited.value.as_str()) && self.documents.may_have("Role") {
                continue;
            }
            if !roles.contains_key(inherited.value.as_str()) {
                let known: Vec<_> = roles.keys().copied().filter(|known| *known != own).collect();
                let message = format!("there is no role `{}`", inherited.value);
                let help = self.meant(&inherited.value, &known);
                self.fault(role.file, inherited.referenced, message, help);
            } else if self.inherited.get(inherited.value.as_str()).is_some_and(|all| all.contains(own)) {
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
        // That a service is not there is told where it is named.
        if names.is_empty() || !self.declared.contains_key(service) {
            return Vec::new();
        }
        let masked = self.declared.get(service).map(|declared| declared.masked(actions)).unwrap_or_default();
        let unknown: Vec<_> = names.iter().filter(|name| !masked.contains(&name.value)).collect();
        let known: Vec<String> = masked.iter().filter(|_| !unknown.is_empty()).cloned().collect();
        for name in unknown {
            if self.is_full() {
                break;
            }
            let message = format!("none of these actions has a masked field `{}`", name.value);
            let help = self.meant(&name.value, &known);
            self.fault(file, name.referenced, message, help);
        }
        names.iter().map(|name| name.value.clone()).collect()
    }

    /// A role and all that it inherits, itself included; of very many not all. Nothing if there is too much to look at.
    fn all_inherited(&mut self, roles: &Roles<'d>, role: &'d Placed<RoleSpec>) -> Option<BTreeSet<&'d str>> {
        let name = &role.document.metadata.name;
        let mut all = BTreeSet::new();
        let mut open = vec![name.value.as_str()];
        while let Some(next) = open.pop().filter(|_| all.len() <= MAX_INHERITED) {
            if all.insert(next) {
                let inherits = roles.get(next).map_or([].as_slice(), |role| role.document.spec.inherits.as_slice());
                if !self.may_gather(role.file, name.referenced, inherits.len().saturating_add(1)) {
                    return None;
                }
                open.extend(inherits.iter().map(|inherited| inherited.value.as_str()));
            }
        }
        Some(all)
    }

    /// Everything a role permits, service by service, with all that it inherits. What reveals different fields stays apart.
    /// Nothing if there is too much to look at.
    fn permissions(&mut self, roles: &Roles<'d>, file: usize, role: &'d Spanned<String>) -> Option<Vec<Permitted<'d>>> {
        let all = self.inherited.get(role.value.as_str());
        let inherited: Vec<&'d Placed<RoleSpec>> =
            all.into_iter().flatten().filter_map(|role| roles.get(role)).copied().collect();
        let mut found: BTreeMap<(&str, Vec<String>), Gathered<'d>> = BTreeMap::new();
        for PermissionSpec { service, actions, reveals } in
            inherited.iter().flat_map(|role| &role.document.spec.permissions)
        {
            let more = actions.len().saturating_add(reveals.len()).saturating_add(1);
            if !self.may_gather(file, role.referenced, more) {
                return None;
            }
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
        let item = |gathered: Gathered<'_>| match gathered {
            Gathered { all: true, .. } => ActionsItem::All,
            Gathered { names, .. } => ActionsItem::Named(names),
        };
        Some(found.into_iter().map(|((service, reveals), gathered)| (service, item(gathered), reveals)).collect())
    }
}

/// The names in their order, and whether all are meant.
#[derive(Default)]
struct Gathered<'d> {
    all: bool,
    names: Vec<String>,
    seen: BTreeSet<&'d str>,
}
