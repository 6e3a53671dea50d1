//! A table on which cases are played: the policy's services, and the grants, locks and signals of the steps so far.

use super::lines::{Wrong, first_line, shown, wrong};
use super::{Caller, Case, CaseBody, CaseFacts, CaseValue, LockOn, Outcome, StepKind};
use crate::engine::{
    BodyFacts, Call, Context, FactValue, Lock, LockTarget, Now, Origin, Prepared, Principal, Signal, Subject, Table,
    prepare, query_parameters,
};
use crate::time::{Span, Timestamp};
use crate::wire::policy::parse::meant;
use crate::wire::policy::{Policy, PolicyFault};
use crate::wire::table::ItemError;

/// An issuer that no policy names.
const FOREIGN: &str = "https://foreign.example";

/// How far the time that a filter knows may be from the control plane's, either way, in a case.
const UNSURE: Span = Span::from_millis(500);

/// The end of a signal that does not say when.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// The table, and whose users and groups the policy names.
#[derive(Debug)]
pub struct Stage {
    pub(super) table: Table,
    pub(super) issuer: String,
    services: Vec<String>,
    signals: Vec<String>,
}

impl Stage {
    /// A stage with nothing but the policy. `issuer` is that of its `Defaults`.
    ///
    /// # Errors
    /// If the engine refuses a service.
    pub fn new(policy: &Policy, issuer: &str) -> Result<Self, ItemError> {
        let table = policy.table()?;
        let services = policy.services.iter().map(|service| service.name.clone()).collect();
        let signals = policy.signals.iter().map(|signal| signal.name.clone()).collect();
        Ok(Self { table, issuer: issuer.to_owned(), services, signals })
    }

