//! Connections: so many at a time, none that keeps us waiting for its next request for long, and an end that waits for nobody
//! for ever.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower::Service;

use super::App;

/// Connections at a time, if the system gives us twice as many descriptors; what comes beyond waits in the system's queue.
const CONNECTIONS_MAX: u64 = 4096;
/// How long a connection may take to send the head of its next request. Longer than proxies keep an idle one, so that it is
/// they who close.
const HEAD_MAX: Duration = Duration::from_secs(75);
/// How long an answer may lie unread, ms.
const UNREAD_MS_MAX: u32 = 30_000;
/// Without descriptors, accepting is tried again after this.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);
/// How often the buckets of callers who are gone are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Serves until `stopped`. What is returned still has its connections: [`GracefulShutdown::shutdown`] ends each after the request
/// it is at.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    app: &App,
    mut stopped: watch::Receiver<bool>,
) -> GracefulShutdown {
    let mut service = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    let places = Arc::new(Semaphore::new(connections_max()));
    let connections = GracefulShutdown::new();
    let mut forgetting = interval(FORGET_EVERY);
    forgetting.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let next = async { (place.await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = forgetting.tick() => {
                app.limits.forget_idle();
                continue;
            }
            // An error means that the sender is gone, which ends the service as well.
            _ = stopped.wait_for(|stop| *stop) => return connections,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                log::error!("no connection can be accepted: {error}");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // Without it, who does not read an answer would keep its place for ever.
        if let Err(error) = set_tcp_user_timeout(&stream, UNREAD_MS_MAX) {
            log::warn!("connection of {peer}: no limit for unread answers: {error}");
        }
        let connection = connections.watch(http.serve_connection(
            TokioIo::new(stream),
            TowerToHyperService::new(of_peer(&mut service, peer).await),
        ));
        tokio::spawn(async move {
            // Whatever ends a connection, its caller knows it as well as we do.
            if let Err(error) = connection.await {
                log::debug!("connection of {peer}: {error}");
            }
            drop(place);
        });
    }
}

/// The routes as a connection from this address has them.
async fn of_peer(
    service: &mut IntoMakeServiceWithConnectInfo<Router, SocketAddr>,
    peer: SocketAddr,
) -> impl Service<
    hyper::Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static {
    match service.call(peer).await {
        Ok(service) => service,
        Err(never) => match never {},
    }
}

/// Has the system give us all descriptors it may, and keeps half of them for the database and the calls we make.
fn connections_max() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!("the limit of open files stays as it is: {error}");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(CONNECTIONS_MAX.min(files / 2))
        .unwrap_or(usize::MAX)
        .max(1)
}
