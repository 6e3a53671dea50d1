//! Time and randomness as arguments: everything that needs either gets it from here, so that every workflow is tested
//! without sleeping. Ids are made from both. Nothing else in this crate may read the machine's clock or random source.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use grantmesh_shared::id::{
    DelegationId, DeliveryId, GrantId, LockId, PolicyId, PostReviewId, RequestId, ReviewId, UseId,
};
use grantmesh_shared::time::{Span, Timestamp};

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// It was this late already, as the database says. A clock that keeps from going back goes on from there.
    fn reach(&self, _at: Timestamp) {}

    /// How far the machine's clock is behind the time that is told.
    fn behind(&self) -> Span {
        Span::default()
    }
}

/// The machine's wall clock, as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        // Before 1970 is a broken clock; it reads as the epoch itself, at which nothing is live.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The machine's wall clock, kept from going back: if it is set back, or is behind what the database was told before a
/// restart or by another replica, time goes on from there at the pace of the monotonic clock. What has ended by its time
/// would otherwise live again, and filters would be told so.
#[derive(Debug, Default)]
pub struct SteadyClock(Mutex<Option<Told>>);

/// A time that was told, and when.
#[derive(Debug, Clone, Copy)]
struct Told {
    at: Timestamp,
    when: Instant,
}

impl Told {
    /// The earliest that it can be at `when`.
    fn by(self, when: Instant) -> Timestamp {
        let passed = when.saturating_duration_since(self.when).as_millis();
        self.at.plus(Span::from_millis(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}

impl SteadyClock {
    fn at_least(&self, at: Timestamp, when: Instant) -> Timestamp {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match told.map(|told| told.by(when)) {
            // Left as it is: to note it anew with every question would lose what is cut to whole milliseconds.
            Some(kept) if kept > at => kept,
            _ => {
                *told = Some(Told { at, when });
                at
            }
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        self.at_least(SystemClock.now(), monotonic())
    }

    fn reach(&self, at: Timestamp) {
        self.at_least(at, monotonic());
    }

    fn behind(&self) -> Span {
        self.now().since(SystemClock.now())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
fn monotonic() -> Instant {
    Instant::now()
}

/// A clock that stands still until it is moved. For tests and simulators.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Span) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.plus(span);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the system's random source failed")]
pub struct RandomError(#[source] pub getrandom::Error);

/// Gives unpredictable bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// If the source fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The operating system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(RandomError)
    }
}

/// Ids that are made from a time and random bytes.
pub trait NewId: Sized {
    /// Makes one.
    fn from_parts(millis: u64, random: [u8; 10]) -> Self;
}

macro_rules! new_id {
    ($($name:ident),*) => {$(
        impl NewId for $name {
            fn from_parts(millis: u64, random: [u8; 10]) -> Self {
                Self::new(millis, random)
            }
        }
    )*};
}

new_id!(RequestId, ReviewId, GrantId, UseId, LockId, PolicyId, DeliveryId, PostReviewId, DelegationId);

/// Makes a new id that sorts by `now`.
///
/// # Errors
/// If the random source fails.
pub fn new_id<Id: NewId>(now: Timestamp, random: &dyn Random) -> Result<Id, RandomError> {
    let mut bytes = [0; 10];
    random.fill(&mut bytes)?;
    Ok(Id::from_parts(u64::try_from(now.millis()).unwrap_or(0), bytes))
}

/// Makes the id of the grant that comes of a request, of which no other comes: it sorts by `now`, and what of it is random is
/// the request's, which a filter's table of millions then needs not keep twice.
#[must_use]
pub fn grant_id(now: Timestamp, request: &RequestId) -> GrantId {
    let [_, _, _, _, _, _, random @ ..] = request.bits().to_be_bytes();
    GrantId::new(u64::try_from(now.millis()).unwrap_or(0), random)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_where_it_was() {
        let (clock, start) = (SteadyClock::default(), monotonic());
        assert_eq!(clock.at_least(ms(5_000), start), ms(5_000));
        let later = start + Duration::from_millis(300);
        assert_eq!(clock.at_least(ms(1_000), later), ms(5_300));
        // Until it has come that far by itself.
        let later = start + Duration::from_millis(4_500);
        assert_eq!(clock.at_least(ms(9_600), later), ms(9_600));
    }

    #[test]
    fn what_another_has_told_is_not_gone_behind() {
        let clock = SteadyClock::default();
        let ahead = SystemClock.now().plus(Span::from_secs(3_600));
        clock.reach(ahead);
        assert!(clock.now() >= ahead);
        assert!(clock.behind() > Span::from_secs(3_590));
        clock.reach(ms(0));
        assert!(clock.now() >= ahead);
        assert_eq!(SteadyClock::default().behind(), Span::default());
    }

    proptest! {
        /// However the wall clock jumps, time never goes back, is never behind it, and moves on by no less than what passed.
        #[test]
        fn time_goes_on(steps in proptest::collection::vec((0_u64..2_000_000, 0_i64..100_000), 1..50)) {
            let (clock, start) = (SteadyClock::default(), monotonic());
            let (mut micros, mut last) = (0_u64, None::<(u64, Timestamp)>);
            for (passed, wall) in steps {
                micros += passed;
                let now = clock.at_least(ms(wall), start + Duration::from_micros(micros));
                prop_assert!(now >= ms(wall));
                if let Some((then, before)) = last {
                    // What is told is cut to milliseconds.
                    let least = i64::try_from((micros - then) / 1_000).unwrap() - 1;
                    prop_assert!(now >= before && now.millis() >= before.millis() + least);
                }
                last = Some((micros, now));
            }
        }
    }
}
