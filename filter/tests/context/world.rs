//! A filter that follows a policy of three actions, and the calls that it decides, with metadata and headers in the proxy's own
//! encoding. One action is allowed and one is denied under the same condition; the third is critical and always allowed.

use std::collections::BTreeMap;
use std::rc::Rc;

use ed25519_dalek::{Signer as _, SigningKey};
use grantmesh_filter::clock::Mono;
use grantmesh_filter::config::Config;
use grantmesh_filter::flow::Shown;
use grantmesh_filter::headers::{Headers, serialise};
use grantmesh_filter::identity::Identity;
use grantmesh_filter::plugin::{Plugin, Turn, Verdict};
use grantmesh_filter::question::{Answer, Question, Topic};
use grantmesh_filter::waiting::{Caller, Sent, Woken};
use grantmesh_shared::id::LockId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};
use grantmesh_shared::wire::records::{RecordsAnswer, RecordsKind, RecordsRequest};
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::sync::{Change, Freshness, Position, SyncAnswer, SyncKind, SyncRequest};
use grantmesh_shared::wire::table::{Body, Item, LockItem, SignalItem};
use grantmesh_shared::wire::{PROTOCOL_VERSION, TableHash};
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde_json::{Value, json};

/// The control plane's time at the filter's time 0.
pub(crate) const EPOCH: i64 = 1_800_000_000_000;

/// The one call that there is at a time.
pub(crate) const CALLER: Caller = Caller { context: 1, root: 0, sent: Sent::HeadAlone };

/// When calls are made, by the filter's clock.
const CALLED: u64 = 1;

/// Of `opened` and `closed`: what allows the one and denies the other.
pub(crate) const NAMES: [&str; 2] = ["opens", "closes"];

/// The first of the workloads that both actions are given to, besides people in support.
pub(crate) const BOT: &str = WORKLOADS[0];

