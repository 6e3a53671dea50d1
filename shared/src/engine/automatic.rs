//! What a rule decides by itself when a request is filed: in order, with denials above everything, and never an approval
//! where something that it hangs on is not known. Read by the control plane alone.

use super::condition::{Condition, Fuel, Verdict};
use super::context::Facts;
use super::table::Table;

/// The most automatic decisions of a rule.
pub const MAX_AUTOMATIC: usize = 16;

/// One decision that a rule makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automatic {
    /// Its name, unique within the rule.
    pub name: Box<str>,
    /// When.
    pub when: Condition,
    /// What then.
    pub then: Then,
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// The request is approved.
    Approve,
    /// The request is denied.
    Deny,
    /// It takes at least so many approvals by different people.
    Require(u32),
    /// Those to whom the rule escalates review it, too, from the first.
    Escalate,
}

impl Then {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Require(_) => "require",
            Self::Escalate => "escalate",
        }
    }
}

/// What comes of the condition of each decision. `said` has the signals that an approval may go by, and what is not in it
/// is not known to one. Everything else is judged by these and by those of `facts`, and the stricter counts: a signal that
/// counts only against its requester neither brings them anything nor, where a condition is turned round, keeps anything off.
#[must_use]
pub fn verdicts(rules: &[Automatic], facts: &Facts<'_>, said: Table) -> Vec<Verdict> {
    // One for each table: what is judged twice has as much as what is judged once.
    let (mut fuel, mut fuel_said) = (Fuel::per_call(), Fuel::per_call());
    let mut by_all = |rule: &Automatic| rule.when.verdict(facts, &mut fuel);
    let mut by = |rule: &Automatic, table: &Table| rule.when.verdict(&Facts { table, ..*facts }, &mut fuel_said);
    let mut verdicts: Vec<Verdict> = rules
        .iter()
        .map(|rule| match rule.then {
            Then::Approve => Verdict::Fails,
            Then::Deny | Then::Require(_) | Then::Escalate => stricter(by_all(rule), by(rule, &said)),
        })
        .collect();
    let said = said.with_only_what_is_said();
    for (rule, verdict) in rules.iter().zip(&mut verdicts).filter(|(rule, _)| rule.then == Then::Approve) {
        *verdict = by(rule, &said);
    }
    verdicts
}

/// Of two verdicts about one that lets nobody in, what is sure to hold before what is unclear, and that before what fails.
const fn stricter(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Holds, _) | (_, Verdict::Holds) => Verdict::Holds,
        (Verdict::Fails, other) => other,
        (unclear, _) => unclear,
    }
}

