//! Grants as they are found in a table: read once, and borrowed from it.

use super::kinds::Kind;
use super::record::{Record, Terms, text};
use crate::engine::bind::{Bind, Digest};
use crate::engine::condition::Condition;
use crate::engine::grant::Uses;
use crate::engine::principal::Principal;
use crate::id::{GrantId, RequestId};
use crate::time::Timestamp;

/// A grant of a table. Whether it is live is a question of the time of the call, never a stored flag.
#[derive(Debug, Clone, Copy)]
pub struct HeldGrant<'t> {
    record: Record<'t>,
    terms: Option<&'t Terms>,
}

impl<'t> HeldGrant<'t> {
    /// Of a record and what is kept beside it. One whose terms are not there has ended before it began, as has one that is
    /// not there.
    pub(super) fn of(record: Record<'t>, terms: Option<&'t Terms>) -> Self {
        let record = if record.terms.is_some() && terms.is_none() { Record::NONE } else { record };
        Self { record, terms }
    }

    /// What is not there.
    pub(super) const NONE: Self = Self { record: Record::NONE, terms: None };

    /// Its id.
    #[must_use]
    pub fn id(&self) -> GrantId {
        GrantId::from_bits(self.record.id)
    }

    /// The bits of its id ([`GrantId::bits`]), which it takes nothing to tell.
    #[must_use]
    pub const fn bits(&self) -> u128 {
        self.record.id
    }

    /// Whether this is its id.
    #[must_use]
    pub fn is(&self, id: &GrantId) -> bool {
        self.record.id == id.bits()
    }

    /// The request it came from.
    #[must_use]
    pub fn request(&self) -> RequestId {
        RequestId::from_bits(self.record.request())
    }

    /// The user who holds it, by issuer and subject; with a workload, only through that.
    #[must_use]
    pub fn user(&self) -> Option<(&'t str, &'t str)> {
        self.record.head.user.map(|subject| (self.issuer(), text(subject)))
    }

    /// The workload that holds it.
    #[must_use]
    pub fn workload(&self) -> Option<&'t str> {
        self.record.head.workload.map(text)
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &'t str {
        self.kind().map_or("", |kind| &kind.service)
    }

    /// The action of the service.
    #[must_use]
    pub fn action(&self) -> &'t str {
        self.kind().map_or("", |kind| &kind.action)
    }

    /// The rule it was asked under.
    #[must_use]
    pub fn rule(&self) -> &'t str {
        self.kind().map_or("", |kind| &kind.rule)
    }

    /// The one resource it is for.
    #[must_use]
    pub fn resource(&self) -> String {
        [self.kind().map_or("", |kind| &kind.beginning), text(self.record.rest)].concat()
    }

    /// First moment at which it allows.
    #[must_use]
    pub const fn starts_at(&self) -> Timestamp {
        Timestamp::from_millis(self.record.starts_at)
    }

    /// First moment at which it no longer allows.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.record.expires_at)
    }

    /// For how many calls it is, if it is for a number of them.
    #[must_use]
    pub const fn uses(&self) -> Option<Uses> {
        self.record.uses
    }

    /// Whether it was given at once, without an approval.
    #[must_use]
    pub const fn break_glass(&self) -> bool {
        self.record.break_glass
    }

    /// What whoever put it into the table had noted with it.
    #[must_use]
    pub const fn note(&self) -> Option<&'t [u8; 32]> {
        self.record.note
    }

    /// Whether it has no conditions, is bound to nothing and reveals nothing.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.terms.is_none()
    }

    fn issuer(&self) -> &'t str {
        self.kind().map_or("", |kind| &kind.issuer)
    }

    const fn kind(&self) -> Option<&'t Kind> {
        self.record.head.kind
    }

    /// Whether it is for this resource.
    #[inline]
    pub(crate) fn is_for(&self, resource: &str) -> bool {
        self.kind().is_some() && self.record.is_for(resource)
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
        let is_user = self.record.head.user.is_none_or(|user| principal.user.is_some_and(|caller| is(caller, user)));
        let is_one = |workload: &[u8]| principal.workload.is_some_and(|caller| caller.as_bytes() == workload);
        let is_workload = self.record.head.workload.is_none_or(is_one);
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
