//! Ports that can refuse connections, and connections that can be cut in the middle of a call.
//!
//! A port that refuses really stops listening, so that the caller's connection is refused by the system. A connection that is
//! cut sends nothing more, not even an orderly end: the caller sees a reset.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long to wait after an accept that failed, and between tries to listen again.
const AGAIN: Duration = Duration::from_millis(20);

/// A port that listens as long as it is open.
pub struct Port {
    listener: Option<TcpListener>,
    address: SocketAddr,
    open: watch::Receiver<bool>,
}

impl Port {
    /// Listens, as long as `open` says so.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(address: SocketAddr, open: watch::Receiver<bool>) -> io::Result<Port> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Port {
            listener: Some(listener),
            address,
            open,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listener, once it may listen.
    async fn listening(&mut self) -> &TcpListener {
        loop {
            if *self.open.borrow_and_update() {
                if self.listener.is_none() {
                    self.listener = TcpListener::bind(self.address).await.ok();
                }
                if self.listener.is_some() {
                    break;
                }
                tokio::time::sleep(AGAIN).await;
            } else {
                self.listener = None;
                changed(&mut self.open).await;
            }
        }
        self.listener
            .as_ref()
            .expect("the loop ends when it listens")
    }
}

impl Listener for Port {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            let mut open = self.open.clone();
            let listener = self.listening().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = changed(&mut open) => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // A caller that is gone already shows that at the first read.
                    let _ = stream.set_nodelay(true);
                    let mut open = self.open.clone();
                    let line = Line {
                        stream,
                        cut: Cut::default(),
                        // Without anybody who could close the port it stays open.
                        closed: Box::pin(async move {
                            if open.wait_for(|open| !open).await.is_err() {
                                std::future::pending::<()>().await;
                            }
                        }),
                    };
                    return (line, peer);
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Waits until the port is opened or closed; for ever, when nobody is left who could do so.
async fn changed(open: &mut watch::Receiver<bool>) {
    if open.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Cuts a connection.
#[derive(Clone, Debug, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Nothing more is sent.
    pub fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Connected<IncomingStream<'_, Port>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Port>) -> Cut {
        stream.io().cut.clone()
    }
}

/// A connection.
pub struct Line {
    stream: TcpStream,
    cut: Cut,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Line {
    /// A connection that was cut is broken.
    fn whole(&self) -> io::Result<()> {
        if self.cut.is_cut() {
            // Without lingering the system sends a reset; if it cannot be had, an end must do.
            let _ = self.stream.set_zero_linger();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A port that refuses ends the connections that it has, also those that wait for their next call. What has said so is
        // not asked again.
        if !self.cut.is_cut() && self.closed.as_mut().poll(context).is_ready() {
            self.cut.cut();
        }
        self.whole()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
