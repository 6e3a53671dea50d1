//! The names that conditions may use, and what each of them reads.

use cel::common::ast::operators::INDEX;
use cel::common::ast::{Expr, IdedExpr, LiteralValue};

use super::parse::Parsed;
use super::{ConditionFault, Scope, types};
use crate::engine::condition::Op;
use crate::wire::policy::parse::meant;

/// The first words of names.
pub(super) const ROOTS: [&str; 10] =
    ["request", "principal", "peer", "origin", "source", "signals", "service", "action", "resource", "criticality"];

/// Facts without a further name.
const FACTS: [(&str, Op); 22] = [
    ("request.method", Op::Method),
    ("request.path", Op::Path),
    ("request.host", Op::Host),
    ("request.time", Op::Now),
    ("service", Op::Service),
    ("action", Op::Action),
    ("resource", Op::Resource),
    ("criticality", Op::Criticality),
    ("principal.user", Op::User),
    ("principal.issuer", Op::Issuer),
    ("principal.workload", Op::Workload),
    ("principal.actor", Op::Actor),
    ("principal.groups", Op::Groups),
    ("principal.auth_time", Op::AuthTime),
    ("peer.trust_domain", Op::TrustDomain),
    ("peer.namespace", Op::Namespace),
    ("peer.service_account", Op::ServiceAccount),
    ("origin.mesh", Op::OriginMesh),
    ("origin.namespace", Op::OriginNamespace),
    ("origin.gateway", Op::OriginGateway),
    ("source.address", Op::SourceAddress),
    ("source.country", Op::SourceCountry),
];

/// What has members of declared names.
const MAPS: [&str; 6] =
    ["request.params", "request.query", "request.headers", "request.body", "principal.claims", "signals"];

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// A fact.
    Fact(Op),
    /// A fact with a name of its own: a header, a claim.
    Member(Op, String),
    /// A map, of which one member is to be named.
    Map(&'static str),
}

/// The words of a name like `request.headers["x-ticket"]`; nothing if the expression is none.
fn words(expr: &IdedExpr) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut expr = expr;
    loop {
        match &expr.expr {
            Expr::Ident(name) => words.push(name.as_str()),
            Expr::Select(select) => {
                words.push(select.field.as_str());
                expr = &select.operand;
                continue;
            }
            Expr::Call(call) if call.func_name == INDEX => {
                let [operand, index] = call.args.as_slice() else { return None };
                let Expr::Literal(LiteralValue::String(name)) = &index.expr else { return None };
                words.push(name.inner());
                expr = operand;
                continue;
            }
            _ => return None,
        }
        words.reverse();
        return Some(words);
    }
}

/// What an expression names; nothing if it is no name, or begins with an element of `all` or `exists`.
pub(super) fn named(
    parsed: &Parsed,
    scope: &Scope,
    elements: &[&str],
    expr: &IdedExpr,
) -> Result<Option<Named>, ConditionFault> {
    let Some(words) = words(expr) else { return Ok(None) };
    let [root, rest @ ..] = words.as_slice() else { return Ok(None) };
    if elements.contains(root) {
        return Ok(None);
    }
    if !ROOTS.contains(root) {
        let known: Vec<&str> = elements.iter().copied().chain(ROOTS).collect();
        let help = meant(root, &known);
        return Err(parsed.fault(expr, format!("there is no `{}`", root.escape_debug())).with_help(help));
    }
    let one = *root;
    let two = rest.first().map(|second| format!("{one}.{second}")).unwrap_or_default();
    let (map, member) =
        if MAPS.contains(&one) { (one.to_owned(), rest) } else { (two.clone(), rest.get(1..).unwrap_or_default()) };
    if let Some(map) = MAPS.into_iter().find(|known| *known == map) {
        return match member {
            [] => Ok(Some(Named::Map(map))),
            [name] => self::member(parsed, scope, expr, map, name).map(Some),
            [..] => {
                let whole = member.join(".");
                let help = format!("a name with dots goes in brackets: `{map}[\"{}\"]`", whole.escape_debug());
                Err(parsed.fault(expr, format!("`{map}` has no members within members")).with_help(help))
            }
        };
    }
    let full = if rest.is_empty() { one.to_owned() } else { two };
    let fact = FACTS.iter().find(|(name, _)| *name == full);
    match (fact, rest) {
        (Some((_, op)), [] | [_]) => Ok(Some(Named::Fact(*op))),
        // An index into a list, or a member of what has none: told by whoever takes the operand.
        (Some(_), _) => Ok(None),
        (None, []) => {
            let help = format!("name one of its members, like `{}`", members(one).first().map_or("", String::as_str));
            Err(parsed.fault(expr, format!("`{one}` is not a value by itself")).with_help(help))
        }
        (None, _) => {
            let help = meant(&full, &members(one));
            Err(parsed.fault(expr, format!("there is no `{}`", full.escape_debug())).with_help(help))
        }
    }
}

/// Everything below a root.
fn members(root: &str) -> Vec<String> {
    let facts = FACTS.iter().map(|(name, _)| *name);
    facts.chain(MAPS).filter(|name| name.split('.').next() == Some(root)).map(str::to_owned).collect()
}

/// A member of a map.
pub(super) fn member(
    parsed: &Parsed,
    scope: &Scope,
    expr: &IdedExpr,
    map: &str,
    name: &str,
) -> Result<Named, ConditionFault> {
    let plain = |declared: &[String], op: Op| {
        let known = declared.iter().any(|declared| declared == name);
        (known.then_some(op), declared.to_vec())
    };
    let typed = |declared: &[(String, super::FactType)], op: fn(super::FactType) -> Option<Op>| {
        let known = declared.iter().find(|(declared, _)| declared == name);
        (known.and_then(|(_, kind)| op(*kind)), declared.iter().map(|(name, _)| name.clone()).collect())
    };
    let (op, declared): (Option<Op>, Vec<String>) = match map {
        "request.params" => plain(&scope.params, Op::Param),
        "request.query" => plain(&scope.query, Op::Query),
        "request.headers" => plain(&scope.headers, Op::Header),
        "signals" => plain(&scope.signals, Op::Signal),
        "principal.claims" => typed(&scope.claims, |kind| Some(types::claim(kind))),
        _ => {
            if let Some(reason) = &scope.no_body {
                return Err(parsed.fault(expr, format!("`request.body` cannot be used here: {reason}")));
            }
            typed(&scope.fields, types::field)
        }
    };
    if op.is_none() && map == "signals" && scope.said_of.iter().any(|known| known == name) {
        let message = format!("`{}` is said of users or tickets, and is not known here", name.escape_debug());
        return Err(parsed.fault(expr, message).with_help("name it in an `automatic` decision of a rule"));
    }
    op.map(|op| Named::Member(op, name.to_owned())).ok_or_else(|| {
        let how = match map {
            "request.params" => "declare it in the action's `path`",
            "request.query" => "declare it under `query` of the action",
            "request.headers" => "declare it, in lower case, under `headers` of the service",
            "signals" => "declare it under `signals` of the defaults",
            "principal.claims" => "declare it under `claims` of the defaults",
            _ => "declare it under `fields` of the action, with `in: request`",
        };
        let message = format!("`{}` is not declared in `{map}`", name.escape_debug());
        let help = if declared.is_empty() {
            how.to_owned()
        } else {
            match meant(name, &declared) {
                help if help.ends_with('?') => format!("{help} Or {how}"),
                help => format!("{help}; or {how}"),
            }
        };
        parsed.fault(expr, message).with_help(help)
    })
}
