//! Reads a file of cases line by line. What is not understood is a fault with file, line and what to do; all are told, up to
//! a stated number.

use super::lines::{Wrong, caller, expected, first_line, shown, time, word, wrong};
use super::{
    Caller, Case, CaseBody, CaseFacts, Cases, GivenGrant, Granted, LockOn, MAX_CASES_BYTES, MAX_FACTS, MAX_STEPS, Step,
    StepKind,
};
use crate::time::Timestamp;
use crate::wire::policy::PolicyFault;
use crate::wire::policy::parse::meant;

/// When calls are made that do not say so: 2026-03-01T12:00:00Z.
const NOON: Timestamp = Timestamp::from_millis(1_772_366_400_000);

/// A grant that does not say otherwise lasts from half a day before to half a day after.
const HALF_A_DAY: crate::time::Span = crate::time::Span::from_secs(12 * 3_600);

/// The longest line in bytes.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// The most faults that are told.
const MAX_FAULTS: usize = 50;

/// The words that begin a line beside methods.
const WORDS: [&str; 8] = ["service", "at", "signal", "clear", "grant", "grant-from", "grant-until", "lock"];

/// The words that begin an indented line.
const FACTS: [&str; 13] = [
    "header",
    "claim",
    "body",
    "no-body",
    "actor",
    "auth-time",
    "address",
    "country",
    "host",
    "mesh",
    "namespace",
    "gateway",
    "at",
];

/// Reads the text of a file of cases.
///
/// # Errors
/// Every line that is not understood, up to fifty.
pub fn read_cases(file: &str, text: &str) -> Result<Cases, Vec<PolicyFault>> {
    let mut reader = Reader {
        file,
        line: 0,
        faults: Vec::new(),
        steps: Vec::new(),
        service: None,
        at: NOON,
        open: None,
        over: false,
    };
    if text.len() > MAX_CASES_BYTES {
        let message = format!("the file has {} bytes, more than {MAX_CASES_BYTES}", text.len());
        reader.fault(wrong(message, "split it into several files"));
        return Err(reader.faults);
    }
    for line in text.lines() {
        reader.line = reader.line.saturating_add(1);
        if let Err(fault) = reader.take(line) {
            reader.fault(fault);
        }
        // What follows too many steps or faults is not read.
        if reader.over || reader.faults.len() >= MAX_FAULTS {
            break;
        }
    }
    reader.close();
    let Reader { faults, steps, .. } = reader;
    if faults.is_empty() { Ok(Cases { file: file.to_owned(), steps }) } else { Err(faults) }
}

struct Reader<'f> {
    file: &'f str,
    line: u64,
    faults: Vec<PolicyFault>,
    steps: Vec<Step>,
    service: Option<String>,
    at: Timestamp,
    open: Option<Open>,
    over: bool,
}

/// A step whose facts may follow.
struct Open {
    line: u64,
    what: Opened,
    facts: usize,
}

enum Opened {
    Call(Box<Case>),
    Grant(Box<GivenGrant>),
}

impl Opened {
    fn facts(&mut self) -> &mut CaseFacts {
        match self {
            Self::Call(case) => &mut case.facts,
            Self::Grant(grant) => &mut grant.facts,
        }
    }
}

