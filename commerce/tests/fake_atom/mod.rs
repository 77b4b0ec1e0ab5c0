//! An HTTP server for one test: it does to each request what the test scripted, and remembers what it saw.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with one request.
#[derive(Clone)]
pub enum Act {
    /// Closes the connection before it reads.
    CloseUnread,
    /// Reads the request and closes.
    CloseRead,
    /// Answers with status, headers (each with its line end) and body, and closes.
    Answer(u16, &'static str, String),
    /// Answers with a body and keeps the connection for the next request.
    KeepAlive(String),
    /// Announces a longer body than it sends.
    Partial,
    /// Reads the request and says nothing for so long.
    Silence(Duration),
}

/// The server. It stops when it is dropped.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    script: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<String>>,
}

impl Server {
    /// Starts on a free loopback port.
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(script.into_iter().collect()),
            seen: Mutex::new(Vec::new()),
        });
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(shared.clone().serve(stream));
                }
            }
        });
        Server { addr, shared, task }
    }

    /// The requests so far, heads and bodies.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().expect("requests").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        loop {
            let next = self.script.lock().expect("script").pop_front();
            let act = next.expect("a request that the script does not know");
            if matches!(act, Act::CloseUnread) {
                return;
            }
            let Some(request) = read_request(&mut stream).await else {
                // The connection ended without another request: the act is for the next one.
                self.script.lock().expect("script").push_front(act);
                return;
            };
            self.seen.lock().expect("requests").push(request);
            match act {
                Act::CloseUnread | Act::CloseRead => return,
                Act::Silence(time) => return tokio::time::sleep(time).await,
                Act::Partial => {
                    let text =
                        "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nmerchId=317157&encData=00";
                    let _ = stream.write_all(text.as_bytes()).await;
                    return;
                }
                Act::Answer(status, headers, body) => {
                    let headers = format!("{headers}Connection: close\r\n");
                    answer(&mut stream, status, &headers, &body).await;
                    return;
                }
                Act::KeepAlive(body) => answer(&mut stream, 200, "", &body).await,
            }
        }
    }
}

async fn answer(stream: &mut TcpStream, status: u16, headers: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    // A client that has gone away already is the test's business, not the server's.
    let _ = stream.write_all((head + body).as_bytes()).await;
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1)?;
            let length: usize = length.lines().next()?.trim().parse().ok()?;
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        let mut chunk = [0u8; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}
