//! What a record tells of a call, and what of that calls alike have in common. Called by `flow` once a call is decided; what
//! it tells of a call is cut where that is very long.

use std::borrow::Cow;

use grantmesh_shared::engine::{Basis, ConditionError, Matched, Permit};
use grantmesh_shared::id::DecisionId;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};

use super::Flow;
use super::request::{self, Request};
use crate::records::Alike;

impl<'a> Flow<'a> {
    /// What is told of a call that is let through.
    pub(super) fn allowed(
        &self,
        request: &Request<'a>,
        permit: &Permit<'a>,
        claim: bool,
        id: DecisionId,
    ) -> Box<DecisionEvent<'a>> {
        let mut event = self.event(request, permit.matched(), DecisionWord::Allow, id);
        match permit.basis() {
            Basis::Grant(grant) => {
                event.grant = Some(grant.id());
                event.break_glass = grant.break_glass();
            }
            Basis::Role(binding) => event.binding = Some(request::shortened(&binding.name, 256)),
            Basis::Unmatched => {}
        }
        if let Some(revealing) = permit.claim().filter(|_| claim && event.grant.is_none()) {
            event.grant = Some(revealing.id());
        }
        event.condition_errors = errors_text(permit.errors());
        event
    }

    /// What the record of a call that is let through has in common with that of others: all of [`Self::allowed`] but the
    /// decision's id and the request id, where no condition erred and the call is no use. Nothing if its path is not known.
    pub(super) fn alike<'c>(&'c self, request: &Request<'c>, permit: &'c Permit<'c>) -> Option<Alike<'c>> {
        let identity = self.identity.as_ref().ok()?;
        let (grant, binding) = match permit.basis() {
            Basis::Grant(grant) => (Some(grant), None),
            Basis::Role(binding) => (None, Some(&*binding.name)),
            Basis::Unmatched => (None, None),
        };
        Some(Alike {
            service: self.service.unwrap_or_default(),
            action: permit.matched().map(|matched| &*matched.action.name),
            resource: permit.matched().map(|matched| matched.resource.as_str()),
            method: request.method,
            path: request.path?,
            user: identity.user,
            groups: &identity.groups,
            workload: identity.workload,
            grant: grant.map(|grant| grant.bits()),
            break_glass: grant.is_some_and(|grant| grant.break_glass()),
            binding,
            position: self.knowledge.sync.position(),
        })
    }

    /// What is told of any call.
    pub(super) fn event(
        &self,
        request: &Request<'a>,
        matched: Option<&Matched<'a>>,
        decision: DecisionWord,
        id: DecisionId,
    ) -> Box<DecisionEvent<'a>> {
        let identity = self.identity.as_ref().ok();
        let user = identity.and_then(|identity| identity.user);
        let path = match request.path {
            Some(path) => request::shortened(path, 2_048),
            None => request::escaped(request.target_without_query(), 512),
        };
        let call = (request::escaped(request.method, 32), path);
        Box::new(DecisionEvent {
            action: matched.map(|matched| request::shortened(&matched.action.name, 256)),
            resource: matched.map(|matched| Cow::Owned(request::shortened(&matched.resource, 1_024).into_owned())),
            issuer: user.map(|(issuer, _)| Cow::Borrowed(issuer)),
            subject: user.map(|(_, subject)| Cow::Borrowed(subject)),
            groups: identity.filter(|identity| identity.user.is_some()).and_then(|identity| groups(&identity.groups)),
            workload: identity.and_then(|identity| identity.workload).map(|id| request::shortened(id, 512)),
            request_id: request.request_id().map(Cow::Borrowed),
            position: self.knowledge.sync.position(),
            ..DecisionEvent::new(id, decision, self.service.unwrap_or_default(), call)
        })
    }
}

/// The most groups that a record keeps, and the most bytes of them.
const MAX_GROUPS: (usize, usize) = (64, 1_024);

/// Groups as a record keeps them: all or none, since with a part of them nobody could tell what a policy makes of the call.
fn groups<'i>(groups: &[&'i str]) -> Option<Vec<Cow<'i, str>>> {
    let bytes = groups.iter().fold(0_usize, |sum, group| sum.saturating_add(group.len()));
    let fits = groups.len() <= MAX_GROUPS.0 && bytes <= MAX_GROUPS.1;
    fits.then(|| groups.iter().copied().map(Cow::Borrowed).collect())
}

/// The most condition errors that a record names.
const MAX_ERRORS: usize = 8;

pub(super) fn errors_text(errors: &[ConditionError<'_>]) -> Vec<Cow<'static, str>> {
    let text = |error: &ConditionError<'_>| {
        Cow::Owned(format!("{}: {}", request::shortened(error.by, 128), error.error.code()))
    };
    errors.iter().take(MAX_ERRORS).map(text).collect()
}
