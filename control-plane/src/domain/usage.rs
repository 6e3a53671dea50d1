//! A use of a grant that is for a number of uses: taken once, by one call, whatever becomes of it.

use grantmesh_shared::id::{DecisionId, GrantId, UseId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::claims::ClaimRefusal;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, UseOutcome};

use super::grant::Grant;

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
    pub outcome: Option<UseOutcomeTold>,
}

/// What came of a use, as its filter told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UseOutcomeTold {
    /// The word.
    pub word: UseOutcome,
    /// The status of the answer.
    pub status: Option<u16>,
    /// When that was heard.
    pub at: Timestamp,
}

/// What becomes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It was made before: this use is its answer again.
    Again(UseId),
    /// It takes this use of the grant, which is then so.
    Taken(Box<Grant>, u32),
    /// It takes none.
    Refused(ClaimRefusal),
}

impl Claim {
    /// Judges a claim of `vm`, which enforces `services`: by a decision, against what was taken for that decision before and
    /// the grant that it names, both as they are now.
    #[must_use]
    pub fn judge(
        (vm, services): (&VmId, &[String]),
        event: &DecisionEvent<'_>,
        before: Option<Use>,
        grant: Option<Grant>,
        (now, revision): (Timestamp, u64),
    ) -> Self {
        if let Some(taken) = before {
            let same = taken.vm == *vm && event.grant.as_ref() == Some(&taken.grant);
            return if same { Self::Again(taken.id) } else { Self::Refused(ClaimRefusal::NotYours) };
        }
        match grant.filter(|grant| services.contains(&grant.service) && is_for(grant, event)) {
            None => Self::Refused(ClaimRefusal::NotYours),
            Some(grant) => match grant.claim(now, revision) {
                Ok((grant, number)) => Self::Taken(Box::new(grant), number),
                Err(why) => Self::Refused(why),
            },
        }
    }
}

/// Whether a decision is one that the grant lets through, as far as that can be told here; the filter that decided has
/// judged the rest.
fn is_for(grant: &Grant, event: &DecisionEvent<'_>) -> bool {
    event.decision == DecisionWord::Allow
        && event.count == 1
        && event.more.is_empty()
        && event.grant.as_ref() == Some(&grant.id)
        && *event.service == *grant.service
        && event.action.as_deref().is_some_and(|action| is_told(action, &grant.action))
        && event.resource.as_deref().is_some_and(|resource| is_told(resource, &grant.resource))
        && event.issuer.as_deref() == Some(&*grant.holder.issuer)
        && event.subject.as_deref() == Some(&*grant.holder.subject)
}

/// Whether a text is told by a decision, which cuts what is very long.
fn is_told(told: &str, whole: &str) -> bool {
    told == whole || told.strip_suffix('…').is_some_and(|begin| begin.len() > 200 && whole.starts_with(begin))
}
