//! What crosses the network: policy documents, what filters and the control plane say to each other, records, problems.
//!
//! JSON throughout. Every type refuses unknown fields: what a part does not understand it must not act on
//! (DESIGN.md section 3). Conversions into the engine's types are the only way in; they check everything again.

pub mod claims;
pub mod condition;
pub mod holds;
pub mod offline;
#[cfg(feature = "policy")]
pub mod policy;
pub mod problem;
pub mod read;
pub mod records;
pub mod shown;
pub mod signature;
pub mod sync;
pub mod table;

mod table_hash;

pub use table_hash::TableHash;

/// The version of everything under `/filter/v1`. A peer that speaks another one is refused.
pub const PROTOCOL_VERSION: u8 = 1;

/// The most items' bytes in one answer, before its frame: keeps an answer below 1 MiB, the proxy's default buffer.
pub const MAX_ANSWER_BYTES: usize = 900 * 1024;

/// The most items' bytes in one page of a snapshot or step, unless a single item has more: so many are verified, understood
/// and applied by a filter in about a quarter of a millisecond of a proxy's worker, in which no call is served.
pub const MAX_PAGE_BYTES: usize = 4 * 1024;
