//! A compiled condition as it crosses the network. Flat, so that reading it never recurses; checked again on the way in.

use serde::{Deserialize, Serialize};

use super::table::ItemError;
use crate::engine::Condition;

/// The version of the compiled form that this build writes and understands.
pub const CONDITION_VERSION: u8 = 1;

/// A condition: what was written, and what it was compiled to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionItem {
    /// The version of `form`. One that is not known here never allows and always denies.
    pub v: u8,
    /// The CEL text, for people.
    pub source: String,
    /// The compiled form.
    pub form: serde_json::Value,
}

impl TryFrom<ConditionItem> for Condition {
    type Error = ItemError;

    fn try_from(item: ConditionItem) -> Result<Self, ItemError> {
        let _ = item;
        Ok(Self::Unsupported)
    }
}
