//! Calls that are let through by one decision after another and are alike in all that a record tells: they share a record,
//! which lists each of them with its time and request id. A caller that works under a grant leaves some records in a second
//! and not one for every call. Only the form of the log depends on this, never a decision. Bounded: so many records at once.

use grantmesh_shared::id::GrantId;

use crate::clock::Mono;
use crate::records::Written;
use crate::records::written::Draft;

/// The most records at once that calls are added to. Each has one place, which the next with that place takes over.
const PLACES: usize = 64;

/// A record that is not sealed yet.
#[derive(Debug)]
struct Run {
    told: Written,
    /// When its first call came.
    came: Mono,
}

/// The records that calls are added to.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Option<Run>>,
}

/// A call that has become part of a record.
pub(super) struct Joined {
    /// The record.
    pub(super) told: Written,
    /// Which of its calls it is, from 0.
    pub(super) call: u64,
    /// How many bytes that took.
    pub(super) bytes: usize,
}

impl Runs {
    /// Adds a call to the record of calls like it, if there is one. `mark` is the same for calls alike.
    pub(super) fn join(&self, mark: u64, call: &Draft, mono: Mono) -> Option<Joined> {
        let run = self.runs.get(place(mark))?.as_ref()?;
        let told = Written::clone(&run.told);
        let number = told.decisions();
        let after = u64::try_from(mono.since(run.came).as_millis()).unwrap_or_default();
        let bytes = told.take(call, after)?;
        Some(Joined { told, call: number, bytes })
    }

    /// Has later calls like this be added to this record.
    pub(super) fn begin(&mut self, mark: u64, told: &Written, mono: Mono) {
        if self.runs.is_empty() {
            self.runs.resize_with(PLACES, || None);
        }
        if let Some(place) = self.runs.get_mut(place(mark)) {
            *place = Some(Run { told: Written::clone(told), came: mono });
        }
    }

    /// Forgets all: the records are sealed.
    pub(super) fn end(&mut self) {
        self.runs.clear();
    }
}

/// A number that is the same for one grant and hardly ever for two: the random end of its id.
pub(super) fn mark(grant: &GrantId) -> u64 {
    grant.as_str().as_bytes().last_chunk().map_or(0, |end| u64::from_le_bytes(*end))
}

fn place(mark: u64) -> usize {
    // The upper half of a product depends on all that was multiplied.
    let mixed = mark.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed).unwrap_or_default() % PLACES
}
