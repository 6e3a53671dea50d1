//! Checks documents against each other and makes of them what filters receive: one item per service.
//! Every fault is collected; nothing stops at the first.

mod actions;
mod approvable;
mod automatic;
mod conditions;
mod course;
mod paths;
mod people;
mod roles;
mod rules;
mod warnings;
mod who;
mod words;
mod work;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::{Location, Spanned};

use super::parse::{Documents, MAX_FAULTS, Placed, PolicyFile, at, meant, read_all};
use super::{ClaimSpec, ClaimWord, FactType, Judging, OfWord, PolicyFault, SignalSpec};
use crate::engine::{Subject, Table};
use crate::time::Span;
use crate::wire::table::{ActionsItem, Body, ItemError, ModeWord, PeopleItem, RolloutItem, ServiceItem, SubjectItem};
use actions::Declared;
use who::Behind;
use work::Work;

pub(super) use actions::{MAX_ACTIONS, MAX_NAMES, MAX_SELECT};
pub(super) use rules::MAX_REASON;
pub use rules::{LONGEST_HOLD, MAX_USES};
pub(super) use who::MAX_ACCOUNTS;
pub(super) use words::MAX_LENGTH;

/// The longest that a rule may let a grant last, and a signal be set.
const LONGEST: Span = Span::from_secs(30 * 24 * 3_600);

/// How long a signal may be set for if its declaration does not say.
const SIGNAL_DURATION: Span = Span::from_secs(24 * 3_600);

/// The most claims, and the most signals, that a policy declares.
pub(super) const MAX_DECLARED: usize = 256;

/// So many faults are told with the names that may have been meant.
const MAX_MEANT: usize = 50;

/// A checked policy: every service with all that concerns it, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The services.
    pub services: Vec<ServiceItem>,
    /// The signals that people may set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<DeclaredSignal>,
    /// The people behind accounts, and who can edit groups.
    #[serde(default, skip_serializing_if = "PeopleItem::is_empty")]
    pub people: PeopleItem,
}

impl Policy {
    /// The table that a filter of all its services has of it, without grants, locks and signals.
    ///
    /// # Errors
    /// If the engine refuses a service.
    pub fn table(&self) -> Result<Table, ItemError> {
        let mut table = Table::default();
        for service in &self.services {
            let json =
                |error: serde_json::Error| ItemError::Json { key: service.name.clone(), text: error.to_string() };
            Body::Service(service.clone()).into_item().map_err(json)?.parse()?.put_into(&mut table);
        }
        Ok(table)
    }
}

/// A signal that people may set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredSignal {
    /// Its name.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is said of, if not of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<OfWord>,
    /// Who may set and clear it, besides operators.
    pub setters: Vec<SubjectItem>,
    /// The longest time it may be set for at once.
    pub max_duration: Span,
}

/// Checks documents and compiles them.
///
/// # Errors
/// Every fault that there is, in the order of files and lines.
pub fn compile(documents: &Documents) -> Result<Policy, Vec<PolicyFault>> {
    Compiler::run(documents).finish()
}

/// Reads files as [`super::parse()`] does, with more to say if some of their documents cannot be read: the others are then
/// checked as far as nothing depends on what those may declare.
///
/// # Errors
/// Every fault.
pub fn read(files: &[PolicyFile]) -> Result<Documents, Vec<PolicyFault>> {
    let (documents, mut faults) = read_all(files);
    if faults.is_empty() {
        return Ok(documents);
    }
    // Issuer, claims and signals are named everywhere.
    if !documents.may_have("Defaults") {
        let more = Compiler::run(&documents).faults;
        faults.extend(more.into_iter().take(MAX_FAULTS.saturating_sub(faults.len())));
    }
    Err(in_order(faults))
}

/// What there is to say about documents.
#[derive(Debug)]
pub struct Examined {
    /// The policy, or every fault.
    pub policy: Result<Policy, Vec<PolicyFault>>,
    /// What is allowed and probably not meant, in the order of files and lines. Warnings never refuse.
    pub warnings: Vec<PolicyFault>,
}

