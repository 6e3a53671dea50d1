//! Policy as people write it: YAML or JSON documents of the kinds `Defaults`, `Service`, `Role`, `Binding`, `Rule`,
//! `DenyRule`, `BreakGlass`, `Person` and `Group`.
//!
//! [`parse()`] reads files strictly, [`compile()`] checks them together and gives what filters receive; [`examine()`] also warns
//! of what is allowed and probably not meant.
//! Called by the control plane and the CLI, never by a filter. Every fault is told with file, line and the fix, all at once.

pub mod cases;
mod compile;
mod condition;
mod diff;
mod documents;
mod parse;
mod print;
mod replay;
mod schema;
mod tolerant;

pub use compile::{DeclaredSignal, Examined, LONGEST_HOLD, MAX_USES, Policy, compile, examine, read};
pub use condition::{
    ConditionFault, FactType, Judged, Judging, MAX_CONDITIONS, MAX_SOURCE_BYTES, Scope, Unjudged, compile_condition,
    compile_form,
};
pub use diff::{Difference, diff};
pub use documents::*;
pub use parse::{Documents, MAX_DOCUMENTS, MAX_FAULTS, MAX_POLICY_BYTES, MAX_TOTAL_BYTES, PolicyFile, parse};
pub use print::PrintError;
pub use replay::{Replay, Replayed, reviewers};
pub use schema::schema;

use std::fmt;

/// One fault of a policy, or a warning about it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct PolicyFault {
    /// The file, as it was named.
    pub file: String,
    /// From 1; 0 if the fault has no line.
    pub line: u64,
    /// From 1; 0 if the fault has no column.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}
