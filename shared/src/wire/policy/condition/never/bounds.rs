//! What one way says of one value, and whether a value like that can be.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::Part;
use super::terms::Relation;
use crate::engine::Decimal;
use crate::engine::condition::{Automaton, Pool};

/// A value that is fixed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// An integer, a time or a length of time.
    Whole(i128),
    Number(Decimal),
    Text(Box<str>),
    Address(IpAddr),
}

impl Value {
    /// An IPv4 address in IPv6 clothes is the IPv4 address, as where conditions are evaluated.
    pub(super) fn address(address: IpAddr) -> Self {
        Self::Address(match address {
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        })
    }

    /// The order of two values of one type.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => Some(one.cmp(two)),
            (Self::Number(one), Self::Number(two)) => Some(one.cmp(two)),
            (Self::Text(one), Self::Text(two)) => Some(one.cmp(two)),
            (Self::Address(one), Self::Address(two)) => Some(one.cmp(two)),
            _ => None,
        }
    }
}

/// How a text or an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Starts(Box<str>),
    Ends(Box<str>),
    Contains(Box<str>),
    /// The place of an automaton.
    Matches(u16),
    /// The place of a network.
    Within(u16),
}

impl Shape {
    /// Whether a value is so, if that is known.
    pub(super) fn fits(&self, value: &Value, pool: &Pool) -> Option<bool> {
        Some(match (self, value) {
            (Self::Starts(part), Value::Text(text)) => text.starts_with(&**part),
            (Self::Ends(part), Value::Text(text)) => text.ends_with(&**part),
            (Self::Contains(part), Value::Text(text)) => text.contains(&**part),
            (Self::Matches(at), Value::Text(text)) => pool.automata.get(usize::from(*at))?.accepts(text),
            (Self::Within(at), Value::Address(address)) => pool.networks.get(usize::from(*at))?.contains(*address),
            _ => return None,
        })
    }

    /// Whether what is so is never, or always, so as the other shape says; nothing if it may be either.
    fn implies(&self, other: &Self, pool: &Pool) -> Option<bool> {
        let network = |at: &u16| pool.networks.get(usize::from(*at));
        match (self, other) {
            (Self::Starts(one), Self::Starts(two)) => match one.starts_with(&**two) {
                true => Some(true),
                false if two.starts_with(&**one) => None,
                false => Some(false),
            },
            (Self::Ends(one), Self::Ends(two)) => match one.ends_with(&**two) {
                true => Some(true),
                false if two.ends_with(&**one) => None,
                false => Some(false),
            },
            (Self::Starts(one) | Self::Ends(one) | Self::Contains(one), Self::Contains(two)) => {
                one.contains(&**two).then_some(true)
            }
            (Self::Within(one), Self::Within(two)) => {
                let (one, two) = (network(one)?, network(two)?);
                match (two.covers(one), one.covers(two)) {
                    (true, _) => Some(true),
                    (false, true) => None,
                    (false, false) => Some(false),
                }
            }
            _ => None,
        }
    }

    /// Whether nothing at all is so.
    fn is_impossible(&self, pool: &Pool) -> bool {
        match self {
            Self::Matches(at) => pool.automata.get(usize::from(*at)).is_some_and(Automaton::accepts_nothing),
            _ => false,
        }
    }
}

/// An end of a range.
#[derive(Debug, Clone)]
struct End {
    value: Value,
    /// Whether the value itself is outside.
    open: bool,
    /// Which part says so; nothing if it is so by nature.
    said: Option<Part>,
}

/// What is said of a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Bounds {
    low: Option<End>,
    high: Option<End>,
    /// It is one of these.
    pub(super) among: Option<(Vec<Value>, Option<Part>)>,
    /// It is none of these.
    pub(super) not: Vec<(Value, Part)>,
    pub(super) shapes: Vec<(Shape, Part)>,
    /// Whether it is there at all.
    pub(super) there: Option<(bool, Part)>,
}

/// The two parts that exclude each other, as far as they are parts.
type Two = (Option<Part>, Option<Part>);

impl Bounds {
    /// How much is copied with it.
    pub(super) fn size(&self) -> usize {
        let among = self.among.as_ref().map_or(0, |(values, _)| values.len());
        among.saturating_add(self.not.len()).saturating_add(self.shapes.len()).saturating_add(1)
    }

    /// How much [`Self::clash`] looks at.
    pub(super) fn work(&self) -> usize {
        let among = self.among.as_ref().map_or(1, |(values, _)| values.len());
        among.saturating_mul(self.not.len().saturating_add(self.shapes.len()).saturating_add(1))
    }

    /// Between these whole numbers, by nature.
    pub(super) fn within(&mut self, low: i128, high: i128) {
        self.low = Some(End { value: Value::Whole(low), open: false, said: None });
        self.high = Some(End { value: Value::Whole(high), open: false, said: None });
    }

    /// The whole numbers between which it lies.
    pub(super) fn whole(&self) -> Option<(i128, i128)> {
        let number = |end: &Option<End>| match end.as_ref().map(|end| &end.value) {
            Some(Value::Whole(number)) => Some(*number),
            _ => None,
        };
        Some((number(&self.low)?, number(&self.high)?))
    }

