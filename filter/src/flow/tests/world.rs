//! A filter that follows a small control plane, and the services, rules and grants that it is told of.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey};
use grantmesh_shared::id::{GrantId, RequestId, VmId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::condition::ConditionItem;
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::sync::VmIdentity;
use grantmesh_shared::wire::table::{
    ActionItem, ActionsItem, AuditItem, BindItem, BindingItem, Body, BodyWord, CriticalityWord, DenyItem, FieldItem,
    GrantItem, HolderItem, Item, ModeWord, PlaceWord, RolloutItem, RuleItem, SelectorItem, ServiceItem, SubjectItem,
    UnmatchedWord, UserItem, UsesItem,
};
use serde_json::{Value, json};

use super::super::*;
use crate::question::{Answer, Topic};
use crate::random::Random;

pub(super) const ISSUER: &str = "https://id.example";

fn group(name: &str) -> Vec<SubjectItem> {
    vec![SubjectItem::Group { issuer: ISSUER.to_owned(), name: name.to_owned() }]
}

fn action(name: &str, method: &str, path: &str, criticality: CriticalityWord, audit: AuditItem) -> ActionItem {
    let resource = "account/{account}".to_owned();
    ActionItem {
        name: name.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        selectors: Vec::new(),
        resource,
        criticality,
        audit,
        rollout: None,
        query: Vec::new(),
        body: None,
        fields: Vec::new(),
    }
}

/// `request.body.amount <= 50`, compiled.
fn small() -> ConditionItem {
    let form = json!({ "nodes": ["field_number 0", "int 0", "exact 1", "le 0 2"], "texts": ["amount"], "ints": [50] });
    ConditionItem { v: 1, source: "request.body.amount <= 50".to_owned(), form }
}

/// An action that reads a field of its body, and one that also has a masked one.
fn with_bodies() -> [ActionItem; 2] {
    let field = |name: &str, place: PlaceWord, mask: bool| FieldItem {
        name: name.to_owned(),
        place,
        pointer: format!("/{name}"),
        mask,
    };
    let plain = |name: &str, path: &str| ActionItem {
        resource: name.to_owned(),
        ..action(name, "POST", path, CriticalityWord::Standard, AuditItem::All)
    };
    [
        ActionItem {
            body: Some(BodyWord::Strict),
            fields: vec![field("amount", PlaceWord::Request, false)],
            ..plain("transfer.create", "/v1/transfers")
        },
        ActionItem {
            body: Some(BodyWord::HeadFirst),
            fields: vec![field("amount", PlaceWord::Request, false), field("iban", PlaceWord::Response, true)],
            ..plain("memo.add", "/v1/memos")
        },
    ]
}

fn binding(name: &str, subjects: Vec<SubjectItem>, actions: &[&str], condition: Option<ConditionItem>) -> BindingItem {
    BindingItem {
        name: name.to_owned(),
        role: name.to_owned(),
        subjects,
        actions: ActionsItem::Named(actions.iter().map(|name| (*name).to_owned()).collect()),
        reveals: Vec::new(),
        condition,
    }
}

/// `request.headers["x-ticket"] == "INC-1"`, compiled.
fn ticket() -> ConditionItem {
    let form = json!({ "nodes": ["header 0", "text 1", "eq 0 1"], "texts": ["x-ticket", "INC-1"] });
    ConditionItem { v: 1, source: "request.headers[\"x-ticket\"] == \"INC-1\"".to_owned(), form }
}

fn in_shadow() -> Option<RolloutItem> {
    Some(RolloutItem { mode: ModeWord::Shadow, percent: 100 })
}

/// A service in shadow that has one action which is not, told from another by the body.
fn tools() -> Body {
    let tool = |name: &str, rollout: Option<RolloutItem>| ActionItem {
        selectors: vec![SelectorItem { pointer: "/tool".to_owned(), value: name.to_owned() }],
        resource: "tools".to_owned(),
        body: Some(BodyWord::Strict),
        rollout,
        ..action(name, "POST", "/tools", CriticalityWord::Standard, AuditItem::All)
    };
    let enforced = Some(RolloutItem { mode: ModeWord::Enforce, percent: 100 });
    Body::Service(ServiceItem {
        name: "tools".to_owned(),
        hosts: vec!["tools.example".to_owned()],
        unmatched: UnmatchedWord::Deny,
        rollout: in_shadow(),
        actions: vec![tool("try", None), tool("use", enforced)],
        bindings: Vec::new(),
        rules: Vec::new(),
        break_glass: Vec::new(),
        owners: Vec::new(),
        denials: Vec::new(),
    })
}

fn service(name: &str, host: &str) -> Body {
    Body::Service(ServiceItem {
        name: name.to_owned(),
        hosts: vec![host.to_owned()],
        unmatched: UnmatchedWord::Deny,
        rollout: None,
        actions: vec![
            action(
                "refund.create",
                "POST",
                "/v1/accounts/{account}/refunds",
                CriticalityWord::Critical,
                AuditItem::All,
            ),
            action("account.read", "GET", "/v1/accounts/{account}", CriticalityWord::Low, AuditItem::Counted),
            action("account.close", "DELETE", "/v1/accounts/{account}", CriticalityWord::Standard, AuditItem::All),
            ActionItem {
                resource: "refunds".to_owned(),
                ..action("refund.rpc", "POST", "/pay.Refunds/Create", CriticalityWord::Critical, AuditItem::All)
            },
            action("account.history", "GET", "/v1/accounts/{account}/history", CriticalityWord::Low, AuditItem::All),
            action("note.add", "POST", "/v1/accounts/{account}/notes", CriticalityWord::Standard, AuditItem::All),
            ActionItem {
                fields: vec![FieldItem {
                    name: "number".to_owned(),
                    place: PlaceWord::Response,
                    pointer: "/number".to_owned(),
                    mask: true,
                }],
                ..action("card.read", "GET", "/v1/cards/{account}", CriticalityWord::Low, AuditItem::Counted)
            },
            action("vault.open", "POST", "/v1/vaults/{account}", CriticalityWord::Critical, AuditItem::Sampled(0)),
            ActionItem {
                rollout: in_shadow(),
                ..action("note.drop", "DELETE", "/v1/notes/{account}", CriticalityWord::Standard, AuditItem::All)
            },
        ]
        .into_iter()
        .chain(with_bodies())
        .collect(),
        bindings: vec![
            binding("small-ones", group("support"), &["transfer.create", "memo.add"], Some(small())),
            binding("whatever", group("leads"), &["transfer.create"], None),
            BindingItem {
                name: "support".to_owned(),
                role: "support".to_owned(),
                subjects: group("support"),
                actions: ActionsItem::Named(
                    ["account.read", "account.close", "account.history", "card.read", "vault.open"]
                        .map(str::to_owned)
                        .to_vec(),
                ),
                reveals: Vec::new(),
                condition: None,
            },
            BindingItem {
                name: "with-ticket".to_owned(),
                role: "notes".to_owned(),
                subjects: group("support"),
                actions: ActionsItem::Named(vec!["note.add".to_owned()]),
                reveals: Vec::new(),
                condition: Some(ticket()),
            },
        ],
        rules: rules(),
        break_glass: Vec::new(),
        owners: Vec::new(),
        denials: vec![DenyItem {
            name: "no-contractors".to_owned(),
            actions: ActionsItem::All,
            subjects: group("contractors"),
            except: Vec::new(),
            condition: None,
            reason: "ask an employee".to_owned(),
        }],
    })
}

/// Refunds are asked for and not waited for; notes are, and memos as what they are.
fn rules() -> Vec<RuleItem> {
    let refunds = RuleItem {
        name: "refunds".to_owned(),
        actions: vec!["refund.create".to_owned(), "refund.rpc".to_owned()],
        eligible: group("support"),
        hold: None,
        condition: None,
        grant_condition: None,
        bind: None,
        reveals: Vec::new(),
        workflow: None,
    };
    let held = |name: &str, action: &str| RuleItem {
        name: name.to_owned(),
        actions: vec![action.to_owned()],
        hold: Some(Span::from_secs(30)),
        ..refunds.clone()
    };
    let bound = BindItem { exact: true, ..BindItem::default() };
    vec![
        held("history", "account.history"),
        RuleItem { bind: Some(bound), eligible: group("clerks"), ..held("closing", "account.close") },
        RuleItem { eligible: group("clerks"), ..held("drops", "note.drop") },
        RuleItem { eligible: group("clerks"), ..held("transfers", "transfer.create") },
        refunds,
    ]
}

/// A filter and the small control plane that it follows.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) sync: Sync,
    key: SigningKey,
    random: Random,
    items: BTreeMap<String, TableHash>,
    revision: u64,
}

