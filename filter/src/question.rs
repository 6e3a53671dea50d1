//! What the filter asks the control plane, as a value, and what came back, checked: signature first, then form.
//! Made by `sync`, `records`, `claims` and `holds`, sent and answered by `root` (or by a test or simulator, which then is the network).

use ed25519_dalek::{Signature as Ed25519, VerifyingKey};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::claims::ClaimsAnswer;
use grantmesh_shared::wire::holds::HoldsAnswer;
use grantmesh_shared::wire::read::from_bytes;
use grantmesh_shared::wire::records::RecordsAnswer;
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::sync::{HeartbeatAnswer, SyncAnswer};
use serde::de::DeserializeOwned;

/// Which conversation a question belongs to. At most one of each is under way; every question for uses is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The long poll.
    Sync,
    /// The heartbeat.
    Heartbeat,
    /// Decision records.
    Records,
    /// Claims of uses: the question of this number.
    Claims(u32),
    /// Calls that are held.
    Holds,
}

impl Topic {
    /// The word in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Heartbeat => "heartbeat",
            Self::Records => "records",
            Self::Claims(_) => "claims",
            Self::Holds => "holds",
        }
    }
}

/// A question to be sent: `POST path` with `body`, JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub topic: Topic,
    /// Where to.
    pub path: &'static str,
    /// The exact body.
    pub body: Vec<u8>,
    /// After this long without an answer it has failed. Never zero.
    pub timeout: Span,
}

/// An answer as it came over the network; nothing in it is believed yet.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: &'a [u8],
    /// The value of the signature header, if there is exactly one.
    pub signature: Option<&'a [u8]>,
    /// The exact body.
    pub body: &'a [u8],
}

/// Why an answer is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No answer, or one that the control plane did not sign: the proxy makes such answers itself.
    #[error("the control plane cannot be reached, or something else answers in its place")]
    Unreachable,
    /// Signed by a key that is not pinned.
    #[error(
        "the answer is signed by the key {0}, which is not pinned\nadd the control plane's public key to `keys` in the plugin configuration"
    )]
    UnknownKey(KeyId),
    /// The signature does not fit the body.
    #[error("the answer's signature is wrong")]
    Signature,
    /// Not the JSON of the expected answer, or of another version.
    #[error("the answer is not understood: {0}\nuse a filter and a control plane of one release")]
    Malformed(String),
    /// The answer belongs to another question: an old one, or another filter's.
    #[error("the answer repeats another question's nonce")]
    Nonce,
    /// A signed refusal.
    #[error("the control plane refused with status {status}: {text}")]
    Refused {
        /// The status.
        status: String,
        /// The beginning of the body.
        text: String,
    },
}

impl AnswerError {
    /// A short stable word for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::UnknownKey(_) => "unknown_key",
            Self::Signature => "signature",
            Self::Malformed(_) => "malformed",
            Self::Nonce => "nonce",
            Self::Refused { .. } => "refused",
        }
    }
}

/// A public key of a control plane that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedKey {
    id: KeyId,
    key: VerifyingKey,
}

impl PinnedKey {
    /// From the raw public key; nothing if it is not a point of the curve or a weak one.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Option<Self> {
        let key = VerifyingKey::from_bytes(bytes).ok()?;
        (!key.is_weak()).then(|| Self { id: KeyId::of(bytes), key })
    }

    /// Its name in signatures.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Whether it signed these bytes.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &Ed25519) -> bool {
        self.key.verify_strict(bytes, signature).is_ok()
    }
}

/// The body of an answer that a pinned key signed and that is not a refusal.
///
/// # Errors
/// If the answer is anything else.
pub fn verified<'a>(answer: &Answer<'a>, keys: &[PinnedKey]) -> Result<&'a [u8], AnswerError> {
    let signature = answer.signature.and_then(Signature::parse).ok_or(AnswerError::Unreachable)?;
    let pinned = keys.iter().find(|pinned| pinned.id == signature.key).ok_or(AnswerError::UnknownKey(signature.key))?;
    if !pinned.verifies(&signed_bytes(answer.body), &Ed25519::from_bytes(&signature.bytes)) {
        return Err(AnswerError::Signature);
    }
    if answer.status == b"200" {
        return Ok(answer.body);
    }
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(300).collect();
    Err(AnswerError::Refused { status: lossy(answer.status), text: lossy(answer.body) })
}

/// What every answer says of itself.
pub trait Envelope: DeserializeOwned {
    /// The version of the protocol, and the nonce of its question.
    fn envelope(&self) -> (u8, &str);
}

macro_rules! envelope {
    ($($answer:ty),*) => { $(
        impl Envelope for $answer {
            fn envelope(&self) -> (u8, &str) {
                (self.v, &self.nonce)
            }
        }
    )* };
}
envelope!(SyncAnswer, HeartbeatAnswer, RecordsAnswer, ClaimsAnswer, HoldsAnswer);

/// Reads a verified body as the answer to the question of this nonce.
///
/// # Errors
/// If it is anything else.
pub fn read<A: Envelope>(body: &[u8], nonce: &str) -> Result<A, AnswerError> {
    let answer: A = from_bytes(body).map_err(|error| AnswerError::Malformed(error.to_string()))?;
    let (version, echoed) = answer.envelope();
    if version != PROTOCOL_VERSION {
        return Err(AnswerError::Malformed(format!("its version is {version}")));
    }
    if echoed != nonce {
        return Err(AnswerError::Nonce);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn signed(key: &SigningKey, body: &[u8]) -> String {
        Signature { key: KeyId::of(key.verifying_key().as_bytes()), bytes: key.sign(&signed_bytes(body)).to_bytes() }
            .to_string()
    }

    #[test]
    fn only_a_pinned_key_over_these_bytes_is_believed() {
        let (ours, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let keys = [PinnedKey::new(ours.verifying_key().as_bytes()).unwrap()];
        let check = |status: &[u8], signature: Option<&str>, body: &[u8]| {
            let signature = signature.map(str::as_bytes);
            verified(&Answer { status, signature, body }, &keys).map(<[u8]>::to_vec)
        };
        let good = signed(&ours, b"body");
        assert_eq!(check(b"200", Some(&good), b"body"), Ok(b"body".to_vec()));
        assert_eq!(check(b"200", Some(&good), b"Body"), Err(AnswerError::Signature));
        assert_eq!(check(b"200", None, b"body"), Err(AnswerError::Unreachable));
        assert_eq!(check(b"503", None, b"no healthy upstream"), Err(AnswerError::Unreachable));
        assert_eq!(check(b"200", Some("nonsense"), b"body"), Err(AnswerError::Unreachable));
        let forged = signed(&other, b"body");
        assert!(matches!(check(b"200", Some(&forged), b"body"), Err(AnswerError::UnknownKey(_))));
        // The other key's signature under our key's name.
        let renamed = format!("{}{}", &good[..17], &forged[17..]);
        assert_eq!(check(b"200", Some(&renamed), b"body"), Err(AnswerError::Signature));
        let plain = Signature { key: KeyId::of(ours.verifying_key().as_bytes()), bytes: ours.sign(b"body").to_bytes() };
        assert_eq!(check(b"200", Some(&plain.to_string()), b"body"), Err(AnswerError::Signature));
        assert!(matches!(check(b"401", Some(&good), b"body"), Err(AnswerError::Refused { .. })));
    }

    #[test]
    fn weak_and_impossible_keys_cannot_be_pinned() {
        assert!(PinnedKey::new(&[0; 32]).is_none());
        let mut small_order = [0; 32];
        small_order[0] = 1;
        assert!(PinnedKey::new(&small_order).is_none());
    }
}
