//! A compiled condition as it crosses the network, and its way into the engine.
//!
//! Flat, so that reading it never recurses: a list of nodes, one short text each (`eq 4 7`: an operation of
//! [`Op`] and the places of its operands, children before parents), and pools of constants. Everything is checked again
//! on the way in; what does not hold together is refused with the whole item.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::read;
use crate::engine::condition::{Automaton, Form, FormError, MAX_NODES, Network, Node, Op, Pool, Zone};
use crate::engine::{Condition, Decimal};

/// The version of the compiled form that this build writes and understands.
pub const CONDITION_VERSION: u8 = 1;

/// A condition: what was written, and what it was compiled to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionItem {
    /// The version of `form`. One that is not known here never allows and always denies.
    pub v: u8,
    /// The CEL text, for people.
    pub source: String,
    /// A [`FormItem`] if `v` is [`CONDITION_VERSION`].
    pub form: serde_json::Value,
}

/// The compiled form, version 1. See [`Pool`] for the constants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormItem {
    /// `OPERATION OPERAND...`; the last one is the root.
    pub nodes: Vec<String>,
    /// Integers, times and lengths of time in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ints: Vec<i64>,
    /// Exact numbers, as texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<String>,
    /// Texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<Box<str>>,
    /// IP addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Networks, `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// Lists of texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text_lists: Vec<Vec<Box<str>>>,
    /// Lists of integers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub int_lists: Vec<Vec<i64>>,
    /// Lists of exact numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub number_lists: Vec<Vec<String>>,
    /// Time zones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneItem>,
    /// Patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub automata: Vec<AutomatonItem>,
}

/// UTC offsets over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneItem {
    /// The offset before the first change, in seconds.
    pub first: i32,
    /// From which second since the Unix epoch on which offset holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<(i64, i32)>,
    /// Where the table ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// The table of a pattern. States 0 and 1 are refusal and acceptance; rows are those of states 2 and on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutomatonItem {
    /// From which byte on which class holds; the first is for byte 0.
    pub classes: Vec<(u8, u8)>,
    /// The next states, row after row.
    pub next: Vec<u16>,
    /// Whether a text may end there, for each row: 0 or 1.
    pub at_end: Vec<u8>,
    /// The first state.
    pub start: u16,
}