impl World {
    /// A filter that knows nothing yet.
    fn new(services: &[&str]) -> Self {
        let key = SigningKey::from_bytes(&[1; 32]);
        let pinned: String = key.verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let config = json!({
            "services": services, "keys": [pinned], "credential": "c", "public_url": "http://cp", "cors_preflight": true,
        });
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        let filter = VmIdentity { vm: VmId::new(0, [0; 10]), node: "n".to_owned(), services: config.services.clone() };
        let sync = Sync::new(filter, config.keys.clone());
        Self { config, sync, key, random: Random::new([3; 32]), items: BTreeMap::new(), revision: 6 }
    }

    /// Answers the filter's question of that time with changes; the control plane's time is 1,000,000 ms more.
    pub(crate) fn tell(&mut self, millis: u64, puts: &[Body], removes: &[&str]) {
        self.tell_page(millis, puts, removes, false);
    }

    /// As [`Self::tell`]; more pages may come after it.
    pub(crate) fn tell_page(&mut self, millis: u64, puts: &[Body], removes: &[&str], more: bool) {
        let asked = self.sync.due(Mono::from_millis(millis), &mut self.random);
        let asked = asked.into_iter().find(|question| question.topic == Topic::Sync).unwrap();
        let asked: Value = serde_json::from_slice(&asked.body).unwrap();
        // In the key order that `json!` below will give them.
        let item = |body: &Body| {
            let (key, body) = (body.key(), serde_json::to_value(body).unwrap());
            Item { key, body: serde_json::value::to_raw_value(&body).unwrap() }
        };
        let puts: Vec<Item> = puts.iter().map(item).collect();
        self.items.extend(puts.iter().map(|put| (put.key.clone(), put.hash())));
        self.items.retain(|key, _| !removes.contains(&key.as_str()));
        let hash = self.items.values().fold(TableHash::default(), |hash, item| hash.plus(*item));
        self.revision += 1;
        let change = match self.revision {
            7 => json!({"snapshot": {"index": 0, "last": true, "puts": puts}}),
            _ => json!({"delta": {"puts": puts, "removes": removes, "more": more}}),
        };
        let body = json!({
            "v": 1, "kind": "sync", "nonce": asked["nonce"], "position": {"epoch": 1, "revision": self.revision},
            "table_hash": hash, "server_time": 1_000_000 + millis, "change": change,
            "freshness": {"critical_ms": 5_000, "standard_ms": 30_000, "low_ms": 300_000},
        })
        .to_string()
        .into_bytes();
        let key = KeyId::of(self.key.verifying_key().as_bytes());
        let signature = Signature { key, bytes: self.key.sign(&signed_bytes(&body)).to_bytes() }.to_string();
        let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
        self.sync.answered(Topic::Sync, &answer, Mono::from_millis(millis), &mut self.random).unwrap();
    }
}