/// Checks documents as [`compile()`] does, and looks for what is probably not meant.
#[must_use]
pub fn examine(documents: &Documents) -> Examined {
    let mut compiler = Compiler::run(documents);
    // A name that is wrong makes another one unused: what is about the whole is told when the faults are gone.
    if compiler.faults.is_empty() {
        compiler.warn();
    }
    let warnings = in_order(std::mem::take(&mut compiler.warnings));
    Examined { policy: compiler.finish(), warnings }
}

fn in_order(mut faults: Vec<PolicyFault>) -> Vec<PolicyFault> {
    faults.sort_by(|one, two| (&one.file, one.line, one.column).cmp(&(&two.file, two.line, two.column)));
    faults.dedup();
    faults
}

/// Orders what came from several documents by name: where a document stands means nothing, and moving it changes no hash.
fn by_name(service: &mut ServiceItem) {
    service.bindings.sort_by(|one, other| one.name.cmp(&other.name));
    service.rules.sort_by(|one, other| one.name.cmp(&other.name));
    service.denials.sort_by(|one, other| one.name.cmp(&other.name));
    service.break_glass.sort_by(|one, other| one.name.cmp(&other.name));
}

struct Compiler<'d> {
    documents: &'d Documents,
    faults: Vec<PolicyFault>,
    warnings: Vec<PolicyFault>,
    /// What conditions name, to find what is declared for nothing.
    named: Named,
    issuer: Option<&'d str>,
    /// Claims that conditions may name.
    claims: Vec<(String, FactType)>,
    signals: Vec<DeclaredSignal>,
    people: PeopleItem,
    behind: Behind,
    /// What the actions of each service declare.
    declared: BTreeMap<&'d str, Declared<'d>>,
    services: BTreeMap<&'d str, ServiceItem>,
    /// Each role with all that it inherits, itself included; of very many not all.
    inherited: BTreeMap<&'d str, BTreeSet<&'d str>>,
    judging: Judging,
    work: Work,
}

/// What conditions and bindings of grants name.
#[derive(Debug, Default)]
struct Named {
    claims: BTreeSet<Box<str>>,
    signals: BTreeSet<Box<str>>,
}

impl<'d> Compiler<'d> {
    fn run(documents: &'d Documents) -> Self {
        let mut compiler = Compiler {
            documents,
            faults: Vec::new(),
            warnings: Vec::new(),
            named: Named::default(),
            issuer: None,
            claims: Vec::new(),
            signals: Vec::new(),
            people: PeopleItem::default(),
            behind: Behind::default(),
            declared: BTreeMap::new(),
            services: BTreeMap::new(),
            inherited: BTreeMap::new(),
            judging: Judging::default(),
            work: Work::default(),
        };
        compiler.defaults();
        compiler.who();
        compiler.services();
        compiler.bindings();
        compiler.rules();
        compiler.denials();
        compiler.break_glass();
        compiler.services.values_mut().for_each(by_name);
        compiler
    }

    fn finish(self) -> Result<Policy, Vec<PolicyFault>> {
        let Self { faults, services, signals, people, .. } = self;
        if faults.is_empty() {
            return Ok(Policy { services: services.into_values().collect(), signals, people });
        }
        Err(in_order(faults))
    }

    fn fault(&mut self, file: usize, location: Location, message: String, help: impl Into<Option<String>>) {
        let fault = self.documents.placed(file, at(location, message, help.into()));
        self.tell(fault);
    }

    /// Keeps a fault; of very many only the first.
    fn tell(&mut self, fault: PolicyFault) {
        match self.faults.len().cmp(&MAX_FAULTS) {
            Ordering::Less => self.faults.push(fault),
            Ordering::Equal => self.faults.push(PolicyFault {
                message: format!("there are more than {MAX_FAULTS} faults, and the others are not told"),
                help: Some("mend these first".to_owned()),
                ..fault
            }),
            Ordering::Greater => {}
        }
    }

