//! Every fact of a call's context, from what the proxy gives to the decision: one that is there decides, and one that is missing
//! or of another type makes the condition err, so that nothing is allowed by it and everything it guards is denied, counted
//! and recorded with its name.

#![cfg(test)]

mod world;

use grantmesh_filter::plugin::{Turn, Verdict};
use serde_json::{Value, json};

use world::Comes::{Errs, False, True, Unsure};
use world::{BOT, CALLER, Call, Comes, EPOCH, World, ann, workload};

/// Holds one condition against calls to a filter with this configuration.
#[track_caller]
fn check_with(more: &Value, condition: &str, cases: &[(Call, Comes)]) {
    for (call, expected) in cases {
        World::new(condition, more).comes(call, *expected);
    }
}

#[track_caller]
fn check(condition: &str, cases: &[(Call, Comes)]) {
    check_with(&json!({}), condition, cases);
}

const MISSING: Comes = Errs("missing");
const WRONG: Comes = Errs("wrong_type");

#[test]
fn claims_are_what_the_token_says_and_of_the_declared_type() {
    let department = |value: Value| ann(json!({ "department": value }));
    check(
        "principal.claims.department == \"sales\"",
        &[
            (department(json!("sales")), True),
            (department(json!("Sales")), False),
            (department(json!("")), False),
            (department(json!(7)), WRONG),
            (department(json!(true)), WRONG),
            (department(json!(["sales"])), WRONG),
            (department(json!({ "sales": true })), WRONG),
            (department(Value::Null), MISSING),
            (ann(json!({ "departments": "sales" })), MISSING),
            (workload(BOT), MISSING),
        ],
    );
    let level = |value: Value| ann(json!({ "level": value }));
    check(
        "principal.claims.level >= 2.5",
        &[
            (level(json!(2.5)), True),
            (level(json!(3)), True),
            (level(json!(2.499_999_999)), False),
            (level(json!(-3)), False),
            (level(json!("3")), WRONG),
            (level(json!([3])), WRONG),
            // The proxy keeps numbers as doubles: it no longer knows which one this was.
            (level(json!(9_007_199_254_740_994_u64)), WRONG),
            (ann(json!({})), MISSING),
        ],
    );
    let staff = |value: Value| ann(json!({ "staff": value }));
    check(
        "principal.claims.staff",
        &[
            (staff(json!(true)), True),
            (staff(json!(false)), False),
            (staff(json!("true")), WRONG),
            (staff(json!(1)), WRONG),
            (ann(json!({})), MISSING),
        ],
    );
    let teams = |value: Value| ann(json!({ "teams": value }));
    let many: Vec<String> = (0..65).map(|at| format!("team-{at}")).collect();
    check(
        "principal.claims.teams.exists(team, team == \"a\")",
        &[
            (teams(json!(["b", "a"])), True),
            (teams(json!([])), False),
            (teams(json!(["b"])), False),
            (teams(json!("a")), WRONG),
            (teams(json!(["a", 1])), WRONG),
            (teams(json!(many[..64])), False),
            (teams(json!(many)), Errs("list_too_long")),
            (ann(json!({})), MISSING),
        ],
    );
}

#[test]
fn what_may_be_missing_is_asked_for_with_has_and_decides() {
    let condition = "has(principal.claims.department) && principal.claims.department == \"sales\"";
    check(
        condition,
        &[
            (ann(json!({ "department": "sales" })), True),
            (ann(json!({})), False),
            (workload(BOT), False),
            (ann(json!({ "department": 7 })), WRONG),
        ],
    );
    // The other side decides alone.
    let condition = "principal.claims.level > 3 || principal.user == \"ann\"";
    check(condition, &[(ann(json!({})), True), (ann(json!({ "level": "x" })), True)]);
}

#[test]
fn who_acts_for_a_user_is_in_the_token() {
    let act = |act: Value| ann(json!({ "act": act }));
    check(
        "principal.actor == \"assistant\"",
        &[
            (act(json!({ "sub": "assistant" })), True),
            (act(json!({ "sub": "assistant", "act": { "sub": "other" } })), True),
            (act(json!({ "sub": "other", "act": { "sub": "assistant" } })), False),
            (act(json!("assistant")), MISSING),
            (act(json!({ "sub": 7 })), MISSING),
            (act(json!({ "sub": "" })), MISSING),
            (act(json!({})), MISSING),
            (act(Value::Null), MISSING),
            (ann(json!({ "actor": "assistant" })), MISSING),
            (workload(BOT), MISSING),
            // What a caller says of itself is no claim.
            (ann(json!({})).header("act", "assistant"), MISSING),
        ],
    );
}

