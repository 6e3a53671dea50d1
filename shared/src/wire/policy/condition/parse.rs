//! From text to a tree, by the `cel` crate's parser; nothing else of that crate is used, and nobody else uses it.
//! The tree is held to its bounds here, before anything walks it by recursion.

use cel::common::ast::operators::{IN, INDEX};
use cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};
use cel::parser::PrattParser;

use super::{ConditionFault, scan};
use crate::engine::condition::{MAX_DEPTH, MAX_NODES};

/// A parsed condition.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: IdedExpr,
    /// What the parser read.
    text: String,
}

/// Parses a condition.
pub(super) fn parse(source: &str) -> Result<Parsed, ConditionFault> {
    let text = scan::scan(source)?;
    let root = parser().parse(&text).map_err(|errors| {
        let placed = errors.errors.iter().filter(|error| error.source_info.is_some());
        let first = placed.min_by_key(|error| error.pos);
        let place = first.and_then(|error| error.source_info.as_ref()?.offset_for(error.expr_id));
        let (start, stop) = place.unwrap_or_default();
        let (start, stop) = (start as usize, stop as usize);
        let message = first.map_or("syntax error", |error| error.msg.as_str());
        syntax(source, start, stop.saturating_sub(start), message)
    })?;
    let parsed = Parsed { root, text };
    bounds(&parsed)?;
    Ok(parsed)
}

fn parser() -> PrattParser {
    PrattParser::new().max_recursion_depth(96)
}

/// The parser's message in words of ours.
fn syntax(source: &str, start: usize, length: usize, message: &str) -> ConditionFault {
    let found = source.get(start..start.saturating_add(length)).unwrap_or_default();
    let expected = message.split(" expecting ").nth(1).or_else(|| message.strip_prefix("expected "));
    let expected = expected.and_then(|word| word.split(" in ").next()).map(|word| match word {
        "expression" => "an expression".to_owned(),
        "identifier after '.'" | "identifier" => {
            format!("a {}", word.replace("identifier", "name").replace('\'', "`"))
        }
        word => format!("a {}", word.replace('\'', "`")),
    });
    let unexpected =
        matches!(message, "unexpected token" | "unexpected character") || expected.as_deref() == Some("a <EOF>");
    let message = match expected {
        _ if unexpected => format!("`{found}` is not expected here"),
        Some(word) if found.is_empty() => format!("the condition ends where {word} is expected"),
        Some(word) => format!("`{found}` stands where {word} is expected"),
        None if matches!(message, "invalid int literal" | "invalid double literal") => {
            format!("the number `{found}` is out of range")
        }
        None => message.replace('\'', "`").replace(" literal", ""),
    };
    let help = match found {
        "and" => "write `&&`",
        "or" => "write `||`",
        "not" => "write `!`",
        "=" => "write `==`",
        "#" => "comments begin with `//`",
        _ => return ConditionFault::new(start, length, message),
    };
    ConditionFault::new(start, length, message).with_help(help)
}

/// The expressions right below one.
fn children(expr: &Expr) -> Vec<&IdedExpr> {
    match expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entries(&entry.expr)).collect(),
        Expr::Struct(message) => message.entries.iter().flat_map(|entry| entries(&entry.expr)).collect(),
        // No macro is expanded, so there is no comprehension.
        Expr::Comprehension(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn entries(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// Holds the tree to its bounds, without recursion.
fn bounds(parsed: &Parsed) -> Result<(), ConditionFault> {
    let mut open = vec![(&parsed.root, 1_u16)];
    let mut nodes = 0_usize;
    while let Some((expr, depth)) = open.pop() {
        nodes = nodes.saturating_add(1);
        if depth > MAX_DEPTH {
            let message = format!("the condition is nested more than {MAX_DEPTH} deep");
            let help = "put parts of it in several bindings or rules";
            return Err(parsed.fault(expr, message).with_help(help));
        }
        if nodes > MAX_NODES {
            let message = format!("the condition has more than {MAX_NODES} parts");
            return Err(ConditionFault::new(0, 0, message).with_help("split it into several bindings or rules"));
        }
        open.extend(children(&expr.expr).into_iter().map(|child| (child, depth.saturating_add(1))));
    }
    Ok(())
}

impl Parsed {
    /// Where everything stands. The parser tells it only with an error, so it is given one behind the condition.
    fn places(&self) -> Option<std::sync::Arc<SourceInfo>> {
        let broken = format!("{}\n)", self.text);
        let errors = parser().parse(&broken).err()?;
        errors.errors.into_iter().find_map(|error| error.source_info)
    }

    /// First byte and length of an expression with all below it.
    pub(super) fn place(&self, expr: &IdedExpr) -> (usize, usize) {
        let Some(info) = self.places() else { return (0, 0) };
        let (start, stop) = self.extent(&info, expr);
        (start.min(stop), stop.saturating_sub(start))
    }

    /// First and last byte. The parser notes one token of each expression; the rest of it is looked for in the text.
    /// Recurses no deeper than the parser did.
    fn extent(&self, info: &SourceInfo, expr: &IdedExpr) -> (usize, usize) {
        let (start, stop) = info.offset_for(expr.id).map_or((usize::MAX, 0), |(from, to)| (from as usize, to as usize));
        let below = children(&expr.expr).into_iter().map(|child| self.extent(info, child));
        let (start, inner) = below.fold((start, stop), |(start, stop), (from, to)| (start.min(from), stop.max(to)));
        let behind = |at: usize| self.text.get(at..).unwrap_or_default();
        let space = |at: usize| at.saturating_add(behind(at).len().saturating_sub(behind(at).trim_start().len()));
        let run = |at: usize, fits: fn(char) -> bool| {
            at.saturating_add(behind(at).chars().take_while(|letter| fits(*letter)).map(char::len_utf8).sum())
        };
        let stop = match &expr.expr {
            Expr::Select(_) => run(space(stop), |letter| letter.is_ascii_alphanumeric() || letter == '_'),
            Expr::Literal(_) if behind(start).starts_with('-') => {
                let point = run(space(stop), |letter| letter.is_ascii_alphanumeric() || letter == '.');
                let power = behind(point).starts_with(['-', '+'])
                    && behind(stop).get(..point.saturating_sub(stop)).is_some_and(|text| text.ends_with(['e', 'E']));
                if power { run(point.saturating_add(1), |letter| letter.is_ascii_digit()) } else { point }
            }
            Expr::Call(call) if call.func_name == INDEX => self.closed(inner),
            Expr::Call(call) if !call.func_name.contains('_') && call.func_name != IN => self.closed(inner),
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => self.closed(inner),
            _ => inner,
        };
        (start, stop)
    }

    /// Behind the bracket that closes what ends at `at`.
    fn closed(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let bracket =
            rest.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || matches!(letter, ',' | '('));
        let skipped = rest.len().saturating_sub(bracket.len());
        let closes = bracket.starts_with([')', ']', '}']);
        if closes { at.saturating_add(skipped).saturating_add(1) } else { at }
    }

    /// What was written for an expression.
    pub(super) fn text(&self, expr: &IdedExpr) -> &str {
        let (start, length) = self.place(expr);
        self.text.get(start..start.saturating_add(length)).unwrap_or_default()
    }

    /// A fault at an expression.
    pub(super) fn fault(&self, expr: &IdedExpr, message: impl Into<String>) -> ConditionFault {
        let (offset, length) = self.place(expr);
        ConditionFault::new(offset, length, message)
    }
}
