//! The engine against a model: a naive interpreter of the design ([`naive`]) over generated policies and calls ([`world`]).
//! A million pairs by default; `GRANTMESH_PROVE=1` takes ten times as many, others each time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a fault ends the test")]
#![expect(clippy::disallowed_methods, reason = "how much is proven is said by the environment, as for every proof")]

mod conditions;
mod dice;
mod naive;
mod properties;
mod world;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use grantmesh_shared::engine::{Basis, Decision, Permit, Refusal, Table, decide, prepare};

use dice::Dice;
use naive::Said;
use world::{Told, World};

/// Calls for each generated policy.
const CALLS: usize = 250;

/// Parts that run side by side.
const PARTS: u64 = 8;

/// Generated policies in each part.
const WORLDS: u64 = 500;

/// How many of `few` to take: more, and others, where proofs are asked for.
fn proof_size(few: u64) -> u64 {
    if std::env::var_os("GRANTMESH_PROVE").is_some() { few * 10 } else { few }
}

/// The seed to begin with: the same in every run, but for proofs.
fn first_seed() -> u64 {
    if std::env::var_os("GRANTMESH_PROVE").is_some() { RandomState::new().hash_one(0) >> 1 } else { 0 }
}

fn said(decision: &Decision<'_>) -> Said {
    match decision {
        Decision::Allow(permit) => allowed(permit),
        Decision::Ask(refusal) => refused("ask", refusal),
        Decision::Deny(refusal) => refused("deny", refusal),
    }
}

fn allowed(permit: &Permit<'_>) -> Said {
    let (word, by) = match permit.basis() {
        Basis::Role(binding) => ("allow role", Some(binding.name.to_string())),
        Basis::Grant(grant) => ("allow grant", Some(grant.id().to_string())),
        Basis::Unmatched => ("allow unmatched", None),
    };
    let masked = world::MASKED.into_iter().filter(|name| permit.masked().iter().any(|field| *field.name == **name));
    let errors = permit.errors().iter().map(|error| error.by.to_owned()).collect();
    Said { word, code: "", by: by.into_iter().collect(), masked: masked.collect(), errors }
}

fn refused(word: &'static str, refusal: &Refusal<'_>) -> Said {
    Said {
        word,
        code: refusal.reasons.first().map_or("no reason", |reason| reason.code()),
        by: refusal.rules.iter().map(|rule| rule.name.to_string()).collect(),
        masked: Vec::new(),
        errors: refusal.errors.iter().map(|error| error.by.to_owned()).collect(),
    }
}

/// Whether the engine said what the model says. The engine stops where the matter is settled: what it names may have allowed
/// is one of those, and it tells only the errors it met. Where it had to go through everything, it must tell all.
fn agree(engine: &Said, model: &Said) -> bool {
    let allows = model.word.starts_with("allow");
    let by = if allows && model.word != "allow unmatched" {
        engine.by.len() == 1 && engine.by.is_subset(&model.by)
    } else {
        engine.by == model.by
    };
    let errors = if allows || model.code == "deny_rule" {
        engine.errors.is_subset(&model.errors)
    } else {
        engine.errors == model.errors
    };
    (engine.word, engine.code, &engine.masked) == (model.word, model.code, &model.masked) && by && errors
}

/// The context with only what the engine says it needs for the call.
fn needed_only(table: &Table, told: &Told) -> Told {
    let call = told.call();
    let prepared = prepare(table, &call);
    let mut left = Told { headers: Vec::new(), query: Vec::new(), claims: Vec::new(), body: None, ..told.clone() };
    (left.host, left.country, left.auth_time) = (None, None, None);
    let Some(needs) = prepared.needs() else { return left };
    let has = |list: &[Box<str>], name: &str| list.iter().any(|known| **known == *name);
    left.headers = told.headers.iter().filter(|(name, _)| has(&needs.headers, name)).copied().collect();
    left.query = told.query.iter().filter(|(name, _)| has(&needs.query, name)).copied().collect();
    left.claims = told.claims.iter().filter(|(name, _)| has(&needs.claims, name)).copied().collect();
    if needs.body() {
        let read = |name: &str| prepared.body().iter().any(|(known, _)| **known == *name);
        left.body = told.body.as_ref().map(|fields| fields.iter().filter(|(name, _)| read(name)).copied().collect());
    }
    left.host = told.host.filter(|_| needs.host);
    left.country = told.country.filter(|_| needs.country);
    left.auth_time = told.auth_time.filter(|_| needs.auth_time);
    left
}

