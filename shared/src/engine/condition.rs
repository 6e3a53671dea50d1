//! Conditions on the context of a call: a binding, rule or grant holds only where its condition holds.
//!
//! A condition is written in CEL, compiled by the control plane (`wire::policy`) to the small typed [`Form`],
//! and only evaluated here: total, bounded by [`Fuel`], without allocation, never panicking.

mod automaton;
mod decimal;
mod eval;
mod form;
mod network;
mod op;
mod zone;

use std::sync::Arc;

pub use automaton::{ACCEPT, Automaton, MAX_TRANSITIONS, REJECT};
pub use decimal::{Decimal, DecimalError};
pub use form::{Form, FormError, MAX_COST, MAX_DEPTH, MAX_LEVELS, MAX_LIST, MAX_MEMBERS, MAX_NODES, Node, Pool};
pub use network::{Network, NetworkError};
pub use op::{Op, Operand, Type};
pub use zone::{MAX_CHANGES, Part, Zone};

use super::context::Facts;

/// Whether something holds in the context of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// No condition was stated.
    #[default]
    Always,
    /// This one was stated.
    When(Arc<Form>),
    /// A condition was stated that this build cannot evaluate: it never allows and always denies.
    Unsupported,
}

impl Condition {
    /// Whether it holds for a call.
    #[must_use]
    pub fn verdict(&self, facts: &Facts<'_>, fuel: &mut Fuel) -> Verdict {
        let form = match self {
            Self::Always => return Verdict::Holds,
            Self::Unsupported => return Verdict::Errs(EvalError::Unsupported),
            Self::When(form) => form,
        };
        let mut at = |time| {
            let (outcome, spent) = eval::evaluate(form, facts, time, fuel.0);
            fuel.0 = fuel.0.saturating_sub(spent);
            outcome
        };
        let first = at(facts.now.earliest);
        let last = if form.is_timed() && facts.now.earliest != facts.now.latest { at(facts.now.latest) } else { first };
        match (first, last) {
            (Err(error), _) | (_, Err(error)) => Verdict::Errs(error),
            (Ok(true), Ok(true)) => Verdict::Holds,
            (Ok(false), Ok(false)) => Verdict::Fails,
            _ => Verdict::Unsure,
        }
    }

    /// Whether nothing was stated.
    #[must_use]
    pub const fn is_always(&self) -> bool {
        matches!(self, Self::Always)
    }

    /// What it reads of a call; nothing where nothing was stated or it is not understood.
    #[must_use]
    pub fn needs(&self) -> Option<&Needs> {
        match self {
            Self::When(form) => Some(form.needs()),
            Self::Always | Self::Unsupported => None,
        }
    }
}

/// What became of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not hold.
    Fails,
    /// It depends on what exactly the time is, and that is not known exactly enough.
    Unsure,
    /// It could not be judged.
    Errs(EvalError),
}

impl Verdict {
    /// Whether something that allows under this condition may do so.
    #[must_use]
    pub const fn allows(self) -> bool {
        matches!(self, Self::Holds)
    }

    /// Whether something that denies under this condition must do so.
    #[must_use]
    pub const fn denies(self) -> bool {
        !matches!(self, Self::Fails)
    }
}

/// Why a condition could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EvalError {
    /// A version that this build does not know.
    #[error("the condition is of a kind that this filter does not know")]
    Unsupported,
    /// A fact that this call does not have.
    #[error("it names something that the call does not have")]
    Missing,
    /// A claim or field of another type than was declared.
    #[error("a claim or field has another type than the policy declares")]
    WrongType,
    /// A field of a body that was not read.
    #[error("it names a field of the body, which was not read")]
    BodyNotRead,
    /// A result that no number, time or duration can hold.
    #[error("a number, time or duration is out of range")]
    Range,
    /// A division by zero.
    #[error("it divides by zero")]
    DivisionByZero,
    /// A place that a list does not have.
    #[error("it names a place that the list does not have")]
    Index,
    /// A list that is too long to go through.
    #[error("a list of the call is too long to go through")]
    ListTooLong,
    /// More work than one condition, or all of one call, may take.
    #[error("judging it takes too much work")]
    OutOfFuel,
}

impl EvalError {
    /// A short stable word for records, metrics and tests.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::BodyNotRead => "body_not_read",
            Self::Range => "range",
            Self::DivisionByZero => "division_by_zero",
            Self::Index => "index",
            Self::ListTooLong => "list_too_long",
            Self::OutOfFuel => "out_of_fuel",
        }
    }
}

/// Work that is left for the conditions of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuel(u32);

impl Fuel {
    /// What one call gets for all its conditions together: several of the costliest that a policy may hold.
    #[must_use]
    pub const fn per_call() -> Self {
        Self(200_000)
    }

    /// As much as stated, for tests.
    #[must_use]
    pub const fn of(units: u32) -> Self {
        Self(units)
    }

    /// How much is left.
    #[must_use]
    pub const fn left(self) -> u32 {
        self.0
    }
}

/// What conditions read of a call beyond its method, path and principal, so that nothing else need be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Request headers, sorted.
    pub headers: Vec<Box<str>>,
    /// Query parameters, sorted.
    pub query: Vec<Box<str>>,
    /// Claims, sorted.
    pub claims: Vec<Box<str>>,
    /// Fields of the body, sorted.
    pub fields: Vec<Box<str>>,
    /// Signals, sorted.
    pub signals: Vec<Box<str>>,
    /// The authority.
    pub host: bool,
    /// The time.
    pub time: bool,
    /// The caller's address.
    pub address: bool,
    /// The caller's country.
    pub country: bool,
    /// Who acts for the user.
    pub actor: bool,
    /// When the user last proved who they are.
    pub auth_time: bool,
    /// Where the proxy stands.
    pub origin: bool,
}

impl Needs {
    /// Whether nothing is read.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        let Self { headers, query, claims, fields, signals, host, time, address, country, actor, auth_time, origin } =
            self;
        let lists = headers.is_empty() && query.is_empty() && claims.is_empty() && fields.is_empty();
        let facts = *host || *time || *address || *country || *actor || *auth_time || *origin;
        lists && signals.is_empty() && !facts
    }

    /// Whether the body must be read.
    #[must_use]
    pub const fn body(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Adds what another condition needs.
    pub fn add(&mut self, other: &Self) {
        let Self { headers, query, claims, fields, signals, .. } = other;
        let lists = [
            (&mut self.headers, headers),
            (&mut self.query, query),
            (&mut self.claims, claims),
            (&mut self.fields, fields),
            (&mut self.signals, signals),
        ];
        for (list, more) in lists {
            for name in more {
                insert_sorted(list, name);
            }
        }
        self.host |= other.host;
        self.time |= other.time;
        self.address |= other.address;
        self.country |= other.country;
        self.actor |= other.actor;
        self.auth_time |= other.auth_time;
        self.origin |= other.origin;
    }
}

pub(crate) fn insert_sorted(list: &mut Vec<Box<str>>, name: &str) {
    if let Err(at) = list.binary_search_by(|known| (**known).cmp(name)) {
        list.insert(at, name.into());
    }
}
