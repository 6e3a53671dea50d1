//! The types of conditions as people know them, and the advice about parts of CEL that are left out.

use super::FactType;
use crate::engine::condition::{Op, Type};

/// The name of a type in messages, as CEL calls it.
pub(super) const fn name(kind: Type) -> &'static str {
    match kind {
        Type::Bool => "bool",
        Type::Int => "int",
        Type::Number => "number",
        Type::Text => "string",
        Type::Time => "timestamp",
        Type::Span => "duration",
        Type::Address => "ip",
        Type::Texts => "list of strings",
        Type::Ints => "list of ints",
        Type::Numbers => "list of numbers",
    }
}

/// The same with its article.
pub(super) fn a(kind: Type) -> String {
    let article = if matches!(kind, Type::Int | Type::Address) { "an" } else { "a" };
    format!("{article} {}", name(kind))
}

/// The operation that gives a claim of a type.
pub(super) const fn claim(kind: FactType) -> Op {
    match kind {
        FactType::Text => Op::ClaimText,
        FactType::Number => Op::ClaimNumber,
        FactType::Bool => Op::ClaimBool,
        FactType::Texts => Op::ClaimTexts,
    }
}

/// The operation that gives a body field of a type, if fields can have it.
pub(super) const fn field(kind: FactType) -> Option<Op> {
    match kind {
        FactType::Text => Some(Op::FieldText),
        FactType::Number => Some(Op::FieldNumber),
        FactType::Bool => Some(Op::FieldBool),
        FactType::Texts => None,
    }
}

/// Functions of CEL and its libraries that are left out, with what to use.
const LEFT_OUT: [(&str, &str); 20] = [
    ("map", "use `exists` or `all`"),
    ("filter", "use `exists` or `all`"),
    ("exists_one", "use `exists`"),
    ("existsOne", "use `exists`"),
    ("int", "values keep their declared types: declare the claim or field as a number"),
    ("uint", "values keep their declared types: declare the claim or field as a number"),
    ("double", "values keep their declared types: declare the claim or field as a number"),
    ("string", "values keep their declared types: declare the claim or field as a string"),
    ("bool", "values keep their declared types: declare the claim or field as a bool"),
    ("bytes", "conditions have no bytes"),
    ("dyn", "every value has a declared type"),
    ("type", "every value has a declared type"),
    ("lowerAscii", "use `matches` with `(?i)`"),
    ("upperAscii", "use `matches` with `(?i)`"),
    ("replace", "use `matches`"),
    ("split", "use `matches`"),
    ("substring", "use `startsWith`, `endsWith` or `matches`"),
    ("indexOf", "use `contains` or `matches`"),
    ("isIP", "use `cidr(\"...\").containsIP(source.address)`"),
    ("url", "use `request.path` and `request.host`"),
];

/// What to use instead of a function that is left out.
pub(super) fn left_out(function: &str) -> Option<&'static str> {
    LEFT_OUT.iter().find(|(name, _)| *name == function).map(|(_, instead)| *instead)
}

/// The functions that there are, for `did you mean`.
pub(super) const FUNCTIONS: [&str; 24] = [
    "has",
    "size",
    "cidr",
    "ip",
    "duration",
    "timestamp",
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "glob",
    "containsIP",
    "all",
    "exists",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfYear",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];
