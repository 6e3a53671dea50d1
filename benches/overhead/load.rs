//! The load: a kept-alive connection, on which one request follows the other.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends `count` times the same request; every answer must have status 200.
///
/// # Errors
/// If an answer is another one, or none.
pub(crate) async fn send(address: SocketAddr, head: &str, count: usize) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    for _ in 0..count {
        stream.write_all(head.as_bytes()).await?;
        answer(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

/// Reads one answer with `content-length`.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).context("the answer is too long")?;
        let read = stream.read(room).await?;
        ensure!(read > 0, "the connection was closed");
        filled = filled.saturating_add(read);
        let text = String::from_utf8_lossy(buffer.get(..filled).unwrap_or_default());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        if !head.starts_with("HTTP/1.1 200") {
            bail!("expected 200, got {text}");
        }
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no content-length")?;
        if body.len() >= length.parse::<usize>()? {
            return Ok(());
        }
    }
}
