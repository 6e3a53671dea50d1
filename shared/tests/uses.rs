//! Grants for a number of uses: which one allows a call, what a claim changes, and what is revealed beside a role.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use grantmesh_shared::engine::{
    Basis, Call, Claims, Context, Decision, Grant, GrantHolder, HeldGrant, Now, Principal, Table, User, Uses, prepare,
};
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};
use grantmesh_shared::wire::table::Body;

const POLICY: &str = r#"
apiVersion: grantmesh.dev/v1
kind: Defaults
metadata: { name: defaults }
spec: { issuer: "https://id.example" }
---
apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: shop }
spec:
  actions:
    - { name: order.pay, method: POST, path: "/orders/{order}/pay", resource: "order/{order}" }
    - name: order.read
      method: GET
      path: /orders/{order}
      resource: order/{order}
      fields: [{ name: card, in: response, pointer: /card, mask: true }, { name: email, in: response, pointer: /email, mask: true }]
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: { name: reader }
spec: { permissions: [{ service: shop, actions: [order.read] }] }
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: { name: readers }
spec: { role: reader, subjects: ["group:readers"] }
---
apiVersion: grantmesh.dev/v1
kind: Rule
metadata: { name: pay }
spec: { service: shop, actions: [order.pay], eligible: ["group:readers"], reviewers: ["group:leads"], maxDuration: 1h, maxUses: 3 }
"#;

const UNLIMITED: Option<Uses> = None;
const SOME_LEFT: Option<Uses> = Some(Uses { allowed: 2, exhausted: false });
const NONE_LEFT: Option<Uses> = Some(Uses { allowed: 2, exhausted: true });

fn id(number: u64) -> GrantId {
    GrantId::new(number, [0; 10])
}

fn grant(number: u64, action: &str, uses: Option<Uses>, reveals: &[&str]) -> Grant {
    Grant {
        id: id(number),
        request: RequestId::new(0, [0; 10]),
        holder: GrantHolder::User(User { issuer: "https://id.example".into(), subject: "ann".into() }),
        service: "shop".into(),
        action: action.into(),
        resource: "order/1".into(),
        rule: "pay".into(),
        starts_at: Timestamp::from_millis(0),
        expires_at: Timestamp::from_millis(1_000),
        conditions: Vec::new(),
        bound: None,
        reveals: reveals.iter().map(|name| (*name).into()).collect(),
        uses,
        break_glass: false,
    }
}

fn table(grants: Vec<Grant>) -> Table {
    let files = [PolicyFile { name: "p.yaml".to_owned(), text: POLICY.to_owned() }];
    let mut table = Table::default();
    for service in compile(&parse(&files).unwrap()).unwrap().services {
        Body::Service(service).into_item().unwrap().parse().unwrap().put_into(&mut table);
    }
    grants.into_iter().for_each(|grant| table.put_grant(grant));
    table
}

/// What allows, what is to be claimed and what is masked; or the codes of the reasons.
fn said(table: &Table, (method, path): (&str, &str), claims: Claims<'_>) -> String {
    let groups = ["readers"];
    let principal = Principal::user("https://id.example", "ann", &groups);
    let call = Call::new("shop", method.as_bytes(), path.as_bytes(), principal).unwrap();
    let now = Now::exactly(Timestamp::from_millis(500));
    match prepare(table, &call).with(claims).decide(&Context::EMPTY, now) {
        Decision::Allow(permit) => {
            let number = |grant: HeldGrant<'_>| (1..9).find(|number| grant.is(&id(*number))).unwrap();
            let basis = match permit.basis() {
                Basis::Role(binding) => binding.name.to_string(),
                Basis::Grant(grant) => format!("grant {}", number(grant)),
                Basis::Unmatched => "nothing".to_owned(),
            };
            let claim = permit.claim().map(|grant| format!(" claims {}", number(grant))).unwrap_or_default();
            let masked: Vec<&str> = permit.masked().iter().map(|field| &*field.name).collect();
            format!("{basis}{claim} masks {}", masked.join("+"))
        }
        Decision::Ask(refusal) | Decision::Deny(refusal) => {
            refusal.reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(" ")
        }
    }
}

