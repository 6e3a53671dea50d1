//! Error messages of policy documents: every fault with its file, line, column and what to do.

use grantmesh_shared::wire::policy::{MAX_FAULTS, PolicyFile, compile, parse, read};

/// All faults of a policy, or `fine`.
fn faults(text: &str) -> String {
    let files = [PolicyFile { name: "p.yaml".to_owned(), text: text.to_owned() }];
    let result = parse(&files).and_then(|documents| compile(&documents));
    match result {
        Ok(_) => "fine".to_owned(),
        Err(faults) => faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

const GOOD: &str = include_str!("../policies/payments/policy.yaml");

/// The example policy with one line changed.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    format!("# {} -> {}\n{}", from.escape_debug(), to.escape_debug(), faults(&GOOD.replacen(from, to, 1)))
}

#[test]
fn the_example_is_fine() {
    assert_eq!(faults(GOOD), "fine");
}

#[test]
fn unknown_fields_and_kinds() {
    let report = [
        changed("  unmatched: deny", "  unmatchd: deny"),
        changed("maxDuration: 1h", "maxDuraton: 1h"),
        changed("kind: Rule", "kind: Role"),
        changed("kind: Rule", "kind: Rulez"),
        changed("kind: Service", "kind: service"),
        changed("apiVersion: grantmesh.dev/v1", "apiVersion: grantmesh.dev/v2"),
        changed("unmatched: deny", "unmatched: maybe"),
        changed("criticality: critical", "criticality: crit"),
        changed("approvals: 1", "approvals: one"),
        changed("  service: payments\n  actions: [refund.create]", "  actions: [refund.create]"),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn references_that_lead_nowhere() {
    let report = [
        changed("actions: [account.read, refund.list]", "actions: [account.read, refund.lst]"),
        changed("  service: payments\n  actions: [refund.create]", "  service: payment\n  actions: [refund.create]"),
        changed("role: payments-reader", "role: payments-writer"),
        changed("eligible: [\"group:support\"]", "eligible: [support]"),
        changed("eligible: [\"group:support\"]", "eligible: [\"workload:payments\"]"),
        changed(
            "kind: Defaults\nmetadata: { name: defaults }\nspec:\n  # Whose users and groups `user:` and `group:` name: the `iss` of your tokens.\n  issuer: https://dev-issuer.grantmesh.invalid",
            "kind: Role\nmetadata: { name: empty }\nspec: { permissions: [] }",
        ),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn paths_that_overlap_or_cannot_be() {
    let second = "\n    - name: refund.again\n      method: POST\n      path: ";
    let with =
        |path: &str| changed("\n    - name: refund.create\n", &format!("{second}{path}\n    - name: refund.create\n"));
    let report = [
        with("/v1/accounts/{other}/refunds"),
        with("/v1/accounts/me/{what}"),
        with("v1/accounts"),
        with("/v1/%2f"),
        with("/v1/{Account}"),
        with("/v1/{a=**}/x"),
        changed("resource: account/{account}", "resource: account/{acount}"),
        changed("method: POST", "method: post"),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn rules_that_nobody_could_fulfil() {
    let report = [
        changed("maxDuration: 1h", "maxDuration: soon"),
        changed("maxDuration: 1h", "maxDuration: 90d"),
        changed("defaultDuration: 15m", "defaultDuration: 2h"),
        changed("approvals: 1", "approvals: 0"),
        changed("reviewers: [\"group:payments-leads\"]\n  approvals: 1", "reviewers: [\"user:lea\"]\n  approvals: 2"),
        changed("reviewers: [\"group:payments-leads\"]", "reviewers: []"),
        changed("approvals: 1", "maxUses: 0"),
        changed("approvals: 1", "maxUses: 1001"),
        changed("approvals: 1", "maxUses: many"),
        changed("approvals: 1", "hold: 241s"),
        changed("approvals: 1", "hold: 500ms"),
        changed("approvals: 1", "hold: 1m\n  ticket: { required: true }"),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn broken_text() {
    let report = [
        faults("a: [1"),
        faults("{\"apiVersion\": \"grantmesh.dev/v1\", \"kind\": }"),
        faults(&"[".repeat(10_000)),
        faults("apiVersion: grantmesh.dev/v1\nkind: Role\nkind: Role\n"),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
    assert_eq!(faults(""), "fine");
}

#[test]
fn json_is_read_too() {
    let json = r#"{"apiVersion":"grantmesh.dev/v1","kind":"Service","metadata":{"name":"a"},"spec":{"actions":[{"name":"x","method":"GET","path":"/x"}]}}"#;
    assert_eq!(faults(json), "fine");
}

#[test]
fn all_faults_are_told_at_once_and_no_false_ones() {
    let text = r#"apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: payments, lable: x }
spec:
  hots: [a.example.com]
  actions:
    - { name: read, method: GET, path: "/a/{id}" }
    - { name: write, methd: POST, path: "/b/{id}", fields: [{ name: amount, in: request, typ: number }] }
---
apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: ledger }
spec: { actions: [{ name: read, method: get, path: /entries }] }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: reader }
spec: { permissions: [{ service: payments, actions: [read] }, { service: ledger, actions: [raed] }] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: readers }
spec: { role: raeder, subjects: ["workload:spiffe://a/b"] }
---
apiVersion: grantmesh.dev/v1
kind: Rule
metadata: { name: writes }
spec: { service: payments, actions: [write], eligible: ["workload:spiffe://a/b"], reviewers: [], maxDuration: 1h, condition: request.params.id == "1", reveals: [iban], bind: { fields: [amount] } }
---
apiVersion: grantmesh.dev/v1
kind: Rule
metadata: { name: more }
spec: { servce: payments, actions: [write], elegible: [] }
"#;
    let file = |text: &str| [PolicyFile { name: "p.yaml".to_owned(), text: text.to_owned() }];
    let told = |text: &str| {
        let found = read(&file(text)).err().unwrap_or_default();
        found.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message)).collect::<Vec<_>>()
    };
    // What the first service has is not known, so that nothing is said to be missing from it.
    assert_eq!(
        told(text),
        [
            "3:29 unknown field `lable`",
            "5:3 unknown field `hots`",
            "8:22 unknown field `methd`",
            "8:90 unknown field `typ`",
            "13:41 `get` is not an HTTP method",
            "18:92 the service `ledger` has no action `raed`",
            "23:15 there is no role `raeder`",
            "27:19 the rule `writes` has no reviewers, so nobody could ever get a grant",
            "33:9 unknown field `servce`",
            "33:45 unknown field `elegible`",
        ]
    );
    // A role that cannot be read may be the one that is meant; without `Defaults` nothing more is known.
    let role = text.replace("permissions: [{ service: payments", "permisions: [{ service: payments");
    assert!(!told(&role).iter().any(|fault| fault.contains("there is no role")));
    let defaults = "---\napiVersion: grantmesh.dev/v1\nkind: Defaults\nmetadata: { name: d }\nspec: { isuer: x }\n";
    let without = told(&format!("{text}{defaults}"));
    assert!(without.len() == 7 && without.iter().all(|fault| fault.contains("unknown field")), "{without:?}");
    // Very many are not all told.
    let many = (0..1_000).map(|at| format!("x{at}: 1")).collect::<Vec<_>>().join(", ");
    let many = format!("apiVersion: grantmesh.dev/v1\nkind: Role\nmetadata: {{ name: r }}\nspec: {{ {many} }}\n");
    assert_eq!(told(&many).len(), 100);
    assert!(told(&vec![many; 200].join("---\n")).len() <= MAX_FAULTS + 100);
}

#[test]
fn what_rules_say_about_time_and_who_breaks_the_glass() {
    for (more, told) in [
        ("startsWithin: 31d", "`31d` is not between 1s and 30d"),
        ("extension: { maxTotal: 30m }", "`30m` in all is less than one grant of `1h`"),
        ("extension: { withoutReview: 2h }", "no grant lasts `2h`: the most in all is `1h`"),
        ("extension: { maxTotal: 3h, withoutReview: 4h }", "no grant lasts `4h`: the most in all is `3h`"),
        ("timeouts: { remindAfter: 24h }", "after `1d` a request under this rule has timed out"),
        ("timeouts: { escalateAfter: 1h }", "it is not said to whom a request is escalated"),
        ("timeouts: { escalateTo: [\"group:others\"] }", "it is not said when a request is escalated"),
        ("limits: { pending: 0 }", "nobody could ever ask"),
        ("limits: { coolDown: 31d }", "`31d` is not between 1s and 30d"),
        ("limits: { pending: -1 }", "not a whole number"),
        ("routing: { suggest: 11 }", "11 people are too many to suggest"),
        ("routing: { onCall: on.call }", "there is no signal `on.call` that is said of users"),
        ("automatic: [{ name: a, then: require }]", "it is not said how many approvals `a` requires"),
        ("automatic: [{ name: a, then: require, approvals: 1 }]", "the rule takes 1 approval(s) anyway"),
        (
            "automatic: [{ name: a, then: approve, approvals: 2 }]",
            "`approvals` says nothing of the automatic decision `a`",
        ),
        ("automatic: [{ name: a, then: escalate }]", "it is not said to whom a request is escalated"),
        ("automatic: [{ name: A, then: deny }]", "`A` is not a name"),
        (
            "automatic: [{ name: a, then: deny, when: 'action == \"x\"' }, { name: a, then: deny, when: 'action == \"y\"' }]",
            "there is another automatic decision named `a`",
        ),
        (
            "automatic: [{ name: a, then: approve, when: 'request.path == \"/\"' }]",
            "belongs to a call, and asking is not one",
        ),
        ("automatic: [{ name: a, then: approve, when: 'signals[\"none\"]' }]", "`none` is not declared in `signals`"),
        ("automatic: [{ name: a, then: approve, when: 'action == \"x\" && action == \"y\"' }]", "can never hold"),
        (
            "automatic: [{ name: a, then: approve, when: 'signals[\"on.call\"]' }]",
            "`on.call` is not declared in `signals`",
        ),
        ("automatic: [{ name: a, then: allow }]", "`allow` is not one of the words"),
        ("automatic: [{ name: a, then: deny, unless: 'true' }]", "unknown field `unless`"),
    ] {
        let report = changed("maxDuration: 1h", &format!("maxDuration: 1h\n  {more}"));
        assert!(report.contains(told), "{more}: {report}");
    }
    let many = |count: usize| {
        let one = |at: usize| format!("{{ name: a{at}, then: deny, when: 'action == \"x\"' }}");
        format!("automatic: [{}]", (0..count).map(one).collect::<Vec<_>>().join(", "))
    };
    let said = |more: &str| changed("maxDuration: 1h", &format!("maxDuration: 1h\n  {more}"));
    assert!(
        !said(&many(16)).contains("automatic decisions")
            && said(&many(17)).contains("17 automatic decisions, more than 16")
    );
    let said_of = |more: &str| {
        let text = said(more);
        assert!(text.contains("`on.call` is not declared"), "{text}");
        let signals = "invalid\n  signals: [{ name: on.call, of: user }]\n---";
        faults(&GOOD.replacen("invalid\n---", signals, 1).replacen(
            "maxDuration: 1h",
            &format!("maxDuration: 1h\n  {more}"),
            1,
        ))
    };
    let message = "`on.call` is said of users or tickets, and is not known here";
    assert!(said_of("condition: 'signals[\"on.call\"]'").contains(message));
    assert!(said_of("grantCondition: 'signals[\"on.call\"]'").contains(message));
    assert!(!said_of("automatic: [{ name: a, then: approve, when: 'signals[\"on.call\"]' }]").contains("on.call"));
    let known = changed(
        "reviewers: [\"group:payments-leads\"]",
        "reviewers: [\"user:lee\", \"user:mia\"]\n  automatic: [{ name: a, then: require, approvals: 3 }]",
    );
    assert!(known.contains("`a` requires 3 approvals, and the rule has 2 reviewers"), "{known}");
    let right = |name: &str, subjects: &str, reviewers: &str, max: &str| {
        let document = format!(
            "---\napiVersion: grantmesh.dev/v1\nkind: BreakGlass\nmetadata: {{ name: {name} }}\nspec: {{ service: payments, \
             actions: [refund.create], subjects: {subjects}, reviewers: {reviewers}, maxDuration: {max} }}\n"
        );
        faults(&(GOOD.to_owned() + &document))
    };
    assert_eq!(right("fire", "[\"group:sre\"]", "[\"group:sre\"]", "4h"), "fine");
    assert_eq!(right("fire", "[]", "[\"user:lea\"]", "1h"), "fine", "an empty list means nobody");
    for (report, told) in [
        (
            right("refund-by-support", "[\"group:sre\"]", "[\"user:lea\"]", "1h"),
            "there is a rule named `refund-by-support`",
        ),
        (right("fire", "[\"group:sre\"]", "[]", "1h"), "could be reviewed by nobody"),
        (right("fire", "[\"user:lea\"]", "[\"user:lea\"]", "1h"), "could be reviewed by nobody"),
        (right("fire", "[\"group:sre\"]", "[\"user:lea\"]", "5h"), "`5h` is not between 1s and 4h"),
    ] {
        assert!(report.contains(told), "{told}: {report}");
    }
}
