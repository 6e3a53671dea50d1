//! What a policy of 10^4 documents costs to read, to compile, and to check with all its warnings:
//! `cargo bench --package grantmesh-benches --bench compile`. Once over fifty services, as a platform has them, and once over a
//! single one of 2,000 actions, where every overlap and every `["*"]` (of which there are fewer) meets all the others.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up ends")]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use grantmesh_shared::wire::policy::{PolicyFile, compile, examine, parse};

const DOCUMENTS: usize = 10_000;

/// Conditions as people write them: the time of day somewhere, an address, claims, a pattern, a signal, a ticket.
const CONDITIONS: [&str; 8] = [
    "",
    "request.time.getHours(\"Europe/Berlin\") >= 8 && request.time.getHours(\"Europe/Berlin\") < 18 && request.time.getDayOfWeek(\"Europe/Berlin\") in [1, 2, 3, 4, 5]",
    "cidr(\"10.0.0.0/8\").containsIP(source.address) || cidr(\"192.168.0.0/16\").containsIP(source.address) && principal.claims.level >= 2",
    "principal.claims.department == \"oncall\" || \"eu\" in principal.claims.regions && source.country in [\"DE\", \"FR\", \"NL\"]",
    "!signals[\"incident.open\"] || principal.claims.level >= 3 && request.time - principal.auth_time < duration(\"15m\")",
    "request.headers[\"x-ticket\"].matches(\"(INC|CHG)-[0-9]{4,8}\") && request.params.id != \"root\"",
    "request.path.startsWith(\"/v1/\") && request.host.glob(\"*.example.com\") && has(principal.actor) && principal.actor == \"assistant\"",
    "principal.groups.exists(g, g.startsWith(\"team-\") && g.endsWith(\"-leads\")) && size(principal.groups) < 50",
];

/// Conditions on asking name no call.
const ASKING: [&str; 4] = [
    "",
    "!signals[\"freeze.active\"] && resource != \"thing/root\"",
    "principal.claims.level >= 2 && request.time.getHours(\"America/New_York\") >= 7",
    "principal.groups.exists(g, g.endsWith(\"-oncall\")) || \"sre\" in principal.groups",
];

fn stated(field: &str, condition: &str) -> String {
    if condition.is_empty() { String::new() } else { format!("  {field}: '{condition}'\n") }
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: grantmesh.dev/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec:\n{spec}")
}

fn service(at: usize, actions: usize) -> String {
    let mut spec = format!("  hosts: [s{at}.example.com]\n  headers: [x-ticket]\n  actions:\n");
    for action in 0..actions {
        // Literals beside parameters, so that narrower paths win, and several methods at one path.
        let (method, path) = match action % 5 {
            0 => ("GET", format!("/v1/part-{}/{{id}}", action / 5)),
            1 => ("PUT", format!("/v1/part-{}/{{id}}", action / 5)),
            2 => ("GET", format!("/v1/part-{}/{{id}}/items", action / 5)),
            3 => ("POST", format!("/v1/part-{}/{{id}}/items", action / 5)),
            _ => ("POST", format!("/v1/part-{}/{{id}}/{{verb}}", action / 5)),
        };
        let body =
            if action % 7 == 3 { ", body: strict, fields: [{ name: amount, in: request, type: number }]" } else { "" };
        writeln!(
            spec,
            "    - {{ name: a{action}, method: {method}, path: \"{path}\", resource: \"thing/{{id}}\"{body} }}"
        )
        .expect("a text");
    }
    document("Service", &format!("s{at}"), &spec)
}

