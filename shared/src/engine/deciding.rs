//! What it takes to decide a request: stages in order, in each stage factors that are all needed, in each factor approvals
//! by different people. Read by the control plane; a filter has none of it.

use std::collections::VecDeque;

use super::condition::Automaton;
use super::principal::Subject;

/// The most stages of a rule.
pub const MAX_STAGES: usize = 8;

/// The most factors of a stage.
pub const MAX_FACTORS: usize = 8;

/// What it takes to decide requests under a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciding {
    /// Passed in this order. With none nobody ever approves.
    pub stages: Vec<Stage>,
    /// So many denials by different people deny; never none.
    pub denials: u32,
    /// What a justification must be.
    pub justification: WordsRule,
    /// Whether there must be a ticket, and what it must be.
    pub ticket: TicketRule,
}

/// What a text of a request must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WordsRule {
    /// At least so many characters.
    pub min_chars: u32,
    /// What must be found in it.
    pub pattern: Option<Pattern>,
}

/// What the ticket of a request must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TicketRule {
    /// Whether there must be one.
    pub required: bool,
    /// What must be found in it, if there is one.
    pub pattern: Option<Pattern>,
}

/// A regular expression, compiled to a table when the policy was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    pub source: Box<str>,
    /// What it was compiled to.
    pub automaton: Automaton,
}

impl Pattern {
    /// Whether a text has it, in as many steps as it has bytes.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.automaton.accepts(text)
    }
}

/// One step on the way to a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name, unique within the rule.
    pub name: Box<str>,
    /// What it takes to pass it, all of them.
    pub factors: Vec<Factor>,
}

/// A number of approvals by people of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// How many, by different people.
    pub approvals: u32,
    /// Whose. Nobody's if nobody is named.
    pub reviewers: Vec<Subject>,
}

impl Default for Deciding {
    fn default() -> Self {
        let (justification, ticket) = (WordsRule::default(), TicketRule::default());
        Self { stages: Vec::new(), denials: 1, justification, ticket }
    }
}

impl Deciding {
    /// The name of the one stage of a rule that names its reviewers without stages.
    pub const ONLY_STAGE: &'static str = "review";

    /// One stage with one factor.
    #[must_use]
    pub fn by(reviewers: Vec<Subject>, approvals: u32) -> Self {
        let factors = vec![Factor { approvals, reviewers }];
        Self { stages: vec![Stage { name: Self::ONLY_STAGE.into(), factors }], ..Self::default() }
    }

    /// Everyone who reviews in some stage, once each in the order of the stages.
    #[must_use]
    pub fn reviewers(&self) -> Vec<&Subject> {
        let mut found: Vec<&Subject> = Vec::new();
        for subject in self.stages.iter().flat_map(|stage| &stage.factors).flat_map(|factor| &factor.reviewers) {
            if !found.contains(&subject) {
                found.push(subject);
            }
        }
        found
    }

    /// How many approvals by different people it takes in all: one person fills one place only.
    #[must_use]
    pub fn approvals(&self) -> u32 {
        let factors = self.stages.iter().flat_map(|stage| &stage.factors);
        factors.map(|factor| factor.approvals).fold(0, u32::saturating_add)
    }
}

/// The factors that name somebody, as bits: the first factor is the lowest.
pub type NamedBy = u64;

/// Seats people in the factors that name them, as many of them as can be seated, one place each and no factor more than it
/// needs. Whoever has a place keeps one, though not always the same, so that the order in which people come changes nothing
/// about how many are seated.
#[derive(Debug, Clone, Default)]
pub struct Seating {
    /// For each factor how many it needs, and how many sit there.
    factors: Vec<(u32, u32)>,
    /// Of each person: the factors that name them, and the one they sit in.
    people: Vec<(NamedBy, Option<usize>)>,
}

impl Seating {
    /// Nobody yet, in factors that need so many each. At most 64 factors are looked at.
    #[must_use]
    pub fn new(needed: impl IntoIterator<Item = u32>) -> Self {
        Self { factors: needed.into_iter().take(64).map(|needed| (needed, 0)).collect(), people: Vec::new() }
    }

    /// Lets a person come, and makes room if others can move. Whether one more is seated than before.
    pub fn come(&mut self, named_by: NamedBy) -> bool {
        self.people.push((named_by, None));
        self.seat_one(self.people.len().saturating_sub(1))
    }

    /// Whether one more would be seated if this person came.
    #[must_use]
    pub fn has_place_for(&self, named_by: NamedBy) -> bool {
        self.clone().come(named_by)
    }

    /// Lets a person go for good. Whether as many are seated as before, because somebody else could be.
    pub fn leave(&mut self, person: usize) -> bool {
        let Some((named_by, place)) = self.people.get_mut(person) else { return true };
        *named_by = 0;
        let Some(left) = place.take() else { return true };
        if let Some((_, seated)) = self.factors.get_mut(left) {
            *seated = seated.saturating_sub(1);
        }
        self.seat_one(0)
    }

    /// The factor that a person sits in.
    #[must_use]
    pub fn place_of(&self, person: usize) -> Option<usize> {
        self.people.get(person).and_then(|(_, place)| *place)
    }

