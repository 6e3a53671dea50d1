//! The cases beside the example policies: every call must get the decision that its case states, and every part of those
//! policies must be touched by one.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use std::path::Path;

use grantmesh_shared::wire::policy::cases::{Coverage, Stage, play, read_cases};
use grantmesh_shared::wire::policy::{Policy, PolicyFile, compile, parse};

fn policy(text: &str) -> (Policy, String) {
    let files = [PolicyFile { name: "policy.yaml".to_owned(), text: text.to_owned() }];
    let documents = parse(&files).unwrap();
    (compile(&documents).unwrap(), documents.issuer().unwrap_or_default().to_owned())
}

/// Plays cases; every fault or wrong decision as text, then what is not touched.
fn played(policy_text: &str, cases: &str) -> (usize, Vec<String>, Vec<String>) {
    let (policy, issuer) = policy(policy_text);
    let mut stage = Stage::new(&policy, &issuer).unwrap();
    let mut coverage = Coverage::of(&policy);
    let told = |faults: Vec<_>| faults.iter().map(ToString::to_string).collect();
    let cases = match read_cases("cases.txt", cases) {
        Ok(cases) => cases,
        Err(faults) => return (0, told(faults), Vec::new()),
    };
    match play(&cases, &mut stage, &mut coverage) {
        Err(faults) => (0, told(faults), Vec::new()),
        Ok(played) => {
            let wrong = played.iter().filter(|played| !played.is_right()).map(|played| {
                let unread = played.outcome.unread.join(", ");
                let found = played.outcome.text();
                format!(
                    "{}: {} => {}\n  got: {found} (unread: {unread})",
                    played.line, played.case, played.expected.text
                )
            });
            let missed = coverage.kinds().into_iter().flat_map(|kind| kind.missed);
            (played.len(), wrong.collect(), missed.collect())
        }
    }
}

/// Plays the cases of every policy of a folder; how many there were, and what no case touches.
fn check_folder(folder: &str) -> (usize, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut checked, mut bad, mut untouched) = (0, Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap();
        let (count, wrong, missed) = played(&read("policy.yaml"), &read("cases.txt"));
        checked += count;
        let place = |text: String| format!("{}: {text}", path.display());
        bad.extend(wrong.into_iter().map(place));
        untouched.extend(missed.into_iter().map(place));
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    (checked, untouched)
}

#[test]
fn example_policies_decide_as_their_cases_say() {
    let (checked, untouched) = check_folder("policies");
    assert!(checked > 80 && untouched.is_empty(), "{checked} cases, which do not touch {untouched:?}");
}

/// One rule of the design after the other, each with the calls that show it.
#[test]
fn the_design_holds_case_by_case() {
    let (checked, _) = check_folder("tests/tables");
    assert!(checked > 400, "only {checked} cases were found");
}

const PAYMENTS: &str = include_str!("../policies/payments/policy.yaml");

#[test]
fn an_unknown_service_is_refused() {
    let text = "service ledger\nGET / as alice[support] => deny: unknown_service\n";
    assert_eq!(played(PAYMENTS, text).1, Vec::<String>::new());
}

#[test]
fn what_is_not_a_case_is_told_with_its_line() {
    let text = r"
GET /v1/accounts/a as alice[support]
  heder x-ticket INC-1
  header X-Ticket INC-1
  header x-ticket INC-1
  header x-ticket INC-2
  claim level 1234567890123456789012345
  claim teams [1,
  address 10.0.0.300
  => alow: role x
GET /v1/accounts/a as alice[support
GET /v1/accounts/a alice[support] => deny
GET /v1/accounts/a as workload:b => deny
GET /v1/accounts/a as alice => allow: support-reads
GET /v1/accounts/a as alice => allow: role support-reads masked
  header x-late 1
POST /v1/accounts/a/refunds as alice
signl incident.open
signal incident.open for 1h
at noon
grant grant_1 alice refund.create account/a
grant grant_00000000000000000000000001 alice[support] refund.create account/a
grant-until grant_00000000000000000000000001 alice refund.create account/a
lock lock_00000000000000000000000001 role:reader
";
    let (_, faults, _) = played(PAYMENTS, text);
    insta::assert_snapshot!(faults.join("\n"));
}

#[test]
fn what_the_policy_does_not_have_is_told_with_its_line() {
    let text = r"
signal incident.open
clear incident.open
grant grant_00000000000000000000000001 alice refund.crate account/a
grant grant_00000000000000000000000001 alice refund.list account/a under refund-by-support
grant grant_00000000000000000000000001 alice POST /v1/accounts/a/refunds under refund-by-suport
grant grant_00000000000000000000000001 alice POST /v2/accounts/a/refunds
lock lock_00000000000000000000000001 action:refund.crate
";
    let (_, faults, _) = played(PAYMENTS, text);
    insta::assert_snapshot!(faults.join("\n"));
}

#[test]
fn a_wrong_case_and_a_fact_that_nothing_reads_are_found() {
    let text = "GET /v1/accounts/a as alice[support]\n  header x-ticket 1\n  => allow: role support-reads\n\
                GET /v1/accounts/a as alice[support] => ask\n\
                GET /v1/accounts/a as alice => deny: no_role no_role\n";
    let (_, wrong, missed) = played(PAYMENTS, text);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong[0].contains("unread: header x-ticket"), "{wrong:?}");
    assert_eq!(missed, ["payments refund.create", "payments refund.list", "payments refund-by-support"]);
}

#[test]
fn hostile_files_are_refused_in_bounds() {
    let told = |text: &str| played(PAYMENTS, text).1;
    let long = format!("GET /{} as alice => deny", "x".repeat(17_000));
    assert!(told(&long)[0].contains("the line has 170"), "{:?}", told(&long));
    let facts: String = (0..100).map(|number| format!("  header x-{number} 1\n")).collect();
    let many = told(&format!("GET / as alice\n{facts}  => deny\n"));
    assert!(many[0].contains("more than 64 facts") && many.len() <= 50, "{many:?}");
    assert!(told(&"at 2026-03-01T12:00:00Z\n".repeat(60_000))[0].contains("more than 1048576"));
    let steps = told(&"GET / as nobody => deny\n".repeat(10_001));
    assert!(steps.len() == 1 && steps[0].contains("more than 10000 steps"), "{steps:?}");
    assert_eq!(told(&"x\n".repeat(500_000)).len(), 50);
    let nested = format!("GET / as alice\n  claim a {}\n  => deny", "[".repeat(10_000));
    assert!(told(&nested)[0].contains("begins like JSON and is none"), "{:?}", told(&nested));
    assert!(!told("\u{0}\u{7f}\u{2028} \u{feff}as\t=>").is_empty());
}
