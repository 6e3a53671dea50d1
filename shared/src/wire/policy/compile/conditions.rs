//! Conditions of bindings, rules and deny rules: what they may name where they stand, and where in the file a fault is.

use serde_saphyr::Spanned;

use super::Compiler;
use super::actions::Common;
use crate::engine::condition::{Form, Op};
use crate::wire::condition::ConditionItem;
use crate::wire::policy::parse::at;
use crate::wire::policy::{ConditionFault, Judged, MAX_CONDITIONS, PolicyFault, Scope, Unjudged};
use crate::wire::table::ActionsItem;

/// What is only there when a call is.
const OF_CALLS: [(Op, &str); 19] = [
    (Op::Method, "request.method"),
    (Op::Path, "request.path"),
    (Op::Host, "request.host"),
    (Op::Param, "request.params"),
    (Op::Query, "request.query"),
    (Op::Header, "request.headers"),
    (Op::FieldText, "request.body"),
    (Op::FieldNumber, "request.body"),
    (Op::FieldBool, "request.body"),
    (Op::SourceAddress, "source.address"),
    (Op::SourceCountry, "source.country"),
    (Op::OriginMesh, "origin"),
    (Op::OriginNamespace, "origin"),
    (Op::OriginGateway, "origin"),
    (Op::Workload, "principal.workload"),
    (Op::Actor, "principal.actor"),
    (Op::TrustDomain, "peer"),
    (Op::Namespace, "peer"),
    (Op::ServiceAccount, "peer"),
];

impl<'d> Compiler<'d> {
    /// Compiles a condition on calls of these actions of a service.
    pub(super) fn condition(
        &mut self,
        file: usize,
        stated: Option<&Spanned<String>>,
        service: &str,
        actions: &ActionsItem,
    ) -> Option<ConditionItem> {
        let form = self.of_calls(file, stated?, (service, actions), &[])?;
        Some(ConditionItem::new(&stated?.value, &form))
    }

    fn of_calls(
        &mut self,
        file: usize,
        stated: &Spanned<String>,
        (service, actions): (&str, &ActionsItem),
        said_of: &[String],
    ) -> Option<Form> {
        // That a service is not there is told where it is named; what it declares is not known.
        if !self.declared.contains_key(service) {
            return None;
        }
        let known = match actions {
            ActionsItem::All => None,
            ActionsItem::Named(names) => Some(names.as_slice()),
        };
        let mut scope = self.scope(service, actions);
        scope.signals.extend_from_slice(said_of);
        self.judged(file, stated, &scope, (Some(service), known))
    }

    /// As [`Self::condition`], for a binding, whose role may be about several services: their names are left open.
    pub(super) fn standing_condition(
        &mut self,
        file: usize,
        stated: Option<&Spanned<String>>,
        service: &str,
        actions: &ActionsItem,
    ) -> Option<ConditionItem> {
        let form = self.judged(file, stated?, &self.scope(service, actions), (None, None))?;
        Some(ConditionItem::new(&stated?.value, &form))
    }

    /// Compiles a condition on asking for these actions, which is judged where there is no call.
    pub(super) fn asking_condition(
        &mut self,
        file: usize,
        stated: Option<&Spanned<String>>,
        service: &str,
        actions: &ActionsItem,
    ) -> Option<ConditionItem> {
        let form = self.asking_form(file, stated?, (service, actions), &[])?;
        Some(ConditionItem::new(&stated?.value, &form))
    }

    /// As [`Self::asking_condition`], in the form that is evaluated, with signals that are said of what is asked.
    pub(super) fn asking_form(
        &mut self,
        file: usize,
        stated: &Spanned<String>,
        (service, actions): (&str, &ActionsItem),
        said_of: &[String],
    ) -> Option<Form> {
        let form = self.of_calls(file, stated, (service, actions), said_of)?;
        let of_call = OF_CALLS.iter().find(|(op, _)| form.nodes().iter().any(|node| node.op == *op));
        if let Some((_, name)) = of_call {
            let message = format!("`{name}` belongs to a call, and asking is not one");
            let help = "name it in `grantCondition`, which is judged for each call under the grant".to_owned();
            let offset = stated.value.find(name).unwrap_or_default();
            let fault = ConditionFault { offset, length: name.len(), message, help: Some(help) };
            self.condition_fault(file, stated, fault);
        }
        Some(form)
    }

