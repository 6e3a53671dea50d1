//! HTTP as bytes, for what no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug, Clone)]
pub struct RawReply {
    /// Every byte until the peer closed.
    pub bytes: Vec<u8>,
}

impl RawReply {
    /// The status of the (first) answer; nothing if the connection was closed without one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let head = self.bytes.strip_prefix(b"HTTP/1.1 ")?;
        std::str::from_utf8(head.get(..3)?).ok()?.parse().ok()
    }

    /// The answer as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Sends bytes on a new connection and reads until the peer closes it. Requests should say `connection: close`.
///
/// # Errors
/// If there is no connection, or if it is still open after 10 s.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Result<RawReply> {
    let mut stream = TcpStream::connect(address).await?;
    let mut bytes = Vec::new();
    let talk = async {
        let (mut from, mut to) = stream.split();
        // A peer may refuse and close before it has read everything: both failures are seen in the answer.
        let (_sent, _read) = tokio::join!(to.write_all(request), from.read_to_end(&mut bytes));
    };
    tokio::time::timeout(Duration::from_secs(10), talk).await.with_context(|| {
        format!(
            "no answer, and the connection stays open, after {:?}",
            String::from_utf8_lossy(request.get(..200).unwrap_or(request))
        )
    })?;
    Ok(RawReply { bytes })
}
