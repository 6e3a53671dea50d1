//! Where things are, by their hash: a map whose entries are five bytes, a tag of the hash and a 32-bit handle. What a handle
//! stands for is the caller's to compare. It is cut into small parts, of which one is cut in two from time to time (linear
//! hashing), so that no change of a map of millions looks at more than a hundred of its entries, and little of it is empty.

/// So many entries a part has on average before one more part is made.
const FULL: usize = 48;

/// A tag, never zero, and a handle.
type Slot = [u8; 5];

const EMPTY: Slot = [0; 5];

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Places {
    parts: Vec<Part>,
    count: usize,
}

#[derive(Debug, Default)]
struct Part {
    slots: Vec<Slot>,
    count: usize,
}

fn slot(hash: u64, handle: u32) -> Slot {
    let [one, two, three, four] = handle.to_le_bytes();
    [tag(hash), one, two, three, four]
}

fn tag(hash: u64) -> u8 {
    let [.., top] = hash.to_le_bytes();
    top | 1
}

fn handle([_, one, two, three, four]: Slot) -> u32 {
    u32::from_le_bytes([one, two, three, four])
}

fn empty(count: usize) -> Vec<Slot> {
    let mut slots = Vec::new();
    slots.reserve_exact(count);
    slots.resize(count, EMPTY);
    slots
}

impl Part {
    /// Where the search for a hash begins: the lower half of the hash as a share of the slots.
    fn home(&self, hash: u64) -> usize {
        let slots = u64::try_from(self.slots.len()).unwrap_or(0);
        usize::try_from((hash & 0xffff_ffff).wrapping_mul(slots) >> 32).unwrap_or(0)
    }

    fn after(&self, at: usize) -> usize {
        let next = at.wrapping_add(1);
        if next < self.slots.len() { next } else { 0 }
    }

    fn at(&self, at: usize) -> Slot {
        self.slots.get(at).copied().unwrap_or(EMPTY)
    }

    fn set(&mut self, at: usize, slot: Slot) {
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
    }

    /// The places of handles that may be of this hash, in the order in which they came.
    fn of(&self, hash: u64) -> Search<'_> {
        Search { part: self, at: self.home(hash), tag: tag(hash) }
    }

    /// Takes in one that there is room for.
    #[inline(never)]
    fn push(&mut self, hash: u64, handle: u32) {
        let mut at = self.home(hash);
        while self.at(at) != EMPTY {
            at = self.after(at);
        }
        self.set(at, slot(hash, handle));
        self.count = self.count.wrapping_add(1);
    }

    /// Makes room for one more: an eighth stays empty.
    #[inline(never)]
    fn grow(&mut self, hash_of: &dyn Fn(u32) -> u64) {
        let slots = self.slots.len();
        if self.count.wrapping_add(1) <= slots.wrapping_sub(slots.wrapping_div(8)).wrapping_sub(usize::from(slots > 0))
        {
            return;
        }
        let entries = self.take();
        self.slots = empty(slots.saturating_add(slots.wrapping_div(4)).saturating_add(4));
        for handle in entries {
            self.push(hash_of(handle), handle);
        }
    }

    /// Takes everything out: from an empty slot on, so that those of one hash keep their order.
    #[inline(never)]
    fn take(&mut self) -> Vec<u32> {
        self.count = 0;
        let slots = std::mem::take(&mut self.slots);
        let begin = slots.iter().position(|slot| *slot == EMPTY).unwrap_or(0);
        let (last, first) = slots.split_at_checked(begin).unwrap_or_default();
        let mut handles = Vec::with_capacity(slots.len());
        for slot in first.iter().chain(last) {
            if *slot != EMPTY {
                handles.push(handle(*slot));
            }
        }
        handles
    }

    #[inline(never)]
    fn remove(&mut self, place: usize, hash_of: &dyn Fn(u32) -> u64) {
        let (mut hole, mut at) = (place, place);
        loop {
            at = self.after(at);
            let slot = self.at(at);
            if slot == EMPTY {
                break;
            }
            // One that stands at or behind its home on the way from the hole moves up into it.
            let home = self.home(hash_of(handle(slot)));
            let stays = if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
            if !stays {
                self.set(hole, slot);
                hole = at;
            }
        }
        self.set(hole, EMPTY);
        self.count = self.count.wrapping_sub(1);
    }
}

/// A search for a hash. Once in the module, however many ask.
struct Search<'p> {
    part: &'p Part,
    at: usize,
    tag: u8,
}

impl Iterator for Search<'_> {
    type Item = usize;

    #[inline(never)]
    fn next(&mut self) -> Option<usize> {
        loop {
            let (here, [found, ..]) = (self.at, self.part.at(self.at));
            if found == 0 {
                return None;
            }
            self.at = self.part.after(here);
            if found == self.tag {
                return Some(here);
            }
        }
    }
}

/// Handles that may be of a hash.
pub(super) struct Handles<'p>(Option<Search<'p>>);

impl Iterator for Handles<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let search = self.0.as_mut()?;
        search.next().map(|at| handle(search.part.at(at)))
    }
}

impl Places {
    /// The part of a hash: as many of its bits as number the parts, and one less for those that are not cut in two yet.
    fn part(&self, hash: u64) -> usize {
        let bits = self.parts.len().next_power_of_two().wrapping_sub(1);
        let at = usize::try_from(hash >> 32 & 0xff_ffff).unwrap_or(0) & bits;
        if at < self.parts.len() { at } else { at & (bits >> 1) }
    }

