//! The private keys of the control plane: made by `grantmesh keygen`, read by `serve`, `token` and `credential`.
//! Each is a PKCS#8 PEM file that only its owner may read. A key is never overwritten and never shown, not even by `Debug`.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer as _, SigningKey};
use grantmesh_shared::wire::offline::OfflineToken;
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};

/// Signs answers to filters and the credentials of filters.
pub const SIGNING_KEY: &str = "signing.key";

/// Signs checkpoints of the audit log.
pub const LOG_KEY: &str = "log.key";

/// Signs the tokens of the development issuer.
pub const DEV_ISSUER_KEY: &str = "dev-issuer.key";

/// The `kid` of the development issuer's only key.
pub const DEV_KEY_ID: &str = "dev";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error("there is no key `{}`\nmake the keys with `grantmesh keygen --data-dir {}`", path.display(), folder(path).display())]
    Missing {
        /// The key's file.
        path: PathBuf,
    },
    /// There is a file already, and keys are never overwritten.
    #[error("the key `{}` exists already\nmove it away first if it is to be replaced", path.display())]
    Exists {
        /// The key's file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("the key `{}` cannot be read or written", path.display())]
    Io {
        /// The key's file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Other users could read it.
    #[error("the key `{}` can be read by other users\nrun `chmod 600 {}`, or replace the key if somebody may have read it", path.display(), path.display())]
    Exposed {
        /// The key's file.
        path: PathBuf,
    },
    /// Not a key of the expected kind.
    #[error("`{}` is not {expected} in PKCS#8 PEM form\nrestore it from a backup, or move it away and make a new one", path.display())]
    Form {
        /// The key's file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// The system's random source or the cryptographic library failed.
    #[error("a key could not be made or used: {0}")]
    Crypto(&'static str),
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// An Ed25519 private key.
pub struct Ed25519Key(SigningKey);

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Key({})", self.id())
    }
}

impl Ed25519Key {
    /// Makes a key from the system's random source.
    ///
    /// # Errors
    /// If that source fails.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| KeyError::Crypto("the system's random source failed"))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// If it is missing, readable by others or not such a key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let form = || KeyError::Form { path: path.to_owned(), expected: "an Ed25519 private key" };
        SigningKey::from_pkcs8_pem(&text).map(Self).map_err(|_| form())
    }

    /// Writes a new key file.
    ///
    /// # Errors
    /// If there is one already or it cannot be written.
    pub fn store(&self, path: &Path) -> Result<(), KeyError> {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Crypto("the key has no PEM form"))?;
        write_private(path, pem.as_bytes())
    }

    /// The raw public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The raw public key as 64 hexadecimal digits: the pin in a filter's configuration.
    #[must_use]
    pub fn pin(&self) -> String {
        self.public().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The public key's short name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.public())
    }

    /// The private key itself, for the log's own note signer. Must not be logged or stored.
    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The raw signature of some bytes.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }

    /// The signature of an answer to a filter, as its header carries it.
    #[must_use]
    pub fn sign_answer(&self, body: &[u8]) -> Signature {
        Signature { key: self.id(), bytes: self.sign(&signed_bytes(body)) }
    }

    /// The signature of the payload of a break-glass token.
    #[must_use]
    pub fn sign_offline(&self, payload: &[u8]) -> Signature {
        Signature { key: self.id(), bytes: self.sign(&OfflineToken::signed_bytes(payload)) }
    }

    /// The form in which the token library signs with it.
    ///
    /// # Errors
    /// Never in practice: every key has a DER form.
    pub fn encoding_key(&self) -> Result<EncodingKey, KeyError> {
        let der = self.0.to_pkcs8_der().map_err(|_| KeyError::Crypto("the key has no DER form"))?;
        Ok(EncodingKey::from_ed_der(der.as_bytes()))
    }
}

/// The development issuer's ES256 key.
pub struct DevIssuerKey(EncodingKey);

impl fmt::Debug for DevIssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevIssuerKey")
    }
}