/// A call for a world: often one that a grant of it was approved for, or nearly that.
fn call(dice: &mut Dice, world: &World, table: &Table) -> Told {
    let told = Told::generate(dice);
    let approved: Vec<&Told> = world.grants.iter().filter_map(|held| Some(&held.bound.as_ref()?.1)).collect();
    let mut told = if approved.is_empty() || dice.chance(60) {
        told
    } else {
        let approved = Told { earliest: told.earliest, latest: told.latest, ..dice.pick(&approved).clone() };
        if dice.chance(50) { approved } else { approved.mixed(&told, dice) }
    };
    // Fields are declared by actions: a call of none has none.
    if prepare(table, &told.call()).criticality().is_none() {
        (told.body, told.no_body) = (None, false);
    }
    told
}

/// What the engine decides of a call, or what is wrong with it.
/// `again`: also from only what the engine says it needs.
fn decided(world: &World, table: &Table, told: &Told, again: bool) -> Result<Said, String> {
    let engine = said(&decide(table, &told.call(), &told.context(), told.now()));
    let model = naive::decide(world, told);
    if !agree(&engine, &model) {
        return Err(format!("engine: {engine:?}\nmodel: {model:?}"));
    }
    if !again {
        return Ok(engine);
    }
    let left = needed_only(table, told);
    let again = said(&decide(table, &left.call(), &left.context(), left.now()));
    if again != engine {
        return Err(format!("with all facts: {engine:?}\nwith what it needs: {again:?}\nleft: {left:?}"));
    }
    Ok(engine)
}

/// A world as small as can be in which the call is still decided wrongly.
fn smaller(mut world: World, told: &Told) -> World {
    loop {
        let mut candidates = Vec::new();
        macro_rules! without_one {
            ($($list:ident)*) => {$(
                for at in 0..world.$list.len() {
                    let mut candidate = world.clone();
                    candidate.$list.remove(at);
                    candidates.push(candidate);
                }
            )*};
        }
        without_one!(bindings rules denials grants locks signals);
        match candidates.into_iter().find(|world| decided(world, &world.table(), told, true).is_err()) {
            Some(candidate) => world = candidate,
            None => return world,
        }
    }
}

fn the_engine_decides_as_the_model(part: u64) {
    let mut seen = BTreeSet::new();
    let first = first_seed();
    for number in 0..proof_size(WORLDS) {
        let seed = first + number * PARTS + part;
        let mut dice = Dice::new(seed);
        let world = World::generate(&mut dice);
        let table = world.table();
        for count in 0..CALLS {
            let told = call(&mut dice, &world, &table);
            match decided(&world, &table, &told, count % 4 == 0) {
                Ok(engine) => seen.insert((engine.word, engine.code, !engine.errors.is_empty(), engine.masked.len())),
                Err(_) => {
                    let world = smaller(world, &told);
                    let fault = decided(&world, &world.table(), &told, true).unwrap_err();
                    panic!("seed {seed}\n{fault}\ncall: {told:?}\nworld: {world:#?}");
                }
            };
        }
    }
    // Everything that the engine can say was seen, so the generator has not gone blind.
    let codes: BTreeSet<&str> = seen.iter().map(|(_, code, ..)| *code).collect();
    let denied = ["ambiguous_body", "body_not_read", "deny_rule", "letter_case", "locked", "no_principal", "no_role"];
    let all: BTreeSet<&str> =
        denied.into_iter().chain(["", "trailing_slash", "unknown_service", "unmatched"]).collect();
    assert_eq!(codes, all);
    for word in ["allow role", "allow grant"] {
        for masked in 0..=2 {
            assert!(seen.contains(&(word, "", false, masked)), "{word} with {masked} fields masked");
        }
        assert!(seen.iter().any(|(said, _, errs, _)| *said == word && *errs), "{word} with an error");
    }
    assert!(seen.iter().any(|(said, _, errs, _)| *said == "ask" && *errs), "asking with an error");
}

macro_rules! parts {
    ($($name:ident = $part:literal)*) => {$(
        #[test]
        fn $name() {
            the_engine_decides_as_the_model($part);
        }
    )*};
}

// In parts, so that a machine's cores share the work.
parts! {
    proof_of_the_engine_0 = 0
    proof_of_the_engine_1 = 1
    proof_of_the_engine_2 = 2
    proof_of_the_engine_3 = 3
    proof_of_the_engine_4 = 4
    proof_of_the_engine_5 = 5
    proof_of_the_engine_6 = 6
    proof_of_the_engine_7 = 7
}
