//! What rules decide by themselves: that each decision says what it needs and nothing else, could come, and says when.

use std::collections::BTreeSet;

use serde_saphyr::Spanned;

use super::Compiler;
use super::people::People;
use crate::engine::MAX_AUTOMATIC;
use crate::engine::condition::{Form, Op};
use crate::wire::condition::ConditionItem;
use crate::wire::policy::{AutomaticSpec, RuleSpec, ThenWord};
use crate::wire::table::{ActionsItem, AutomaticItem, CriticalityWord, ThenItem};

impl Compiler<'_> {
    pub(super) fn automatic(
        &mut self,
        file: usize,
        rule: &Spanned<String>,
        spec: &RuleSpec,
        (actions, people): (&ActionsItem, &People),
    ) -> Vec<AutomaticItem> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut always: Option<&Spanned<String>> = None;
        let said_of = self.said_of();
        for one in self.at_most(file, rule.referenced, "automatic decisions", &spec.automatic, MAX_AUTOMATIC) {
            let AutomaticSpec { name, then, when, approvals } = one;
            self.unique(&mut seen, "automatic decision", file, name);
            let item = match then.value {
                ThenWord::Approve => ThenItem::Approve,
                ThenWord::Deny => ThenItem::Deny,
                ThenWord::Require => ThenItem::Require(self.required(file, one, people)),
                ThenWord::Escalate => ThenItem::Escalate,
            };
            if let Some(stated) = approvals.as_ref().filter(|_| then.value != ThenWord::Require) {
                let message = format!("`approvals` says nothing of the automatic decision `{}`", name.value);
                self.fault(file, stated.referenced, message, "write `then: require`, or leave it out".to_owned());
            }
            let nobody = spec.timeouts.as_ref().is_none_or(|timeouts| timeouts.escalate_to.is_empty());
            if then.value == ThenWord::Escalate && nobody {
                let message = "it is not said to whom a request is escalated".to_owned();
                let help = "name somebody under `escalateTo` of the rule's `timeouts`".to_owned();
                self.fault(file, then.referenced, message, help);
            }
            // Denials are above all, wherever they stand.
            if let Some(before) = always.filter(|_| then.value != ThenWord::Deny) {
                let message = format!("`{}` never decides: `{}` before it always does", name.value, before.value);
                let help = format!("say `when` for `{}`, or put it last", before.value);
                self.warning(file, name.referenced, message, help);
            } else if when.is_none() && then.value != ThenWord::Approve {
                // An approval does not where a denial, or whether to ask people before it, is unclear.
                always = Some(name);
            }
            let stated = when.as_ref();
            let form =
                stated.and_then(|stated| self.asking_form(file, stated, (&spec.service.value, actions), &said_of));
            if then.value == ThenWord::Approve {
                self.approves(file, spec, one, form.as_ref());
            } else if when.is_none() && then.value == ThenWord::Deny {
                let message = format!("`{}` denies everything that is asked for", name.value);
                self.warning(file, name.referenced, message, "say `when`, or remove the rule".to_owned());
            }
            // A condition with a fault is none at all, and would hold always.
            if form.is_some() || when.is_none() {
                let when = stated.zip(form).map(|(stated, form)| ConditionItem::new(&stated.value, &form));
                found.push(AutomaticItem { name: name.value.clone(), when, then: item });
            }
        }
        found
    }

    /// How many approvals are wanted; reports a number that is missing, says nothing, or cannot be had.
    fn required(
        &mut self,
        file: usize,
        AutomaticSpec { name, then, approvals, .. }: &AutomaticSpec,
        people: &People,
    ) -> u32 {
        let Some(stated) = approvals else {
            let message = format!("it is not said how many approvals `{}` requires", name.value);
            self.fault(file, then.referenced, message, "write `approvals`".to_owned());
            return 0;
        };
        if u64::from(stated.value) <= people.needed {
            let message = format!("the rule takes {} approval(s) anyway", people.needed);
            self.fault(file, stated.referenced, message, "require more, or remove this decision".to_owned());
        } else if let Some(known) =
            people.known.filter(|known| usize::try_from(stated.value).unwrap_or(usize::MAX) > *known)
        {
            let message =
                format!("`{}` requires {} approvals, and the rule has {known} reviewers", name.value, stated.value);
            self.fault(file, stated.referenced, message, "add reviewers or require fewer approvals".to_owned());
        }
        stated.value
    }

    /// What an approval without people should be warned of.
    fn approves(
        &mut self,
        file: usize,
        rule: &RuleSpec,
        AutomaticSpec { name, when, .. }: &AutomaticSpec,
        form: Option<&Form>,
    ) {
        if when.is_none() {
            let message = format!("`{}` approves everything that is asked for", name.value);
            let help = "say `when`; give a role for what needs nobody's approval".to_owned();
            self.warning(file, name.referenced, message, help);
        }
        let service = self.services.get(rule.service.value.as_str());
        let ruled = |name: &str| rule.actions.iter().any(|action| action.value == name);
        let mut actions = service.into_iter().flat_map(|service| &service.actions);
        let critical = actions.find(|action| action.criticality == CriticalityWord::Critical && ruled(&action.name));
        if let Some(critical) = critical.filter(|_| rule.max_uses.is_none()).map(|action| action.name.clone()) {
            let message = format!(
                "`{}` approves any number of calls of `{critical}`, which is critical, without people",
                name.value
            );
            self.warning(file, name.referenced, message, "say for how many calls a grant is, by `maxUses`".to_owned());
        }
        let unset = |form: &Form| {
            let nodes = form.nodes();
            let signal = |at: u16| nodes.get(usize::from(at)).is_some_and(|node| node.op == Op::Signal);
            nodes.iter().any(|node| node.op == Op::Not && node.operands.first().copied().is_some_and(signal))
        };
        if let Some(when) = when.as_ref().filter(|_| form.is_some_and(unset)) {
            let message = "nothing is approved because a signal is not set".to_owned();
            let help = "deny by the signal, in an automatic decision of its own".to_owned();
            self.warning(file, when.referenced, message, help);
        }
    }
}
