//! Who may ask under a rule, and the stages and factors of those who decide. Whether that could ever lead to a grant is in
//! [`super::approvable`].

use std::collections::BTreeSet;

use serde_saphyr::{Location, Spanned};

use super::Compiler;
use crate::engine::{Deciding, MAX_FACTORS, MAX_STAGES};
use crate::wire::policy::{FactorSpec, RuleSpec, StageSpec};
use crate::wire::table::{DecidingItem, FactorItem, StageItem, SubjectItem};

/// Who may ask, and what it takes to decide.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) eligible: Vec<SubjectItem>,
    /// Of a rule without stages.
    pub(super) reviewers: Vec<SubjectItem>,
    pub(super) approvals: u32,
    pub(super) deciding: Option<Box<DecidingItem>>,
    /// How many approvals it takes, and how many people could give them, if that is known.
    pub(super) needed: u64,
    pub(super) known: Option<usize>,
}

/// A rule's stages with the places of their factors, for what is told about them.
pub(super) type PlacedStages = Vec<(StageItem, Vec<Location>)>;

impl Compiler<'_> {
    pub(super) fn people(&mut self, file: usize, name: &Spanned<String>, spec: &RuleSpec) -> People {
        let RuleSpec { eligible, reviewers, approvals, stages, denials, .. } = spec;
        if eligible.is_empty() {
            self.nobody(file, name, "eligible");
        }
        self.plain(file, eligible, "asks");
        let faults = self.faults.len();
        let eligible = self.subjects(file, eligible);
        let place = approvals.as_ref().map_or(name.referenced, |approvals| approvals.referenced);
        let mut people = People { eligible, ..People::default() };
        let placed = if stages.is_empty() {
            if reviewers.is_empty() {
                self.nobody(file, name, "reviewers");
            }
            let factor = self.factor(file, place, approvals.as_ref(), reviewers);
            (people.approvals, people.reviewers) = (factor.approvals, factor.reviewers.clone());
            vec![(StageItem { name: Deciding::ONLY_STAGE.to_owned(), factors: vec![factor] }, vec![place])]
        } else {
            if !reviewers.is_empty() || approvals.is_some() {
                let message =
                    format!("the rule `{}` says in two ways who decides: with `stages` and without", name.value);
                let help = "write `reviewers` and `approvals` into the factors of the stages, or leave `stages` out";
                self.fault(file, name.referenced, message, help.to_owned());
            }
            self.stages(file, name, stages)
        };
        if faults == self.faults.len() && !placed.iter().any(|(stage, _)| stage.factors.iter().any(is_empty)) {
            self.approvable(file, name, &people.eligible, &placed);
            if let Some(denials) = denials {
                self.deniable(file, denials, &placed);
            }
        }
        (people.needed, people.known) = self.numbers(&placed);
        let stages = if stages.is_empty() { Vec::new() } else { placed.into_iter().map(|(stage, _)| stage).collect() };
        let (justification, ticket) = self.words(file, spec);
        let denials = denials.as_ref().map(|denials| denials.value);
        let item = DecidingItem { stages, denials, justification, ticket };
        people.deciding = (item != DecidingItem::default()).then(|| Box::new(item));
        people
    }

    fn nobody(&mut self, file: usize, name: &Spanned<String>, who: &str) {
        let message = format!("the rule `{}` has no {who}, so nobody could ever get a grant", name.value);
        self.fault(file, name.referenced, message, format!("name at least one principal under `{who}`"));
    }

    fn stages(&mut self, file: usize, rule: &Spanned<String>, specs: &[StageSpec]) -> PlacedStages {
        let mut seen = BTreeSet::new();
        let mut stages = Vec::new();
        for StageSpec { name, factors } in self.at_most(file, rule.referenced, "stages", specs, MAX_STAGES) {
            self.name(file, name);
            if !seen.insert(name.value.as_str()) {
                let message = format!("there is another stage named `{}`", name.value);
                self.fault(file, name.referenced, message, "give each its own name, or remove one".to_owned());
            }
            if factors.is_empty() {
                let message = format!("the stage `{}` has no factors, so nobody could ever pass it", name.value);
                self.fault(file, name.referenced, message, "name at least one factor, or remove the stage".to_owned());
            }
            let mut placed = (StageItem { name: name.value.clone(), factors: Vec::new() }, Vec::new());
            for FactorSpec { approvals, reviewers } in
                self.at_most(file, name.referenced, "factors", factors, MAX_FACTORS)
            {
                let first = reviewers.first().map_or(name.referenced, |reviewer| reviewer.referenced);
                let place = approvals.as_ref().map_or(first, |approvals| approvals.referenced);
                if reviewers.is_empty() {
                    let message = format!(
                        "a factor of the stage `{}` has no reviewers, so nobody could ever pass it",
                        name.value
                    );
                    let help = "name at least one principal under `reviewers`".to_owned();
                    self.fault(file, name.referenced, message, help);
                }
                let factor = self.factor(file, place, approvals.as_ref(), reviewers);
                placed.0.factors.push(factor);
                placed.1.push(place);
            }
            stages.push(placed);
        }
        stages
    }

    fn factor(
        &mut self,
        file: usize,
        place: Location,
        approvals: Option<&Spanned<u32>>,
        reviewers: &[Spanned<String>],
    ) -> FactorItem {
        self.plain(file, reviewers, "reviews");
        for machine in reviewers.iter().filter(|name| name.value.starts_with("workload:")) {
            let message = format!("`{}` is no person, and only people decide", machine.value);
            self.fault(file, machine.referenced, message, "name users or groups; a workload may ask".to_owned());
        }
        let subjects = self.subjects(file, reviewers);
        for machine in subjects.iter().filter(|subject| self.behind.is_machine(subject)).cloned().collect::<Vec<_>>() {
            let SubjectItem::User { subject, .. } = machine else { continue };
            let message = format!("`{subject}` is a machine, and only people decide");
            self.fault(file, place, message, "name people; a machine may ask".to_owned());
        }
        let approvals = approvals.map_or(1, |approvals| approvals.value);
        if approvals == 0 {
            let message = "a grant needs at least one approval".to_owned();
            let help = "write `approvals: 1` or more; give a role for what needs none".to_owned();
            self.fault(file, place, message, help);
        }
        FactorItem { approvals, reviewers: subjects }
    }
}

fn is_empty(factor: &FactorItem) -> bool {
    factor.reviewers.is_empty()
}
