//! Calls that are held while people decide: who waits, and what the control plane is told of it. For `calls`.

use grantmesh_shared::id::DecisionId;
use grantmesh_shared::wire::holds::{HoldEnd, HoldState};

use super::Plugin;
use crate::clock::Mono;
use crate::holds::Standing;
use crate::identity::{Identity, IdentityError};
use crate::metrics::Metric;
use crate::waiting::{Caller, Cause, Waiter, Waiting};

impl Plugin {
    /// Lets a call wait for what is to be filed for it, if there is room.
    pub(super) fn hold(
        &mut self,
        caller: Caller,
        id: &DecisionId,
        identity: &Result<Identity<'_>, IdentityError>,
        deadline: Mono,
    ) -> bool {
        let principal = identity.as_ref().map(Identity::principal).unwrap_or_default();
        let held = self.held.park(Waiter { caller, principal, cause: Cause::Hold(id.clone()), deadline, head: None });
        if held.is_ok() {
            self.counters.add(Metric::Holds("begun"), 1);
        }
        held.is_ok()
    }

    /// Ends the hold of a call that is decided now.
    pub(super) fn let_go_of(&mut self, id: &DecisionId) -> Standing {
        let standing = self.holds.end(id, HoldEnd::Over);
        let word = match &standing.state {
            None | Some(HoldState::Pending) => "over",
            Some(HoldState::Approved(_)) => "approved",
            Some(HoldState::Denied) => "denied",
            Some(HoldState::TimedOut) => "timed_out",
            Some(HoldState::Withdrawn) => "withdrawn",
            Some(HoldState::Refused(_)) => "refused",
        };
        self.counters.add(Metric::Holds(word), 1);
        standing
    }

    /// Forgets a held call that is gone, if it has not been decided.
    pub(super) fn hold_gone(&mut self, id: &DecisionId) {
        if self.holds.is_open(id) {
            self.holds.end(id, HoldEnd::Gone);
            self.counters.add(Metric::Holds("gone"), 1);
        }
    }

    /// The calls that are held.
    #[must_use]
    pub const fn held(&self) -> &Waiting {
        &self.held
    }
}
