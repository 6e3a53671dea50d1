//! Uses that are claimed from the control plane before calls go on: what is to be asked, what is under way, and what came
//! back. A claim is asked once and never again: without an answer in time the call is refused, and the use may be lost.
//! Pure; `plugin` lets calls wait for it. Never gives one use to two calls.

use std::collections::{BTreeMap, VecDeque};

use grantmesh_shared::id::{DecisionId, GrantId, UseId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::claims::{CLAIMS_PATH, ClaimOutcome, ClaimRefusal, ClaimsAnswer, MAX_CLAIMS};
use grantmesh_shared::wire::records::{DecisionEvent, MAX_RECORD_BYTES};
use grantmesh_shared::wire::sync::VmIdentity;

use crate::clock::Mono;
use crate::question::{self, Answer, AnswerError, PinnedKey, Question, Topic, verified};
use crate::random::Random;

/// How long a question may take.
const TIMEOUT: Span = Span::from_millis(2_000);

/// Without a word of the proxy for so long after that, a question is taken as lost.
const LOST_AFTER: Span = Span::from_millis(500);

/// The most questions under way; what comes meanwhile goes together with the next.
const MOST_UNDER_WAY: usize = 8;

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The use is this call's.
    Use(UseId),
    /// There is none for it.
    Refused(ClaimRefusal),
    /// Nobody knows: there was no answer that can be used.
    Unknown,
}

/// A use that was taken for a call that did not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The use.
    pub id: UseId,
    /// Of which grant.
    pub grant: GrantId,
}

#[derive(Debug, Clone)]
struct Flight {
    nonce: String,
    claims: Vec<DecisionId>,
    lost: Mono,
}

#[derive(Debug, Clone)]
struct Pending {
    grant: GrantId,
    /// Whether a call waits for it.
    awaited: bool,
    claimed: Option<Claimed>,
}

/// The claims of one VM.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// The JSON of those that are to be sent.
    unsent: VecDeque<(DecisionId, Vec<u8>)>,
    flights: BTreeMap<u32, Flight>,
    /// Those that are sent or to be sent, and those whose calls have not taken what became of them.
    pending: BTreeMap<DecisionId, Pending>,
    asked: u32,
}

impl Claims {
    /// Claims a use of a grant for the call that this decision lets through. `false` if it cannot be written down, or is
    /// longer than what the control plane takes.
    pub fn claim(&mut self, event: &DecisionEvent<'_>, grant: &GrantId) -> bool {
        let json = serde_json::to_vec(event).unwrap_or_default();
        if json.is_empty() || json.len() > MAX_RECORD_BYTES {
            return false;
        }
        self.pending.insert(event.id.clone(), Pending { grant: grant.clone(), awaited: true, claimed: None });
        self.unsent.push_back((event.id.clone(), json));
        true
    }

