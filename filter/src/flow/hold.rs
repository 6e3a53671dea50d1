//! Calls that may be asked for and are held while people decide, where their rule says so. For `flow`: which are, what is
//! filed for them, and what the answer to one that waited in vain tells.

use grantmesh_shared::engine::{Reason, query_decoded};
use grantmesh_shared::id::{DecisionId, RequestId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::holds::{HoldItem, HoldState, JUSTIFICATION_HEADER, MAX_JUSTIFICATION_BYTES};
use grantmesh_shared::wire::problem::ProblemReason;
use grantmesh_shared::wire::records::DecisionWord;

use super::request::Request;
use super::{Cause, Flow};
use crate::headers::Headers;
use crate::holds::Standing;

/// Whether a call may be held.
#[derive(Debug, Clone, Copy, Default)]
pub enum Holding<'a> {
    /// It may not.
    #[default]
    Never,
    /// It may.
    May,
    /// It was, and its request stands so.
    Over(&'a Standing),
}

impl<'a> Holding<'a> {
    /// Its request, if it was held and that is known.
    pub(super) const fn request(self) -> Option<&'a RequestId> {
        match self {
            Self::Over(standing) => standing.request.as_ref(),
            Self::Never | Self::May => None,
        }
    }

    /// Why a call that was held is refused all the same.
    pub(super) fn reason(self) -> Option<ProblemReason> {
        let Self::Over(Standing { request, state }) = self else { return None };
        let name = request.as_ref().map_or("", RequestId::as_str);
        let (code, detail) = match state {
            None => ("hold_not_filed", "the call was held, but no request could be filed for it in time".to_owned()),
            Some(HoldState::Pending) => (
                "hold_over",
                format!("the call was held, and nobody decided its request {name} in time; that stays open"),
            ),
            Some(HoldState::Approved(_)) => (
                "hold_approved",
                format!("the request {name} was approved, and its grant does not let this call through"),
            ),
            Some(HoldState::Denied) => ("hold_denied", format!("the request {name} was denied")),
            Some(HoldState::TimedOut) => ("hold_timed_out", format!("the request {name} timed out")),
            Some(HoldState::Withdrawn) => ("hold_withdrawn", format!("the request {name} was withdrawn")),
            Some(HoldState::Refused(why)) => ("hold_refused", format!("the call was not held: {why}")),
        };
        Some(ProblemReason { code: code.to_owned(), detail })
    }
}

/// A call that is to be held.
#[derive(Debug)]
pub struct Held<'a> {
    /// What is filed for it.
    pub item: Box<HoldItem<'a>>,
    /// For how long.
    pub most: Span,
}

impl<'a> Flow<'a> {
    /// The call as one that is held: only one that its caller may ask for under a rule that holds calls, and whose grant
    /// could be bound to it as the rule wants. Whoever it is for must be known wholly, or nobody could be asked.
    pub(super) fn held(
        &self,
        request: &Request<'a>,
        headers: &Headers<'a>,
        cause: &Cause<'a>,
        id: &DecisionId,
    ) -> Option<Held<'a>> {
        let (Holding::May, Cause::Engine(DecisionWord::Ask, refusal, showing)) = (self.knowledge.holding, cause) else {
            return None;
        };
        let bound = showing.as_ref().and_then(|showing| showing.bound.as_ref());
        let (rule, most) = refusal.rules.iter().find_map(|rule| {
            let can_be_bound = rule.bind.is_none() || bound.is_some_and(|bound| *bound.rule == *rule.name);
            Some((rule, rule.hold.filter(|_| can_be_bound)?))
        })?;
        if !self.enforces(request, cause) {
            return None;
        }
        let until = self.knowledge.sync.latest(self.knowledge.mono)?.plus(most);
        let mut event = self.event(request, refusal.matched.as_ref(), DecisionWord::Ask, id.clone());
        if event.subject.is_none() || event.groups.is_none() {
            return None;
        }
        event.reasons = refusal.reasons.iter().map(Reason::code).map(Into::into).collect();
        let said = headers.single(JUSTIFICATION_HEADER.as_bytes()).filter(|said| said.len() <= MAX_JUSTIFICATION_BYTES);
        let item = HoldItem {
            event: *event,
            rule: rule.name.to_string(),
            call: bound.filter(|_| rule.bind.is_some()).map(|bound| bound.call.clone()),
            justification: said.and_then(query_decoded).map(Into::into),
            until,
        };
        Some(Held { item: Box::new(item), most })
    }
}
