//! The bounds of conditions, each refused where it is passed: when the policy is read, when a form arrives, when it is judged.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use grantmesh_shared::engine::condition::{
    Automaton, MAX_COST, MAX_DEPTH, MAX_LEVELS, MAX_LIST, MAX_MEMBERS, MAX_NODES, MAX_TRANSITIONS, Node, Op, Pool, Zone,
};
use grantmesh_shared::engine::{
    Action, ActionSet, ActionTemplates, Audit, Binding, Call, Condition, Context, Criticality, Decision, DenyRule,
    EvalError, FactValue, Form, FormError, Now, Principal, Reason, Rollout, Service, ServiceParts, Subject, Table,
    Unmatched, decide,
};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::condition::{CONDITION_VERSION, ConditionItem, ConditionItemError};
use grantmesh_shared::wire::policy::{FactType, MAX_SOURCE_BYTES, Scope, compile_condition, compile_form};

const ISSUER: &str = "https://id.example";

fn scope() -> Scope {
    Scope { claims: vec![("teams".to_owned(), FactType::Texts)], ..Scope::default() }
}

/// The message that refuses a condition.
fn refusal(source: &str) -> String {
    compile_form(source, &scope()).unwrap_err().message
}

#[test]
fn a_source_has_at_most_4096_bytes() {
    let fits = format!("true //{}", " ".repeat(MAX_SOURCE_BYTES - 7));
    assert_eq!((fits.len(), MAX_SOURCE_BYTES), (4_096, 4_096));
    assert!(compile_form(&fits, &scope()).is_ok());
    assert_eq!(refusal(&format!("{fits} ")), "the condition has 4097 bytes, over 4096");
}

#[test]
fn depth_is_bounded_before_the_parser_and_after_it() {
    let sums = |terms: usize| format!("{} == 1", vec!["1"; terms].join("+"));
    assert!(compile_form(&sums(40), &scope()).is_ok());
    assert_eq!(refusal(&sums(60)), format!("the condition is nested more than {MAX_DEPTH} deep"));
    let deep = [
        sums(500),
        "!".repeat(4_000) + "true",
        "-".repeat(4_000) + "1 == 1",
        "(".repeat(2_000) + "true" + &")".repeat(2_000),
        "[".repeat(4_000),
        "{".repeat(4_000),
        "(".repeat(4_000),
        "true ? true : ".repeat(280) + "true",
        "true ? ".repeat(500) + "true",
        format!("request{} == 1", ".a".repeat(2_000)),
        format!("request{}", "[0]".repeat(1_300)),
        "size(".repeat(800),
        "1 in ".repeat(800) + "[1]",
        "principal.groups.all(g, ".repeat(160),
    ];
    for source in deep {
        let message = refusal(&source);
        assert!(message.contains("nested"), "{message}: {}", source.get(..40).unwrap());
    }
    // Wide is not deep: `&&` and `||` do not nest by their number.
    assert!(compile_form(&["true"; 400].join("&&"), &scope()).is_ok());
}

#[test]
fn there_are_at_most_1000_nodes() {
    assert_eq!(MAX_NODES, 1_000);
    assert_eq!(refusal(&["true"; 600].join("||")), "the condition has more than 1000 parts");
}

#[test]
fn lists_and_what_goes_through_them_are_bounded() {
    let list = |length: usize| format!("[{}]", vec!["1"; length].join(","));
    assert!(compile_form(&format!("1 in {}", list(256)), &scope()).is_ok());
    assert_eq!(refusal(&format!("1 in {}", list(257))), "the list has 257 elements, over 256");
    assert!(compile_form(&format!("{}.all(x, x == 1)", list(64)), &scope()).is_ok());
    assert_eq!(refusal(&format!("{}.all(x, x == 1)", list(65))), "the list has 65 elements, over the 64 to go through");
    let three = "principal.groups.all(a, principal.groups.all(b, principal.groups.all(c, a == c)))";
    assert_eq!(refusal(three), "more than 2 `all` or `exists` stand within each other");
    let costly = "principal.groups.exists(a, principal.claims.teams.exists(b, a == b && a != \"x\"))";
    assert_eq!(refusal(costly), "judging this may cost 65922 units of work, over 20000");
    for pattern in ["((a{90}){90}){90}", "[a-z]*a[a-z]{14}"] {
        let message = refusal(&format!("principal.user.matches(\"{pattern}\")"));
        assert!(message.contains("pattern"), "{message}");
    }
}

