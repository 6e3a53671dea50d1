//! Calls that are held while people decide: what is to be filed for them, how their requests stand, and what is over. The
//! control plane is asked again and again, since a hold that is filed twice is the same one; what it has approved counts
//! from the table only, when that has come as far. Pure; `plugin` lets calls wait for it. Never lets a call through.

use std::collections::BTreeMap;

use grantmesh_shared::id::{DecisionId, RequestId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::holds::{
    EndedHold, HOLDS_PATH, HoldEnd, HoldItem, HoldState, HoldsAnswer, MAX_ASKED, MAX_FILED,
};
use grantmesh_shared::wire::records::MAX_RECORD_BYTES;
use grantmesh_shared::wire::sync::{Position, VmIdentity};

use crate::clock::Mono;
use crate::question::{self, Answer, AnswerError, PinnedKey, Question, Topic, verified};
use crate::random::Random;

/// How long a question may take.
const TIMEOUT: Span = Span::from_millis(2_000);

/// Without a word of the proxy for so long after that, a question is taken as lost.
const LOST_AFTER: Span = Span::from_millis(500);

/// Whether something was decided is asked this often; at once when the table has changed, for that may be it.
const EVERY: Span = Span::from_millis(1_000);

/// After a failure, the next question waits so long: from and to.
const BACK_OFF_MILLIS: (u64, u64) = (200, 2_000);

/// The most ends that are kept to be told. The control plane takes a hold of which it hears no more as over by its time.
const MOST_ENDED: usize = 4_096;

/// What is filed of a call has at most so many bytes more than its decision: the bound parts and the caller's reason.
const MAX_BESIDES: usize = 16 * 1024;

/// How the request of a held call stands, for the answer to its caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The request, once it is known.
    pub request: Option<RequestId>,
    /// How it stands, as far as is known.
    pub state: Option<HoldState>,
}

#[derive(Debug, Clone)]
struct Hold {
    /// The JSON of what is to be filed; nothing once the control plane has it.
    json: Option<Vec<u8>>,
    /// Whether it was sent, whatever became of that.
    sent: bool,
    standing: Standing,
}

#[derive(Debug, Clone)]
struct Flight {
    nonce: String,
    filed: Vec<DecisionId>,
    asked: Vec<DecisionId>,
    ended: usize,
    lost: Mono,
}

/// The holds of one VM.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    open: BTreeMap<DecisionId, Hold>,
    ended: Vec<EndedHold>,
    flight: Option<Flight>,
    /// No question before this.
    not_before: Option<Mono>,
    asked_at: Option<Mono>,
    /// Where the next question begins among those that were filed.
    next: Option<DecisionId>,
    /// The table for which was asked last.
    position: Option<Position>,
    failures: u32,
}

impl Holds {
    /// Holds a call. `false` if what is to be filed cannot be written down, or is longer than what the control plane takes.
    pub fn begin(&mut self, item: &HoldItem<'_>) -> bool {
        let json = serde_json::to_vec(item).unwrap_or_default();
        if json.is_empty() || json.len() > MAX_RECORD_BYTES.saturating_add(MAX_BESIDES) {
            return false;
        }
        self.open.insert(item.event.id.clone(), Hold { json: Some(json), sent: false, standing: Standing::default() });
        true
    }

    /// Whether a held call is to be decided again: its request is decided, and if it was approved, the table knows.
    #[must_use]
    pub fn is_settled(&self, id: &DecisionId, position: Option<Position>) -> bool {
        match self.open.get(id).map(|hold| &hold.standing.state) {
            None => true,
            Some(None | Some(HoldState::Pending)) => false,
            Some(Some(HoldState::Approved(since))) => position >= Some(*since),
            Some(Some(_)) => true,
        }
    }

    /// Ends a hold, and tells the control plane why.
    pub fn end(&mut self, id: &DecisionId, why: HoldEnd) -> Standing {
        let Some(hold) = self.open.remove(id) else { return Standing::default() };
        // Whatever became of the question, the control plane may have filed it.
        if hold.sent && self.ended.len() < MOST_ENDED {
            self.ended.push(EndedHold { decision: id.clone(), why });
        }
        hold.standing
    }

    /// Whether a call is held.
    #[must_use]
    pub fn is_open(&self, id: &DecisionId) -> bool {
        self.open.contains_key(id)
    }

