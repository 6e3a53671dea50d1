//! What must hold of any policy, whatever it says: adding and removing parts moves decisions only the one way.

use grantmesh_shared::engine::{Signal, Table, decide};
use grantmesh_shared::time::Timestamp;

use crate::conditions::CONDITIONS;
use crate::dice::Dice;
use crate::world::{Denied, Given, Told, World, grant_id, held, lock};
use crate::{Said, call, proof_size, said};

/// Policies for each property, with so many calls each.
const WORLDS: u64 = 400;
const CALLS: usize = 25;

fn decided(table: &Table, told: &Told) -> Said {
    said(&decide(table, &told.call(), &told.context(), told.now()))
}

/// `change` makes another world of one; `holds` compares the decisions before and after.
fn property(change: impl Fn(&World, &mut Dice) -> World, holds: impl Fn(&Said, &Said) -> bool) {
    for seed in 0..proof_size(WORLDS) {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let world = World::generate(&mut dice);
        let changed = change(&world, &mut dice);
        let (table, other) = (world.table(), changed.table());
        for _ in 0..CALLS {
            let told = call(&mut dice, &world, &table);
            let (before, after) = (decided(&table, &told), decided(&other, &told));
            assert!(
                holds(&before, &after),
                "seed {seed}\nbefore: {before:?}\nafter: {after:?}\ncall: {told:?}\nworld: {world:#?}\nchanged: {changed:#?}"
            );
        }
    }
}

fn allows(said: &Said) -> bool {
    said.word.starts_with("allow")
}

#[test]
fn a_lock_never_allows_more() {
    property(
        |world, dice| {
            let mut locked = world.clone();
            locked.locks.push(lock(dice, 5_000));
            locked
        },
        |before, after| after == before || (after.word, after.code) == ("deny", "locked"),
    );
}

#[test]
fn revoking_never_allows_more() {
    property(
        |world, dice| {
            let mut revoked = world.clone();
            revoked.grants.retain(|_| dice.chance(50));
            revoked
        },
        |before, after| {
            // A grant may have revealed what a role allows.
            let same = before.word == after.word && before.masked.iter().all(|field| after.masked.contains(field));
            same || (before.word == "allow grant" && !allows(after))
        },
    );
}

#[test]
fn taking_a_role_away_never_allows_more() {
    property(
        |world, dice| {
            let mut taken = world.clone();
            taken.bindings.retain(|_| dice.chance(50));
            taken
        },
        |before, after| {
            let same = before.word == after.word && before.masked.iter().all(|field| after.masked.contains(field));
            same || before.word == "allow role"
        },
    );
}

#[test]
fn a_grant_never_denies() {
    property(
        |world, dice| {
            let mut granted = world.clone();
            granted.grants.push(held(dice, &world.rules, 999));
            granted
        },
        |before, after| {
            let same = before.word == after.word && after.masked.iter().all(|field| before.masked.contains(field));
            let gained = !allows(before) && before.code == "no_role" && after.word == "allow grant";
            same && before.code == after.code || gained && after.by.contains(grant_id(999).as_str())
        },
    );
}

#[test]
fn deny_beats_allow() {
    property(
        |world, dice| {
            let mut denied = world.clone();
            denied.denials.push(World::denied(dice, "last".to_owned()));
            denied
        },
        |before, after| {
            let same = Said { errors: before.errors.clone(), ..after.clone() } == *before;
            same || (after.word, after.code) == ("deny", "deny_rule")
        },
    );
}

#[test]
fn an_unconditional_deny_rule_for_everyone_leaves_nothing_allowed() {
    let everyone = |name: &str, condition| Denied {
        name: name.to_owned(),
        actions: grantmesh_shared::engine::ActionSet::All,
        subjects: Vec::new(),
        except: Vec::new(),
        condition,
    };
    // Also one that errs: whatever cannot be judged denies.
    for condition in [0, 1] {
        property(
            |world, _| {
                let mut denied = world.clone();
                denied.denials.push(everyone("all", condition));
                denied
            },
            |_, after| after.word == "deny",
        );
    }
}

/// The condition of a version that is not known, which errs at every call.
const ERRS: usize = 1;

#[test]
fn a_condition_that_errs_never_allows() {
    assert!(CONDITIONS[ERRS].0.is_none());
    property(
        |world, _| {
            let mut erring = world.clone();
            erring.bindings.iter_mut().for_each(|given| given.condition = ERRS);
            erring.grants.iter_mut().for_each(|held| held.conditions.push(ERRS));
            erring.rules.iter_mut().for_each(|rule| rule.condition = ERRS);
            erring
        },
        |before, after| match after.word {
            "allow unmatched" => before.word == "allow unmatched",
            word => word == "deny",
        },
    );
}

#[test]
fn a_condition_that_errs_always_denies() {
    property(
        |world, _| {
            let mut erring = world.clone();
            erring.denials.iter_mut().for_each(|denial| denial.condition = ERRS);
            erring
        },
        |before, after| before.code != "deny_rule" || (after.code == "deny_rule" && !after.errors.is_empty()),
    );
}

#[test]
fn order_does_not_matter() {
    property(
        |world, dice| {
            let mut other = world.clone();
            macro_rules! shuffle {
                ($($list:ident)*) => {$(
                    for last in (1..other.$list.len()).rev() {
                        other.$list.swap(last, dice.below(last + 1));
                    }
                )*};
            }
            shuffle!(bindings rules denials grants locks signals);
            other
        },
        // Which of several roles or grants is named may differ, and with it which errors were met on the way.
        |before, after| {
            let settled = allows(before) || before.code == "deny_rule";
            (before.word, before.code, &before.masked) == (after.word, after.code, &after.masked)
                && (settled || (&before.by, &before.errors) == (&after.by, &after.errors))
        },
    );
}

#[test]
fn a_role_with_a_condition_gives_no_more_than_one_without() {
    property(
        |world, dice| {
            let mut wider = world.clone();
            wider.bindings.iter_mut().for_each(|given: &mut Given| {
                if dice.chance(50) {
                    given.condition = 0;
                }
            });
            wider
        },
        |before, after| !allows(before) || allows(after),
    );
}

#[test]
fn a_table_is_what_was_put_into_it_last_by_whatever_way() {
    for seed in 0..proof_size(WORLDS) {
        let mut dice = Dice::new(seed ^ 0x7ab1e);
        let world = World::generate(&mut dice);
        let (mut table, straight) = (world.table(), world.table());
        for held in &world.grants {
            let mut grant = held.grant();
            grant.resource = "elsewhere".into();
            table.put_grant(grant);
            if dice.chance(50) {
                table.remove_grant(&held.id);
            }
        }
        for held in &world.grants {
            table.put_grant(held.grant());
        }
        let extra = lock(&mut dice, 7_000);
        table.put_lock(extra.clone());
        table.remove_lock(&extra.id);
        table.put_signal(Signal { name: "other".into(), expires_at: Timestamp::from_millis(9) });
        table.remove_signal("other");
        assert_eq!(table.grant_count(), world.grants.len());
        for _ in 0..CALLS {
            let told = call(&mut dice, &world, &table);
            assert_eq!(decided(&table, &told), decided(&straight, &told), "seed {seed}");
        }
    }
}
