//! Checks documents against each other and makes of them what filters receive: one item per service.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::{Location, Spanned};

use super::parse::{Documents, Placed, at, meant};
use super::{ActionSpec, BindingSpec, PolicyFault, RoleSpec, RuleSpec};
use crate::engine::{ActionTemplates, Overlap, Subject, canonical_method};
use crate::time::Span;
use crate::wire::table::{ActionItem, BindingItem, CriticalityWord, RuleItem, ServiceItem, SubjectItem};

/// The longest that a rule may let a grant last.
const LONGEST_GRANT: Span = Span::from_secs(30 * 24 * 3_600);

/// How long a request waits if its rule does not say.
const REQUEST_TIMEOUT: Span = Span::from_secs(24 * 3_600);

/// A checked policy: every service with all that concerns it, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The services.
    pub services: Vec<ServiceItem>,
}

/// Checks documents and compiles them.
///
/// # Errors
/// Every fault that there is, in the order of files and lines.
pub fn compile(documents: &Documents) -> Result<Policy, Vec<PolicyFault>> {
    let mut compiler = Compiler { documents, faults: Vec::new(), issuer: None, services: BTreeMap::new() };
    compiler.defaults();
    compiler.services();
    compiler.bindings();
    compiler.rules();
    let Compiler { mut faults, services, .. } = compiler;
    if faults.is_empty() {
        return Ok(Policy { services: services.into_values().collect() });
    }
    faults.sort_by(|one, two| (&one.file, one.line, one.column).cmp(&(&two.file, two.line, two.column)));
    Err(faults)
}

struct Compiler<'d> {
    documents: &'d Documents,
    faults: Vec<PolicyFault>,
    issuer: Option<&'d str>,
    services: BTreeMap<&'d str, ServiceItem>,
}

impl<'d> Compiler<'d> {
    fn fault(&mut self, file: usize, location: Location, message: String, help: impl Into<Option<String>>) {
        let file = self.documents.files.get(file).cloned().unwrap_or_default();
        self.faults.push(PolicyFault { file, ..at(location, message, help.into()) });
    }

    /// An error of the engine: its first line is the fault, the second the help.
    fn refused(&mut self, file: usize, location: Location, error: &dyn std::error::Error) {
        let text = error.to_string();
        let (message, help) =
            text.split_once('\n').map_or((&*text, None), |(message, help)| (message, Some(help.to_owned())));
        self.fault(file, location, message.to_owned(), help);
    }

    fn name(&mut self, file: usize, name: &Spanned<String>) {
        let fine = (1..=64).contains(&name.value.len())
            && name
                .value
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_'));
        if !fine {
            let message = format!("`{}` is not a name", name.value.escape_debug());
            self.fault(
                file,
                name.referenced,
                message,
                "use a-z, 0-9, `-`, `_` and `.`, at most 64 characters".to_owned(),
            );
        }
    }

