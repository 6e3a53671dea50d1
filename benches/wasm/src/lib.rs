//! What one decision costs in V8, as in Envoy: whole decisions, from the bytes of a call to its permit. Built by `cargo dev
//! bench wasm`, which runs it in Node. It carries the policy's compiler to make its table; deciding never enters that.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up ends, and prints what it measured"
)]

mod pages;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use grantmesh_shared::engine::{
    Call, Context, Decision, FactValue, Grant, GrantHolder, Now, Principal, Table, User, decide,
};
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};

const ISSUER: &str = "https://id.example.com";

/// A Tuesday at noon in Berlin.
const NOON: i64 = 1_772_535_600_000;

/// The grants in the table.
const GRANTS: u64 = 10_000;

/// So many decisions are one measurement, of which the middle one counts.
const ROUND: u32 = 20_000;
const ROUNDS: usize = 41;

const POLICY: &str = r#"
apiVersion: grantmesh.dev/v1
kind: Defaults
metadata: { name: defaults }
spec: { issuer: "https://id.example.com", claims: [{ name: level, type: number }, { name: department, type: string }] }
---
apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: shop }
spec:
  actions:
    - { name: read, method: GET, path: "/v1/accounts/{account}", resource: "account/{account}" }
    - { name: export, method: GET, path: "/v1/accounts/{account}/export", resource: "account/{account}" }
    - { name: refund, method: POST, path: "/v1/accounts/{account}/refunds", resource: "account/{account}" }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: reader }
spec: { permissions: [{ service: shop, actions: [read] }] }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: exporter }
spec: { permissions: [{ service: shop, actions: [export] }] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: support-reads }
spec: { role: reader, subjects: ["group:support"], condition: 'request.path.startsWith("/v1/accounts/")' }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: office-exports }
spec:
  role: exporter
  subjects: ["group:support"]
  condition: >-
    request.time.getHours("Europe/Berlin") >= 8 && request.time.getHours("Europe/Berlin") < 18
    && cidr("10.0.0.0/8").containsIP(source.address) && principal.claims.level >= 3 && principal.claims.department == "sales"
"#;

fn table() -> Table {
    let documents =
        parse(&[PolicyFile { name: "policy.yaml".to_owned(), text: POLICY.to_owned() }]).expect("it is read");
    let mut table = compile(&documents).expect("it compiles").table().expect("it is understood");
    for number in 0..GRANTS {
        table.put_grant(Grant {
            id: GrantId::new(number, [0; 10]),
            request: RequestId::new(number, [0; 10]),
            holder: GrantHolder::User(User { issuer: ISSUER.into(), subject: format!("user-{number}").into() }),
            service: "shop".into(),
            action: "refund".into(),
            resource: format!("account/acc-{number}").into(),
            rule: "refunds".into(),
            starts_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(NOON * 2),
            conditions: Vec::new(),
            bound: None,
            reveals: Vec::new(),
            uses: None,
            break_glass: false,
        });
    }
    table
}

/// Decides a call that is allowed; anything else would measure something else.
fn allow(table: &Table, (method, path): (&str, &str), subject: &str, context: &Context<'_>) {
    let principal = Principal::user(ISSUER, subject, &["everyone", "support"]);
    let call = Call::new("shop", method.as_bytes(), path.as_bytes(), principal).expect("a call");
    let decision = decide(black_box(table), &call, context, Now::exactly(Timestamp::from_millis(NOON)));
    assert!(matches!(decision, Decision::Allow(_)), "{method} {path} is not allowed");
}

#[cfg(target_family = "wasm")]
#[link(wasm_import_module = "wasi_snapshot_preview1")]
#[expect(unsafe_code, reason = "a function of the host")]
unsafe extern "C" {
    fn clock_time_get(clock: i32, precision: i64, time: *mut u64) -> i32;
}

/// What this thread has had of a processor so far: whatever else the machine does is not in it.
#[cfg(target_family = "wasm")]
fn cpu_nanos() -> u64 {
    const OF_THE_THREAD: i32 = 3;
    let mut nanos = 0;
    // SAFETY: the host writes a number of 64 bits, for which there is room.
    #[expect(unsafe_code, reason = "the standard library has no such clock")]
    let status = unsafe { clock_time_get(OF_THE_THREAD, 1, &raw mut nanos) };
    assert_eq!(status, 0, "the host has no clock of its threads");
    nanos
}

/// Only built so that it is checked.
#[cfg(not(target_family = "wasm"))]
const fn cpu_nanos() -> u64 {
    0
}

/// The middle of many rounds, in nanoseconds a decision. The first rounds let V8 optimise, and are not counted.
fn measure(name: &str, mut decision: impl FnMut(u32)) {
    let mut rounds: Vec<u64> = (0..ROUNDS + 5)
        .map(|_| {
            let begun = cpu_nanos();
            (0..ROUND).for_each(&mut decision);
            cpu_nanos() - begun
        })
        .skip(5)
        .collect();
    rounds.sort();
    let at = |place: usize| rounds.get(place).copied().unwrap_or_default() / u64::from(ROUND);
    println!("{name:<44} {:>6} ns   ({} to {})", at(ROUNDS / 2), at(ROUNDS / 10), at(ROUNDS - 1 - ROUNDS / 10));
}

/// Measures decisions and prints it; called once by whoever loaded the module.
#[expect(unsafe_code, reason = "an export has a name that nothing checks")]
#[unsafe(no_mangle)]
pub extern "C" fn run() {
    let table = table();
    measure("role, condition on the path", |_| {
        allow(&table, ("GET", "/v1/accounts/acc-7"), "someone", &Context::EMPTY);
    });
    let claims =
        [("department", FactValue::Text("sales")), ("level", FactValue::Number("4".parse().expect("a number")))];
    let address = Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)));
    let context = Context { claims: &claims, address, ..Context::EMPTY };
    measure("role, condition on time, address and claims", |_| {
        allow(&table, ("GET", "/v1/accounts/acc-7/export"), "someone", &context);
    });
    let holders: Vec<(String, String)> =
        (0..GRANTS).map(|number| (format!("user-{number}"), format!("/v1/accounts/acc-{number}/refunds"))).collect();
    measure("grant, one of 10^4, always the same", |_| {
        allow(&table, ("POST", "/v1/accounts/acc-7/refunds"), "user-7", &Context::EMPTY);
    });
    measure("grant, one of 10^4, another one each time", |step| {
        let place = usize::try_from(step).unwrap_or(0).wrapping_mul(7_919) % holders.len();
        let (subject, path) = holders.get(place).expect("a holder");
        allow(&table, ("POST", path), subject, &Context::EMPTY);
    });
}

/// Measures what pages of a snapshot take, and prints it.
#[expect(unsafe_code, reason = "an export has a name that nothing checks")]
#[unsafe(no_mangle)]
pub extern "C" fn run_pages() {
    pages::run();
}
