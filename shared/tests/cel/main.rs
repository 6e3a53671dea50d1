//! Conditions against CEL's own interpreter (the `cel` crate, for tests only): random well-typed expressions over random facts.
//! Every difference must be one of those that are meant; each kind has its case below.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]
#![expect(clippy::disallowed_methods, reason = "how much is proven is said by the environment, as for every proof")]

#[path = "../model/dice.rs"]
mod dice;
mod expression;
mod facts;

use std::collections::BTreeMap;

use grantmesh_shared::engine::EvalError;
use grantmesh_shared::wire::policy::{FactType, Scope, compile_form};

use dice::Dice;
use expression::Writer;
use facts::{Given, World};

fn scope() -> Scope {
    let name = |name: &str| name.to_owned();
    Scope {
        query: vec![name("dry")],
        headers: vec![name("ticket")],
        claims: vec![
            (name("team"), FactType::Text),
            (name("level"), FactType::Number),
            (name("contractor"), FactType::Bool),
            (name("teams"), FactType::Texts),
        ],
        fields: vec![
            (name("amount"), FactType::Number),
            (name("note"), FactType::Text),
            (name("urgent"), FactType::Bool),
        ],
        signals: vec![name("incident")],
        ..Scope::default()
    }
}

/// How the two agree; nothing if they do not.
const fn agree(ours: &Result<bool, EvalError>, theirs: &Result<bool, String>) -> Option<&'static str> {
    match (ours, theirs) {
        (Ok(true), Ok(true)) => Some("true"),
        (Ok(false), Ok(false)) => Some("false"),
        (Err(_), Err(_)) => Some("an error"),
        _ => None,
    }
}

#[test]
fn proof_of_conditions_against_cel() {
    let count = if std::env::var_os("GRANTMESH_PROVE").is_some() { 200_000 } else { 8_000 };
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let source = Writer::condition(&mut dice);
        let form = match compile_form(&source, &scope()) {
            Ok(form) => form,
            Err(fault) if fault.message.contains("nested") || fault.message.contains("units of work") => continue,
            Err(fault) => panic!("seed {seed}: {source}\n{fault:?}"),
        };
        for _ in 0..3 {
            let world = World::generate(&mut dice);
            let (ours, theirs) = (world.ours(form.clone()), world.theirs(&source));
            match agree(&ours, &theirs) {
                Some(kind) => *kinds.entry(kind).or_default() += 1,
                None => wrong.push(format!("{source}\n  ours {ours:?}, theirs {theirs:?}\n  {world:?}")),
            }
        }
    }
    wrong.sort_by_key(String::len);
    wrong.truncate(25);
    assert!(wrong.is_empty(), "{kinds:?}\n{}", wrong.join("\n"));
    let all: usize = kinds.values().sum();
    let many = |kind: &str| kinds.get(kind).is_some_and(|count| count * 20 > all);
    assert!(many("true") && many("false") && many("an error"), "{kinds:?}");
}

#[test]
fn differences_that_are_meant() {
    const LONG: [&str; 65] = ["x"; 65];
    let world = World::at_noon(&[
        ("request.body.amount", Given::Number("9007199254740993")),
        ("principal.claims.level", Given::Text("2")),
        ("principal.claims.teams", Given::Texts(&LONG)),
        ("principal.auth_time", Given::Time("2026-03-01T12:00:00+02:00")),
    ]);
    let cases = [
        ("numbers are exact, not doubles", "request.body.amount == 9007199254740992.0", Ok(false), Ok(true)),
        ("facts have their declared type", "principal.claims.level == 2", Err(EvalError::WrongType), Ok(false)),
        ("facts have their declared type", "principal.claims.level != 2", Err(EvalError::WrongType), Ok(true)),
        (
            "lists are gone through up to 64",
            "principal.claims.teams.all(t, t == \"x\")",
            Err(EvalError::ListTooLong),
            Ok(true),
        ),
        // CEL says UTC where no zone is named; the crate takes the offset that was written.
        ("parts of a date are in UTC", "principal.auth_time.getHours() == 10", Ok(true), Ok(false)),
        ("parts of a date are in UTC", "principal.auth_time.getHours() == 12", Ok(false), Ok(true)),
    ];
    for (kind, source, ours, theirs) in cases {
        let form = compile_form(source, &scope()).unwrap();
        assert_eq!(world.ours(form), ours, "{kind}: {source}");
        assert_eq!(world.theirs(source).map_err(drop), theirs, "{kind}: {source}");
    }
    // And one that is refused when the policy is: CEL counts nanoseconds, conditions milliseconds.
    assert!(compile_form("request.time - request.time < duration(\"1us\")", &scope()).is_err());
    assert_eq!(world.theirs("request.time - request.time < duration(\"1us\")"), Ok(true));
}
