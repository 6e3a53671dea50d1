//! Conditions that can never hold, with the parts that exclude each other.
//!
//! Called where a policy is compiled, over the form that filters evaluate. It looks for a way in which the condition gives
//! what is wanted: both sides of an `&&` must, either side of an `||` may. Each way is followed with what it says of every
//! fact ([`bounds`]); if all ways end in a contradiction, there is none. What it does not understand counts as possible, and
//! so does whatever takes more than a fixed amount of work: it never claims wrongly. An evaluation that errs gives nothing.

mod bounds;
mod range;
mod terms;

use std::cell::Cell;
use std::collections::HashMap;

use crate::engine::condition::{Form, Node, Op, Type};
use bounds::{Bounds, Shape, Value};
use terms::{Relation, Terms};

/// How much work a search may take: nodes looked at, and facts copied where it branches.
pub(super) const WORK: usize = 30_000;

/// A condition for more actions than these is judged as if it were for any.
const MAX_ACTIONS: usize = 256;

/// The most ways that one search opens within each other.
const WAYS: usize = 64;

/// A part of the condition that must give true or false on some way.
pub(super) type Part = (u16, bool);

/// Two parts that exclude each other, or one that is impossible by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) one: Part,
    pub(super) other: Option<Part>,
}

impl Clash {
    const fn alone(part: Part) -> Self {
        Self { one: part, other: None }
    }

    /// What `part` and an earlier part, or the nature of the thing, make of each other.
    fn between(earlier: Option<Part>, part: Part) -> Self {
        match earlier {
            Some(earlier) if earlier != part => Self { one: earlier, other: Some(part) },
            _ => Self::alone(part),
        }
    }
}

/// What is known where the condition stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// The service.
    pub(super) service: Option<&'a str>,
    /// The actions that it is for; nothing if they may be any.
    pub(super) actions: Option<&'a [String]>,
}

/// Why the form can never give `wanted`: what ends each way to it. Nothing if it may. Takes what it does from `work`.
pub(super) fn never(form: &Form, known: Known<'_>, wanted: bool, work: &mut usize) -> Option<Vec<Clash>> {
    let known = Known { actions: known.actions.filter(|names| names.len() <= MAX_ACTIONS), ..known };
    let search = Search { form, terms: Terms::new(form), known, compared: Cell::new(0) };
    let root = u16::try_from(form.nodes().len().checked_sub(1)?).ok()?;
    let way = Way { open: vec![(root, wanted)], ..Way::default() };
    let clashes = search.close(way, work, 0);
    *work = work.saturating_sub(form.nodes().len());
    clashes
}

struct Search<'a> {
    form: &'a Form,
    terms: Terms,
    known: Known<'a>,
    /// Values that were compared, which counts as work.
    compared: Cell<usize>,
}

/// One way to the wanted result: what is still to be looked at, and what it says so far.
#[derive(Debug, Clone, Default)]
struct Way {
    open: Vec<Part>,
    /// Parts of which one alternative or the other must be taken.
    forks: Vec<Part>,
    /// What each truth value must be, and which part says so.
    truths: HashMap<u32, Part>,
    /// What is said of each other value.
    bounds: HashMap<u32, Bounds>,
    /// Comparisons, to be looked at again when everything is known.
    compared: Vec<(Part, usize, Relation, usize)>,
}

type Closed = Result<(), Clash>;

