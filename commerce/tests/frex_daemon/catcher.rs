//! Catchers of messages: an HTTP server and a mail server on sockets of their own, which keep what they are sent.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use rcgen::{CertifiedKey, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What a catcher caught: head (headers or envelope) and body.
type Caught = Arc<Mutex<Vec<(String, String)>>>;

/// A catcher.
pub struct Catcher {
    /// Its port.
    pub port: u16,
    caught: Caught,
    refusals: Arc<AtomicU32>,
}

impl Catcher {
    /// Everything caught so far.
    pub fn all(&self) -> Vec<(String, String)> {
        let caught = self.caught.lock();
        caught.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many messages it still refuses before it takes one.
    pub fn refuse(&self, count: u32) {
        self.refusals.store(count, Ordering::Relaxed);
    }

    /// Waits until it caught a message that fits.
    pub async fn caught(&self, fits: impl Fn(&str) -> bool) -> (String, String) {
        let since = Instant::now();
        loop {
            if let Some(found) = self.all().into_iter().find(|it| fits(&it.1)) {
                return found;
            }
            assert!(
                since.elapsed() < Duration::from_secs(90),
                "{:#?}",
                self.all()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Catches POSTs.
    pub async fn http() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let (caught, refusals) = (Caught::default(), Arc::new(AtomicU32::new(0)));
        let state = (caught.clone(), refusals.clone());
        let router = Router::new().route("/hook", post(take)).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            port,
            caught,
            refusals,
        }
    }

    /// Catches e-mail: as much of SMTP as a sender needs.
    pub async fn smtp() -> Self {
        Self::mail(None).await
    }

    /// Catches e-mail after STARTTLS, with the certificate of `localhost`.
    pub async fn starttls(identity: &CertifiedKey<KeyPair>) -> Self {
        let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.der().clone()], key);
        Self::mail(Some(Arc::new(config.expect("a certificate")).into())).await
    }

    async fn mail(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let (caught, refusals) = (Caught::default(), Arc::new(AtomicU32::new(0)));
        let state = (caught.clone(), refusals.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (state, tls) = (state.clone(), tls.clone());
                // A sender that hangs up ends its own conversation only.
                tokio::spawn(async move { drop(converse(socket, &state, tls).await) });
            }
        });
        Self {
            port,
            caught,
            refusals,
        }
    }
}

/// Whether this one is refused.
fn refused(refusals: &AtomicU32) -> bool {
    let left = refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    });
    left.is_ok()
}

async fn take(
    State((caught, refusals)): State<(Caught, Arc<AtomicU32>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if refused(&refusals) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let signature = headers.get("x-frex-signature");
    let signature = signature
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut caught = caught.lock().unwrap_or_else(PoisonError::into_inner);
    caught.push((signature.to_owned(), body));
    StatusCode::NO_CONTENT
}

/// One sender's conversation, which goes on encrypted if that is offered and taken.
async fn converse(
    mut socket: TcpStream,
    state: &(Caught, Arc<AtomicU32>),
    tls: Option<TlsAcceptor>,
) -> std::io::Result<()> {
    socket.write_all(b"220 catcher\r\n").await?;
    match tls {
        None => talk(&mut socket, state, "250-AUTH PLAIN\r\n")
            .await
            .map(drop),
        Some(tls) => {
            if talk(&mut socket, state, "250-STARTTLS\r\n").await? {
                talk(&mut tls.accept(socket).await?, state, "250-AUTH PLAIN\r\n").await?;
            }
            Ok(())
        }
    }
}

/// Answers until the sender leaves; whether it left for an encrypted connection.
async fn talk(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    (caught, refusals): &(Caught, Arc<AtomicU32>),
    offer: &str,
) -> std::io::Result<bool> {
    let mut stream = BufReader::new(socket);
    let mut envelope = String::new();
    let hello = format!("250-catcher\r\n{offer}250 8BITMIME\r\n");
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let word = line.split([' ', ':']).next().unwrap_or_default().trim();
        let answer = match word.to_ascii_uppercase().as_str() {
            "EHLO" => hello.as_str(),
            "STARTTLS" => {
                stream.write_all(b"220 begin\r\n").await?;
                return Ok(true);
            }
            "DATA" if refused(refusals) => "451 not now\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut body = String::new();
                while stream.read_line(&mut body).await? > 0 && !body.ends_with("\r\n.\r\n") {}
                let body = body.replace("\r\n", "\n");
                let mut caught = caught.lock().unwrap_or_else(PoisonError::into_inner);
                caught.push((std::mem::take(&mut envelope), body));
                "250 taken\r\n"
            }
            "QUIT" => "221 bye\r\n",
            "AUTH" => "235 welcome\r\n",
            _ => "250 well\r\n",
        };
        envelope.push_str(&line.replace('\r', ""));
        stream.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(false)
}
