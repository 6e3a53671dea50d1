//! What `policy check` warns of and what it refuses because it could never happen: every message, with its place.

use grantmesh_shared::wire::policy::{PolicyFile, examine, parse};

const GOOD: &str = include_str!("../policies/payments/policy.yaml");

/// Faults and warnings of a policy.
fn said(text: &str) -> String {
    let files = [PolicyFile { name: "p.yaml".to_owned(), text: text.to_owned() }];
    let (faults, warnings) = match parse(&files) {
        Ok(documents) => {
            let examined = examine(&documents);
            (examined.policy.err().unwrap_or_default(), examined.warnings)
        }
        Err(faults) => (faults, Vec::new()),
    };
    let faults = faults.iter().map(|fault| format!("fault: {fault}"));
    let lines: Vec<_> = faults.chain(warnings.iter().map(|warning| format!("warning: {warning}"))).collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
}

/// The example policy with some texts changed.
fn changed(changes: &[(&str, &str)]) -> String {
    let text = changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let what: Vec<_> = changes.iter().map(|(_, to)| to.escape_debug().to_string()).collect();
    format!("# {}\n{}", what.join(" | "), said(&text))
}

/// The example policy with more documents.
fn with(documents: &str) -> String {
    format!("# {}\n{}", documents.escape_debug(), said(&format!("{GOOD}{documents}")))
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("\n---\napiVersion: grantmesh.dev/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
}

#[test]
fn the_example_has_no_warnings() {
    assert_eq!(said(GOOD), "nothing");
}

#[test]
fn what_is_probably_not_meant() {
    let rule = |name: &str, eligible: &str, actions: &str| {
        document(
            "Rule",
            name,
            &format!(
                "{{ service: payments, actions: {actions}, eligible: {eligible}, reviewers: [\"group:leads\"], maxDuration: 1h }}"
            ),
        )
    };
    let deny = |actions: &str, more: &str| {
        document("DenyRule", "closed", &format!("{{ service: payments, actions: {actions}, reason: closed{more} }}"))
    };
    let action = "\n    - name: refund.create\n";
    let report = [
        changed(&[(
            action,
            "\n    - { name: accounts.any, method: GET, path: \"/v1/{rest=**}\" }\n    - name: refund.create\n",
        )]),
        changed(&[(
            action,
            "\n    - { name: account.me, method: GET, path: /v1/accounts/me }\n    - name: refund.create\n",
        )]),
        with(&document("Role", "auditor", "{ permissions: [{ service: payments, actions: [refund.list] }] }")),
        with(&rule("second", "[\"group:support\"]", "[refund.create]")),
        with(&rule("other", "[\"group:support\", \"group:billing\"]", "[refund.create]")),
        with(&deny("[account.read, refund.list]", ", subjects: [\"group:support\"]")),
        with(&deny("[\"*\"]", "")),
        with(&deny("[\"*\"]", ", except: [\"group:sre\"]")),
        changed(&[(
            ".invalid",
            ".invalid\n  claims: [{ name: level, type: number }]\n  signals: [{ name: incident.open }]",
        )]),
        changed(&[(
            "subjects: [\"group:support\"]",
            "subjects: [\"group:support\"]\n  condition: size(principal.groups) >= 0",
        )]),
        changed(&[("audit: counted", "fields: [{ name: iban, in: response, mask: true }]")]),
        changed(&[
            ("eligible: [\"group:support\"]", "eligible: [\"user:ann\", \"group:support\"]"),
            ("reviewers: [\"group:payments-leads\"]", "reviewers: [\"user:ann\"]"),
        ]),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn rules_that_nobody_could_ever_be_approved_under() {
    let people = |eligible: &str, reviewers: &str, approvals: u32| {
        changed(&[
            ("eligible: [\"group:support\"]", &format!("eligible: {eligible}")),
            ("reviewers: [\"group:payments-leads\"]", &format!("reviewers: {reviewers}")),
            ("approvals: 1", &format!("approvals: {approvals}")),
        ])
    };
    let report = [
        people("[\"user:ann\"]", "[\"user:ann\"]", 1),
        people("[\"user:ann\", \"user:ben\"]", "[\"user:ann\", \"user:ben\"]", 2),
        people("[\"user:ann\", \"user:ben\"]", "[\"user:ann\", \"user:ben\"]", 1),
        people("[\"user:ann\"]", "[\"user:ann\", \"user:ben\", \"user:ben\"]", 2),
        people("[\"user:ann\", \"user:cat\"]", "[\"user:ann\", \"user:ben\"]", 2),
        people("[\"group:support\"]", "[\"user:ann\", \"user:ben\"]", 2),
        people("[\"user:ann\"]", "[\"user:ann\", \"group:leads\"]", 5),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn stages_that_nobody_could_ever_pass() {
    let stages = |eligible: &str, stages: &str| {
        changed(&[
            ("eligible: [\"group:support\"]", &format!("eligible: {eligible}")),
            ("reviewers: [\"group:payments-leads\"]\n  approvals: 1", stages),
        ])
    };
    let one =
        |factors: &str| stages("[\"group:support\"]", &format!("stages: [{{ name: only, factors: [{factors}] }}]"));
    let many = |count: usize, what: &str| vec![what; count].join(", ");
    let report = [
        // Nobody, or in two ways.
        one(""),
        one("{ reviewers: [] }"),
        one("{ approvals: 0, reviewers: [\"user:ann\"] }"),
        one("{ reviewers: [\"workload:spiffe://a/b\"] }"),
        stages(
            "[\"group:support\"]",
            "reviewers: [\"user:ann\"]\n  stages: [{ name: a, factors: [{ reviewers: [\"user:ann\"] }] }]",
        ),
        stages("[\"group:support\"]", "description: who decides is not said"),
        stages(
            "[\"group:support\"]",
            "stages: [{ name: a, factors: [{ reviewers: [\"group:a\"] }] }, { name: a, factors: [{ reviewers: [\"group:a\"] }] }]",
        ),
        // Too much.
        stages(
            "[\"group:support\"]",
            &format!("stages: [{}]", many(9, "{ name: a, factors: [{ reviewers: [\"group:a\"] }] }")),
        )
        .replace(&many(9, "{ name: a, factors: [{ reviewers: [\"group:a\"] }] }").escape_debug().to_string(), "..."),
        one(&many(9, "{ reviewers: [\"group:a\"] }")),
        // One person fills one place only.
        one("{ reviewers: [\"user:ann\"] }, { reviewers: [\"user:ann\"] }"),
        one("{ reviewers: [\"user:ann\"] }, { reviewers: [\"user:ann\", \"user:ben\"] }"),
        one(
            "{ reviewers: [\"user:ann\"] }, { reviewers: [\"user:ann\"] }, { reviewers: [\"user:ben\", \"user:cat\"] }",
        ),
        one("{ reviewers: [\"user:ann\"] }, { approvals: 9, reviewers: [\"group:many\"] }"),
        // Nor their own request.
        stages(
            "[\"user:ann\"]",
            "stages: [{ name: a, factors: [{ reviewers: [\"user:ann\", \"user:ben\"] }] }, { name: b, factors: [{ reviewers: [\"user:ben\"] }] }]",
        ),
        stages(
            "[\"user:ann\", \"user:ben\"]",
            "stages: [{ name: a, factors: [{ reviewers: [\"user:ann\", \"user:cat\", \"user:dan\"] }] }, { name: b, factors: [{ reviewers: [\"user:ben\"] }] }]",
        ),
        // Denials.
        changed(&[("approvals: 1", "denials: 0")]),
        changed(&[(
            "reviewers: [\"group:payments-leads\"]\n  approvals: 1",
            "reviewers: [\"user:ann\", \"user:ben\"]\n  denials: 3",
        )]),
        changed(&[("approvals: 1", "denials: 3")]),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn people_that_cannot_be() {
    let person = |name: &str, spec: &str| document("Person", name, spec);
    let group = |name: &str, spec: &str| document("Group", name, spec);
    let rule = |what: &str| changed(&[("reviewers: [\"group:payments-leads\"]\n  approvals: 1", what)]);
    let decided_by = |reviewers: &str, documents: &str| {
        let text =
            GOOD.replace("[\"group:support\"]\n  reviewers: [\"group:payments-leads\"]\n  approvals: 1", reviewers);
        format!("# {reviewers} | {}\n{}", documents.escape_debug(), said(&format!("{text}{documents}")))
    };
    let lea = person("lea", "{ accounts: [{ subject: lea }, { subject: lea-admin }] }");
    let bot = person("bot", "{ accounts: [{ subject: svc-bot }], machine: true, owner: lea }");
    let report = [
        with(&lea),
        with(&format!("{lea}{bot}")),
        with(&person("lea", "{ accounts: [] }")),
        with(&person("lea", "{ accounts: [{ subject: \"\" }, { subject: x, issuer: \"a b\" }] }")),
        with(&format!("{lea}{}", person("leo", "{ accounts: [{ subject: lea }] }"))),
        with(&bot),
        with(&format!("{lea}{bot}{}", person("bot2", "{ accounts: [{ subject: b2 }], machine: true, owner: bot }"))),
        with(&format!("{lea}{}", person("leo", "{ accounts: [{ subject: leo }], owner: lea }"))),
        with(&group("g", "{ editors: [] }")),
        with(&group("g", "{ editors: [\"group:a + workload:spiffe://a/b\"] }")),
        with(&format!(
            "{}{}",
            group("g", "{ editors: [\"user:a\"] }"),
            group("h", "{ group: g, editors: [\"user:b\"] }")
        )),
        // Accounts of one person are one, and a machine is none.
        decided_by("[\"group:support\"]\n  reviewers: [\"user:lea\", \"user:lea-admin\"]\n  approvals: 2", &lea),
        decided_by("[\"user:lea\"]\n  reviewers: [\"user:lea-admin\"]", &lea),
        decided_by("[\"user:svc-bot\"]\n  reviewers: [\"user:lea\"]", &format!("{lea}{bot}")),
        decided_by("[\"group:support\"]\n  reviewers: [\"user:svc-bot\", \"user:lea\"]", &format!("{lea}{bot}")),
        // What a request must say.
        rule("reviewers: [\"group:a\"]\n  justification: { minLength: 0 }\n  ticket: { pattern: \"(\" }"),
        rule("reviewers: [\"group:a\"]\n  justification: { minLength: 2001, pattern: \"a{0,900}b{0,900}\" }"),
        rule("reviewers: [\"group:a\"]\n  ticket: { required: true, pattern: \"a^b\" }"),
        rule("reviewers: [\"group:a\"]\n  ticket: { required: true, pattern: \"^INC-[0-9]+$\" }"),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn conditions_that_can_never_hold() {
    let binding = |condition: &str| {
        changed(&[(
            "subjects: [\"group:support\"]",
            &format!("subjects: [\"group:support\"]\n  condition: {condition}"),
        )])
    };
    let rule = |condition: &str| changed(&[("approvals: 1", &format!("condition: {condition}"))]);
    let report = [
        binding("request.method == 'GET' && request.method == 'POST'"),
        binding("request.time.getHours() >= 25"),
        binding("|\n    has(principal.user) &&\n      size(principal.groups) > 5\n    && size(principal.groups) < 3"),
        rule("action == \"refund.list\""),
        rule(
            "service == \"payments\" && (criticality == \"none\" || principal.user in [\"a\"] && principal.user == \"b\")",
        ),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn automatic_decisions_that_are_probably_not_meant() {
    let signals = ("invalid\n---", "invalid\n  signals: [{ name: incident }]\n---");
    let rule = |automatic: &str| {
        let more = format!("maxDuration: 1h\n  automatic: [{automatic}]");
        changed(&[signals, ("maxDuration: 1h", &more)])
    };
    let incident = "when: 'signals.incident'";
    let report = [
        rule(&format!("{{ name: a, then: deny, {incident} }}")),
        rule("{ name: a, then: deny }"),
        rule("{ name: a, then: approve }"),
        rule(&format!("{{ name: a, then: approve, {incident} }}")),
        changed(&[
            signals,
            (
                "maxDuration: 1h",
                &format!("maxDuration: 1h\n  maxUses: 3\n  automatic: [{{ name: a, then: approve, {incident} }}]"),
            ),
        ]),
        rule("{ name: a, then: approve, when: '!signals.incident' }"),
        rule(&format!(
            "{{ name: a, then: require, approvals: 2 }}, {{ name: b, then: approve, {incident} }}, {{ name: c, then: deny, {incident} }}"
        )),
        rule(&format!(
            "{{ name: a, then: deny, {incident} }}, {{ name: b, then: approve }}, {{ name: c, then: require, approvals: 2 }}"
        )),
    ];
    insta::assert_snapshot!(report.join("\n\n"));
}
