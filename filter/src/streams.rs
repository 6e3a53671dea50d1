//! Calls that were let through under a grant and may still run: WebSockets, gRPC streams, events, long downloads. When
//! the grant ends, a lock comes or nothing fresh is known any more, they are to be reset. Pure: it knows neither the host
//! nor the proxy; `plugin` fills it, and the tick finds out which calls have ended and resets those that must not go on.
//! A call keeps only what the end's record needs, as the bytes of the record of its beginning.

use std::collections::{BTreeSet, VecDeque};

use grantmesh_shared::engine::{Criticality, Principal, Subject, Table};
use grantmesh_shared::id::{DecisionId, LockId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::records::DecisionWord;
#[cfg(any(doc, test))]
use grantmesh_shared::wire::records::Event;
use grantmesh_shared::wire::sync::Position;
use serde_json::{Map, Value};

use crate::clock::Mono;
use crate::records::Written;
use crate::share::one_more;
use crate::sync::Sync;
use crate::waiting::Caller;

/// The most calls under grants that may run at once in one VM; the next is refused.
pub const MOST: usize = 16_384;

/// So many are looked for in the proxy with every tick.
const FOUND_PER_TICK: usize = 4_096;

/// So many are compared with a new lock, and so many are reset, with every tick: all of them within a second.
const JUDGED_PER_TICK: usize = 2_048;

/// Once the control plane is heard again it is told of the use of a token within this, and the filter of the grant that
/// this came to. Where there is none by then, there is none any more.
const TOLD_WITHIN: Span = Span::from_secs(30);

/// A call that runs.
#[derive(Debug)]
pub struct Open {
    /// Whose it is ([`crate::identity::Identity::mark`]).
    pub whose: u64,
    /// Which.
    pub caller: Caller,
    /// When that ends, as far as was known when the call was let through.
    pub ends_at: Timestamp,
    /// What age of knowledge it may have.
    pub criticality: Criticality,
    /// Whether what allows it is a token of whose use nobody knows yet: it may run while the control plane is not heard,
    /// until the token's end, and not for long when it is heard again and has no such grant.
    pub offline: bool,
    /// The record of its decision: an [`Event`] that names the grant which allows it, and calls like it.
    pub told: Written,
    /// Which of that record's calls it is, from 0.
    pub call: u64,
}

impl Open {
    /// The record of its end, from the one of its beginning: the JSON of an [`Event`]. Nothing if that cannot be read. As a
    /// tree and not as the type, whose reader would be a part of the module worth saving.
    #[must_use]
    pub fn ending(&self, why: Why, id: &DecisionId, position: Option<Position>) -> Option<Vec<u8>> {
        let mut event: Map<String, Value> = serde_json::from_slice(self.told.event()).ok()?;
        let began = event.insert("id".to_owned(), id.as_str().into())?;
        event.insert("ended".to_owned(), began);
        event.insert("decision".to_owned(), DecisionWord::Deny.as_str().into());
        event.insert("reasons".to_owned(), Value::Array(vec![why.code().into()]));
        event.insert("position".to_owned(), serde_json::to_value(position?).ok()?);
        for gone in ["instead_of", "condition_errors"] {
            event.remove(gone);
        }
        if let Some(place) = self.call.checked_sub(1) {
            // The record of several calls tells the first one's.
            event.remove("request_id");
            let calls: Value = serde_json::from_slice(&self.told.more()).ok()?;
            let call = calls.get(usize::try_from(place).ok()?)?;
            if let Some(id) = call.get("request_id") {
                event.insert("request_id".to_owned(), id.clone());
            }
        }
        serde_json::to_vec(&event).ok()
    }
}

/// Why a call must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its grant ended, by time, revocation or release.
    GrantEnded,
    /// A lock is in force.
    Locked,
    /// The control plane has not been heard for longer than the action allows: what has ended meanwhile is not known.
    Stale,
}

impl Why {
    /// A short stable word for records and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::GrantEnded => "grant_ended",
            Self::Locked => "locked",
            Self::Stale => "stale",
        }
    }
}

/// A call, and what it was compared with.
#[derive(Debug)]
struct Kept {
    open: Open,
    /// The generation of locks that is known not to block it.
    locks: u64,
}

/// What was known when all calls were last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    position: Option<Position>,
    /// Pages of a step change the table before its position.
    pages: u64,
    fresh: [bool; 3],
}

/// The calls that run.
#[derive(Debug, Default)]
pub struct Streams {
    kept: VecDeque<Kept>,
    seen: Option<Seen>,
    locks: BTreeSet<LockId>,
    /// Grows whenever there is a lock that was not there before.
    generation: u64,
    /// When there is something to do even if nothing new is known: the first end of a grant among them.
    next_end: Option<Timestamp>,
    /// Whether the last look did not come to all that had to be done.
    unfinished: bool,
    /// Since when the control plane is heard without a break, and no call was let through by a token.
    heard_since: Option<Mono>,
}

impl Streams {
    /// Whether one more of a principal may run. `whose` is asked only where room gets scarce.
    #[must_use]
    pub fn has_room(&self, whose: impl FnOnce() -> u64) -> bool {
        one_more(self.kept.len(), MOST, || {
            let whose = whose();
            self.kept.iter().filter(|kept| kept.open.whose == whose).count()
        })
    }

    /// How many there are, with those that have ended and were not looked for yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Notes a call that goes on.
    pub fn admit(&mut self, open: Open) {
        self.next_end = earlier(self.next_end, open.ends_at);
        if open.offline {
            self.heard_since = None;
        }
        self.kept.push_back(Kept { open, locks: self.generation });
    }

    /// Takes back one that was due and could not be reset: it is due again with the next tick.
    pub fn take_back(&mut self, open: Open) {
        self.kept.push_back(Kept { open, locks: self.generation.wrapping_sub(1) });
        self.unfinished = true;
    }