#[test]
fn a_form_is_held_to_the_bounds_again() {
    let chain = |length: usize| {
        let nots = (0..length - 1).map(|at| Node { op: Op::Not, operands: [u16::try_from(at).unwrap(), 0, 0] });
        [Node { op: Op::True, operands: [0; 3] }].into_iter().chain(nots).collect::<Vec<_>>()
    };
    let form = |nodes| Form::new(nodes, Pool::default()).map(|form| form.cost());
    assert_eq!(form(chain(usize::from(MAX_DEPTH))), Ok(u32::from(MAX_DEPTH)));
    assert_eq!(form(chain(usize::from(MAX_DEPTH) + 1)), Err(FormError::Depth));
    assert_eq!(form(chain(MAX_NODES + 1)), Err(FormError::Nodes));
    assert_eq!(form(Vec::new()), Err(FormError::Nodes));
    let node = |op, operands| Node { op, operands };
    let one = node(Op::True, [0; 3]);
    assert_eq!(form(vec![one, node(Op::Not, [1, 0, 0])]), Err(FormError::Operand(1)));
    assert_eq!(form(vec![one, one, node(Op::Not, [1, 0, 0])]), Err(FormError::Tree(0)));
    assert_eq!(form(vec![one, node(Op::And, [0, 0, 0])]), Err(FormError::Tree(0)));
    assert_eq!(form(vec![node(Op::Int, [0; 3])]), Err(FormError::Operand(0)));
    assert_eq!(form(vec![node(Op::Method, [0; 3])]), Err(FormError::Result));
    assert_eq!(form(vec![node(Op::Method, [0; 3]), node(Op::Not, [0; 3])]), Err(FormError::Types(1)));
    let texts = Pool { texts: vec!["x".repeat(8_193).into()], ..Pool::default() };
    assert_eq!(Form::new(vec![one], texts).err(), Some(FormError::Constants));
}

/// `LIST.all(x, ...)` around a body, so often within each other; the constant list is given.
fn nested(levels: u16, list: usize) -> Result<u32, FormError> {
    let pool = Pool { int_lists: vec![vec![1; list]], ..Pool::default() };
    let mut nodes = vec![Node { op: Op::True, operands: [0; 3] }];
    for _ in 0..levels {
        let body = u16::try_from(nodes.len() - 1).unwrap();
        nodes.push(Node { op: Op::Ints, operands: [0; 3] });
        nodes.push(Node { op: Op::All, operands: [body + 1, body, 0] });
    }
    Form::new(nodes, pool).map(|form| form.cost())
}

