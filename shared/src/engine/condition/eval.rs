//! Evaluation of a [`Form`]: a walk over its nodes, at most [`super::form::MAX_DEPTH`] deep, paid with fuel.
//! Called by [`super::Condition::verdict`]. Allocates nothing and gives a value or an [`EvalError`] for every input.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::EvalError;
use super::decimal::Decimal;
use super::form::{Form, MAX_COST, MAX_LIST, Node, automaton_cost, text_cost};
use super::network::plain;
use super::op::Op;
use super::zone::Part;
use crate::engine::context::{BodyFacts, FactValue, Facts, PeerPart};
use crate::time::Timestamp;

/// The points in time that CEL knows: the years 1 to 9999.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// The lengths of time that CEL knows, in milliseconds: about ten thousand years either way.
const SPANS: std::ops::RangeInclusive<i64> = -315_576_000_000_000..=315_576_000_000_000;

#[derive(Debug, Clone, Copy)]
enum Value<'r> {
    Bool(bool),
    Int(i64),
    Number(Decimal),
    Text(&'r str),
    Time(i64),
    Span(i64),
    Address(IpAddr),
    List(List<'r>),
}

#[derive(Debug, Clone, Copy)]
enum List<'r> {
    Given(&'r [&'r str]),
    Texts(&'r [Box<str>]),
    Ints(&'r [i64]),
    Numbers(&'r [Decimal]),
}

impl<'r> List<'r> {
    const fn len(self) -> usize {
        match self {
            Self::Given(list) => list.len(),
            Self::Texts(list) => list.len(),
            Self::Ints(list) => list.len(),
            Self::Numbers(list) => list.len(),
        }
    }

    fn get(self, at: usize) -> Option<Value<'r>> {
        match self {
            Self::Given(list) => list.get(at).copied().map(Value::Text),
            Self::Texts(list) => list.get(at).map(|text| Value::Text(text)),
            Self::Ints(list) => list.get(at).copied().map(Value::Int),
            Self::Numbers(list) => list.get(at).copied().map(Value::Number),
        }
    }
}

type Evaluated<'r> = Result<Value<'r>, EvalError>;

struct Run<'r> {
    form: &'r Form,
    facts: &'r Facts<'r>,
    at: Timestamp,
    left: u32,
    elements: [Option<Value<'r>>; 2],
    level: usize,
}

/// What the form gives if it is `at`, and the work that took. `fuel` is what may be spent.
pub(super) fn evaluate(form: &Form, facts: &Facts<'_>, at: Timestamp, fuel: u32) -> (Result<bool, EvalError>, u32) {
    let allowed = fuel.min(MAX_COST);
    let mut run = Run { form, facts, at, left: allowed, elements: [None; 2], level: 0 };
    let root = form.nodes().len().saturating_sub(1);
    let result = run.truth(root);
    (result, allowed.saturating_sub(run.left))
}

impl<'r> Run<'r> {
    fn pay(&mut self, units: u32) -> Result<(), EvalError> {
        self.left = self.left.checked_sub(units).ok_or(EvalError::OutOfFuel).inspect_err(|_| self.left = 0)?;
        Ok(())
    }

    fn truth(&mut self, at: usize) -> Result<bool, EvalError> {
        match self.value(at)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(EvalError::WrongType),
        }
    }

    fn text(&mut self, at: usize) -> Result<&'r str, EvalError> {
        match self.value(at)? {
            Value::Text(text) => Ok(text),
            _ => Err(EvalError::WrongType),
        }
    }

    fn list(&mut self, at: usize) -> Result<List<'r>, EvalError> {
        match self.value(at)? {
            Value::List(list) => Ok(list),
            _ => Err(EvalError::WrongType),
        }
    }

    fn value(&mut self, at: usize) -> Evaluated<'r> {
        self.pay(1)?;
        let form = self.form;
        let Some(Node { op, operands }) = form.nodes().get(at).copied() else {
            return Err(EvalError::Unsupported);
        };
        let [one, two, three] = operands.map(usize::from);
        match op {
            Op::And => self.absorb(one, two, false),
            Op::Or => self.absorb(one, two, true),
            Op::Not => self.truth(one).map(|truth| Value::Bool(!truth)),
            Op::If => {
                let chosen = if self.truth(one)? { two } else { three };
                self.value(chosen)
            }
            Op::Eq => self.equal(one, two).map(Value::Bool),
            Op::Ne => self.equal(one, two).map(|equal| Value::Bool(!equal)),
            Op::Lt => self.order(one, two).map(|order| Value::Bool(order.is_lt())),
            Op::Le => self.order(one, two).map(|order| Value::Bool(order.is_le())),
            Op::Gt => self.order(one, two).map(|order| Value::Bool(order.is_gt())),
            Op::Ge => self.order(one, two).map(|order| Value::Bool(order.is_ge())),
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => self.arithmetic(op, one, two),
            Op::Neg => match self.value(one)? {
                Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(EvalError::Range),
                _ => Err(EvalError::WrongType),
            },
            Op::Exact => match self.value(one)? {
                Value::Int(number) => Ok(Value::Number(number.into())),
                _ => Err(EvalError::WrongType),
            },
            Op::In => self.member(one, two).map(Value::Bool),
            Op::Index => {
                let (list, place) = (self.list(one)?, self.value(two)?);
                let Value::Int(place) = place else { return Err(EvalError::WrongType) };
                usize::try_from(place).ok().and_then(|place| list.get(place)).ok_or(EvalError::Index)
            }
            Op::Size => self.size(one).map(Value::Int),
            Op::StartsWith | Op::EndsWith | Op::Contains => self.affix(op, one, two).map(Value::Bool),
            Op::Matches => {
                let text = self.text(two)?;
                self.pay(automaton_cost(text.len()))?;
                Ok(Value::Bool(form.pool().automata.get(one).is_some_and(|automaton| automaton.accepts(text))))
            }
            Op::Within => match self.value(two)? {
                Value::Address(address) => {
                    Ok(Value::Bool(form.pool().networks.get(one).is_some_and(|network| network.contains(address))))
                }
                _ => Err(EvalError::WrongType),
            },
            Op::Calendar => {
                self.pay(8)?;
                let Value::Time(time) = self.value(three)? else { return Err(EvalError::WrongType) };
                let part = u16::try_from(one).ok().and_then(Part::of).ok_or(EvalError::Unsupported)?;
                let zone = form.pool().zones.get(two).ok_or(EvalError::Unsupported)?;
                zone.part(part, time).map(Value::Int)
            }
            Op::Has => match self.value(one) {
                Ok(_) | Err(EvalError::WrongType) => Ok(Value::Bool(true)),
                Err(EvalError::Missing) => Ok(Value::Bool(false)),
                Err(error) => Err(error),
            },
            Op::All => self.each(one, two, false),
            Op::Exists => self.each(one, two, true),
            Op::EachText | Op::EachInt | Op::EachNumber => {
                self.elements.get(one).copied().flatten().ok_or(EvalError::Unsupported)
            }
            constant_or_fact => self.leaf(constant_or_fact, one),
        }
    }

    /// `&&` (ended by false) and `||` (ended by true): the side that ends it wins over an error of the other.
    fn absorb(&mut self, one: usize, two: usize, ends: bool) -> Evaluated<'r> {
        let first = self.truth(one);
        match first {
            Ok(truth) if truth == ends => return Ok(Value::Bool(ends)),
            Err(EvalError::OutOfFuel) => return Err(EvalError::OutOfFuel),
            _ => {}
        }
        match self.truth(two) {
            Ok(truth) if truth == ends => Ok(Value::Bool(ends)),
            Err(EvalError::OutOfFuel) => Err(EvalError::OutOfFuel),
            second => first.and(second).map(Value::Bool),
        }
    }

    /// `exists` is a long `||`, `all` a long `&&`.
    fn each(&mut self, list: usize, body: usize, ends: bool) -> Evaluated<'r> {
        let list = self.list(list)?;
        if list.len() > MAX_LIST {
            return Err(EvalError::ListTooLong);
        }
        let level = self.level;
        self.level = level.saturating_add(1);
        let mut outcome = Ok(Value::Bool(!ends));
        for place in 0..list.len() {
            if let Some(slot) = self.elements.get_mut(level) {
                *slot = list.get(place);
            }
            match self.truth(body) {
                Ok(truth) if truth == ends => {
                    outcome = Ok(Value::Bool(ends));
                    break;
                }
                Err(EvalError::OutOfFuel) => {
                    outcome = Err(EvalError::OutOfFuel);
                    break;
                }
                Ok(_) => {}
                Err(error) if outcome.is_ok() => outcome = Err(error),
                Err(_) => {}
            }
        }
        self.level = level;
        outcome
    }

    fn pair(&mut self, one: usize, two: usize) -> Result<(Value<'r>, Value<'r>), EvalError> {
        Ok((self.value(one)?, self.value(two)?))
    }

    fn equal(&mut self, one: usize, two: usize) -> Result<bool, EvalError> {
        match self.pair(one, two)? {
            (Value::Text(one), Value::Text(two)) => {
                self.pay(text_cost(one.len().min(two.len())))?;
                Ok(one == two)
            }
            (Value::Address(one), Value::Address(two)) => Ok(plain(one) == plain(two)),
            (one, two) => compare(one, two).map(Ordering::is_eq),
        }
    }

    fn order(&mut self, one: usize, two: usize) -> Result<Ordering, EvalError> {
        let (one, two) = self.pair(one, two)?;
        if let (Value::Text(one), Value::Text(two)) = (one, two) {
            self.pay(text_cost(one.len().min(two.len())))?;
        }
        compare(one, two)
    }

    fn arithmetic(&mut self, op: Op, one: usize, two: usize) -> Evaluated<'r> {
        let time = |millis: Option<i64>| millis.filter(|millis| TIMES.contains(millis)).map(Value::Time);
        let span = |millis: Option<i64>| millis.filter(|millis| SPANS.contains(millis)).map(Value::Span);
        let pair = self.pair(one, two)?;
        if let (Op::Div | Op::Rem, (_, Value::Int(0))) = (op, pair) {
            return Err(EvalError::DivisionByZero);
        }
        let result = match (op, pair) {
            (Op::Add, (Value::Int(one), Value::Int(two))) => one.checked_add(two).map(Value::Int),
            (Op::Sub, (Value::Int(one), Value::Int(two))) => one.checked_sub(two).map(Value::Int),
            (Op::Mul, (Value::Int(one), Value::Int(two))) => one.checked_mul(two).map(Value::Int),
            (Op::Div, (Value::Int(one), Value::Int(two))) => one.checked_div(two).map(Value::Int),
            (Op::Rem, (Value::Int(one), Value::Int(two))) => one.checked_rem(two).map(Value::Int),
            (Op::Add, (Value::Span(one), Value::Span(two))) => span(one.checked_add(two)),
            (Op::Sub, (Value::Span(one), Value::Span(two))) => span(one.checked_sub(two)),
            (Op::Add, (Value::Time(one), Value::Span(two)) | (Value::Span(two), Value::Time(one))) => {
                time(one.checked_add(two))
            }
            (Op::Sub, (Value::Time(one), Value::Span(two))) => time(one.checked_sub(two)),
            (Op::Sub, (Value::Time(one), Value::Time(two))) => span(one.checked_sub(two)),
            _ => return Err(EvalError::WrongType),
        };
        result.ok_or(EvalError::Range)
    }

    fn member(&mut self, one: usize, list: usize) -> Result<bool, EvalError> {
        let wanted = self.value(one)?;
        let list = self.list(list)?;
        let text = if let Value::Text(wanted) = wanted { text_cost(wanted.len()) } else { 0 };
        self.pay(u32::try_from(list.len()).unwrap_or(u32::MAX).saturating_mul(text.saturating_add(1)))?;
        Ok(match (wanted, list) {
            (Value::Text(wanted), List::Given(list)) => list.contains(&wanted),
            (Value::Text(wanted), List::Texts(list)) => list.iter().any(|text| **text == *wanted),
            (Value::Int(wanted), List::Ints(list)) => list.contains(&wanted),
            (Value::Number(wanted), List::Numbers(list)) => list.contains(&wanted),
            _ => return Err(EvalError::WrongType),
        })
    }

    fn size(&mut self, one: usize) -> Result<i64, EvalError> {
        let size = match self.value(one)? {
            Value::Text(text) => {
                self.pay(text_cost(text.len()).saturating_mul(4))?;
                text.chars().count()
            }
            Value::List(list) => list.len(),
            _ => return Err(EvalError::WrongType),
        };
        i64::try_from(size).map_err(|_| EvalError::Range)
    }

    fn affix(&mut self, op: Op, one: usize, two: usize) -> Result<bool, EvalError> {
        let (text, part) = (self.text(one)?, self.text(two)?);
        match op {
            Op::StartsWith | Op::EndsWith => {
                self.pay(text_cost(part.len()))?;
                Ok(if op == Op::StartsWith { text.starts_with(part) } else { text.ends_with(part) })
            }
            _ => {
                self.pay(text_cost(text.len().saturating_add(part.len())).saturating_mul(4))?;
                Ok(text.contains(part))
            }
        }
    }

    /// Constants, and facts of the call.
    fn leaf(&mut self, op: Op, place: usize) -> Evaluated<'r> {
        let (pool, facts) = (self.form.pool(), self.facts);
        let (principal, context) = (facts.principal, facts.context);
        let missing = EvalError::Missing;
        let text = |text: Option<&'r str>| text.map(Value::Text).ok_or(missing);
        let name = || pool.texts.get(place).map(|name| &**name).ok_or(EvalError::Unsupported);
        let gone = EvalError::Unsupported;
        match op {
            Op::True => Ok(Value::Bool(true)),
            Op::False => Ok(Value::Bool(false)),
            Op::Int => pool.ints.get(place).copied().map(Value::Int).ok_or(gone),
            Op::Time => pool.ints.get(place).copied().map(Value::Time).ok_or(gone),
            Op::Span => pool.ints.get(place).copied().map(Value::Span).ok_or(gone),
            Op::Number => pool.numbers.get(place).copied().map(Value::Number).ok_or(gone),
            Op::Text => name().map(Value::Text),
            Op::Address => pool.addresses.get(place).copied().map(Value::Address).ok_or(gone),
            Op::Texts => pool.text_lists.get(place).map(|list| Value::List(List::Texts(list))).ok_or(gone),
            Op::Ints => pool.int_lists.get(place).map(|list| Value::List(List::Ints(list))).ok_or(gone),
            Op::Numbers => pool.number_lists.get(place).map(|list| Value::List(List::Numbers(list))).ok_or(gone),
            Op::Method => text(facts.method),
            Op::Path => text(facts.path.map(|path| path.as_str())),
            Op::Host => text(context.host),
            Op::Now => Ok(Value::Time(self.at.millis())),
            Op::Service => Ok(Value::Text(facts.service)),
            Op::Action => Ok(Value::Text(facts.action)),
            Op::Resource => Ok(Value::Text(facts.resource)),
            Op::Criticality => Ok(Value::Text(facts.criticality.as_str())),
            Op::User => text(principal.user.map(|(_, subject)| subject)),
            Op::Issuer => text(principal.user.map(|(issuer, _)| issuer)),
            Op::Workload => text(principal.workload),
            Op::Actor => text(context.actor),
            Op::Groups => Ok(Value::List(List::Given(principal.groups))),
            Op::AuthTime => context.auth_time.map(|at| Value::Time(at.millis())).ok_or(missing),
            Op::TrustDomain => text(facts.peer(PeerPart::TrustDomain)),
            Op::Namespace => text(facts.peer(PeerPart::Namespace)),
            Op::ServiceAccount => text(facts.peer(PeerPart::ServiceAccount)),
            Op::OriginMesh => text(context.origin.mesh),
            Op::OriginNamespace => text(context.origin.namespace),
            Op::OriginGateway => text(context.origin.gateway),
            Op::SourceAddress => context.address.map(Value::Address).ok_or(missing),
            Op::SourceCountry => text(context.country),
            Op::Param => text(facts.param(name()?)),
            Op::Query => text(find(context.query, name()?)),
            Op::Header => text(find(context.headers, name()?)),
            Op::Signal => facts.signal(name()?, self.at).map(Value::Bool).ok_or(missing),
            Op::ClaimText | Op::ClaimNumber | Op::ClaimBool | Op::ClaimTexts => {
                given(op, find(context.claims, name()?).ok_or(missing)?)
            }
            Op::FieldText | Op::FieldNumber | Op::FieldBool => match context.body {
                BodyFacts::NotRead => Err(EvalError::BodyNotRead),
                BodyFacts::Absent => Err(missing),
                BodyFacts::Fields(fields) => given(op, find(fields, name()?).ok_or(missing)?),
            },
            _ => Err(gone),
        }
    }
}

