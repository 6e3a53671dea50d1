//! The hash of a table: equal exactly when two sides hold the same items, whatever the order in which they got them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

/// The sum modulo 2^256 of the SHA-256 of every item (AdHash): an item is added or taken away in constant time.
/// It finds divergence; that an answer was not forged is what its signature shows.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TableHash([u64; 4]);

impl TableHash {
    /// The hash of a table with only this item; `body` is the exact JSON of the item's body.
    #[must_use]
    pub fn of_item(key: &str, body: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(key.as_bytes());
        hasher.update([0]);
        hasher.update(body.as_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        Self::from_bytes(&digest)
    }

    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (into, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            into.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// From [`Self::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut limbs = [0_u64; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte));
        }
        Self(limbs)
    }

    /// The hash with another one's items added.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let mut sum = [0_u64; 4];
        let mut carry = false;
        for ((into, one), two) in sum.iter_mut().zip(self.0).zip(other.0) {
            let (partial, first) = one.overflowing_add(two);
            let (total, second) = partial.overflowing_add(u64::from(carry));
            *into = total;
            carry = first | second;
        }
        Self(sum)
    }

    /// The hash with another one's items taken away.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let negated = Self(other.0.map(|limb| !limb)).plus(Self([1, 0, 0, 0]));
        self.plus(negated)
    }
}

impl fmt::Display for TableHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl fmt::Debug for TableHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TableHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TableHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let refuse = || D::Error::custom("a table hash is 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        let mut limbs = [0_u64; 4];
        for (limb, digits) in limbs.iter_mut().rev().zip(text.as_bytes().chunks_exact(16)) {
            let digits = std::str::from_utf8(digits).map_err(|_| refuse())?;
            *limb = u64::from_str_radix(digits, 16).map_err(|_| refuse())?;
        }
        Ok(Self(limbs))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn order_does_not_matter_and_minus_undoes_plus(limbs: [[u64; 4]; 3]) {
            let [a, b, c] = limbs.map(TableHash);
            prop_assert_eq!(a.plus(b).plus(c), c.plus(a).plus(b));
            prop_assert_eq!(a.plus(b).minus(b), a);
            prop_assert_eq!(TableHash::from_bytes(&a.to_bytes()), a);
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<TableHash>(&text).unwrap(), a);
        }
    }

    #[test]
    fn carries_run_through() {
        let all = TableHash([u64::MAX; 4]);
        assert_eq!(all.plus(TableHash([1, 0, 0, 0])), TableHash::default());
    }
}
