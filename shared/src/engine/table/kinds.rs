//! What many grants have in common, kept once and counted.

use std::hash::BuildHasher;

use super::places::Places;
use super::record::millis;
use super::slab::Slab;
use crate::engine::grant::{Grant, GrantHolder};
use crate::engine::hash::Keyed;

/// With more kinds than this, resources are no longer cut: their beginnings are as many as they are.
const MANY: usize = 4_096;

/// See the module's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) service: Box<str>,
    pub(crate) action: Box<str>,
    pub(crate) rule: Box<str>,
    /// The issuer of the user who holds it; empty if no user does.
    pub(crate) issuer: Box<str>,
    /// What the resource begins with.
    pub(crate) beginning: Box<str>,
    /// The millisecond of the id of the first grant that was of it.
    pub(super) begins: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct KindRef<'a>([&'a str; 5]);

impl Kind {
    fn as_ref(&self) -> KindRef<'_> {
        KindRef([&self.service, &self.action, &self.rule, &self.issuer, &self.beginning])
    }
}

/// A resource in two: up to its first `/`, and the rest.
pub(super) fn cut(resource: &str) -> (&str, &str) {
    resource
        .bytes()
        .position(|byte| byte == b'/')
        .and_then(|at| resource.split_at_checked(at.saturating_add(1)))
        .unwrap_or(("", resource))
}

/// All kinds, by number.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    kinds: Slab<(Kind, usize)>,
    by_parts: Places,
    count: usize,
    hasher: Keyed,
}

impl Kinds {
    /// Takes the kind of one more grant, and what of its resource the kind does not have; nothing if there are too many.
    pub(super) fn take<'g>(&mut self, grant: &'g Grant) -> Option<(u32, &'g str)> {
        let issuer = match &grant.holder {
            GrantHolder::User(user) | GrantHolder::Both(user, _) => &*user.issuer,
            GrantHolder::Workload(_) => "",
        };
        let is_many = self.count >= MANY;
        let (beginning, rest) = if is_many { ("", &*grant.resource) } else { cut(&grant.resource) };
        let sought = KindRef([&grant.service, &grant.action, &grant.rule, issuer, beginning]);
        let hash = self.hasher.hash_one(sought);
        let known = self.by_parts.of(hash).find(|at| self.get(*at).is_some_and(|kind| kind.as_ref() == sought));
        if let Some(at) = known {
            if let Some((_, count)) = self.kinds.get_mut(at) {
                *count = count.saturating_add(1);
            }
            return Some((at, rest));
        }
        let kind = Kind {
            service: grant.service.clone(),
            action: grant.action.clone(),
            rule: grant.rule.clone(),
            issuer: issuer.into(),
            beginning: beginning.into(),
            begins: millis(grant.id.bits()),
        };
        let at = self.kinds.push((kind, 1));
        if !self.by_parts.insert(hash, at) {
            self.kinds.take(at);
            return None;
        }
        self.count = self.count.saturating_add(1);
        Some((at, rest))
    }

    /// One grant of the kind less.
    pub(super) fn give_back(&mut self, at: u32) {
        let Some((kind, count)) = self.kinds.get_mut(at) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.by_parts.remove(self.hasher.hash_one(kind.as_ref()), at);
            self.kinds.take(at);
            self.count = self.count.saturating_sub(1);
        }
    }

    /// How many there are, by both counts.
    #[cfg(test)]
    pub(super) fn taken(&self) -> (usize, usize) {
        (self.count, self.kinds.taken())
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&Kind> {
        self.kinds.get(at).map(|(kind, _)| kind)
    }
}
