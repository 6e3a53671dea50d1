//! Conditions: CEL as people write it, checked and compiled to the small typed form that filters evaluate.
//!
//! [`compile_condition`] reads one text against a [`Scope`], the names that may be used where it stands. It refuses whatever
//! it does not support, with place and advice; it never panics and takes bounded time for any text.
//! What of CEL is supported is said in `shared/policies/README.md`, under "Conditions".

mod functions;
mod judging;
mod lower;
mod names;
mod never;
mod parse;
mod pattern;
mod scan;
mod types;
mod zones;

pub use judging::{Judging, MAX_CONDITIONS, Unjudged};
pub use scan::MAX_SOURCE_BYTES;

use cel::common::ast::IdedExpr;

use crate::engine::condition::{Form, FormError, MAX_COST, Node, Pool};
use crate::wire::condition::ConditionItem;

/// How many letters of a part are quoted in a proof, and how many pairs of parts.
const MAX_QUOTED: usize = 80;
const MAX_PROOFS: usize = 3;

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
    /// Signals that are said of a user or a ticket, where these cannot be named.
    pub said_of: Vec<String>,
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
    let lower::Written { nodes, pool, .. } = lower::lower(&parsed, scope, &mut judging::Patterns::default())?;
    form(source, nodes, pool)
}

/// A condition of a policy, compiled and thought about.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What is evaluated.
    pub form: Form,
    /// It is never false: nothing but an error keeps it from holding.
    pub never_false: bool,
}

fn form(source: &str, nodes: Vec<Node>, pool: Pool) -> Result<Form, ConditionFault> {
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

/// The proof that a condition never holds, at the last part that it takes.
fn impossible(
    source: &str,
    parsed: &parse::Parsed,
    origins: &[(u16, &IdedExpr)],
    clashes: &[never::Clash],
) -> ConditionFault {
    let origin = |at: u16| origins.iter().find(|(place, _)| *place == at).map_or(&parsed.root, |(_, expr)| *expr);
    let words = |(at, wanted): never::Part| {
        // As it was written: the parser read some words in another form of the same length.
        let (start, length) = parsed.place(origin(at));
        let text = source.get(start..start.saturating_add(length)).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = if text.chars().count() > MAX_QUOTED {
            text.chars().take(MAX_QUOTED).chain(['…']).collect()
        } else {
            text
        };
        if wanted { format!("`{text}`") } else { format!("`!({text})`") }
    };
    let said = |clash: &never::Clash| match clash.other {
        Some(other) => format!("{} and {} exclude each other", words(clash.one), words(other)),
        None => format!("{} is never true", words(clash.one)),
    };
    let mut proof: Vec<String> = clashes.iter().take(MAX_PROOFS).map(said).collect();
    if clashes.len() > MAX_PROOFS {
        proof.push("so it is with each other way".to_owned());
    }
    let last = clashes.first().map_or(0, |clash| clash.other.unwrap_or(clash.one).0);
    let (offset, length) = parsed.place(origin(last));
    ConditionFault::new(offset, length, format!("the condition can never hold: {}", proof.join("; ")))
        .with_help("mend one of these parts, or remove what stands under this condition")
}
