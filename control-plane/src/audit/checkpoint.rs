//! Checkpoints: the log's size and root as a C2SP checkpoint in a signed note.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantmesh_shared::wire::signature::KeyId;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList, key_id};
use tlog_tiles::checkpoint::Checkpoint as TlogCheckpoint;
use tlog_tiles::tlog::Hash;

use super::{AuditError, LogHash};

/// The signature type of Ed25519 in signed notes.
const ALG_ED25519: u8 = 1;

/// Signs checkpoints. Its name, also the log's origin, is `grantmesh/` and the key's id: one key, one log.
#[derive(Clone)]
pub struct LogKey {
    signer: StandardSigner,
    origin: String,
    vkey: String,
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogKey").field("vkey", &self.vkey).finish_non_exhaustive()
    }
}

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root.
    pub root: LogHash,
}

/// The verifier key's text, and the key id as eight hexadecimal digits.
fn named(name: &str, key: &[u8; 32]) -> (String, String) {
    let key = [&[ALG_ED25519], key.as_slice()].concat();
    let id = format!("{:08x}", key_id(name, &key));
    (format!("{name}+{id}+{}", STANDARD.encode(key)), id)
}

impl LogKey {
    /// A log key from the 32 bytes of an Ed25519 private key.
    ///
    /// # Errors
    /// If the note format refuses it.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, AuditError> {
        let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes();
        let origin = format!("grantmesh/{}", KeyId::of(&public));
        let (vkey, id) = named(&origin, &public);
        let private = STANDARD.encode([&[ALG_ED25519], seed.as_slice()].concat());
        let signer = StandardSigner::new(&format!("PRIVATE+KEY+{origin}+{id}+{private}"))
            .map_err(|error| AuditError::Key(error.to_string()))?;
        Ok(Self { signer, origin, vkey })
    }

    /// The public half as a signed-note verifier key.
    #[must_use]
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// The log's name in its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Signs size and root.
    ///
    /// # Errors
    /// If the note format refuses it.
    pub fn sign(&self, size: u64, root: LogHash) -> Result<String, AuditError> {
        let refuse = |error: String| AuditError::Checkpoint(error);
        let text =
            TlogCheckpoint::new(&self.origin, size, Hash(root.0), "").map_err(|error| refuse(error.to_string()))?;
        let mut note = Note::new(&text.to_bytes(), &[]).map_err(|error| refuse(error.to_string()))?;
        note.add_sigs(&[&self.signer]).map_err(|error| refuse(error.to_string()))?;
        String::from_utf8(note.to_bytes()).map_err(|error| refuse(error.to_string()))
    }
}

/// Verifies checkpoints of one log.
#[derive(Clone)]
pub struct LogVerifier {
    verifier: StandardVerifier,
    origin: String,
}

impl std::fmt::Debug for LogVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogVerifier").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl LogVerifier {
    /// Reads a signed-note verifier key.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(vkey: &str) -> Result<Self, AuditError> {
        let verifier = StandardVerifier::new(vkey).map_err(|error| AuditError::Key(error.to_string()))?;
        let origin = vkey.split('+').next().unwrap_or_default().to_owned();
        Ok(Self { verifier, origin })
    }

    /// Checks the signature of a checkpoint and that it is of this log.
    ///
    /// # Errors
    /// If either does not hold.
    pub fn verify(&self, note: &[u8]) -> Result<Checkpoint, AuditError> {
        let note = Note::from_bytes(note).map_err(|error| AuditError::Checkpoint(error.to_string()))?;
        let known = VerifierList::new(vec![Box::new(self.verifier.clone())]);
        note.verify(&known).map_err(|error| AuditError::Checkpoint(error.to_string()))?;
        let text =
            TlogCheckpoint::from_bytes(note.text()).map_err(|error| AuditError::Checkpoint(error.to_string()))?;
        if text.origin() != self.origin {
            return Err(AuditError::Checkpoint(format!("it is of the log `{}`", text.origin())));
        }
        Ok(Checkpoint { origin: text.origin().to_owned(), size: text.size(), root: LogHash(text.hash().0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_verifies_only_as_it_was_signed() {
        let key = LogKey::from_seed(&[7; 32]).unwrap();
        let note = key.sign(42, LogHash([9; 32])).unwrap();
        let verifier = LogVerifier::parse(key.vkey()).unwrap();
        let read = verifier.verify(note.as_bytes()).unwrap();
        assert_eq!((read.size, read.root, read.origin.as_str()), (42, LogHash([9; 32]), key.origin()));
        assert!(verifier.verify(note.replacen("\n42\n", "\n43\n", 1).as_bytes()).is_err());
        let other = LogKey::from_seed(&[8; 32]).unwrap();
        assert!(LogVerifier::parse(other.vkey()).unwrap().verify(note.as_bytes()).is_err());
        assert!(LogVerifier::parse("grantmesh+00000000+AAAA").is_err());
        assert!(!format!("{key:?}").contains(&STANDARD.encode([7; 32])));
    }
}
