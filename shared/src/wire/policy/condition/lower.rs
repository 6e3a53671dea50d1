//! From tree to nodes: every expression gets its type, its constants go to the pool, children come before parents.
//! Recurses over a tree that [`super::parse`] has held to 48 levels.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::judging::Patterns;
use super::names::{self, Named, ROOTS};
use super::parse::Parsed;
use super::types::{FUNCTIONS, a, left_out, name};
use super::{ConditionFault, Scope, scan};
use crate::engine::Decimal;
use crate::engine::condition::{MAX_LEVELS, MAX_LIST, MAX_MEMBERS, Node, Op, Pool, Type};
use crate::wire::policy::parse::meant;

/// A node that was written, and what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lowered {
    pub(super) at: u16,
    pub(super) kind: Type,
}

pub(super) type Result<T> = std::result::Result<T, ConditionFault>;

pub(super) struct Lowering<'s, 'p> {
    pub(super) parsed: &'s Parsed,
    scope: &'s Scope,
    pub(super) patterns: &'p mut Patterns,
    nodes: Vec<Node>,
    pub(super) pool: Pool,
    /// The elements of the `all` and `exists` around, outermost first.
    elements: Vec<(&'s str, Type)>,
    /// What was written for some of the nodes, by their places.
    origins: Vec<(u16, &'s IdedExpr)>,
}

/// A lowered condition.
pub(super) struct Written<'s> {
    pub(super) nodes: Vec<Node>,
    pub(super) pool: Pool,
    /// The expressions of all nodes that give true or false, and of others, by their places.
    pub(super) origins: Vec<(u16, &'s IdedExpr)>,
}

/// Lowers a condition.
pub(super) fn lower<'s>(parsed: &'s Parsed, scope: &'s Scope, patterns: &mut Patterns) -> Result<Written<'s>> {
    let (nodes, pool) = (Vec::new(), Pool::default());
    let mut lowering = Lowering { parsed, scope, patterns, nodes, pool, elements: Vec::new(), origins: Vec::new() };
    let root = lowering.expr(&parsed.root)?;
    if root.kind != Type::Bool {
        let message = format!("the condition gives {}, not true or false", a(root.kind));
        return Err(parsed.fault(&parsed.root, message).with_help("compare it with something"));
    }
    let Lowering { nodes, pool, origins, .. } = lowering;
    Ok(Written { nodes, pool, origins })
}

/// The place of a constant, which joins those that are there if it is new.
pub(super) fn pooled<T: PartialEq>(pool: &mut Vec<T>, constant: T) -> u16 {
    let at = pool.iter().position(|known| *known == constant).unwrap_or_else(|| {
        pool.push(constant);
        pool.len().saturating_sub(1)
    });
    // A source of 4 KiB has fewer constants than a place can count.
    u16::try_from(at).unwrap_or(u16::MAX)
}

impl<'s> Lowering<'s, '_> {
    pub(super) fn fault(&self, expr: &IdedExpr, message: impl Into<String>) -> ConditionFault {
        self.parsed.fault(expr, message)
    }

    /// Writes a node whose types were checked.
    pub(super) fn write(&mut self, op: Op, operands: [u16; 3], kind: Type) -> Lowered {
        self.nodes.push(Node { op, operands });
        Lowered { at: u16::try_from(self.nodes.len().saturating_sub(1)).unwrap_or(u16::MAX), kind }
    }

    /// Writes an operation over nodes; nothing if it does not take their types.
    fn over(&mut self, op: Op, children: &[Lowered]) -> Option<Lowered> {
        let (mut operands, mut kinds) = ([0; 3], [None; 3]);
        for ((operand, kind), child) in operands.iter_mut().zip(&mut kinds).zip(children) {
            *operand = child.at;
            *kind = Some(child.kind);
        }
        let kind = op.result(kinds)?;
        Some(self.write(op, operands, kind))
    }

    pub(super) fn expr(&mut self, expr: &'s IdedExpr) -> Result<Lowered> {
        let lowered = self.one(expr)?;
        self.origins.push((lowered.at, expr));
        Ok(lowered)
    }

    fn one(&mut self, expr: &'s IdedExpr) -> Result<Lowered> {
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(_) | Expr::Select(_) => self.named(expr),
            Expr::Call(call) if call.func_name == operators::INDEX => self.index(expr, call),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => self.list(expr, &list.elements),
            Expr::Map(_) => Err(self.fault(expr, "maps are not supported in conditions")),
            Expr::Struct(_) => Err(self.fault(expr, "messages are not supported in conditions")),
            Expr::Comprehension(_) | Expr::Unspecified => Err(self.fault(expr, "this is not supported in conditions")),
        }
    }

