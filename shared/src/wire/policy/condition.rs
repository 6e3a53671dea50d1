//! Conditions: CEL as people write it, checked and compiled to the small typed form that filters evaluate.
//!
//! [`compile_condition`] reads one text against a [`Scope`], the names that may be used where it stands. It refuses whatever
//! it does not support, with place and advice; it never panics and takes bounded time for any text.
//! What of CEL is supported is said in `shared/policies/README.md`, under "Conditions".

mod functions;
mod lower;
mod names;
mod parse;
mod pattern;
mod scan;
mod types;
mod zones;

pub use scan::MAX_SOURCE_BYTES;

use crate::engine::condition::{Form, FormError, MAX_COST};
use crate::wire::condition::ConditionItem;

/// The type of a claim or body field, as the policy declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FactType {
    /// A text.
    Text,
    /// A number, compared exactly.
    Number,
    /// True or false.
    Bool,
    /// A list of texts; claims only.
    Texts,
}

/// What a condition may name beyond what every call has. Each list is what is declared for all calls the condition is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Parameters of the path template.
    pub params: Vec<String>,
    /// Query parameters.
    pub query: Vec<String>,
    /// Request headers, in lower case.
    pub headers: Vec<String>,
    /// Claims of the token.
    pub claims: Vec<(String, FactType)>,
    /// Fields of the request's body.
    pub fields: Vec<(String, FactType)>,
    /// Signals.
    pub signals: Vec<String>,
    /// Why fields of the body cannot be named here, if they cannot: they would not have been read yet.
    pub no_body: Option<String>,
}

/// What is wrong with a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionFault {
    /// The first byte in the text.
    pub offset: usize,
    /// How many bytes; 0 if it is the whole.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl ConditionFault {
    fn new(offset: usize, length: usize, message: impl Into<String>) -> Self {
        Self { offset, length, message: message.into(), help: None }
    }

    fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Compiles a condition to what filters receive.
///
/// # Errors
/// If it is not a condition that this scope allows, with the place in `source`.
pub fn compile_condition(source: &str, scope: &Scope) -> Result<ConditionItem, ConditionFault> {
    compile_form(source, scope).map(|form| ConditionItem::new(source, &form))
}

/// Compiles a condition to what is evaluated.
///
/// # Errors
/// If it is not a condition that this scope allows, with the place in `source`.
pub fn compile_form(source: &str, scope: &Scope) -> Result<Form, ConditionFault> {
    let parsed = parse::parse(source)?;
    let (nodes, pool) = lower::lower(&parsed, scope)?;
    Form::new(nodes, pool).map_err(|error| {
        let help = match error {
            FormError::Cost(_) => "use fewer or shorter lists in `all` and `exists`, and fewer patterns",
            FormError::Constants => "use shorter texts and lists, and fewer patterns and zones",
            FormError::Depth | FormError::Nodes => "split the condition into several bindings or rules",
            _ => "write it in another way, and report this condition as a fault of Grantmesh",
        };
        let message = match error {
            FormError::Cost(units) => format!("judging this may cost {units} units of work, over {MAX_COST}"),
            other => format!("the condition cannot be compiled: {other}"),
        };
        ConditionFault::new(0, source.len(), message).with_help(help)
    })
}
