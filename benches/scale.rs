//! What one decision costs over a small table and over one a hundred times as large in every part:
//! `cargo bench --package grantmesh-benches --bench scale`. The two of a pair are to be alike; what grows with the table shows here.
//! With `-- --assert` it measures them side by side and fails if the large one costs more than a tenth more
//! (`cargo dev bench scale`).
#![expect(clippy::expect_used, reason = "a bench that cannot be set up ends")]
#![expect(clippy::print_stdout, reason = "what it measures is for the terminal")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use grantmesh_shared::engine::{
    Action, ActionSet, ActionTemplates, Audit, Binding, Call, Condition, Context, Criticality, Deciding, Decision,
    DenyRule, Grant, GrantHolder, Now, Principal, Rollout, Rule, Service, ServiceParts, Subject, Table, Unmatched,
    User, Workflow, Workload, decide,
};
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Timestamp;
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
        uses: None,
        break_glass: false,
    }
}

/// 10 actions, 10 bindings and 10 deny rules under conditions, 100 rules and 10^4 grants, so many times.
fn table(scale: usize) -> Table {
    let source = "request.method == \"GET\" && principal.user.startsWith(\"user-\")";
    let when = |source| Condition::When(compile_form(source, &Scope::default()).expect("it compiles").into());
    let condition: Condition = when(source);
    let denied: Condition = when("request.method == \"PUT\" || principal.user.endsWith(\"-9\")");
    let binding = |at: usize| Binding {
        name: format!("binding-{at}").into(),
        role: "role".into(),
        subjects: group(&format!("role-{at}")),
        actions: ActionSet::All,
        reveals: Vec::new(),
        condition: condition.clone(),
    };
    // Everyone in the calls below is in `others`, whom one of them is about.
    let denial = |at: usize| DenyRule {
        name: format!("denial-{at}").into(),
        actions: ActionSet::All,
        subjects: group(&if at == 0 { "others".to_owned() } else { format!("denied-{at}") }),
        except: group("exempt"),
        condition: denied.clone(),
        reason: "not while it is being moved".into(),
    };
    let rule = |at: usize| Rule {
        name: format!("rule-{at}").into(),
        actions: vec![format!("action-{}", at % 10).into()],
        eligible: group(&format!("asking-{at}")),
        condition: Condition::Always,
        grant_condition: Condition::Always,
        bind: None,
        reveals: Vec::new(),
        hold: None,
        workflow: Box::new(Workflow { deciding: Deciding::by(group("leads"), 1), ..Workflow::default() }),
    };
    let parts = ServiceParts {
        name: "svc".into(),
        hosts: Vec::new(),
        unmatched: Unmatched::Deny,
        rollout: Rollout::default(),
        actions: (0..10 * scale).map(action).collect(),
        bindings: (0..10 * scale).map(binding).collect(),
        rules: (0..100 * scale).map(rule).collect(),
        denials: (0..10 * scale).map(denial).collect(),
        break_glass: Vec::new(),
        owners: Vec::new(),
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

/// A call, and what becomes of it.
struct Case {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    principal: Principal<'static>,
    expected: &'static str,
}

fn cases() -> [Case; 5] {
    let user = |name, groups| Principal::user(ISSUER, name, groups);
    let batch = Principal { workload: Some("spiffe://mesh/batch"), ..Principal::default() };
    let case = |name, method, path, principal, expected| Case { name, method, path, principal, expected };
    [
        case("role", "GET", "/v1/part-0/7/read", user("user-7", &["others", "role-7"]), "allow"),
        case("grant", "POST", "/v1/part-1/7/write", user("user-7", &["others"]), "allow"),
        case("grant of many", "POST", "/v1/part-1/2000050/write", batch, "allow"),
        case("ask", "POST", "/v1/part-1/8/write", user("user-7", &["others", "asking-1"]), "ask"),
        case("deny rule", "GET", "/v1/part-0/7/read", user("user-9", &["role-7", "denied-3"]), "deny"),
    ]
}

impl Case {
    fn decide(&self, table: &Table) {
        let call = Call::new("svc", self.method.as_bytes(), self.path.as_bytes(), self.principal).expect("canonical");
        let said = match decide(black_box(table), &call, &Context::EMPTY, NOW) {
            Decision::Allow(_) => "allow",
            Decision::Ask(_) => "ask",
            Decision::Deny(_) => "deny",
        };
        assert_eq!(said, self.expected, "{}", self.name);
    }
}

fn decisions(criterion: &mut Criterion) {
    let mut benches = criterion.benchmark_group("scale");
    for (size, scale) in [("small", 1), ("hundredfold", 100)] {
        let table = table(scale);
        for case in cases() {
            benches.bench_function(BenchmarkId::new(case.name, size), |bencher| {
                bencher.iter(|| case.decide(&table));
            });
        }
    }
    benches.finish();
}

/// How much more a decision may cost over the large table.
const MOST: f64 = 1.1;

/// Rounds, and decisions in each. The quickest round of many is what the code costs; the others are what else ran.
const ROUNDS: (u32, u32) = (400, 500);

/// Measures both tables in turns, so that what else runs on the machine meets both.
fn ratios() {
    let (small, large) = (table(1), table(100));
    let mut over = Vec::new();
    for case in cases() {
        let round = |table: &Table| {
            let begun = Instant::now();
            (0..ROUNDS.1).for_each(|_| case.decide(table));
            begun.elapsed() / ROUNDS.1
        };
        let mut least = [Duration::MAX; 2];
        for _ in 0..ROUNDS.0 {
            for (least, table) in least.iter_mut().zip([&small, &large]) {
                *least = round(table).min(*least);
            }
        }
        let [few, many] = least;
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        println!("{:<14} {:>5} ns  {:>5} ns  {ratio:.2}", case.name, few.as_nanos(), many.as_nanos());
        if ratio > MOST {
            over.push(case.name);
        }
    }
    assert!(
        over.is_empty(),
        "over a table a hundred times as large these cost more than {MOST} times as much: {over:?}"
    );
}

fn main() {
    if std::env::args().any(|argument| argument == "--assert") {
        return ratios();
    }
    let mut criterion = Criterion::default().configure_from_args();
    decisions(&mut criterion);
    criterion.final_summary();
}
