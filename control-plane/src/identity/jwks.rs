//! The issuer's public keys, from a file or a URL, kept current: a file when it changes, a URL every five minutes,
//! both when a token names a key that is not known, but then at most once in ten seconds.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use grantmesh_shared::time::{Span, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use tokio::sync::Mutex;

/// The largest key set, in bytes.
const MAX_JWKS_BYTES: usize = 1024 * 1024;

/// How long a URL may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How old keys from a URL may get while nothing asks for others.
const MAX_AGE: Span = Span::from_secs(300);

/// How soon after an attempt an unknown key leads to the next one.
const UNKNOWN_KEY_PAUSE: Span = Span::from_secs(10);

/// How often a file is looked at.
const FILE_PAUSE: Span = Span::from_secs(1);

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file.
    File(PathBuf),
    /// A URL.
    Url(String),
}

impl JwksSource {
    /// Takes `http://…` and `https://…` for a URL and anything else for a file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.starts_with("https://") || text.starts_with("http://") {
            Self::Url(text.to_owned())
        } else {
            Self::File(text.into())
        }
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("the key set `{0}` cannot be read")]
    File(JwksSource, #[source] std::io::Error),
    /// The URL does not answer well.
    #[error("the key set `{0}` cannot be fetched: {1}")]
    Fetch(JwksSource, String),
    /// Too large.
    #[error("the key set `{0}` is larger than {MAX_JWKS_BYTES} bytes")]
    TooLarge(JwksSource),
    /// Not a key set.
    #[error("`{0}` is not a JSON Web Key Set")]
    Form(JwksSource, #[source] serde_json::Error),
    /// No key that can be used.
    #[error("the key set `{0}` has no public key for signatures\nsupported are EC P-256 and P-384, Ed25519 and RSA")]
    Empty(JwksSource),
}

/// Public keys with the algorithms that each may be used with.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<KnownKey>,
}

#[derive(Debug, Clone)]
struct KnownKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// A set of one key without an id.
    #[must_use]
    pub fn one(key: DecodingKey, algorithms: &[Algorithm]) -> Self {
        Self { keys: vec![KnownKey { id: None, algorithms: algorithms.to_vec(), key }] }
    }

    /// The usable keys of a JSON Web Key Set; shared secrets and keys for encryption are left out.
    #[must_use]
    pub fn of(jwks: &JwkSet) -> Self {
        Self { keys: jwks.keys.iter().filter_map(known).collect() }
    }

    /// The key that a token's header calls for: by id where the header names one, else the only one that fits.
    pub(super) fn find(&self, header: &Header) -> Option<&DecodingKey> {
        let mut fitting = self.keys.iter().filter(|known| {
            known.algorithms.contains(&header.alg)
                && (header.kid.is_none() || known.id.is_none() || known.id == header.kid)
        });
        let first = fitting.next()?;
        fitting.next().is_none().then_some(&first.key)
    }
}

/// A key with the algorithms that its type and its own `alg` allow; the token's header has no say in it.
fn known(jwk: &Jwk) -> Option<KnownKey> {
    if jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA.to_vec(),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            vec![Algorithm::ES256]
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
            vec![Algorithm::ES384]
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        _ => return None,
    };
    if let Some(stated) = jwk.common.key_algorithm {
        let stated: Algorithm = stated.to_string().parse().ok()?;
        algorithms.retain(|algorithm| *algorithm == stated);
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (!algorithms.is_empty()).then(|| KnownKey { id: jwk.common.key_id.clone(), algorithms, key })
}

/// Keys that follow their source.
#[derive(Debug)]
pub struct KeySource {
    current: RwLock<Arc<KeySet>>,
    following: Option<Following>,
}

#[derive(Debug)]
struct Following {
    source: JwksSource,
    client: reqwest::Client,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    attempt: Timestamp,
    unknown: Option<Timestamp>,
    modified: Option<SystemTime>,
}

impl KeySource {
    /// Keys that never change.
    #[must_use]
    pub fn fixed(keys: KeySet) -> Self {
        Self { current: RwLock::new(Arc::new(keys)), following: None }
    }

    /// Reads the source a first time.
    ///
    /// # Errors
    /// If that fails: a server without keys could not verify anybody.
    pub async fn follow(source: JwksSource, now: Timestamp) -> Result<Self, JwksError> {
        let client =
            reqwest::Client::builder().timeout(FETCH_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| JwksError::Fetch(source.clone(), reason(&error)))?;
        let (modified, keys) = (modified(&source), read(&source, &client).await?);
        let last = Mutex::new(Last { attempt: now, unknown: None, modified });
        Ok(Self { current: RwLock::new(Arc::new(keys)), following: Some(Following { source, client, last }) })
    }

    /// The current keys, after a look at the source if it is time or if none fits the header.
    pub(super) async fn with(&self, header: &Header, now: Timestamp) -> Arc<KeySet> {
        let keys = self.current();
        let Some(following) = &self.following else {
            return keys;
        };
        let found = keys.find(header).is_some();
        // Whoever finds the lock taken and has a key does not wait for somebody else's fetch.
        let mut last = match following.last.try_lock() {
            Ok(last) => last,
            Err(_) if found => return keys,
            Err(_) => following.last.lock().await,
        };
        if !following.due(&mut last, found, now) {
            return self.current();
        }
        last.attempt = now;
        match read(&following.source, &following.client).await {
            Ok(keys) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys),
            Err(error) => {
                tracing::warn!(%error, "the issuer's keys could not be read again; the earlier ones stay")
            }
        }
        self.current()
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Following {
    /// Whether to read the source now.
    fn due(&self, last: &mut Last, found: bool, now: Timestamp) -> bool {
        let age = now.since(last.attempt);
        if !found && last.unknown.is_none_or(|at| now.since(at) >= UNKNOWN_KEY_PAUSE) {
            last.unknown = Some(now);
            return true;
        }
        match &self.source {
            JwksSource::Url(_) => age >= MAX_AGE,
            JwksSource::File(_) if age < FILE_PAUSE => false,
            JwksSource::File(_) => {
                last.attempt = now;
                let seen = modified(&self.source);
                std::mem::replace(&mut last.modified, seen) != seen
            }
        }
    }
}

fn modified(source: &JwksSource) -> Option<SystemTime> {
    match source {
        JwksSource::File(path) => std::fs::metadata(path).and_then(|file| file.modified()).ok(),
        JwksSource::Url(_) => None,
    }
}

async fn read(source: &JwksSource, client: &reqwest::Client) -> Result<KeySet, JwksError> {
    let bytes = match source {
        JwksSource::File(path) => {
            tokio::fs::read(path).await.map_err(|error| JwksError::File(source.clone(), error))?
        }
        JwksSource::Url(url) => fetch(source, url, client).await?,
    };
    if bytes.len() > MAX_JWKS_BYTES {
        return Err(JwksError::TooLarge(source.clone()));
    }
    let jwks: JwkSet = serde_json::from_slice(&bytes).map_err(|error| JwksError::Form(source.clone(), error))?;
    let keys = KeySet::of(&jwks);
    if keys.keys.is_empty() { Err(JwksError::Empty(source.clone())) } else { Ok(keys) }
}

async fn fetch(source: &JwksSource, url: &str, client: &reqwest::Client) -> Result<Vec<u8>, JwksError> {
    let failed = |error: reqwest::Error| JwksError::Fetch(source.clone(), reason(&error));
    let mut answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLarge(source.clone()));
        }
    }
    Ok(bytes)
}

/// The innermost cause, which is what tells people something.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
