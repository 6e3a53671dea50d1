//! Judging the conditions of one policy: what they share, and how much work they may take together. A few bytes of a file can
//! ask for much: a text is judged once for each service that it is about, and a short pattern may need a large table.

use std::collections::HashMap;
use std::rc::Rc;

use super::pattern::{self, Refused};
use super::{ConditionFault, Judged, Scope, form, impossible, lower, never, parse};
use crate::engine::condition::{Automaton, Form};

/// The most conditions of a policy, each counted once for every service that it is about.
pub const MAX_CONDITIONS: usize = 20_000;

/// The most work that all conditions of a policy take together. A part of a compiled condition costs [`PART`], a pattern what
/// its table has, and a search for contradictions its steps.
const MAX_WORK: usize = 10_000_000;

/// A part stays, here and on the wire, so it costs more than a step.
const PART: usize = 4;

/// A pattern that is refused has taken more than any that is not.
const REFUSED_PATTERN: usize = 100_000;

/// What the conditions of one policy share.
#[derive(Debug)]
pub struct Judging {
    conditions: usize,
    patterns: Patterns,
    /// The text that was read last.
    last: Option<(String, Rc<parse::Parsed>)>,
}

/// Why a condition was not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unjudged {
    /// It has a fault.
    Fault(ConditionFault),
    /// All conditions together have taken what they may.
    Spent,
}

impl Default for Judging {
    fn default() -> Self {
        Self { conditions: MAX_CONDITIONS, patterns: Patterns::default(), last: None }
    }
}

impl Judging {
    /// Compiles a condition as [`super::compile_form`] does, and refuses one that can never hold for calls of a service's
    /// actions (all of them if they are not named).
    ///
    /// # Errors
    /// If it is not a condition that this scope allows, or two of its parts exclude each other, with the place in `source`.
    pub fn judge(
        &mut self,
        source: &str,
        scope: &Scope,
        service: Option<&str>,
        actions: Option<&[String]>,
    ) -> Result<Judged, Unjudged> {
        self.conditions = self.conditions.checked_sub(1).ok_or(Unjudged::Spent)?;
        let judged = self.judged(source, scope, never::Known { service, actions });
        if self.patterns.work == 0 { Err(Unjudged::Spent) } else { judged.map_err(Unjudged::Fault) }
    }

    /// Compiles a pattern that stands alone, as `matches` does one, at the cost of a condition.
    ///
    /// # Errors
    /// If it is none, or needs too large a table.
    pub fn pattern(&mut self, pattern: &str) -> Result<Automaton, Unjudged> {
        self.conditions = self.conditions.checked_sub(1).ok_or(Unjudged::Spent)?;
        let refused = |(message, help): Refused| {
            Unjudged::Fault(ConditionFault { offset: 0, length: pattern.len(), message, help })
        };
        let built = self.patterns.table(Style::Regex, pattern).map_err(refused);
        if self.patterns.work == 0 { Err(Unjudged::Spent) } else { built }
    }

    fn judged(&mut self, source: &str, scope: &Scope, known: never::Known<'_>) -> Result<Judged, ConditionFault> {
        let parsed = self.parsed(source)?;
        let lower::Written { nodes, pool, origins } = lower::lower(&parsed, scope, &mut self.patterns)?;
        let form = form(source, nodes, pool)?;
        self.patterns.pay(size(&form).saturating_mul(PART));
        let mut search = |wanted| {
            let mut left = never::WORK;
            let found = never::never(&form, known, wanted, &mut left);
            self.patterns.pay(never::WORK.saturating_sub(left));
            found
        };
        if let Some(clashes) = search(true) {
            return Err(impossible(source, &parsed, &origins, &clashes));
        }
        let never_false = search(false).is_some();
        Ok(Judged { form, never_false })
    }

    fn parsed(&mut self, source: &str) -> Result<Rc<parse::Parsed>, ConditionFault> {
        if let Some((_, parsed)) = self.last.as_ref().filter(|(known, _)| known == source) {
            return Ok(Rc::clone(parsed));
        }
        self.patterns.pay(source.len());
        let parsed = Rc::new(parse::parse(source)?);
        self.last = Some((source.to_owned(), Rc::clone(&parsed)));
        Ok(parsed)
    }
}

/// The tables of patterns, each built once, and the work that is left.
#[derive(Debug)]
pub(super) struct Patterns {
    work: usize,
    built: HashMap<(Style, Box<str>), Automaton>,
}

/// How a pattern is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Style {
    Regex,
    Glob,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { work: MAX_WORK, built: HashMap::new() }
    }
}

impl Patterns {
    fn pay(&mut self, work: usize) {
        self.work = self.work.saturating_sub(work);
    }

    /// The table of a pattern.
    pub(super) fn table(&mut self, style: Style, pattern: &str) -> Result<Automaton, Refused> {
        let key = (style, pattern.into());
        if let Some(known) = self.built.get(&key) {
            return Ok(known.clone());
        }
        if self.work == 0 {
            return Err(("the patterns of the policy take too much work".to_owned(), None));
        }
        let read = match style {
            Style::Regex => pattern::regex(pattern),
            Style::Glob => pattern::glob(pattern),
        };
        self.pay(read.as_ref().map_or(REFUSED_PATTERN, |automaton| automaton.parts().1.len()));
        self.built.insert(key, read.clone()?);
        read
    }
}

/// How many parts a compiled condition has.
fn size(form: &Form) -> usize {
    let pool = form.pool();
    let lists = pool.text_lists.iter().map(Vec::len).chain(pool.int_lists.iter().map(Vec::len));
    let tables = pool.automata.iter().map(|automaton| automaton.parts().1.len());
    let zones = pool.zones.iter().map(|zone| zone.parts().1.len());
    let more = lists.chain(pool.number_lists.iter().map(Vec::len)).chain(tables).chain(zones);
    more.chain([form.nodes().len(), pool.texts.len(), pool.numbers.len()]).fold(0, usize::saturating_add)
}
