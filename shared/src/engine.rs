//! What is decided: [`decide()`] is one pure, total function over a [`Table`] and a [`Call`].
//!
//! Order (first hit wins): lock → deny rule → standing role → live grant → may ask → deny. An offline token that the caller
//! of [`Prepared::with_offline`] believes stands before the role. Calls that match no action follow the service's
//! `unmatched`. Called by the filter for every call and by the control plane for requests.
//! Nothing here does IO, reads a clock, panics, or is serialisable: the network's types are in `wire`.

mod action;
#[cfg(feature = "policy")]
mod automatic;
mod bind;
mod call;
mod canonical;
pub mod condition;
mod context;
#[cfg(feature = "policy")]
mod course;
mod decide;
#[cfg(feature = "policy")]
mod deciding;
mod grant;
mod hash;
mod lock;
mod principal;
mod query;
mod reason;
mod route;
mod rule;
mod service;
mod signal;
mod table;
mod template;
#[cfg(feature = "policy")]
mod workflow;

pub use action::{
    Action, Audit, BodyMode, Criticality, Field, FieldPlace, Mode, Percent, Rollout, Selector, fold_hash,
};
#[cfg(feature = "policy")]
pub use automatic::{Automatic, MAX_AUTOMATIC, Then, decides, verdicts};
pub use bind::{Bind, BoundCall, Digest, Unbound};
pub use call::Call;
pub use canonical::{
    Ambiguity, CanonicalPath, MAX_PATH_BYTES, MAX_SEGMENTS, WEBSOCKET, canonical_grpc_path, canonical_method,
    canonical_path,
};
pub use condition::{Condition, Decimal, DecimalError, EvalError, Form, FormError, Fuel, Needs, Verdict};
pub use context::{BodyFacts, Context, FactValue, Facts, Origin};
#[cfg(feature = "policy")]
pub use course::{AskLimits, BreakGlass, Course, Extension, Routing, Timeouts};
pub use decide::{
    Basis, ConditionError, Decision, Matched, Now, Permit, Prepared, Refusal, decide, prepare, rules_to_ask,
};
#[cfg(feature = "policy")]
pub use deciding::{
    Deciding, Factor, MAX_FACTORS, MAX_STAGES, NamedBy, Pattern, Seating, Stage, TicketRule, WordsRule,
};
pub use grant::{Claims, Grant, GrantHolder, Uses};
pub use lock::{Lock, LockTarget};
pub use principal::{Principal, Subject, SubjectError, Through, User, Workload};
pub use query::{QueryError, query_decoded, query_mentions, query_parameters};
pub use reason::Reason;
pub use route::Routed;
pub use rule::{ActionSet, Binding, DenyRule, Rule};
pub use service::{Service, ServiceError, ServiceParts, Unmatched};
pub use signal::Signal;
pub use table::{HeldGrant, LoneGrant, Table};
#[cfg(feature = "policy")]
pub(crate) use template::Segment;
pub use template::{ActionTemplates, Overlap, PathTemplate, ResourceTemplate, TemplateError};
#[cfg(feature = "policy")]
pub use workflow::Workflow;

/// Maps of this engine, hashed with a random key, since what is looked up is written by callers.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, hash::Keyed>;
