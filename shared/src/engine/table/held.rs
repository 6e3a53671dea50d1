//! Grants as they are found in a table: borrowed from it.

use super::kinds::Kind;
use super::places::Handles;
use super::record::{Record, Terms, text};
use super::store::Store;
use crate::engine::bind::{Bind, Digest};
use crate::engine::condition::Condition;
use crate::engine::grant::Uses;
use crate::engine::principal::{Principal, SubjectRef};
use crate::id::{GrantId, RequestId};
use crate::time::Timestamp;

use super::grants::Grants;

/// A grant of a table: where it is. Whether it is live is a question of the time of the call, never a stored flag.
#[derive(Debug, Clone, Copy)]
pub struct HeldGrant<'t> {
    store: &'t Store,
    place: u32,
}

/// A grant, read: what is looked at more than once is read once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read<'t> {
    held: HeldGrant<'t>,
    record: Record<'t>,
    /// Nothing only where there is no grant.
    kind: Option<&'t Kind>,
    terms: Option<&'t Terms>,
}

impl<'t> HeldGrant<'t> {
    pub(super) const fn at(store: &'t Store, place: u32) -> Self {
        Self { store, place }
    }

    /// Where there is no grant it is one that has ended before it began.
    #[inline(never)]
    pub(crate) fn read(&self) -> Read<'t> {
        Read::of(*self, self.store.record(self.place).unwrap_or(Record::NONE))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> GrantId {
        self.read().id()
    }

    /// Whether this is its id.
    #[must_use]
    pub fn is(&self, id: &GrantId) -> bool {
        self.read().is(id)
    }

    /// The request it came from.
    #[must_use]
    pub fn request(&self) -> RequestId {
        RequestId::from_bits(self.read().record.request())
    }

    /// The user who holds it, by issuer and subject; with a workload, only through that.
    #[must_use]
    pub fn user(&self) -> Option<(&'t str, &'t str)> {
        let read = self.read();
        read.record.user.map(|subject| (read.issuer(), text(subject)))
    }

    /// The workload that holds it.
    #[must_use]
    pub fn workload(&self) -> Option<&'t str> {
        self.read().record.workload.map(text)
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &'t str {
        self.read().kind.map_or("", |kind| &kind.service)
    }

    /// The action of the service.
    #[must_use]
    pub fn action(&self) -> &'t str {
        self.read().kind.map_or("", |kind| &kind.action)
    }

    /// The rule it was asked under.
    #[must_use]
    pub fn rule(&self) -> &'t str {
        self.read().kind.map_or("", |kind| &kind.rule)
    }

    /// The one resource it is for.
    #[must_use]
    pub fn resource(&self) -> String {
        self.read().resource()
    }

    /// First moment at which it allows.
    #[must_use]
    pub fn starts_at(&self) -> Timestamp {
        self.read().starts_at()
    }

    /// First moment at which it no longer allows.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.read().expires_at()
    }

    /// For how many calls it is, if it is for a number of them.
    #[must_use]
    pub fn uses(&self) -> Option<Uses> {
        self.read().uses()
    }

    /// Whether it was given at once, without an approval.
    #[must_use]
    pub fn break_glass(&self) -> bool {
        self.read().record.break_glass
    }

    /// What whoever put it into the table had noted with it.
    #[must_use]
    pub fn note(&self) -> Option<&'t [u8; 32]> {
        self.read().record.note
    }

    /// Whether it has no conditions, is bound to nothing and reveals nothing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.read().terms.is_none()
    }
}

impl<'t> Read<'t> {
    #[inline]
    pub(super) fn of(held: HeldGrant<'t>, record: Record<'t>) -> Self {
        let terms = record.terms.and_then(|at| held.store.terms(at));
        Self { held, record, kind: held.store.kinds.get(record.kind), terms }
    }