    fn literal(&mut self, expr: &IdedExpr, literal: &LiteralValue) -> Result<Lowered> {
        Ok(match literal {
            LiteralValue::Boolean(truth) => {
                self.write(if *truth.inner() { Op::True } else { Op::False }, [0; 3], Type::Bool)
            }
            LiteralValue::Int(number) => {
                let at = pooled(&mut self.pool.ints, *number.inner());
                self.write(Op::Int, [at, 0, 0], Type::Int)
            }
            LiteralValue::String(text) => self.text(text.inner()),
            LiteralValue::Double(_) => {
                let number = self.decimal(expr)?;
                self.number(number)
            }
            LiteralValue::UInt(_) => {
                return Err(self.fault(expr, "unsigned numbers are not supported").with_help("leave out the `u`"));
            }
            LiteralValue::Bytes(_) => {
                return Err(self.fault(expr, "bytes are not supported").with_help("leave out the `b`"));
            }
            LiteralValue::Null => {
                let help = "`has(...)` says whether something is there";
                return Err(self.fault(expr, "`null` is not supported").with_help(help));
            }
        })
    }

    pub(super) fn text(&mut self, text: &str) -> Lowered {
        let at = pooled(&mut self.pool.texts, text.into());
        self.write(Op::Text, [at, 0, 0], Type::Text)
    }

    fn number(&mut self, number: Decimal) -> Lowered {
        let at = pooled(&mut self.pool.numbers, number);
        self.write(Op::Number, [at, 0, 0], Type::Number)
    }

    /// A number with a point, exactly as it was written.
    fn decimal(&self, expr: &IdedExpr) -> Result<Decimal> {
        let written = self.parsed.text(expr).replace([' ', '\t', '\r', '\n'], "");
        let whole = written.replacen("-.", "-0.", 1);
        let whole = if whole.starts_with('.') { format!("0{whole}") } else { whole };
        whole.parse().map_err(|error: crate::engine::DecimalError| {
            let text = error.to_string();
            let (message, help) = text.split_once('\n').unwrap_or((&text, ""));
            self.fault(expr, format!("`{written}`: {message}")).with_help(help)
        })
    }

    /// A fact of the call, or the element that is gone through.
    fn named(&mut self, expr: &'s IdedExpr) -> Result<Lowered> {
        if let Expr::Ident(ident) = &expr.expr
            && let Some(level) = self.elements.iter().rposition(|(name, _)| name == ident)
        {
            let kind = self.elements.get(level).map_or(Type::Text, |(_, kind)| *kind);
            let op = match kind {
                Type::Int => Op::EachInt,
                Type::Number => Op::EachNumber,
                _ => Op::EachText,
            };
            return Ok(self.write(op, [u16::try_from(level).unwrap_or(u16::MAX), 0, 0], kind));
        }
        match self.names(expr)? {
            Some(Named::Map(map)) => {
                let help = format!("name one of it, like `{map}[\"...\"]`, or ask `\"...\" in {map}`");
                Err(self.fault(expr, format!("`{map}` is not a value by itself")).with_help(help))
            }
            Some(fact) => Ok(self.fact(&fact)),
            None => {
                let Expr::Select(select) = &expr.expr else {
                    return Err(self.fault(expr, "this is not a name of a condition"));
                };
                let operand = self.expr(&select.operand)?;
                let member = select.field.escape_debug();
                Err(self.fault(expr, format!("{} has no member `{member}`", a(operand.kind))))
            }
        }
    }

    fn names(&self, expr: &IdedExpr) -> Result<Option<Named>> {
        let elements: Vec<&str> = self.elements.iter().map(|(name, _)| *name).collect();
        names::named(self.parsed, self.scope, &elements, expr)
    }

