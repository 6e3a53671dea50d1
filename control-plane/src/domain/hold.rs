//! A hold: a refused call waits in a proxy for what becomes of its request. It decides nothing: when it is over, the request
//! is what it was, unless the caller went away and nobody else waits for it.

use grantmesh_shared::id::{DecisionId, RequestId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::holds::HoldEnd;

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The decision that refused the call and holds it.
    pub decision: DecisionId,
    /// The request that it waits for.
    pub request: RequestId,
    /// Whether that was filed for it, and was not there before.
    pub filed: bool,
    /// The filter VM that holds it.
    pub vm: VmId,
    /// That VM's node.
    pub node: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when at most.
    pub until: Timestamp,
    /// How it ended and when, as far as its filter told. One whose VM is gone tells nothing and ends by its time.
    pub ended: Option<(HoldEnd, Timestamp)>,
}

impl Hold {
    /// Whether its call waits.
    #[must_use]
    pub fn waits(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.until
    }
}
