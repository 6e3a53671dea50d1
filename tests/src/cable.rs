//! The wire between Envoy and the control plane, as a TCP proxy that a story can cut and mend.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The wire. While it is cut every connection is reset and new ones are closed at once.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    proxy: JoinHandle<()>,
}

impl Cable {
    /// Lays it from a free port of the loopback to `far`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn lay(far: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (whole, watched) = watch::channel(true);
        let proxy = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *watched.borrow() {
                    tokio::spawn(carry(near, far, watched.clone()));
                }
            }
        });
        Ok(Self { address, whole, proxy })
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
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

async fn carry(mut near: TcpStream, far: SocketAddr, mut whole: watch::Receiver<bool>) {
    let copied = async {
        let mut far = TcpStream::connect(far).await?;
        tokio::io::copy_bidirectional(&mut near, &mut far).await
    };
    // Whichever comes first closes both sides; errors are what a cut wire looks like.
    tokio::select! {
        _ = copied => {}
        _ = whole.wait_for(|whole| !whole) => {}
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
}
