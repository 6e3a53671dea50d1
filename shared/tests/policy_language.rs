//! What policies can say beyond plain roles and rules, decided through the engine: conditions, deny rules, inheritance,
//! both identities, actions told apart by the body, masked fields.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a fault ends the test")]

use grantmesh_shared::engine::{
    Audit, Basis, BodyFacts, Call, Context, Decision, FactValue, Now, Percent, Principal, Rollout, Signal, Table,
    decide,
};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};

const ISSUER: &str = "https://id.example";
const AGENT: &str = "spiffe://mesh/ns/agents/sa/refunds";

const POLICY: &str = r#"
apiVersion: grantmesh.dev/v1
kind: Defaults
metadata: { name: defaults }
spec:
  issuer: https://id.example
  claims: [{ name: level, type: number }, { name: teams, type: list }]
  signals: [{ name: incident.open, setters: ["group:sre"], maxDuration: 8h }]
---
apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: shop }
spec:
  headers: [x-ticket]
  actions:
    - { name: order.read, method: GET, path: "/orders/{order}", resource: "order/{order}",
        fields: [{ name: card, in: response, mask: true }, { name: email, in: response, pointer: /customer/email, mask: true }] }
    - { name: order.pay, method: POST, path: "/orders/{order}/pay", resource: "order/{order}", body: strict,
        fields: [{ name: amount, in: request, type: number }] }
    - { name: stock.check, grpc: shop.Stock/Check }
    - { name: tool.refund, method: POST, path: /mcp, resource: tools, mcpTool: refund, body: head-first }
    - { name: tool.list, method: POST, path: /mcp, resource: tools, jsonRpc: tools/list, body: head-first }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: reader }
spec: { permissions: [{ service: shop, actions: [order.read, stock.check, tool.list] }] }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: clerk }
spec: { inherits: [reader], permissions: [{ service: shop, actions: [order.pay] }, { service: shop, actions: [order.read], reveals: [email] }] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: clerks }
spec: { role: clerk, subjects: ["group:clerks"] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: small-amounts }
spec: { role: pays, subjects: ["group:juniors"], condition: "request.body.amount <= 100 && principal.claims.level >= 2" }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: pays }
spec: { permissions: [{ service: shop, actions: [order.pay] }] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: agent-for-support }
spec: { role: tools, subjects: ["group:support + workload:spiffe://mesh/ns/agents/sa/refunds"] }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: tools }
spec: { permissions: [{ service: shop, actions: [tool.refund] }] }
---
apiVersion: grantmesh.dev/v1
kind: DenyRule
metadata: { name: freeze }
spec: { service: shop, actions: [order.pay], except: ["group:sre"], condition: "signals[\"incident.open\"]", reason: payments are frozen }
"#;

fn table() -> Table {
    let files = [PolicyFile { name: "policy.yaml".to_owned(), text: POLICY.to_owned() }];
    let policy = compile(&parse(&files).unwrap()).unwrap();
    assert_eq!(policy.signals[0].name, "incident.open");
    policy.table().unwrap()
}

#[test]
fn shares_of_principals_and_of_records_are_those_of_the_document() {
    let text = POLICY
        .replace("  headers: [x-ticket]", "  headers: [x-ticket]\n  percent: 25")
        .replace("grpc: shop.Stock/Check", "grpc: shop.Stock/Check, audit: { sampled: 10 }, percent: 75");
    let policy = compile(&parse(&[PolicyFile { name: "policy.yaml".to_owned(), text }]).unwrap()).unwrap();
    let table = policy.table().unwrap();
    let service = table.service("shop").unwrap();
    let action = |name: &str| service.action(name).unwrap();
    assert_eq!(action("stock.check").audit, Audit::Sampled(Percent::new(10).unwrap()));
    assert_eq!(action("order.read").audit, Audit::All);
    let names: Vec<String> = (0..2_000).map(|at| format!("user-{at}")).collect();
    let enforced = |rollout: Rollout| -> Vec<&str> {
        let is = |name: &&String| rollout.enforces("shop", &Principal::user(ISSUER, name, &[]));
        names.iter().filter(is).map(String::as_str).collect()
    };
    let (few, many) = (enforced(service.rollout()), enforced(action("stock.check").rollout.unwrap()));
    assert!((400..600).contains(&few.len()) && (1_400..1_600).contains(&many.len()), "{} {}", few.len(), many.len());
    assert!(few.iter().all(|name| many.contains(name)), "whoever is in a share is in every larger one");
    assert_eq!(action("order.read").rollout, None, "the service's counts");
}