    /// Where it is.
    pub(crate) const fn held(&self) -> HeldGrant<'t> {
        self.held
    }

    pub(crate) fn id(&self) -> GrantId {
        GrantId::from_bits(self.record.id)
    }

    pub(crate) fn is(&self, id: &GrantId) -> bool {
        self.record.id == id.bits()
    }

    fn issuer(&self) -> &'t str {
        self.kind.map_or("", |kind| &kind.issuer)
    }

    pub(crate) fn resource(&self) -> String {
        [self.kind.map_or("", |kind| &kind.beginning), text(self.record.rest)].concat()
    }

    /// Whether it is for this resource.
    #[inline]
    pub(crate) fn is_for(&self, resource: &str) -> bool {
        self.kind.is_some_and(|kind| self.record.is_for(kind, resource))
    }

    pub(crate) const fn starts_at(&self) -> Timestamp {
        Timestamp::from_millis(self.record.starts_at)
    }

    pub(crate) const fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.record.expires_at)
    }

    pub(crate) const fn uses(&self) -> Option<Uses> {
        self.record.uses
    }

    /// Whether it is for a number of calls, and not all of them have been.
    pub(crate) fn has_uses(&self) -> bool {
        self.record.uses.is_some_and(|uses| !uses.exhausted)
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.record.uses.is_some_and(|uses| uses.exhausted)
    }

    pub(crate) fn reveals(&self) -> &'t [Box<str>] {
        self.terms.map(|terms| terms.reveals.as_slice()).unwrap_or_default()
    }

    /// Whether the principal is the holder, in every stated part.
    pub(crate) fn is_held_by(&self, principal: &Principal<'_>) -> bool {
        let is = |(issuer, subject): (&str, &str), user: &[u8]| subject.as_bytes() == user && issuer == self.issuer();
        let is_user = self.record.user.is_none_or(|user| principal.user.is_some_and(|caller| is(caller, user)));
        let is_one = |workload: &[u8]| principal.workload.is_some_and(|caller| caller.as_bytes() == workload);
        let is_workload = self.record.workload.is_none_or(is_one);
        is_user && is_workload
    }

    pub(crate) fn conditions(&self) -> &'t [Condition] {
        self.terms.map(|terms| terms.conditions.as_slice()).unwrap_or_default()
    }

    /// Its id beside its conditions.
    pub(crate) fn name(&self) -> &'t str {
        self.terms.map_or("", |terms| terms.id.as_str())
    }

    pub(crate) fn bound(&self) -> Option<&'t (Bind, Digest)> {
        self.terms.and_then(|terms| terms.bound.as_deref())
    }
}

/// The grants of one holder for one action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'t, 'c> {
    pub(super) grants: &'t Grants,
    pub(super) found: Found<'t>,
    pub(super) holder: SubjectRef<'c>,
    pub(super) service: &'t str,
    pub(super) action: &'t str,
}

/// Where they are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'t> {
    One(Read<'t>),
    /// All of them.
    Few(&'t [u32]),
    /// Some of them; all are found by their resources. With the hash of their holder.
    Many(&'t [u32], u64),
}

impl<'t, 'c> Held<'t, 'c> {
    fn store(&self) -> &'t Store {
        self.grants.store()
    }

    /// Some of them: all, unless they are many.
    pub(crate) fn some(&self) -> impl Iterator<Item = Read<'t>> {
        let (one, more) = match &self.found {
            Found::One(grant) => (Some(*grant), [].as_slice()),
            Found::Few(places) | Found::Many(places, _) => (None, *places),
        };
        let store = self.store();
        one.into_iter().chain(more.iter().map(move |place| HeldGrant::at(store, *place).read()))
    }

    /// Those for the resource, in the order in which they came.
    #[inline(never)]
    pub(crate) fn of<'h>(&'h self, resource: &'h str) -> OfResource<'t, 'h> {
        let (one, places, many) = match &self.found {
            Found::One(grant) => (Some(grant), [].as_slice(), None),
            Found::Few(places) => (None, *places, None),
            Found::Many(_, hash) => {
                let hash = self.store().hash_of_resource(*hash, super::kinds::cut(resource));
                (None, [].as_slice(), Some(self.grants.by_resource(hash)))
            }
        };
        let (holder, service, action) = (self.holder, self.service, self.action);
        OfResource { store: self.store(), holder, service, action, resource, one, places: places.iter(), many }
    }
}

/// Grants for a resource. Found by code that is in the module once, however many places look for some.
pub(crate) struct OfResource<'t, 'h> {
    store: &'t Store,
    holder: SubjectRef<'h>,
    service: &'h str,
    action: &'h str,
    resource: &'h str,
    one: Option<&'h Read<'t>>,
    places: std::slice::Iter<'t, u32>,
    many: Option<Handles<'t>>,
}

impl<'t> Iterator for OfResource<'t, '_> {
    type Item = Read<'t>;

    #[inline(never)]
    fn next(&mut self) -> Option<Read<'t>> {
        if let Some(one) = self.one.take() {
            return one.is_for(self.resource).then_some(*one);
        }
        loop {
            let place = match &mut self.many {
                Some(many) => many.next()?,
                None => *self.places.next()?,
            };
            let Some(record) = self.store.record(place) else { continue };
            let is_theirs = self.many.is_none() || self.store.is_of(&record, self.holder, self.service, self.action);
            let grant = Read::of(HeldGrant::at(self.store, place), record);
            if is_theirs && grant.is_for(self.resource) {
                return Some(grant);
            }
        }
    }
}

/// Grants for a resource that are found under either part of a principal.
pub(crate) struct OfEither<'t, 'h>(pub(crate) [Option<OfResource<'t, 'h>>; 2]);

impl<'t> Iterator for OfEither<'t, '_> {
    type Item = Read<'t>;

    #[inline(never)]
    fn next(&mut self) -> Option<Read<'t>> {
        let [one, other] = &mut self.0;
        let first = one.as_mut().and_then(Iterator::next);
        first.or_else(|| other.as_mut().and_then(Iterator::next))
    }
}
