//! All grants of a table, found by their ids and by who holds them for which action. A million of them takes the memory
//! of a million records, of a [`Places`], and little more; nothing that is done with one of them costs more for that.

use std::hash::BuildHasher;

use super::held::HeldGrant;
use super::kinds::{Kind, Kinds};
use super::places::Places;
use super::record::{self, Bunch, Head, Record, Terms};
use super::rows::{Rows, place};
use super::slab::Slab;
use crate::engine::Map;
use crate::engine::grant::{Grant, GrantHolder};
use crate::engine::hash::Keyed;
use crate::engine::principal::SubjectRef;

/// So many grants of one holder for one action stand together, and are looked through; more are found by their resources.
const FEW: usize = 16;

/// So many bytes a row has on average before one more row is made.
const FULL: usize = 1_024;

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Bunches of grants, by the hash of holder and action; of those that are more than [`FEW`], by that of the resource too.
    rows: Rows<Box<[u8]>>,
    /// In all rows.
    bytes: usize,
    /// To the places of grants in the rows.
    by_id: Places,
    /// How many grants of a holder for an action, by the hash of both, are placed by their resources.
    elsewhere: Map<u64, usize>,
    kinds: Kinds,
    terms: Slab<Box<Terms>>,
    count: usize,
    hasher: Keyed,
}

/// The part of its holder under which a grant is found: the user if there is one.
fn subject<'r>(head: &Head<'r>, kind: &'r Kind) -> SubjectRef<'r> {
    match (head.user, head.workload) {
        (Some(user), _) => SubjectRef::User(&kind.issuer, record::text(user)),
        (None, workload) => SubjectRef::Workload(record::text(workload.unwrap_or_default())),
    }
}

/// Whether a bunch is of a holder for an action; its kind then.
#[inline(never)]
fn kind_of<'r>(head: &Head<'r>, holder: SubjectRef<'_>, service: &str, action: &str) -> Option<&'r Kind> {
    let kind = head.kind?;
    let is_held = match (holder, head.user) {
        (SubjectRef::User(issuer, subject), Some(user)) => user == subject.as_bytes() && *kind.issuer == *issuer,
        (SubjectRef::Workload(workload), None) => head.workload == Some(workload.as_bytes()),
        _ => false,
    };
    (is_held && *kind.action == *action && *kind.service == *service).then_some(kind)
}

impl Grants {
    fn hash_of_id(&self, id: u128) -> u64 {
        self.hasher.hash_one(id)
    }

    /// The hash of whoever holds grants for an action.
    #[inline(never)]
    fn hash_of_holder(&self, holder: SubjectRef<'_>, service: &str, action: &str) -> u64 {
        self.hasher.hash_one((holder, service, action))
    }

    /// Where those of one resource of theirs are, if they are not with the others.
    #[inline(never)]
    fn place_of_resource(&self, holder: u64, resource: &str) -> u32 {
        place(self.hasher.hash_one((holder, resource)))
    }

    /// The bunches of a place, read.
    fn bunches(&self, place: u32) -> impl Iterator<Item = (Head<'_>, record::Grants<'_>)> {
        let row = self.rows.get(place).map(|row| &**row).unwrap_or_default();
        record::bunches(row).filter(move |bunch| bunch.place() == place).filter_map(|bunch| bunch.read(&self.kinds))
    }

    /// How many grants of a holder for an action stand together.
    #[inline(never)]
    fn together(&self, place: u32, holder: SubjectRef<'_>, service: &str, action: &str) -> usize {
        let theirs = self.bunches(place).filter(|(head, _)| kind_of(head, holder, service, action).is_some());
        theirs.map(|(_, grants)| grants.count()).sum()
    }

    /// Adds a grant or replaces the one of the same id. Were there no room for its number, as there is for sixteen million,
    /// it would not be there.
    #[inline(never)]
    pub(super) fn put(&mut self, mut grant: Grant, note: Option<&[u8; 32]>) {
        let id = grant.id.bits();
        self.remove(id);
        let holder = match &grant.holder {
            GrantHolder::User(user) | GrantHolder::Both(user, _) => SubjectRef::User(&user.issuer, &user.subject),
            GrantHolder::Workload(workload) => SubjectRef::Workload(workload.as_str()),
        };
        let hash = self.hash_of_holder(holder, &grant.service, &grant.action);
        let home = place(hash);
        let is_many = self.together(home, holder, &grant.service, &grant.action) >= FEW;
        let at = if is_many { self.place_of_resource(hash, &grant.resource) } else { home };
        let is_plain = grant.conditions.is_empty() && grant.bound.is_none() && grant.reveals.is_empty();
        let terms = (!is_plain).then(|| {
            let conditions = std::mem::take(&mut grant.conditions);
            let (bound, reveals) = (grant.bound.take(), std::mem::take(&mut grant.reveals));
            self.terms.push(Box::new(Terms { id: grant.id.clone(), conditions, bound, reveals }))
        });
        let Some((kind, rest)) = self.kinds.take(&grant) else {
            terms.and_then(|place| self.terms.take(place));
            return;
        };
        let begins = self.kinds.get(kind).map_or(0, |kind| kind.begins);
        self.write(at, &record::head(&grant, at, kind), &record::written(&grant, (begins, rest), terms, note));
        if at != home {
            let count = self.elsewhere.entry(hash).or_default();
            *count = count.saturating_add(1);
        }
        // Places have the bits that values of this map have room for.
        let _fits = self.by_id.insert(self.hash_of_id(id), at);
        self.count = self.count.saturating_add(1);
    }

