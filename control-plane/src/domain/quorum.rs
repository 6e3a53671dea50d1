//! Counting reviews: how far a request has come through the stages of its rule, and whether one more approval brings it on.
//!
//! The reviews are gone through in the order in which they were given, each for the stage that was open then; a stage is
//! passed when every factor has as many people as it needs. One person has one vote, whatever they could do elsewhere, and
//! fills one place: who sits where is found anew with each approval, so that no order of reviews blocks what another would
//! not. Counted twice, under the rule of the request and under that of today; only who reviews under both counts at all.

mod electorate;

use grantmesh_shared::engine::{NamedBy, Rule, Seating, Stage, Subject, User};

use super::actor::Actor;
use super::request::Ask;
use super::review::{Review, RulesAtReview, Verdict};

pub(super) use electorate::{Electorate, reviews};

/// How far a request has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The stages of its rule.
    pub stages: Vec<StageStanding>,
    /// The stages that the rule had when the request was filed, if they were others: those are to be passed, too.
    pub at_request: Vec<StageStanding>,
    /// So many denials deny.
    pub denials_needed: u32,
    /// Whose approval would bring it on now.
    pub awaited: Vec<Subject>,
}

/// How far a request has come in one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageStanding {
    /// The stage's name.
    pub name: String,
    /// Whether it was passed, is open, or comes later.
    pub word: StageWord,
    /// What it takes.
    pub factors: Vec<FactorStanding>,
}

/// How far a request has come in one factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorStanding {
    /// How many approvals it needs.
    pub needed: u32,
    /// Whose approvals it has.
    pub approvals: Vec<User>,
    /// Who may give them.
    pub reviewers: Vec<Subject>,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageWord {
    /// It has all that it takes.
    Passed,
    /// Approvals count for it now.
    Open,
    /// Others come first.
    Waiting,
}

impl StageWord {
    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Open => "open",
            Self::Waiting => "waiting",
        }
    }
}

/// The reviews of a request, counted.
#[derive(Debug)]
pub(super) struct Quorum<'r> {
    then: Count<'r>,
    now: Count<'r>,
    approvals: u32,
    denials: u32,
    denials_needed: u32,
}

impl<'r> Quorum<'r> {
    /// Counts reviews under both rules: of people who review under both, each once.
    pub(super) fn of(electorate: &Electorate<'r>, reviews: &[Review]) -> Self {
        let rules = electorate.rules;
        let mut counted: Vec<(Verdict, Actor)> = Vec::new();
        let mut voted: Vec<&User> = Vec::new();
        for review in reviews {
            // Two accounts may have become one person's since they voted.
            let again = |voter: &User| voted.iter().any(|other| rules.people.same(other, voter));
            if !review.voters().any(again) && electorate.counts(review) {
                counted.push((review.verdict, review.voice()));
                voted.extend(review.voters());
            }
        }
        let approvals = || counted.iter().filter(|(verdict, _)| *verdict == Verdict::Approve).map(|(_, actor)| actor);
        let number = |wanted| {
            let those = counted.iter().filter(|(verdict, _)| *verdict == wanted).count();
            u32::try_from(those).unwrap_or(u32::MAX)
        };
        let both = || [rules.then, rules.now].into_iter().flatten();
        Self {
            then: Count::of((rules, rules.then), electorate, approvals()),
            now: Count::of((rules, rules.now), electorate, approvals()),
            approvals: number(Verdict::Approve),
            denials: number(Verdict::Deny),
            denials_needed: both().map(|rule| rule.workflow.deciding.denials.max(1)).min().unwrap_or(1),
        }
    }

    /// Whether both rules are satisfied, by at least so many people in all.
    pub(super) fn approves(&self, needed: u32) -> bool {
        self.is_passed() && self.approvals >= needed
    }

    /// Whether enough people said no.
    pub(super) const fn denies(&self) -> bool {
        self.denials >= self.denials_needed
    }

    /// Whether an approval by this person would bring the request on, under one of the rules at least.
    pub(super) fn needs(&self, electorate: &Electorate<'_>, actor: &Actor) -> bool {
        self.is_passed() || self.then.needs(electorate, actor) || self.now.needs(electorate, actor)
    }

    /// The stage that is open: that of the rule in force before that of the request's.
    pub(super) fn open(&self) -> Option<&'r Stage> {
        self.now.open().or_else(|| self.then.open())
    }

    fn is_passed(&self) -> bool {
        self.then.is_passed() && self.now.is_passed()
    }

    fn awaited(&self, electorate: &Electorate<'_>) -> Vec<Subject> {
        let mut found: Vec<Subject> = Vec::new();
        let all = |count: &Count<'r>| {
            count.stages.iter().flat_map(subjects).chain(count.backups).cloned().collect::<Vec<_>>()
        };
        let new = if self.is_passed() { all(&self.now) } else { [self.now.awaited(), self.then.awaited()].concat() };
        for subject in new {
            if !found.contains(&subject) && !electorate.edited.contains(&&subject) {
                found.push(subject);
            }
        }
        found
    }
}

