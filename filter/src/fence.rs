//! What outlives a VM: the furthest point of the state that any VM of this proxy has heard of, and the last whole table.
//! Both are kept in the proxy's shared data, which every other plugin may write. So both are kept as the control plane
//! signed them, and are verified like an answer before anything is believed. What is believed of the point can only
//! refuse; the table only saves its transfer, and counts for nothing until the VM's own question confirms it.
//! Pure; `root` reads and writes, `sync` judges.

use grantmesh_shared::wire::read;
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::{HeartbeatAnswer, Position};

use crate::question::{Answer, PinnedKey, verified};

/// The most bytes of a statement of the point.
const MAX_POINT_BYTES: usize = 2 * 1_024;

/// The most bytes of a table that is kept, with all its pages. Larger ones are loaded anew.
pub const MAX_TABLE_BYTES: usize = 1_024 * 1_024;

/// Where one plugin's state is in the shared data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The point.
    pub point: String,
    /// The table.
    pub table: String,
}

impl Places {
    /// One for each set of services and keys: others' statements would not fit, though they could do no harm.
    #[must_use]
    pub fn of(services: &[String], keys: &[PinnedKey]) -> Self {
        let mut names = services.to_vec();
        names.sort_unstable();
        names.extend(keys.iter().map(|key| key.id().to_string()));
        let digest = Sha256Hash::of(names.join("\0").as_bytes()).to_string();
        Self { point: format!("grantmesh.point.{digest}"), table: format!("grantmesh.table.{digest}") }
    }
}

/// A signed answer as it is kept: its signature, a line's end, its body.
#[must_use]
pub fn sealed(signature: &[u8], body: &[u8]) -> Vec<u8> {
    [signature, b"\n", body].concat()
}

/// The body of what was kept, if a pinned key signed it.
#[must_use]
pub fn unsealed<'k>(kept: &'k [u8], keys: &[PinnedKey]) -> Option<&'k [u8]> {
    let end = kept.iter().position(|byte| *byte == b'\n')?;
    let (signature, rest) = kept.split_at_checked(end)?;
    let body = rest.strip_prefix(b"\n")?;
    verified(&Answer { status: b"200", signature: Some(signature), body }, keys).ok()
}

/// Adds a signed answer to others that are kept together: the length in four bytes, then as [`sealed`].
pub fn add_sealed(kept: &mut Vec<u8>, signature: &[u8], body: &[u8]) {
    let one = sealed(signature, body);
    let length = u32::try_from(one.len()).unwrap_or(u32::MAX);
    kept.extend_from_slice(&length.to_le_bytes());
    kept.extend_from_slice(&one);
}

/// The bodies of all that was kept together, if a pinned key signed every one.
#[must_use]
pub fn all_unsealed<'k>(mut kept: &'k [u8], keys: &[PinnedKey]) -> Option<Vec<&'k [u8]>> {
    let mut bodies = Vec::new();
    while !kept.is_empty() {
        let (length, rest) = kept.split_first_chunk()?;
        let (one, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        bodies.push(unsealed(one, keys)?);
        kept = rest;
    }
    Some(bodies)
}

/// The furthest point that was heard of.
#[derive(Debug, Default)]
pub struct Fence {
    known: Option<(Position, Vec<u8>)>,
    /// What was in the shared data last and is looked at already.
    seen: Vec<u8>,
    /// The point that it states, if it can be believed.
    shared: Option<Position>,
}

impl Fence {
    /// No answer may be before this.
    #[must_use]
    pub fn floor(&self) -> Option<Position> {
        self.known.as_ref().map(|(position, _)| *position)
    }

    /// Takes in a heartbeat's answer that was verified.
    pub fn heard(&mut self, position: Position, signature: &[u8], body: &[u8]) {
        if self.floor() < Some(position) {
            let kept = sealed(signature, body);
            if kept.len() <= MAX_POINT_BYTES {
                self.known = Some((position, kept));
            }
        }
    }

    /// Takes in what is in the shared data; what cannot be verified says nothing.
    pub fn read(&mut self, kept: &[u8], keys: &[PinnedKey]) {
        let kept = if kept.len() > MAX_POINT_BYTES { &[] } else { kept };
        if kept == self.seen {
            return;
        }
        kept.clone_into(&mut self.seen);
        let answer = unsealed(kept, keys).and_then(|body| read::from_bytes::<HeartbeatAnswer>(body).ok());
        self.shared = answer.map(|answer| answer.position);
        if let Some(position) = self.shared
            && self.floor() < Some(position)
        {
            self.known = Some((position, kept.to_vec()));
        }
    }

    /// What belongs into the shared data in place of what was read last, if that is less or nothing.
    #[must_use]
    pub fn to_keep(&self) -> Option<&[u8]> {
        let (position, kept) = self.known.as_ref()?;
        (self.shared < Some(*position)).then_some(kept)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
    use serde_json::json;

    use super::*;

    fn signed(seed: u8, epoch: u64, revision: u64) -> Vec<u8> {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let body = json!({
            "v": 1, "kind": "heartbeat", "nonce": "00", "position": {"epoch": epoch, "revision": revision},
            "table_hash": "00".repeat(32), "server_time": 5,
            "freshness": {"critical_ms": 5_000, "standard_ms": 30_000, "low_ms": 300_000},
        });
        let body = body.to_string().into_bytes();
        let key_id = KeyId::of(key.verifying_key().as_bytes());
        let signature = Signature { key: key_id, bytes: key.sign(&signed_bytes(&body)).to_bytes() };
        sealed(signature.to_string().as_bytes(), &body)
    }

    #[test]
    fn only_what_was_signed_moves_it_and_only_on() {
        let keys = [PinnedKey::new(SigningKey::from_bytes(&[1; 32]).verifying_key().as_bytes()).unwrap()];
        let mut fence = Fence::default();
        let at = |epoch, revision| Some(Position { epoch, revision });
        fence.read(&signed(1, 1, 7), &keys);
        assert_eq!(fence.floor(), at(1, 7));
        assert_eq!(fence.to_keep(), None, "it is there already");
        fence.read(&signed(2, 9, 9), &keys);
        assert_eq!(fence.floor(), at(1, 7), "somebody else's signature");
        assert_eq!(fence.to_keep(), Some(&*signed(1, 1, 7)), "and it is put right");
        let mut forged = signed(1, 1, 8);
        let place = forged.windows(12).position(|part| part == b"\"revision\":8").unwrap();
        forged[place + 11] = b'9';
        for kept in [forged, signed(1, 1, 6), Vec::new(), b"\n".to_vec(), vec![b'x'; 5_000]] {
            fence.read(&kept, &keys);
            assert_eq!(fence.floor(), at(1, 7));
        }
        let (signature, body) = (b"s", br#"{"position":0}"#);
        fence.heard(Position { epoch: 1, revision: 7 }, signature, body);
        assert_eq!(fence.to_keep(), Some(&*signed(1, 1, 7)));
        fence.heard(Position { epoch: 2, revision: 0 }, signature, body);
        assert_eq!((fence.floor(), fence.to_keep()), (at(2, 0), Some(&*sealed(signature, body))));
        fence.read(&signed(1, 3, 1), &keys);
        assert_eq!((fence.floor(), fence.to_keep()), (at(3, 1), None));
    }
}
