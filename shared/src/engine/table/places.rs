//! Where things are, by their hash: a map whose entries are six bytes, 24 bits of the hash and 24 that tell where. What
//! stands there is the caller's to compare: of a million a dozen or so look alike.

use super::rows::{PLACES, Rows, place};

/// So many entries a row has on average before one more row is made.
const FULL: usize = 96;

/// So many more entries a row has room for when it has none.
const MORE: usize = 8;

type Entry = [u8; 6];

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Places {
    rows: Rows<Vec<Entry>>,
    count: usize,
}

fn entry(hash: u32, value: u32) -> Entry {
    let ([a, b, c, _], [d, e, f, _]) = (hash.to_le_bytes(), value.to_le_bytes());
    [a, b, c, d, e, f]
}

fn hash_of([a, b, c, ..]: Entry) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}

fn value_of([.., d, e, f]: Entry) -> u32 {
    u32::from_le_bytes([d, e, f, 0])
}

#[inline(never)]
fn push(row: &mut Vec<Entry>, entry: Entry) {
    if row.len() == row.capacity() {
        row.reserve_exact(MORE);
    }
    row.push(entry);
}

impl Places {
    /// What may be of this hash, in no order; the caller compares.
    pub(super) fn of(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let hash = place(hash);
        let row = self.rows.get(hash).map(Vec::as_slice).unwrap_or_default();
        row.iter().filter(move |entry| hash_of(**entry) == hash).map(|entry| value_of(*entry))
    }

    /// Adds one. What it is must fit into 24 bits: otherwise nothing is done, and it is told.
    #[inline(never)]
    #[must_use]
    pub(super) fn insert(&mut self, hash: u64, value: u32) -> bool {
        if value > PLACES {
            return false;
        }
        if self.count >= self.rows.count().saturating_mul(FULL) {
            self.rows.cut(split);
        }
        let hash = place(hash);
        if let Some(row) = self.rows.get_mut(hash) {
            push(row, entry(hash, value));
            self.count = self.count.saturating_add(1);
        }
        true
    }

    /// Takes one out.
    #[inline(never)]
    pub(super) fn remove(&mut self, hash: u64, value: u32) {
        let hash = place(hash);
        let Some(row) = self.rows.get_mut(hash) else { return };
        if let Some(at) = row.iter().position(|other| *other == entry(hash, value)) {
            row.swap_remove(at);
            self.count = self.count.saturating_sub(1);
        }
    }

    #[cfg(test)]
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Frees up to so many rows; tells whether any are left.
    pub(super) fn free(&mut self, most: usize) -> bool {
        self.rows.free(most)
    }
}

#[inline(never)]
fn split(row: &mut Vec<Entry>, is_new: &dyn Fn(u32) -> bool) -> Vec<Entry> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for entry in std::mem::take(row) {
        push(if is_new(hash_of(entry)) { &mut new } else { &mut old }, entry);
    }
    *row = old;
    new
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hashes that often meet in a row, and some that are equal.
    fn hash(number: u32) -> u64 {
        u64::from(number % 7) << 33 | u64::from(number % 2)
    }

    proptest! {
        /// As a list that is searched from its beginning.
        #[test]
        fn what_is_in_is_found(steps in proptest::collection::vec((0_u32..60, any::<bool>()), 1..300)) {
            let (mut places, mut list) = (Places::default(), Vec::<u32>::new());
            for (number, comes) in steps {
                if comes && !list.contains(&number) {
                    prop_assert!(places.insert(hash(number), number));
                    list.push(number);
                } else if !comes {
                    places.remove(hash(number), number);
                    list.retain(|other| *other != number);
                }
                for number in 0..60 {
                    let mut found: Vec<u32> = places.of(hash(number)).collect();
                    found.sort_unstable();
                    let mut there: Vec<u32> =
                        list.iter().copied().filter(|other| place(hash(*other)) == place(hash(number))).collect();
                    there.sort_unstable();
                    prop_assert_eq!(found, there);
                }
            }
        }
    }

    #[test]
    fn many_are_found_and_no_row_is_long() {
        let hash = |number: u32| u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut places = Places::default();
        for number in 0..20_000 {
            assert!(places.insert(hash(number), number));
            if number % 3 == 0 {
                places.remove(hash(number / 2), number / 2);
                assert!(places.insert(hash(number / 2), number / 2));
            }
        }
        assert!(places.rows.iter().all(|row| row.len() < 2 * FULL + FULL / 2 && row.capacity() < row.len() + 2 * MORE));
        assert!(places.rows.count() > 20_000 / FULL);
        let is_there = |places: &Places, number: u32| places.of(hash(number)).any(|other| other == number);
        assert!((0..20_000).all(|number| is_there(&places, number)));
        for number in 0..20_000 {
            places.remove(hash(number), number);
            assert!(!is_there(&places, number) && (number == 19_999 || is_there(&places, number + 1)));
        }
        assert!(places.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut places = Places::default();
        assert!(!places.insert(5, PLACES + 1) && places.is_empty());
        assert!(places.insert(5, PLACES) && places.of(5).eq([PLACES]));
    }
}