impl Search<'_> {
    fn node(&self, at: usize) -> Node {
        self.form.nodes().get(at).copied().unwrap_or(Node { op: Op::Groups, operands: [0; 3] })
    }

    /// What ends every continuation of a way; nothing if one may go through.
    fn close(&self, mut way: Way, work: &mut usize, depth: usize) -> Option<Vec<Clash>> {
        while let Some(part) = way.open.pop() {
            let assumed = self.assume(&mut way, part);
            pay(work, self.compared.take().saturating_add(1))?;
            if let Err(clash) = assumed {
                return Some(vec![clash]);
            }
        }
        if let Err(clash) = self.settle(&mut way) {
            return Some(vec![clash]);
        }
        // Nothing is left to contradict.
        let (at, wanted) = way.forks.pop()?;
        if depth >= WAYS {
            return None;
        }
        let [one, two, three] = self.node(usize::from(at)).operands;
        let ways = match self.node(usize::from(at)).op {
            Op::If => [vec![(two, wanted), (one, true)], vec![(three, wanted), (one, false)]],
            _ => [vec![(one, wanted)], vec![(two, wanted)]],
        };
        let mut proof = Vec::new();
        for open in ways {
            let bounds = way.bounds.values().map(Bounds::size).fold(0, usize::saturating_add);
            let others = [way.truths.len(), way.compared.len(), way.forks.len()];
            pay(work, others.into_iter().fold(bounds, usize::saturating_add))?;
            let next = Way { open, ..way.clone() };
            for clash in self.close(next, work, depth.saturating_add(1))? {
                if !proof.contains(&clash) {
                    proof.push(clash);
                }
            }
        }
        Some(proof)
    }

    /// Takes a part for granted.
    fn assume(&self, way: &mut Way, part: Part) -> Closed {
        let (at, wanted) = part;
        let place = usize::from(at);
        let Node { op, operands } = self.node(place);
        let [one, two, _] = operands;
        if let Some(&earlier) = way.truths.get(&self.terms.id(place))
            && earlier.1 != wanted
        {
            return Err(Clash::between(Some(earlier), part));
        }
        way.truths.insert(self.terms.id(place), part);
        match (op, wanted) {
            (Op::True, false) | (Op::False, true) => return Err(Clash::alone(part)),
            (Op::And, true) | (Op::Or, false) => way.open.extend([(two, wanted), (one, wanted)]),
            (Op::And, false) | (Op::Or, true) | (Op::If, _) => way.forks.insert(0, part),
            (Op::Not, _) => way.open.push((one, !wanted)),
            // One element must do it, and each `exists` has an element of its own here.
            (Op::Exists, true) | (Op::All, false) => {
                self.there(way, usize::from(one), part)?;
                way.open.push((two, wanted));
            }
            (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, _) => self.compare(way, part, op, operands)?,
            (Op::In, _) => self.member(way, part, usize::from(one), usize::from(two))?,
            (Op::StartsWith | Op::EndsWith | Op::Contains, _) => {
                self.there(way, usize::from(one), part)?;
                self.there(way, usize::from(two), part)?;
                if let Some(Value::Text(text)) = self.constant(usize::from(two)) {
                    let shape = match op {
                        Op::StartsWith => Shape::Starts(text),
                        Op::EndsWith => Shape::Ends(text),
                        _ => Shape::Contains(text),
                    };
                    self.shape(way, part, usize::from(one), shape)?;
                }
            }
            (Op::Matches, _) => {
                self.there(way, usize::from(two), part)?;
                self.shape(way, part, usize::from(two), Shape::Matches(one))?;
            }
            (Op::Within, _) => {
                self.there(way, usize::from(two), part)?;
                self.shape(way, part, usize::from(two), Shape::Within(one))?;
            }
            (Op::Has, _) => return self.present(way, usize::from(one), wanted, part),
            (Op::Signal | Op::ClaimBool | Op::FieldBool, _) => return self.present(way, place, true, part),
            _ => {}
        }
        Ok(())
    }

    /// A fact is there, or is not.
    fn present(&self, way: &mut Way, fact: usize, wanted: bool, part: Part) -> Closed {
        let always = [Op::Now, Op::Service, Op::Action, Op::Resource, Op::Criticality, Op::Groups, Op::Signal];
        if !wanted && always.contains(&self.node(fact).op) {
            return Err(Clash::alone(part));
        }
        let bounds = self.bounds(way, fact);
        match bounds.there {
            Some((known, earlier)) if known != wanted => Err(Clash::between(Some(earlier), part)),
            Some(_) => Ok(()),
            None => {
                bounds.there = Some((wanted, part));
                Ok(())
            }
        }
    }

    /// Everything that is certainly evaluated for a value is there.
    fn there(&self, way: &mut Way, value: usize, part: Part) -> Closed {
        let mut open = vec![value];
        while let Some(at) = open.pop() {
            let Node { op, operands } = self.node(at);
            match op {
                _ if op.fact().is_some() => self.present(way, at, true, part)?,
                Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem | Op::Index => {
                    open.extend(operands.iter().take(2).copied().map(usize::from));
                }
                Op::Neg | Op::Exact | Op::Size => open.extend(operands.first().copied().map(usize::from)),
                Op::Calendar => open.extend(operands.last().copied().map(usize::from)),
                _ => {}
            }
        }
        Ok(())
    }

    fn compare(&self, way: &mut Way, part: Part, op: Op, operands: [u16; 3]) -> Closed {
        let [one, two, _] = operands.map(usize::from);
        let Some(relation) = Relation::of(op).map(|relation| if part.1 { relation } else { relation.negated() }) else {
            return Ok(());
        };
        if self.terms.kind(one) == Some(Type::Bool) {
            let fixed = |at: usize| match self.node(at).op {
                Op::True => Some(true),
                Op::False => Some(false),
                _ => None,
            };
            if let Some((other, truth)) = fixed(two).map(|truth| (one, truth)).or(fixed(one).map(|truth| (two, truth)))
            {
                let other = u16::try_from(other).unwrap_or(u16::MAX);
                match relation {
                    Relation::Equal => way.open.push((other, truth)),
                    Relation::Unequal => way.open.push((other, !truth)),
                    _ => {}
                }
            }
            return Ok(());
        }
        self.there(way, one, part)?;
        self.there(way, two, part)?;
        if self.terms.id(one) == self.terms.id(two) {
            return if relation.holds_of_same() { Ok(()) } else { Err(Clash::alone(part)) };
        }
        match (self.constant(one), self.constant(two)) {
            (Some(one), Some(two)) => match one.compare(&two) {
                Some(order) if !relation.holds(order) => return Err(Clash::alone(part)),
                _ => {}
            },
            (None, Some(value)) => self.narrow(way, part, one, relation, value)?,
            (Some(value), None) => self.narrow(way, part, two, relation.turned(), value)?,
            (None, None) => {}
        }
        way.compared.push((part, one, relation, two));
        Ok(())
    }

    fn member(&self, way: &mut Way, part: Part, wanted: usize, list: usize) -> Closed {
        self.there(way, wanted, part)?;
        self.there(way, list, part)?;
        let Some(values) = self.list(list) else { return Ok(()) };
        match self.constant(wanted) {
            Some(value) if values.contains(&value) != part.1 => Err(Clash::alone(part)),
            Some(_) => Ok(()),
            None => {
                let bounds = self.bounds(way, wanted);
                if part.1 {
                    bounds.only(values, part)
                } else {
                    bounds.not.extend(values.into_iter().map(|value| (value, part)));
                }
                self.judged(way, wanted, part)
            }
        }
    }

    fn narrow(&self, way: &mut Way, part: Part, at: usize, relation: Relation, value: Value) -> Closed {
        self.bounds(way, at).narrow(relation, value, part);
        self.judged(way, at, part)
    }

    fn shape(&self, way: &mut Way, part: Part, at: usize, shape: Shape) -> Closed {
        match self.constant(at) {
            Some(value) if shape.fits(&value, self.form.pool()) == Some(!part.1) => Err(Clash::alone(part)),
            Some(_) => Ok(()),
            None => {
                self.bounds(way, at).shapes.push((shape, part));
                self.judged(way, at, part)
            }
        }
    }

    /// Whether what is said of a value can still be.
    fn judged(&self, way: &mut Way, at: usize, part: Part) -> Closed {
        let bounds = self.bounds(way, at);
        self.compared.set(self.compared.get().saturating_add(bounds.work()));
        match bounds.clash(self.form.pool()) {
            Some((one, other)) => {
                let earlier = [one, other].into_iter().flatten().find(|known| *known != part);
                Err(Clash::between(earlier, part))
            }
            None => Ok(()),
        }
    }

    /// What is said of a value so far, beginning with what holds by nature.
    fn bounds<'w>(&self, way: &'w mut Way, at: usize) -> &'w mut Bounds {
        let id = self.terms.id(at);
        if !way.bounds.contains_key(&id) {
            let bounds = self.natural(way, at);
            way.bounds.insert(id, bounds);
        }
        way.bounds.entry(id).or_default()
    }

    fn natural(&self, way: &Way, at: usize) -> Bounds {
        let texts = |names: Vec<&str>| names.into_iter().map(|name| Value::Text(name.into())).collect();
        let mut bounds = Bounds::default();
        match self.node(at).op {
            Op::Criticality => bounds.among = Some((texts(vec!["low", "standard", "critical"]), None)),
            Op::Service => bounds.among = self.known.service.map(|name| (texts(vec![name]), None)),
            Op::Action => {
                let names = self.known.actions.map(|names| names.iter().map(String::as_str).collect());
                bounds.among = names.map(|names| (texts(names), None));
            }
            Op::EachText | Op::EachInt | Op::EachNumber => {
                let list = self.terms.binder(at).map(|binder| usize::from(self.node(binder).operands[0]));
                bounds.among = list.and_then(|list| self.list(list)).map(|values| (values, None));
            }
            _ => {
                if let Some((low, high)) = self.range_of(way, at) {
                    bounds.within(low, high);
                }
            }
        }
        bounds
    }

    /// Looks again at every comparison, now that everything on this way is known.
    fn settle(&self, way: &mut Way) -> Closed {
        for (part, one, relation, two) in way.compared.clone() {
            let (Some(ours), Some(theirs)) = (self.range_of(way, one), self.range_of(way, two)) else { continue };
            if ours.0 > ours.1 || theirs.0 > theirs.1 || !relation.possible(ours, theirs) {
                let said = [one, two].into_iter().find_map(|side| self.sayer(way, side, part));
                return Err(Clash::between(said, part));
            }
        }
        Ok(())
    }

    /// Another part than this one that says something of a value or of what it is made of.
    fn sayer(&self, way: &Way, value: usize, part: Part) -> Option<Part> {
        let mut open = vec![value];
        while let Some(at) = open.pop() {
            let said = way.bounds.get(&self.terms.id(at)).and_then(|bounds| bounds.sayer(part));
            if said.is_some() {
                return said;
            }
            let Node { op, operands } = self.node(at);
            if let Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem = op {
                open.extend(operands.iter().take(2).copied().map(usize::from));
            } else if op == Op::Neg {
                open.extend(operands.first().copied().map(usize::from));
            }
        }
        None
    }
}

/// Takes work away; nothing is left if there is not enough.
fn pay(work: &mut usize, cost: usize) -> Option<()> {
    let left = work.checked_sub(cost);
    *work = left.unwrap_or(0);
    left.map(|_| ())
}

#[cfg(test)]
mod tests;