/// What a rule decides by itself, by what comes of each condition ([`verdicts`]): the first denial that holds, or else the
/// first other decision that does. What cannot be judged never lets anybody in: no denial may be unclear for an approval, nor
/// whether people are to be asked before it. More approvals are wanted also where it is unclear whether they must be.
#[must_use]
pub fn decides<'r>(rules: &'r [Automatic], verdicts: &[Verdict]) -> Option<&'r Automatic> {
    let mut unclear = false;
    for (rule, verdict) in rules.iter().zip(verdicts).filter(|(rule, _)| rule.then == Then::Deny) {
        match verdict {
            Verdict::Holds => return Some(rule),
            Verdict::Fails => {}
            Verdict::Unsure | Verdict::Errs(_) => unclear = true,
        }
    }
    for (rule, verdict) in rules.iter().zip(verdicts) {
        let decides = match rule.then {
            Then::Deny => continue,
            Then::Approve => verdict.allows() && !unclear,
            Then::Require(_) => verdict.denies(),
            Then::Escalate => verdict.allows(),
        };
        if decides {
            return Some(rule);
        }
        unclear |= rule.then == Then::Escalate && verdict.denies();
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::EvalError;

    const THENS: [Then; 4] = [Then::Approve, Then::Deny, Then::Require(2), Then::Escalate];
    const VERDICTS: [Verdict; 4] = [Verdict::Holds, Verdict::Fails, Verdict::Unsure, Verdict::Errs(EvalError::Missing)];

    fn rules(thens: impl IntoIterator<Item = Then>) -> Vec<Automatic> {
        let rule = |(at, then): (usize, Then)| Automatic { name: at.to_string().into(), when: Condition::Always, then };
        thens.into_iter().enumerate().map(rule).collect()
    }

    fn place(rules: &[Automatic], verdicts: &[Verdict]) -> Option<usize> {
        decides(rules, verdicts).map(|rule| rule.name.parse().unwrap())
    }

    #[test]
    fn denials_win_the_first_decides_and_what_is_unclear_approves_nothing() {
        // H holds, F fails, E errs, U is unsure; a approves, d denies, r requires, e escalates: the place of what decides.
        let cases = [
            ("", None),
            ("Ha", Some(0)),
            ("Fa", None),
            ("Ea", None),
            ("Ua", None),
            ("Ha Hd", Some(1)),
            ("Ha Fd", Some(0)),
            ("Ha Ed", None),
            ("Ed Ha", None),
            ("Ud Ha", None),
            ("Ed Ha Hr", Some(2)),
            ("Er Ha", Some(0)),
            ("Ee Ha", None),
            ("Fe Ha", Some(1)),
            ("Hr Ed", Some(0)),
            ("Er Hr", Some(0)),
            ("Ha Er", Some(0)),
            ("Ea Ha", Some(1)),
            ("Ea Ee Ha", None),
            ("Fa Ha", Some(1)),
            ("Hr Ha", Some(0)),
            ("He Hr", Some(0)),
            ("Hr Ha Hd", Some(2)),
            ("Ud Hd Ha", Some(1)),
            ("Hd Hd", Some(0)),
        ];
        for (text, expected) in cases {
            let words: Vec<&str> = text.split_whitespace().collect();
            let then = |word: &&str| match word.split_at(1).1 {
                "a" => Then::Approve,
                "d" => Then::Deny,
                "r" => Then::Require(2),
                _ => Then::Escalate,
            };
            let verdict = |word: &&str| match word.split_at(1).0 {
                "H" => Verdict::Holds,
                "F" => Verdict::Fails,
                "U" => Verdict::Unsure,
                _ => Verdict::Errs(EvalError::Missing),
            };
            let verdicts: Vec<Verdict> = words.iter().map(verdict).collect();
            assert_eq!(place(&rules(words.iter().map(then)), &verdicts), expected, "{text}");
        }
    }

    fn parts() -> impl Strategy<Value = Vec<(Then, Verdict)>> {
        let one = (0..4_usize, 0..4_usize).prop_map(|(then, verdict)| (THENS[then], VERDICTS[verdict]));
        proptest::collection::vec(one, 0..MAX_AUTOMATIC)
    }

    proptest! {
        #[test]
        fn the_order_of_the_design_holds_for_any_list(parts in parts()) {
            let verdicts: Vec<Verdict> = parts.iter().map(|(_, verdict)| *verdict).collect();
            let decided = place(&rules(parts.iter().map(|(then, _)| *then)), &verdicts);
            let is = |at: usize| parts[at];
            let denial = parts.iter().position(|part| *part == (Then::Deny, Verdict::Holds));
            if denial.is_some() {
                prop_assert_eq!(decided, denial, "a denial that holds is above all");
            }
            if let Some(at) = decided.filter(|at| is(*at).0 == Then::Approve) {
                prop_assert_eq!(is(at).1, Verdict::Holds);
                prop_assert!(parts.iter().all(|(then, verdict)| *then != Then::Deny || *verdict == Verdict::Fails));
                let before = &parts[..at];
                let passed = |(then, verdict): &(Then, Verdict)| {
                    *verdict == Verdict::Fails || *then == Then::Approve && *verdict != Verdict::Holds
                };
                prop_assert!(before.iter().all(passed), "it is the first, and people are clearly not to be asked");
            }
        }

        /// What is not known never lets anybody in: no list approves because something in it became unclear.
        #[test]
        fn more_that_is_unclear_never_approves(parts in parts(), unclear in 0..MAX_AUTOMATIC) {
            let rules = rules(parts.iter().map(|(then, _)| *then));
            let mut verdicts: Vec<Verdict> = parts.iter().map(|(_, verdict)| *verdict).collect();
            let approved = |at: Option<usize>| at.is_some_and(|at| parts[at].0 == Then::Approve);
            let before = approved(place(&rules, &verdicts));
            if let Some(verdict) = verdicts.get_mut(unclear) {
                *verdict = Verdict::Errs(EvalError::Missing);
            }
            prop_assert!(before || !approved(place(&rules, &verdicts)));
        }
    }
}
