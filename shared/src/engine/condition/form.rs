//! The compiled condition: nodes in one flat list, children before parents, constants in pools beside it.
//! [`Form::new`] checks everything that [`super::eval`] relies on, so a form that exists evaluates within its bounds.

use std::net::IpAddr;

use super::automaton::Automaton;
use super::decimal::Decimal;
use super::network::Network;
use super::op::{Op, Operand, Type};
use super::zone::{Part, Zone};
use super::{Needs, insert_sorted};

/// The most nodes.
pub const MAX_NODES: usize = 1_000;

/// The most nodes on the way from the root to a leaf.
pub const MAX_DEPTH: u16 = 48;

/// The most `all` and `exists` within each other.
pub const MAX_LEVELS: u16 = 2;

/// The most elements that `all` and `exists` go through.
pub const MAX_LIST: usize = 64;

/// The most elements of a list that `in` looks through.
pub const MAX_MEMBERS: usize = 256;

/// The most work that one evaluation may take, in units of about ten nanoseconds.
pub const MAX_COST: u32 = 20_000;

/// The most bytes of all texts together.
pub(crate) const MAX_TEXT_BYTES: usize = 8_192;

/// How long a text of the call is assumed to be when a condition's cost is estimated. Longer ones cost more fuel.
const ASSUMED_TEXT: usize = 256;

/// The work of looking at a text once, over what any node costs.
pub(crate) const fn text_cost(bytes: usize) -> u32 {
    // As many units as 64-byte pieces; texts of a call are far below four gigabytes.
    (bytes >> 6) as u32
}

/// The work of an automaton, which looks at each byte by itself.
pub(crate) const fn automaton_cost(bytes: usize) -> u32 {
    (bytes >> 3) as u32
}

/// One operation and its operands: places of nodes or of constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// As many as [`Op::operands`] lists; the others are 0.
    pub operands: [u16; 3],
}

/// The constants of a form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// Integers, times and lengths of time.
    pub ints: Vec<i64>,
    /// Exact numbers.
    pub numbers: Vec<Decimal>,
    /// Texts and names of facts.
    pub texts: Vec<Box<str>>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Networks.
    pub networks: Vec<Network>,
    /// Lists of texts.
    pub text_lists: Vec<Vec<Box<str>>>,
    /// Lists of integers.
    pub int_lists: Vec<Vec<i64>>,
    /// Lists of numbers.
    pub number_lists: Vec<Vec<Decimal>>,
    /// Time zones.
    pub zones: Vec<Zone>,
    /// Automata.
    pub automata: Vec<Automaton>,
}

/// A compiled condition that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    nodes: Box<[Node]>,
    pool: Pool,
    needs: Needs,
    cost: u32,
    timed: bool,
    source: Box<str>,
}

/// Why nodes and constants are not a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// No nodes, or more than there may be.
    #[error("it has no nodes or more than {MAX_NODES}")]
    Nodes,
    /// An operand that is not there.
    #[error("node {0} names something that is not there")]
    Operand(usize),
    /// A node that is used by two others, or by none.
    #[error("node {0} is not used exactly once")]
    Tree(usize),
    /// Operands of the wrong types.
    #[error("node {0} does not take operands of these types")]
    Types(usize),
    /// The whole does not give true or false.
    #[error("it does not give true or false")]
    Result,
    /// Too deep.
    #[error("it is nested more than {MAX_DEPTH} deep")]
    Depth,
    /// Too many levels of `all` and `exists`, or an element of none of them.
    #[error("node {0} is not within the `all` or `exists` that it needs, or too many of them are nested")]
    Levels(usize),
    /// Constants that are too long or too many.
    #[error("it has too many constants, or too long ones")]
    Constants,
    /// Too costly.
    #[error("judging it may cost {0} units of work, over {MAX_COST}")]
    Cost(u32),
}

/// What is known of a node after its children.
#[derive(Debug, Clone, Copy)]
struct Checked {
    kind: Type,
    depth: u16,
    cost: u32,
    used: bool,
}

impl Pool {
    fn has(&self, operand: Operand, at: u16) -> bool {
        let at = usize::from(at);
        match operand {
            // Nodes are checked by who counts them.
            Operand::Node => true,
            Operand::Int => at < self.ints.len(),
            Operand::Number => at < self.numbers.len(),
            Operand::Text => at < self.texts.len(),
            Operand::Address => at < self.addresses.len(),
            Operand::Network => at < self.networks.len(),
            Operand::Texts => at < self.text_lists.len(),
            Operand::Ints => at < self.int_lists.len(),
            Operand::Numbers => at < self.number_lists.len(),
            Operand::Zone => at < self.zones.len(),
            Operand::Automaton => at < self.automata.len(),
            Operand::Part => Part::ALL.len() > at,
            Operand::Level => at < usize::from(MAX_LEVELS),
        }
    }