fn find<T: Copy>(list: &[(&str, T)], name: &str) -> Option<T> {
    list.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// A claim or field, if it has the type that the policy declares.
const fn given<'r>(op: Op, value: FactValue<'r>) -> Evaluated<'r> {
    match (op, value) {
        (Op::ClaimText | Op::FieldText, FactValue::Text(text)) => Ok(Value::Text(text)),
        (Op::ClaimNumber | Op::FieldNumber, FactValue::Number(number)) => Ok(Value::Number(number)),
        (Op::ClaimBool | Op::FieldBool, FactValue::Bool(truth)) => Ok(Value::Bool(truth)),
        (Op::ClaimTexts, FactValue::Texts(texts)) => Ok(Value::List(List::Given(texts))),
        _ => Err(EvalError::WrongType),
    }
}

fn compare(one: Value<'_>, two: Value<'_>) -> Result<Ordering, EvalError> {
    Ok(match (one, two) {
        (Value::Bool(one), Value::Bool(two)) => one.cmp(&two),
        (Value::Int(one), Value::Int(two))
        | (Value::Time(one), Value::Time(two))
        | (Value::Span(one), Value::Span(two)) => one.cmp(&two),
        (Value::Number(one), Value::Number(two)) => one.cmp(&two),
        (Value::Text(one), Value::Text(two)) => one.cmp(two),
        _ => return Err(EvalError::WrongType),
    })
}
