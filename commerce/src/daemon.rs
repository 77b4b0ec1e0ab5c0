//! The process: what is opened in which order at the start, what runs beside the requests, and how everything ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{RwLock, watch};

use crate::atom::call::Atom;
use crate::atom::client::AtomClient;
use crate::atom::flow::{Checkout, Flow, FlowError, FlowParts};
use crate::atom::settings::{Env, SettingsError};
use crate::atom::wire::callback_open::InboundKeys;
use crate::clock::Clock;
use crate::config::Config;
use crate::frex::agency::settings::SettingsError as AgencyError;
use crate::frex::service::Frex;
use crate::http::health::Health;
use crate::http::limits::Limits;
use crate::http::{App, AppState, router, serve};
use crate::jobs::Jobs;
use crate::keys::ApiKeys;
use crate::logging::{self, LogError};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::pages::Pages;
use crate::points::Points;
use crate::store::{Store, StoreError};

/// Why the daemon does not run.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// There is no log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be opened.
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    /// The client of Atom cannot be made.
    #[error("{0}")]
    Client(#[from] SettingsError),
    /// The client of the agency cannot be made.
    #[error("frex.agency: {0}")]
    Agency(#[from] AgencyError),
    /// What the last run left behind cannot be taken up.
    #[error("what the last run left behind cannot be taken up: {0}")]
    Recovery(#[from] FlowError),
    /// The address cannot be listened on.
    #[error("http.listen {address}: {reason}. Choose a free address and port of this machine")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        reason: std::io::Error,
    },
    /// The system does not let us listen for signals, or accepting broke down.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}

/// Where browsers come back to us from Atom.
const RETURN_PATH: &str = "/v1/payments/atom/return";

/// Reads the configuration; all its faults as lines of one text.
///
/// # Errors
/// The faults.
pub fn load(file: &Path) -> Result<Config, String> {
    Config::load(file).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// What is in order and yet better changed.
pub fn warnings(config: &Config) -> Vec<String> {
    let exposed = config.exposed.iter().map(|path| {
        format!(
            "other users of this machine may read the secret {0}: chmod 600 {0}",
            path.display()
        )
    });
    exposed.collect()
}

/// Opens the store of a configuration and brings its tables up to date.
///
/// # Errors
/// It cannot be opened.
pub async fn open_store(config: &Config) -> Result<Store, StoreError> {
    Store::open(&config.store_url, &config.store).await
}

/// Serves until SIGTERM or SIGINT. When requests are taken, `ready http://ADDRESS:PORT` is printed.
///
/// # Errors
/// The start failed, or accepting broke down.
pub async fn serve(config: Config) -> Result<(), DaemonError> {
    logging::start(&config.log, &config.base)?;
    for warning in warnings(&config) {
        log::warn!("{warning}");
    }
    let listener = TcpListener::bind(config.http.listen)
        .await
        .map_err(|reason| DaemonError::Listen {
            address: config.http.listen.to_string(),
            reason,
        })?;
    let address = listener.local_addr()?;
    let app = build(&config).await?;
    app.flow.recover_refunds_at_start().await?;

    let (stop, stopped) = watch::channel(false);
    let jobs = Jobs::start(&app, &config.jobs, &stopped);
    println!("ready http://{address}");
    log::info!("serving on {address}");
    let signals = tokio::spawn(wait_for_signal(stop));
    let connections = serve::serve(listener, router::router(app.clone()), &app, stopped).await;
    signals.abort();
    end(&app, jobs, connections, config.http.shutdown()).await;
    Ok(())
}

/// Where this process crashes, if a test wants it to.
pub(crate) fn points(config: &Config) -> Points {
    Points::from_env(config.atom.env == Env::Sim)
}

/// The parts and how they hold together; nothing runs yet.
async fn build(config: &Config) -> Result<App, DaemonError> {
    let clock = Clock::system();
    let metrics = Metrics::new(clock.clone());
    let store = open_store(config).await?;
    let (atom, inbound) = atom(config, &clock, &metrics)?;
    let points = points(config);
    let frex = config
        .frex
        .as_ref()
        .map(|frex| Frex::new(frex, &store, &clock, &points, metrics.frex()));
    let frex = frex.transpose()?;
    let flow = Flow::new(FlowParts {
        store: store.clone(),
        atom,
        inbound,
        clock: clock.clone(),
        points,
        settings: config.flow.clone(),
        checkout: checkout(config)?,
        read_token_key: config.read_token_key.clone(),
        observer: metrics.clone(),
    });
    let notifier = Notifier::new(store.clone(), clock.clone(), &config.merchants)
        .map_err(|error| SettingsError::Client(error.to_string()))?;
    let keys = ApiKeys::new(store, clock);
    let deferred = frex.as_ref().map(|frex| frex.shop.clone());
    let pages = Pages::new(
        &flow,
        &keys,
        &config.shop,
        &config.http.public_url,
        deferred,
    );
    Ok(Arc::new(AppState {
        flow,
        keys,
        pages,
        frex,
        notifier,
        limits: Limits::new(
            &config.limits,
            &config.callback,
            &config.http.trusted_proxies,
        ),
        metrics,
        settings: config.http.clone(),
        callback: config.callback.clone(),
        health: Health::default(),
        busy: Arc::new(RwLock::new(())),
    }))
}

/// The client of Atom, and what opens its callbacks. All keys are derived here and never again.
fn atom(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<dyn Atom>, Arc<InboundKeys>), SettingsError> {
    let secrets = &config.atom_secrets;
    let inbound = Arc::new(secrets.inbound_keys(&config.atom.merch_id));
    let client = AtomClient::new(
        &config.atom,
        secrets,
        inbound.clone(),
        clock.clone(),
        metrics.clone(),
    )?;
    Ok((Arc::new(client), inbound))
}

/// What the checkout page is told.
fn checkout(config: &Config) -> Result<Checkout, SettingsError> {
    Ok(Checkout {
        script: config.atom.checkout_js()?.to_string(),
        env: config.atom.env.checkout_name().to_owned(),
        merch_id: config.atom.merch_id.clone(),
        return_url: format!("{}{RETURN_PATH}", config.http.public_url),
    })
}

async fn wait_for_signal(stop: watch::Sender<bool>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    log::info!("{name}: ending");
    stop.send_replace(true);
    Ok(())
}

/// Lets the requests that run, also those of callers that hung up, and the jobs come to their end.
async fn end(app: &App, jobs: Jobs, connections: GracefulShutdown, grace: Duration) {
    let quiet = async {
        tokio::join!(connections.shutdown(), jobs.finish());
        let _none_runs = app.busy.write().await;
    };
    if tokio::time::timeout(grace, quiet).await.is_err() {
        log::warn!(
            "some work did not end within {} s; recovery takes it up",
            grace.as_secs()
        );
    }
    app.flow.store.close().await;
    log::info!("ended");
}
