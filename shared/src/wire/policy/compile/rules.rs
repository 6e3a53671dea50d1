//! Rules for asking, and deny rules.

use std::collections::BTreeSet;

use serde_saphyr::{Location, Spanned};

use super::people::People;
use super::{Compiler, LONGEST};
use crate::time::Span;
use crate::wire::policy::parse::Placed;
use crate::wire::policy::{BindSpec, DenyRuleSpec, RuleSpec};
use crate::wire::table::{ActionsItem, BindItem, BodyWord, DenyItem, RuleItem, WorkflowItem};

/// How long a request waits if its rule does not say.
const REQUEST_TIMEOUT: Span = Span::from_secs(24 * 3_600);

/// The longest that a call may be held: a proxy gives a call up that is silent for five minutes, unless it is told otherwise
/// (Envoy's `stream_idle_timeout`).
pub const LONGEST_HOLD: Span = Span::from_secs(4 * 60);

/// The longest reason of a deny rule.
pub(in crate::wire::policy) const MAX_REASON: usize = 512;

/// The most calls that a grant may be counted for; more is as good as any number.
pub const MAX_USES: u32 = 1_000;

impl<'d> Compiler<'d> {
    pub(super) fn rules(&mut self) {
        let documents = self.documents;
        let mut seen = BTreeSet::new();
        for Placed { file, document } in &documents.rules {
            if self.is_full() {
                return;
            }
            let (file, name, spec) = (*file, &document.metadata.name, &document.spec);
            self.unique(&mut seen, "rule", file, name);
            let actions = self.known_actions(file, &spec.service, &spec.actions);
            let named = ActionsItem::Named(actions.clone());
            let people = self.people(file, name, spec);
            let automatic = self.automatic(file, name, spec, (&named, &people));
            let People { eligible, reviewers, approvals, deciding, .. } = people;
            let service = spec.service.value.as_str();
            if !self.may_pair(file, name, actions.len(), eligible.len()) {
                return;
            }
            let workflow = WorkflowItem {
                reviewers,
                approvals,
                deciding,
                automatic,
                max_duration: self.duration(file, Some(&spec.max_duration), LONGEST, LONGEST),
                default_duration: self.default_duration(file, spec),
                max_uses: self.max_uses(file, spec),
                request_timeout: self.duration(file, spec.request_timeout.as_ref(), REQUEST_TIMEOUT, LONGEST),
                ..WorkflowItem::default()
            };
            let item = RuleItem {
                name: name.value.clone(),
                actions,
                eligible,
                hold: self.hold(file, spec),
                condition: self.asking_condition(file, spec.condition.as_ref(), service, &named),
                grant_condition: self.condition(file, spec.grant_condition.as_ref(), service, &named),
                bind: spec.bind.as_ref().and_then(|bind| self.bind(file, name, service, &named, bind)),
                reveals: self.reveals(file, service, &named, &spec.reveals),
                workflow: Some(Box::new(self.course(file, spec, workflow))),
            };
            if let Some(there) = self.services.get_mut(service) {
                there.rules.push(item);
            }
        }
    }

    fn default_duration(&mut self, file: usize, spec: &RuleSpec) -> Span {
        // The maximum's own faults are told where it is read.
        let max = spec.max_duration.value.parse().unwrap_or(LONGEST).min(LONGEST);
        self.duration(file, spec.default_duration.as_ref(), max, max)
    }

    /// For how many calls a grant may be; reports what cannot be counted.
    fn max_uses(&mut self, file: usize, spec: &RuleSpec) -> Option<u32> {
        let stated = spec.max_uses.as_ref()?;
        if !(1..=MAX_USES).contains(&stated.value) {
            let message = format!("a grant cannot be for {} calls", stated.value);
            let help = format!("write a number from 1 to {MAX_USES}, or leave `maxUses` out for any number of calls");
            self.fault(file, stated.referenced, message, help);
        }
        self.not_head_first(file, stated.referenced, spec, ("counted", "maxUses"));
        Some(stated.value)
    }

    /// How long calls are held; reports what is too long for a proxy, and what cannot be held.
    fn hold(&mut self, file: usize, spec: &RuleSpec) -> Option<Span> {
        let stated = spec.hold.as_ref()?;
        let hold = self.duration(file, Some(stated), LONGEST_HOLD, LONGEST_HOLD);
        self.not_head_first(file, stated.referenced, spec, ("held", "hold"));
        if spec.ticket.as_ref().is_some_and(|ticket| ticket.required) {
            let message = "calls cannot be held where a request must name a ticket: a call has none to show".to_owned();
            self.fault(file, stated.referenced, message, "leave `hold` or `required` of the ticket out".to_owned());
        }
        Some(hold)
    }