    /// How many calls are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is, and there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ended.is_empty()
    }

    /// Whether something is to be filed now.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.flight.is_none() && self.not_before.is_none() && self.open.values().any(|hold| hold.json.is_some())
    }

    /// The question that is due.
    pub fn due(
        &mut self,
        filter: &VmIdentity,
        position: Option<Position>,
        mono: Mono,
        random: &mut Random,
    ) -> Option<Question> {
        if self.flight.as_ref().is_some_and(|flight| mono >= flight.lost) {
            self.fail(mono, random);
        }
        if self.not_before.is_some_and(|not_before| mono >= not_before) {
            self.not_before = None;
        }
        if self.is_empty() || self.flight.is_some() || self.not_before.is_some() {
            return None;
        }
        let news = self.open.values().any(|hold| hold.json.is_some()) || !self.ended.is_empty();
        let moved = position != self.position;
        let waited = self.asked_at.is_none_or(|asked| mono >= asked.plus(EVERY));
        if !(news || moved || waited) {
            return None;
        }
        let unfiled = self.open.iter().filter_map(|(id, hold)| Some((id, hold.json.as_deref()?)));
        let new: Vec<(&DecisionId, &[u8])> = unfiled.take(MAX_FILED).collect();
        let asked = self.to_ask();
        let ended = self.ended.len().min(MAX_ASKED);
        let nonce = random.nonce();
        let told = self.ended.get(..ended).unwrap_or_default();
        let body = body(filter, &nonce, new.iter().map(|(_, json)| *json), &asked, told)?;
        let filed: Vec<DecisionId> = new.iter().map(|(id, _)| (*id).clone()).collect();
        for id in &filed {
            if let Some(hold) = self.open.get_mut(id) {
                hold.sent = true;
            }
        }
        self.next = asked.last().cloned();
        (self.asked_at, self.position) = (Some(mono), position);
        self.flight = Some(Flight { nonce, filed, asked, ended, lost: mono.plus(TIMEOUT).plus(LOST_AFTER) });
        Some(Question { topic: Topic::Holds, path: HOLDS_PATH, body, timeout: TIMEOUT })
    }

    /// The next of those that were filed and whose requests are not known to be decided, in turn.
    fn to_ask(&self) -> Vec<DecisionId> {
        let is_open = |(_, hold): &(&DecisionId, &Hold)| {
            hold.json.is_none() && matches!(hold.standing.state, None | Some(HoldState::Pending))
        };
        let all = || self.open.iter().filter(is_open).map(|(id, _)| id);
        let after = all().filter(|id| Some(*id) > self.next.as_ref());
        let before = all().filter(|id| Some(*id) <= self.next.as_ref());
        after.chain(before).take(MAX_ASKED).cloned().collect()
    }

    /// Forgets the question under way, whose sender is gone; it is asked again.
    pub fn forget_flight(&mut self) {
        self.flight = None;
        self.not_before = None;
    }

    /// Takes in the answer to the question under way.
    ///
    /// # Errors
    /// If it is not used; the question is then asked again.
    pub fn answered(
        &mut self,
        answer: &Answer<'_>,
        keys: &[PinnedKey],
        mono: Mono,
        random: &mut Random,
    ) -> Result<(), AnswerError> {
        let nonce = self.flight.as_ref().map(|flight| flight.nonce.clone()).ok_or(AnswerError::Nonce)?;
        let read = verified(answer, keys).and_then(|body| question::read::<HoldsAnswer>(body, &nonce));
        let answer = match read {
            Ok(answer) => answer,
            Err(error) => {
                self.fail(mono, random);
                return Err(error);
            }
        };
        let Some(Flight { filed, asked, ended, .. }) = self.flight.take() else { return Ok(()) };
        self.failures = 0;
        self.ended.drain(..ended.min(self.ended.len()));
        for result in answer.results {
            // Only what this question asked.
            if !filed.contains(&result.decision) && !asked.contains(&result.decision) {
                continue;
            }
            if let Some(hold) = self.open.get_mut(&result.decision) {
                hold.json = None;
                hold.standing.request = result.request.or(hold.standing.request.take());
                hold.standing.state = Some(result.state);
            }
        }
        Ok(())
    }

    fn fail(&mut self, mono: Mono, random: &mut Random) {
        self.flight = None;
        let wait = random.back_off(BACK_OFF_MILLIS, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(mono.plus(Span::from_millis(wait)));
    }
}

/// A [`grantmesh_shared::wire::holds::HoldsRequest`], written around what is written already.
fn body<'a>(
    filter: &VmIdentity,
    nonce: &str,
    items: impl Iterator<Item = &'a [u8]>,
    asked: &[DecisionId],
    ended: &[EndedHold],
) -> Option<Vec<u8>> {
    let filter = serde_json::to_string(filter).ok()?;
    let mut body = format!(r#"{{"v":{PROTOCOL_VERSION},"filter":{filter},"nonce":"{nonce}","file":["#).into_bytes();
    for (place, json) in items.enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(json);
    }
    body.extend_from_slice(br#"],"ask":"#);
    body.extend(serde_json::to_vec(asked).ok()?);
    body.extend_from_slice(br#","end":"#);
    body.extend(serde_json::to_vec(ended).ok()?);
    body.push(b'}');
    Some(body)
}

#[cfg(test)]
mod tests;
