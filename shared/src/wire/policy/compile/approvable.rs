//! Whether anybody could ever be approved under a rule, as far as it is known who its people are: one person fills one place
//! only, over all factors and stages, and nobody decides their own request.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::{Location, Spanned};

use super::Compiler;
use super::people::PlacedStages;
use super::who::Behind;
use crate::engine::{NamedBy, Seating};
use crate::wire::table::SubjectItem;

/// So many people are named in a proof.
const MAX_NAMED: usize = 3;

/// Among so many people it is tried who could sit where; of more only the numbers are looked at.
const MAX_SEATED: usize = 32;

/// What is known of who decides: the factors without groups, with their places and people.
struct Known<'a> {
    /// Stage, how many it needs, its people, and where that stands.
    factors: Vec<(&'a str, u32, BTreeSet<&'a SubjectItem>, Location)>,
    /// Whether these are all factors that there are.
    all: bool,
}

impl<'a> Known<'a> {
    fn of(stages: &'a PlacedStages, behind: &'a Behind) -> Self {
        let mut known = Self { factors: Vec::new(), all: true };
        for (stage, places) in stages {
            for (factor, place) in stage.factors.iter().zip(places) {
                // Groups count as large: who is in them is not known here.
                match users(&factor.reviewers, behind) {
                    Some(people) => known.factors.push((&stage.name, factor.approvals, people, *place)),
                    None => known.all = false,
                }
            }
        }
        known
    }

    /// Everyone, with the factors that name them.
    fn people(&self) -> BTreeMap<&'a SubjectItem, NamedBy> {
        let mut all = BTreeMap::new();
        for (at, (_, _, people, _)) in self.factors.iter().enumerate() {
            for user in people {
                let named: &mut NamedBy = all.entry(*user).or_default();
                *named |= 1_u64.checked_shl(u32::try_from(at).unwrap_or(64)).unwrap_or(0);
            }
        }
        all
    }

    fn needed(&self) -> u64 {
        self.factors.iter().map(|(_, needed, _, _)| u64::from(*needed)).fold(0, u64::saturating_add)
    }
}

