//! Numbers that look random and are the same again for the same seed. Cheaper than strategies, so that a million cases are
//! affordable; what fails is told with its seed and made small by [`super::smaller`].

/// A source of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }

    /// True so many times of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// One of them, or nothing as often as any other.
    pub(crate) fn maybe<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(from.len() + 1);
        from.get(at).copied()
    }

    /// Some of them, in their order.
    pub(crate) fn some<T: Copy>(&mut self, from: &[T]) -> Vec<T> {
        let bits = self.roll();
        from.iter().enumerate().filter(|(at, _)| bits >> (at % 64) & 1 == 1).map(|(_, one)| *one).collect()
    }

    /// At least `least` and at most `most` of what `make` makes.
    pub(crate) fn many<T>(&mut self, least: usize, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }
}
