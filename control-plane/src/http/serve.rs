//! Listens and serves until it is told to stop; then held polls are answered, requests in work get ten seconds.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::push::Push;

/// How long requests in work may take when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on `{address}`\nchoose another address with `--listen`, or port 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The file that tells the address cannot be written.
    #[error("the file `{path}` for the address cannot be written")]
    ListenFile {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The listener failed.
    #[error("the server failed")]
    Io(#[from] io::Error),
}

/// Listens on an address; gives the listener and writes its address to a file, where one is named.
///
/// # Errors
/// If the address cannot be had or the file cannot be written.
pub async fn listen(address: SocketAddr, listen_file: Option<&Path>) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    if let Some(path) = listen_file {
        let write = || {
            let unfinished = path.with_extension("unfinished");
            std::fs::write(&unfinished, format!("{}\n", listener.local_addr()?))?;
            // Whoever waits for the file sees it whole or not at all.
            std::fs::rename(&unfinished, path)
        };
        write().map_err(|source| ServeError::ListenFile { path: path.display().to_string(), source })?;
    }
    Ok(listener)
}

/// Serves until `stop` is over.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    push: Arc<Push>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let stopping = Arc::new(Notify::new());
    let stopped = Arc::clone(&stopping);
    let listener = listener.tap_io(|stream| {
        // Small answers must not wait for the acknowledgement of earlier ones.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stopped.notified().await });
    let serving = async { serving.await.map_err(ServeError::from) };
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = stop => {}
    }
    tracing::info!("stopping: held polls are answered, requests in work may end");
    push.stop();
    stopping.notify_one();
    match tokio::time::timeout(GRACE, serving).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("some requests did not end in {} s and were cut off", GRACE.as_secs());
            Ok(())
        }
    }
}
