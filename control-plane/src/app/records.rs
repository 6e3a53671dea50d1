//! Taking decision records of filters into the audit log.

use grantmesh_shared::wire::records::RecordsRequest;

use super::{App, AppError};

/// A filter as its verified credential names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterIdentity {
    /// The proxy's node id.
    pub node: String,
    /// The services that the credential covers.
    pub services: Vec<String>,
}

impl App {
    /// Keeps a batch of records, each as an audit entry, and gives the seq that comes next. Records that are kept already
    /// are acknowledged again.
    ///
    /// # Errors
    /// If the batch is not the continuation of the stream, or the stream is another node's; then nothing of it is kept.
    pub async fn append_records(&self, _filter: &FilterIdentity, _batch: &RecordsRequest) -> Result<u64, AppError> {
        unimplemented!()
    }
}