    /// Forgets those that have ended, a part of them with every call. `is_there` asks the proxy.
    pub fn find(&mut self, is_there: impl Fn(Caller) -> bool) {
        for _ in 0..self.kept.len().min(FOUND_PER_TICK) {
            let Some(kept) = self.kept.pop_front() else { break };
            if is_there(kept.open.caller) {
                self.kept.push_back(kept);
            }
        }
    }

    /// Takes out those that must not go on.
    pub fn due(&mut self, sync: &Sync, mono: Mono) -> Vec<(Open, Why)> {
        let is_heard = sync.is_fresh(Criticality::Critical, mono);
        self.heard_since = is_heard.then(|| self.heard_since.unwrap_or(mono));
        if self.kept.is_empty() {
            return Vec::new();
        }
        let fresh = [Criticality::Low, Criticality::Standard, Criticality::Critical];
        let fresh = fresh.map(|criticality| sync.may_run_on(criticality, mono));
        let seen = Some(Seen { position: sync.position(), pages: sync.pages_applied(), fresh });
        let is_new = self.seen != seen;
        let one_ends = match (sync.latest(mono), self.next_end) {
            (Some(latest), Some(end)) => latest >= end,
            _ => true,
        };
        if !is_new && !one_ends && !self.unfinished {
            return Vec::new();
        }
        self.seen = seen;
        // One by one: to collect a set brings a sort of its own into the module.
        let mut locks = BTreeSet::<LockId>::new();
        locks.extend(sync.table().into_iter().flat_map(Table::locks).map(|lock| lock.id.clone()));
        if !locks.is_subset(&self.locks) {
            self.generation = self.generation.saturating_add(1);
        }
        self.locks = locks;
        self.judge(sync, mono)
    }

    fn judge(&mut self, sync: &Sync, mono: Mono) -> Vec<(Open, Why)> {
        let (mut ended, mut compared) = (Vec::new(), 0_usize);
        (self.next_end, self.unfinished) = (None, false);
        let generation = self.generation;
        let is_told = self.heard_since.is_some_and(|since| mono >= since.plus(TOLD_WITHIN));
        for _ in 0..self.kept.len() {
            let Some(mut kept) = self.kept.pop_front() else { break };
            let mut why = ended_by(sync, mono, &mut kept.open);
            if kept.open.offline && is_told {
                why = why.or(Some(Why::GrantEnded));
            }
            self.unfinished |= kept.open.offline;
            if why.is_none() && kept.locks != generation {
                if compared < JUDGED_PER_TICK {
                    compared = compared.saturating_add(1);
                    kept.locks = generation;
                    why = is_locked(sync, mono, kept.open.told.event()).then_some(Why::Locked);
                } else {
                    self.unfinished = true;
                }
            }
            if let Some(why) = why.filter(|_| ended.len() < JUDGED_PER_TICK) {
                ended.push((kept.open, why));
                continue;
            }
            self.unfinished |= why.is_some();
            self.next_end = earlier(self.next_end, kept.open.ends_at);
            self.kept.push_back(kept);
        }
        ended
    }
}

fn earlier(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}

/// Why a call must not go on, locks apart. Notes the end of its grant as it is known now, which may have been moved.
fn ended_by(sync: &Sync, mono: Mono, open: &mut Open) -> Option<Why> {
    let ends_at = sync.table().map(|table| table.grant(open.told.grant()?).map(|grant| grant.expires_at()));
    // Once its use is told there is a grant, and the call ends with that like any other.
    open.offline &= !matches!(ends_at, Some(Some(_)));
    if open.offline {
        // With the grace that other calls have after a sleep: the time is known again with the next answer.
        return match sync.latest(mono) {
            Some(latest) if sync.knows_time() => (latest >= open.ends_at).then_some(Why::GrantEnded),
            _ => (!sync.may_run_on(open.criticality, mono)).then_some(Why::Stale),
        };
    }
    if let (Some(ends_at), Some(latest)) = (ends_at, sync.latest(mono)) {
        match ends_at {
            Some(ends_at) if latest < ends_at => open.ends_at = ends_at,
            _ => return Some(Why::GrantEnded),
        }
    }
    (!sync.may_run_on(open.criticality, mono)).then_some(Why::Stale)
}

/// Whether a lock blocks the call. What is not known of its caller keeps no lock off.
fn is_locked(sync: &Sync, mono: Mono, event: &[u8]) -> bool {
    let (Some(table), Some(now)) = (sync.table(), sync.now(mono)) else {
        return true;
    };
    let Ok(event) = serde_json::from_slice::<Value>(event) else {
        return table.locks().next().is_some();
    };
    let text = |name: &str| event.get(name)?.as_str();
    let user = text("issuer").zip(text("subject"));
    let groups = event.get("groups").and_then(Value::as_array);
    let unknown_groups = user.is_some() && groups.is_none();
    let groups: Vec<&str> = groups.into_iter().flatten().filter_map(Value::as_str).collect();
    // A record cuts what is very long.
    let cut = text("workload").is_some_and(|workload| workload.ends_with('…'));
    let principal = Principal { user, groups: &groups, workload: text("workload") };
    let (service, action) = (text("service").unwrap_or_default(), text("action"));
    table.locks().any(|lock| {
        let for_groups = matches!(lock.target.subject, Some(Subject::Group { .. } | Subject::Through(_)));
        let for_workloads = matches!(lock.target.subject, Some(Subject::Workload(_) | Subject::Through(_)));
        lock.blocks(&principal, service, action, now.earliest)
            || (unknown_groups && for_groups)
            || (cut && for_workloads)
    })
}

#[cfg(test)]
mod tests;
