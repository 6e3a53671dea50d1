//! A repeated send makes nothing new: what a client's key stands for is kept in the transaction that makes it.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use grantmesh_shared::engine::User;
use grantmesh_shared::wire::signature::Sha256Hash;

use super::{App, AppError, Conflict, Invalid};
use crate::store::{StoreError, StoredKey, Tx, WriteTx};

/// A client's word for "this very send", so that a repeat of it makes nothing new. It is the user's own, and kept for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

/// A send that may be a repeated one.
#[derive(Debug)]
pub(super) struct Once {
    key: IdempotencyKey,
    sent: Sha256Hash,
}

impl IdempotencyKey {
    /// Checks a key.
    ///
    /// # Errors
    /// If it is empty, longer than 128 bytes or not visible ASCII.
    pub fn new(key: &str) -> Result<Self, AppError> {
        let fine = (1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if fine { Ok(Self(key.into())) } else { Err(Invalid::IdempotencyKey.into()) }
    }
}

impl App {
    /// The use cases for one send, for a call of one of those that make something: it makes it once and from then on gives
    /// what is there of it by then, and is refused where the key was used for something else. What is refused keeps no key.
    ///
    /// `sent` is the hash of all that was sent, with the name of the use case or its route in it.
    #[must_use]
    pub fn once(&self, key: IdempotencyKey, sent: Sha256Hash) -> Self {
        Self { inner: Arc::clone(&self.inner), once: Some(Arc::new(Once { key, sent })) }
    }

    /// The id of what this send of the user's has made before.
    ///
    /// # Errors
    /// If the key was used for something else.
    pub(super) async fn repeated<Id: FromStr<Err: Display>>(
        &self,
        tx: &mut Tx,
        user: &User,
    ) -> Result<Option<Id>, AppError> {
        let Some(Once { key: IdempotencyKey(key), sent }) = self.once.as_deref() else { return Ok(None) };
        let Some(stored) = tx.idempotency_key(user, key).await? else { return Ok(None) };
        if stored.sent != sent.to_string() {
            return Err(Conflict::IdempotencyKeyReused { key: key.to_string() }.into());
        }
        stored.made.parse().map(Some).map_err(|error| impossible(key, format!("`{}`: {error}", stored.made)))
    }

    /// Keeps what this send has made, in the transaction that makes it.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn keep_key(&self, tx: &mut WriteTx, user: &User, made: &str) -> Result<(), AppError> {
        let Some(Once { key: IdempotencyKey(key), sent }) = self.once.as_deref() else { return Ok(()) };
        let stored = StoredKey { sent: sent.to_string(), made: made.to_owned() };
        Ok(tx.insert_idempotency_key(user, key, &stored).await?)
    }
}

/// What a key stands for; it ends, but it never goes.
pub(super) fn still_there<T>(found: Option<T>, id: &str) -> Result<T, AppError> {
    found.ok_or_else(|| impossible(id, "a key stands for it, and it is not there".to_owned()))
}

fn impossible(row: &str, why: String) -> AppError {
    StoreError::Impossible { table: "idempotency_keys", column: "made", row: row.to_owned(), why }.into()
}