    /// Whether no more faults are told, or all work is done that there may be, so that looking for faults ends.
    fn is_full(&self) -> bool {
        self.faults.len() > MAX_FAULTS || self.work.is_spent
    }

    /// Names that are close to a wrong one. Comparing them takes long, so that of very many faults only the first are helped.
    fn meant<Name: AsRef<str>>(&self, wrong: &str, known: &[Name]) -> Option<String> {
        (self.faults.len() < MAX_MEANT).then(|| meant(wrong, known))
    }

    /// Keeps a warning; of very many only the first.
    fn warning(&mut self, file: usize, location: Location, message: String, help: impl Into<Option<String>>) {
        if self.warnings.len() < MAX_FAULTS {
            self.warnings.push(self.documents.placed(file, at(location, message, help.into())));
        }
    }

    /// Reports a list that is too long, and gives what may be looked at of it.
    fn at_most<'l, T>(&mut self, file: usize, place: Location, what: &str, list: &'l [T], most: usize) -> &'l [T] {
        if list.len() > most {
            let message = format!("there are {} {what}, more than {most}", list.len());
            self.fault(file, place, message, "leave out what is not needed, or split it up".to_owned());
        }
        list.get(..most).unwrap_or(list)
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
            let place = document.metadata.name.referenced;
            let claims = self.at_most(*file, place, "claims", &document.spec.claims, MAX_DECLARED);
            self.claims(*file, claims);
        }
        // After the issuer, whose groups the setters may be.
        for Placed { file, document } in &documents.defaults {
            let place = document.metadata.name.referenced;
            let signals = self.at_most(*file, place, "signals", &document.spec.signals, MAX_DECLARED);
            self.signals(*file, signals);
        }
    }

    fn claims(&mut self, file: usize, specs: &'d [ClaimSpec]) {
        for ClaimSpec { name, kind } in specs {
            let fine = (1..=128).contains(&name.value.len()) && name.value.bytes().all(|byte| byte.is_ascii_graphic());
            if !fine {
                let message = format!("`{}` is not a claim", name.value.escape_debug());
                self.fault(file, name.referenced, message, "write its name as it stands in the token".to_owned());
            }
            if self.claims.iter().any(|(known, _)| *known == name.value) {
                let message = format!("the claim `{}` is declared twice", name.value);
                self.fault(file, name.referenced, message, "keep one of them".to_owned());
            }
            let kind = match kind {
                ClaimWord::String => FactType::Text,
                ClaimWord::Number => FactType::Number,
                ClaimWord::Bool => FactType::Bool,
                ClaimWord::List => FactType::Texts,
            };
            self.claims.push((name.value.clone(), kind));
        }
    }

    fn signals(&mut self, file: usize, specs: &'d [SignalSpec]) {
        for SignalSpec { name, description, of, setters, max_duration } in specs {
            self.name(file, name);
            if self.signals.iter().any(|known| known.name == name.value) {
                let message = format!("the signal `{}` is declared twice", name.value);
                self.fault(file, name.referenced, message, "keep one of them".to_owned());
            }
            self.plain(file, setters, "sets a signal with their own token");
            let setters = self.subjects(file, setters);
            let max_duration = self.duration(file, max_duration.as_ref(), SIGNAL_DURATION, LONGEST);
            let (name, description) = (name.value.clone(), description.clone());
            self.signals.push(DeclaredSignal { name, description, of: *of, setters, max_duration });
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
            let place = document.metadata.name.referenced;
            let headers = self.at_most(*file, place, "headers", &document.spec.headers, MAX_NAMES);
            let headers = self.headers(*file, headers);
            let specs = self.at_most(*file, place, "actions", &document.spec.actions, MAX_ACTIONS);
            let (actions, facts) = self.actions(*file, specs);
            self.declared.insert(name, Declared::new(headers, facts));
            self.plain(*file, &document.spec.owners, "owns a service");
            let item = ServiceItem {
                name: name.to_owned(),
                hosts: document.spec.hosts.iter().map(|host| host.value.clone()).collect(),
                unmatched: document.spec.unmatched,
                rollout: self.rollout(*file, document.spec.mode, document.spec.percent.as_ref()),
                actions,
                bindings: Vec::new(),
                rules: Vec::new(),
                denials: Vec::new(),
                break_glass: Vec::new(),
                owners: self.subjects(*file, &document.spec.owners),
            };
            self.services.insert(name, item);
        }
    }

    /// The named service, if it exists; reports it otherwise.
    fn known_service(&mut self, file: usize, service: &Spanned<String>) -> Option<&ServiceItem> {
        if !self.services.contains_key(service.value.as_str()) && !self.documents.may_have("Service") {
            let known: Vec<_> = self.services.keys().copied().collect();
            let help = self.meant(&service.value, &known);
            self.fault(file, service.referenced, format!("there is no service `{}`", service.value), help);
        }
        self.services.get(service.value.as_str())
    }

    /// The named actions of a service that exist; reports the others.
    fn known_actions(&mut self, file: usize, service: &Spanned<String>, actions: &[Spanned<String>]) -> Vec<String> {
        if self.known_service(file, service).is_none() {
            return Vec::new();
        }
        let (mut found, mut seen, mut unknown) = (Vec::new(), BTreeSet::new(), Vec::new());
        if let Some(declared) = self.declared.get(service.value.as_str()) {
            for action in actions {
                if !declared.has(&action.value) {
                    unknown.push(action);
                } else if seen.insert(action.value.as_str()) {
                    found.push(action.value.clone());
                }
            }
        }
        for action in unknown {
            if self.is_full() {
                break;
            }
            let known = self.declared.get(service.value.as_str()).map(Declared::names).unwrap_or_default();
            let message = format!("the service `{}` has no action `{}`", service.value, action.value);
            let help = self.meant(&action.value, &known);
            self.fault(file, action.referenced, message, help);
        }
        if actions.is_empty() {
            self.fault(file, service.referenced, "no action is named".to_owned(), "name at least one".to_owned());
        }
        found
    }

    /// As [`Self::known_actions`], where `*` stands for all.
    fn action_set(&mut self, file: usize, service: &Spanned<String>, actions: &[Spanned<String>]) -> ActionsItem {
        match actions {
            [all] if all.value == "*" => {
                self.known_service(file, service);
                ActionsItem::All
            }
            named => ActionsItem::Named(self.known_actions(file, service, named)),
        }
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

    /// Reports subjects that need two identities at once, where only a token is shown.
    fn plain(&mut self, file: usize, names: &[Spanned<String>], who: &str) {
        for name in names.iter().filter(|name| name.value.contains(" + workload:")) {
            let message =
                format!("`{}` needs a workload besides the user, and whoever {who} shows only a token", name.value);
            self.fault(file, name.referenced, message, "name the user or group alone".to_owned());
        }
    }

    fn rollout(&mut self, file: usize, mode: Option<ModeWord>, percent: Option<&Spanned<u8>>) -> Option<RolloutItem> {
        if let Some(share) = percent {
            let (place, share) = (share.referenced, share.value);
            if share > 100 {
                let message = format!("`{share}` is more than all of a hundred principals");
                self.fault(file, place, message, "write a share from 0 to 100".to_owned());
            } else if mode == Some(ModeWord::Shadow) {
                let message = "a share has no meaning in shadow, where nobody is refused".to_owned();
                self.fault(file, place, message, "leave `percent` out, or write `mode: enforce`".to_owned());
            }
        }
        let percent = percent.map(|share| share.value.min(100));
        (mode.is_some() || percent.is_some())
            .then(|| RolloutItem { mode: mode.unwrap_or_default(), percent: percent.unwrap_or(100) })
    }

    fn duration(&mut self, file: usize, stated: Option<&Spanned<String>>, default: Span, longest: Span) -> Span {
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
    }
}