#[test]
fn how_long_ago_somebody_proved_who_they_are_is_known() {
    let condition = "request.time - principal.auth_time < duration(\"15m\")";
    let ago = |millis: i64| {
        let at = EPOCH + 1 - millis;
        ann(json!({ "auth_time": serde_json::Number::from_f64(at as f64 / 1_000.0).unwrap() }))
    };
    let minutes = 15 * 60_000;
    check(
        condition,
        &[
            (ago(0), True),
            (ago(minutes - 4), True),
            // How late it is the filter knows to some milliseconds.
            (ago(minutes), Unsure),
            (ago(minutes + 4), False),
            (ago(30 * 86_400_000), False),
            (ann(json!({ "auth_time": "1800000000" })), MISSING),
            (ann(json!({ "auth_time": -1 })), MISSING),
            (ann(json!({ "auth_time": 1e13 })), MISSING),
            (ann(json!({ "auth_time": null })), MISSING),
            (ann(json!({})), MISSING),
            (workload(BOT), MISSING),
        ],
    );
}

#[test]
fn parameters_of_the_path_are_those_of_the_template() {
    check("request.params.item == \"7\"", &[(ann(json!({})), True)]);
    check("request.params.item == \"8\"", &[(ann(json!({})), False)]);
    check("request.params.part == \"a/b\" && resource == \"item/7\"", &[(ann(json!({})), True)]);
    // A query is no part of it.
    let condition = "request.path.endsWith(\"/7/a/b\") && request.query.dry == \"1\"";
    check(
        condition,
        &[(ann(json!({})).query("?dry=1"), True), (ann(json!({})).query("?dry=0"), False), (ann(json!({})), MISSING)],
    );
}

#[test]
fn the_peer_is_what_its_certificate_says() {
    for (condition, other) in [
        ("peer.trust_domain == \"mesh.example\"", "spiffe://other.example/ns/agents/sa/bot"),
        ("peer.namespace == \"agents\"", "spiffe://mesh.example/ns/others/sa/bot"),
        ("peer.service_account == \"bot\"", "spiffe://mesh.example/ns/agents/sa/robot"),
        ("principal.workload.endsWith(\"/bot\")", "spiffe://mesh.example/ns/agents/sa/robot"),
    ] {
        check(condition, &[(workload(BOT), True), (workload(other), False), (ann(json!({})), MISSING)]);
    }
    check(
        "peer.namespace == \"agents\" && peer.service_account == \"bot\"",
        &[
            (ann(json!({})).from(BOT), True),
            (workload("spiffe://mesh.example/agents/bot"), MISSING),
            (workload("spiffe://mesh.example/ns/agents"), MISSING),
            (workload("spiffe://mesh.example/ns/agents/more/sa/bot"), MISSING),
            (ann(json!({})), MISSING),
            (ann(json!({})).from("https://mesh.example/ns/agents/sa/bot"), MISSING),
            (ann(json!({})).header("x-forwarded-client-cert", "URI=spiffe://mesh.example/ns/agents/sa/bot"), MISSING),
        ],
    );
}

#[test]
fn the_issuer_is_that_of_the_verified_token() {
    let condition = "principal.issuer == \"https://id.example\"";
    check(condition, &[(ann(json!({})), True), (workload(BOT), MISSING)]);
    let condition = "principal.issuer.startsWith(\"https://other.example\")";
    check(condition, &[(ann(json!({})), False), (workload(BOT), MISSING)]);
}

