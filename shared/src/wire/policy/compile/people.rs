//! Who may ask under a rule and who decides, and whether that could ever lead to a grant.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use super::Compiler;
use crate::wire::policy::RuleSpec;
use crate::wire::table::SubjectItem;

/// So many people are named in a proof.
const MAX_NAMED: usize = 3;

/// Who may ask, who reviews, and how many of them it takes.
pub(super) type People = (Vec<SubjectItem>, Vec<SubjectItem>, u32);

impl Compiler<'_> {
    pub(super) fn people(&mut self, file: usize, name: &Spanned<String>, spec: &RuleSpec) -> People {
        let RuleSpec { eligible, reviewers, approvals, .. } = spec;
        let count = approvals.as_ref().map_or(1, |approvals| approvals.value);
        for (who, list) in [("eligible", eligible), ("reviewers", reviewers)] {
            if list.is_empty() {
                let message = format!("the rule `{}` has no {who}, so nobody could ever get a grant", name.value);
                self.fault(file, name.referenced, message, format!("name at least one principal under `{who}`"));
            }
        }
        self.plain(file, eligible, "asks");
        self.plain(file, reviewers, "reviews");
        let faults = self.faults.len();
        let (eligible, reviewers) = (self.subjects(file, eligible), self.subjects(file, reviewers));
        let place = approvals.as_ref().map_or(name.referenced, |approvals| approvals.referenced);
        if count == 0 {
            let message = "a grant needs at least one approval".to_owned();
            let help = "write `approvals: 1` or more; give a role for what needs none".to_owned();
            self.fault(file, place, message, help);
        } else if faults == self.faults.len() {
            self.approvable(file, name, place, (&eligible, &reviewers, count));
        }
        (eligible, reviewers, count)
    }

    /// Refuses a rule under which whoever asks has too few reviewers besides themselves. Groups count as large: who is in
    /// them is not known here.
    fn approvable(
        &mut self,
        file: usize,
        rule: &Spanned<String>,
        place: serde_saphyr::Location,
        (eligible, reviewers, count): (&[SubjectItem], &[SubjectItem], u32),
    ) {
        let Some(deciding) = users(reviewers).filter(|deciding| !deciding.is_empty()) else { return };
        let needed = usize::try_from(count).unwrap_or(usize::MAX);
        if needed > deciding.len() {
            let message = format!("the rule needs {count} approvals and has {} reviewers", deciding.len());
            return self.fault(file, place, message, "add reviewers or ask for fewer approvals".to_owned());
        }
        // Nobody decides their own request.
        let besides = |user: &SubjectItem| deciding.len().saturating_sub(usize::from(deciding.contains(user)));
        let named = eligible.iter().filter(|subject| matches!(subject, SubjectItem::User { .. }));
        let stuck: Vec<String> = named
            .filter(|user| besides(user) < needed)
            .map(|user| match (user, besides(user)) {
                (SubjectItem::User { subject, .. }, 0) => format!("besides `{subject}` nobody reviews"),
                (SubjectItem::User { subject, .. }, 1) => format!("besides `{subject}` only one reviews"),
                (SubjectItem::User { subject, .. }, some) => format!("besides `{subject}` only {some} review"),
                _ => String::new(),
            })
            .collect();
        let Some(first) = stuck.first() else { return };
        let help =
            "nobody decides their own request: add reviewers who do not ask, or ask for fewer approvals".to_owned();
        if stuck.len() == eligible.len() {
            let more = if stuck.len() > MAX_NAMED { ", and so on" } else { "" };
            let proof = stuck.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!(
                "nobody could ever get a grant under the rule `{}`: it needs {count} approval(s), and {proof}{more}",
                rule.value
            );
            self.fault(file, place, message, help);
        } else {
            let message = format!(
                "not everyone who may ask could get a grant under the rule `{}`: it needs {count} approval(s), and {first}",
                rule.value
            );
            self.warning(file, place, message, help);
        }
    }
}

/// The users that are meant, if it is known who they all are.
fn users(subjects: &[SubjectItem]) -> Option<BTreeSet<&SubjectItem>> {
    subjects.iter().map(|subject| matches!(subject, SubjectItem::User { .. }).then_some(subject)).collect()
}