    /// One of these.
    pub(super) fn only(&mut self, values: Vec<Value>, part: Part) {
        let (left, said) = match self.among.take() {
            // Which of the two leaves fewer does not matter: both are needed where nothing is left.
            Some((known, said)) => {
                let left: Vec<Value> = known.iter().filter(|value| values.contains(value)).cloned().collect();
                if left.is_empty() { (known, said) } else { (left, Some(part)) }
            }
            None => (values.clone(), Some(part)),
        };
        if !left.iter().any(|value| values.contains(value)) {
            self.not.extend(left.iter().map(|value| (value.clone(), part)));
        }
        self.among = Some((left, said));
    }

    pub(super) fn narrow(&mut self, relation: Relation, value: Value, part: Part) {
        let whole = matches!(value, Value::Whole(_));
        let moved = |by: i128| match &value {
            Value::Whole(number) => Value::Whole(number.saturating_add(by)),
            other => other.clone(),
        };
        let end = |value: Value, open: bool| End { value, open: open && !whole, said: Some(part) };
        match relation {
            Relation::Equal => {
                self.raise(end(value.clone(), false));
                self.lower(end(value, false));
            }
            Relation::Unequal => self.not.push((value, part)),
            Relation::Less => self.lower(end(moved(-1), true)),
            Relation::LessOrEqual => self.lower(end(value, false)),
            Relation::Greater => self.raise(end(moved(1), true)),
            Relation::GreaterOrEqual => self.raise(end(value, false)),
        }
    }

    fn raise(&mut self, end: End) {
        let tighter = self.low.as_ref().is_none_or(|known| match end.value.compare(&known.value) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => end.open && !known.open,
            _ => false,
        });
        if tighter {
            self.low = Some(end);
        }
    }

    fn lower(&mut self, end: End) {
        let tighter = self.high.as_ref().is_none_or(|known| match end.value.compare(&known.value) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => end.open && !known.open,
            _ => false,
        });
        if tighter {
            self.high = Some(end);
        }
    }

    /// Another part than this one that says something here.
    pub(super) fn sayer(&self, part: Part) -> Option<Part> {
        let ends = [&self.low, &self.high].into_iter().flatten().filter_map(|end| end.said);
        let among = self.among.as_ref().and_then(|(_, said)| *said);
        ends.chain(among).chain(self.not.iter().map(|(_, said)| *said)).find(|said| *said != part)
    }

    /// Two parts that no value fits both of.
    pub(super) fn clash(&self, pool: &Pool) -> Option<Two> {
        if let (Some(low), Some(high)) = (&self.low, &self.high) {
            let order = low.value.compare(&high.value)?;
            if order.is_gt() || (order.is_eq() && (low.open || high.open)) {
                return Some((low.said, high.said));
            }
        }
        self.shapes_clash(pool).or_else(|| self.candidates_clash(pool))
    }

    /// Whether the newest shape goes with the others, which go with each other.
    fn shapes_clash(&self, pool: &Pool) -> Option<Two> {
        let (newest, rest) = self.shapes.split_last()?;
        let (shape, part) = newest;
        if part.1 && shape.is_impossible(pool) {
            return Some((Some(*part), None));
        }
        let against = |(shape, part): &(Shape, Part), (other, theirs): &(Shape, Part)| {
            part.1 && shape.implies(other, pool).is_some_and(|implied| implied != theirs.1)
        };
        let other = rest.iter().find(|other| against(newest, other) || against(other, newest))?;
        Some((Some(*part), Some(other.1)))
    }

    /// Where only a few values are possible: whether each of them is excluded.
    fn candidates_clash(&self, pool: &Pool) -> Option<Two> {
        let pinned = match (&self.low, &self.high) {
            (Some(low), Some(high)) if low.value == high.value => {
                Some((vec![low.value.clone()], low.said.or(high.said)))
            }
            _ => None,
        };
        let (values, said) = pinned.or_else(|| self.among.clone())?;
        let mut first = None;
        for value in &values {
            let excluded = self.excluded(value, pool)?;
            first.get_or_insert(excluded);
        }
        Some((said, first.flatten()))
    }

    /// Which part excludes a value; nothing if none does. The outer option says whether.
    fn excluded(&self, value: &Value, pool: &Pool) -> Option<Option<Part>> {
        let below = |end: &&End| match value.compare(&end.value) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => end.open,
            _ => false,
        };
        let above = |end: &&End| match value.compare(&end.value) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Equal) => end.open,
            _ => false,
        };
        let ends = self.low.iter().find(below).or_else(|| self.high.iter().find(above)).map(|end| end.said);
        let among = || self.among.as_ref().filter(|(values, _)| !values.contains(value)).map(|(_, said)| *said);
        let not = || self.not.iter().find(|(other, _)| other == value).map(|(_, said)| Some(*said));
        let shape = || {
            let misfit = |(shape, part): &&(Shape, Part)| shape.fits(value, pool).is_some_and(|fits| fits != part.1);
            self.shapes.iter().find(misfit).map(|(_, said)| Some(*said))
        };
        ends.or_else(among).or_else(not).or_else(shape)
    }
}
