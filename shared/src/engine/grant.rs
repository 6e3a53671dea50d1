//! A grant as the data plane holds it: who may do what on which resource, from when to when.

use super::bind::{Bind, Digest};
use super::condition::Condition;
use super::principal::{User, Workload};
use crate::id::{GrantId, RequestId};
use crate::time::Timestamp;

/// A grant as it is put into a table, where it is kept as a [`super::HeldGrant`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The request it came from.
    pub request: RequestId,
    /// Who holds it.
    pub holder: GrantHolder,
    /// The service.
    pub service: Box<str>,
    /// The action of the service.
    pub action: Box<str>,
    /// The one resource it is for.
    pub resource: Box<str>,
    /// The rule it was asked under.
    pub rule: Box<str>,
    /// First moment at which it allows.
    pub starts_at: Timestamp,
    /// First moment at which it no longer allows.
    pub expires_at: Timestamp,
    /// What the context must be at each call: all of them must hold.
    pub conditions: Vec<Condition>,
    /// What of a call it is bound to, with the digest that the call must have; nothing if any call of the action on the
    /// resource will do.
    pub bound: Option<Box<(Bind, Digest)>>,
    /// Masked response fields that it reveals.
    pub reveals: Vec<Box<str>>,
    /// For how many calls it is, if it is for a number of them: each is claimed from the control plane before it goes on.
    pub uses: Option<Uses>,
    /// Whether it was given at once, without an approval: what is done under it is marked wherever it is told.
    pub break_glass: bool,
}

/// For how many calls a grant is, and whether they have all been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// So many.
    pub allowed: u32,
    /// Whether none is left. What runs under it goes on until the grant's time.
    pub exhausted: bool,
}

/// What is known of a call's claim for a use, from outside of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Claims<'c> {
    /// None was made.
    #[default]
    None,
    /// A use of this grant was claimed for this very call, perhaps the last one.
    Held(&'c GrantId),
    /// The control plane has refused claims on these.
    Refused(&'c [GrantId]),
    /// None can be made: no use is looked for that would only reveal what a role's call is not shown.
    Out,
}

/// Who holds a grant: a user, a workload, or both at once. Both parts must then fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantHolder {
    /// The user, through whatever workload.
    User(User),
    /// The workload, on whoever's behalf.
    Workload(Workload),
    /// The user, only through that workload.
    Both(User, Workload),
}
