//! What the calls of a plugin have claimed: which use is whose, and what is told of uses afterwards. For `calls`.

use grantmesh_shared::engine::Claims;
use grantmesh_shared::id::{DecisionId, GrantId, UseId};
use grantmesh_shared::wire::records::{DecisionWord, UseOutcome};

use super::Plugin;
use super::calls::count;
use crate::callbacks;
use crate::claims::{Claimed, Orphan};
use crate::clock::Mono;
use crate::metrics::Metric;
use crate::uses::{Uses, ending};
use crate::waiting::{Cause, Claiming};

/// On so many grants the claims of one call may be refused; it is not tried with another.
const MOST_REFUSED: usize = 3;

/// What became of the claim of the call that is decided.
#[derive(Debug)]
pub(super) enum Claim {
    /// This use is its own.
    Held(UsedBy),
    /// There is none on these grants.
    Refused(Vec<GrantId>),
    /// Nobody knows; the decision that it was made by.
    Unknown(DecisionId),
}

/// A use, of which grant, and the decision that it was claimed by.
#[derive(Debug, Clone)]
pub(super) struct UsedBy {
    pub(super) id: UseId,
    pub(super) grant: GrantId,
    pub(super) decision: DecisionId,
}

impl From<UsedBy> for Orphan {
    fn from(UsedBy { id, grant, .. }: UsedBy) -> Self {
        Self { id, grant }
    }
}

impl Claim {
    /// As the engine takes it.
    pub(super) fn claims(&self) -> Claims<'_> {
        match self {
            Self::Held(used) => Claims::Held(&used.grant),
            Self::Refused(refused) => Claims::Refused(refused),
            Self::Unknown(_) => Claims::None,
        }
    }

    /// Whether no other claim may be made for the call.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Held(_) | Self::Unknown(_) => true,
            Self::Refused(refused) => refused.len() >= MOST_REFUSED,
        }
    }

    /// Whether it is a use of this grant.
    pub(super) fn is_of(&self, grant: &GrantId) -> bool {
        matches!(self, Self::Held(used) if used.grant == *grant)
    }

    /// The grants on which claims were refused.
    pub(super) fn refused(&self) -> Vec<GrantId> {
        match self {
            Self::Refused(refused) => refused.clone(),
            Self::Held(_) | Self::Unknown(_) => Vec::new(),
        }
    }

    /// The decision that the control plane has on record with the claim, as far as is known.
    pub(super) fn told(&self) -> Option<DecisionId> {
        match self {
            Self::Held(used) => Some(used.decision.clone()),
            Self::Unknown(decision) => Some(decision.clone()),
            Self::Refused(_) => None,
        }
    }

    /// The use, if there is one.
    pub(super) fn used(&self) -> Option<UsedBy> {
        match self {
            Self::Held(used) => Some(used.clone()),
            Self::Refused(_) | Self::Unknown(_) => None,
        }
    }
}

impl Plugin {
    /// What became of a claim.
    pub(super) fn claimed(&mut self, Claiming { id, grant, mut refused }: Claiming) -> Claim {
        match self.claims.take(&id) {
            Claimed::Use(use_id) => {
                self.counters.add(Metric::Claims("claimed"), 1);
                Claim::Held(UsedBy { id: use_id, grant, decision: id })
            }
            Claimed::Refused(_) => {
                self.counters.add(Metric::Claims("refused"), 1);
                refused.push(grant);
                Claim::Refused(refused)
            }
            Claimed::Unknown => {
                self.counters.add(Metric::Claims("unanswered"), 1);
                Claim::Unknown(id)
            }
        }
    }

    /// Records what came of a use, if the call of this context is one.
    pub fn use_ended(&mut self, context: u32, outcome: UseOutcome, status: Option<u16>, mono: Mono) {
        if callbacks::for_bodies()
            && let Some(used) = self.uses.end(context)
        {
            let ending = ending(used.id, used.grant, outcome, status);
            count(&mut self.counters, self.records.push_written(DecisionWord::Allow, ending, mono));
        }
    }

    /// The uses that run.
    #[must_use]
    pub const fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Forgets what a call waited for that is gone. A use that was taken for it has been for nothing, and nobody need
    /// decide a request that was filed for it.
    pub fn forget(&mut self, cause: &Cause, mono: Mono) {
        match cause {
            Cause::Claim(claiming) if callbacks::for_bodies() => {
                let orphan = self.claims.forget(&claiming.id);
                self.orphaned(orphan, mono);
            }
            Cause::Hold(id) => self.hold_gone(id),
            _ => {}
        }
    }

    /// Records the use that a call holds and that it does not go on with.
    pub(super) fn let_go(&mut self, claim: Option<&Claim>, mono: Mono) {
        self.orphaned(claim.and_then(Claim::used).map(Orphan::from), mono);
    }

    /// Records uses that were taken for calls that did not go on.
    pub(super) fn orphaned(&mut self, orphans: impl IntoIterator<Item = Orphan>, mono: Mono) {
        for Orphan { id, grant } in orphans.into_iter().filter(|_| callbacks::for_bodies()) {
            let ending = ending(id, grant, UseOutcome::Unused, None);
            count(&mut self.counters, self.records.push_written(DecisionWord::Allow, ending, mono));
        }
    }
}
