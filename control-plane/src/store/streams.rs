//! How far each filter VM's stream of decision records is kept.

use grantmesh_shared::id::VmId;
use grantmesh_shared::wire::signature::{Sha256Hash, from_hex};

use super::tx::{Tx, args};
use super::{StoreError, WriteTx};

/// The end of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Whose it is.
    pub(crate) node: String,
    /// The first seq that is not kept.
    pub(crate) next_seq: u64,
    /// The hash of the last record; zeros before the first.
    pub(crate) last_hash: Sha256Hash,
    /// The epoch in which it was last continued.
    pub(crate) epoch: u64,
}

impl Tx {
    /// The end of a VM's stream; nothing if it has none.
    pub(crate) async fn stream(&mut self, vm: &VmId) -> Result<Option<Stream>, StoreError> {
        let sql = "SELECT vm, node, next_seq, last_hash, epoch FROM streams WHERE vm = $1";
        let Some(row) = self.row(("streams", "vm"), sql, args![vm.as_str()]).await? else {
            return Ok(None);
        };
        let last_hash = from_hex(&row.text("last_hash")?).ok_or_else(|| row.bad("last_hash", "it is not a hash"))?;
        Ok(Some(Stream {
            node: row.text("node")?,
            next_seq: row.unsigned("next_seq")?,
            last_hash: Sha256Hash(last_hash),
            epoch: row.unsigned("epoch")?,
        }))
    }
}

impl WriteTx {
    /// Moves the end of a stream from where it was.
    pub(crate) async fn move_stream(&mut self, vm: &VmId, from: u64, to: &Stream) -> Result<(), StoreError> {
        let sql = "INSERT INTO streams (vm, node, next_seq, last_hash, epoch) VALUES ($1, $2, $3, $4, $6) \
                   ON CONFLICT (vm) DO UPDATE SET next_seq = excluded.next_seq, last_hash = excluded.last_hash, \
                   epoch = excluded.epoch \
                   WHERE streams.node = excluded.node AND streams.next_seq = $5";
        let values = args![vm.as_str(), to.node.as_str(), to.next_seq, to.last_hash.to_string(), from, to.epoch];
        self.execute_one("streams", vm.as_str(), sql, values).await
    }
}
