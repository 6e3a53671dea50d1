//! A control plane in this process, with a clock that the test moves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use grantmesh_control_plane::app::{App, Settings};
use grantmesh_control_plane::audit::LogKey;
use grantmesh_control_plane::clock::{Clock as _, ManualClock};
use grantmesh_control_plane::http::{Api, router};
use grantmesh_control_plane::identity::{
    DEV_AUDIENCE, DEV_ISSUER, FilterCredentials, KeySet, KeySource, UserTokens, mint_dev_token,
};
use grantmesh_control_plane::keys::{DEV_ISSUER_KEY, DevIssuerKey, Ed25519Key};
use grantmesh_control_plane::push::Push;
use grantmesh_shared::engine::Subject;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::signature::{SIGNATURE_HEADER, Signature};
use grantmesh_shared::wire::sync::Freshness;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::described;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(crate) const POLICY: &str = include_str!("../../../shared/policies/payments/policy.yaml");
pub(crate) const ACCOUNT: &str = "account/acc-42";

/// A person with their group.
pub(crate) type Person = (&'static str, &'static str);
pub(crate) const ALICE: Person = ("alice", "support");
pub(crate) const LEA: Person = ("lea", "payments-leads");
pub(crate) const LEO: Person = ("leo", "payments-leads");
pub(crate) const OLAF: Person = ("olaf", "platform");
pub(crate) const MALLORY: Person = ("mallory", "nobody");

pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) push: Arc<Push>,
    pub(crate) signing: Arc<Ed25519Key>,
    pub(crate) issuer: DevIssuerKey,
    pub(crate) log_vkey: String,
    router: Router,
    tasks: Vec<JoinHandle<()>>,
    /// How many requests Alice was made to file: each is for another account, since the same is asked once.
    asked: AtomicU64,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer, which must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// The answer of this status as its type, read from the bytes as they came.
    #[track_caller]
    pub(crate) fn read<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The problem document, which must have this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:grantmesh:problem:{code}"));
        problem
    }

    /// Whether the signing key signed exactly this body.
    pub(crate) fn signed_by(&self, key: &Ed25519Key) -> bool {
        let stated = self.headers.get(SIGNATURE_HEADER).and_then(|value| Signature::parse(value.as_bytes()));
        stated == Some(key.sign_answer(&self.body))
    }
}

impl Server {
    /// A server without a policy.
    pub(crate) async fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let (signing, issuer) = (
            Arc::new(Ed25519Key::generate().unwrap()),
            DevIssuerKey::create(&folder.path().join(DEV_ISSUER_KEY)).unwrap(),
        );
        let log_key = LogKey::from_seed(&[7; 32]).unwrap();
        let log_vkey = log_key.vkey().to_owned();
        let database = format!("sqlite:{}", folder.path().join("grantmesh.db").display());
        let app = App::open(Settings {
            operators: vec![Subject::parse("group:platform", DEV_ISSUER).unwrap()],
            clock: Arc::clone(&clock) as _,
            ..Settings::new(database, log_key)
        });
        let app = app.await.unwrap();
        let push = Push::start(app.clone(), Arc::clone(&signing), Freshness::default()).await.unwrap();
        let keys = KeySource::fixed(KeySet::of(&issuer.jwks().unwrap()));
        let users = UserTokens::new(DEV_ISSUER.to_owned(), DEV_AUDIENCE.to_owned(), keys);
        let filters = FilterCredentials::new(&signing);
        let api =
            Api::new(app.clone(), Arc::clone(&push), users, filters, "https://grantmesh.example".to_owned(), None);
        let tasks = vec![tokio::spawn(Arc::clone(&push).run())];
        let (router, asked) = (router(api), AtomicU64::new(42));
        Self { folder, app, clock, push, signing, issuer, log_vkey, router, tasks, asked }
    }

    /// A server with the example policy.
    pub(crate) async fn start() -> Self {
        let server = Self::bare().await;
        let policy = json!({ "files": [{ "name": "policy.yaml", "text": POLICY }] });
        server.apply(OLAF, ("if-none-match", "*"), &policy).await.expect(201);
        server
    }

    /// Applies a policy over what a header says.
    pub(crate) async fn apply(&self, person: Person, over: (&str, &str), body: &Value) -> Reply {
        self.said("POST", "/v1/policy", &self.token(person), &[over], body.to_string()).await
    }

    /// Listens, for clients that are programs.
    pub(crate) async fn listen(&mut self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, router) = (listener.local_addr().unwrap(), self.router.clone());
        self.tasks.push(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
        address
    }

    /// Nothing reads the store for filters any more.
    pub(crate) fn follow_no_more(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn token(&self, (name, group): Person) -> String {
        mint_dev_token(&self.issuer, name, &[group.to_owned()], DEV_AUDIENCE, Span::from_secs(3_600), self.now())
            .unwrap()
    }

    pub(crate) fn credential(&self, services: &[&str]) -> String {
        let services: Vec<String> = services.iter().map(|service| (*service).to_owned()).collect();
        FilterCredentials::mint(&self.signing, "node", &services, Span::from_secs(3_600), self.now()).unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (parts, body) = request.into_parts();
        let (method, path) = (parts.method.to_string(), parts.uri.to_string());
        let sent = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let request = Request::from_parts(parts, Body::from(sent.clone()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
        let reply = Reply { status, headers, body };
        described::check(&method, &path, &sent, &reply);
        reply
    }

    /// A request with a token and a body as it stands.
    pub(crate) async fn raw(&self, method: &str, path: &str, token: &str, body: impl Into<Body>) -> Reply {
        self.said(method, path, token, &[], body).await
    }

    /// The same with more headers.
    pub(crate) async fn said(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, person: Person, path: &str) -> Reply {
        self.raw("GET", path, &self.token(person), Body::empty()).await
    }

    pub(crate) async fn post(&self, person: Person, path: &str, body: &Value) -> Reply {
        self.raw("POST", path, &self.token(person), body.to_string()).await
    }

    /// Reviews a request as it is shown to the reviewer; the path ends with `/reviews`.
    pub(crate) async fn review(&self, person: Person, path: &str, review: &Value) -> Reply {
        let shown = self.get(person, path.trim_end_matches("/reviews")).await;
        let mut review = review.clone();
        review["digest"] = match shown.status {
            200 => shown.json()["digest"].clone(),
            _ => json!("0".repeat(64)),
        };
        self.post(person, path, &review).await
    }

    pub(crate) fn ask() -> Value {
        json!({ "service": "payments", "action": "refund.create", "resource": ACCOUNT, "justification": "charged twice" })
    }

    /// Alice's request, pending, the first one for acc-42; gives its id.
    pub(crate) async fn request(&self) -> String {
        let mut ask = Self::ask();
        ask["resource"] = json!(format!("account/acc-{}", self.asked.fetch_add(1, Ordering::Relaxed)));
        let request = self.post(ALICE, "/v1/requests", &ask).await.expect(201);
        request["id"].as_str().unwrap().to_owned()
    }

    /// Alice's grant, active.
    pub(crate) async fn grant(&self) -> Value {
        let path = format!("/v1/requests/{}/reviews", self.request().await);
        self.review(LEA, &path, &json!({ "verdict": "approve" })).await.expect(201)["grant"].clone()
    }
}

/// Waits for a condition, with a deadline.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not come true in 20 s");
}
