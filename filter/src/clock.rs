//! Monotonic time of the proxy, and from it the bounds of the control plane's time.
//! Used by `sync` and `records`. Nothing here reads a clock, and no wall clock of the proxy's machine is ever used.

use std::time::Duration;

use grantmesh_shared::engine::Now;
use grantmesh_shared::time::{Span, Timestamp};

/// A point of the proxy's monotonic clock, in nanoseconds from an arbitrary beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(u64);

impl Mono {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// In milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0.wrapping_div(1_000_000)
    }

    /// How long it is from `earlier` to this point; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved on by `span`; stops at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.millis().saturating_mul(1_000_000)))
    }
}

/// How much faster or slower than the control plane's clock the monotonic clock may run: one in a thousand.
const DRIFT_DIVISOR: u64 = 1_000;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A time of the control plane beside a point of the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Sample {
    server: Timestamp,
    at: Mono,
}

impl Sample {
    /// The control plane's time at `mono`, if the sample's time was reached at the sample's point or later.
    fn latest(self, mono: Mono) -> Timestamp {
        // The stated time is cut to milliseconds: it was up to one more.
        let stated = self.server.plus(Span::from_millis(1));
        if mono >= self.at {
            stated.plus(longest(mono.since(self.at)))
        } else {
            stated.minus(shortest(self.at.since(mono)))
        }
    }

    /// The control plane's time at `mono`, if the sample's time was reached at the sample's point or before.
    fn earliest(self, mono: Mono) -> Timestamp {
        if mono >= self.at {
            self.server.plus(shortest(mono.since(self.at)))
        } else {
            self.server.minus(longest(self.at.since(mono)))
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The longest that the control plane's clock can have moved in `span`, in whole milliseconds.
fn longest(span: Duration) -> Span {
    let nanos = nanos(span);
    let drifted = nanos.saturating_add(nanos.div_ceil(DRIFT_DIVISOR));
    Span::from_millis(drifted.div_ceil(NANOS_PER_MILLI))
}

/// The shortest that the control plane's clock can have moved in `span`, in whole milliseconds.
fn shortest(span: Duration) -> Span {
    let nanos = nanos(span);
    let drifted = nanos.saturating_sub(nanos.div_ceil(DRIFT_DIVISOR));
    Span::from_millis(drifted.wrapping_div(NANOS_PER_MILLI))
}

/// What the answers of the control plane say about its time.
#[derive(Debug, Default)]
pub struct ServerClock {
    /// The control plane's time, beside the moment the question was sent: it was answered later.
    upper: Option<Sample>,
    /// The control plane's time, beside the moment the answer came: it was answered before.
    lower: Option<Sample>,
    /// The monotonic clock may have stood still since: the control plane's time may be later than the upper bound says.
    doubted: bool,
}

impl ServerClock {
    /// Takes in the time of an answer to a question that was answered at once; it always replaces what was known.
    pub fn observe(&mut self, server: Timestamp, sent: Mono, received: Mono) {
        self.upper = Some(Sample { server, at: sent });
        self.doubted = false;
        self.observe_lower(server, sent, received);
    }

    /// The machine may have slept: what was observed so far says nothing about how late it is now.
    pub const fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Whether the upper bound is one: it is known, and the machine has not slept since.
    #[must_use]
    pub const fn is_sure(&self) -> bool {
        self.upper.is_some() && !self.doubted
    }

    /// Takes in the time of an answer that may have been held: its upper bound counts only if it is the tighter one,
    /// or if it shows that the control plane's clock was set.
    pub fn observe_held(&mut self, server: Timestamp, sent: Mono, received: Mono) {
        let new = Sample { server, at: sent };
        let keep = self.upper.filter(|_| !self.doubted).is_some_and(|old| {
            let bound = old.latest(received);
            bound <= new.latest(received) && bound >= server
        });
        if !keep {
            self.upper = Some(new);
            self.doubted = false;
        }
        self.observe_lower(server, sent, received);
    }

    fn observe_lower(&mut self, server: Timestamp, sent: Mono, received: Mono) {
        let upper = Sample { server, at: sent }.latest(received);
        let keep = self.lower.is_some_and(|old| {
            let bound = old.earliest(received);
            bound >= server && bound <= upper
        });
        if !keep {
            self.lower = Some(Sample { server, at: received });
        }
    }

    /// The bounds of the control plane's time at a point; nothing before the first answer.
    #[must_use]
    pub fn at(&self, mono: Mono) -> Option<Now> {
        let latest = self.upper?.latest(mono);
        let earliest = self.lower?.earliest(mono).min(latest);
        Some(Now { earliest, latest })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_held_answer_does_not_loosen_the_bound() {
        let mut clock = ServerClock::default();
        clock.observe(ms(10_000), Mono::from_millis(0), Mono::from_millis(4));
        clock.observe_held(ms(35_002), Mono::from_millis(10), Mono::from_millis(25_010));
        let now = clock.at(Mono::from_millis(25_010)).unwrap();
        assert!(now.latest <= ms(35_010 + 1 + 26), "{now:?}");
        assert_eq!(now.earliest, ms(35_002));
    }

    #[test]
    fn a_clock_that_was_set_is_followed_both_ways() {
        for (set, held) in [(60_000, true), (60_000, false), (-60_000, true), (-60_000, false)] {
            let mut clock = ServerClock::default();
            clock.observe(ms(100_000), Mono::from_millis(0), Mono::from_millis(2));
            let server = ms(101_000 + set);
            let (sent, received) = (Mono::from_millis(1_000), Mono::from_millis(1_002));
            if held {
                clock.observe_held(server, sent, received);
            } else {
                clock.observe(server, sent, received);
            }
            let now = clock.at(received).unwrap();
            assert!(now.earliest >= server && now.earliest <= ms(101_003 + set), "{set} {now:?}");
            assert!(now.latest >= server && now.latest <= ms(101_005 + set), "{set} {now:?}");
        }
    }

    proptest! {
        /// Whatever the delays and a drift within one in a thousand, the true time is within the bounds.
        #[test]
        fn the_true_time_is_within_the_bounds(
            drift in -999_i64..999,
            exchanges in proptest::collection::vec((0_u64..5_000_000_000, 0_u64..30_000_000_000, 0_u64..5_000_000_000, any::<bool>()), 1..20),
            after in 0_u64..100_000_000_000,
        ) {
            // The control plane's clock in nanoseconds for a point of ours.
            let server = |mono: u64| 1_000_000_000_000_i128
                + i128::from(mono) * (1_000_000 + i128::from(drift)) / 1_000_000;
            let mut clock = ServerClock::default();
            let mut mono = 1_000_u64;
            for (there, held, back, is_held) in exchanges {
                let sent = mono;
                let answered = sent + there + if is_held { held } else { 0 };
                let received = answered + back;
                let stated = ms(i64::try_from(server(answered) / 1_000_000).unwrap());
                let (sent, received_at) = (Mono::from_nanos(sent), Mono::from_nanos(received));
                if is_held {
                    clock.observe_held(stated, sent, received_at);
                } else {
                    clock.observe(stated, sent, received_at);
                }
                for at in [received, received + after] {
                    let now = clock.at(Mono::from_nanos(at)).unwrap();
                    let truth = server(at);
                    prop_assert!(i128::from(now.earliest.millis()) * 1_000_000 <= truth);
                    prop_assert!(i128::from(now.latest.millis()) * 1_000_000 >= truth);
                }
                mono = received + 1;
            }
        }
    }
}
