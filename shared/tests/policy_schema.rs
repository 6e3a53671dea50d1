//! The schema for editors: it is what the types say, takes every policy that there is, and finds planted faults.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use std::collections::BTreeSet;
use std::path::Path;

use grantmesh_shared::wire::policy::{PolicyFile, parse, schema};
use jsonschema::Validator;
use serde_json::Value;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/schema.json");
const PAYMENTS: &str = include_str!("../policies/payments/policy.yaml");
const AGENTS: &str = include_str!("../policies/agents/policy.yaml");

/// The documents of a text, as editors see them.
fn documents(text: &str) -> Vec<Value> {
    text.split("\n---").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

fn faults(validator: &Validator, document: &Value) -> Vec<String> {
    validator.iter_errors(document).map(|error| error.to_string()).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the one word by which `cargo dev bless` lets tests write")]
fn the_written_schema_is_that_of_the_types() {
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("GRANTMESH_BLESS").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let written = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(written == text, "shared/policies/schema.json is not what the types say: run `cargo dev bless`");
}

#[test]
fn every_policy_that_there_is_fits() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut texts = vec![PAYMENTS.to_owned(), AGENTS.to_owned()];
    for folder in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables")).unwrap() {
        texts.push(std::fs::read_to_string(folder.unwrap().path().join("policy.yaml")).unwrap());
    }
    let mut kinds = BTreeSet::new();
    for document in texts.iter().flat_map(|text| documents(text)) {
        assert_eq!(faults(&validator, &document), Vec::<String>::new(), "{document:#}");
        kinds.insert(document["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}

#[test]
fn planted_faults_are_found() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let planted = [
        ("apiVersion: grantmesh.dev/v1\nkind: Defaults", "apiVersion: grantmesh.dev/v2\nkind: Defaults"),
        ("kind: Service", "kind: Servce"),
        ("kind: Service", "kind: Role"),
        ("metadata: { name: ledger }", "metadata: { name: Ledger }"),
        ("metadata: { name: ledger }", "metadata: { name: ledger, labels: {} }"),
        ("  issuer: https://id.example.com", "  issuer: \"\""),
        ("type: number }\n    - { name: department", "type: integer }\n    - { name: department"),
        ("maxDuration: 8h", "maxDuration: soon"),
        ("hosts: [tools.example.com]", "hosts: [Tools.example.com]"),
        ("headers: [x-ticket]", "headers: [X-Ticket]"),
        ("headers: [x-ticket]", "headers: [authorization]"),
        ("percent: 25", "percent: 101"),
        ("percent: 25", "percent: a few"),
        ("unmatched: allow", "unmatched: maybe"),
        ("body: head-first", "body: lazy"),
        ("      grpc: ledger.v1.Bookings/List", "      grpc: ledger.v1.Bookings.List"),
        (
            "      grpc: ledger.v1.Bookings/List",
            "      grpc: ledger.v1.Bookings/List\n      method: POST\n      path: /x",
        ),
        ("      grpc: ledger.v1.Bookings/List", "      description: nothing says how it is called"),
        ("      path: /v1/exports/{account}", "      path: v1/exports/{account}"),
        ("method: GET\n      path: /v1/files", "method: get\n      path: /v1/files"),
        ("audit: { sampled: 10 }", "audit: { sampled: 100 }"),
        ("audit: { sampled: 10 }", "audit: some"),
        ("criticality: critical", "criticality: crit"),
        ("pointer: /params/arguments/amount", "pointer: params.amount"),
        ("in: response, pointer: /result/structuredContent/iban, mask: true", "in: body, pointer: /iban, mask: true"),
        (
            "permissions:\n    - { service: tools, actions: [tools.list",
            "permission:\n    - { service: tools, actions: [tools.list",
        ),
        (
            "spec: { permissions: [{ service: ledger, actions: [\"*\"] }] }",
            "spec: { permissions: [{ service: ledger, actions: [] }] }",
        ),
        ("spec: { permissions: [{ service: ledger, actions: [\"*\"] }] }", "spec: { description: nothing }"),
        ("subjects: [\"workload:spiffe://mesh/ns/tools/sa/server\"]", "subjects: [\"workload:server\"]"),
        ("subjects: [\"workload:spiffe://mesh/ns/tools/sa/server\"]", "subjects: []"),
        ("eligible: [\"group:auditors\"]", "eligible: [\"auditors\"]"),
        ("reviewers: [\"user:olivia\"]", "reviewers: []"),
        ("approvals: 2", "approvals: 0"),
        ("bind: { exact: true }", "bind: { exactly: true }"),
        ("reason: bookings are frozen", "reason: \" \""),
        ("reason: bookings are frozen", "because: bookings are frozen"),
    ];
    for (from, to) in planted {
        assert!(AGENTS.contains(from), "{from}");
        let text = AGENTS.replacen(from, to, 1);
        let wrong = documents(&text).iter().filter(|document| !validator.is_valid(document)).count();
        assert_eq!(wrong, 1, "{from} -> {to}");
        // Nothing that the schema refuses is taken by the reader and the compiler.
        let files = [PolicyFile { name: "p.yaml".to_owned(), text }];
        let taken = parse(&files).and_then(|documents| grantmesh_shared::wire::policy::compile(&documents));
        assert!(taken.is_err(), "{from} -> {to}");
    }
}

/// Notes which fields of the schema's types a value has, under `TYPE.FIELD`.
fn note(schema: &Value, named: &str, value: &Value, seen: &mut BTreeSet<String>) {
    let fields = schema["definitions"][named]["properties"].as_object().unwrap();
    for (name, field) in fields.iter().filter(|(name, _)| !value[name.as_str()].is_null()) {
        seen.insert(format!("{named}.{name}"));
        let below = [field, &field["items"]].into_iter().chain(field["anyOf"].as_array().into_iter().flatten());
        let below = below.filter_map(|schema| schema["$ref"].as_str()?.strip_prefix("#/definitions/"));
        for named in below {
            let values = value[name.as_str()].as_array().cloned().unwrap_or_else(|| vec![value[name.as_str()].clone()]);
            values.iter().for_each(|value| note(schema, named, value, seen));
        }
    }
}

#[test]
fn every_field_has_an_example() {
    let (schema, mut seen) = (schema(), BTreeSet::new());
    for document in [PAYMENTS, AGENTS].iter().flat_map(|text| documents(text)) {
        let named = format!("{}Spec", document["kind"].as_str().unwrap());
        note(&schema, &named, &document["spec"], &mut seen);
        note(&schema, "Metadata", &document["metadata"], &mut seen);
    }
    let all = schema["definitions"].as_object().unwrap().iter().flat_map(|(named, of)| {
        of["properties"].as_object().into_iter().flatten().map(move |(field, _)| format!("{named}.{field}"))
    });
    let missing: Vec<String> = all.filter(|field| !seen.contains(field)).collect();
    assert_eq!(missing, Vec::<String>::new(), "in no policy of shared/policies");
}