impl Compiler<'_> {
    /// Refuses a rule under which whoever asks has too few reviewers besides themselves.
    pub(super) fn approvable(
        &mut self,
        file: usize,
        rule: &Spanned<String>,
        eligible: &[SubjectItem],
        stages: &PlacedStages,
    ) {
        // Rules are many, and what is said about people is not changed by them.
        let behind = std::mem::take(&mut self.behind);
        let known = Known::of(stages, &behind);
        let eligible: Vec<SubjectItem> = eligible.iter().map(|subject| behind.person(subject).clone()).collect();
        let eligible = eligible.as_slice();
        match known.factors.as_slice() {
            [] => {}
            [(_, needed, people, place)] => self.by_number(file, (rule, *place), eligible, *needed, people),
            _ => self.by_seating(file, rule, eligible, &known),
        }
        self.behind = behind;
    }

    /// Refuses a rule that needs more denials than there are people who could give them.
    pub(super) fn deniable(&mut self, file: usize, denials: &Spanned<u32>, stages: &PlacedStages) {
        let needed = denials.value;
        let known = Known::of(stages, &self.behind);
        let (all, people) = (known.all, known.people().len());
        if needed == 0 {
            let message = "a request that nobody could deny is not for anybody to decide".to_owned();
            self.fault(file, denials.referenced, message, "write `denials: 1` or more".to_owned());
        } else if all && usize::try_from(needed).unwrap_or(usize::MAX) > people {
            let message = format!("the rule needs {needed} denials and has {people} reviewers");
            self.fault(file, denials.referenced, message, "add reviewers or ask for fewer denials".to_owned());
        }
    }

    /// How many approvals these stages take, and how many people could give them, if that is known.
    pub(super) fn numbers(&self, stages: &PlacedStages) -> (u64, Option<usize>) {
        let factors = stages.iter().flat_map(|(stage, _)| &stage.factors);
        let needed = factors.map(|factor| u64::from(factor.approvals)).fold(0, u64::saturating_add);
        let known = Known::of(stages, &self.behind);
        (needed, known.all.then(|| known.people().len()))
    }

    /// The one factor whose people are known: how many there are says all.
    fn by_number(
        &mut self,
        file: usize,
        (rule, place): (&Spanned<String>, Location),
        eligible: &[SubjectItem],
        needed: u32,
        people: &BTreeSet<&SubjectItem>,
    ) {
        let count = usize::try_from(needed).unwrap_or(usize::MAX);
        if count > people.len() {
            let message = format!("the rule needs {needed} approvals and has {} reviewers", people.len());
            return self.fault(file, place, message, "add reviewers or ask for fewer approvals".to_owned());
        }
        let besides = |user: &SubjectItem| people.len().saturating_sub(usize::from(people.contains(user)));
        let named = eligible.iter().filter(|subject| matches!(subject, SubjectItem::User { .. }));
        let stuck: Vec<String> = named
            .filter(|user| besides(user) < count)
            .map(|user| match (user, besides(user)) {
                (SubjectItem::User { subject, .. }, 0) => format!("besides `{subject}` nobody reviews"),
                (SubjectItem::User { subject, .. }, 1) => format!("besides `{subject}` only one reviews"),
                (SubjectItem::User { subject, .. }, some) => format!("besides `{subject}` only {some} review"),
                _ => String::new(),
            })
            .collect();
        let needs = format!("it needs {needed} approval(s)");
        self.told_stuck(file, (rule, place), &stuck, eligible.len(), &needs);
    }

    /// Several factors whose people are known: whether all places could be filled at once.
    fn by_seating(&mut self, file: usize, rule: &Spanned<String>, eligible: &[SubjectItem], known: &Known<'_>) {
        let people = known.people();
        if known.needed() > u64::try_from(people.len()).unwrap_or(u64::MAX) {
            let message = format!(
                "the rule `{}` needs {} approvals by different people, and where it names them all there are {}",
                rule.value,
                known.needed(),
                people.len()
            );
            let help = "one person fills one place only, over all factors and stages: add reviewers or ask for fewer approvals";
            return self.fault(file, rule.referenced, message, help.to_owned());
        }
        if people.len() > MAX_SEATED {
            return;
        }
        let mut seating = Seating::new(known.factors.iter().map(|(_, needed, _, _)| *needed));
        people.values().for_each(|named_by| {
            seating.come(*named_by);
        });
        if let Some((stage, needed, of, place)) = seating.missing().and_then(|at| known.factors.get(at)) {
            let message = format!(
                "nobody could ever get a grant under the rule `{}`: the stage `{stage}` needs {needed} approval(s) of {}, and too many of them are needed elsewhere",
                rule.value,
                some(of.iter().copied())
            );
            let help = "one person fills one place only, over all factors and stages: add reviewers or ask for fewer approvals";
            return self.fault(file, *place, message, help.to_owned());
        }
        let asks: BTreeSet<&SubjectItem> = eligible.iter().collect();
        let stuck: Vec<String> = people
            .keys()
            .enumerate()
            .filter(|(at, user)| asks.contains(**user) && !seating.clone().leave(*at))
            .filter_map(|(_, user)| match user {
                SubjectItem::User { subject, .. } => Some(format!("`{subject}` is needed to decide")),
                _ => None,
            })
            .collect();
        let needs = format!("it needs {} approvals by different people", known.needed());
        self.told_stuck(file, (rule, rule.referenced), &stuck, eligible.len(), &needs);
    }

    /// Tells of people who may ask and could not be approved: a fault if there are no others.
    fn told_stuck(
        &mut self,
        file: usize,
        (rule, place): (&Spanned<String>, Location),
        stuck: &[String],
        eligible: usize,
        needs: &str,
    ) {
        let Some(first) = stuck.first() else { return };
        let help =
            "nobody decides their own request: add reviewers who do not ask, or ask for fewer approvals".to_owned();
        if stuck.len() == eligible {
            let more = if stuck.len() > MAX_NAMED { ", and so on" } else { "" };
            let proof = stuck.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let message =
                format!("nobody could ever get a grant under the rule `{}`: {needs}, and {proof}{more}", rule.value);
            self.fault(file, place, message, help);
        } else {
            let message = format!(
                "not everyone who may ask could get a grant under the rule `{}`: {needs}, and {first}",
                rule.value
            );
            self.warning(file, place, message, help);
        }
    }
}

/// The people that are meant, each by one of their accounts, if it is known who they all are.
fn users<'a>(subjects: &'a [SubjectItem], behind: &'a Behind) -> Option<BTreeSet<&'a SubjectItem>> {
    let known = |subject| matches!(subject, &SubjectItem::User { .. }).then(|| behind.person(subject));
    subjects.iter().map(known).collect()
}

/// The first of them by name.
fn some<'a>(users: impl Iterator<Item = &'a SubjectItem>) -> String {
    let mut names: Vec<String> = users
        .filter_map(|user| match user {
            SubjectItem::User { subject, .. } => Some(format!("`{subject}`")),
            _ => None,
        })
        .collect();
    let more = if names.len() > MAX_NAMED { ", …" } else { "" };
    names.truncate(MAX_NAMED);
    names.join(", ") + more
}