/// The documents: some services, a twentieth roles, a tenth deny rules, the rest half bindings and half rules.
fn documents(services: usize, actions: usize) -> Vec<String> {
    let mut all = vec![document(
        "Defaults",
        "defaults",
        "  issuer: https://id.example.com\n  claims: [{ name: level, type: number }, { name: department, type: string }, { name: regions, type: list }]\n  signals: [{ name: incident.open, setters: [\"group:sre\"] }, { name: freeze.active, setters: [\"group:sre\"] }]\n",
    )];
    all.extend((0..services).map(|at| service(at, actions)));
    let named = |at: usize, count: usize| -> String {
        (0..count).map(|step| format!("a{}", (at * 7 + step * 5) % actions)).collect::<Vec<_>>().join(", ")
    };
    // A role or deny rule about everything counts as one about each action: over many actions there are fewer of them.
    let (all_roles, all_denials) = if actions > 100 { (200, 200) } else { (10, 3) };
    let roles = DOCUMENTS / 20;
    for at in 0..roles {
        let service = at % services;
        let actions = if at % all_roles == 0 { "\"*\"".to_owned() } else { named(at, 6) };
        let inherits = if at % 4 == 3 { format!("  inherits: [r{}]\n", at - 1) } else { String::new() };
        let spec = format!("{inherits}  permissions: [{{ service: s{service}, actions: [{actions}] }}]\n");
        all.push(document("Role", &format!("r{at}"), &spec));
    }
    for at in 0..DOCUMENTS / 10 {
        let actions = if at % all_denials == 0 { "\"*\"".to_owned() } else { named(at, 3) };
        let condition = CONDITIONS.get(1 + at % 4).copied().unwrap_or_default();
        let spec = format!(
            "  service: s{}\n  actions: [{actions}]\n  subjects: [\"group:team-{}\"]\n{}  reason: not here\n",
            at % services,
            at % 97,
            stated("condition", condition)
        );
        all.push(document("DenyRule", &format!("d{at}"), &spec));
    }
    for at in 0..DOCUMENTS - all.len() {
        if at % 2 == 0 {
            let spec = format!(
                "  role: r{}\n  subjects: [\"group:team-{}\", \"user:person-{at}\", \"group:all + workload:spiffe://mesh/ns/n{}/sa/agent\"]\n{}",
                at % roles,
                at % 311,
                at % 13,
                stated("condition", CONDITIONS.get(at / 2 % 8).copied().unwrap_or_default())
            );
            all.push(document("Binding", &format!("b{at}"), &spec));
        } else {
            let spec = format!(
                "  service: s{}\n  actions: [{}]\n  eligible: [\"group:team-{}\"]\n  reviewers: [\"group:leads-{}\", \"user:lead-{}\"]\n  maxDuration: 4h\n  defaultDuration: 30m\n{}{}",
                at % services,
                named(at, 4),
                at % 211,
                at % 17,
                at % 29,
                stated("condition", ASKING.get(at / 2 % 4).copied().unwrap_or_default()),
                stated("grantCondition", CONDITIONS.get(at / 2 % 8).copied().unwrap_or_default())
            );
            all.push(document("Rule", &format!("q{at}"), &spec));
        }
    }
    assert_eq!(all.len(), DOCUMENTS);
    all
}

/// A hundred documents a file.
fn files(documents: &[String]) -> Vec<PolicyFile> {
    let file = |(at, part): (usize, &[String])| PolicyFile { name: format!("{at}.yaml"), text: part.join("---\n") };
    documents.chunks(100).enumerate().map(file).collect()
}

fn policies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy of 10^4 documents");
    group.sample_size(10);
    for (name, services, actions) in [("50 services", 50, 40), ("one service", 1, 2_000)] {
        let files = files(&documents(services, actions));
        let parsed = parse(&files).expect("they are read");
        if let Err(faults) = compile(&parsed) {
            assert!(
                faults.is_empty(),
                "{}",
                faults.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("\n")
            );
        }
        group.bench_function(format!("{name}: read"), |bencher| bencher.iter(|| parse(black_box(&files)).is_ok()));
        group.bench_function(format!("{name}: read and compile"), |bencher| {
            bencher.iter(|| parse(black_box(&files)).and_then(|documents| compile(&documents)).is_ok());
        });
        group.bench_function(format!("{name}: read and check"), |bencher| {
            bencher.iter(|| parse(black_box(&files)).map(|documents| examine(&documents).warnings.len()));
        });
    }
    group.finish();
}

criterion_group!(compile_policies, policies);
criterion_main!(compile_policies);
