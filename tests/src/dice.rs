//! Reproducible chance, and how much of it: the same seed gives the same calls on every machine.

/// A generator of numbers (splitmix64). Its seed is in the test, so that a failure can be had again.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Always the same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % end).unwrap_or(0)
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<'t, T>(&mut self, choice: &'t [T]) -> Option<&'t T> {
        choice.get(self.below(choice.len()))
    }

    /// Some bytes of any value, at most `most`.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most.saturating_add(1));
        (0..length).map(|_| u8::try_from(self.roll() & 0xff).unwrap_or(0)).collect()
    }
}

/// How much a proof does: `few` in the tests, `all` under `cargo dev prove`.
///
/// The name of such a test begins with `proof`, so that `cargo dev prove` finds it.
#[must_use]
pub fn proof_size(few: usize, all: usize) -> usize {
    if std::env::var_os("GRANTMESH_PROVE").is_some() { all } else { few }
}