    /// A stage with what a filter of these services has: their policy, with the grants, locks and signals in force.
    /// `signals` are those that the policy declares.
    #[must_use]
    pub fn of(table: Table, issuer: &str, signals: Vec<String>) -> Self {
        let services = table.services().map(|service| service.name().to_owned()).collect();
        Self { table, issuer: issuer.to_owned(), services, signals }
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Takes a step that is no call; a call changes nothing.
    ///
    /// # Errors
    /// If it names something that the policy does not have. The fault has no place: the caller knows it.
    pub fn take(&mut self, step: &StepKind) -> Result<(), PolicyFault> {
        self.taken(step).map_err(|(message, help)| PolicyFault {
            file: String::new(),
            line: 0,
            column: 0,
            message,
            help,
        })
    }

    fn taken(&mut self, step: &StepKind) -> Result<(), Wrong> {
        match step {
            StepKind::Call(..) => {}
            StepKind::Grant(grant) => {
                let grant = self.granted(grant)?;
                self.table.put_grant(grant);
            }
            StepKind::Signal { name, until } => {
                self.known_signal(name)?;
                self.table.put_signal(Signal { name: name.as_str().into(), expires_at: until.unwrap_or(NEVER) });
            }
            StepKind::Clear(name) => {
                self.known_signal(name)?;
                self.table.remove_signal(name);
            }
            StepKind::Lock(id, on) => {
                let target = self.locked(on)?;
                self.table.put_lock(Lock {
                    id: id.clone(),
                    target,
                    reason: "locked by a case".into(),
                    expires_at: None,
                });
            }
        }
        Ok(())
    }

    fn known_signal(&self, name: &str) -> Result<(), Wrong> {
        if self.signals.iter().any(|known| known == name) {
            return Ok(());
        }
        Err((format!("there is no signal {}", shown(name)), Some(meant(name, &self.signals))))
    }

    fn locked(&self, on: &LockOn) -> Result<LockTarget, Wrong> {
        Ok(match on {
            LockOn::Everything => LockTarget::default(),
            LockOn::Subject(text) => {
                let subject = Subject::parse(text, &self.issuer).map_err(|error| {
                    let text = error.to_string();
                    (first_line(&text), text.split_once('\n').map(|(_, help)| help.to_owned()))
                })?;
                LockTarget { subject: Some(subject), ..LockTarget::default() }
            }
            LockOn::Service(service) => {
                LockTarget { service: Some(self.service(service.as_deref())?.into()), ..LockTarget::default() }
            }
            LockOn::Action(service, action) => {
                let service = self.service(service.as_deref())?;
                self.known_action(service, action)?;
                LockTarget { subject: None, service: Some(service.into()), action: Some(action.as_str().into()) }
            }
        })
    }

    pub(super) fn known_action(&self, service: &str, action: &str) -> Result<(), Wrong> {
        let known = self.table.service(service).map(|service| service.actions()).unwrap_or_default();
        if known.iter().any(|known| *known.name == *action) {
            return Ok(());
        }
        let names: Vec<&str> = known.iter().map(|action| &*action.name).collect();
        Err((format!("the service {} has no action {}", shown(service), shown(action)), Some(meant(action, &names))))
    }

    /// The service that is meant.
    pub(super) fn service<'s>(&'s self, stated: Option<&'s str>) -> Result<&'s str, Wrong> {
        match (stated, self.services.as_slice()) {
            (Some(name), _) => Ok(name),
            (None, [only]) => Ok(only),
            (None, []) => Err(wrong("the policy has no service", "name the files of the policy")),
            (None, several) => {
                let message = "it is not said which service is called";
                Err(wrong(message, format!("write `service NAME` on a line above; there are {}", several.join(", "))))
            }
        }
    }

    /// The service that is meant where none is named; nothing if there are several.
    pub(super) fn only_service(&self) -> Option<&str> {
        self.service(None).ok()
    }

    /// Decides a call as a filter would.
    ///
    /// # Errors
    /// If it is not said which service is called.
    pub fn decide(&self, case: &Case) -> Result<Outcome, PolicyFault> {
        let decided = self.gathered(case, |call, context, now| {
            let prepared = prepare(&self.table, call);
            let decision = prepared.decide(context, now);
            Outcome { unread: unread(&prepared, &case.facts), ..Outcome::from(&decision) }
        })?;
        Ok(decided.unwrap_or_else(|ambiguous| ambiguous))
    }

    /// Gathers what a filter would of a call; the outcome if it can be read in two ways.
    pub(super) fn gathered<T>(
        &self,
        case: &Case,
        judge: impl FnOnce(&Call<'_>, &Context<'_>, Now) -> T,
    ) -> Result<Result<T, Outcome>, PolicyFault> {
        let nowhere = |(message, help)| PolicyFault { file: String::new(), line: 0, column: 0, message, help };
        let service = self.service(case.service.as_deref()).map_err(nowhere)?;
        let principal = Lent::of(&case.caller, &self.issuer);
        let groups: Vec<&str> = case.caller.groups.iter().map(String::as_str).collect();
        let call =
            match Call::new(service, case.method.as_bytes(), case.target.as_bytes(), principal.principal(&groups)) {
                Ok(call) => call,
                Err(ambiguity) => return Ok(Err(Outcome::ambiguous(ambiguity.code(), ambiguity.to_string()))),
            };
        let prepared = prepare(&self.table, &call);
        let names = prepared.needs().map(|needs| needs.query.as_slice()).unwrap_or_default();
        let query = match query_parameters(call.path().query().unwrap_or_default(), names) {
            Ok(query) => query,
            Err(error) => return Ok(Err(Outcome::ambiguous(error.code(), error.to_string()))),
        };
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, &**value)).collect();
        let now = Now { earliest: case.at.minus(UNSURE), latest: case.at.plus(UNSURE) };
        Ok(Ok(lend(&case.facts, &query, |context| judge(&call, context, now))))
    }
}

/// The user of a caller, with the issuer.
pub(super) struct Lent<'c> {
    user: Option<(&'c str, &'c str)>,
    workload: Option<&'c str>,
}

impl<'c> Lent<'c> {
    pub(super) fn of(caller: &'c Caller, issuer: &'c str) -> Self {
        let user = caller.user.as_ref();
        let user = user.map(|user| (if user.foreign { FOREIGN } else { issuer }, user.name.as_str()));
        Self { user, workload: caller.workload.as_deref() }
    }

    pub(super) const fn principal(&self, groups: &'c [&'c str]) -> Principal<'c> {
        Principal { user: self.user, groups, workload: self.workload }
    }
}