impl DevIssuerKey {
    /// Makes a key and writes it to a new file.
    ///
    /// # Errors
    /// If there is one already or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::Crypto("no ES256 key could be made"))?;
        let body = STANDARD.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = more;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        write_private(path, pem.as_bytes())?;
        Self::load(path)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// If it is missing, readable by others or not such a key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let form = || KeyError::Form { path: path.to_owned(), expected: "an ES256 private key" };
        EncodingKey::from_ec_pem(text.as_bytes()).map(Self).map_err(|_| form())
    }

    /// The form in which the token library signs with it.
    #[must_use]
    pub const fn encoding_key(&self) -> &EncodingKey {
        &self.0
    }

    /// The public half as a key set.
    ///
    /// # Errors
    /// If the library cannot derive it.
    pub fn jwks(&self) -> Result<JwkSet, KeyError> {
        let derived = Jwk::from_encoding_key(&self.0, Algorithm::ES256);
        let mut key = derived.map_err(|_| KeyError::Crypto("the public half of the ES256 key"))?;
        key.common.key_id = Some(DEV_KEY_ID.to_owned());
        key.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(JwkSet { keys: vec![key] })
    }
}

/// The two keys that every control plane has.
#[derive(Debug)]
pub struct Keys {
    /// [`SIGNING_KEY`].
    pub signing: Ed25519Key,
    /// [`LOG_KEY`].
    pub log: Ed25519Key,
}

impl Keys {
    /// Reads both from a data folder.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn load(data_dir: &Path) -> Result<Self, KeyError> {
        let (signing, log) = (data_dir.join(SIGNING_KEY), data_dir.join(LOG_KEY));
        Ok(Self { signing: Ed25519Key::load(&signing)?, log: Ed25519Key::load(&log)? })
    }

    /// Makes both in a data folder, which is created if need be. With `keep`, those that exist are kept.
    ///
    /// # Errors
    /// If one cannot be written, or exists already and `keep` is false; then none is made.
    pub fn create(data_dir: &Path, keep: bool) -> Result<Self, KeyError> {
        make_folder(data_dir)?;
        let missing: Vec<PathBuf> =
            [SIGNING_KEY, LOG_KEY].iter().map(|name| data_dir.join(name)).filter(|path| !path.exists()).collect();
        if let (false, Some(path)) =
            (keep, [SIGNING_KEY, LOG_KEY].map(|name| data_dir.join(name)).into_iter().find(|path| path.exists()))
        {
            return Err(KeyError::Exists { path });
        }
        missing.iter().try_for_each(|path| Ed25519Key::generate()?.store(path))?;
        Self::load(data_dir)
    }
}

/// Makes a folder that only its owner can enter, unless it exists.
///
/// # Errors
/// If the operating system refuses.
pub fn make_folder(path: &Path) -> Result<(), KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)
}

fn read_private(path: &Path) -> Result<String, KeyError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path: path.to_owned() },
        _ => KeyError::Io { path: path.to_owned(), source },
    };
    let mode = fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned() });
    }
    fs::read_to_string(path).map_err(io)
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
        _ => KeyError::Io { path: path.to_owned(), source },
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let made = Keys::create(folder.path(), false).unwrap();
        let path = folder.path().join(SIGNING_KEY);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Keys::create(folder.path(), false), Err(KeyError::Exists { .. })));
        assert_eq!(Keys::create(folder.path(), true).unwrap().signing.public(), made.signing.public());
        assert_ne!(made.signing.public(), made.log.public());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keys::load(folder.path()), Err(KeyError::Exposed { .. })));
        fs::remove_file(&path).unwrap();
        let told = Keys::load(folder.path()).unwrap_err().to_string();
        assert!(told.contains("grantmesh keygen --data-dir"), "{told}");
        fs::write(&path, "no key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Keys::load(folder.path()), Err(KeyError::Form { .. })));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = Ed25519Key::generate().unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("Ed25519Key({})", key.id()));
    }

    #[test]
    fn the_development_issuer_has_one_es256_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DEV_ISSUER_KEY);
        let jwks = DevIssuerKey::create(&path).unwrap().jwks().unwrap();
        let text = serde_json::to_value(&jwks).unwrap();
        assert_eq!(text["keys"][0]["crv"], "P-256");
        assert_eq!(text["keys"][0]["kid"], DEV_KEY_ID);
        assert!(text["keys"][0].get("d").is_none());
        assert_eq!(DevIssuerKey::load(&path).unwrap().jwks().unwrap(), jwks);
    }
}
