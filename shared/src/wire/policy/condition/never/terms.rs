//! Which parts of a form are the same expression, and so have the same value throughout one evaluation.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::engine::condition::{Form, MAX_LEVELS, Node, Op, Operand, Type};

/// Numbers, types and surroundings of the nodes of a form.
#[derive(Debug)]
pub(super) struct Terms {
    ids: Vec<u32>,
    kinds: Vec<Option<Type>>,
    /// The `all` and `exists` around each node, outermost first.
    scopes: Vec<Scope>,
    /// Which level an element is of.
    levels: Vec<usize>,
}

type Scope = [Option<usize>; MAX_LEVELS as usize];

impl Terms {
    pub(super) fn new(form: &Form) -> Self {
        let nodes = form.nodes();
        let mut terms = Self {
            ids: Vec::with_capacity(nodes.len()),
            kinds: Vec::with_capacity(nodes.len()),
            scopes: scopes(nodes),
            levels: nodes.iter().map(|node| usize::from(node.operands[0])).collect(),
        };
        let mut known: HashMap<(Op, [u32; 3]), u32> = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            let (mut key, mut kinds) = ([0; 3], [None; 3]);
            let mut children = kinds.iter_mut();
            for ((slot, operand), place) in key.iter_mut().zip(node.op.operands()).zip(node.operands) {
                *slot = u32::from(place);
                match operand {
                    Operand::Node => {
                        let child = usize::from(place);
                        *slot = terms.id(child);
                        if let Some(kind) = children.next() {
                            *kind = terms.kind(child);
                        }
                    }
                    // The element of this very `all` or `exists`, not of another one at the same level.
                    Operand::Level => {
                        *slot = terms.binder(at).and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
                    }
                    _ => {}
                }
            }
            let next = u32::try_from(at).unwrap_or(u32::MAX);
            terms.ids.push(*known.entry((node.op, key)).or_insert(next));
            terms.kinds.push(node.op.result(kinds));
        }
        terms
    }

    /// The same for nodes that are the same expression.
    pub(super) fn id(&self, at: usize) -> u32 {
        self.ids.get(at).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn kind(&self, at: usize) -> Option<Type> {
        self.kinds.get(at).copied().flatten()
    }

    /// The `all` or `exists` that an element is of.
    pub(super) fn binder(&self, at: usize) -> Option<usize> {
        let level = *self.levels.get(at)?;
        self.scopes.get(at)?.get(level).copied().flatten()
    }
}

fn scopes(nodes: &[Node]) -> Vec<Scope> {
    let mut scopes = vec![Scope::default(); nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev() {
        let scope = scopes.get(at).copied().unwrap_or_default();
        let mut inner = scope;
        if let (Op::All | Op::Exists, Some(free)) = (node.op, inner.iter_mut().find(|level| level.is_none())) {
            *free = Some(at);
        }
        let mut second = false;
        for (operand, place) in node.op.operands().iter().zip(node.operands) {
            if let (Operand::Node, Some(slot)) = (operand, scopes.get_mut(usize::from(place))) {
                *slot = if second { inner } else { scope };
            }
            second = true;
        }
    }
    scopes
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    pub(super) const fn of(op: Op) -> Option<Self> {
        Some(match op {
            Op::Eq => Self::Equal,
            Op::Ne => Self::Unequal,
            Op::Lt => Self::Less,
            Op::Le => Self::LessOrEqual,
            Op::Gt => Self::Greater,
            Op::Ge => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    pub(super) const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::Unequal,
            Self::Unequal => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The same, said of the other side.
    pub(super) const fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    pub(super) const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    pub(super) const fn holds_of_same(self) -> bool {
        self.holds(Ordering::Equal)
    }

    /// Whether it holds for some two whole numbers of these ranges.
    pub(super) const fn possible(self, (low, high): (i128, i128), (from, to): (i128, i128)) -> bool {
        match self {
            Self::Equal => low <= to && from <= high,
            Self::Unequal => !(low == high && from == to && low == from),
            Self::Less => low < to,
            Self::LessOrEqual => low <= to,
            Self::Greater => high > from,
            Self::GreaterOrEqual => high >= from,
        }
    }
}
