//! The rules of the audit log: what an entry's bytes are, how they are hashed into the tree, how its head is signed.
//! Pure: `store` keeps entries and hashes, `app` decides what is logged. An RFC 6962 tree in C2SP formats.

mod checkpoint;
mod entry;
mod tree;

pub use checkpoint::{Checkpoint, LogKey, LogVerifier};
pub use entry::{ActorField, Entry, EntryIds, EntryKind, GroupsField, MAX_ENTRY_BYTES, terms_hash};
pub use tree::{Frontier, LogHash, leaf_index};

/// Why the log refuses something.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// An entry over the limit.
    #[error("an audit entry of {bytes} bytes is over the limit of {MAX_ENTRY_BYTES}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// An entry without a JSON form.
    #[error("an audit entry could not be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The tree's stored hashes do not fit together.
    #[error("the stored hashes of the audit log do not fit together: {0}\nrun `grantmesh audit verify`")]
    Tree(String),
    /// A log key that is none.
    #[error("the log key cannot be used: {0}")]
    Key(String),
    /// A checkpoint that does not verify.
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(String),
}