/// How far a pending request has come; of a decided one, by what it was decided.
pub(super) fn standing(rules: RulesAtReview<'_>, ask: &Ask, reviews: &[Review], pending: bool) -> Standing {
    let rules = if pending { rules } else { RulesAtReview { now: rules.then, ..rules } };
    let electorate = Electorate::of(rules, ask);
    let quorum = Quorum::of(&electorate, reviews);
    let stages = |rule: Option<&Rule>| rule.map(|rule| rule.workflow.deciding.stages.clone()).unwrap_or_default();
    let differ = stages(rules.then) != stages(rules.now);
    Standing {
        stages: quorum.now.standing(),
        at_request: if differ { quorum.then.standing() } else { Vec::new() },
        denials_needed: quorum.denials_needed,
        awaited: if pending { quorum.awaited(&electorate) } else { Vec::new() },
    }
}

/// Approvals counted under one rule.
#[derive(Debug)]
struct Count<'r> {
    stages: &'r [Stage],
    /// Who counts in every factor, because the request was escalated to them.
    backups: &'r [Subject],
    /// Of the stages up to the open one: who came, and who sits where.
    gone_through: Vec<(Vec<User>, Seating)>,
}

impl<'r> Count<'r> {
    fn of<'v>(
        (rules, rule): (RulesAtReview<'r>, Option<&'r Rule>),
        electorate: &Electorate<'_>,
        approvals: impl Iterator<Item = &'v Actor>,
    ) -> Self {
        let backups = rule.map(|rule| rules.backups(rule)).unwrap_or_default();
        let stages = rule.map(|rule| rule.workflow.deciding.stages.as_slice()).unwrap_or_default();
        let mut count = Self { stages, backups, gone_through: Vec::new() };
        count.enter();
        for actor in approvals {
            let named_by = count.named_by(electorate, actor);
            let Some((came, seating)) = count.gone_through.last_mut().filter(|_| named_by != 0) else { continue };
            seating.come(named_by);
            came.push(actor.user.clone());
            if seating.missing().is_none() {
                count.enter();
            }
        }
        count
    }

    /// Opens the next stage, if there is one.
    fn enter(&mut self) {
        if let Some(stage) = self.stages.get(self.gone_through.len()) {
            // A stage that takes nothing is one that nobody passes.
            let needed = stage.factors.iter().map(|factor| factor.approvals.max(1));
            let needed: Vec<u32> = if stage.factors.is_empty() { vec![1] } else { needed.collect() };
            self.gone_through.push((Vec::new(), Seating::new(needed)));
        }
    }

    fn is_passed(&self) -> bool {
        let last = self.gone_through.last().is_some_and(|(_, seating)| seating.missing().is_none());
        last && self.gone_through.len() == self.stages.len()
    }

    fn open(&self) -> Option<&'r Stage> {
        let at = self.gone_through.len().checked_sub(1)?;
        self.stages.get(at).filter(|_| !self.is_passed())
    }

    /// The factors of the open stage that name somebody.
    fn named_by(&self, electorate: &Electorate<'_>, actor: &Actor) -> NamedBy {
        let is_backup = electorate.names(actor, self.backups);
        self.open().map_or(0, |stage| bits(stage, |reviewers| is_backup || electorate.names(actor, reviewers)))
    }

    fn needs(&self, electorate: &Electorate<'_>, actor: &Actor) -> bool {
        let seating = self.gone_through.last().map(|(_, seating)| seating);
        seating.is_some_and(|seating| !self.is_passed() && seating.has_place_for(self.named_by(electorate, actor)))
    }

    fn awaited(&self) -> Vec<Subject> {
        let (Some(stage), Some((_, seating))) = (self.open(), self.gone_through.last()) else { return Vec::new() };
        let named_by = |subject: &Subject| {
            let is_backup = self.backups.contains(subject);
            bits(stage, |reviewers| is_backup || reviewers.contains(subject))
        };
        let wanted = |subject: &&Subject| seating.has_place_for(named_by(subject));
        subjects(stage).chain(self.backups).filter(wanted).cloned().collect()
    }

    fn standing(&self) -> Vec<StageStanding> {
        let stage = |(at, stage): (usize, &Stage)| {
            let through = self.gone_through.get(at);
            let word = match through {
                None => StageWord::Waiting,
                Some((_, seating)) if seating.missing().is_none() => StageWord::Passed,
                Some(_) => StageWord::Open,
            };
            let by = |factor: usize| {
                let (came, seating) = through?;
                let those = came.iter().enumerate().filter(|(who, _)| seating.place_of(*who) == Some(factor));
                Some(those.map(|(_, user)| user.clone()).collect())
            };
            let factors = stage.factors.iter().enumerate().map(|(at, factor)| FactorStanding {
                needed: factor.approvals,
                approvals: by(at).unwrap_or_default(),
                reviewers: factor.reviewers.iter().chain(self.backups).cloned().collect(),
            });
            StageStanding { name: stage.name.to_string(), word, factors: factors.collect() }
        };
        self.stages.iter().enumerate().map(stage).collect()
    }
}

fn subjects(stage: &Stage) -> impl Iterator<Item = &Subject> {
    stage.factors.iter().flat_map(|factor| &factor.reviewers)
}

/// The factors of a stage whose reviewers are of a kind.
fn bits(stage: &Stage, named: impl Fn(&[Subject]) -> bool) -> NamedBy {
    let bit = |at: usize| 1_u64.checked_shl(u32::try_from(at).unwrap_or(64)).unwrap_or(0);
    let those = stage.factors.iter().enumerate().filter(|(_, factor)| named(&factor.reviewers));
    those.fold(0, |bits, (at, _)| bits | bit(at))
}

#[cfg(test)]
mod tests;
