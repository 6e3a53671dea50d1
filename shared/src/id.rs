//! Typed identifiers with a visible prefix (`req_`, `grant_`), so that no id can be taken for another kind.
//! Made by the control plane from its clock and random source; everyone else only parses them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Crockford base 32, lower case: sorts like the bytes it stands for.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters after the prefix: 128 bits, five at a time.
const BODY_LEN: usize = 26;

/// What a character of [`ALPHABET`] stands for; of others something below 32.
const fn value(digit: u8) -> u8 {
    let (first, value) = match digit {
        b'0'..=b'9' => (b'0', 0),
        b'a'..=b'h' => (b'a', 10),
        b'j'..=b'k' => (b'j', 18),
        b'm'..=b'n' => (b'm', 20),
        b'p'..=b't' => (b'p', 22),
        _ => (b'v', 27),
    };
    digit.wrapping_sub(first).wrapping_add(value) & 31
}

/// Whether a text is an id with this prefix. Of 26 characters of five bits each, the first has only three: more would be no
/// number of 128 bits.
#[inline(never)]
fn is_one(text: &str, prefix: &str) -> bool {
    let body = text.strip_prefix(prefix).unwrap_or_default().as_bytes();
    let is_small = body.first().is_some_and(|first| matches!(first, b'0'..=b'7'));
    // Not by a search in the alphabet: a snapshot has ids by the million.
    let is_digit = |digit: &u8| ALPHABET.get(usize::from(value(*digit))).is_some_and(|known| known == digit);
    body.len() == BODY_LEN && is_small && body.iter().all(is_digit)
}

/// The number that the characters after a prefix stand for. Once in a module, however many kinds of ids and places ask.
#[inline(never)]
fn read(text: &str, prefix: usize) -> u128 {
    text.bytes().skip(prefix).fold(0, |bits, digit| (bits << 5) | u128::from(value(digit)))
}

/// Why a text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what} id\nan id looks like `{prefix}01k5x3…`, 26 characters after `{prefix}`")]
pub struct IdError {
    text: String,
    what: &'static str,
    prefix: &'static str,
}

/// Writes 48 bits of Unix milliseconds and 80 random bits as 26 characters.
/// One id is made for every decision, so digits are taken off the end: shifts of 128 bits are dear.
fn encode(prefix: &str, millis: u64, random: [u8; 10]) -> Box<str> {
    let random = random.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    written(prefix, (u128::from(millis & 0xffff_ffff_ffff) << 80) | random)
}

#[inline(never)]
fn written(prefix: &str, value: u128) -> Box<str> {
    let mut digits = [b'0'; BODY_LEN];
    let mut places = digits.iter_mut().rev();
    // Twelve digits are a number of 60 bits.
    for part in [value, value >> 60, value >> 120] {
        let mut bits = u64::try_from(part & ((1 << 60) - 1)).unwrap_or_default();
        for place in places.by_ref().take(12) {
            let [low, ..] = bits.to_le_bytes();
            *place = ALPHABET.get(usize::from(low & 31)).copied().unwrap_or(b'0');
            bits >>= 5;
        }
    }
    // Digits are no text before all are there; pushed one by one they would be checked one by one.
    let text = [prefix.as_bytes(), &digits].concat();
    String::from_utf8(text).unwrap_or_default().into_boxed_str()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id that sorts by `millis` (Unix milliseconds) and is unique by `random`.
            #[must_use]
            pub fn new(millis: u64, random: [u8; 10]) -> Self {
                Self(encode($prefix, millis, random))
            }

            /// From the number that [`Self::bits`] gives.
            #[must_use]
            pub fn from_bits(bits: u128) -> Self {
                Self(written($prefix, bits))
            }

            /// The number that its characters stand for: milliseconds, then random bits.
            #[must_use]
            pub fn bits(&self) -> u128 {
                read(&self.0, $prefix.len())
            }

            /// The id as it is written everywhere.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if is_one(text, $prefix) {
                    return Ok(Self(text.into()));
                }
                let text = text.chars().take(64).collect();
                Err(IdError { text, what: $what, prefix: $prefix })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// A request for a grant.
    RequestId, "req_", "a request"
);
id!(
    /// One reviewer's approve or deny.
    ReviewId, "review_", "a review"
);
id!(
    /// The permission that results from an approved request.
    GrantId, "grant_", "a grant"
);
id!(
    /// A lock above every grant and role.
    LockId, "lock_", "a lock"
);
id!(
    /// One applied version of the policy.
    PolicyId, "policy_", "a policy"
);
id!(
    /// One VM of a filter: a worker (or the main thread) of one Envoy. Also the id of its record stream.
    VmId, "vm_", "a filter VM"
);
id!(
    /// One decision, as a challenge shows it and the audit log keeps it.
    DecisionId, "dec_", "a decision"
);
id!(
    /// The review of what somebody did without an approval.
    PostReviewId, "postreview_", "a post-review"
);
id!(
    /// What lets one person review in the place of another.
    DelegationId, "dlg_", "a delegation"
);
id!(
    /// One use of a grant that is for a number of uses.
    UseId, "use_", "a use"
);
id!(
    /// Something that people and other programs are told of, the same for whoever is told.
    EventId, "event_", "an event"
);
id!(
    /// The delivery of an event to one endpoint.
    DeliveryId, "delivery_", "a delivery"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_parse_back() {
        let early = GrantId::new(1_000, [255; 10]);
        let late = GrantId::new(1_001, [0; 10]);
        assert!(early < late);
        for id in [early, late, GrantId::new(u64::MAX, [255; 10])] {
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
            assert_eq!(GrantId::from_bits(id.bits()), id);
        }
    }

    #[test]
    fn another_kind_is_refused() {
        let id = RequestId::new(7, [7; 10]);
        assert!(id.as_str().parse::<GrantId>().is_err());
        assert!("grant_".parse::<GrantId>().is_err());
        assert!("grant_0000000000000000000000000U".parse::<GrantId>().is_err());
        assert!("grant_7zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<GrantId>().is_ok());
        assert!("grant_80000000000000000000000000".parse::<GrantId>().is_err(), "129 bits");
    }
}