impl Reader<'_> {
    fn fault(&mut self, (message, help): Wrong) {
        self.fault_at(self.line, (message, help));
    }

    fn fault_at(&mut self, line: u64, (message, help): Wrong) {
        self.faults.push(PolicyFault { file: self.file.to_owned(), line, column: 1, message, help });
    }

    fn push(&mut self, line: u64, kind: StepKind) {
        self.steps.push(Step { line, kind });
    }

    /// Ends the step whose facts were read.
    fn close(&mut self) {
        match self.open.take() {
            None => {}
            Some(Open { line, what: Opened::Grant(grant), .. }) => self.push(line, StepKind::Grant(grant)),
            Some(Open { line, what: Opened::Call(_), .. }) => {
                let help = "end it with `=> DECISION: REASON...`, on the same line or indented below its facts";
                self.fault_at(line, wrong("it is not said what must become of this call", help));
            }
        }
    }

    fn take(&mut self, line: &str) -> Result<(), Wrong> {
        if line.len() > MAX_LINE_BYTES {
            let message = format!("the line has {} bytes, more than {MAX_LINE_BYTES}", line.len());
            return Err(wrong(message, "write shorter values"));
        }
        let said = line.trim();
        if said.is_empty() || said.starts_with('#') {
            return Ok(());
        }
        if line.starts_with([' ', '\t']) {
            return self.indented(said);
        }
        self.close();
        if self.steps.len() >= MAX_STEPS {
            let message = format!("the file has more than {MAX_STEPS} steps");
            self.over = true;
            return Err(wrong(message, "split it into several files"));
        }
        self.step(said)
    }

    fn indented(&mut self, said: &str) -> Result<(), Wrong> {
        let Some(mut open) = self.open.take() else {
            return Err(wrong(
                "nothing above takes this line",
                "indent only the facts of a call, before its `=>`; begin everything else at the start of the line",
            ));
        };
        if let (Some(rest), true) = (said.strip_prefix("=>"), matches!(open.what, Opened::Call(_))) {
            let expected = expected(rest)?;
            if let Opened::Call(case) = open.what {
                self.push(open.line, StepKind::Call(case, expected));
            }
            return Ok(());
        }
        open.facts = open.facts.saturating_add(1);
        let read = if open.facts > MAX_FACTS {
            Err(wrong(format!("the call has more than {MAX_FACTS} facts"), "state only those that conditions name"))
        } else {
            match (&mut open.what, word(said)) {
                (Opened::Call(case), ("at", rest)) => time(rest).map(|at| case.at = at),
                (what, (first, rest)) => fact(what.facts(), first, rest),
            }
        };
        self.open = Some(open);
        read
    }

    fn step(&mut self, said: &str) -> Result<(), Wrong> {
        let line = self.line;
        let (first, rest) = word(said);
        let kind = match first {
            "service" => {
                self.service = Some(one(rest, "service NAME")?);
                return Ok(());
            }
            "at" => {
                self.at = time(rest)?;
                return Ok(());
            }
            "signal" => signal(rest)?,
            "clear" => StepKind::Clear(one(rest, "clear SIGNAL")?),
            "lock" => self.lock(rest)?,
            "grant" | "grant-from" | "grant-until" => {
                let grant = Box::new(self.grant(first, rest)?);
                self.open = Some(Open { line, what: Opened::Grant(grant), facts: 0 });
                return Ok(());
            }
            _ => return self.call(said),
        };
        self.push(line, kind);
        Ok(())
    }

    /// `METHOD PATH as CALLER`, and `=> EXPECTED` there or below.
    fn call(&mut self, said: &str) -> Result<(), Wrong> {
        let (method, rest) = word(said);
        let (target, rest) = word(rest);
        let (joint, rest) = word(rest);
        if joint != "as" || rest.is_empty() {
            let is_word = !method.chars().any(char::is_uppercase) && !target.starts_with('/');
            let help = match meant(method, &WORDS) {
                help if is_word && help.ends_with('?') => help,
                _ => {
                    format!("write `METHOD PATH as CALLER => DECISION: REASON...`, or a line with {}", WORDS.join(", "))
                }
            };
            return Err((format!("{} is neither a call nor another step", shown(said)), Some(help)));
        }
        let (who, end) = rest.split_once("=>").map_or((rest, None), |(who, end)| (who, Some(end)));
        let case = Box::new(Case {
            service: self.service.clone(),
            method: method.to_owned(),
            target: target.to_owned(),
            caller: caller(who)?,
            at: self.at,
            facts: CaseFacts::default(),
        });
        match end {
            Some(end) => self.push(self.line, StepKind::Call(case, expected(end)?)),
            None => self.open = Some(Open { line: self.line, what: Opened::Call(case), facts: 0 }),
        }
        Ok(())
    }

    /// `[TIME] ID HOLDER ACTION RESOURCE`, or a `METHOD PATH` in the place of the last two, then `under RULE`.
    fn grant(&self, kind: &str, rest: &str) -> Result<GivenGrant, Wrong> {
        const FORM: &str = "write `grant ID HOLDER ACTION RESOURCE [under RULE]`, or `METHOD PATH` of the approved call; \
                            `grant-from` and `grant-until` have a time before the id";
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (moment, words) = match (kind, words.as_slice()) {
            ("grant", words) => (None, words),
            (_, [at, words @ ..]) => (Some(time(at)?), words),
            _ => return Err(wrong("the grant's time is missing", FORM)),
        };
        let (words, rule) = match words {
            [words @ .., "under", rule] => (words, Some((*rule).to_owned())),
            words => (words, None),
        };
        let [id, holder, first, second] = words else {
            return Err(wrong(format!("{} is not a grant", shown(rest)), FORM));
        };
        let holder = caller(holder)?;
        if holder == Caller::default() || !holder.groups.is_empty() {
            return Err(wrong(
                "a grant is held by one user or workload, or both",
                "write `NAME`, `workload:ID` or `NAME+workload:ID`",
            ));
        }
        let is_method = first.chars().all(|letter| letter.is_ascii_uppercase());
        let (one, two) = ((*first).to_owned(), (*second).to_owned());
        let what = if is_method {
            Granted::Call { method: one, target: two }
        } else {
            Granted::Action { action: one, resource: two }
        };
        let id = id.parse().map_err(|error: crate::id::IdError| {
            wrong(first_line(&error.to_string()), "write `grant_` and 26 digits")
        })?;
        let (mut from, mut until) = (self.at.minus(HALF_A_DAY), self.at.plus(HALF_A_DAY));
        match (kind, moment) {
            ("grant-from", Some(at)) => from = at,
            ("grant-until", Some(at)) => until = at,
            _ => {}
        }
        let (service, facts) = (self.service.clone(), CaseFacts::default());
        Ok(GivenGrant { id, holder, what, service, rule, from, until, facts })
    }

    /// `ID user:NAME`, `group:`, `workload:`, `action:NAME`, `service` or `everything`.
    fn lock(&self, rest: &str) -> Result<StepKind, Wrong> {
        let (id, on) = word(rest);
        let id = id.parse().map_err(|error: crate::id::IdError| {
            wrong(first_line(&error.to_string()), "write `lock_` and 26 digits")
        })?;
        let on = match on.split_once(':') {
            None if on == "everything" => LockOn::Everything,
            None if on == "service" => LockOn::Service(self.service.clone()),
            Some(("action", action)) => LockOn::Action(self.service.clone(), action.to_owned()),
            Some(("user" | "group" | "workload", _)) => LockOn::Subject(on.to_owned()),
            _ => {
                let help =
                    "write `lock ID user:NAME`, `group:NAME`, `workload:ID`, `action:NAME`, `service` or `everything`";
                return Err(wrong(format!("{} cannot be locked", shown(on)), help));
            }
        };
        Ok(StepKind::Lock(id, on))
    }
}