    fn fact(&mut self, named: &Named) -> Lowered {
        let (op, operand) = match named {
            Named::Fact(op) => (*op, 0),
            Named::Member(op, name) => (*op, pooled(&mut self.pool.texts, name.as_str().into())),
            Named::Map(_) => (Op::False, 0),
        };
        let kind = op.fact().unwrap_or(Type::Bool);
        self.write(op, [operand, 0, 0], kind)
    }

    fn index(&mut self, expr: &'s IdedExpr, call: &'s CallExpr) -> Result<Lowered> {
        if let Some(named) = self.names(expr)? {
            return Ok(self.fact(&named));
        }
        let [list, place] = call.args.as_slice() else { return Err(self.fault(expr, "this index is not supported")) };
        if let Ok(Some(Named::Map(map))) = self.names(list) {
            let help = format!("write a text in quotes: `{map}[\"...\"]`");
            return Err(self.fault(place, format!("which of `{map}` is named must be fixed")).with_help(help));
        }
        let (list_expr, place_expr) = (list, place);
        let (list, place) = (self.expr(list_expr)?, self.expr(place_expr)?);
        self.over(Op::Index, &[list, place]).ok_or_else(|| {
            let message = format!("{} has no place of {}", a(list.kind), a(place.kind));
            self.fault(expr, message).with_help("only lists have places, and these are counted from 0")
        })
    }

    /// A list of literals.
    fn list(&mut self, expr: &IdedExpr, elements: &[IdedExpr]) -> Result<Lowered> {
        if elements.is_empty() {
            return Err(self.fault(expr, "the list is empty").with_help("nothing is ever in it: leave it out"));
        }
        if elements.len() > MAX_MEMBERS {
            let message = format!("the list has {} elements, over {MAX_MEMBERS}", elements.len());
            return Err(self.fault(expr, message).with_help("use a group or a claim instead"));
        }
        let (mut texts, mut ints, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for element in elements {
            match &element.expr {
                Expr::Literal(LiteralValue::String(text)) => texts.push(Box::from(text.inner())),
                Expr::Literal(LiteralValue::Int(number)) => {
                    ints.push(*number.inner());
                    numbers.push(Decimal::from(*number.inner()));
                }
                Expr::Literal(LiteralValue::Double(_)) => numbers.push(self.decimal(element)?),
                _ => {
                    let help = "write texts or numbers; compare with anything else by `==` and `||`";
                    return Err(self.fault(element, "a list here has only literals").with_help(help));
                }
            }
        }
        if texts.len() == elements.len() {
            let at = pooled(&mut self.pool.text_lists, texts);
            return Ok(self.write(Op::Texts, [at, 0, 0], Type::Texts));
        }
        if ints.len() == elements.len() {
            let at = pooled(&mut self.pool.int_lists, ints);
            return Ok(self.write(Op::Ints, [at, 0, 0], Type::Ints));
        }
        if numbers.len() == elements.len() {
            let at = pooled(&mut self.pool.number_lists, numbers);
            return Ok(self.write(Op::Numbers, [at, 0, 0], Type::Numbers));
        }
        Err(self.fault(expr, "the list mixes texts and numbers").with_help("make two lists of it"))
    }

    fn call(&mut self, expr: &'s IdedExpr, call: &'s CallExpr) -> Result<Lowered> {
        let args = call.args.as_slice();
        let op = match call.func_name.as_str() {
            operators::LOGICAL_AND => Op::And,
            operators::LOGICAL_OR => Op::Or,
            operators::LOGICAL_NOT => Op::Not,
            operators::CONDITIONAL => Op::If,
            operators::EQUALS => Op::Eq,
            operators::NOT_EQUALS => Op::Ne,
            operators::LESS => Op::Lt,
            operators::LESS_EQUALS => Op::Le,
            operators::GREATER => Op::Gt,
            operators::GREATER_EQUALS => Op::Ge,
            operators::ADD => Op::Add,
            operators::SUBSTRACT => Op::Sub,
            operators::MULTIPLY => Op::Mul,
            operators::DIVIDE => Op::Div,
            operators::MODULO => Op::Rem,
            operators::NEGATE => Op::Neg,
            operators::IN => return self.member(expr, args),
            _ => return self.function(expr, call),
        };
        let mut children = Vec::new();
        for arg in args {
            children.push(self.expr(arg)?);
        }
        self.exact(op, &mut children);
        self.over(op, &children).ok_or_else(|| self.mismatch(expr, op, &children))
    }

    /// Brings an integer beside a number to a number.
    fn exact(&mut self, op: Op, children: &mut [Lowered]) {
        let (before, operands) = children.split_at_mut(usize::from(op == Op::If).min(children.len()));
        let mixed = [Type::Int, Type::Number].iter().all(|kind| operands.iter().any(|child| child.kind == *kind));
        let takes = matches!(op, Op::If | Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge);
        if !mixed || !takes || before.iter().any(|child| child.kind != Type::Bool) {
            return;
        }
        for child in operands.iter_mut().filter(|child| child.kind == Type::Int) {
            *child = self.as_number(*child);
        }
    }

    /// An integer as a number: a literal at once, anything else where it is evaluated.
    fn as_number(&mut self, child: Lowered) -> Lowered {
        let place = usize::from(child.at);
        let literal = self.nodes.get(place).filter(|node| node.op == Op::Int).map(|node| node.operands);
        let number = literal.and_then(|[at, ..]| self.pool.ints.get(usize::from(at)).copied()).map(Decimal::from);
        match (number, self.nodes.get_mut(place)) {
            (Some(number), Some(node)) => {
                *node = Node { op: Op::Number, operands: [pooled(&mut self.pool.numbers, number), 0, 0] };
                Lowered { kind: Type::Number, ..child }
            }
            _ => self.write(Op::Exact, [child.at, 0, 0], Type::Number),
        }
    }

    fn mismatch(&self, expr: &IdedExpr, op: Op, children: &[Lowered]) -> ConditionFault {
        let kinds: Vec<_> = children.iter().map(|child| format!("`{}`", name(child.kind))).collect();
        let number = children.iter().any(|child| child.kind == Type::Number);
        let text = children.iter().any(|child| child.kind == Type::Text);
        let arithmetic = matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem | Op::Neg);
        let (what, help) = match op {
            Op::Add if text => ("put together", Some("texts cannot be put together: compare their parts")),
            _ if arithmetic && number => (
                "calculated with",
                Some("numbers are only compared: calculate with whole numbers, times and durations"),
            ),
            _ if arithmetic => ("calculated with", None),
            Op::And | Op::Or | Op::Not => ("joined", Some("each side must be true or false")),
            Op::If => ("chosen between", Some("write `BOOL ? ONE : OTHER`, both of one type")),
            _ => ("compared", Some("both sides must have one type, and lists are asked with `in`, `all` and `exists`")),
        };
        let message = format!("{} cannot be {what} here", kinds.join(" and "));
        let fault = self.fault(expr, message);
        match help {
            Some(help) => fault.with_help(help),
            None => fault,
        }
    }