    /// The handles that may be of this hash, in the order in which they came; the caller compares.
    pub(super) fn of(&self, hash: u64) -> Handles<'_> {
        Handles(self.parts.get(self.part(hash)).map(|part| part.of(hash)))
    }

    /// Adds a handle behind those of the same hash; `hash_of` gives the hash of any handle in here.
    #[inline(never)]
    pub(super) fn insert(&mut self, hash: u64, handle: u32, hash_of: &dyn Fn(u32) -> u64) {
        if self.count >= self.parts.len().saturating_mul(FULL) {
            self.cut(hash_of);
        }
        self.count = self.count.wrapping_add(1);
        let at = self.part(hash);
        if let Some(part) = self.parts.get_mut(at) {
            part.grow(hash_of);
            part.push(hash, handle);
        }
    }

    /// Makes one more part of what is in the next one whose turn it is.
    #[inline(never)]
    fn cut(&mut self, hash_of: &dyn Fn(u32) -> u64) {
        let new = self.parts.len();
        self.parts.push(Part::default());
        let other = new & (self.parts.len().next_power_of_two().wrapping_sub(1) >> 1);
        let Some(part) = self.parts.get_mut(other) else { return };
        let room = part.count.wrapping_mul(5).wrapping_div(8).wrapping_add(4);
        let entries = part.take();
        for at in [other, new] {
            if let Some(part) = self.parts.get_mut(at) {
                part.slots = empty(room);
            }
        }
        for handle in entries {
            let hash = hash_of(handle);
            let at = self.part(hash);
            if let Some(part) = self.parts.get_mut(at) {
                part.grow(hash_of);
                part.push(hash, handle);
            }
        }
    }

    /// Puts a handle in the place of another one of the same hash.
    #[inline(never)]
    pub(super) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let at = self.part(hash);
        if let Some(part) = self.parts.get_mut(at) {
            let found = part.of(hash).find(|at| handle(part.at(*at)) == old);
            if let Some(at) = found {
                part.set(at, slot(hash, new));
            }
        }
    }

    /// Takes a handle out.
    #[inline(never)]
    pub(super) fn remove(&mut self, hash: u64, old: u32, hash_of: &dyn Fn(u32) -> u64) {
        let at = self.part(hash);
        if let Some(part) = self.parts.get_mut(at) {
            let found = part.of(hash).find(|at| handle(part.at(*at)) == old);
            if let Some(at) = found {
                part.remove(at, hash_of);
                self.count = self.count.saturating_sub(1);
            }
        }
    }

    #[cfg(test)]
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Frees up to so many parts; tells whether any are left.
    pub(super) fn free(&mut self, most: usize) -> bool {
        self.parts.truncate(self.parts.len().saturating_sub(most));
        !self.parts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hashes that often meet in a part, at a place and in their tags.
    fn hash(handle: u32) -> u64 {
        let few = u64::from(handle % 7);
        few << 30 | (few << 60) | (u64::from(handle % 2) << 32)
    }

    proptest! {
        /// As a list that is searched from its beginning.
        #[test]
        fn what_is_in_is_found_in_its_order(steps in proptest::collection::vec((0_u32..60, any::<bool>()), 1..300)) {
            let (mut places, mut list) = (Places::default(), Vec::<u32>::new());
            for (number, comes) in steps {
                if comes && !list.contains(&number) {
                    places.insert(hash(number), number, &hash);
                    list.push(number);
                } else if !comes {
                    places.remove(hash(number), number, &hash);
                    list.retain(|other| *other != number);
                }
                for number in 0..60 {
                    let found: Vec<u32> = places.of(hash(number)).filter(|other| hash(*other) == hash(number)).collect();
                    let there: Vec<u32> = list.iter().copied().filter(|other| hash(*other) == hash(number)).collect();
                    prop_assert_eq!(found, there);
                }
            }
        }
    }

    #[test]
    fn many_are_found_and_no_part_is_large() {
        let hash = |handle: u32| u64::from(handle).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut places = Places::default();
        for number in 0..20_000 {
            places.insert(hash(number), number, &hash);
            if number % 3 == 0 {
                places.remove(hash(number / 2), number / 2, &hash);
                places.insert(hash(number / 2), number / 2, &hash);
            }
        }
        assert!(places.parts.iter().all(|part| part.count < 2 * FULL + FULL / 2 && part.slots.len() < 4 * FULL));
        assert!(places.parts.len() > 20_000 / FULL);
        let is_there = |places: &Places, number: u32| places.of(hash(number)).any(|other| other == number);
        assert!((0..20_000).all(|number| is_there(&places, number)));
        for number in 0..20_000 {
            places.remove(hash(number), number, &hash);
            assert!(!is_there(&places, number) && (number == 19_999 || is_there(&places, number + 1)));
        }
        assert!(places.count == 0 && places.parts.iter().all(|part| part.count == 0));
    }

    #[test]
    fn a_handle_takes_the_place_of_another() {
        let mut places = Places::default();
        let same = |_| 5;
        (1..4).for_each(|handle| places.insert(5, handle, &same));
        places.replace(5, 2, 9);
        assert_eq!(places.of(5).collect::<Vec<_>>(), [1, 9, 3]);
    }
}