#[test]
fn a_form_goes_through_short_lists_in_two_levels_at_most() {
    assert!(nested(MAX_LEVELS, 2).is_ok());
    // Level by level from the outermost: the third one is the innermost, at node 2.
    assert_eq!(nested(MAX_LEVELS + 1, 2), Err(FormError::Levels(2)));
    assert!(nested(1, MAX_LIST).is_ok());
    assert_eq!(nested(1, MAX_LIST + 1), Err(FormError::Constants));
    let look = |length| {
        let nodes = vec![
            Node { op: Op::Int, operands: [0; 3] },
            Node { op: Op::Ints, operands: [0; 3] },
            Node { op: Op::In, operands: [0, 1, 0] },
        ];
        let pool = Pool { ints: vec![1], int_lists: vec![vec![1; length]], ..Pool::default() };
        Form::new(nodes, pool).err()
    };
    assert_eq!((look(MAX_MEMBERS), look(MAX_MEMBERS + 1)), (None, Some(FormError::Constants)));
    // An element of no list around it, of a level that is not there, and of a list of another type.
    let each = |op, level, kind| {
        let nodes = vec![
            Node { op, operands: [level, 0, 0] },
            Node { op: kind, operands: [0; 3] },
            Node { op: Op::Eq, operands: [0, 1, 0] },
            Node { op: Op::Ints, operands: [0; 3] },
            Node { op: Op::All, operands: [3, 2, 0] },
        ];
        let pool = Pool { ints: vec![1], texts: vec!["x".into()], int_lists: vec![vec![1]], ..Pool::default() };
        Form::new(nodes, pool).err()
    };
    assert_eq!(each(Op::EachInt, 0, Op::Int), None);
    assert_eq!(each(Op::EachInt, 1, Op::Int), Some(FormError::Levels(0)));
    assert_eq!(each(Op::EachInt, 2, Op::Int), Some(FormError::Operand(0)));
    assert_eq!(each(Op::EachText, 0, Op::Text), Some(FormError::Levels(0)));
    let loose = vec![
        Node { op: Op::EachInt, operands: [0; 3] },
        Node { op: Op::Int, operands: [0; 3] },
        Node { op: Op::Eq, operands: [0, 1, 0] },
    ];
    let pool = Pool { ints: vec![1], ..Pool::default() };
    assert_eq!(Form::new(loose, pool).err(), Some(FormError::Levels(0)));
}

#[test]
fn a_form_that_may_cost_too_much_is_refused_on_arrival() {
    // 64 times 64 comparisons, of which each costs little: together too much.
    let body = [
        Node { op: Op::EachText, operands: [0; 3] },
        Node { op: Op::EachText, operands: [1, 0, 0] },
        Node { op: Op::Eq, operands: [0, 1, 0] },
        Node { op: Op::Groups, operands: [0; 3] },
        Node { op: Op::Exists, operands: [3, 2, 0] },
        Node { op: Op::Groups, operands: [0; 3] },
        Node { op: Op::Exists, operands: [5, 4, 0] },
    ];
    let refused = Form::new(body.to_vec(), Pool::default()).err();
    assert!(matches!(refused, Some(FormError::Cost(cost)) if cost > MAX_COST), "{refused:?}");
}

#[test]
fn the_constants_of_a_form_are_few_and_short() {
    let refused =
        |pool| Form::new(vec![Node { op: Op::True, operands: [0; 3] }], pool).err() == Some(FormError::Constants);
    let checked = |fits: Pool, over: Pool| assert_eq!((refused(fits), refused(over)), (false, true));
    let ints = |count| Pool { ints: vec![1; count], ..Pool::default() };
    checked(ints(MAX_NODES), ints(MAX_NODES + 1));
    let lists = |count| Pool { int_lists: vec![vec![1; 250]; count], ..Pool::default() };
    checked(lists(4), lists(5));
    let texts = |count| Pool { text_lists: vec![vec!["x".repeat(4_096).into()]; count], ..Pool::default() };
    checked(texts(2), texts(3));
    let zones = |count| Pool { zones: vec![Zone::fixed(0).unwrap(); count], ..Pool::default() };
    checked(zones(8), zones(9));
    let pattern = |rows| Automaton::new(vec![0; 256], vec![2; rows], vec![true; rows], 2);
    let patterns = |count| Pool { automata: vec![pattern(1).unwrap(); count], ..Pool::default() };
    checked(patterns(16), patterns(17));
    let large = |count| Pool { automata: vec![pattern(MAX_TRANSITIONS).unwrap(); count], ..Pool::default() };
    checked(large(2), large(3));
    assert_eq!(pattern(MAX_TRANSITIONS + 1), None);
    let changes = |count| Zone::new(0, (0..count).map(|at| (at, 3_600)).collect(), None);
    assert!(changes(160).is_some() && changes(161).is_none());
}