    /// `x in list`, and `"name" in request.headers`.
    fn member(&mut self, expr: &'s IdedExpr, args: &'s [IdedExpr]) -> Result<Lowered> {
        let [wanted, list] = args else { return Err(self.fault(expr, "`in` takes two sides")) };
        if let Some(Named::Map(map)) = self.names(list)? {
            let Expr::Literal(LiteralValue::String(member)) = &wanted.expr else {
                let help = format!("write a text in quotes: `\"...\" in {map}`");
                return Err(self.fault(wanted, format!("what is asked of `{map}` must be fixed")).with_help(help));
            };
            let fact = names::member(self.parsed, self.scope, wanted, map, member.inner())?;
            return self.presence(expr, &fact);
        }
        let (mut one, list) = (self.expr(wanted)?, self.expr(list)?);
        let list = match (one.kind, list.kind) {
            (Type::Number, Type::Ints) => self.as_numbers(list),
            (Type::Int, Type::Numbers) => {
                one = self.as_number(one);
                list
            }
            _ => list,
        };
        self.over(Op::In, &[one, list]).ok_or_else(|| {
            let message = format!("{} cannot be in {}", a(one.kind), a(list.kind));
            self.fault(expr, message).with_help("on the right stands a list of what is on the left")
        })
    }

    /// A literal list of integers as one of numbers.
    fn as_numbers(&mut self, list: Lowered) -> Lowered {
        let place = usize::from(list.at);
        let ints = self.nodes.get(place).and_then(|node| {
            let [at, ..] = node.operands;
            self.pool.int_lists.get(usize::from(at))
        });
        let numbers: Vec<Decimal> = ints.into_iter().flatten().copied().map(Decimal::from).collect();
        let at = pooled(&mut self.pool.number_lists, numbers);
        if let Some(node) = self.nodes.get_mut(place) {
            *node = Node { op: Op::Numbers, operands: [at, 0, 0] };
        }
        Lowered { kind: Type::Numbers, ..list }
    }