/// Why a condition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionItemError {
    /// Not the JSON of a form.
    #[error("the condition is not understood: {0}")]
    Json(String),
    /// A node that is none.
    #[error("node {0} of the condition is not understood")]
    Node(usize),
    /// A constant that is none.
    #[error("a {0} of the condition is not understood")]
    Constant(&'static str),
    /// A form that does not hold together.
    #[error("the condition does not hold together: {0}")]
    Form(#[from] FormError),
}

impl ConditionItem {
    /// The item of a condition that was compiled from `source`.
    #[must_use]
    pub fn new(source: &str, form: &Form) -> Self {
        let form = serde_json::to_value(FormItem::from(form)).unwrap_or_default();
        Self { v: CONDITION_VERSION, source: source.to_owned(), form }
    }

    /// The item of a condition; nothing where none was stated. One that this build does not understand stays so.
    #[must_use]
    pub fn of(condition: &Condition) -> Option<Self> {
        match condition {
            Condition::Always => None,
            Condition::When(form) => Some(Self::new(form.source(), form)),
            Condition::Unsupported => Some(Self { v: 0, source: String::new(), form: serde_json::Value::Null }),
        }
    }
}

impl TryFrom<ConditionItem> for Condition {
    type Error = ConditionItemError;

    fn try_from(item: ConditionItem) -> Result<Self, ConditionItemError> {
        let ConditionItem { v, source, form } = item;
        if v != CONDITION_VERSION {
            return Ok(Self::Unsupported);
        }
        let form = read::from::<FormItem, _>(form).map_err(|error| ConditionItemError::Json(error.to_string()))?;
        Ok(Self::When(Arc::new(Form::try_from(form)?.with_source(&source))))
    }
}

fn each<From, To>(
    list: Vec<From>,
    what: &'static str,
    read: impl Fn(From) -> Option<To>,
) -> Result<Vec<To>, ConditionItemError> {
    list.into_iter().map(|item| read(item).ok_or(ConditionItemError::Constant(what))).collect()
}

/// Reads `eq 4 7`.
fn node(text: &str) -> Option<Node> {
    let mut words = text.split(' ');
    let op = Op::of_word(words.next()?)?;
    let mut operands = [0; 3];
    for (_, place) in op.operands().iter().zip(&mut operands) {
        let word = words.next()?;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        *place = word.parse().ok().filter(|_| plain)?;
    }
    words.next().is_none().then_some(Node { op, operands })
}

impl TryFrom<FormItem> for Form {
    type Error = ConditionItemError;

    fn try_from(item: FormItem) -> Result<Self, ConditionItemError> {
        let FormItem { nodes, ints, numbers, texts, addresses, networks, .. } = item;
        let FormItem { text_lists, int_lists, number_lists, zones, automata, .. } = item;
        if nodes.len() > MAX_NODES {
            return Err(FormError::Nodes.into());
        }
        let read = nodes.iter().enumerate().map(|(at, text)| node(text).ok_or(ConditionItemError::Node(at)));
        let nodes = read.collect::<Result<Vec<_>, _>>()?;
        let number = |text: String| text.parse::<Decimal>().ok();
        let pool = Pool {
            ints,
            numbers: each(numbers, "number", number)?,
            texts,
            addresses,
            networks: each(networks, "network", |text| text.parse::<Network>().ok())?,
            text_lists,
            int_lists,
            number_lists: each(number_lists, "list of numbers", |list| list.into_iter().map(number).collect())?,
            zones: each(zones, "time zone", |ZoneItem { first, changes, until }| Zone::new(first, changes, until))?,
            automata: each(automata, "pattern", automaton)?,
        };
        Ok(Self::new(nodes, pool)?)
    }
}

pub(super) fn automaton(item: AutomatonItem) -> Option<Automaton> {
    let AutomatonItem { classes, next, at_end, start } = item;
    let rises = classes.is_sorted_by(|one, other| one.0 < other.0);
    let from_zero = classes.first().is_some_and(|(from, _)| *from == 0);
    let bits = at_end.iter().all(|bit| *bit <= 1);
    if !(rises && from_zero && bits) {
        return None;
    }
    let of = |byte: u8| classes.iter().rev().find(|(from, _)| *from <= byte).map_or(0, |(_, class)| *class);
    let classes = (0..=u8::MAX).map(of).collect();
    Automaton::new(classes, next, at_end.into_iter().map(|bit| bit == 1).collect(), start)
}

impl From<&Automaton> for AutomatonItem {
    fn from(automaton: &Automaton) -> Self {
        let (classes, next, at_end, start) = automaton.parts();
        let mut runs: Vec<(u8, u8)> = Vec::new();
        for (byte, class) in (0..=u8::MAX).zip(classes) {
            if runs.last().is_none_or(|(_, last)| last != class) {
                runs.push((byte, *class));
            }
        }
        Self { classes: runs, next: next.to_vec(), at_end: at_end.iter().map(|end| u8::from(*end)).collect(), start }
    }
}

impl From<&Form> for FormItem {
    fn from(form: &Form) -> Self {
        let write = |node: &Node| {
            let operands = node.op.operands().iter().zip(node.operands);
            operands.fold(node.op.word().to_owned(), |text, (_, place)| format!("{text} {place}"))
        };
        let Pool { ints, numbers, texts, addresses, networks, text_lists, int_lists, number_lists, zones, automata } =
            form.pool();
        let number = |number: &Decimal| number.to_string();
        let zone = |zone: &Zone| {
            let (first, changes, until) = zone.parts();
            ZoneItem { first, changes: changes.to_vec(), until }
        };
        Self {
            nodes: form.nodes().iter().map(write).collect(),
            ints: ints.clone(),
            numbers: numbers.iter().map(number).collect(),
            texts: texts.clone(),
            addresses: addresses.clone(),
            networks: networks.iter().map(ToString::to_string).collect(),
            text_lists: text_lists.clone(),
            int_lists: int_lists.clone(),
            number_lists: number_lists.iter().map(|list| list.iter().map(number).collect()).collect(),
            zones: zones.iter().map(zone).collect(),
            automata: automata.iter().map(AutomatonItem::from).collect(),
        }
    }
}
