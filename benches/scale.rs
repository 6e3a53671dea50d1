//! What one decision costs over a small table and over one a hundred times as large in every part:
//! `cargo bench --package grantmesh-benches --bench scale`. The two of a pair are to be alike; what grows with the table shows here.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up ends")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use grantmesh_shared::engine::{
    Action, ActionSet, ActionTemplates, Audit, Binding, Call, Condition, Context, Criticality, Decision, Grant,
    GrantHolder, Now, Principal, Rollout, Rule, Service, ServiceParts, Subject, Table, Unmatched, User, Workload,
    decide,
};
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::policy::{Scope, compile_form};

const ISSUER: &str = "https://id.example";
const NOW: Now = Now::exactly(Timestamp::from_millis(500));

/// Grants of one workload for one action, in the large table.
const MANY: usize = 10_000;

fn group(name: &str) -> Vec<Subject> {
    vec![Subject::Group { issuer: ISSUER.into(), name: name.into() }]
}

fn action(at: usize) -> Action {
    let (method, path) = if at.is_multiple_of(2) { ("GET", "read") } else { ("POST", "write") };
    Action {
        name: format!("action-{at}").into(),
        method: method.into(),
        templates: ActionTemplates::parse(&format!("/v1/part-{at}/{{id}}/{path}"), Some("thing/{id}"))
            .expect("a template"),
        selectors: Vec::new(),
        criticality: Criticality::Standard,
        audit: Audit::All,
        rollout: None,
        query: Vec::new(),
        body: None,
        fields: Vec::new(),
    }
}

fn grant(number: usize, holder: GrantHolder) -> Grant {
    Grant {
        id: GrantId::new(number as u64, [0; 10]),
        request: RequestId::new(0, [0; 10]),
        holder,
        service: "svc".into(),
        action: "action-1".into(),
        resource: format!("thing/{number}").into(),
        rule: "rule-0".into(),
        starts_at: Timestamp::from_millis(0),
        expires_at: Timestamp::from_millis(1_000),
        conditions: Vec::new(),
        bound: None,
        reveals: Vec::new(),
    }
}

/// 10 actions, 10 bindings, 100 rules and 10^4 grants, so many times.
fn table(scale: usize) -> Table {
    let source = "request.method == \"GET\" && principal.user.startsWith(\"user-\")";
    let condition: Condition = Condition::When(compile_form(source, &Scope::default()).expect("it compiles").into());
    let binding = |at: usize| Binding {
        name: format!("binding-{at}").into(),
        role: "role".into(),
        subjects: group(&format!("role-{at}")),
        actions: ActionSet::All,
        reveals: Vec::new(),
        condition: condition.clone(),
    };
    let rule = |at: usize| Rule {
        name: format!("rule-{at}").into(),
        actions: vec![format!("action-{}", at % 10).into()],
        eligible: group(&format!("asking-{at}")),
        reviewers: group("leads"),
        approvals: 1,
        max_duration: Span::from_secs(1),
        default_duration: Span::from_secs(1),
        request_timeout: Span::from_secs(1),
        condition: Condition::Always,
        grant_condition: Condition::Always,
        bind: None,
        reveals: Vec::new(),
    };
    let parts = ServiceParts {
        name: "svc".into(),
        hosts: Vec::new(),
        unmatched: Unmatched::Deny,
        rollout: Rollout::default(),
        actions: (0..10 * scale).map(action).collect(),
        bindings: (0..10 * scale).map(binding).collect(),
        rules: (0..100 * scale).map(rule).collect(),
        denials: Vec::new(),
    };
    let mut table = Table::default();
    table.put_service(Service::new(parts).expect("a service"));
    for number in 0..10_000 * scale {
        let user = User { issuer: ISSUER.into(), subject: format!("user-{number}").into() };
        table.put_grant(grant(number, GrantHolder::User(user)));
    }
    let workload: Workload = "spiffe://mesh/batch".parse().expect("a workload");
    for number in 0..MANY * scale / 100 {
        table.put_grant(grant(2_000_000 + number, GrantHolder::Workload(workload.clone())));
    }
    table
}

fn decisions(criterion: &mut Criterion) {
    let mut benches = criterion.benchmark_group("scale");
    for (size, scale) in [("small", 1), ("hundredfold", 100)] {
        let table = table(scale);
        let user = |groups| Principal::user(ISSUER, "user-7", groups);
        let batch = Principal { workload: Some("spiffe://mesh/batch"), ..Principal::default() };
        let calls = [
            ("role", "GET", "/v1/part-0/7/read", user(&["others", "role-7"]), "allow"),
            ("grant", "POST", "/v1/part-1/7/write", user(&["others"]), "allow"),
            ("grant of many", "POST", "/v1/part-1/2000050/write", batch, "allow"),
            ("ask", "POST", "/v1/part-1/8/write", user(&["others", "asking-1"]), "ask"),
        ];
        for (name, method, path, principal, expected) in calls {
            benches.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let call = Call::new("svc", method.as_bytes(), path.as_bytes(), principal).expect("canonical");
                    let said = match decide(black_box(&table), &call, &Context::EMPTY, NOW) {
                        Decision::Allow(_) => "allow",
                        Decision::Ask(_) => "ask",
                        Decision::Deny(_) => "deny",
                    };
                    assert_eq!(said, expected, "{name}");
                });
            });
        }
    }
    benches.finish();
}

criterion_group!(scale, decisions);
criterion_main!(scale);