    /// `has(...)`.
    pub(super) fn has(&mut self, expr: &IdedExpr, arg: &IdedExpr) -> Result<Lowered> {
        match self.names(arg)? {
            Some(fact @ (Named::Fact(_) | Named::Member(..))) => self.presence(expr, &fact),
            _ => {
                let help = "write `has(principal.user)` or `has(request.headers[\"...\"])`";
                Err(self.fault(arg, "`has` takes one fact of the call").with_help(help))
            }
        }
    }

    fn presence(&mut self, expr: &IdedExpr, fact: &Named) -> Result<Lowered> {
        if let Named::Member(Op::Signal, name) = fact {
            let help = format!("write `signals[\"{}\"]`", name.escape_debug());
            return Err(self.fault(expr, "a signal is always there: true or false").with_help(help));
        }
        let fact = self.fact(fact);
        Ok(self.write(Op::Has, [fact.at, 0, 0], Type::Bool))
    }

    /// `list.all(x, ...)` and `list.exists(x, ...)`.
    pub(super) fn each(
        &mut self,
        expr: &'s IdedExpr,
        op: Op,
        list: &'s IdedExpr,
        args: &'s [IdedExpr],
    ) -> Result<Lowered> {
        let [element, body] = args else {
            return Err(self
                .fault(expr, "`all` and `exists` take a name and a condition")
                .with_help("write `list.exists(x, x == \"...\")`"));
        };
        let Expr::Ident(word) = &element.expr else {
            return Err(self
                .fault(element, "a name for the element is needed here")
                .with_help("write `list.exists(x, x == \"...\")`"));
        };
        if ROOTS.contains(&word.as_str()) || self.elements.iter().any(|(known, _)| known == word) {
            return Err(self.fault(element, format!("`{word}` is already a name")).with_help("choose another one"));
        }
        if self.elements.len() >= usize::from(MAX_LEVELS) {
            let message = format!("more than {MAX_LEVELS} `all` or `exists` stand within each other");
            return Err(self.fault(expr, message).with_help("use `in`, or several bindings or rules"));
        }
        let walked = self.expr(list)?;
        let Some(kind) = walked.kind.element() else {
            let message = format!("{} has no elements to go through", a(walked.kind));
            return Err(self.fault(list, message).with_help("`all` and `exists` are for lists"));
        };
        if let Expr::List(literal) = &list.expr
            && literal.elements.len() > MAX_LIST
        {
            let message =
                format!("the list has {} elements, over the {MAX_LIST} to go through", literal.elements.len());
            return Err(self.fault(list, message).with_help("use `in`"));
        }
        self.elements.push((word, kind));
        let body_at = self.expr(body);
        self.elements.pop();
        let body_at = body_at?;
        self.over(op, &[walked, body_at])
            .ok_or_else(|| self.fault(body, format!("this gives {}, not true or false", a(body_at.kind))))
    }

    /// An operation over arguments, as a function or method.
    pub(super) fn apply(&mut self, expr: &IdedExpr, op: Op, written: &str, children: &[Lowered]) -> Result<Lowered> {
        self.over(op, children).ok_or_else(|| {
            let kinds: Vec<_> = children.iter().map(|child| format!("`{}`", name(child.kind))).collect();
            self.fault(expr, format!("`{written}` does not take {}", kinds.join(" and ")))
        })
    }

    /// A function that is not there.
    pub(super) fn unknown(&self, expr: &IdedExpr, call: &CallExpr) -> ConditionFault {
        let function = scan::written(&call.func_name);
        match left_out(function) {
            Some(instead) => {
                self.fault(expr, format!("`{function}` is not supported in conditions")).with_help(instead)
            }
            None => {
                let message = format!("there is no function `{}`", function.escape_debug());
                self.fault(expr, message).with_help(meant(function, &FUNCTIONS))
            }
        }
    }
}