    /// How many sit in a factor.
    #[must_use]
    pub fn seated(&self, factor: usize) -> u32 {
        self.factors.get(factor).map_or(0, |(_, seated)| *seated)
    }

    /// The first factor that needs more; nothing if every factor has whom it needs.
    #[must_use]
    pub fn missing(&self) -> Option<usize> {
        self.factors.iter().position(|(needed, seated)| seated < needed)
    }

    /// Seats one of those without a place, from `first` on, if any of them can be.
    ///
    /// Breadth first from factor to factor, each once: a free place ends the search, and everyone on the way moves on by one.
    fn seat_one(&mut self, first: usize) -> bool {
        // How each factor was come upon: who moves there, and from which factor.
        let mut reached: Vec<Option<(usize, Option<usize>)>> = vec![None; self.factors.len()];
        let mut open = VecDeque::new();
        let mut look = |who: usize, from: Option<usize>, named_by: NamedBy, open: &mut VecDeque<usize>| {
            for (factor, way) in reached.iter_mut().enumerate() {
                if way.is_none()
                    && named_by.checked_shr(u32::try_from(factor).unwrap_or(64)).is_some_and(|bits| bits & 1 == 1)
                {
                    *way = Some((who, from));
                    open.push_back(factor);
                }
            }
        };
        for (who, (named_by, place)) in self.people.iter().enumerate().skip(first) {
            if place.is_none() {
                look(who, None, *named_by, &mut open);
            }
        }
        let mut free = None;
        while let Some(factor) = open.pop_front() {
            if self.factors.get(factor).is_some_and(|(needed, seated)| seated < needed) {
                free = Some(factor);
                break;
            }
            for (who, (named_by, place)) in self.people.iter().enumerate() {
                if *place == Some(factor) {
                    look(who, Some(factor), *named_by, &mut open);
                }
            }
        }
        let Some(mut to) = free else { return false };
        if let Some((_, seated)) = self.factors.get_mut(to) {
            *seated = seated.saturating_add(1);
        }
        while let Some((who, from)) = reached.get(to).copied().flatten() {
            if let Some((_, place)) = self.people.get_mut(who) {
                *place = Some(to);
            }
            let Some(from) = from else { break };
            to = from;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most places that can be filled, by trying everything.
    fn most(needed: &[u32], people: &[NamedBy]) -> u32 {
        let Some((first, rest)) = people.split_first() else { return 0 };
        let mut best = most(needed, rest);
        for factor in (0..needed.len()).filter(|factor| first >> factor & 1 == 1 && needed[*factor] > 0) {
            let mut less = needed.to_vec();
            less[factor] = less[factor].saturating_sub(1);
            best = best.max(most(&less, rest).saturating_add(1));
        }
        best
    }

    #[test]
    fn as_many_are_seated_as_can_be_in_every_order_and_after_every_leave() {
        for (needed, count) in [
            (vec![1], 4),
            (vec![2], 4),
            (vec![1, 1], 4),
            (vec![2, 1], 4),
            (vec![2, 2], 5),
            (vec![1, 1, 1], 4),
            (vec![2, 1, 1], 4),
        ] {
            let kinds: NamedBy = 1 << needed.len();
            // Every sequence of people is every order of every set of them.
            for mut number in 0..kinds.pow(count) {
                let mut people = Vec::new();
                for _ in 0..count {
                    people.push(number % kinds);
                    number /= kinds;
                }
                let mut seating = Seating::new(needed.clone());
                for (at, person) in people.iter().enumerate() {
                    let (before, expected) = (most(&needed, &people[..at]), most(&needed, &people[..=at]));
                    assert_eq!(seating.has_place_for(*person), expected > before, "{needed:?} {people:?}");
                    assert_eq!(seating.come(*person), expected > before, "{needed:?} {people:?}");
                    let seated: u32 = (0..needed.len()).map(|factor| seating.seated(factor)).sum();
                    assert_eq!(seated, expected, "{needed:?} {people:?}");
                }
                assert_eq!(seating.missing().is_none(), most(&needed, &people) == needed.iter().sum::<u32>());
                for who in 0..people.len() {
                    let mut without = people.clone();
                    without.remove(who);
                    let kept = most(&needed, &without) == most(&needed, &people);
                    assert_eq!(seating.clone().leave(who), kept, "{needed:?} {people:?} without {who}");
                }
                for (factor, most) in needed.iter().enumerate() {
                    let there = (0..people.len()).filter(|who| seating.place_of(*who) == Some(factor));
                    assert_eq!(there.clone().count(), seating.seated(factor) as usize);
                    assert!(there.clone().all(|who| people[who] >> factor & 1 == 1) && seating.seated(factor) <= *most);
                }
            }
        }
    }

    #[test]
    fn nobody_fills_nothing_and_a_factor_that_needs_nobody_seats_nobody() {
        assert_eq!(Seating::new([]).missing(), None);
        let mut none = Seating::new([0]);
        assert!(!none.come(1) && none.missing().is_none());
        let mut one = Seating::new([1]);
        assert!(!one.come(0) && !one.come(0b10) && !one.come(1 << 63));
        assert_eq!(one.missing(), Some(0));
        let mut last = Seating::new([0; 63].into_iter().chain([1, 1]));
        assert!(last.come(1 << 63) && last.missing().is_none());
    }
}
