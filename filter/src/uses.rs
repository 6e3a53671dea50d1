//! Calls that are uses of a grant and run: they are told to the control plane with their outcome, once. No callback tells
//! that a call has ended (`entry` says why), so `plugin` asks for those that are gone with its ticks. Pure.

use std::collections::BTreeMap;

use grantmesh_shared::id::{GrantId, UseId};
use grantmesh_shared::wire::records::{Event, UseEvent, UseOutcome};

use crate::records::{Told, Written};
use crate::share::one_more;
use crate::waiting::Caller;

/// The most uses that run at once in one VM; the next is refused.
pub const MOST: usize = 4_096;

/// So many are looked for in the proxy with every tick.
const LOOKS: usize = 256;

/// The request headers that could make the proxy send a call twice. They go, and [`ONCE`] says that it must not.
pub const RETRY_HEADERS: [&str; 4] =
    ["x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-retriable-status-codes", "x-envoy-retriable-header-names"];

/// What makes the proxy send a call once, although its route has retries or hedges (Envoy's router, "HTTP headers"). A
/// route that itself sets or removes these headers undoes that.
pub const ONCE: [(&str, &str); 2] = [("x-envoy-max-retries", "0"), ("x-envoy-hedge-on-per-try-timeout", "false")];

/// The request header that tells the service which use a call is.
pub const KEY_HEADER: &str = "idempotency-key";

/// A use whose call runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Whose it is ([`crate::identity::Identity::mark`]).
    pub whose: u64,
    /// The call.
    pub caller: Caller,
    /// The use.
    pub id: UseId,
    /// Of which grant.
    pub grant: GrantId,
}

/// The record of a use's outcome: the JSON of an [`Event`]; nothing if it cannot be written.
#[must_use]
pub fn ending(id: UseId, grant: GrantId, outcome: UseOutcome, status: Option<u16>) -> Written {
    let event = serde_json::to_vec(&Event::Use(Box::new(UseEvent { id, grant, outcome, status })));
    Told::new(event.unwrap_or_default(), None).into()
}

/// The uses whose calls run and have no outcome yet, by context.
#[derive(Debug, Default)]
pub struct Uses {
    calls: BTreeMap<u32, Used>,
    /// Where the next look for those that are gone begins.
    next: u32,
}

impl Uses {
    /// Whether one more of a principal may run. `whose` is asked only where room gets scarce.
    #[must_use]
    pub fn has_room(&self, whose: impl FnOnce() -> u64) -> bool {
        one_more(self.calls.len(), MOST, || {
            let whose = whose();
            self.calls.values().filter(|used| used.whose == whose).count()
        })
    }

    /// Whether there are none, which is the usual case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Notes a call that goes on.
    pub fn begin(&mut self, used: Used) {
        self.calls.insert(used.caller.context, used);
    }

    /// The call of this context, if it is a use without an outcome.
    #[must_use]
    pub fn caller(&self, context: u32) -> Option<Caller> {
        self.calls.get(&context).map(|used| used.caller)
    }

    /// Takes out a call that has its outcome.
    pub fn end(&mut self, context: u32) -> Option<Used> {
        self.calls.remove(&context)
    }

    /// Some of the calls, others each time, to look whether they are still there.
    pub fn some(&mut self) -> Vec<Caller> {
        let from = self.next;
        let some: Vec<Caller> = self.calls.range(from..).take(LOOKS).map(|(_, used)| used.caller).collect();
        let last = some.last().filter(|_| some.len() == LOOKS);
        self.next = last.map_or(0, |caller| caller.context.saturating_add(1));
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(context: u32) -> Used {
        let caller = Caller { context, root: 1, ..Caller::default() };
        let id = UseId::new(u64::from(context), [0; 10]);
        Used { whose: u64::from(context % 2), caller, id, grant: GrantId::new(1, [0; 10]) }
    }

    #[test]
    fn every_call_is_looked_for_in_turn_and_has_one_outcome() {
        let mut uses = Uses::default();
        let count = u32::try_from(LOOKS).unwrap() + 10;
        (1..=count).for_each(|context| uses.begin(used(context)));
        let mut seen: Vec<u32> = uses.some().into_iter().chain(uses.some()).map(|caller| caller.context).collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=count).collect::<Vec<_>>());
        assert_eq!(uses.some().first().map(|caller| caller.context), Some(1), "and from the beginning again");
        assert_eq!(uses.end(7), Some(used(7)));
        assert_eq!((uses.end(7), uses.caller(7)), (None, None));
        let json = ending(used(8).id, used(8).grant, UseOutcome::Answered, Some(201));
        let event: Event<'static> = serde_json::from_slice(json.event()).unwrap();
        let expected =
            UseEvent { id: used(8).id, grant: used(8).grant, outcome: UseOutcome::Answered, status: Some(201) };
        assert_eq!(event, Event::Use(Box::new(expected)));
    }

    #[test]
    fn no_more_run_than_there_is_room_for() {
        let mut uses = Uses::default();
        let most = u32::try_from(MOST).unwrap();
        // Every second context is one principal's, and every first the other's.
        (1..most).for_each(|context| uses.begin(used(context)));
        assert!(uses.has_room(|| 0) && !uses.has_room(|| 1), "one of them has its share");
        assert!(uses.has_room(|| 2));
        uses.begin(used(most));
        assert!(!uses.has_room(|| 2));
    }
}