    /// Whether something is to be asked now.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        !self.unsent.is_empty() && self.flights.len() < MOST_UNDER_WAY
    }

    /// Whether it is known what became of a claim.
    #[must_use]
    pub fn is_settled(&self, id: &DecisionId) -> bool {
        self.pending.get(id).is_none_or(|pending| pending.claimed.is_some())
    }

    /// What became of a claim, for the call that made it, once. If it is not known yet, it never will be.
    pub fn take(&mut self, id: &DecisionId) -> Claimed {
        match self.pending.get_mut(id) {
            None => Claimed::Unknown,
            Some(Pending { claimed: None, .. }) => {
                self.forget(id);
                Claimed::Unknown
            }
            Some(pending) => {
                let claimed = pending.claimed.take();
                self.pending.remove(id);
                claimed.unwrap_or(Claimed::Unknown)
            }
        }
    }

    /// Forgets the call that made a claim. Gives the use that it leaves behind, if that is known already.
    pub fn forget(&mut self, id: &DecisionId) -> Option<Orphan> {
        let before = self.unsent.len();
        self.unsent.retain(|(unsent, _)| unsent != id);
        let pending = self.pending.get_mut(id)?;
        pending.awaited = false;
        if before == self.unsent.len() && pending.claimed.is_none() {
            // Under way: what is answered is an orphan.
            return None;
        }
        let Pending { grant, claimed, .. } = self.pending.remove(id)?;
        match claimed {
            Some(Claimed::Use(id)) => Some(Orphan { id, grant }),
            _ => None,
        }
    }

    /// The questions that are due.
    pub fn due(&mut self, filter: &VmIdentity, mono: Mono, random: &mut Random) -> Vec<Question> {
        let lost: Vec<u32> =
            self.flights.iter().filter(|(_, flight)| mono >= flight.lost).map(|(key, _)| *key).collect();
        for key in lost {
            self.fail(key);
        }
        let mut questions = Vec::new();
        while self.is_urgent() {
            let count = self.unsent.len().min(MAX_CLAIMS);
            let sent: Vec<(DecisionId, Vec<u8>)> = self.unsent.drain(..count).collect();
            let nonce = random.nonce();
            let body = body(filter, &nonce, sent.iter().map(|(_, json)| json.as_slice()));
            self.asked = self.asked.wrapping_add(1);
            let claims = sent.into_iter().map(|(id, _)| id).collect();
            let lost = mono.plus(TIMEOUT).plus(LOST_AFTER);
            self.flights.insert(self.asked, Flight { nonce, claims, lost });
            let Some(body) = body else {
                self.fail(self.asked);
                continue;
            };
            let topic = Topic::Claims(self.asked);
            questions.push(Question { topic, path: CLAIMS_PATH, body, timeout: TIMEOUT });
        }
        questions
    }

    /// Forgets what is under way, whose sender is gone.
    pub fn forget_flights(&mut self) {
        while let Some(key) = self.flights.keys().next().copied() {
            self.fail(key);
        }
    }

    /// Takes in the answer to one of the questions. Gives the uses that were taken for calls that are gone.
    ///
    /// # Errors
    /// If it is not used; what became of the claims is then unknown for good.
    pub fn answered(&mut self, key: u32, answer: &Answer<'_>, keys: &[PinnedKey]) -> Result<Vec<Orphan>, AnswerError> {
        let Flight { nonce, claims, .. } = self.flights.remove(&key).ok_or(AnswerError::Nonce)?;
        let read = verified(answer, keys).and_then(|body| question::read::<ClaimsAnswer>(body, &nonce));
        let answer = match read {
            Ok(answer) => answer,
            Err(error) => {
                self.unknown(claims);
                return Err(error);
            }
        };
        let mut orphans = Vec::new();
        for result in answer.results.into_iter().take(MAX_CLAIMS) {
            // Only what this question asked.
            if !claims.contains(&result.decision) {
                continue;
            }
            let claimed = match result.outcome {
                ClaimOutcome::Claimed(id) => Claimed::Use(id),
                ClaimOutcome::Refused(why) => Claimed::Refused(why),
            };
            orphans.extend(self.settle(&result.decision, claimed));
        }
        self.unknown(claims);
        Ok(orphans)
    }

    fn fail(&mut self, key: u32) {
        if let Some(Flight { claims, .. }) = self.flights.remove(&key) {
            self.unknown(claims);
        }
    }

    /// Those that were not answered are unknown.
    fn unknown(&mut self, claims: Vec<DecisionId>) {
        for id in claims {
            self.settle(&id, Claimed::Unknown);
        }
    }

    /// The first word counts. Gives the use that nobody waits for.
    fn settle(&mut self, id: &DecisionId, claimed: Claimed) -> Option<Orphan> {
        let pending = self.pending.get_mut(id).filter(|pending| pending.claimed.is_none())?;
        if pending.awaited {
            pending.claimed = Some(claimed);
            return None;
        }
        let Pending { grant, .. } = self.pending.remove(id)?;
        match claimed {
            Claimed::Use(id) => Some(Orphan { id, grant }),
            Claimed::Refused(_) | Claimed::Unknown => None,
        }
    }
}

/// A [`grantmesh_shared::wire::claims::ClaimsRequest`], written around claims that are written already.
fn body<'a>(filter: &VmIdentity, nonce: &str, claims: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let filter = serde_json::to_string(filter).ok()?;
    let head = format!(r#"{{"v":{PROTOCOL_VERSION},"filter":{filter},"nonce":"{nonce}","claims":["#);
    let mut body = head.into_bytes();
    for (place, claim) in claims.enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(claim);
    }
    body.extend_from_slice(b"]}");
    Some(body)
}

#[cfg(test)]
mod tests;