/// Ann's grant for refunds on acc-1, for three seconds from time 0.
pub(crate) fn refunds_grant() -> Body {
    let holder = UserItem { issuer: ISSUER.to_owned(), subject: "ann".to_owned() };
    Body::Grant(GrantItem {
        id: GrantId::new(1, [1; 10]),
        request: RequestId::new(1, [1; 10]),
        holder: HolderItem { user: Some(holder), workload: None },
        service: "payments".to_owned(),
        action: "refund.create".to_owned(),
        resource: "account/acc-1".to_owned(),
        rule: "refunds".to_owned(),
        starts_at: Timestamp::from_millis(1_000_000),
        expires_at: Timestamp::from_millis(1_003_000),
        conditions: Vec::new(),
        bound: None,
        reveals: Vec::new(),
        uses: None,
        break_glass: false,
    })
}

/// A filter that has its table from time 0, which is the control plane's 1,000,000 ms.
pub(crate) fn world(services: &[&str]) -> World {
    let mut world = World::new(services);
    let Body::Grant(grant) = refunds_grant() else { panic!("a grant") };
    let tried = GrantItem {
        id: GrantId::new(2, [2; 10]),
        action: "note.drop".to_owned(),
        resource: "account/acc-2".to_owned(),
        ..grant.clone()
    };
    let counted = GrantItem {
        id: GrantId::new(3, [3; 10]),
        action: "note.add".to_owned(),
        resource: "account/acc-3".to_owned(),
        uses: Some(UsesItem { allowed: 1, exhausted: false }),
        ..grant.clone()
    };
    let memo = GrantItem { action: "memo.add".to_owned(), resource: "memo.add".to_owned(), ..counted.clone() };
    let memo = GrantItem { id: GrantId::new(4, [4; 10]), ..memo };
    let card = GrantItem {
        id: GrantId::new(5, [5; 10]),
        action: "card.read".to_owned(),
        resource: "account/acc-5".to_owned(),
        reveals: vec!["number".to_owned()],
        ..counted.clone()
    };
    let grants = [grant, tried, counted, memo, card].map(Body::Grant);
    let bodies: Vec<Body> = [service("payments", "pay.example"), service("ledger", "Ledger.example"), tools()]
        .into_iter()
        .chain(grants)
        .collect();
    world.tell(0, &bodies, &[]);
    world
}
