//! How often deciding allocates where a call is allowed: only for what the call itself needs, whatever the table holds.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]
#![expect(unsafe_code, reason = "an allocator that counts is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use grantmesh_shared::engine::{
    Basis, Call, Context, Decision, Grant, GrantHolder, Now, Principal, Table, User, decide, prepare,
};
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is the system's allocator's; counting touches nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ISSUER: &str = "https://id.example";
const NOW: Now = Now::exactly(Timestamp::from_millis(500));

fn table(actions: usize, bindings: usize, grants: u64) -> Table {
    use std::fmt::Write as _;
    let head = "apiVersion: grantmesh.dev/v1\n";
    let mut text = format!("{head}kind: Defaults\nmetadata: {{ name: defaults }}\nspec: {{ issuer: {ISSUER} }}\n---\n");
    write!(text, "{head}kind: Service\nmetadata: {{ name: svc }}\nspec:\n  actions:\n").unwrap();
    for at in 0..actions {
        writeln!(text, "    - {{ name: a{at}, method: GET, path: \"/a{at}/{{id}}\", resource: \"a/{{id}}\" }}")
            .unwrap();
        writeln!(text, "    - {{ name: b{at}, method: POST, path: \"/a{at}/{{id}}\", resource: \"a/{{id}}\" }}")
            .unwrap();
    }
    write!(text, "---\n{head}kind: Role\nmetadata: {{ name: reader }}\nspec: {{ permissions: [{{ service: svc, actions: [a0] }}] }}\n").unwrap();
    for at in 0..bindings {
        let condition = "request.method == \\\"GET\\\" && request.time.getHours() < 24";
        let group = format!("[\"group:g{at}\"]");
        write!(text, "---\n{head}kind: Binding\nmetadata: {{ name: binding-{at} }}\nspec: {{ role: reader, subjects: {group}, condition: \"{condition}\" }}\n").unwrap();
    }
    write!(text, "---\n{head}kind: DenyRule\nmetadata: {{ name: never }}\nspec: {{ service: svc, actions: [\"*\"], condition: \"request.method == \\\"PUT\\\"\", reason: no }}\n").unwrap();
    let files = [PolicyFile { name: "policy.yaml".to_owned(), text }];
    let mut table = compile(&parse(&files).unwrap()).unwrap().table().unwrap();
    for number in 0..grants {
        table.put_grant(Grant {
            id: GrantId::new(number, [0; 10]),
            request: RequestId::new(0, [0; 10]),
            holder: GrantHolder::User(User { issuer: ISSUER.into(), subject: "ann".into() }),
            service: "svc".into(),
            action: "b0".into(),
            resource: format!("a/{number}").into(),
            rule: "rule".into(),
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

/// Allocations of finding and deciding one call, which must be allowed.
fn counted(table: &Table, method: &str, by_role: bool) -> (usize, usize) {
    let principal = Principal::user(ISSUER, "ann", &["others", "g1"]);
    let before = COUNT.with(Cell::get);
    let call = Call::new("svc", method.as_bytes(), b"/a0/7", principal).unwrap();
    let prepared = prepare(table, &call);
    let found = COUNT.with(Cell::get) - before;
    let decision = decide(table, &call, &Context::EMPTY, NOW);
    let after = COUNT.with(Cell::get) - before - found;
    assert!(prepared.criticality().is_some());
    let Decision::Allow(permit) = decision else { unreachable!("{decision:?}") };
    assert_eq!(matches!(permit.basis(), Basis::Role(_)), by_role);
    (found, after)
}

#[test]
fn an_allowed_call_allocates_for_its_resource_alone() {
    let small = table(10, 10, 10);
    let large = table(200, 400, 20_000);
    for (method, by_role) in [("GET", true), ("POST", false)] {
        // Finding the action takes none; deciding takes two: the values of the path's parameters, and the resource.
        assert_eq!(counted(&small, method, by_role), (0, 2), "{method}");
        assert_eq!(counted(&large, method, by_role), (0, 2), "{method}");
    }
}