const PAY: (&str, &str) = ("POST", "/orders/1/pay");

#[test]
fn a_use_is_claimed_only_where_nothing_else_allows() {
    let of = |uses: &[Option<Uses>]| {
        let grants = (1..).zip(uses).map(|(number, uses)| grant(number, "order.pay", *uses, &[]));
        said(&table(grants.collect()), PAY, Claims::None)
    };
    assert_eq!(of(&[SOME_LEFT]), "grant 1 claims 1 masks ");
    assert_eq!(of(&[SOME_LEFT, UNLIMITED]), "grant 2 masks ");
    assert_eq!(of(&[NONE_LEFT, SOME_LEFT]), "grant 2 claims 2 masks ");
    assert_eq!(of(&[NONE_LEFT]), "no_role grant_exhausted may_ask");
}

#[test]
fn what_was_claimed_for_a_call_counts_for_that_call_alone() {
    let table = table(vec![grant(1, "order.pay", NONE_LEFT, &[]), grant(2, "order.pay", SOME_LEFT, &[])]);
    // The last use may have been its own: by then the table says that none is left.
    assert_eq!(said(&table, PAY, Claims::Held(&id(1))), "grant 1 claims 1 masks ");
    assert_eq!(said(&table, PAY, Claims::Held(&id(2))), "grant 2 claims 2 masks ");
    assert_eq!(said(&table, PAY, Claims::Held(&id(7))), "grant 2 claims 2 masks ");
    // The control plane knows of uses that the table does not know of yet.
    assert_eq!(said(&table, PAY, Claims::Refused(&[id(2)])), "no_role claim_refused grant_exhausted may_ask");
    assert_eq!(said(&table, PAY, Claims::Refused(&[id(7)])), "grant 2 claims 2 masks ");
    // One that is used up is named as that, whatever was claimed of another.
    let table = self::table(vec![grant(1, "order.pay", NONE_LEFT, &[])]);
    assert_eq!(said(&table, PAY, Claims::Held(&id(7))), "no_role grant_exhausted may_ask");
}

#[test]
fn revealing_beside_a_role_is_a_use_too() {
    let read = ("GET", "/orders/1");
    let of = |grants: Vec<Grant>, claims: Claims<'_>| said(&table(grants), read, claims);
    let one = |number, uses, reveals: &[&str]| grant(number, "order.read", uses, reveals);
    assert_eq!(of(vec![], Claims::None), "readers masks card+email");
    assert_eq!(of(vec![one(1, UNLIMITED, &["card"])], Claims::None), "readers masks email");
    assert_eq!(of(vec![one(1, SOME_LEFT, &["card"])], Claims::None), "readers claims 1 masks email");
    assert_eq!(of(vec![one(1, NONE_LEFT, &["card"])], Claims::None), "readers masks card+email");
    assert_eq!(of(vec![one(1, NONE_LEFT, &["card"])], Claims::Held(&id(1))), "readers claims 1 masks email");
    assert_eq!(of(vec![one(1, SOME_LEFT, &["card"])], Claims::Refused(&[id(1)])), "readers masks card+email");
    // Nothing is claimed for what is to be seen anyway, and not more than one.
    let both = vec![one(1, UNLIMITED, &["card"]), one(2, SOME_LEFT, &["card"]), one(3, SOME_LEFT, &["email"])];
    assert_eq!(of(both.clone(), Claims::None), "readers claims 3 masks ");
    let two = vec![one(2, SOME_LEFT, &["card"]), one(3, SOME_LEFT, &["email"])];
    assert_eq!(of(two.clone(), Claims::None), "readers claims 2 masks email");
    assert_eq!(of(two, Claims::Held(&id(3))), "readers claims 3 masks card");
}