const WORKLOADS: [&str; 7] = [
    "spiffe://mesh.example/ns/agents/sa/bot",
    "spiffe://mesh.example/ns/others/sa/bot",
    "spiffe://mesh.example/ns/agents/sa/robot",
    "spiffe://other.example/ns/agents/sa/bot",
    "spiffe://mesh.example/agents/bot",
    "spiffe://mesh.example/ns/agents",
    "spiffe://mesh.example/ns/agents/more/sa/bot",
];

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// `google.protobuf.Value` as the proxy makes it of JSON: every number is a double.
fn value(json: &Value) -> prost_types::Value {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(list) => Kind::ListValue(ListValue { values: list.iter().map(value).collect() }),
        Value::Object(_) => Kind::StructValue(structure(json)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn structure(json: &Value) -> Struct {
    let fields = json.as_object().unwrap().iter().map(|(name, member)| (name.clone(), value(member)));
    Struct { fields: fields.collect() }
}

/// What `jwt_authn` leaves of a token with these claims.
fn metadata(claims: &Value) -> Vec<u8> {
    let verified = structure(&json!({ "jwt_payload": claims }));
    let other = structure(&json!({ "x": 1 }));
    let namespaces = [("envoy.filters.http.jwt_authn", verified), ("envoy.lb", other)];
    Metadata { filter_metadata: namespaces.map(|(name, fields)| (name.to_owned(), fields)).into() }.encode_to_vec()
}

/// One call.
#[derive(Clone, Default)]
pub(crate) struct Call {
    claims: Option<Value>,
    peer: Option<&'static str>,
    query: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

/// A call with Ann's token, which has these further claims.
pub(crate) fn ann(more: Value) -> Call {
    let mut claims = json!({
        "iss": "https://id.example", "sub": "ann", "aud": "desk", "exp": 1_800_003_600, "groups": ["support"],
    });
    let Value::Object(more) = more else { panic!("claims are an object") };
    claims.as_object_mut().unwrap().extend(more);
    Call { claims: Some(claims), ..Call::default() }
}

/// A call of a workload and nobody else.
pub(crate) fn workload(peer: &'static str) -> Call {
    Call { peer: Some(peer), ..Call::default() }
}

impl Call {
    pub(crate) fn from(self, peer: &'static str) -> Self {
        Self { peer: Some(peer), ..self }
    }

    pub(crate) fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What a condition comes to for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comes {
    True,
    False,
    /// It cannot be judged, for this reason.
    Errs(&'static str),
    /// The filter does not know the time exactly enough to tell.
    Unsure,
}

/// What the policy makes of a condition.
fn policy(condition: &str) -> Vec<Body> {
    let condition = serde_json::to_string(condition).unwrap();
    let [opens, closes] = NAMES;
    let workloads = WORKLOADS.map(|id| format!("\"workload:{id}\"")).join(", ");
    let text = format!(
        r#"
apiVersion: grantmesh.dev/v1
kind: Defaults
metadata: {{ name: defaults }}
spec:
  issuer: https://id.example
  claims:
    - {{ name: department, type: string }}
    - {{ name: level, type: number }}
    - {{ name: staff, type: bool }}
    - {{ name: teams, type: list }}
  signals: [{{ name: incident.open, setters: ["group:sre"] }}]
---
apiVersion: grantmesh.dev/v1
kind: Service
metadata: {{ name: desk }}
spec:
  headers: [x-ticket]
  actions:
    - {{ name: opened, method: GET, path: "/opened/{{item}}/{{part=**}}", resource: "item/{{item}}", query: [dry] }}
    - {{ name: sealed, method: GET, path: "/sealed/{{item}}/{{part=**}}", resource: "item/{{item}}", criticality: critical }}
    - {{ name: closed, method: GET, path: "/closed/{{item}}/{{part=**}}", resource: "item/{{item}}", query: [dry] }}
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: {{ name: opened }}
spec: {{ permissions: [{{ service: desk, actions: [opened] }}] }}
---
apiVersion: grantmesh.dev/v1
kind: Role
metadata: {{ name: closed }}
spec: {{ permissions: [{{ service: desk, actions: [closed, sealed] }}] }}
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: {{ name: {opens} }}
spec: {{ role: opened, subjects: ["group:support", {workloads}], condition: {condition} }}
---
apiVersion: grantmesh.dev/v1
kind: Binding
metadata: {{ name: always }}
spec: {{ role: closed, subjects: ["group:support", {workloads}] }}
---
apiVersion: grantmesh.dev/v1
kind: DenyRule
metadata: {{ name: {closes} }}
spec: {{ service: desk, actions: [closed], condition: {condition}, reason: closed for now }}
"#
    );
    let files = [PolicyFile { name: "policy.yaml".to_owned(), text }];
    let policy = parse(&files).and_then(|documents| compile(&documents)).unwrap_or_else(|faults| panic!("{faults:?}"));
    policy.services.into_iter().map(Body::Service).collect()
}

/// A filter that follows that policy.
pub(crate) struct World {
    config: Rc<Config>,
    plugin: Plugin,
    key: SigningKey,
    hashes: BTreeMap<String, TableHash>,
    revision: u64,
}

impl World {
    /// A filter whose configuration also says `more`, with the policy of a condition.
    pub(crate) fn new(condition: &str, more: &Value) -> Self {
        let key = SigningKey::from_bytes(&[1; 32]);
        let pinned: String = key.verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut config =
            json!({ "services": ["desk"], "keys": [pinned], "credential": "c", "public_url": "http://cp" });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config = Rc::new(Config::parse(config.to_string().as_bytes()).unwrap());
        let plugin = Plugin::new(&config, "n".to_owned(), [7; 32], Mono::from_millis(0));
        let mut world = Self { config, plugin, key, hashes: BTreeMap::new(), revision: 0 };
        world.put(policy(condition), 0);
        world
    }

    /// Sets the signal until a time of the control plane.
    pub(crate) fn set_signal(&mut self, until: i64, millis: u64) {
        let expires_at = Timestamp::from_millis(until);
        let signal = SignalItem { name: "incident.open".to_owned(), reason: "down".to_owned(), expires_at };
        self.put(vec![Body::Signal(signal)], millis);
    }

    /// Locks everything, until it is unlocked.
    pub(crate) fn lock(&mut self, millis: u64) {
        let id = LockId::new(1, [1; 10]);
        let reason = "moving house".to_owned();
        let lock = LockItem { id, subject: None, service: None, action: None, reason, expires_at: None };
        self.put(vec![Body::Lock(lock)], millis);
    }

    /// Tells the filter of changes, as the control plane does.
    fn put(&mut self, bodies: Vec<Body>, millis: u64) {
        let questions = self.plugin.due(Mono::from_millis(millis));
        let question = questions.into_iter().find(|question| question.topic == Topic::Sync).expect("a poll is due");
        let asked: SyncRequest = serde_json::from_slice(&question.body).unwrap();
        let puts: Vec<Item> = bodies.into_iter().map(|body| body.into_item().unwrap()).collect();
        self.hashes.extend(puts.iter().map(|item| (item.key.clone(), item.hash())));
        self.revision += 1;
        let answer = SyncAnswer {
            v: PROTOCOL_VERSION,
            kind: SyncKind::Sync,
            nonce: asked.nonce,
            position: Position { epoch: 1, revision: self.revision },
            table_hash: self.hashes.values().fold(TableHash::default(), |hash, item| hash.plus(*item)),
            server_time: Timestamp::from_millis(EPOCH + i64::try_from(millis).unwrap()),
            freshness: Freshness::default(),
            change: match self.revision {
                1 => Change::Snapshot { index: 0, last: true, puts },
                _ => Change::Delta { puts, removes: Vec::new(), index: 0, more: false, with_next: false, cut: 0 },
            },
        };
        self.answer(Topic::Sync, &answer, millis);
    }

    /// What becomes of a call of an action.
    pub(crate) fn decide(&mut self, turn: Turn, action: &str, call: &Call, millis: u64) -> Verdict {
        let path = format!("/{action}/7/a/b{}", call.query);
        let mut pairs: Vec<(&[u8], &[u8])> =
            vec![(b":method", b"GET"), (b":path", path.as_bytes()), (b":authority", b"Desk.example:443")];
        pairs.extend(call.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let map = serialise(&pairs);
        let metadata = call.claims.as_ref().map(metadata);
        let peer = call.peer.map(str::as_bytes);
        let identity = Identity::read(metadata.as_deref(), &self.config.identity_key, peer);
        let headers = Headers::parse(&map).unwrap();
        self.plugin.decide(turn, Shown::Nothing, &self.config, &headers, &identity, Mono::from_millis(millis))
    }

    /// The status that a call of an action is answered with, and the answer; 200 stands for let through.
    pub(crate) fn status(&mut self, action: &str, call: &Call, millis: u64) -> (u16, String) {
        match self.decide(Turn::Only(CALLER), action, call, millis) {
            Verdict::Pass => (200, String::new()),
            Verdict::Answer(reply) => (reply.status, String::from_utf8(reply.body).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// The calls that have waited long enough.
    pub(crate) fn woken(&mut self, millis: u64) -> Vec<Woken> {
        self.plugin.woken(Mono::from_millis(millis))
    }

    /// The records that are sent now; the answer to them is the control plane's if it keeps them.
    pub(crate) fn sent_records(&mut self, kept: bool, millis: u64) -> usize {
        let questions = self.plugin.due(Mono::from_millis(millis));
        let Some(question) = questions.into_iter().find(|question| question.topic == Topic::Records) else { return 0 };
        let batch: RecordsRequest = serde_json::from_slice(&question.body).unwrap();
        let count = batch.records.len();
        if kept {
            let next_seq = u64::try_from(count).unwrap();
            let (v, kind, nonce) = (PROTOCOL_VERSION, RecordsKind::Records, batch.nonce);
            self.answer(Topic::Records, &RecordsAnswer { v, kind, nonce, next_seq }, millis);
        }
        count
    }

    /// Gives the filter an answer, signed.
    fn answer(&mut self, topic: Topic, answer: &impl serde::Serialize, millis: u64) {
        let body = serde_json::to_vec(answer).unwrap();
        let key = KeyId::of(self.key.verifying_key().as_bytes());
        let signature = Signature { key, bytes: self.key.sign(&signed_bytes(&body)).to_bytes() }.to_string();
        let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
        self.plugin.answered(topic, &answer, Mono::from_millis(millis)).unwrap();
    }

    /// Whether the allowed action is let through and the denied one is not.
    pub(crate) fn both(&mut self, call: &Call, millis: u64) -> (bool, bool) {
        let [opened, closed] = ["opened", "closed"].map(|action| self.status(action, call, millis).0);
        (opened == 200, closed != 200)
    }

    /// Makes a call of both actions, and holds what becomes of it, its metrics and its records against what it must come to.
    #[track_caller]
    pub(crate) fn comes(mut self, call: &Call, expected: Comes) {
        let (opened, told_opened) = self.status("opened", call, CALLED);
        let (closed, told_closed) = self.status("closed", call, CALLED);
        let statuses = match expected {
            Comes::True => (200, 403),
            Comes::False => (403, 200),
            Comes::Errs(_) | Comes::Unsure => (403, 403),
        };
        assert_eq!((opened, closed), statuses, "{told_opened} {told_closed}");
        if closed == 403 {
            assert!(told_closed.contains("deny_rule") && told_closed.contains("closed for now"), "{told_closed}");
        }
        let word = match expected {
            Comes::True | Comes::False => None,
            Comes::Errs(_) => Some("condition_errs"),
            Comes::Unsure => Some("condition_unsure"),
        };
        for code in ["condition_errs", "condition_unsure"] {
            assert_eq!(told_opened.contains(code), word == Some(code), "{told_opened}");
        }
        let sums = self.plugin.counters().take();
        let counted: Vec<(String, u64)> = sums
            .into_iter()
            .map(|(metric, sum)| (self.plugin.counters().name(metric), sum))
            .filter(|(name, _)| name.starts_with("grantmesh.condition_errors"))
            .collect();
        let recorded = self.condition_errors();
        match expected {
            Comes::Errs(code) => {
                assert_eq!(counted, [(format!("grantmesh.condition_errors.error=.={code};.;total"), 2)]);
                assert_eq!(recorded, NAMES.map(|name| vec![format!("{name}: {code}")]));
            }
            Comes::True | Comes::False | Comes::Unsure => {
                assert_eq!((counted, recorded), (Vec::new(), vec![Vec::new(), Vec::new()]));
            }
        }
    }

    /// What the records of the calls so far say that could not be judged.
    fn condition_errors(&mut self) -> Vec<Vec<String>> {
        let mut questions: Vec<Question> = self.plugin.due(Mono::from_millis(2_000));
        questions.retain(|question| question.topic == Topic::Records);
        let [question] = questions.as_slice() else { panic!("no records: {questions:?}") };
        let batch: RecordsRequest = serde_json::from_slice(&question.body).unwrap();
        let record = |record: &str| -> Value { serde_json::from_str(record).unwrap() };
        let records = batch.records.iter().map(|text| record(text.get()));
        let errors = records.map(|record| match record.pointer("/event/condition_errors") {
            Some(errors) => serde_json::from_value(errors.clone()).unwrap(),
            None => Vec::new(),
        });
        errors.collect()
    }
}