/// The only word of a line.
fn one(rest: &str, form: &str) -> Result<String, Wrong> {
    match word(rest) {
        (name, "") if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(wrong(format!("{} is not one name", shown(rest)), format!("write `{form}`"))),
    }
}

fn signal(rest: &str) -> Result<StepKind, Wrong> {
    let (name, rest) = word(rest);
    let until = match word(rest) {
        ("", _) => None,
        ("until", at) => Some(time(at)?),
        _ => return Err(wrong(format!("{} is not expected here", shown(rest)), "write `signal NAME [until TIME]`")),
    };
    if name.is_empty() {
        return Err(wrong("the signal has no name", "write `signal NAME [until TIME]`"));
    }
    Ok(StepKind::Signal { name: name.to_owned(), until })
}

/// Reads one fact into the others; also for the flags of `policy explain`.
pub(super) fn fact(facts: &mut CaseFacts, first: &str, rest: &str) -> Result<(), Wrong> {
    let twice =
        || wrong(format!("{} is stated twice", shown(first)), "a proxy refuses a call with two values; keep one");
    let text = || match rest {
        "" => Err(wrong(format!("{} has no value", shown(first)), format!("write `{first} VALUE`"))),
        rest => Ok(rest.to_owned()),
    };
    match first {
        "header" => {
            let (name, value) = word(rest);
            let fine =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
            if !fine {
                return Err(wrong(
                    format!("{} is not a header's name in lower case", shown(name)),
                    "write `header NAME VALUE`",
                ));
            }
            named(&mut facts.headers, name, value.to_owned()).ok_or_else(|| twice_named("header", name))
        }
        "claim" | "body" => {
            let (name, value) = word(rest);
            if name.is_empty() || value.is_empty() {
                return Err(wrong(
                    format!("{} has no name or no value", shown(first)),
                    format!("write `{first} NAME VALUE`"),
                ));
            }
            let value = super::read_value(value).map_err(|(message, help)| wrong(message, help))?;
            let list = match (first, &mut facts.body) {
                ("claim", _) => &mut facts.claims,
                (_, CaseBody::Fields(fields)) => fields,
                (_, CaseBody::Absent) => {
                    return Err(wrong("the call has no body, and a field of it", "keep one of them"));
                }
                (_, body) => {
                    *body = CaseBody::Fields(vec![(name.to_owned(), value)]);
                    return Ok(());
                }
            };
            named(list, name, value).ok_or_else(|| twice_named(first, name))
        }
        "no-body" if !rest.is_empty() => Err(wrong("`no-body` has no value", "write it alone")),
        "no-body" if facts.body != CaseBody::NotRead => {
            Err(wrong("the call has no body, and a field of it", "keep one of them"))
        }
        "no-body" => {
            facts.body = CaseBody::Absent;
            Ok(())
        }
        "actor" => set(&mut facts.actor, text()?).ok_or_else(twice),
        "country" => set(&mut facts.country, text()?).ok_or_else(twice),
        "host" => set(&mut facts.host, text()?).ok_or_else(twice),
        "mesh" => set(&mut facts.mesh, text()?).ok_or_else(twice),
        "namespace" => set(&mut facts.namespace, text()?).ok_or_else(twice),
        "gateway" => set(&mut facts.gateway, text()?).ok_or_else(twice),
        "auth-time" => set(&mut facts.auth_time, time(rest)?).ok_or_else(twice),
        "address" => {
            let address = rest.parse().map_err(|_| {
                wrong(format!("{} is not an IP address", shown(rest)), "write it like `10.0.0.1` or `2001:db8::1`")
            })?;
            set(&mut facts.address, address).ok_or_else(twice)
        }
        other => Err((format!("{} is not a fact of a call", shown(other)), Some(meant(other, &FACTS)))),
    }
}

fn twice_named(kind: &str, name: &str) -> Wrong {
    wrong(format!("the {kind} {} is stated twice", shown(name)), "a proxy refuses a call with two values; keep one")
}

/// Sets what is not set yet.
fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.is_none().then(|| *slot = Some(value))
}

/// Adds what is not there yet.
fn named<T>(list: &mut Vec<(String, T)>, name: &str, value: T) -> Option<()> {
    let is_new = list.iter().all(|(known, _)| known != name);
    is_new.then(|| list.push((name.to_owned(), value)))
}