    /// Reports an action of the rule whose calls' heads go on before they are decided.
    fn not_head_first(&mut self, file: usize, at: Location, spec: &RuleSpec, (what, field): (&str, &str)) {
        let service = self.services.get(spec.service.value.as_str());
        let all = || service.into_iter().flat_map(|service| &service.actions);
        let ruled = all().filter(|action| spec.actions.iter().any(|name| name.value == action.name));
        // Whichever of the actions at one place a call turns out to be, its head has gone on then.
        let at_once: BTreeSet<(&str, &str)> = all()
            .filter(|action| action.body == Some(BodyWord::HeadFirst))
            .map(|action| (action.method.as_str(), action.path.as_str()))
            .collect();
        let mut head_first = ruled.filter(|action| at_once.contains(&(action.method.as_str(), action.path.as_str())));
        if let Some(action) = head_first.next().map(|action| action.name.clone()) {
            let message = format!("calls of `{action}` cannot be {what}: their heads go on before they are decided");
            let help = format!("write `body: strict` for the actions at its method and path, or leave `{field}` out");
            self.fault(file, at, message, help);
        }
    }

    /// What a grant is bound to; reports what the actions or the service do not declare.
    fn bind(
        &mut self,
        file: usize,
        rule: &Spanned<String>,
        service: &str,
        actions: &ActionsItem,
        spec: &BindSpec,
    ) -> Option<BindItem> {
        if !self.declared.contains_key(service) {
            return None;
        }
        let BindSpec { exact, fields, headers, query } = spec;
        let scope = self.scope(service, actions);
        let declared_fields: Vec<String> = scope.fields.iter().map(|(name, _)| name.clone()).collect();
        let lists = [
            ("field", fields, declared_fields, "under `fields`, with `in: request`, of every action of the rule"),
            ("header", headers, scope.headers, "under `headers` of the service"),
            ("query parameter", query, scope.query, "under `query` of every action of the rule"),
        ];
        let mut bound = Vec::new();
        for (what, stated, known, place) in lists {
            for name in stated.iter().filter(|name| !known.contains(&name.value)) {
                let message = format!("the {what} `{}` is not declared", name.value);
                let help = match self.meant(&name.value, &known) {
                    Some(close) if close.ends_with('?') => format!("{close} Or declare it {place}"),
                    _ => format!("declare it {place}"),
                };
                self.fault(file, name.referenced, message, help);
            }
            let mut names: Vec<String> = stated.iter().map(|name| name.value.clone()).collect();
            names.sort();
            names.dedup();
            bound.push(names);
        }
        let mut bound = bound.into_iter();
        let mut next = || bound.next().unwrap_or_default();
        let item = BindItem { exact: *exact, fields: next(), headers: next(), query: next() };
        if item == BindItem::default() {
            let message = "the grant is bound to nothing".to_owned();
            let help =
                "write `exact: true`, or name fields, headers or query parameters, or leave `bind` out".to_owned();
            self.fault(file, rule.referenced, message, help);
            return None;
        }
        Some(item)
    }

    pub(super) fn denials(&mut self) {
        let documents = self.documents;
        let mut seen = BTreeSet::new();
        for Placed { file, document } in &documents.denials {
            if self.is_full() {
                return;
            }
            let (file, name) = (*file, &document.metadata.name);
            let DenyRuleSpec { service, actions, subjects, except, condition, reason, .. } = &document.spec;
            self.unique(&mut seen, "deny rule", file, name);
            let actions = self.action_set(file, service, actions);
            let printable = !reason.value.trim().is_empty() && !reason.value.chars().any(char::is_control);
            if !printable || reason.value.len() > MAX_REASON {
                let message = "the reason is empty, too long, or has line breaks or control characters".to_owned();
                let help = format!("write one line of at most {MAX_REASON} bytes for the refused caller");
                self.fault(file, reason.referenced, message, help);
            }
            let (subjects, except) = (self.subjects(file, subjects), self.subjects(file, except));
            let count = self.count(&service.value, &actions);
            if !self.may_pair(file, name, count, subjects.len().max(1)) {
                return;
            }
            let item = DenyItem {
                name: name.value.clone(),
                subjects,
                except,
                condition: self.condition(file, condition.as_ref(), &service.value, &actions),
                actions,
                reason: reason.value.clone(),
            };
            if let Some(there) = self.services.get_mut(service.value.as_str()) {
                there.denials.push(item);
            }
        }
    }
}
