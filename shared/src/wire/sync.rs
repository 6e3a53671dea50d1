//! Sync and heartbeat: how filters follow the state. Asked by the filter's `sync`, answered by the control plane's `push`.
//! Every answer echoes the nonce of its question and is signed (see [`super::signature`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::records::StreamState;
use super::table::Item;
use super::table_hash::TableHash;
use crate::id::VmId;
use crate::time::{Span, Timestamp};

/// Where filters ask for state: `POST`, held up to `wait_ms`.
pub const SYNC_PATH: &str = "/filter/v1/sync";

/// Where filters show that they live and ask whether they are current: `POST`, answered at once.
pub const HEARTBEAT_PATH: &str = "/filter/v1/heartbeat";

/// A point of the state's history; (epoch, revision) only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Grows when the history was begun anew (a restored database).
    pub epoch: u64,
    /// Grows with every change.
    pub revision: u64,
}

/// A header with a [`Position`] as `EPOCH.REVISION`: the control plane's answers tell in it when filters will know of a
/// change; a call that carries it lets a filter that is behind wait for that point instead of refusing at once.
pub const REVISION_HEADER: &str = "x-grantmesh-revision";

/// As [`REVISION_HEADER`] carries it: `EPOCH.REVISION`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}

/// The text is not `EPOCH.REVISION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is written `EPOCH.REVISION`, two whole numbers")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain).ok_or(PositionError)
        };
        let (epoch, revision) = text.split_once('.').ok_or(PositionError)?;
        Ok(Self { epoch: number(epoch)?, revision: number(revision)? })
    }
}

/// Who asks: one VM and what it loads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmIdentity {
    /// The VM, new at every start.
    pub vm: VmId,
    /// The proxy's node id, for people.
    pub node: String,
    /// The services it enforces; the credential must cover them.
    pub services: Vec<String>,
}

/// What a filter has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Up to here.
    pub position: Position,
    /// The hash of its table.
    pub table_hash: TableHash,
}

/// The question of a long poll. `applied` acknowledges what was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// Who asks.
    pub filter: VmIdentity,
    /// 32 hexadecimal digits, new for every question.
    #[cfg_attr(feature = "policy", schemars(regex(pattern = "^[0-9a-fA-F]{32}$")))]
    pub nonce: String,
    /// What the filter has; nothing on a cold start.
    pub applied: Option<Applied>,
    /// The next page of a snapshot that was begun, or of a step: a step is one from what is `applied`.
    pub page: Option<PageRequest>,
    /// Whether a step may come in pages; otherwise all of it comes in one answer, or everything does.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_pages: bool,
    /// How long the control plane may hold the question, in milliseconds.
    pub wait_ms: u64,
}

/// Which page of which snapshot or step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// The point that it leads to.
    pub position: Position,
    /// From 1; page 0 needs no request of this kind.
    pub index: u32,
    /// How the pages of the step were cut, as they say themselves; 0 for a snapshot.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u32,
    /// How long the control plane is to hold the page back, in milliseconds (100 at most): a large table is not taken in at
    /// the cost of the calls that are decided meanwhile.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause_ms: u64,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How old a filter's knowledge may be before it must refuse, by criticality. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// For critical actions.
    pub critical_ms: u64,
    /// For standard actions and calls that match no action.
    pub standard_ms: u64,
    /// For low actions.
    pub low_ms: u64,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { critical_ms: 5_000, standard_ms: 30_000, low_ms: 300_000 }
    }
}

impl Freshness {
    /// The bound for one criticality.
    #[must_use]
    pub const fn bound(&self, criticality: crate::engine::Criticality) -> Span {
        Span::from_millis(match criticality {
            crate::engine::Criticality::Critical => self.critical_ms,
            crate::engine::Criticality::Standard => self.standard_ms,
            crate::engine::Criticality::Low => self.low_ms,
        })
    }

    /// The largest bound: after it without an answer a filter admits nothing.
    #[must_use]
    pub fn lease(&self) -> Span {
        Span::from_millis(self.critical_ms.max(self.standard_ms).max(self.low_ms))
    }

    /// The smallest bound; a filter sends a heartbeat every half of it.
    #[must_use]
    pub fn tightest(&self) -> Span {
        Span::from_millis(self.critical_ms.min(self.standard_ms).min(self.low_ms))
    }
}

/// The answer of a long poll.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncAnswer {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// `sync`, so that no other signed answer can stand in for it.
    pub kind: SyncKind,
    /// The question's.
    pub nonce: String,
    /// The filter is at this point once it has applied the change.
    pub position: Position,
    /// The hash its table must have then.
    pub table_hash: TableHash,
    /// The control plane's time when it answered.
    pub server_time: Timestamp,
    /// The freshness bounds from now on.
    pub freshness: Freshness,
    /// What to apply.
    pub change: Change,
}

/// The constant word `sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SyncKind {
    /// The only value.
    #[default]
    Sync,
}

/// What to apply to get to the answer's position.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Nothing that the filter loads has changed.
    Unchanged,
    /// A step from what the filter has.
    Delta {
        /// New and replaced items.
        puts: Vec<Item>,
        /// Keys of removed items.
        removes: Vec<String>,
        /// From 0: which page of the step this is.
        #[serde(default, skip_serializing_if = "is_zero")]
        index: u32,
        /// Whether there are more. The filter is at the answer's position with the last.
        #[serde(default, skip_serializing_if = "is_zero")]
        more: bool,
        /// Whether this one is applied with the next one, at one go, and not when it comes; then there is a next one.
        #[serde(default, skip_serializing_if = "is_zero")]
        with_next: bool,
        /// How the step was cut into its pages: those of another cut, as another release may make it, do not go with them.
        #[serde(default, skip_serializing_if = "is_zero")]
        cut: u32,
    },
    /// One page of everything; the table is replaced when the last page is there.
    Snapshot {
        /// From 0.
        index: u32,
        /// Whether this is the last page.
        last: bool,
        /// This page's items.
        puts: Vec<Item>,
    },
}

/// The question of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeartbeatRequest {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// Who asks.
    pub filter: VmIdentity,
    /// 32 hexadecimal digits, new for every question.
    #[cfg_attr(feature = "policy", schemars(regex(pattern = "^[0-9a-fA-F]{32}$")))]
    pub nonce: String,
    /// What the filter has applied.
    pub applied: Option<Applied>,
    /// How its stream of records stands.
    #[serde(default)]
    pub stream: StreamState,
}

/// The answer of a heartbeat: the filter's table is current as of the moment it sent the question
/// if what it has applied is not before `position`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeartbeatAnswer {
    /// [`super::PROTOCOL_VERSION`].
    pub v: u8,
    /// `heartbeat`.
    pub kind: HeartbeatKind,
    /// The question's.
    pub nonce: String,
    /// The point of the last change of anything that the filter loads.
    pub position: Position,
    /// The hash of everything that the filter loads, which its table must have since then.
    pub table_hash: TableHash,
    /// The control plane's time when it answered.
    pub server_time: Timestamp,
    /// The freshness bounds from now on.
    pub freshness: Freshness,
}

/// The constant word `heartbeat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeartbeatKind {
    /// The only value.
    #[default]
    Heartbeat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_nothing_else_does() {
        let position = Position { epoch: 1_764_000_000_000, revision: u64::MAX };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", ".", "1", "1.", ".1", "1.2.3", "+1.2", "1.-2", "1. 2", "18446744073709551616.1", "a.b"] {
            assert_eq!(text.parse::<Position>(), Err(PositionError), "{text}");
        }
    }
}
