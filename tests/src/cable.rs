//! The wire between Envoy and the control plane, as a TCP proxy whose [`Weather`] a story makes, and that counts what passes.

mod messages;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use messages::{Counter, Heard, Messages, Seen};

/// What becomes of what passes the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weather {
    /// It arrives.
    #[default]
    Fine,
    /// Every connection is closed, and new ones are closed at once.
    Cut,
    /// Connections stay and can be made, but nothing arrives in either direction; when this ends, the connections on
    /// which something was lost end too.
    HalfOpen,
    /// Answers arrive this much later.
    Slow(Duration),
    /// Answers arrive in pieces of this many bytes, 10 ms apart.
    Trickle(usize),
    /// Every third connection breaks in the middle of an answer.
    Lossy,
    /// Connections on which decision records are sent break before they arrive; everything else does.
    NoRecords,
    /// Claims of uses arrive, and the connections on which they were sent break before they are answered.
    NoClaimAnswers,
    /// In place of each answer, one of the same kind that was given earlier to another question arrives.
    Replayed,
    /// In place of each answer, the very first of the same kind that the wire carried arrives.
    First,
    /// In place of each answer, the latest of the other kind arrives: poll and heartbeat get each other's.
    Swapped,
    /// Every answer arrives twice.
    Doubled,
}

/// The wire.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    seen: Arc<Seen>,
    /// Of its own: what passes does not hold up the story's calls, nor is held up by them. Always there until it is dropped.
    runtime: Option<Runtime>,
}

/// What the connections share.
#[derive(Debug, Clone)]
struct Common {
    weather: watch::Receiver<Weather>,
    seen: Arc<Seen>,
    heard: Arc<Heard>,
    number: u64,
}

impl Cable {
    /// Lays it from a free port of the loopback to `far`.
    ///
    /// # Errors
    /// If there is no free port, or no thread.
    pub async fn lay(far: SocketAddr) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.spawn(TcpListener::bind("127.0.0.1:0")).await??;
        let address = listener.local_addr()?;
        let (weather, watched) = watch::channel(Weather::Fine);
        let seen: Arc<Seen> = Arc::default();
        let mut common = Common { weather: watched, seen: Arc::clone(&seen), heard: Arc::default(), number: 0 };
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *common.weather.borrow() != Weather::Cut {
                    common.number += 1;
                    tokio::spawn(carry(near, far, common.clone()));
                }
            }
        });
        Ok(Self { address, weather, seen, runtime: Some(runtime) })
    }

    /// The near end.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the weather, for connections that there are and for new ones.
    pub fn make(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.make(Weather::Cut);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.make(Weather::Fine);
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
        // To drop it would wait, which nothing may within another runtime.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// The wire's delay.
async fn pause(span: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + span).await;
}

async fn carry(mut near: TcpStream, far: SocketAddr, common: Common) {
    let Ok(mut far) = TcpStream::connect(far).await else { return };
    let (_, _) = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
    let weather = || *common.weather.borrow();
    let (lost, claimed) = (AtomicBool::new(false), AtomicBool::new(false));
    let there = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_near.read(&mut buffer).await?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return to_far.shutdown().await;
            };
            if weather() == Weather::NoRecords && messages::is_about("records", bytes) {
                return to_far.shutdown().await;
            }
            if messages::is_about("claims", bytes) {
                claimed.store(true, Ordering::Relaxed);
            }
            if weather() == Weather::HalfOpen {
                lost.store(true, Ordering::Relaxed);
            } else {
                to_far.write_all(bytes).await?;
            }
        }
    };
    let back = async {
        let (mut counter, mut messages) = (Counter::default(), Messages::default());
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_far.read(&mut buffer).await?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return to_near.shutdown().await;
            };
            counter.count(bytes, &common.seen);
            let whole = messages.take(bytes);
            match weather() {
                Weather::NoClaimAnswers if claimed.load(Ordering::Relaxed) => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Weather::Fine | Weather::Cut | Weather::NoRecords | Weather::NoClaimAnswers => {
                    to_near.write_all(bytes).await?;
                }
                Weather::HalfOpen => lost.store(true, Ordering::Relaxed),
                Weather::Slow(span) => {
                    pause(span).await;
                    to_near.write_all(bytes).await?;
                }
                Weather::Trickle(size) => {
                    for piece in bytes.chunks(size.max(1)) {
                        to_near.write_all(piece).await?;
                        pause(Duration::from_millis(10)).await;
                    }
                }
                Weather::Lossy if common.number.is_multiple_of(3) => {
                    to_near.write_all(bytes.get(..count / 2).unwrap_or_default()).await?;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Weather::Lossy => to_near.write_all(bytes).await?,
                changed @ (Weather::Replayed | Weather::First | Weather::Swapped) => {
                    for message in &whole {
                        let other = common.heard.instead_of(message, changed);
                        to_near.write_all(&other.unwrap_or_else(|| message.clone())).await?;
                    }
                    continue;
                }
                Weather::Doubled => {
                    for message in &whole {
                        to_near.write_all(&[&**message, &**message].concat()).await?;
                    }
                }
            }
            whole.into_iter().for_each(|message| common.heard.note(message));
        }
    };
    // Errors are what a broken connection looks like; leaving closes both sides.
    let mut watched = common.weather.clone();
    tokio::select! {
        _ = async { tokio::try_join!(there, back) } => {}
        _ = watched.wait_for(|weather| *weather == Weather::Cut || lost.load(Ordering::Relaxed) && *weather != Weather::HalfOpen) => {}
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

    #[tokio::test]
    async fn a_half_open_connection_ends_only_when_the_weather_is_better() {
        let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Cable::lay(far.local_addr().unwrap()).await.unwrap();
        let (mut near, mut idle) =
            (TcpStream::connect(cable.address()).await.unwrap(), TcpStream::connect(cable.address()).await.unwrap());
        let (mut one, mut two) = (far.accept().await.unwrap().0, far.accept().await.unwrap().0);
        for stream in [&mut near, &mut idle] {
            stream.write_all(b"a").await.unwrap();
        }
        let (_, _) = (one.read_u8().await.unwrap(), two.read_u8().await.unwrap());
        cable.make(Weather::HalfOpen);
        near.write_all(b"b").await.unwrap();
        let nothing =
            tokio::time::timeout(Duration::from_millis(50), async { tokio::join!(one.read_u8(), two.read_u8()) });
        assert!(nothing.await.is_err(), "nothing arrives and nothing ends");
        cable.mend();
        idle.write_all(b"c").await.unwrap();
        let ((first, second), ended) = (tokio::join!(one.read_u8(), two.read_u8()), near.read_u8().await);
        assert!(ended.is_err());
        let mut got = [first.ok(), second.ok()];
        got.sort();
        assert_eq!(got, [None, Some(b'c')], "the one that lost a byte is gone, the other goes on");
    }
}