    /// Reports a name that was there before; `seen` belongs to one kind.
    fn unique<'n>(&mut self, seen: &mut BTreeSet<&'n str>, what: &str, file: usize, name: &'n Spanned<String>) {
        self.name(file, name);
        if !seen.insert(&name.value) {
            let message = format!("there is another {what} named `{}`", name.value);
            self.fault(file, name.referenced, message, "give each its own name, or remove one".to_owned());
        }
    }

    fn defaults(&mut self) {
        let documents = self.documents;
        for (count, Placed { file, document }) in documents.defaults.iter().enumerate() {
            let issuer = &document.spec.issuer;
            if count > 0 {
                self.fault(
                    *file,
                    document.kind.referenced,
                    "there is another `Defaults`".to_owned(),
                    "keep one of them".to_owned(),
                );
            }
            if issuer.value.is_empty()
                || issuer.value.len() > 512
                || !issuer.value.bytes().all(|byte| byte.is_ascii_graphic())
            {
                let message = "the issuer is empty, too long or not plain ASCII".to_owned();
                self.fault(
                    *file,
                    issuer.referenced,
                    message,
                    "write the `iss` of your tokens, like `https://id.example.com`".to_owned(),
                );
            }
            self.issuer = Some(&issuer.value);
        }
    }

    fn services(&mut self) {
        let documents = self.documents;
        let mut seen = BTreeSet::new();
        let mut hosts = BTreeMap::new();
        for Placed { file, document } in &documents.services {
            self.unique(&mut seen, "service", *file, &document.metadata.name);
            let name = document.metadata.name.value.as_str();
            for host in &document.spec.hosts {
                let fine = !host.value.is_empty()
                    && host.value.len() <= 255
                    && host
                        .value
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
                if !fine {
                    let message = format!("`{}` is not a host", host.value.escape_debug());
                    self.fault(
                        *file,
                        host.referenced,
                        message,
                        "write a lower-case host name without port, like `payments.example.com`".to_owned(),
                    );
                }
                if let Some(other) = hosts.insert(host.value.as_str(), name) {
                    let message = format!("the host `{}` is already the service `{other}`'s", host.value);
                    self.fault(*file, host.referenced, message, "a host belongs to one service".to_owned());
                }
            }
            let actions = self.actions(*file, &document.spec.actions);
            let item = ServiceItem {
                name: name.to_owned(),
                hosts: document.spec.hosts.iter().map(|host| host.value.clone()).collect(),
                unmatched: document.spec.unmatched,
                actions,
                bindings: Vec::new(),
                rules: Vec::new(),
            };
            self.services.insert(name, item);
        }
    }

    fn actions(&mut self, file: usize, specs: &'d [ActionSpec]) -> Vec<ActionItem> {
        let mut seen = BTreeSet::new();
        let mut items: Vec<ActionItem> = Vec::new();
        let mut templates: Vec<(&ActionSpec, ActionTemplates)> = Vec::new();
        for spec in specs {
            self.unique(&mut seen, "action", file, &spec.name);
            if canonical_method(spec.method.value.as_bytes()).is_err() {
                let message = format!("`{}` is not an HTTP method", spec.method.value.escape_debug());
                self.fault(file, spec.method.referenced, message, "write it in upper case, like `POST`".to_owned());
            }
            let resource = spec.resource.as_ref().map(|resource| resource.value.as_str());
            let reads = matches!(spec.method.value.as_str(), "GET" | "HEAD" | "OPTIONS");
            let mut item = ActionItem {
                name: spec.name.value.clone(),
                method: spec.method.value.clone(),
                path: spec.path.value.clone(),
                resource: resource.unwrap_or_default().to_owned(),
                criticality: spec.criticality.unwrap_or(if reads {
                    CriticalityWord::Low
                } else {
                    CriticalityWord::Standard
                }),
                audit: spec.audit,
            };
            match ActionTemplates::parse(&spec.path.value, resource) {
                Ok(parsed) => {
                    self.overlaps(file, spec, &parsed, &templates);
                    item.resource = parsed.resource.as_str().to_owned();
                    templates.push((spec, parsed));
                }
                Err(error) => self.refused(file, spec.path.referenced, &error),
            }
            // Also after a fault, so that what names this action is not reported too.
            items.push(item);
        }
        items
    }

    fn overlaps(
        &mut self,
        file: usize,
        spec: &ActionSpec,
        parsed: &ActionTemplates,
        known: &[(&ActionSpec, ActionTemplates)],
    ) {
        for (other, templates) in known.iter().filter(|(other, _)| other.method.value == spec.method.value) {
            if matches!(templates.path.overlap(&parsed.path), Overlap::Same | Overlap::Conflict) {
                let message = format!(
                    "the path `{}` overlaps `{}` of the action `{}`",
                    parsed.path, templates.path, other.name.value
                );
                let help = "some call matches both and neither is narrower: change one path or its method";
                self.fault(file, spec.path.referenced, message, help.to_owned());
            }
        }
    }

    /// The named actions of a service that exist; reports the others.
    fn known_actions(&mut self, file: usize, service: &Spanned<String>, actions: &[Spanned<String>]) -> Vec<String> {
        let Some(item) = self.services.get(service.value.as_str()) else {
            let known: Vec<_> = self.services.keys().copied().collect();
            let help = meant(&service.value, &known);
            self.fault(file, service.referenced, format!("there is no service `{}`", service.value), help);
            return Vec::new();
        };
        let known: Vec<String> = item.actions.iter().map(|action| action.name.clone()).collect();
        let mut found = Vec::new();
        for action in actions {
            if !known.contains(&action.value) {
                let message = format!("the service `{}` has no action `{}`", service.value, action.value);
                self.fault(file, action.referenced, message, meant(&action.value, &known));
            } else if !found.contains(&action.value) {
                found.push(action.value.clone());
            }
        }
        if actions.is_empty() {
            self.fault(file, service.referenced, "no action is named".to_owned(), "name at least one".to_owned());
        }
        found
    }

    fn subjects(&mut self, file: usize, names: &[Spanned<String>]) -> Vec<SubjectItem> {
        let mut found = Vec::new();
        for name in names {
            let needs_issuer = !name.value.starts_with("workload:");
            match Subject::parse(&name.value, self.issuer.unwrap_or_default()) {
                Ok(_) if needs_issuer && self.issuer.is_none() => {
                    let message = format!("it is not said whose `{}` is meant", name.value);
                    self.fault(
                        file,
                        name.referenced,
                        message,
                        "add a `Defaults` document with the issuer of your tokens".to_owned(),
                    );
                }
                Ok(subject) => found.push(SubjectItem::from(subject)),
                Err(error) => self.refused(file, name.referenced, &error),
            }
        }
        found.sort();
        found.dedup();
        found
    }

    fn bindings(&mut self) {
        let documents = self.documents;
        let mut roles: BTreeMap<&str, &Placed<RoleSpec>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for role in &documents.roles {
            self.unique(&mut seen, "role", role.file, &role.document.metadata.name);
            for permission in &role.document.spec.permissions {
                self.known_actions(role.file, &permission.service, &permission.actions);
            }
            roles.insert(&role.document.metadata.name.value, role);
        }
        let mut seen = BTreeSet::new();
        for Placed { file, document } in &documents.bindings {
            let BindingSpec { role, subjects } = &document.spec;
            self.unique(&mut seen, "binding", *file, &document.metadata.name);
            let subjects = self.subjects(*file, subjects);
            let Some(Placed { document: bound, .. }) = roles.get(role.value.as_str()) else {
                let known: Vec<_> = roles.keys().copied().collect();
                self.fault(
                    *file,
                    role.referenced,
                    format!("there is no role `{}`", role.value),
                    meant(&role.value, &known),
                );
                continue;
            };
            for permission in &bound.spec.permissions {
                let Some(service) = self.services.get_mut(permission.service.value.as_str()) else {
                    continue;
                };
                service.bindings.push(BindingItem {
                    name: document.metadata.name.value.clone(),
                    role: role.value.clone(),
                    subjects: subjects.clone(),
                    actions: permission.actions.iter().map(|action| action.value.clone()).collect(),
                    condition: None,
                });
            }
        }
    }

    fn rules(&mut self) {
        let documents = self.documents;
        let mut seen = BTreeSet::new();
        for Placed { file, document } in &documents.rules {
            let name = &document.metadata.name;
            self.unique(&mut seen, "rule", *file, name);
            let RuleSpec { service, actions, eligible, reviewers, approvals, .. } = &document.spec;
            let actions = self.known_actions(*file, service, actions);
            let (max_duration, default_duration, request_timeout) = self.durations(*file, &document.spec);
            let count = approvals.as_ref().map_or(1, |approvals| approvals.value);
            for (who, list) in [("eligible", eligible), ("reviewers", reviewers)] {
                if list.is_empty() {
                    let message = format!("the rule `{}` has no {who}, so nobody could ever get a grant", name.value);
                    self.fault(*file, name.referenced, message, format!("name at least one principal under `{who}`"));
                }
            }
            let (eligible, reviewers) = (self.subjects(*file, eligible), self.subjects(*file, reviewers));
            let place = approvals.as_ref().map_or(name.referenced, |approvals| approvals.referenced);
            let all_known = reviewers.iter().all(|reviewer| matches!(reviewer, SubjectItem::User { .. }));
            if count == 0 {
                self.fault(
                    *file,
                    place,
                    "a grant needs at least one approval".to_owned(),
                    "write `approvals: 1` or more; give a role for what needs none".to_owned(),
                );
            } else if all_known && !reviewers.is_empty() && u64::from(count) > reviewers.len() as u64 {
                let message = format!("the rule needs {count} approvals and has {} reviewers", reviewers.len());
                self.fault(*file, place, message, "add reviewers or ask for fewer approvals".to_owned());
            }
            if let Some(item) = self.services.get_mut(service.value.as_str()) {
                item.rules.push(RuleItem {
                    name: name.value.clone(),
                    actions,
                    eligible,
                    reviewers,
                    approvals: count,
                    max_duration,
                    default_duration,
                    request_timeout,
                    condition: None,
                });
            }
        }
    }

    fn durations(&mut self, file: usize, spec: &RuleSpec) -> (Span, Span, Span) {
        let mut read = |stated: Option<&Spanned<String>>, default: Span, longest: Span| {
            let Some(stated) = stated else { return default };
            let span = match stated.value.parse::<Span>() {
                Ok(span) => span,
                Err(error) => {
                    self.refused(file, stated.referenced, &error);
                    return default;
                }
            };
            if span < Span::from_secs(1) || span > longest {
                let message = format!("`{}` is not between 1s and {longest}", stated.value);
                self.fault(file, stated.referenced, message, None);
            }
            span
        };
        let max = read(Some(&spec.max_duration), LONGEST_GRANT, LONGEST_GRANT);
        let default = read(spec.default_duration.as_ref(), max, max);
        let timeout = read(spec.request_timeout.as_ref(), REQUEST_TIMEOUT, LONGEST_GRANT);
        (max, default, timeout)
    }
}
