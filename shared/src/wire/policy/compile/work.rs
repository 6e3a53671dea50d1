//! What one compilation may do. A few bytes of a file can ask for much (every action of a service to many people, roles that
//! inherit each other), so what is made of them is counted before it is made.

use serde_saphyr::{Location, Spanned};

use super::Compiler;
use crate::wire::table::ActionsItem;

/// The most pairs of an action and a principal that bindings, rules and deny rules put into services: every filter finds who
/// may do what by them.
const MAX_PAIRS: usize = 1_000_000;

/// The most roles and permissions that are looked at where roles are put together with all that they inherit.
const MAX_GATHERED: usize = 2_000_000;

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Work {
    pairs: usize,
    gathered: usize,
    /// There was too much, which is told.
    pub(super) is_spent: bool,
}

impl<'d> Compiler<'d> {
    /// Reports that there is too much of something, and ends the compilation.
    pub(super) fn too_much(&mut self, file: usize, place: Location, message: String, help: String) {
        self.fault(file, place, message, help);
        self.work.is_spent = true;
    }

    /// How many actions of a service are meant.
    pub(super) fn count(&self, service: &str, actions: &ActionsItem) -> usize {
        match actions {
            ActionsItem::All => self.services.get(service).map_or(0, |service| service.actions.len()),
            ActionsItem::Named(names) => names.len(),
        }
    }

    /// Whether so many actions may be put together with so many principals; reports it otherwise.
    pub(super) fn may_pair(&mut self, file: usize, name: &Spanned<String>, actions: usize, principals: usize) -> bool {
        self.work.pairs = self.work.pairs.saturating_add(actions.saturating_mul(principals)).saturating_add(1);
        if self.work.pairs > MAX_PAIRS {
            let message = format!(
                "`{}` and what is before it name more than {MAX_PAIRS} pairs of an action and a principal",
                name.value
            );
            let help = "name a group in place of many principals, or fewer actions; `*` counts as all of the service"
                .to_owned();
            self.too_much(file, name.referenced, message, help);
        }
        !self.work.is_spent
    }

    /// Whether so many more roles and permissions may be looked at; reports it otherwise.
    pub(super) fn may_gather(&mut self, file: usize, place: Location, more: usize) -> bool {
        self.work.gathered = self.work.gathered.saturating_add(more);
        if self.work.gathered > MAX_GATHERED && !self.work.is_spent {
            let message = format!(
                "the roles up to here have more than {MAX_GATHERED} permissions, with what each of them inherits"
            );
            let help = "put the permissions of roles that are always inherited together into one, each action once";
            self.too_much(file, place, message, help.to_owned());
        }
        !self.work.is_spent
    }
}