/// Lends facts as the engine takes them.
pub(super) fn lend<T>(facts: &CaseFacts, query: &[(&str, &str)], with: impl FnOnce(&Context<'_>) -> T) -> T {
    let headers: Vec<(&str, &str)> =
        facts.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let none = Vec::new();
    let fields = if let CaseBody::Fields(fields) = &facts.body { fields } else { &none };
    let (claim_lists, field_lists) = (lists(&facts.claims), lists(fields));
    let claims = values(&facts.claims, &claim_lists);
    let fields = values(fields, &field_lists);
    let context = Context {
        host: facts.host.as_deref(),
        headers: &headers,
        query,
        claims: &claims,
        body: match &facts.body {
            CaseBody::NotRead => BodyFacts::NotRead,
            CaseBody::Absent => BodyFacts::Absent,
            CaseBody::Fields(_) => BodyFacts::Fields(&fields),
        },
        actor: facts.actor.as_deref(),
        auth_time: facts.auth_time,
        address: facts.address,
        country: facts.country.as_deref(),
        origin: Origin {
            mesh: facts.mesh.as_deref(),
            namespace: facts.namespace.as_deref(),
            gateway: facts.gateway.as_deref(),
        },
    };
    with(&context)
}

/// The texts of each value that is a list of them.
fn lists(values: &[(String, CaseValue)]) -> Vec<Vec<&str>> {
    let mut lists = Vec::with_capacity(values.len());
    for (_, value) in values {
        let texts: &[String] = if let CaseValue::Texts(texts) = value { texts } else { &[] };
        lists.push(texts.iter().map(String::as_str).collect());
    }
    lists
}

fn values<'v>(values: &'v [(String, CaseValue)], lists: &'v [Vec<&'v str>]) -> Vec<(&'v str, FactValue<'v>)> {
    let lent = |((name, value), list): (&'v (String, CaseValue), &'v Vec<&'v str>)| {
        let value = match value {
            CaseValue::Text(text) => FactValue::Text(text),
            CaseValue::Number(number) => FactValue::Number(*number),
            CaseValue::Bool(truth) => FactValue::Bool(*truth),
            CaseValue::Texts(_) => FactValue::Texts(list),
            CaseValue::Other => FactValue::Other,
        };
        (name.as_str(), value)
    };
    values.iter().zip(lists).map(lent).collect()
}

/// Facts that are stated and that deciding does not read.
fn unread(prepared: &Prepared<'_, '_>, facts: &CaseFacts) -> Vec<String> {
    let CaseFacts { headers, claims, body, actor, auth_time, address, country, host, mesh, namespace, gateway } = facts;
    let needs = prepared.needs();
    let has = |list: Option<&Vec<Box<str>>>, name: &String| {
        list.is_some_and(|list| list.iter().any(|known| **known == **name))
    };
    let mut unread = Vec::new();
    let mut named = |kind: &str, names: &mut dyn Iterator<Item = &String>, list: Option<&Vec<Box<str>>>| {
        unread.extend(names.filter(|name| !has(list, name)).map(|name| format!("{kind} {name}")));
    };
    named("header", &mut headers.iter().map(|(name, _)| name), needs.map(|needs| &needs.headers));
    named("claim", &mut claims.iter().map(|(name, _)| name), needs.map(|needs| &needs.claims));
    if let CaseBody::Fields(fields) = body {
        named("body", &mut fields.iter().map(|(name, _)| name), needs.map(|needs| &needs.fields));
    }
    let origin = mesh.is_some() || namespace.is_some() || gateway.is_some();
    let single = [
        ("actor", actor.is_some(), needs.is_some_and(|needs| needs.actor)),
        ("auth-time", auth_time.is_some(), needs.is_some_and(|needs| needs.auth_time)),
        ("address", address.is_some(), needs.is_some_and(|needs| needs.address)),
        ("country", country.is_some(), needs.is_some_and(|needs| needs.country)),
        ("host", host.is_some(), needs.is_some_and(|needs| needs.host)),
        ("mesh, namespace or gateway", origin, needs.is_some_and(|needs| needs.origin)),
    ];
    unread.extend(single.into_iter().filter(|(_, stated, read)| *stated && !read).map(|(name, ..)| name.to_owned()));
    unread
}
