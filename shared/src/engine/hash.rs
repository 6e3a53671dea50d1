//! How the engine's maps hash: quickly, with a key that no caller knows. Made by every map of the engine for itself.
//! Callers only ever look things up: what is in the maps came from the policy and from approved requests, so nobody
//! can fill one with colliding keys. The key is from the system all the same, drawn once in a process or VM.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

static SEED: OnceLock<SharedSeed> = OnceLock::new();

/// Hashes with the process's random key.
#[derive(Debug, Clone)]
pub(crate) struct Keyed(SeedableRandomState);

impl Default for Keyed {
    fn default() -> Self {
        // The standard library's state is keyed by the system's random source; its SipHash gives the seed.
        let seed = SEED.get_or_init(|| SharedSeed::from_u64(RandomState::new().hash_one(0_u8)));
        Self(SeedableRandomState::with_seed(0, seed))
    }
}

impl BuildHasher for Keyed {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_one_key_that_is_not_the_crates_own() {
        let (one, two) = (Keyed::default(), Keyed::default());
        assert_eq!(one.hash_one("payments"), two.hash_one("payments"));
        assert_ne!(one.hash_one("payments"), one.hash_one("payment"));
        assert_ne!(one.hash_one("payments"), foldhash::fast::FixedState::with_seed(0).hash_one("payments"));
    }
}
