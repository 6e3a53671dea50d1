//! Calls that wait in the proxy: who waits, for what, and until when. Pure: it knows neither the host nor the time.
//!
//! Whoever lets a call wait adds a [`Cause`] and does three things:
//!
//! 1. where the call is decided (`plugin`), parks it with [`Waiting::park`] and gives `Verdict::Wait`: `http` pauses it.
//!    No room ([`Full`]) means to go on as if there were nothing to wait for, which refuses;
//! 2. says in `Plugin::woken` when its cause is settled. That is looked at after every tick and after every answer;
//! 3. decides again in `Plugin::decide` when `Turn::Again` comes with the cause. The headers are read anew then;
//!    where the proxy will not give them again, [`Waiting::keep_head`] keeps them.
//!
//! `vm` does the rest: it resumes or answers from the root context, and finds out on every tick which calls are gone,
//! because no callback tells (`entry` says why). The tick also owns every deadline; a deadline is late by one at most.

use std::collections::BTreeMap;

use grantmesh_shared::engine::BodyMode;
use grantmesh_shared::id::{DecisionId, GrantId};
use grantmesh_shared::wire::sync::Position;

use crate::clock::Mono;

/// The most calls that wait in one VM.
pub const MOST: usize = 1_000;

/// The most calls of one principal that wait in one VM.
pub const MOST_PER_PRINCIPAL: usize = 32;

/// A call as the proxy names it: its context and the root context that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller {
    /// Its own context.
    pub context: u32,
    /// The root context whose configuration it is decided under.
    pub root: u32,
    /// How much of it has come.
    pub sent: Sent,
}

/// How much of a call has come when it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sent {
    /// Its head; a body may follow.
    #[default]
    Head,
    /// Its head, and nothing follows.
    HeadAlone,
    /// All of it, with a body that the proxy still has.
    Whole,
}

/// What a call waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The table is at this point or after it.
    Revision(Position),
    /// The control plane has the record that this call is let through.
    Record(Ahead),
    /// The control plane has said whether there is a use for this call.
    Claim(Claiming),
    /// People have decided about the request that was filed for this call, or nobody waits for them any longer.
    Hold(DecisionId),
    /// The rest of the call is there. No answer tells that: whoever takes the body in takes the call out.
    Body(BodyMode),
}

/// A use that is claimed for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claiming {
    /// The decision that it is claimed by.
    pub id: DecisionId,
    /// Of which grant.
    pub grant: GrantId,
    /// Grants on which the control plane has refused a claim of this call.
    pub refused: Vec<GrantId>,
}

/// The record of a call that was written before the call goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Its seq in the stream.
    pub seq: u64,
    /// The decision that it tells of.
    pub id: DecisionId,
    /// The grant that it names.
    pub grant: Option<GrantId>,
}

/// A call that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Which.
    pub caller: Caller,
    /// Whose, in any form that is the same for all calls of one principal.
    pub principal: Box<[u8]>,
    /// For what.
    pub cause: Cause,
    /// It waits no longer than until here.
    pub deadline: Mono,
    /// Its header map, where the proxy will not give it a second time.
    pub head: Option<Box<[u8]>>,
}

/// A call that has waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Woken {
    /// Which.
    pub caller: Caller,
    /// For what it waited.
    pub cause: Cause,
    /// Whether that never came.
    pub late: bool,
    /// Its header map, where the proxy will not give it a second time.
    pub head: Option<Box<[u8]>>,
}

/// No more calls may wait, or none of this principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls wait already")]
pub struct Full;

/// The calls of one VM that wait, by their context.
#[derive(Debug)]
pub struct Waiting {
    waiters: BTreeMap<u32, Waiter>,
    principals: BTreeMap<Box<[u8]>, usize>,
    most_per_principal: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Self::with_room_for(MOST_PER_PRINCIPAL)
    }
}

impl Waiting {
    /// Nobody yet; at most so many calls of one principal.
    #[must_use]
    pub const fn with_room_for(most_per_principal: usize) -> Self {
        Self { waiters: BTreeMap::new(), principals: BTreeMap::new(), most_per_principal }
    }

    /// The call of this context, if it waits here.
    #[must_use]
    pub fn get(&self, context: u32) -> Option<&Waiter> {
        self.waiters.get(&context)
    }

