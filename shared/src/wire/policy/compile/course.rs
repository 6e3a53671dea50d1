//! What rules say about time, and who may act now and answer later.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use super::{Compiler, LONGEST};
use crate::engine::Routing;
use crate::time::Span;
use crate::wire::policy::parse::Placed;
use crate::wire::policy::{BreakGlassSpec, ExtensionSpec, LimitsSpec, OfWord, RoutingSpec, RuleSpec, TimeoutsSpec};
use crate::wire::table::{
    BreakGlassItem, ExtensionItem, LimitsItem, RoutingItem, SubjectItem, TimeoutsItem, WorkflowItem,
};

/// The longest grant that somebody gets without anybody's approval.
const LONGEST_BREAK_GLASS: Span = Span::from_secs(4 * 3_600);

/// The longest that a token for times without a control plane is good for: it cannot be taken back meanwhile.
const LONGEST_OFFLINE: Span = Span::from_secs(7 * 24 * 3_600);

/// Within what time a post-review is due if nothing is said.
const REVIEW_WITHIN: Span = Span::from_secs(24 * 3_600);

impl Compiler<'_> {
    /// Adds what a rule says about time.
    pub(super) fn course(&mut self, file: usize, spec: &RuleSpec, rule: WorkflowItem) -> WorkflowItem {
        WorkflowItem {
            starts_within: self.stated(file, spec.starts_within.as_ref(), LONGEST),
            extension: spec.extension.as_ref().map(|extension| self.extension(file, extension, rule.max_duration)),
            timeouts: spec.timeouts.as_ref().map(|timeouts| self.timeouts(file, spec, timeouts, rule.request_timeout)),
            limits: spec.limits.as_ref().map(|limits| self.limits(file, limits)),
            routing: spec.routing.as_ref().map(|routing| self.routing(file, routing)),
            ..rule
        }
    }

    fn stated(&mut self, file: usize, stated: Option<&Spanned<String>>, longest: Span) -> Option<Span> {
        stated.map(|stated| self.duration(file, Some(stated), longest, longest))
    }

    fn extension(&mut self, file: usize, spec: &ExtensionSpec, max_duration: Span) -> ExtensionItem {
        let ExtensionSpec { max_total, without_review } = spec;
        let item = ExtensionItem {
            max_total: self.stated(file, max_total.as_ref(), LONGEST),
            without_review: self.stated(file, without_review.as_ref(), LONGEST),
        };
        let most = item.max_total.unwrap_or(max_duration);
        if let Some(stated) = max_total.as_ref().filter(|_| most < max_duration) {
            let message = format!("`{}` in all is less than one grant of `{max_duration}`", stated.value);
            let help = format!("write `maxTotal` of at least `{max_duration}`, or a shorter `maxDuration`");
            self.fault(file, stated.referenced, message, help);
        }
        if let (Some(stated), Some(free)) = (without_review, item.without_review)
            && free > most
        {
            let message = format!("no grant lasts `{free}`: the most in all is `{most}`");
            let help = format!("write `withoutReview` of at most `{most}`, or a longer `maxTotal`");
            self.fault(file, stated.referenced, message, help);
        }
        item
    }

    fn timeouts(&mut self, file: usize, rule: &RuleSpec, spec: &TimeoutsSpec, waits: Span) -> TimeoutsItem {
        let TimeoutsSpec { remind_after, escalate_after, escalate_to } = spec;
        self.plain(file, escalate_to, "reviews");
        let item = TimeoutsItem {
            remind_after: self.stated(file, remind_after.as_ref(), LONGEST),
            escalate_after: self.stated(file, escalate_after.as_ref(), LONGEST),
            escalate_to: self.subjects(file, escalate_to),
        };
        for (stated, after) in [(remind_after, item.remind_after), (escalate_after, item.escalate_after)] {
            if let (Some(stated), Some(after)) = (stated, after)
                && after >= waits
            {
                let message = format!("after `{after}` a request under this rule has timed out");
                let help = format!("write less than its `requestTimeout`, which is `{waits}`");
                self.fault(file, stated.referenced, message, help);
            }
        }
        match (escalate_after, escalate_to.first()) {
            (Some(after), None) => {
                let message = "it is not said to whom a request is escalated".to_owned();
                self.fault(file, after.referenced, message, "name somebody under `escalateTo`".to_owned());
            }
            (None, Some(first)) => {
                let message = "it is not said when a request is escalated".to_owned();
                self.fault(file, first.referenced, message, "write `escalateAfter`".to_owned());
            }
            _ => {}
        }
        let known = |name: &&Spanned<String>| rule.reviewers.iter().any(|reviewer| reviewer.value == name.value);
        if let Some(twice) = escalate_to.iter().find(known) {
            let message = format!("`{}` reviews under this rule anyway", twice.value);
            self.warning(file, twice.referenced, message, "escalate to others".to_owned());
        }
        item
    }

    fn routing(&mut self, file: usize, spec: &RoutingSpec) -> RoutingItem {
        let RoutingSpec { suggest, on_call } = spec;
        if let Some(many) = suggest.as_ref().filter(|suggest| suggest.value > Routing::MOST_SUGGESTED) {
            let message = format!("{} people are too many to suggest", many.value);
            self.fault(file, many.referenced, message, format!("write a number up to {}", Routing::MOST_SUGGESTED));
        }
        if let Some(signal) = on_call {
            let known: Vec<String> = self
                .signals
                .iter()
                .filter(|known| known.of == Some(OfWord::User))
                .map(|known| known.name.clone())
                .collect();
            if known.contains(&signal.value) {
                self.named.signals.insert(signal.value.as_str().into());
            } else {
                let message = format!("there is no signal `{}` that is said of users", signal.value.escape_debug());
                let help = "declare it under `signals` of the defaults, with `of: user`".to_owned();
                self.fault(file, signal.referenced, message, help);
            }
        }
        RoutingItem {
            suggest: suggest.as_ref().map(|suggest| suggest.value),
            on_call: on_call.as_ref().map(|signal| signal.value.clone()),
        }
    }

    fn limits(&mut self, file: usize, spec: &LimitsSpec) -> LimitsItem {
        let LimitsSpec { pending, per_hour, cool_down } = spec;
        for none in [pending, per_hour].into_iter().flatten().filter(|stated| stated.value == 0) {
            let message = "nobody could ever ask".to_owned();
            self.fault(file, none.referenced, message, "write 1 or more, or remove the rule".to_owned());
        }
        LimitsItem {
            pending: pending.as_ref().map(|stated| stated.value),
            per_hour: per_hour.as_ref().map(|stated| stated.value),
            cool_down: self.stated(file, cool_down.as_ref(), LONGEST),
        }
    }

    pub(super) fn break_glass(&mut self) {
        let documents = self.documents;
        let mut seen = BTreeSet::new();
        for Placed { file, document } in &documents.break_glass {
            if self.is_full() {
                return;
            }
            let (file, name) = (*file, &document.metadata.name);
            let BreakGlassSpec { service, actions, subjects, max_duration, reviewers, review_within, offline, .. } =
                &document.spec;
            self.unique(&mut seen, "break-glass right", file, name);
            // Requests, grants and their lists name either by its name alone.
            let rules = self.services.get(service.value.as_str()).map(|service| service.rules.as_slice());
            if rules.unwrap_or_default().iter().any(|rule| rule.name == name.value) {
                let message = format!("there is a rule named `{}`", name.value);
                self.fault(file, name.referenced, message, "give each its own name".to_owned());
            }
            let actions = self.known_actions(file, service, actions);
            self.plain(file, subjects, "breaks glass");
            self.plain(file, reviewers, "reviews");
            if subjects.is_empty() {
                let message = format!("nobody has the break-glass right `{}`", name.value);
                self.warning(file, name.referenced, message, "name somebody under `subjects`, or remove it".to_owned());
            }
            let faults = self.faults.len();
            let (subjects, reviewers) = (self.subjects(file, subjects), self.subjects(file, reviewers));
            if faults == self.faults.len() && !others_review(&subjects, &reviewers) {
                let message =
                    format!("what is done by the break-glass right `{}` could be reviewed by nobody", name.value);
                let help =
                    "name reviewers who do not have the right themselves: nobody reviews what they did".to_owned();
                self.fault(file, name.referenced, message, help);
            }
            if !self.may_pair(file, name, actions.len(), subjects.len()) {
                return;
            }
            let item = BreakGlassItem {
                name: name.value.clone(),
                actions,
                subjects,
                max_duration: self.duration(file, Some(max_duration), LONGEST_BREAK_GLASS, LONGEST_BREAK_GLASS),
                reviewers,
                review_within: self.duration(file, review_within.as_ref(), REVIEW_WITHIN, LONGEST),
                offline: self.stated(file, offline.as_ref(), LONGEST_OFFLINE),
            };
            if let Some(there) = self.services.get_mut(service.value.as_str()) {
                there.break_glass.push(item);
            }
        }
    }
}

/// Whether whoever has the right could be reviewed by somebody else. Groups count as large.
fn others_review(subjects: &[SubjectItem], reviewers: &[SubjectItem]) -> bool {
    let is_user = |item: &&SubjectItem| matches!(item, SubjectItem::User { .. });
    match reviewers {
        [] => false,
        [only] if is_user(&only) => !subjects.contains(only) || subjects.iter().any(|subject| subject != only),
        _ => true,
    }
}