    #[inline(never)]
    fn write(&mut self, place: u32, head: &[u8], grant: &[u8]) {
        if self.bytes >= self.rows.count().saturating_mul(FULL) {
            self.rows.cut(split);
        }
        if let Some(row) = self.rows.get_mut(place) {
            let new = record::with(row, head, grant);
            self.bytes = self.bytes.saturating_add(new.len()).saturating_sub(row.len());
            *row = new;
        }
    }

    /// Where a grant is.
    #[inline(never)]
    fn find(&self, id: u128) -> Option<(u32, Record<'_>)> {
        self.by_id
            .of(self.hash_of_id(id))
            .find_map(|place| Some((place, self.bunches(place).find_map(|(head, grants)| grants.find(head, id))?)))
    }

    /// Removes a grant.
    #[inline(never)]
    pub(super) fn remove(&mut self, id: u128) {
        let Some((at, found)) = self.find(id) else { return };
        let (kind, terms) = (found.head.number, found.terms);
        let holder = found.head.kind.map(|kind| (subject(&found.head, kind), kind));
        let hash = holder.map_or(0, |(holder, kind)| self.hash_of_holder(holder, &kind.service, &kind.action));
        if at != place(hash)
            && let Some(count) = self.elsewhere.get_mut(&hash)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.elsewhere.remove(&hash);
            }
        }
        if let Some(row) = self.rows.get_mut(at)
            && let Some(new) = record::without(row, &self.kinds, at, id)
        {
            self.bytes = self.bytes.saturating_add(new.len()).saturating_sub(row.len());
            *row = new;
        }
        self.by_id.remove(self.hash_of_id(id), at);
        self.kinds.give_back(kind);
        terms.and_then(|at| self.terms.take(at));
        self.count = self.count.saturating_sub(1);
    }

    /// As it is held. One whose terms are not there has ended before it began.
    fn held<'t>(&'t self, record: Record<'t>) -> HeldGrant<'t> {
        HeldGrant::of(record, record.terms.and_then(|at| self.terms.get(at)).map(|terms| &**terms))
    }

    /// The grant of that id.
    pub(super) fn get(&self, id: u128) -> Option<HeldGrant<'_>> {
        let (_, record) = self.find(id)?;
        Some(self.held(record))
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// How many rows there are, and the bytes in them.
    #[cfg(test)]
    pub(super) fn rows(&self) -> (usize, usize) {
        assert_eq!(self.rows.iter().map(|row| row.len()).sum::<usize>(), self.bytes);
        (self.rows.count(), self.bytes)
    }

    /// Whether nothing stayed behind.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        let is_kept = self.terms.taken() > 0 || self.kinds.taken() != (0, 0);
        self.count == 0 && self.rows().1 == 0 && self.by_id.is_empty() && self.elsewhere.is_empty() && !is_kept
    }

    /// Shows the grants of a holder for an action until `show` has seen enough: those for a resource, or else some of them
    /// (all, unless they are many or were). Tells whether it has. Once in the module, however many places look for some.
    #[inline(never)]
    pub(super) fn each<'t>(
        &'t self,
        holder: SubjectRef<'_>,
        (service, action): (&str, &str),
        resource: Option<&str>,
        show: &mut dyn FnMut(&HeldGrant<'t>) -> bool,
    ) -> bool {
        let hash = self.hash_of_holder(holder, service, action);
        let home = place(hash);
        let by_resource = resource.filter(|_| !self.elsewhere.is_empty() && self.elsewhere.contains_key(&hash));
        let other = by_resource.map(|resource| self.place_of_resource(hash, resource)).filter(|other| *other != home);
        for place in [Some(home), other].into_iter().flatten() {
            for (head, grants) in self.bunches(place) {
                let Some(kind) = kind_of(&head, holder, service, action) else { continue };
                // Of a resource what is not in the kind.
                let rest = resource.map(|resource| resource.as_bytes().strip_prefix(kind.beginning.as_bytes()));
                let Some(rest) = rest.unwrap_or(Some(b"")) else { continue };
                for record in grants.ending(head, rest) {
                    let is_sought = resource.is_none() || record.rest == rest;
                    if is_sought && show(&self.held(record)) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Frees a part of a table that nobody asks any more: what takes a fraction of a millisecond. Tells whether anything is
    /// left.
    pub(super) fn free(&mut self) -> bool {
        // One kind of things after the other.
        self.terms.free(1) || self.rows.free(2_048) || self.by_id.free(2_048)
    }
}

#[inline(never)]
fn split(row: &mut Box<[u8]>, is_new: &dyn Fn(u32) -> bool) -> Box<[u8]> {
    let part = |new: bool| {
        let bunches = record::bunches(row).filter(|bunch| is_new(bunch.place()) == new);
        bunches.map(Bunch::whole).collect::<Vec<_>>().concat().into_boxed_slice()
    };
    let (old, new) = (part(false), part(true));
    *row = old;
    new
}
