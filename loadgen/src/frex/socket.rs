//! Connections that can be refused, reset and slowed down.
//!
//! The listener closes its port while connections are to be refused, and opens the same one again afterwards. A connection
//! carries a [`Grip`] by which the handler of a request resets it, or makes it trickle.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// Wait before a failed bind or accept is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// Bytes that a trickling connection sends between two pauses.
const TRICKLE_BYTES: usize = 16;

/// What a handler can do to the connection that its request came by.
#[derive(Clone, Debug, Default)]
pub struct Grip(Arc<State>);

#[derive(Debug, Default)]
struct State {
    reset: AtomicBool,
    trickle_ms: AtomicU64,
}

impl Grip {
    /// Nothing more is sent; the peer sees a reset.
    pub fn reset(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// Pauses so long after each few bytes.
    pub fn trickle(&self, ms: u64) {
        self.0.trickle_ms.store(ms, Ordering::Relaxed);
    }
}

/// A connection.
pub struct Stream {
    inner: TcpStream,
    grip: Grip,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.grip.0.reset.load(Ordering::Relaxed) {
            // A close with nothing lingering is a reset on the wire. If the system refuses, it is a plain close.
            let _ = SockRef::from(&self.inner).set_linger(Some(Duration::ZERO));
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let trickle_ms = self.grip.0.trickle_ms.load(Ordering::Relaxed);
        if trickle_ms == 0 {
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        }
        let pause = Duration::from_millis(trickle_ms);
        let waiting = self.pause.get_or_insert_with(|| Box::pin(sleep(pause)));
        ready!(waiting.as_mut().poll(context));
        self.pause = None;
        let few = &bytes[..bytes.len().min(TRICKLE_BYTES)];
        Pin::new(&mut self.inner).poll_write(context, few)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Listens while it is told to.
pub struct Gate {
    address: SocketAddr,
    listener: Option<TcpListener>,
    open: watch::Receiver<bool>,
}

impl Gate {
    /// Listens on an address as long as `open` says so; port 0 is chosen once and kept.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn bind(address: SocketAddr, open: watch::Receiver<bool>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            address: listener.local_addr()?,
            listener: Some(listener),
            open,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Listener for Gate {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            if !*self.open.borrow_and_update() {
                self.listener = None;
                if self.open.changed().await.is_err() {
                    // Nobody is left who could open it: the simulator ends.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let Some(listener) = &self.listener else {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(_) => sleep(AGAIN).await,
                }
                continue;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.open.changed() => continue,
            };
            match accepted {
                Ok((inner, address)) => {
                    let stream = Stream {
                        inner,
                        grip: Grip::default(),
                        pause: None,
                    };
                    return (stream, address);
                }
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Connected<IncomingStream<'_, Gate>> for Grip {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().grip.clone()
    }
}