    /// Takes a call out.
    pub fn take(&mut self, context: u32) -> Option<Waiter> {
        let waiter = self.waiters.remove(&context)?;
        if let Some(count) = self.principals.get_mut(&waiter.principal) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.principals.remove(&waiter.principal);
            }
        }
        Some(waiter)
    }

    /// Keeps the header map of a call that waits here.
    pub fn keep_head(&mut self, context: u32, head: Box<[u8]>) {
        if let Some(waiter) = self.waiters.get_mut(&context) {
            waiter.head = Some(head);
        }
    }

    /// Whether nobody waits, which is the usual case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How many calls wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// The calls that wait.
    pub fn callers(&self) -> impl Iterator<Item = Caller> {
        self.waiters.values().map(|waiter| waiter.caller)
    }

    /// Lets a call wait. A call waits for one thing at a time: what it waited for before is forgotten.
    ///
    /// # Errors
    /// If too many wait; then it does not wait for anything.
    pub fn park(&mut self, waiter: Waiter) -> Result<(), Full> {
        self.forget(waiter.caller.context);
        if self.waiters.len() >= MOST {
            return Err(Full);
        }
        let count = self.principals.entry(waiter.principal.clone()).or_default();
        if *count >= self.most_per_principal {
            return Err(Full);
        }
        *count = count.saturating_add(1);
        self.waiters.insert(waiter.caller.context, waiter);
        Ok(())
    }

    /// Forgets a call that is gone; tells whether it waited.
    pub fn forget(&mut self, context: u32) -> bool {
        self.take(context).is_some()
    }

    /// Takes out those whose cause is settled or whose time is over; told once.
    pub fn take_due(&mut self, mono: Mono, settled: &dyn Fn(&Cause) -> bool) -> Vec<Woken> {
        let due = self.waiters.values().filter_map(|waiter| {
            let is_settled = settled(&waiter.cause);
            (is_settled || mono >= waiter.deadline).then_some((waiter.caller.context, !is_settled))
        });
        let due: Vec<(u32, bool)> = due.collect();
        let woken = due.into_iter().filter_map(|(context, late)| {
            let Waiter { caller, cause, head, .. } = self.take(context)?;
            Some(Woken { caller, cause, late, head })
        });
        woken.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(revision: u64) -> Position {
        Position { epoch: 1, revision }
    }

    fn waiter(context: u32, principal: &str, revision: u64, deadline: u64) -> Waiter {
        Waiter {
            caller: Caller { context, root: 1, sent: Sent::Head },
            principal: principal.as_bytes().into(),
            cause: Cause::Revision(at(revision)),
            deadline: Mono::from_millis(deadline),
            head: None,
        }
    }

    /// Contexts that are due once `revision` is there, and whether they are late.
    fn due(waiting: &mut Waiting, millis: u64, revision: u64) -> Vec<(u32, bool)> {
        let woken = waiting.take_due(Mono::from_millis(millis), &|cause| match cause {
            Cause::Revision(wanted) => *wanted <= at(revision),
            Cause::Record(_) | Cause::Claim(_) | Cause::Hold(_) | Cause::Body(_) => false,
        });
        woken.into_iter().map(|woken| (woken.caller.context, woken.late)).collect()
    }

    #[test]
    fn a_call_is_woken_once_by_what_it_waits_for_or_by_its_deadline() {
        let mut waiting = Waiting::default();
        for waiter in [waiter(1, "ann", 5, 500), waiter(2, "ann", 7, 500), waiter(3, "bob", 9, 300)] {
            waiting.park(waiter).unwrap();
        }
        assert_eq!(due(&mut waiting, 0, 4), []);
        assert_eq!(due(&mut waiting, 100, 6), [(1, false)]);
        assert_eq!(due(&mut waiting, 299, 6), []);
        assert_eq!(due(&mut waiting, 300, 6), [(3, true)]);
        assert_eq!(due(&mut waiting, 500, 7), [(2, false)], "what came at the last moment has come");
        assert!(waiting.is_empty() && waiting.principals.is_empty());
    }

    #[test]
    fn a_call_that_is_gone_leaves_its_place() {
        let mut waiting = Waiting::default();
        for context in 0..u32::try_from(MOST_PER_PRINCIPAL).unwrap() {
            waiting.park(waiter(context, "ann", 5, 500)).unwrap();
        }
        assert_eq!(waiting.park(waiter(99, "ann", 5, 500)), Err(Full));
        assert_eq!(waiting.park(waiter(98, "bob", 5, 500)), Ok(()));
        assert!(waiting.forget(3) && !waiting.forget(3));
        assert_eq!(waiting.park(waiter(99, "ann", 5, 500)), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        /// Whatever happens, the counts are those of the calls that wait, within both bounds.
        #[test]
        fn the_bounds_hold(steps in proptest::collection::vec((0_u32..500, 0_u8..8, 0_u8..8, 0_u64..40), 1..600)) {
            let mut waiting = Waiting::default();
            for (step, (context, principal, what, revision)) in steps.into_iter().enumerate() {
                let now = u64::try_from(step).unwrap();
                match what {
                    0 => { waiting.forget(context); }
                    1 => { due(&mut waiting, now, revision); }
                    _ => { let _full = waiting.park(waiter(context, &principal.to_string(), revision, now + 500)); }
                }
                let mut counts: BTreeMap<Box<[u8]>, usize> = BTreeMap::new();
                for waiter in waiting.waiters.values() {
                    *counts.entry(waiter.principal.clone()).or_default() += 1;
                }
                prop_assert!(waiting.len() <= MOST && counts.values().all(|count| *count <= MOST_PER_PRINCIPAL));
                prop_assert_eq!(&counts, &waiting.principals);
            }
        }
    }
}
