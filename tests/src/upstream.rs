//! The service behind Envoy: answers everything with 200, or as it is asked to, and remembers what it was asked. What it
//! answers at `…/events` never ends, and `…/chat` is a WebSocket that never says anything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use futures_util::stream::{iter, pending};
use grantmesh_shared::time::Timestamp;
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One call that got through.
#[derive(Debug, Clone)]
pub struct Served {
    /// The method.
    pub method: String,
    /// The path and query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// When it arrived, by this machine's clock.
    pub at: Timestamp,
    /// Its body, once all of it is there.
    pub body: Vec<u8>,
}

/// A request header in which a caller asks for the answer that it wants, as JSON.
pub const ANSWER: &str = "x-answer";

/// The service. Ends when it is dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    served: Arc<Mutex<Vec<Served>>>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Starts it on a free port of the loopback.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let served: Arc<Mutex<Vec<Served>>> = Arc::default();
        let router = Router::new().fallback(serve).with_state(Arc::clone(&served));
        let server = tokio::spawn(async move {
            // Ends only with the task.
            let _never = axum::serve(listener, router).await;
        });
        Ok(Self { address, served, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that got through so far.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many calls got through so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(
    State(served): State<Arc<Mutex<Vec<Served>>>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    let endless = head.uri.path().ends_with("/events");
    let plain = json!({ "served": format!("{} {target}", head.method) });
    let asked = head.headers.get(ANSWER).and_then(|value| serde_json::from_slice(value.as_bytes()).ok());
    let call = Served { method: head.method.to_string(), target, headers: head.headers, at, body: Vec::new() };
    let place = {
        let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
        served.push(call);
        served.len() - 1
    };
    let early = asked.as_ref().is_some_and(|asked: &Value| asked["early"] == true);
    if !early {
        // What does not come to its end was not sent to it.
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = served.get_mut(place) {
            call.body = body.to_vec();
        }
    }
    if asked.as_ref().is_some_and(|asked: &Value| asked["never"] == true) {
        return std::future::pending().await;
    }
    match (upgrade, asked) {
        (Ok(upgrade), _) => upgrade.on_upgrade(async |mut socket| while socket.recv().await.is_some() {}),
        (Err(_), Some(asked)) => answer(&asked),
        (Err(_), None) if endless => {
            let first = Ok::<_, Infallible>(Event::default().data("here"));
            Sse::new(iter([first]).chain(pending())).into_response()
        }
        (Err(_), None) => Json(plain).into_response(),
    }
}

/// The answer that a caller asked for: `status`, `headers`, and the `body` in pieces, then `trailers`.
fn answer(asked: &Value) -> Response {
    let status = asked["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    let mut response = Response::builder().status(status);
    let pairs = |name: &str| {
        let pairs = asked[name].as_object().into_iter().flatten();
        pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect::<Vec<_>>()
    };
    for (name, value) in pairs("headers") {
        response = response.header(name, value);
    }
    let pieces = asked["body"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let times = asked["times"].as_u64().and_then(|times| usize::try_from(times).ok()).unwrap_or(1);
    let mut frames: Vec<Result<Frame<Bytes>, Infallible>> =
        pieces.map(|piece| Ok(Frame::data(Bytes::from(piece.repeat(times))))).collect();
    let trailers: HeaderMap = pairs("trailers")
        .into_iter()
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?)))
        .collect();
    if !trailers.is_empty() {
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let body = if frames.is_empty() { Body::empty() } else { Body::new(StreamBody::new(iter(frames))) };
    response.body(body).unwrap_or_default()
}
