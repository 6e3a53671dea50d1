//! A control plane without its HTTP side: the use cases, a clock that is moved by hand, and the people of the scenarios.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grantmesh_control_plane::app::{App, AppError, Applied, Limits, NewPolicy, Page, Reviewed, Settings, WhichSignal};
use grantmesh_control_plane::audit::LogKey;
use grantmesh_control_plane::clock::{Clock, ManualClock};
use grantmesh_control_plane::domain::{
    Actor, AsSeen, AskTarget, Grant, NewRequest, NewReview, Over, PolicyVersion, Request, Verdict,
};
use grantmesh_shared::engine::Subject;
use grantmesh_shared::id::{PolicyId, RequestId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::policy::PolicyFile;
use grantmesh_shared::wire::signature::Sha256Hash;

use crate::db::Db;

pub(crate) const ISSUER: &str = "https://id.example";

/// One service with a rule of one approval and one of two.
pub(crate) const POLICY: &str = r#"
apiVersion: grantmesh.dev/v1
kind: Defaults
metadata: { name: defaults }
spec: { issuer: "https://id.example" }
---
apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: payments }
spec:
  actions:
    - { name: refund.create, method: POST, path: "/v1/accounts/{account}/refunds", resource: "account/{account}" }
    - { name: account.close, method: DELETE, path: "/v1/accounts/{account}", resource: "account/{account}" }
---
apiVersion: grantmesh.dev/v1
kind: Rule
metadata: { name: refunds }
spec:
  service: payments
  actions: [refund.create]
  eligible: ["group:support"]
  reviewers: ["group:leads"]
  maxDuration: 1h
  defaultDuration: 15m
  requestTimeout: 8h
---
apiVersion: grantmesh.dev/v1
kind: Rule
metadata: { name: closing }
spec:
  service: payments
  actions: [account.close]
  eligible: ["group:support"]
  reviewers: ["group:leads"]
  approvals: 2
  maxDuration: 1h
  requestTimeout: 8h
"#;

/// A second service, to see that the first one is left alone.
pub(crate) const LEDGER: &str = r#"
apiVersion: grantmesh.dev/v1
kind: Service
metadata: { name: ledger }
spec:
  actions:
    - { name: entry.read, method: GET, path: "/v1/entries/{entry}", resource: "entry/{entry}" }
"#;

pub(crate) fn someone(name: &str, groups: &[&str]) -> Actor {
    Actor::new(ISSUER, name, groups.iter().map(|group| (*group).to_owned()).collect())
}

/// May ask.
pub(crate) fn ann() -> Actor {
    someone("ann", &["support"])
}

/// May review.
pub(crate) fn lee() -> Actor {
    someone("lee", &["leads"])
}

/// May review too.
pub(crate) fn mia() -> Actor {
    someone("mia", &["leads"])
}

/// May ask and review.
pub(crate) fn bob() -> Actor {
    someone("bob", &["support", "leads"])
}

/// Operates.
pub(crate) fn olga() -> Actor {
    someone("olga", &["operators"])
}

/// Audits.
pub(crate) fn aud() -> Actor {
    someone("aud", &["auditors"])
}

/// Is nobody in particular.
pub(crate) fn eve() -> Actor {
    someone("eve", &["guests"])
}

pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) db: Db,
    /// How many refunds were asked for: each is for another account, since the same is asked once.
    asked: AtomicU64,
}

impl World {
    /// With the policy of the scenarios.
    pub(crate) async fn new(db: Db) -> Self {
        let world = Self::bare(db, Limits::default()).await;
        world.apply(&[POLICY], None).await.unwrap();
        world
    }

    /// Without a policy.
    pub(crate) async fn bare(db: Db, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z".parse().unwrap()));
        let app = open(&db, Arc::<ManualClock>::clone(&clock), limits).await;
        Self { app, clock, db, asked: AtomicU64::new(42) }
    }

