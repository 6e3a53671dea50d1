//! Cases: calls written beside a policy, each with the decision that it must get. Read by [`read_cases()`], decided by
//! [`Stage`] with the engine that filters run, summed up by [`Coverage`]. Called by the CLI, the API and tests.
//!
//! A file of cases is bounded in every dimension and read strictly: a line that is not understood is a fault with its place.

mod coverage;
mod explain;
mod grant;
mod lines;
mod outcome;
mod play;
mod read;
mod stage;
mod values;

pub use coverage::{Coverage, Covered};
pub use explain::{Considered, ConsideredAutomatic, Explanation, read_caller, read_fact};
pub use outcome::{Outcome, Told, Word};
pub use play::{Played, play};
pub use read::read_cases;
pub use stage::Stage;
pub use values::read_value;

use std::fmt;
use std::net::IpAddr;

use crate::engine::Decimal;
use crate::id::{GrantId, LockId};
use crate::time::Timestamp;

/// The largest file of cases.
pub const MAX_CASES_BYTES: usize = 1024 * 1024;

/// The most steps of a file.
pub const MAX_STEPS: usize = 10_000;

/// The most facts of one call.
pub const MAX_FACTS: usize = 64;

/// A file of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cases {
    /// The file, as it was named.
    pub file: String,
    /// What it says, in order.
    pub steps: Vec<Step>,
}

/// One step of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its line, from 1.
    pub line: u64,
    /// What it says.
    pub kind: StepKind,
}

/// What a step says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// A call, and what must become of it.
    Call(Box<Case>, Expected),
    /// From here on there is this grant.
    Grant(Box<GivenGrant>),
    /// From here on there is this lock.
    Lock(LockId, LockOn),
    /// From here on this signal is set.
    Signal {
        /// Its name.
        name: String,
        /// When it ends by itself.
        until: Option<Timestamp>,
    },
    /// From here on this signal is not set.
    Clear(String),
}

/// A call with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The service that is called; the only one of the policy if nothing is said.
    pub service: Option<String>,
    /// The method as it stands on the wire.
    pub method: String,
    /// Path and query as they stand on the wire.
    pub target: String,
    /// Who calls.
    pub caller: Caller,
    /// When; known to a second, as in a filter.
    pub at: Timestamp,
    /// What else is known.
    pub facts: CaseFacts,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The user.
    pub user: Option<CallingUser>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The peer's SPIFFE id.
    pub workload: Option<String>,
}

/// A user of the policy's issuer, or of a foreign one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallingUser {
    /// The token's `sub`.
    pub name: String,
    /// Whether the token is of an issuer that the policy does not name.
    pub foreign: bool,
}

/// Facts of a call beyond its path and principal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaseFacts {
    /// Request headers by their lower-case names.
    pub headers: Vec<(String, String)>,
    /// Claims of the token.
    pub claims: Vec<(String, CaseValue)>,
    /// The body.
    pub body: CaseBody,
    /// The token's `act.sub`.
    pub actor: Option<String>,
    /// The token's `auth_time`.
    pub auth_time: Option<Timestamp>,
    /// The caller's address.
    pub address: Option<IpAddr>,
    /// The caller's country.
    pub country: Option<String>,
    /// The authority.
    pub host: Option<String>,
    /// The mesh of the proxy.
    pub mesh: Option<String>,
    /// The namespace of the proxy.
    pub namespace: Option<String>,
    /// The gateway that the proxy is.
    pub gateway: Option<String>,
}

/// The body of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CaseBody {
    /// Nobody has read it.
    #[default]
    NotRead,
    /// There is none.
    Absent,
    /// Its declared fields by name, and by JSON pointer those that tell actions apart.
    Fields(Vec<(String, CaseValue)>),
}

/// The value of a claim or field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseValue {
    /// A text.
    Text(String),
    /// A number, exactly.
    Number(Decimal),
    /// `true` or `false`.
    Bool(bool),
    /// A list of texts.
    Texts(Vec<String>),
    /// Any other JSON.
    Other,
}

/// What must become of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// As it was written.
    pub text: String,
    /// The decision.
    pub decision: Word,
    /// What made it, word by word; if nothing is said, anything.
    pub because: Vec<String>,
    /// The masked response fields.
    pub masked: Vec<String>,
}

/// A grant that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenGrant {
    /// Its id.
    pub id: GrantId,
    /// Who holds it.
    pub holder: Caller,
    /// What it is for.
    pub what: Granted,
    /// The service; the only one of the policy if nothing is said.
    pub service: Option<String>,
    /// The rule whose terms it has; none if nothing is said.
    pub rule: Option<String>,
    /// First moment at which it allows.
    pub from: Timestamp,
    /// First moment at which it no longer allows.
    pub until: Timestamp,
    /// Facts of the call that was approved.
    pub facts: CaseFacts,
}

/// What a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// An action on a resource.
    Action {
        /// The action.
        action: String,
        /// The resource.
        resource: String,
    },
    /// The action and resource of a call, to which it is bound as far as its rule says so.
    Call {
        /// The method.
        method: String,
        /// Path and query.
        target: String,
    },
}

/// What a lock blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockOn {
    /// A principal, as policies name it.
    Subject(String),
    /// The service.
    Service(Option<String>),
    /// An action of the service.
    Action(Option<String>, String),
    /// Everything.
    Everything,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, groups, workload } = self;
        if let Some(CallingUser { name, foreign }) = user {
            write!(f, "{}{name}", if *foreign { "foreign:" } else { "" })?;
            if !groups.is_empty() {
                write!(f, "[{}]", groups.join(","))?;
            }
        }
        match workload {
            Some(id) => write!(f, "{}workload:{id}", if user.is_some() { "+" } else { "" }),
            None if user.is_none() => f.write_str("nobody"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Case {
    /// The call in one line, without its facts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} as {}", self.method, self.target, self.caller)
    }
}
