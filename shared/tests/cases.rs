//! The decision tables beside the example policies: every line is one call with its expected decision and reasons.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a fault ends the test")]

use std::path::Path;

use grantmesh_shared::engine::{
    Ambiguity, Basis, Call, Context, Decision, Grant, GrantHolder, Now, Principal, Table, User, decide,
};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};
use grantmesh_shared::wire::table::{Body, LockItem, SubjectItem};

const ISSUER: &str = "https://dev-issuer.grantmesh.invalid";

fn table_of(policy: &str) -> Table {
    let files = [PolicyFile { name: "policy.yaml".to_owned(), text: policy.to_owned() }];
    let policy = compile(&parse(&files).unwrap()).unwrap();
    let mut table = Table::default();
    for service in policy.services {
        Body::Service(service).into_item().unwrap().parse().unwrap().put_into(&mut table);
    }
    table
}

/// `NAME[GROUP,...]`, `foreign:NAME[...]`, `workload:ID`, `NAME[...]+workload:ID` or `nobody`.
struct Caller {
    user: Option<(String, String)>,
    groups: Vec<String>,
    workload: Option<String>,
}

impl Caller {
    fn parse(text: &str) -> Self {
        let mut caller = Self { user: None, groups: Vec::new(), workload: None };
        for part in text.split('+').filter(|part| *part != "nobody") {
            if let Some(id) = part.strip_prefix("workload:") {
                caller.workload = Some(id.to_owned());
                continue;
            }
            let (name, groups) = part.split_once('[').unwrap_or((part, "]"));
            let (issuer, name) =
                name.strip_prefix("foreign:").map_or((ISSUER, name), |name| ("https://foreign.example", name));
            caller.user = Some((issuer.to_owned(), name.to_owned()));
            caller.groups =
                groups.trim_end_matches(']').split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
        }
        caller
    }

    fn holder(&self) -> GrantHolder {
        let user =
            self.user.as_ref().map(|(issuer, subject)| User { issuer: (**issuer).into(), subject: (**subject).into() });
        let workload = self.workload.as_ref().map(|id| id.parse().unwrap());
        match (user, workload) {
            (Some(user), None) => GrantHolder::User(user),
            (None, Some(workload)) => GrantHolder::Workload(workload),
            (Some(user), Some(workload)) => GrantHolder::Both(user, workload),
            (None, None) => panic!("a grant needs a holder"),
        }
    }
}

fn decided(table: &Table, service: &str, method: &str, path: &str, caller: &Caller) -> String {
    let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let now = Now {
        earliest: Timestamp::from_millis(noon.millis() - 500),
        latest: Timestamp::from_millis(noon.millis() + 500),
    };
    let groups: Vec<&str> = caller.groups.iter().map(String::as_str).collect();
    let principal = Principal {
        user: caller.user.as_ref().map(|(issuer, subject)| (issuer.as_str(), subject.as_str())),
        groups: &groups,
        workload: caller.workload.as_deref(),
    };
    let codes = |codes: Vec<&str>| codes.join(" ");
    let call = match Call::new(service, method.as_bytes(), path.as_bytes(), principal) {
        Ok(call) => call,
        Err(ambiguity) => return format!("ambiguous: {}", Ambiguity::code(ambiguity)),
    };
    match decide(table, &call, &Context::EMPTY, now) {
        Decision::Allow(permit) => match permit.basis() {
            Basis::Role(binding) => format!("allow: role {}", binding.name),
            Basis::Grant(grant) => format!("allow: grant {}", grant.id),
            Basis::Unmatched => "allow: unmatched".to_owned(),
        },
        Decision::Ask(refusal) => {
            assert!(!refusal.rules.is_empty());
            format!("ask: {}", codes(refusal.reasons.iter().map(|reason| reason.code()).collect()))
        }
        Decision::Deny(refusal) => {
            assert!(refusal.rules.is_empty());
            format!("deny: {}", codes(refusal.reasons.iter().map(|reason| reason.code()).collect()))
        }
    }
}

fn grant(id: &str, caller: &str, action: &str, resource: &str) -> Grant {
    Grant {
        id: id.parse().unwrap(),
        request: "req_00000000000000000000000000".parse().unwrap(),
        holder: Caller::parse(caller).holder(),
        service: "payments".into(),
        action: action.into(),
        resource: resource.into(),
        rule: "refund-by-support".into(),
        starts_at: "2026-03-01T00:00:00Z".parse().unwrap(),
        expires_at: "2026-03-02T00:00:00Z".parse().unwrap(),
        conditions: Vec::new(),
        bound: None,
        reveals: Vec::new(),
    }
}

/// Applies a line to the table or checks it; the fault is told with its line.
fn check_line(table: &mut Table, line: &str) -> Result<bool, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => return Ok(false),
        [first, ..] if first.starts_with('#') => return Ok(false),
        ["grant", id, caller, action, resource] => table.put_grant(grant(id, caller, action, resource)),
        ["grant-until", at, id, caller, action, resource] => {
            table.put_grant(Grant { expires_at: at.parse().unwrap(), ..grant(id, caller, action, resource) });
        }
        ["grant-from", at, id, caller, action, resource] => {
            table.put_grant(Grant { starts_at: at.parse().unwrap(), ..grant(id, caller, action, resource) });
        }
        ["lock", id, target] => {
            let (kind, name) = target.split_once(':').unwrap();
            let user = SubjectItem::User { issuer: ISSUER.to_owned(), subject: name.to_owned() };
            let lock = LockItem {
                id: id.parse().unwrap(),
                subject: (kind == "user").then_some(user),
                service: (kind == "action").then(|| "payments".to_owned()),
                action: (kind == "action").then(|| name.to_owned()),
                reason: "test".to_owned(),
                expires_at: None,
            };
            Body::Lock(lock).into_item().unwrap().parse().unwrap().put_into(table);
        }
        [method, path, "as", caller, "=>", ..] => {
            let expected = line.split_once("=> ").unwrap().1;
            let found = decided(table, "payments", method, path, &Caller::parse(caller));
            return if found == expected { Ok(true) } else { Err(format!("{line}\n  got: {found}")) };
        }
        _ => return Err(format!("not a case: {line}")),
    }
    Ok(false)
}

/// Checks every policy of a folder against the cases beside it; how many there were.
fn check_folder(folder: &str) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut checked = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let mut table = table_of(&std::fs::read_to_string(path.join("policy.yaml")).unwrap());
        for line in std::fs::read_to_string(path.join("cases.txt")).unwrap().lines() {
            match check_line(&mut table, line) {
                Ok(is_case) => checked += usize::from(is_case),
                Err(fault) => wrong.push(fault),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    checked
}

#[test]
fn example_policies_decide_as_their_cases_say() {
    assert!(check_folder("policies") > 40);
}

/// One rule of the design after the other, each with the calls that show it.
#[test]
fn the_design_holds_case_by_case() {
    assert!(check_folder("tests/tables") > 400);
}

#[test]
fn an_unknown_service_is_refused() {
    let table = table_of(include_str!("../policies/payments/policy.yaml"));
    let found = decided(&table, "ledger", "GET", "/", &Caller::parse("alice[support]"));
    assert_eq!(found, "deny: unknown_service");
}