#[test]
fn a_version_that_is_not_known_never_allows_and_always_denies() {
    let item =
        ConditionItem { v: CONDITION_VERSION + 1, source: "true".to_owned(), form: serde_json::json!({ "x": 1 }) };
    assert_eq!(Condition::try_from(item), Ok(Condition::Unsupported));
    let known = |form| Condition::try_from(ConditionItem { v: CONDITION_VERSION, source: String::new(), form });
    assert!(known(serde_json::json!({ "nodes": ["true"] })).is_ok());
    assert!(matches!(known(serde_json::json!({ "nodes": ["maybe"] })), Err(ConditionItemError::Node(0))));
    assert!(matches!(known(serde_json::json!({ "nodes": ["true"], "more": 1 })), Err(ConditionItemError::Json(_))));
    assert!(matches!(known(serde_json::json!({ "nodes": ["int 0"] })), Err(ConditionItemError::Form(_))));
}

/// A service with one action, so many bindings under one condition and then one under another, and deny rules alike.
fn service(bindings: usize, denials: usize, condition: &Condition, last: &Condition) -> Table {
    let everyone = vec![Subject::parse("user:ann", ISSUER).unwrap()];
    let binding = |at: usize| Binding {
        name: format!("binding-{at}").into(),
        role: "role".into(),
        subjects: everyone.clone(),
        actions: ActionSet::All,
        reveals: Vec::new(),
        condition: if at < bindings { condition.clone() } else { last.clone() },
    };
    let denial = |at: usize| DenyRule {
        name: format!("denial-{at}").into(),
        actions: ActionSet::All,
        subjects: Vec::new(),
        except: Vec::new(),
        condition: condition.clone(),
        reason: "never".into(),
    };
    let action = Action {
        name: "act".into(),
        method: "GET".into(),
        templates: ActionTemplates::parse("/a", None).unwrap(),
        selectors: Vec::new(),
        criticality: Criticality::Low,
        audit: Audit::All,
        rollout: None,
        query: Vec::new(),
        body: None,
        fields: Vec::new(),
    };
    let parts = ServiceParts {
        name: "svc".into(),
        hosts: Vec::new(),
        unmatched: Unmatched::Deny,
        rollout: Rollout::default(),
        actions: vec![action],
        bindings: (0..=bindings).map(binding).collect(),
        rules: Vec::new(),
        denials: (0..denials).map(denial).collect(),
        break_glass: Vec::new(),
        owners: Vec::new(),
    };
    let mut table = Table::default();
    table.put_service(Service::new(parts).unwrap());
    table
}

#[test]
fn the_conditions_of_one_call_share_its_fuel() {
    // 64 groups against 30 texts, none of them equal: about 6,000 of 200,000 units.
    let texts = (0..30).map(|at| format!("\"no-{at}\"")).collect::<Vec<_>>().join(", ");
    let costly = format!("principal.groups.exists(a, [{texts}].exists(b, a == b))");
    let costly: Condition = compile_condition(&costly, &scope()).unwrap().try_into().unwrap();
    let plain: Condition = compile_condition("true", &scope()).unwrap().try_into().unwrap();
    let names: Vec<String> = (0..64).map(|at| format!("group-{at}")).collect();
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    let call = Call::new("svc", b"GET", b"/a", Principal::user(ISSUER, "ann", &groups)).unwrap();
    let now = Now::exactly(Timestamp::from_millis(1));
    let few = service(3, 3, &costly, &plain);
    assert!(matches!(decide(&few, &call, &Context::EMPTY, now), Decision::Allow(_)));
    let out_of_fuel = |errors: &[grantmesh_shared::engine::ConditionError<'_>]| {
        assert!(errors.iter().all(|error| error.error == EvalError::OutOfFuel));
        errors.len()
    };
    // The last binding holds, and there is nothing left to judge it with.
    let allowing = service(40, 0, &costly, &plain);
    let Decision::Deny(refusal) = decide(&allowing, &call, &Context::EMPTY, now) else {
        panic!("what cannot be judged must not allow")
    };
    assert!(out_of_fuel(&refusal.errors) > 1);
    assert!(refusal.errors.iter().any(|error| error.by == "binding-40"));
    // None of the deny rules holds, and some cannot be judged any more.
    let denying = service(0, 40, &costly, &plain);
    let Decision::Deny(refusal) = decide(&denying, &call, &Context::EMPTY, now) else {
        panic!("what cannot be judged must deny")
    };
    assert_eq!(out_of_fuel(&refusal.errors), 1);
    assert!(matches!(refusal.reasons.first(), Some(Reason::DenyRule { .. })), "{:?}", refusal.reasons);
}

