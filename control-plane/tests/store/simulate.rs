//! A candidate policy over the decisions that filters recorded.

use grantmesh_control_plane::app::Changed;
use grantmesh_shared::id::{DecisionId, GrantId};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event};

use crate::db::Db;
use crate::records::{Stream, deny, identity};
use crate::world::{World, aud, code, eve, files, span};

const CANDIDATE: &str = r#"
apiVersion: grantmesh.dev/v1
kind: Defaults
metadata: { name: defaults }
spec: { issuer: "https://id.example", claims: [{ name: level, type: number }] }
---
apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: payments }
spec:
  actions:
    - { name: account.read, method: GET, path: "/accounts/{account}", resource: "account/{account}" }
    - { name: refund.create, method: POST, path: "/accounts/{account}/refunds", resource: "account/{account}" }
    - { name: export, method: POST, path: /exports, resource: exports }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: reader }
spec: { permissions: [{ service: payments, actions: [account.read] }] }
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: exporter }
spec: { permissions: [{ service: payments, actions: [export] }] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: support-reads }
spec: { role: reader, subjects: ["group:support"] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: seniors-export }
spec: { role: exporter, subjects: ["group:support"], condition: principal.claims.level > 2 }
---
apiVersion: grantmesh.dev/v1
kind: Rule
metadata: { name: refunds }
spec:
  { service: payments, actions: [refund.create], eligible: ["group:support"], reviewers: ["group:leads"], approvals: 2, maxDuration: 1h }
---
apiVersion: grantmesh.dev/v1
kind: DenyRule
metadata: { name: no-bots }
spec: { service: payments, actions: [refund.create], subjects: ["workload:spiffe://mesh/ns/a/sa/bot"], reason: not for bots }
"#;

/// A recorded call of `name` of the groups.
fn call(
    decision: DecisionWord,
    method: &str,
    path: &str,
    name: &str,
    groups: Option<&[&str]>,
) -> DecisionEvent<'static> {
    let groups = groups.map(|groups| groups.iter().map(|group| (*group).to_owned().into()).collect());
    let reasons = if decision == DecisionWord::Allow { Vec::new() } else { vec!["unmatched".into()] };
    let (issuer, subject) = (Some("https://id.example".into()), Some(name.to_owned().into()));
    let (method, path) = (method.to_owned().into(), path.to_owned().into());
    DecisionEvent { decision, method, path, issuer, subject, groups, reasons, ..deny(DecisionId::new(1, [1; 10])) }
}

pub(crate) async fn recorded_decisions_are_judged_again(db: Db) {
    let world = World::new(db).await;
    let mut stream = Stream::new(7);
    let support: Option<&[&str]> = Some(&["support"]);
    let (allow, refused) = (DecisionWord::Allow, DecisionWord::Deny);
    let mut events = vec![
        call(allow, "GET", "/accounts/a", "ann", support),
        call(refused, "GET", "/accounts/a", "bob", support),
        call(refused, "GET", "/accounts/b", "bob", support),
        call(allow, "GET", "/accounts/a", "eve", Some(&[])),
        call(refused, "POST", "/accounts/a/refunds", "ann", support),
        call(refused, "POST", "/accounts/a/refunds", "ann", support),
        call(refused, "POST", "/accounts/b/refunds", "ann", support),
        call(refused, "POST", "/exports", "ann", support),
        call(allow, "GET", "/accounts/a", "old", None),
    ];
    let locked = vec!["locked".into()];
    events.push(DecisionEvent { reasons: locked, ..call(refused, "GET", "/accounts/a", "ann", support) });
    // A grant keeps its own terms, and a deny rule is above it.
    let granted = DecisionEvent {
        grant: Some(GrantId::new(1, [1; 10])),
        action: Some("refund.create".into()),
        resource: Some("account/a".into()),
        ..call(allow, "POST", "/accounts/a/refunds", "gus", Some(&[]))
    };
    let bot = Some("spiffe://mesh/ns/a/sa/bot".into());
    events.extend([granted.clone(), DecisionEvent { workload: bot, ..granted.clone() }]);
    // A call that was reset while it ran was one call; its end is no other.
    let reset = vec!["grant_ended".into()];
    let ended = Some(DecisionId::new(1, [1; 10]));
    events.push(DecisionEvent { decision: refused, reasons: reset, ended, ..granted });
    // A critical call that was let through only on paper is one call.
    let paper = DecisionEvent { id: DecisionId::new(2, [2; 10]), ..call(allow, "GET", "/accounts/a", "ann", support) };
    let replaces = DecisionEvent {
        id: DecisionId::new(3, [3; 10]),
        instead_of: Some(paper.id.clone()),
        reasons: vec!["record_unacknowledged".into()],
        ..call(refused, "GET", "/accounts/a", "ann", support)
    };
    events.extend([paper, replaces]);
    events.into_iter().for_each(|event| stream.push(Event::Decision(Box::new(event))));
    stream.push(Event::Gap { dropped: 7 });
    world.app.append_records(&identity(), &stream.batch(..)).await.unwrap();

    let candidate = || files(&[CANDIDATE]);
    let found = world.app.simulate_policy(&aud(), candidate(), span("24h")).await.unwrap();
    assert!(found.complete);
    let sums = (found.decisions, found.same, found.changed, found.not_by_policy, found.not_judged);
    assert_eq!(sums, (13, 2, 7, 2, 2), "{found:?}");
    let because: Vec<_> = found.not_judged_because.iter().map(|missing| missing.fact.as_str()).collect();
    assert_eq!(because, ["the claim level", "the groups of the caller"]);
    let told = |change: &Changed| {
        let Changed { principal, action, recorded, simulated, decisions, .. } = change;
        format!("{decisions} {principal} {action} {recorded} -> {simulated}")
    };
    let mut changes: Vec<_> = found.changes.iter().map(told).collect();
    changes.sort();
    assert_eq!(
        changes,
        [
            "1 user:eve account.read allow -> deny: no_role not_eligible",
            "1 user:gus by workload:spiffe://mesh/ns/a/sa/bot refund.create allow -> deny: deny_rule",
            "2 user:bob account.read deny -> allow: role support-reads",
            "3 user:ann refund.create deny -> ask: no_role may_ask",
        ]
    );
    assert_eq!((found.asks, found.requests, found.requests_a_day, found.unrecorded), (3, 2, Some(2.0), 7));
    let review = &found.reviews[0];
    assert_eq!((review.rule.as_str(), review.approvals, review.requests), ("refunds", 2, 2));
    assert_eq!(review.reviewers, ["group:leads"]);

    assert_eq!(code(world.app.simulate_policy(&eve(), candidate(), span("24h")).await), "not_auditor");
    assert_eq!(code(world.app.simulate_policy(&aud(), files(&["kind: x"]), span("24h")).await), "policy_invalid");
    world.advance("2h");
    let later = world.app.simulate_policy(&aud(), candidate(), span("1h")).await.unwrap();
    assert_eq!((later.decisions, later.complete), (0, true));
}
