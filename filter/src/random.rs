//! Random numbers of one VM, all from one seed of the system. Drawn by `sync` and `records` for nonces and jitter, and
//! by `flow` for decision ids. It never asks the system again, so nothing can fail on the request path.

use sha2::{Digest, Sha256};

/// An unpredictable sequence, and beside it a quick one that is only unique.
#[derive(Debug, Clone)]
pub struct Random {
    seed: [u8; 32],
    drawn: u64,
    quick: u64,
    salt: [u8; 2],
}

impl Random {
    /// From 32 bytes of the system's random source.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let mut random = Self { seed, drawn: 0, quick: 0, salt: [0; 2] };
        random.quick = random.next_u64();
        let [a, b, ..] = random.next_u64().to_le_bytes();
        random.salt = [a, b];
        random
    }

    fn block(&mut self) -> [u8; 32] {
        self.drawn = self.drawn.wrapping_add(1);
        let mut hasher = Sha256::new();
        hasher.update(self.seed);
        hasher.update(self.drawn.to_le_bytes());
        hasher.finalize().into()
    }

    /// An unpredictable number.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.block();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// An unpredictable nonce: 32 hexadecimal digits.
    pub fn nonce(&mut self) -> String {
        format!("{:016x}{:016x}", self.next_u64(), self.next_u64())
    }

    /// A number from `low` to `high`, for spreading things over time.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low).saturating_add(1).max(1);
        low.saturating_add(self.next_u64().checked_rem(width).unwrap_or(0))
    }

    /// How many milliseconds to wait after so many failures in a row, and one more: longer from one to the next, between
    /// these bounds, and never the same for two VMs.
    pub fn back_off(&mut self, (low, high): (u64, u64), failures: u32) -> u64 {
        let ceiling = low.saturating_mul(1_u64.checked_shl(failures.min(16)).unwrap_or(high));
        self.between(low, ceiling.clamp(low, high))
    }

    /// 80 bits that do not come twice from one VM and hardly ever from two. Not secret; costs a few instructions.
    pub fn unique(&mut self) -> [u8; 10] {
        // A bijection of a counter (SplitMix64), so that no value repeats before all have been seen.
        self.quick = self.quick.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.quick;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let [a, b, c, d, e, f, g, h] = mixed.to_le_bytes();
        let [i, j] = self.salt;
        [a, b, c, d, e, f, g, h, i, j]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_do_not_repeat_and_seeds_differ() {
        let (mut one, mut two) = (Random::new([1; 32]), Random::new([2; 32]));
        let ids: HashSet<[u8; 10]> = (0..10_000).flat_map(|_| [one.unique(), two.unique()]).collect();
        assert_eq!(ids.len(), 20_000);
        assert_ne!(one.nonce(), two.nonce());
        assert_eq!(one.nonce().len(), 32);
    }

    #[test]
    fn a_range_is_kept() {
        let mut random = Random::new([3; 32]);
        for _ in 0..1_000 {
            assert!((5..=9).contains(&random.between(5, 9)));
        }
        assert_eq!(random.between(4, 4), 4);
        assert_eq!(random.between(4, 1), 4);
    }

    #[test]
    fn one_waits_longer_from_failure_to_failure_and_never_too_long() {
        let mut random = Random::new([3; 32]);
        for (failures, most) in [(0, 100), (1, 200), (3, 800), (4, 1_000), (16, 1_000), (u32::MAX, 1_000)] {
            let waits: Vec<u64> = (0..1_000).map(|_| random.back_off((100, 1_000), failures)).collect();
            assert!(waits.iter().all(|wait| (100..=most).contains(wait)), "{failures}");
            assert!(*waits.iter().max().unwrap() > most / 10 * 9, "{failures}");
        }
    }
}
