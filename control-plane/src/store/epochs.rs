//! Epochs after the first.

use super::tx::{Tx, args};
use super::{StoreError, WriteTx};

impl Tx {
    /// Whether an epoch was begun anew, from a restored database.
    pub(crate) async fn was_begun_anew(&mut self, epoch: u64) -> Result<bool, StoreError> {
        let sql = "SELECT epoch FROM epochs WHERE epoch = $1";
        Ok(self.row(("epochs", "epoch"), sql, args![epoch]).await?.is_some())
    }
}

impl WriteTx {
    /// Begins an epoch with this transaction's revision.
    pub(crate) async fn begin_epoch(&mut self, epoch: u64, reason: &str) -> Result<(), StoreError> {
        let now = self.now();
        let sql = "INSERT INTO epochs (epoch, reason, begun_at) VALUES ($1, $2, $3)";
        self.execute_one("epochs", &epoch.to_string(), sql, args![epoch, reason, now]).await?;
        self.set_epoch(epoch);
        Ok(())
    }
}