    /// Another process with the same database and clock.
    pub(crate) async fn another(&self) -> App {
        open(&self.db, Arc::<ManualClock>::clone(&self.clock), *self.limits()).await
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.app.settings().limits
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance(&self, span: &str) {
        self.clock.advance(span.parse().unwrap());
    }

    pub(crate) async fn apply(&self, texts: &[&str], expected: Option<PolicyId>) -> Result<PolicyVersion, AppError> {
        let over = expected.map_or(Over::Anything, Over::Version);
        Ok(self.apply_over(texts, over).await?.policy)
    }

    pub(crate) async fn apply_over(&self, texts: &[&str], over: Over) -> Result<Applied, AppError> {
        let new = NewPolicy { files: files(texts), message: Some("change".to_owned()), over };
        self.app.apply_policy(&olga(), new).await
    }

    /// A refund that nobody has asked for yet.
    pub(crate) fn refund(&self) -> NewRequest {
        refund(&format!("acc-{}", self.asked.fetch_add(1, Ordering::Relaxed)))
    }

    /// A refund asked for by Ann, pending; the first one is on acc-42.
    pub(crate) async fn asked(&self) -> Request {
        self.app.file_request(&ann(), self.refund()).await.unwrap().request
    }

    /// A grant of Ann's, approved by Lee.
    pub(crate) async fn granted(&self) -> Grant {
        let request = self.asked().await;
        self.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap()
    }

    pub(crate) async fn review(&self, actor: &Actor, id: &RequestId, review: NewReview) -> Result<Reviewed, AppError> {
        self::review(&self.app, actor, id, review).await
    }

    /// The log's entries from the first, read as JSON, after the whole log was found right.
    pub(crate) async fn entries(&self) -> Vec<serde_json::Value> {
        let report = self.app.verify_log().await.unwrap();
        assert_eq!(report.fault, None);
        let page = self.app.audit_entries(&aud(), 0, 1_000).await.unwrap();
        assert_eq!((page.size, report.verified), (report.size, page.entries.len() as u64));
        page.entries.iter().map(|entry| serde_json::from_str(&entry.entry).unwrap()).collect()
    }

    /// The kinds of the log's entries that name an id.
    pub(crate) async fn story_of(&self, id: &str) -> Vec<String> {
        let entries = self.entries().await.into_iter();
        let named = entries.filter(|entry| entry["ids"].as_object().unwrap().values().any(|known| known == id));
        named.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// Keys of the items that filters load, and of the tombstones.
    pub(crate) async fn keys(&self) -> (Vec<String>, Vec<String>) {
        let items = self.app.items_since(0).await.unwrap().items;
        let (live, gone): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.body.is_some());
        let keys =
            |items: Vec<grantmesh_control_plane::app::StoredItem>| items.into_iter().map(|item| item.key).collect();
        (keys(live), keys(gone))
    }
}

pub(crate) async fn open(db: &Db, clock: Arc<dyn Clock>, limits: Limits) -> App {
    let mut settings = Settings::new(db.url.clone(), LogKey::from_seed(&[7; 32]).unwrap());
    settings.operators = vec![Subject::parse("group:operators", ISSUER).unwrap()];
    settings.auditors = vec![Subject::parse("group:auditors", ISSUER).unwrap()];
    settings.clock = clock;
    settings.limits = limits;
    App::open(settings).await.unwrap()
}

pub(crate) fn files(texts: &[&str]) -> Vec<PolicyFile> {
    let file = |(place, text): (usize, &&str)| PolicyFile { name: format!("{place}.yaml"), text: (*text).to_owned() };
    texts.iter().enumerate().map(file).collect()
}

pub(crate) fn ask(action: &str, account: &str) -> NewRequest {
    let target = AskTarget::Action {
        service: "payments".to_owned(),
        action: action.to_owned(),
        resource: format!("account/{account}"),
    };
    NewRequest {
        target,
        justification: "ticket PAY-7".to_owned(),
        ticket: None,
        duration: None,
        uses: None,
        rule: None,
        call: None,
        starts_at: None,
    }
}

pub(crate) fn refund(account: &str) -> NewRequest {
    ask("refund.create", account)
}

/// Reviews a request as it is shown to the reviewer.
pub(crate) async fn review(app: &App, actor: &Actor, id: &RequestId, new: NewReview) -> Result<Reviewed, AppError> {
    let shown = app.request(actor, id).await;
    let digest = shown.map_or(new.digest, |shown| shown.ask.digest());
    app.review(actor, id, &NewReview { digest, ..new }).await
}

/// [`review`] says of what.
pub(crate) fn approval() -> NewReview {
    NewReview {
        verdict: Verdict::Approve,
        reason: None,
        duration: None,
        uses: None,
        reveals: None,
        digest: Sha256Hash([0; 32]),
        on_behalf_of: None,
    }
}

/// [`review`] says of what.
pub(crate) fn denial() -> NewReview {
    NewReview {
        verdict: Verdict::Deny,
        reason: Some("not this one".to_owned()),
        duration: None,
        uses: None,
        reveals: None,
        digest: Sha256Hash([0; 32]),
        on_behalf_of: None,
    }
}

/// A signal, however it stands.
pub(crate) const fn signal<'w>(name: &'w str, of: Option<&'w str>) -> WhichSignal<'w> {
    WhichSignal { name, of, seen: AsSeen::Whatever }
}

pub(crate) fn span(text: &str) -> Span {
    text.parse().unwrap()
}

pub(crate) fn page(limit: u32, cursor: Option<String>) -> Page {
    Page { cursor, limit: Some(limit) }
}

/// The stable word of a refusal.
#[track_caller]
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, AppError>) -> &'static str {
    result.expect_err("this must be refused").code()
}