#[test]
fn where_the_proxy_stands_is_what_its_configuration_says() {
    let origin = json!({ "origin": { "mesh": "east", "namespace": "payments", "gateway": "edge" } });
    for (fact, value) in [("mesh", "east"), ("namespace", "payments"), ("gateway", "edge")] {
        let condition = format!("origin.{fact} == \"{value}\"");
        check_with(&origin, &condition, &[(ann(json!({})), True)]);
        check_with(&json!({ "origin": { fact: "other" } }), &condition, &[(ann(json!({})), False)]);
        let others = ["mesh", "namespace", "gateway"].into_iter().filter(|other| *other != fact);
        let others: Value =
            others.map(|other| (other.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into();
        check_with(&json!({ "origin": others }), &condition, &[(ann(json!({})), MISSING)]);
        check(&condition, &[(ann(json!({})), MISSING)]);
    }
}

#[test]
fn address_and_country_are_those_of_the_proxy_that_is_trusted() {
    let trusting = json!({
        "source": { "header": "x-forwarded-for", "trusted_hops": 1 }, "country": { "header": "x-country" },
    });
    let office = "cidr(\"198.51.100.0/24\").containsIP(source.address)";
    let seen = |value: &'static str| ann(json!({})).header("x-forwarded-for", value);
    check_with(
        &trusting,
        office,
        &[
            (seen("198.51.100.7"), True),
            (seen("203.0.113.9"), False),
            (seen("198.51.100.7, 203.0.113.9"), False),
            (seen("203.0.113.9,198.51.100.7"), True),
            (seen("unknown"), MISSING),
            (ann(json!({})), MISSING),
        ],
    );
    check(office, &[(seen("198.51.100.7"), MISSING)]);
    let country = |value: &'static str| ann(json!({})).header("x-country", value);
    let condition = "source.country in [\"DE\", \"FR\"]";
    check_with(&trusting, condition, &[(country("DE"), True), (country("US"), False), (ann(json!({})), MISSING)]);
    check(condition, &[(country("DE"), MISSING)]);
}

#[test]
fn the_call_itself_is_known() {
    let all = "request.method == \"GET\" && request.host == \"desk.example\" && service == \"desk\" \
               && criticality == \"low\" && action in [\"opened\", \"closed\"] && principal.user == \"ann\" \
               && \"support\" in principal.groups && request.headers[\"x-ticket\"] == \"INC-1\"";
    let ticket = |value: &'static str| ann(json!({})).header("x-ticket", value);
    check(all, &[(ticket("INC-1"), True), (ticket("INC-2"), False), (ann(json!({})), MISSING)]);
}

#[test]
fn a_signal_holds_until_the_moment_it_ends() {
    let call = ann(json!({}));
    let mut world = World::new("signals[\"incident.open\"]", &json!({}));
    assert_eq!(world.both(&call, 1), (false, false), "one that is not set is false");
    world.set_signal(EPOCH + 1_000, 2);
    assert_eq!(world.both(&call, 3), (true, true));
    assert_eq!(world.both(&call, 996), (true, true));
    // Nobody tells it: it knows by itself. While it may be over and may not be, nothing is allowed and everything is denied.
    assert_eq!(world.both(&call, 1_000), (false, true));
    assert_eq!(world.both(&call, 1_003), (false, false));
    // Told again it counts again.
    world.set_signal(EPOCH + 3_000, 1_500);
    assert_eq!(world.both(&call, 2_000), (true, true));
    // A time is told in whole milliseconds: it may have been nearly one more.
    world.set_signal(EPOCH + 2_501, 2_500);
    assert_eq!(world.both(&call, 2_500), (false, true));
}

#[test]
fn a_lock_is_above_what_allows() {
    let call = ann(json!({}));
    let mut world = World::new("true", &json!({}));
    assert_eq!(world.status("opened", &call, 1).0, 200);
    world.lock(2);
    let (status, told) = world.status("opened", &call, 3);
    assert!(status == 403 && told.contains("\"locked\"") && told.contains("moving house"), "{status} {told}");
}

#[test]
fn a_critical_call_goes_on_when_its_record_is_acknowledged_and_not_before() {
    let call = ann(json!({}));
    let first = |world: &mut World| world.decide(Turn::First(CALLER), "sealed", &call, 1);
    let again = |world: &mut World, millis| {
        let mut woken = world.woken(millis);
        let woken = woken.pop().expect("it has waited");
        world.decide(Turn::Again(woken), "sealed", &call, millis)
    };

    let mut world = World::new("true", &json!({}));
    assert_eq!(first(&mut world), Verdict::Wait);
    assert_eq!(world.sent_records(false, 2), 1, "its record is under way at once");
    assert_eq!(world.woken(3), [], "nobody has acknowledged it");

    let mut world = World::new("true", &json!({}));
    assert_eq!(first(&mut world), Verdict::Wait);
    assert_eq!(world.sent_records(true, 2), 1);
    assert_eq!(again(&mut world, 3), Verdict::Pass);

    // Where the acknowledgement does not come it is refused, however long it has waited.
    let mut world = World::new("true", &json!({}));
    assert_eq!(first(&mut world), Verdict::Wait);
    assert_eq!(world.sent_records(false, 2), 1);
    assert_eq!(world.woken(2_000), []);
    let Verdict::Answer(reply) = again(&mut world, 2_001) else { panic!("it must not go on") };
    assert!(reply.status == 403 && String::from_utf8(reply.body).unwrap().contains("record_unacknowledged"));
    // A call that is not critical waits for nothing.
    assert_eq!(world.decide(Turn::First(CALLER), "opened", &call, 2_002), Verdict::Pass);
}
