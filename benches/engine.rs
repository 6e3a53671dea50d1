//! What one decision costs, from 10^2 to 10^6 grants: `cargo bench --package grantmesh-benches --bench engine`.
//! `hot` decides one call again and again; `cold` walks through the holders, so that it also pays for memory that no cache holds.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up ends")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use grantmesh_shared::engine::{Call, Context, Decision, Grant, GrantHolder, Now, Principal, Table, User, decide};
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};

const ISSUER: &str = "https://dev-issuer.grantmesh.invalid";
const SIZES: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
const NOW: Now = Now::exactly(Timestamp::from_millis(500));

fn table(grants: u64) -> Table {
    let text = include_str!("../shared/policies/payments/policy.yaml").to_owned();
    let documents = parse(&[PolicyFile { name: "policy.yaml".to_owned(), text }]).expect("the example policy is read");
    let policy = compile(&documents).expect("the example policy compiles");
    let mut table = policy.table().expect("the example policy is understood");
    for number in 0..grants {
        let random = u128::from(number).to_be_bytes();
        let mut id = [0; 10];
        id.iter_mut().zip(random.iter().skip(6)).for_each(|(into, from)| *into = *from);
        table.put_grant(Grant {
            id: GrantId::new(0, id),
            request: RequestId::new(0, id),
            holder: GrantHolder::User(User { issuer: ISSUER.into(), subject: format!("user-{number}").into() }),
            service: "payments".into(),
            action: "refund.create".into(),
            resource: format!("account/acc-{number}").into(),
            rule: "refund-by-support".into(),
            starts_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(1_000),
            conditions: Vec::new(),
            bound: None,
            reveals: Vec::new(),
            uses: None,
            break_glass: false,
        });
    }
    table
}

/// Decides the call of one holder on its own resource; panics if it is not allowed, so that nothing else is measured.
fn allow(table: &Table, subject: &str, path: &str) {
    let principal = Principal::user(ISSUER, subject, &["support", "everyone"]);
    let call = Call::new("payments", b"POST", path.as_bytes(), principal).expect("the path is canonical");
    assert!(matches!(decide(black_box(table), &call, &Context::EMPTY, NOW), Decision::Allow(_)));
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for size in SIZES {
        let table = table(size);
        group.bench_function(BenchmarkId::new("grant/hot", size), |bencher| {
            bencher.iter(|| allow(&table, "user-7", "/v1/accounts/acc-7/refunds"));
        });
        let callers: Vec<(String, String)> = (0..10_000_u64)
            .map(|step| step.wrapping_mul(2_654_435_761).checked_rem(size).unwrap_or(0))
            .map(|number| (format!("user-{number}"), format!("/v1/accounts/acc-{number}/refunds")))
            .collect();
        let mut next = callers.iter().cycle();
        group.bench_function(BenchmarkId::new("grant/cold", size), |bencher| {
            bencher.iter(|| next.next().into_iter().for_each(|(subject, path)| allow(&table, subject, path)));
        });
        group.bench_function(BenchmarkId::new("role/hot", size), |bencher| {
            bencher.iter(|| {
                let principal = Principal::user(ISSUER, "someone", &["everyone", "support"]);
                let call =
                    Call::new("payments", b"GET", b"/v1/accounts/acc-7", principal).expect("the path is canonical");
                assert!(matches!(decide(black_box(&table), &call, &Context::EMPTY, NOW), Decision::Allow(_)));
            });
        });
    }
    group.finish();
}

criterion_group!(engine, decisions);
criterion_main!(engine);