    /// Compiles a condition, and notes what it names and whether it says anything.
    fn judged(
        &mut self,
        file: usize,
        stated: &Spanned<String>,
        scope: &Scope,
        (service, actions): (Option<&str>, Option<&[String]>),
    ) -> Option<Form> {
        match self.judging.judge(&stated.value, scope, service, actions) {
            Ok(Judged { form, never_false }) => {
                let needs = form.needs();
                self.named.claims.extend(needs.claims.iter().cloned());
                self.named.signals.extend(needs.signals.iter().cloned());
                if never_false {
                    let message = "the condition can never be false".to_owned();
                    let help = "leave it out, or use `has(...)` to ask only whether something is there".to_owned();
                    self.warning(file, stated.referenced, message, help);
                }
                Some(form)
            }
            Err(Unjudged::Fault(fault)) => {
                self.condition_fault(file, stated, fault);
                None
            }
            Err(Unjudged::Spent) => {
                let message = format!(
                    "the conditions up to here are too much: more than {MAX_CONDITIONS}, each counted once for every \
                     service that it is about, or too large together"
                );
                let help = "use fewer conditions or simpler ones, and bind roles of fewer services under conditions";
                self.too_much(file, stated.referenced, message, help.to_owned());
                None
            }
        }
    }

    /// The signals that are said of a user or a ticket.
    pub(super) fn said_of(&self) -> Vec<String> {
        self.signals.iter().filter(|signal| signal.of.is_some()).map(|signal| signal.name.clone()).collect()
    }

    /// What all the actions declare.
    pub(super) fn scope(&self, service: &str, actions: &ActionsItem) -> Scope {
        let Some(declared) = self.declared.get(service) else { return Scope::default() };
        let Common { params, query, fields, no_body } = declared.common(actions);
        Scope {
            params,
            query,
            headers: declared.headers.clone(),
            claims: self.claims.clone(),
            fields,
            signals: self
                .signals
                .iter()
                .filter(|signal| signal.of.is_none())
                .map(|signal| signal.name.clone())
                .collect(),
            said_of: self.said_of(),
            no_body,
        }
    }

    fn condition_fault(&mut self, file: usize, stated: &Spanned<String>, fault: ConditionFault) {
        let ConditionFault { offset, message, help, .. } = fault;
        let fault = self.documents.placed(file, at(stated.referenced, message, help));
        let (text, _) = self.documents.around(file);
        let (line, column) = place(text, (fault.line, fault.column), &stated.value, offset);
        self.tell(PolicyFault { line, column, ..fault });
    }
}

/// Line and column of a byte of a scalar, which may be quoted, or a block of several lines.
fn place(text: &str, begin: (u64, u64), source: &str, offset: usize) -> (u64, u64) {
    let before = source.get(..offset).unwrap_or_default();
    let (row, before) = match before.rsplit_once('\n') {
        Some((lines, last)) => (lines.split('\n').count(), last),
        None => (0, before),
    };
    let Some(wanted) = source.lines().nth(row) else { return begin };
    let first = usize::try_from(begin.0).unwrap_or(usize::MAX).saturating_sub(1);
    // The line of the scalar itself, or the first one below it that reads the same.
    let lines = text.lines().enumerate().skip(first).take(source.lines().count().saturating_add(1));
    let mut seen = 0_usize;
    for (number, line) in lines {
        let Some(at) = line.find(wanted) else { continue };
        if seen == row || source.lines().take(row).all(|line| line != wanted) {
            let letters = |text: &str| u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            let indent = letters(line.get(..at).unwrap_or_default());
            let number = u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1);
            return (number, indent.saturating_add(letters(before)).saturating_add(1));
        }
        seen = seen.saturating_add(1);
    }
    begin
}
