//! Time and randomness as arguments: everything that needs either gets it from here, so that every workflow is tested
//! without sleeping. Ids are made from both. Nothing else in this crate may read the machine's clock or random source.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use grantmesh_shared::id::{
    DelegationId, DeliveryId, GrantId, LockId, PolicyId, PostReviewId, RequestId, ReviewId, UseId,
};
use grantmesh_shared::time::{Span, Timestamp};

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
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
