//! A use of a grant that is for a number of uses: taken once, by one call, whatever becomes of it.

use grantmesh_shared::id::{DecisionId, GrantId, UseId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::records::UseOutcome;

/// How many calls a grant is for, and how many of them were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UseCount {
    /// So many.
    pub allowed: u32,
    /// So many have been.
    pub claimed: u32,
}

/// One use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Its id; the service gets it as `idempotency-key`.
    pub id: UseId,
    /// Of which grant.
    pub grant: GrantId,
    /// The how manieth, from 1.
    pub number: u32,
    /// The decision that it was taken for.
    pub decision: DecisionId,
    /// The filter VM that decided.
    pub vm: VmId,
    /// That VM's node.
    pub node: String,
    /// When it was taken.
    pub claimed_at: Timestamp,
    /// What came of it; nothing as long as no filter has told, which may be for ever.
    pub outcome: Option<Outcome>,
}

/// What came of a use, as its filter told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The word.
    pub word: UseOutcome,
    /// The status of the answer.
    pub status: Option<u16>,
    /// When that was heard.
    pub at: Timestamp,
}
