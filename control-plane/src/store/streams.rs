//! How far each filter VM's stream of decision records is kept, and what became of its decisions.

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::signature::{Sha256Hash, from_hex};

use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::Stream;

/// What became of the decisions of all streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSums {
    /// How many streams there are.
    pub streams: u64,
    /// Decisions that filters said there were.
    pub made: u64,
    /// Decisions that are in the log.
    pub received: u64,
    /// Decisions that filters had no room for.
    pub dropped: u64,
    /// Decisions that went with their VMs.
    pub lost: u64,
}

const TABLE: (&str, &str) = ("streams", "vm");

impl TryFrom<Row> for Stream {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let last_hash = from_hex(&row.text("last_hash")?).ok_or_else(|| row.bad("last_hash", "it is not a hash"))?;
        Ok(Self {
            node: row.text("node")?,
            next_seq: row.unsigned("next_seq")?,
            last_hash: Sha256Hash(last_hash),
            epoch: row.unsigned("epoch")?,
            made: row.unsigned("made")?,
            received: row.unsigned("received")?,
            dropped: row.unsigned("dropped")?,
            lost: row.unsigned("lost")?,
        })
    }
}

impl Tx {
    /// A VM's stream; nothing if it has none.
    pub(crate) async fn stream(&mut self, vm: &VmId) -> Result<Option<Stream>, StoreError> {
        let sql =
            "SELECT vm, node, next_seq, last_hash, epoch, made, received, dropped, lost FROM streams WHERE vm = $1";
        self.row(TABLE, sql, args![vm.as_str()]).await?.map(Stream::try_from).transpose()
    }

    /// The streams of the VMs that are kept.
    pub(crate) async fn streams_of_vms(&mut self) -> Result<Vec<(VmId, Stream)>, StoreError> {
        let sql = "SELECT s.vm, s.node, s.next_seq, s.last_hash, s.epoch, s.made, s.received, s.dropped, s.lost \
                   FROM streams s JOIN vms v ON v.vm = s.vm ORDER BY s.vm";
        let rows = self.rows(TABLE, sql, args![]).await?;
        rows.into_iter().map(|row| Ok((row.parsed("vm")?, Stream::try_from(row)?))).collect()
    }

    /// VMs that were last heard of before a time and have decisions that neither came nor were told as lost.
    pub(crate) async fn silent_vms(&mut self, before: Timestamp, limit: u32) -> Result<Vec<VmId>, StoreError> {
        let sql = "SELECT v.vm FROM vms v LEFT JOIN streams s ON s.vm = v.vm WHERE v.last_seen < $1 \
                   AND (v.made > COALESCE(s.received + s.dropped + s.lost, 0) \
                        OR s.made > s.received + s.dropped + s.lost) ORDER BY v.vm LIMIT $2";
        self.rows(("vms", "vm"), sql, args![before, limit]).await?.iter().map(|row| row.parsed("vm")).collect()
    }

    /// What became of the decisions of all streams.
    pub(crate) async fn stream_sums(&mut self) -> Result<StreamSums, StoreError> {
        let sql = "SELECT COUNT(*) AS streams, CAST(COALESCE(SUM(made), 0) AS BIGINT) AS made, \
                   CAST(COALESCE(SUM(received), 0) AS BIGINT) AS received, \
                   CAST(COALESCE(SUM(dropped), 0) AS BIGINT) AS dropped, \
                   CAST(COALESCE(SUM(lost), 0) AS BIGINT) AS lost FROM streams";
        let Some(row) = self.row(("streams", "streams"), sql, args![]).await? else {
            return Ok(StreamSums::default());
        };
        Ok(StreamSums {
            streams: row.unsigned("streams")?,
            made: row.unsigned("made")?,
            received: row.unsigned("received")?,
            dropped: row.unsigned("dropped")?,
            lost: row.unsigned("lost")?,
        })
    }
}

impl WriteTx {
    /// Moves the end of a stream from where it was.
    pub(crate) async fn move_stream(&mut self, vm: &VmId, from: u64, to: &Stream) -> Result<(), StoreError> {
        let sql = "INSERT INTO streams (vm, node, next_seq, last_hash, made, received, dropped, lost, epoch) \
                   VALUES ($1, $2, $3, $4, $6, $7, $8, $9, $10) \
                   ON CONFLICT (vm) DO UPDATE SET next_seq = excluded.next_seq, last_hash = excluded.last_hash, \
                   made = excluded.made, received = excluded.received, dropped = excluded.dropped, lost = excluded.lost, \
                    epoch = excluded.epoch \
                   WHERE streams.node = excluded.node AND streams.next_seq = $5";
        let values = args![
            vm.as_str(),
            to.node.as_str(),
            to.next_seq,
            to.last_hash.to_string(),
            from,
            to.made,
            to.received,
            to.dropped,
            to.lost,
            to.epoch,
        ];
        self.execute_one("streams", vm.as_str(), sql, values).await
    }
}
