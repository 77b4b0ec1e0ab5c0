//! A proxy between an application and the daemon that cuts the connection at one frame.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::Endpoint;
use codec::link::Assembler;

use super::Plan;

/// Carries link frames both ways, on any number of connections, and cuts one of them once.
pub struct CuttingProxy {
    port: u16,
    cut: Arc<Cut>,
}

/// When to cut.
struct Cut {
    /// Frames seen so far, over both directions and all connections.
    seen: AtomicUsize,
    /// The frame at which the connection is cut.
    at: usize,
    /// That frame still reaches its end.
    behind: bool,
}

impl CuttingProxy {
    /// Cuts at frame `at`, counted from 0 over both directions; `behind`: the frame itself is still carried.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start(plan: &Plan, at: usize, behind: bool) -> CuttingProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let cut = Arc::new(Cut {
            seen: AtomicUsize::new(0),
            at,
            behind,
        });
        let (daemon, shared) = (plan.api_port, cut.clone());
        // It ends with the test program: a proxy is a thread that waits for connections.
        std::thread::spawn(move || {
            for application in listener.incoming().map_while(Result::ok) {
                let Ok(daemon) = TcpStream::connect(("127.0.0.1", daemon)) else {
                    continue;
                };
                for (from, to) in [(&application, &daemon), (&daemon, &application)] {
                    let (from, to) = (
                        from.try_clone().expect("a socket"),
                        to.try_clone().expect("a socket"),
                    );
                    let cut = shared.clone();
                    std::thread::spawn(move || cut.carry(&from, &to));
                }
            }
        });
        CuttingProxy { port, cut }
    }

    /// Where applications find it.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::tcp("127.0.0.1", self.port)
    }

    /// Whether the connection has been cut.
    pub fn has_cut(&self) -> bool {
        self.cut.seen.load(Ordering::SeqCst) > self.cut.at
    }
}

impl Cut {
    /// Carries frames one way until the connection ends.
    fn carry(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut assembler = Assembler::new();
        let mut bytes = [0; 8192];
        'reading: while let Ok(len @ 1..) = from.read(&mut bytes) {
            let mut rest = &bytes[..len];
            while !rest.is_empty() {
                let split = assembler.split(rest).expect("frames of our own programs");
                if let Some(frame) = split.frame {
                    let now = self.seen.fetch_add(1, Ordering::SeqCst) == self.at;
                    let carried = !now || self.behind;
                    let mut out = Vec::new();
                    frame.head.write(frame.body, &mut out);
                    if (carried && to.write_all(&out).is_err()) || now {
                        break 'reading;
                    }
                }
                let consumed = split.consumed;
                rest = &rest[consumed..];
            }
        }
        // Either may be gone already.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