/// The decision in a few words.
fn said(table: &Table, call: (&str, &str), principal: Principal<'_>, context: &Context<'_>) -> String {
    let call = Call::new("shop", call.0.as_bytes(), call.1.as_bytes(), principal).unwrap();
    match decide(table, &call, context, Now::exactly(Timestamp::from_millis(1_000))) {
        Decision::Allow(permit) => {
            let Basis::Role(binding) = permit.basis() else { panic!("no grants here") };
            let masked: Vec<&str> = permit.masked().iter().map(|field| &*field.name).collect();
            let masked = if masked.is_empty() { String::new() } else { format!(", masked {}", masked.join(" ")) };
            format!("{} by {}{masked}", permit.matched().unwrap().action.name, binding.name)
        }
        Decision::Ask(refusal) | Decision::Deny(refusal) => {
            refusal.reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(" ")
        }
    }
}

fn person<'p>(groups: &'p [&'p str]) -> Principal<'p> {
    Principal::user(ISSUER, "ann", groups)
}

#[test]
fn roles_inherit_and_reveal() {
    let table = table();
    let say = |groups: &[&str], call| said(&table, call, person(groups), &Context::EMPTY);
    assert_eq!(say(&["clerks"], ("GET", "/orders/o1")), "order.read by clerks, masked card");
    assert_eq!(say(&["clerks"], ("POST", "/shop.Stock/Check")), "stock.check by clerks");
    assert_eq!(say(&["others"], ("GET", "/orders/o1")), "no_role not_eligible");
}

#[test]
fn conditions_read_body_and_claims() {
    let table = table();
    let number = |text: &str| FactValue::Number(text.parse().unwrap());
    let say = |amount: Option<FactValue<'_>>, level: FactValue<'_>| {
        let fields: Vec<(&str, FactValue<'_>)> = amount.into_iter().map(|amount| ("amount", amount)).collect();
        let claims = [("level", level)];
        let context = Context { body: BodyFacts::Fields(&fields), claims: &claims, ..Context::EMPTY };
        said(&table, ("POST", "/orders/o1/pay"), person(&["juniors"]), &context)
    };
    assert_eq!(say(Some(number("100.00")), number("2")), "order.pay by small-amounts");
    assert_eq!(say(Some(number("100.01")), number("2")), "no_role condition_fails not_eligible");
    assert_eq!(say(Some(number("1")), number("1.9")), "no_role condition_fails not_eligible");
    assert_eq!(say(None, number("2")), "no_role condition_errs not_eligible");
    assert_eq!(say(Some(number("1")), FactValue::Text("2")), "no_role condition_errs not_eligible");
    let unread = said(&table, ("POST", "/orders/o1/pay"), person(&["juniors"]), &Context::EMPTY);
    assert_eq!(unread, "no_role condition_errs not_eligible");
}

#[test]
fn a_deny_rule_is_above_roles_while_its_signal_is_set() {
    let mut table = table();
    let say = |table: &Table, groups: &[&str]| said(table, ("POST", "/orders/o1/pay"), person(groups), &Context::EMPTY);
    assert_eq!(say(&table, &["clerks"]), "order.pay by clerks");
    table.put_signal(Signal { name: "incident.open".into(), expires_at: Timestamp::from_millis(1_001) });
    assert_eq!(say(&table, &["clerks"]), "deny_rule");
    assert_eq!(say(&table, &["clerks", "sre"]), "order.pay by clerks");
    table.put_signal(Signal { name: "incident.open".into(), expires_at: Timestamp::from_millis(1_000) });
    assert_eq!(say(&table, &["clerks"]), "order.pay by clerks");
}

#[test]
fn both_identities_and_the_body_tell_what_a_tool_call_is() {
    let table = table();
    let call = |method: FactValue<'_>, tool: Option<FactValue<'_>>, workload: Option<&str>, group: &str| {
        let mut fields = vec![("/method", method)];
        fields.extend(tool.map(|tool| ("/params/name", tool)));
        let groups = [group];
        let principal = Principal { workload, ..person(&groups) };
        said(&table, ("POST", "/mcp"), principal, &Context { body: BodyFacts::Fields(&fields), ..Context::EMPTY })
    };
    let text = FactValue::Text;
    let refund = Some(text("refund"));
    assert_eq!(call(text("tools/call"), refund, Some(AGENT), "support"), "tool.refund by agent-for-support");
    assert_eq!(call(text("tools/call"), refund, Some("spiffe://mesh/x"), "support"), "no_role not_eligible");
    assert_eq!(call(text("tools/call"), refund, None, "support"), "no_role not_eligible");
    assert_eq!(call(text("tools/call"), refund, Some(AGENT), "others"), "no_role not_eligible");
    assert_eq!(call(text("tools/list"), None, None, "clerks"), "tool.list by clerks");
    assert_eq!(call(text("tools/call"), Some(text("delete")), Some(AGENT), "support"), "unmatched");
    assert_eq!(call(text("tools/list"), Some(FactValue::Other), None, "clerks"), "ambiguous_body");
    assert_eq!(call(FactValue::Other, None, None, "clerks"), "ambiguous_body");
    assert_eq!(said(&table, ("POST", "/mcp"), person(&["clerks"]), &Context::EMPTY), "body_not_read");
}

/// What is said about the policy with one text replaced.
fn faults(replaced: &str, by: &str) -> String {
    assert!(POLICY.contains(replaced), "{replaced}");
    let files = [PolicyFile { name: "p.yaml".to_owned(), text: POLICY.replacen(replaced, by, 1) }];
    let found = match parse(&files) {
        Ok(documents) => compile(&documents).map(|_| Vec::new()).unwrap_or_else(|faults| faults),
        Err(faults) => faults,
    };
    let text: Vec<String> = found.iter().map(ToString::to_string).collect();
    format!("# {replaced} -> {by}\n{}", text.join("\n"))
}

#[test]
fn faults_of_the_language() {
    let all = [
        faults("request.body.amount <= 100", "request.body.amuont <= 100"),
        faults("principal.claims.level >= 2", "principal.claims.rank >= 2"),
        faults("signals[\\\"incident.open\\\"]", "signals.incident"),
        faults(", body: strict,\n        fields", ", fields"),
        faults("mcpTool: refund", "jsonRpc: tools/list"),
        faults("in: request, type: number", "in: request, type: float"),
        faults("pointer: /customer/email", "pointer: customer.email"),
        faults("reveals: [email]", "reveals: [mail]"),
        faults("inherits: [reader]", "inherits: [reader, clerk, raeder]"),
        faults("grpc: shop.Stock/Check", "grpc: shop.Stock.Check, method: GET"),
        faults("grpc: shop.Stock/Check", "graphql: AllOrders"),
        faults("subjects: [\"group:support + ", "subjects: [\"workload:spiffe://mesh/a + "),
        faults("headers: [x-ticket]", "headers: [Authorization, authorization]\n  percent: 101"),
        faults("reason: payments are frozen", "reason: \"\""),
        faults("maxDuration: 8h", "maxDuration: 60d"),
    ];
    insta::assert_snapshot!(all.join("\n\n"));
}
