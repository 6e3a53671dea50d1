//! Idempotency keys: what a client's key stands for.

use grantmesh_shared::engine::User;
use grantmesh_shared::time::Timestamp;

use super::tx::{Tx, args};
use super::{StoreError, WriteTx};

/// A key that was used.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    /// The hash of what was sent with it.
    pub(crate) sent: String,
    /// The id of what came of it.
    pub(crate) made: String,
}

impl Tx {
    /// What a user's key stands for.
    pub(crate) async fn idempotency_key(&mut self, user: &User, key: &str) -> Result<Option<StoredKey>, StoreError> {
        // Replicas of the release before fill `request`.
        let sql = "SELECT client_key, sent, COALESCE(made, request) AS made FROM idempotency_keys \
                   WHERE issuer = $1 AND subject = $2 AND client_key = $3";
        let row = self.row(("idempotency_keys", "client_key"), sql, args![&*user.issuer, &*user.subject, key]).await?;
        row.map(|row| Ok(StoredKey { sent: row.text("sent")?, made: row.text("made")? })).transpose()
    }
}

impl WriteTx {
    /// Keeps what a user's key stands for.
    pub(crate) async fn insert_idempotency_key(
        &mut self,
        user: &User,
        key: &str,
        stored: &StoredKey,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO idempotency_keys (issuer, subject, client_key, sent, made, created_at) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let values = args![&*user.issuer, &*user.subject, key, stored.sent.as_str(), stored.made.as_str(), self.now()];
        self.execute(sql, values).await.map(drop)
    }

    /// Forgets keys from before a time.
    pub(crate) async fn forget_idempotency_keys(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        self.execute("DELETE FROM idempotency_keys WHERE created_at < $1", args![before]).await
    }
}
