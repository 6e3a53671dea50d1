//! The service behind Envoy: answers everything with 200 and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::{Json, Router};
use grantmesh_shared::time::Timestamp;
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
}

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

async fn serve(State(served): State<Arc<Mutex<Vec<Served>>>>, request: Request) -> Json<Value> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let (head, _) = request.into_parts();
    let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    let answer = json!({ "served": format!("{} {target}", head.method) });
    let call = Served { method: head.method.to_string(), target, headers: head.headers, at };
    served.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    Json(answer)
}
