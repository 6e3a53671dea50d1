//! Whether the machine has slept: ticks that come late, or a wall clock that ran on while the monotonic clock stood still
//! (whether that one runs while a machine is suspended depends on the system). Asked by `plugin` on every tick and before
//! every call. Pure; the wall clock's time is never used for anything else, so a wrong one can only cost a question.

use crate::clock::Mono;

/// Ticks come every 100 ms; a pause as long as this is no late tick any more.
const PAUSE_NANOS: u64 = 3_000_000_000;

/// The wall clock gained more than this on the monotonic one: it was set, or the machine slept.
const GAIN_NANOS: u64 = 10_000_000;

/// How much faster or slower than the monotonic clock a wall clock may run without being set: one in a thousand.
const DRIFT_DIVISOR: u64 = 1_000;

/// A point of the machine's wall clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall(u64);

impl Wall {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

/// The last regular beat.
#[derive(Debug, Default)]
pub struct Pulse(Option<(Mono, Wall)>);

impl Pulse {
    /// A tick; tells whether the machine may have slept since the one before. The wall clock is read between the two
    /// points of the monotonic clock, so that a worker which is held up between reads does not look like one that slept; a
    /// sleep that is shorter than that is not seen.
    pub fn tick(&mut self, before: Mono, wall: Wall, after: Mono) -> bool {
        let slept = self.slept(wall, after);
        self.0 = Some((before, wall));
        slept
    }

    /// A call; tells whether the machine may have slept since the last beat. `wall` was read before `mono`. Told once.
    pub fn call(&mut self, wall: Wall, mono: Mono) -> bool {
        let slept = self.slept(wall, mono);
        if slept {
            self.0 = Some((mono, wall));
        }
        slept
    }

    fn slept(&self, wall: Wall, mono: Mono) -> bool {
        let Some((beat, beat_wall)) = self.0 else {
            return false;
        };
        let passed = u64::try_from(mono.since(beat).as_nanos()).unwrap_or(u64::MAX);
        let gained = wall.0.saturating_sub(beat_wall.0).saturating_sub(passed);
        let drift = passed.wrapping_div(DRIFT_DIVISOR);
        passed >= PAUSE_NANOS || gained > GAIN_NANOS.saturating_add(drift)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A machine: true time passes; its wall clock was set somewhere, its monotonic clock may stop while it sleeps.
    struct Machine {
        mono: u64,
        wall: u64,
        runs_asleep: bool,
    }

    impl Machine {
        fn awake(&mut self, nanos: u64) {
            self.mono += nanos;
            self.wall += nanos;
        }

        fn asleep(&mut self, nanos: u64) {
            self.wall += nanos;
            self.mono += if self.runs_asleep { nanos } else { 0 };
        }

        fn tick(&mut self, pulse: &mut Pulse, held_up: (u64, u64)) -> bool {
            let before = Mono::from_nanos(self.mono);
            self.awake(held_up.0);
            let wall = Wall::from_nanos(self.wall);
            self.awake(held_up.1);
            pulse.tick(before, wall, Mono::from_nanos(self.mono))
        }

        fn call(&mut self, pulse: &mut Pulse, held_up: u64) -> bool {
            let wall = Wall::from_nanos(self.wall);
            self.awake(held_up);
            pulse.call(wall, Mono::from_nanos(self.mono))
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_no_sleep() {
        let mut pulse = Pulse::default();
        let (second, hour) = (Mono::from_millis(1_000), 3_600_000 * MS);
        assert!(!pulse.tick(second, Wall(2 * hour), second));
        assert!(!pulse.call(Wall(hour), Mono::from_millis(1_050)));
        assert!(!pulse.tick(Mono::from_millis(1_100), Wall(hour), Mono::from_millis(1_100)));
        assert!(pulse.call(Wall(hour + 61 * MS), Mono::from_millis(1_150)), "set forward by 11 ms: it may have slept");
        assert!(!pulse.call(Wall(hour + 61 * MS), Mono::from_millis(1_150)), "told once");
    }

    proptest! {
        /// A sleep is noticed by the first tick or call after it, whatever the clocks do meanwhile, unless it is shorter than
        /// the worker is held up between two reads of a clock; ticks that come up to 1.7 s late, and such workers, are none.
        #[test]
        fn every_sleep_is_noticed_and_nothing_else(
            runs_asleep: bool,
            begun in 0..u64::MAX / 4,
            steps in proptest::collection::vec((0_u64..1_700, 0_u64..300, 0_u64..300, prop_oneof![4 => Just(0_u64), 1 => 20_u64..2_000, 1 => 20_u64..10_000_000], any::<bool>()), 1..60),
        ) {
            let mut machine = Machine { mono: 5_000 * MS, wall: begun, runs_asleep };
            let mut pulse = Pulse::default();
            machine.tick(&mut pulse, (0, 0));
            let mut held_up_before = 0;
            for (late, one, two, slept, by_call) in steps {
                machine.awake(late * MS);
                if slept > 0 {
                    // What runs on while it sleeps is counted anyway; only long pauses are told.
                    machine.asleep(slept * MS);
                }
                let told = if by_call {
                    machine.call(&mut pulse, one * MS)
                } else {
                    machine.tick(&mut pulse, (one * MS, two * MS))
                };
                // What the wall clock must gain to be seen: 10 ms and the drift of two seconds, above what reading it took.
                let held_up = held_up_before + if by_call { one } else { two };
                let is_seen = slept > held_up + 13;
                if slept == 0 || slept >= 3_000 || !runs_asleep && is_seen {
                    prop_assert_eq!(told, slept > 0, "late {} slept {}", late, slept);
                }
                held_up_before = if by_call { 0 } else { one };
                if by_call {
                    // A call is told of it once, and the tick after it is a regular one.
                    let again = machine.tick(&mut pulse, (0, 0));
                    prop_assert!(!again || slept > 0);
                }
            }
        }
    }
}
