//! Which root context of a plugin asks the control plane: the newest that is alive. The proxy could tell when one goes,
//! but the callback for it would be an entry into the VM for every call too; so a root context lives while it ticks.

use grantmesh_shared::time::Span;

use crate::clock::Mono;

/// A root context that has not ticked for so long, while an older one has, is gone: it does not ask any more.
const GONE_AFTER: Span = Span::from_secs(2);

/// After so long it is forgotten: no call can belong to it any more.
const FORGOTTEN_AFTER: Span = Span::from_secs(3_600);

#[derive(Debug)]
struct Seat {
    root: u32,
    seen: Mono,
}

/// What a tick shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Whether the root context that ticked is the one that asks.
    pub asks: bool,
    /// Root contexts that are long gone; told once.
    pub forgotten: Vec<u32>,
}

/// The root contexts of one plugin with a usable configuration, oldest first.
#[derive(Debug, Default)]
pub struct Seats(Vec<Seat>);

impl Seats {
    /// `root` has a usable configuration from now on and is the newest.
    pub fn take(&mut self, root: u32, mono: Mono) {
        self.leave(root);
        self.0.push(Seat { root, seen: mono });
    }

    /// `root` has no usable configuration any more.
    pub fn leave(&mut self, root: u32) {
        self.0.retain(|seat| seat.root != root);
    }

    /// Notes a tick of `root`.
    pub fn tick(&mut self, root: u32, mono: Mono) -> Turn {
        let Some(seat) = self.0.iter_mut().find(|seat| seat.root == root) else {
            return Turn::default();
        };
        // Judged as of its tick before: after a worker's pause everybody is late, and only the order of ticks is new.
        let as_of = std::mem::replace(&mut seat.seen, mono);
        let is_past = |seat: &Seat, span| seat.seen.plus(span) < as_of;
        let newer = self.0.iter().rev().take_while(|seat| seat.root != root);
        let asks = newer.into_iter().all(|seat| is_past(seat, GONE_AFTER));
        let (gone, kept) = std::mem::take(&mut self.0).into_iter().partition(|seat| is_past(seat, FORGOTTEN_AFTER));
        let gone: Vec<Seat> = gone;
        self.0 = kept;
        Turn { asks, forgotten: gone.into_iter().map(|seat| seat.root).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Seats {
        fn asks(&mut self, root: u32, millis: u64) -> bool {
            let turn = self.tick(root, Mono::from_millis(millis));
            assert_eq!(turn.forgotten, Vec::<u32>::new());
            turn.asks
        }
    }

    fn seated(roots: &[u32]) -> Seats {
        let mut seats = Seats::default();
        roots.iter().for_each(|root| seats.take(*root, Mono::from_millis(0)));
        seats
    }

    #[test]
    fn the_newest_asks_and_others_are_silent() {
        let mut seats = seated(&[1, 2]);
        assert!(!seats.asks(3, 0), "it has no configuration");
        for millis in (100..60_000).step_by(100) {
            assert!(!seats.asks(1, millis));
            assert!(seats.asks(2, millis));
        }
        seats.leave(2);
        assert!(seats.asks(1, 60_000) && !seats.asks(2, 60_000));
        seats.take(2, Mono::from_millis(60_001));
        assert!(!seats.asks(1, 60_002) && seats.asks(2, 60_003));
    }

    #[test]
    fn the_next_one_takes_over_when_the_newest_ticks_no_more() {
        let mut seats = seated(&[1, 2, 3]);
        let turns: Vec<u64> = (100..10_000).step_by(100).filter(|millis| seats.asks(2, *millis)).collect();
        assert_eq!((turns.first(), turns.len()), (Some(&2_200), 78));
        assert!(!seats.asks(1, 10_000), "there is a newer one alive");
        assert!(seats.asks(3, 10_001), "it was only late");
        assert!(!seats.asks(2, 10_002));
    }

    #[test]
    fn a_pause_of_the_worker_changes_nothing() {
        let mut seats = seated(&[1, 2]);
        for millis in [100, 200, 90_000, 90_100, 7_200_000, 7_200_100] {
            assert!(!seats.asks(1, millis), "{millis}");
            assert!(seats.asks(2, millis), "{millis}");
        }
    }

    #[test]
    fn who_is_long_gone_is_forgotten_once() {
        let mut seats = seated(&[1, 2]);
        let mut forgotten = Vec::new();
        for millis in (100..4_000_000).step_by(100) {
            forgotten.extend(seats.tick(2, Mono::from_millis(millis)).forgotten);
        }
        assert_eq!(forgotten, [1]);
        assert!(!seats.asks(1, 4_000_000));
    }
}
