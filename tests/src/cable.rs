//! The wire between Envoy and the control plane, as a TCP proxy that a story can cut and mend, and that counts what passes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How a snapshot's page and a delta begin in an answer to a filter.
const MARKS: [&[u8]; 2] = [b"{\"snapshot\":", b"{\"delta\":"];

/// The wire. While it is cut every connection is closed and new ones are closed at once.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    seen: Arc<Seen>,
    proxy: JoinHandle<()>,
}

/// How often each of [`MARKS`] came from the far end.
#[derive(Debug, Default)]
struct Seen([AtomicU64; 2]);

impl Cable {
    /// Lays it from a free port of the loopback to `far`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn lay(far: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (whole, watched) = watch::channel(true);
        let seen: Arc<Seen> = Arc::default();
        let counts = Arc::clone(&seen);
        let proxy = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *watched.borrow() {
                    tokio::spawn(carry(near, far, watched.clone(), Arc::clone(&counts)));
                }
            }
        });
        Ok(Self { address, whole, seen, proxy })
    }

    /// The near end.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }

    /// Pages of snapshots that filters have been sent over it.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        self.seen.0[0].load(Ordering::Relaxed)
    }

    /// Deltas that filters have been sent over it.
    #[must_use]
    pub fn deltas(&self) -> u64 {
        self.seen.0[1].load(Ordering::Relaxed)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

async fn carry(mut near: TcpStream, far: SocketAddr, mut whole: watch::Receiver<bool>, seen: Arc<Seen>) {
    let Ok(mut far) = TcpStream::connect(far).await else { return };
    let (_, _) = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
    let there = async {
        let copied = tokio::io::copy(&mut from_near, &mut to_far).await;
        to_far.shutdown().await.and(copied)
    };
    let back = async {
        let mut counter = Counter::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_far.read(&mut buffer).await?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return to_near.shutdown().await;
            };
            counter.count(bytes, &seen);
            to_near.write_all(bytes).await?;
        }
    };
    // Errors are what a broken connection looks like; leaving closes both sides.
    tokio::select! {
        (_, _) = async { tokio::join!(there, back) } => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}

/// Counts marks in a stream that comes in pieces.
#[derive(Debug, Default)]
struct Counter {
    /// The end of what was looked at: shorter than every mark.
    tail: Vec<u8>,
}

impl Counter {
    fn count(&mut self, bytes: &[u8], seen: &Seen) {
        let longest = MARKS.iter().map(|mark| mark.len()).max().unwrap_or(0);
        let joined = [&self.tail, bytes].concat();
        for (mark, count) in MARKS.iter().zip(&seen.0) {
            // What lay wholly within the tail was counted with the piece before.
            let fresh = joined
                .windows(mark.len())
                .enumerate()
                .filter(|(at, window)| window == mark && at + mark.len() > self.tail.len());
            count.fetch_add(fresh.count() as u64, Ordering::Relaxed);
        }
        self.tail = joined.get(joined.len().saturating_sub(longest - 1)..).unwrap_or_default().to_vec();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_cut_wire_carries_nothing_until_it_is_mended() {
        let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Cable::lay(far.local_addr().unwrap()).await.unwrap();
        let mut near = TcpStream::connect(cable.address()).await.unwrap();
        near.write_all(b"a").await.unwrap();
        let (mut end, _) = far.accept().await.unwrap();
        assert_eq!(end.read_u8().await.unwrap(), b'a');

        cable.cut();
        assert!(end.read_u8().await.is_err(), "the connection ended");
        let mut refused = TcpStream::connect(cable.address()).await.unwrap();
        assert!(refused.read_u8().await.is_err(), "and there is no new one");

        cable.mend();
        let mut near = TcpStream::connect(cable.address()).await.unwrap();
        near.write_all(b"b").await.unwrap();
        let (mut end, _) = far.accept().await.unwrap();
        assert_eq!(end.read_u8().await.unwrap(), b'b');
    }

    #[test]
    fn marks_are_counted_once_however_the_stream_is_cut() {
        let text = br#"{"change":{"delta":{"puts":[]}}} {"change":{"snapshot":{"index":0}}} {"change":{"delta":{}}}"#;
        for size in 1..text.len() {
            let (mut counter, seen) = (Counter::default(), Seen::default());
            text.chunks(size).for_each(|piece| counter.count(piece, &seen));
            assert_eq!(seen.0.each_ref().map(|count| count.load(Ordering::Relaxed)), [1, 2], "in pieces of {size}");
        }
    }
}
