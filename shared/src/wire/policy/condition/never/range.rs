//! Constants of a form, and the whole numbers that its expressions can give.

use super::bounds::Value;
use super::{Search, Way};
use crate::engine::Decimal;
use crate::engine::condition::{Node, Op, Part, Type};

const WHOLE: (i128, i128) = (i64::MIN as i128, i64::MAX as i128);

impl Search<'_> {
    /// The value of an expression that names no fact.
    pub(super) fn constant(&self, at: usize) -> Option<Value> {
        let Node { op, operands } = self.node(at);
        let place = usize::from(operands[0]);
        let pool = self.form.pool();
        match op {
            Op::Text => pool.texts.get(place).map(|text| Value::Text(text.clone())),
            Op::Number => pool.numbers.get(place).copied().map(Value::Number),
            Op::Address => pool.addresses.get(place).copied().map(Value::address),
            Op::Exact => match self.constant(place)? {
                Value::Whole(number) => i64::try_from(number).ok().map(Decimal::from).map(Value::Number),
                _ => None,
            },
            _ => match self.range(None, at)? {
                (low, high) if low == high => Some(Value::Whole(low)),
                _ => None,
            },
        }
    }

    /// The values of a list that names no fact.
    pub(super) fn list(&self, at: usize) -> Option<Vec<Value>> {
        let Node { op, operands } = self.node(at);
        let place = usize::from(operands[0]);
        let pool = self.form.pool();
        Some(match op {
            Op::Texts => pool.text_lists.get(place)?.iter().cloned().map(Value::Text).collect(),
            Op::Ints => pool.int_lists.get(place)?.iter().map(|number| Value::Whole(i128::from(*number))).collect(),
            Op::Numbers => pool.number_lists.get(place)?.iter().copied().map(Value::Number).collect(),
            _ => return None,
        })
    }

    /// Between which whole numbers a value lies on a way; nothing for what is no whole number, time or duration.
    pub(super) fn range_of(&self, way: &Way, at: usize) -> Option<(i128, i128)> {
        self.range(Some(way), at)
    }

    fn range(&self, way: Option<&Way>, at: usize) -> Option<(i128, i128)> {
        if !matches!(self.terms.kind(at), Some(Type::Int | Type::Time | Type::Span)) {
            return None;
        }
        let Node { op, operands } = self.node(at);
        let [one, two, _] = operands.map(usize::from);
        let pool = self.form.pool();
        let range = match op {
            Op::Int | Op::Time | Op::Span => {
                let number = i128::from(*pool.ints.get(one)?);
                (number, number)
            }
            Op::Size => match (self.node(one).op, self.constant(one), self.list(one)) {
                (Op::Text, Some(Value::Text(text)), _) => {
                    let letters = i128::try_from(text.chars().count()).ok()?;
                    (letters, letters)
                }
                (_, _, Some(list)) => {
                    let length = i128::try_from(list.len()).ok()?;
                    (length, length)
                }
                _ => (0, WHOLE.1),
            },
            Op::Calendar => match Part::of(operands[0])? {
                Part::Hours => (0, 23),
                Part::Minutes | Part::Seconds => (0, 59),
                Part::Milliseconds => (0, 999),
                Part::DayOfWeek => (0, 6),
                Part::Year => (-999_999, 999_999),
                Part::Month => (0, 11),
                Part::Date => (1, 31),
                Part::DayOfMonth => (0, 30),
                Part::DayOfYear => (0, 365),
            },
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => {
                let (ours, theirs) = (self.range(way, one)?, self.range(way, two)?);
                calculated(op, ours, theirs)
            }
            Op::Neg => {
                let (low, high) = self.range(way, one)?;
                (high.saturating_neg(), low.saturating_neg())
            }
            _ => WHOLE,
        };
        let (low, high) = (range.0.max(WHOLE.0), range.1.min(WHOLE.1));
        let said = way.and_then(|way| way.bounds.get(&self.terms.id(at))).and_then(super::Bounds::whole);
        Some(said.map_or((low, high), |(from, to)| (low.max(from), high.min(to))))
    }
}

/// The range of a result; what leaves 64 bits errs and is no result.
fn calculated(op: Op, (low, high): (i128, i128), (from, to): (i128, i128)) -> (i128, i128) {
    match op {
        Op::Add => (low.saturating_add(from), high.saturating_add(to)),
        Op::Sub => (low.saturating_sub(to), high.saturating_sub(from)),
        Op::Mul => {
            let products = [(low, from), (low, to), (high, from), (high, to)].map(|(one, two)| one.saturating_mul(two));
            let [first, ..] = products;
            products.into_iter().fold((first, first), |(low, high), product| (low.min(product), high.max(product)))
        }
        Op::Div if from == to && from > 0 => {
            (low.checked_div(from).unwrap_or(WHOLE.0), high.checked_div(from).unwrap_or(WHOLE.1))
        }
        Op::Rem if from == to && from > 0 => {
            let most = from.saturating_sub(1);
            if low == high {
                let rest = low.checked_rem(from).unwrap_or(0);
                (rest, rest)
            } else if low >= 0 {
                (0, most.min(high))
            } else {
                (most.saturating_neg(), most)
            }
        }
        _ => WHOLE,
    }
}
