//! What a rule decides about a request by itself, in the transaction that files it: [`Rulebook::automatic`] says what, and
//! [`Request::filed`] is the request as it then is.
//!
//! A signal that changes later decides nothing that was filed before. A grant that was approved so and starts later is
//! asked for again when it does.

use std::fmt;

use grantmesh_shared::engine::{self, Facts, Now, Rule, Table, Then};
use grantmesh_shared::id::{GrantId, PolicyId, RequestId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::table::ThenItem;
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::grant::Grant;
use super::kind::{AskKind, Waited};
use super::request::{Ask, Request, RequestState};
use super::review::RulesAtReview;
use super::rulebook::Rulebook;
use super::signal::{About, Signal, signal_key};

/// What a rule decided by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Automatic {
    /// The name of the decision within the rule of the request.
    pub name: String,
    /// What was decided.
    pub then: ThenItem,
    /// The policy version whose rule it is.
    pub policy: PolicyId,
}

impl Automatic {
    /// Whether the request was approved by it.
    #[must_use]
    pub fn approves(&self) -> bool {
        self.then == ThenItem::Approve
    }

    /// Whether the request was denied by it.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.then == ThenItem::Deny
    }

    /// The word of what was decided.
    #[must_use]
    pub fn word(&self) -> &'static str {
        Then::from(self.then).as_str()
    }

    /// How many approvals it requires.
    #[must_use]
    pub const fn required(&self) -> Option<u32> {
        match self.then {
            ThenItem::Require(approvals) => Some(approvals),
            ThenItem::Approve | ThenItem::Deny | ThenItem::Escalate => None,
        }
    }
}

impl fmt::Display for Automatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by `{}` of {}", self.word(), self.name, self.policy)
    }
}

impl Rulebook {
    /// The keys of the signals that could be said of an ask, as its rule decides by itself: of its requester, by whatever
    /// account, or of its ticket.
    #[must_use]
    pub fn said_of(&self, ask: &Ask) -> Vec<String> {
        let Some(rule) = self.rule(&ask.service, &ask.rule, &ask.action) else { return Vec::new() };
        let named = rule.workflow.automatic.iter().filter_map(|one| one.when.needs()).flat_map(|needs| &needs.signals);
        let mut about: Vec<About> = self.people.accounts_of(&ask.requester).cloned().map(About::User).collect();
        about.extend(ask.ticket.as_ref().map(|ticket| About::Ticket(ticket.as_str().to_owned())));
        let keys = named.flat_map(|name| about.iter().map(|about| signal_key(name, Some(about))));
        let mut keys: Vec<String> = keys.collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// What the rule of an ask decides by itself now, for whoever asks, with their token at hand or as it is kept. `said` are
    /// the signals that are said of it, by [`Self::said_of`].
    #[must_use]
    pub fn automatic(&self, ask: &Ask, (actor, said): (&Actor, &[Signal]), now: Timestamp) -> Option<Automatic> {
        let policy = self.policy.clone()?;
        let service = self.service(&ask.service)?;
        let rule = self.rule(&ask.service, &ask.rule, &ask.action)?;
        let candidates = candidates(rule, &ask.kind);
        if candidates.is_empty() {
            return None;
        }
        let criticality = service.action(&ask.action)?.criticality;
        let set = || self.set.iter().chain(said).filter(|signal| !signal.is_over(now));
        let (mut all, mut others) = (Table::default(), Table::default());
        set().for_each(|signal| all.put_signal(signal.of_engine()));
        // What its requester has set themselves, by whatever account, says nothing for them, nor what is said of another one
        // of their accounts: that holds against them only.
        let of_another = |signal: &Signal| matches!(&signal.about, Some(About::User(user)) if *user != ask.requester);
        set()
            .filter(|signal| !self.people.same(&signal.set_by, &ask.requester))
            .filter(|signal| !of_another(signal))
            .for_each(|signal| others.put_signal(signal.of_engine()));
        let claims = rule.workflow.automatic.iter().filter_map(|one| one.when.needs()).flat_map(|needs| &needs.claims);
        let claims: Vec<Box<str>> = claims.cloned().collect();
        let decided = actor.as_principal(|principal| {
            actor.as_context(&claims, |context| {
                let facts = Facts {
                    principal,
                    method: None,
                    path: None,
                    context,
                    service: service.name(),
                    action: &ask.action,
                    resource: &ask.resource,
                    criticality,
                    template: None,
                    now: Now::exactly(now),
                    table: &all,
                };
                let verdicts = engine::verdicts(&candidates, &facts, others);
                engine::decides(&candidates, &verdicts).map(|one| (one.name.to_string(), one.then.into()))
            })
        });
        decided.map(|(name, then)| Automatic { name, then, policy })
    }
}

/// What may be decided of such an ask. More time for a grant has a word of its own for what needs no review.
fn candidates(rule: &Rule, kind: &AskKind) -> Vec<engine::Automatic> {
    let may = |one: &&engine::Automatic| *kind == AskKind::Grant || one.then != Then::Approve;
    rule.workflow.automatic.iter().filter(may).cloned().collect()
}

impl Request {
    /// A request that is filed now, with what its rule has decided by itself, and the grant if that was to approve it.
    /// `approvals_needed` is what the rule takes of people.
    #[must_use]
    pub fn filed(
        (id, grant): (RequestId, GrantId),
        ask: Ask,
        approvals_needed: u32,
        automatic: Option<Automatic>,
        rules: RulesAtReview<'_>,
        (now, revision): (Timestamp, u64),
    ) -> (Self, Option<Grant>) {
        let then = automatic.as_ref().map(|automatic| automatic.then);
        let pending = Self {
            id,
            ask,
            approvals_needed: approvals_needed.max(1),
            reviews: Vec::new(),
            waited: Waited::default(),
            automatic,
            state: RequestState::Pending,
        };
        match then {
            None => (pending, None),
            Some(ThenItem::Deny) => (Self { state: RequestState::Denied { at: now }, ..pending }, None),
            Some(ThenItem::Require(approvals)) => {
                let approvals_needed = pending.approvals_needed.max(approvals);
                (Self { approvals_needed, ..pending }, None)
            }
            Some(ThenItem::Escalate) => {
                let waited = Waited { escalated_at: Some(now), ..pending.waited };
                (Self { waited, ..pending }, None)
            }
            Some(ThenItem::Approve) => {
                let grant = pending.grant(rules, grant, now, revision);
                let state = RequestState::Approved { at: now, grant: grant.id.clone() };
                (Self { state, ..pending }, Some(grant))
            }
        }
    }
}