#[test]
fn one_condition_takes_no_more_than_its_share_of_the_fuel_of_a_call() {
    // Each of the texts costs 625 units: 64 of them cost twice what one evaluation may, and a fifth of what the call has.
    let long = "y".repeat(5_000);
    let teams = vec![long.as_str(); 64];
    let claims = [("teams", FactValue::Texts(&teams))];
    let context = Context { claims: &claims, ..Context::EMPTY };
    let costly = "principal.claims.teams.exists(t, t.matches(\"x$\"))";
    let costly: Condition = compile_condition(costly, &scope()).unwrap().try_into().unwrap();
    let plain: Condition = compile_condition("true", &scope()).unwrap().try_into().unwrap();
    let call = Call::new("svc", b"GET", b"/a", Principal::user(ISSUER, "ann", &[])).unwrap();
    let table = service(1, 0, &costly, &plain);
    // It is cut off, and what comes after it is judged all the same.
    let Decision::Allow(permit) = decide(&table, &call, &context, Now::exactly(Timestamp::from_millis(1))) else {
        panic!("the second binding holds")
    };
    let errors: Vec<_> = permit.errors().iter().map(|error| (error.by, error.error)).collect();
    assert_eq!(errors, [("binding-0", EvalError::OutOfFuel)]);
}

#[test]
fn long_texts_and_lists_of_a_call_cost_fuel() {
    let judged = |source: &str, team: &str, teams: usize| {
        let condition: Condition = compile_condition(source, &scope()).unwrap().try_into().unwrap();
        let table = service(0, 0, &condition, &condition);
        let teams = vec![team; teams];
        let claims = [("teams", FactValue::Texts(&teams))];
        let call = Call::new("svc", b"GET", b"/a", Principal::user(ISSUER, "ann", &[])).unwrap();
        let context = Context { claims: &claims, ..Context::EMPTY };
        match decide(&table, &call, &context, Now::exactly(Timestamp::from_millis(1))) {
            Decision::Deny(refusal) => refusal.errors.first().map(|error| error.error),
            _ => None,
        }
    };
    let source = "principal.claims.teams.exists(t, t.matches(\"x$\"))";
    assert_eq!(judged(source, "x", 64), None);
    assert_eq!(judged(source, "x", 65), Some(EvalError::ListTooLong));
    assert_eq!(judged(source, &"y".repeat(100_000), 64), Some(EvalError::OutOfFuel));
    // Whatever looks at a text pays for its length: alike ones are looked at to their ends.
    for test in ["t == t", "t <= t", "t.contains(t)", "t.startsWith(t)", "t.endsWith(t)", "t.size() > 0"] {
        let source = format!("principal.claims.teams.exists(t, !({test}))");
        assert_eq!(judged(&source, "x", 64), None, "{test}");
        assert_eq!(judged(&source, &"y".repeat(300_000), 64), Some(EvalError::OutOfFuel), "{test}");
    }
    let source = "principal.claims.teams.exists(t, !(t in principal.claims.teams))";
    assert_eq!(judged(source, &"y".repeat(60), 64), None);
    assert_eq!(judged(source, &"y".repeat(4_000), 64), Some(EvalError::OutOfFuel));
}