    fn is_bounded(&self) -> bool {
        let Self { ints, numbers, texts, addresses, networks, text_lists, int_lists, number_lists, zones, automata } =
            self;
        let short = [ints.len(), numbers.len(), texts.len(), addresses.len(), networks.len(), text_lists.len()];
        let lists = text_lists.iter().map(Vec::len).chain(int_lists.iter().map(Vec::len));
        let lists = lists.chain(number_lists.iter().map(Vec::len));
        let bytes =
            texts.iter().chain(text_lists.iter().flatten()).map(|text| text.len()).fold(0, usize::saturating_add);
        let tables = automata.iter().map(|automaton| automaton.parts().1.len()).fold(0, usize::saturating_add);
        short.into_iter().chain([int_lists.len(), number_lists.len()]).all(|count| count <= MAX_NODES)
            && lists.clone().all(|length| length <= MAX_MEMBERS)
            && lists.fold(0, usize::saturating_add) <= MAX_NODES
            && bytes <= MAX_TEXT_BYTES
            && zones.len() <= 8
            && automata.len() <= 16
            && tables <= super::automaton::MAX_TRANSITIONS.saturating_mul(2)
    }
}

impl Form {
    /// Checks nodes and constants and keeps them.
    ///
    /// # Errors
    /// If an evaluation could leave its bounds: see [`FormError`].
    pub fn new(nodes: Vec<Node>, pool: Pool) -> Result<Self, FormError> {
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(FormError::Nodes);
        }
        if !pool.is_bounded() {
            return Err(FormError::Constants);
        }
        let mut needs = Needs::default();
        let mut timed = false;
        let mut checked: Vec<Checked> = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            let own = check(at, node, &nodes, &pool, &mut checked)?;
            checked.push(own);
            timed |= matches!(node.op, Op::Now | Op::Signal);
            need(&mut needs, node, &pool);
        }
        let (root, rest) = checked.split_last().ok_or(FormError::Nodes)?;
        if let Some(loose) = rest.iter().position(|node| !node.used) {
            return Err(FormError::Tree(loose));
        }
        if root.kind != Type::Bool {
            return Err(FormError::Result);
        }
        if root.depth > MAX_DEPTH {
            return Err(FormError::Depth);
        }
        if root.cost > MAX_COST {
            return Err(FormError::Cost(root.cost));
        }
        let cost = root.cost;
        levels(&nodes, &checked)?;
        Ok(Self { nodes: nodes.into(), pool, needs, cost, timed, source: Box::default() })
    }

    /// The same with the text that it was compiled from, for people.
    #[must_use]
    pub fn with_source(self, source: &str) -> Self {
        Self { source: source.into(), ..self }
    }

    /// The text that it was compiled from, as far as it is known.
    #[must_use]
    pub const fn source(&self) -> &str {
        &self.source
    }

    /// The nodes; the last one is the root.
    #[must_use]
    pub const fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The constants.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What it reads of a call.
    #[must_use]
    pub const fn needs(&self) -> &Needs {
        &self.needs
    }

    /// The most work that an evaluation takes over texts of ordinary length.
    #[must_use]
    pub const fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether what it gives may depend on the time.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.timed
    }
}

/// Checks one node against those before it, which it marks as used.
fn check(at: usize, node: &Node, nodes: &[Node], pool: &Pool, before: &mut [Checked]) -> Result<Checked, FormError> {
    let mut children: [Option<Type>; 3] = [None; 3];
    let mut slots = children.iter_mut();
    let (mut depth, mut cost) = (0_u16, 0_u32);
    let mut costs = [0_u32; 3];
    let mut lists = [0_usize; 3];
    let mut places = costs.iter_mut().zip(&mut lists);
    for (operand, place) in node.op.operands().iter().zip(node.operands) {
        if !pool.has(*operand, place) {
            return Err(FormError::Operand(at));
        }
        if *operand != Operand::Node {
            continue;
        }
        let child = before.get_mut(usize::from(place)).ok_or(FormError::Operand(at))?;
        if std::mem::replace(&mut child.used, true) {
            return Err(FormError::Tree(usize::from(place)));
        }
        if let Some(slot) = slots.next() {
            *slot = Some(child.kind);
        }
        if let Some((cost, list)) = places.next() {
            *cost = child.cost;
            *list = nodes.get(usize::from(place)).map_or(0, |child| length(child, pool));
        }
        depth = depth.max(child.depth);
        cost = cost.saturating_add(child.cost);
    }
    let spare = node.operands.iter().skip(node.op.operands().len());
    if spare.into_iter().any(|operand| *operand != 0) {
        return Err(FormError::Operand(at));
    }
    let kind = node.op.result(children).ok_or(FormError::Types(at))?;
    let is_fact = |place: u16| nodes.get(usize::from(place)).is_some_and(|child| child.op.fact().is_some());
    let [first, ..] = node.operands;
    if node.op == Op::Has && !is_fact(first) {
        return Err(FormError::Types(at));
    }
    let [list_cost, body_cost, _] = costs;
    let [first_length, second_length, _] = lists;
    let steps = u32::try_from(first_length).unwrap_or(u32::MAX);
    let own = match node.op {
        Op::All | Op::Exists if first_length > MAX_LIST => return Err(FormError::Constants),
        Op::All | Op::Exists => {
            cost = list_cost.saturating_add(steps.saturating_mul(body_cost.saturating_add(1)));
            1
        }
        Op::In => u32::try_from(second_length).unwrap_or(u32::MAX).saturating_add(1),
        Op::Matches => automaton_cost(ASSUMED_TEXT).saturating_add(1),
        Op::Contains | Op::Size => text_cost(ASSUMED_TEXT).saturating_mul(4).saturating_add(1),
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::StartsWith | Op::EndsWith => {
            text_cost(ASSUMED_TEXT).saturating_add(1)
        }
        Op::Calendar | Op::Param => 8,
        Op::Header | Op::Query | Op::ClaimText | Op::ClaimNumber | Op::ClaimBool | Op::ClaimTexts => 4,
        Op::FieldText | Op::FieldNumber | Op::FieldBool | Op::Signal => 4,
        _ => 1,
    };
    Ok(Checked { kind, depth: depth.saturating_add(1), cost: cost.saturating_add(own), used: false })
}

/// How many elements a list may have.
fn length(node: &Node, pool: &Pool) -> usize {
    let [place, ..] = node.operands.map(usize::from);
    match node.op {
        Op::Texts => pool.text_lists.get(place).map_or(0, Vec::len),
        Op::Ints => pool.int_lists.get(place).map_or(0, Vec::len),
        Op::Numbers => pool.number_lists.get(place).map_or(0, Vec::len),
        _ => MAX_LIST,
    }
}

/// The elements that are gone through around a node, outermost first.
type Scope = [Option<Type>; MAX_LEVELS as usize];

/// Checks, parents first, that every element is of an `all` or `exists` around it, and that those are not nested too deeply.
fn levels(nodes: &[Node], checked: &[Checked]) -> Result<(), FormError> {
    let mut scopes: Vec<Scope> = vec![Scope::default(); nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev() {
        let scope = scopes.get(at).copied().unwrap_or_default();
        let [first, second, _] = node.operands.map(usize::from);
        let within = match node.op {
            Op::All | Op::Exists => {
                let element = checked.get(first).and_then(|list| list.kind.element());
                let mut inner = scope;
                *inner.iter_mut().find(|level| level.is_none()).ok_or(FormError::Levels(at))? = element;
                Some(inner)
            }
            _ => None,
        };
        if let Op::EachText | Op::EachInt | Op::EachNumber = node.op {
            let own = checked.get(at).map(|node| node.kind);
            if scope.get(first).copied().flatten() != own {
                return Err(FormError::Levels(at));
            }
        }
        for (operand, place) in node.op.operands().iter().zip(node.operands.map(usize::from)) {
            if let (Operand::Node, Some(slot)) = (operand, scopes.get_mut(place)) {
                *slot = within.filter(|_| place == second).unwrap_or(scope);
            }
        }
    }
    Ok(())
}

/// Notes what a node reads of a call.
fn need(needs: &mut Needs, node: &Node, pool: &Pool) {
    let [place, ..] = node.operands.map(usize::from);
    let list = match node.op {
        Op::Header => &mut needs.headers,
        Op::Query => &mut needs.query,
        Op::Signal => &mut needs.signals,
        Op::ClaimText | Op::ClaimNumber | Op::ClaimBool | Op::ClaimTexts => &mut needs.claims,
        Op::FieldText | Op::FieldNumber | Op::FieldBool => &mut needs.fields,
        Op::Host => return needs.host = true,
        Op::Now => return needs.time = true,
        Op::SourceAddress => return needs.address = true,
        Op::SourceCountry => return needs.country = true,
        Op::Actor => return needs.actor = true,
        Op::AuthTime => return needs.auth_time = true,
        Op::OriginMesh | Op::OriginNamespace | Op::OriginGateway => return needs.origin = true,
        _ => return,
    };
    if let Some(name) = pool.texts.get(place) {
        insert_sorted(list, name);
    }
}
