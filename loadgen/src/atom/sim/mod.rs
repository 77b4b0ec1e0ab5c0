//! Atom, simulated (`spec/atom.md` 17).
//!
//! [`world`] is the state and has no sockets; [`auth`], [`pay`], [`status`], [`refund`] and [`callback`] are what can be
//! asked of it; [`faults`] decides what goes wrong. Around it [`gateway`] speaks Atom's form of HTTP, [`page`] is what the
//! customer sees, [`deliver`] sends callbacks, and [`control`] is for tests. [`Sim::start`] puts it all on loopback ports.

pub mod amount;
pub mod auth;
pub mod callback;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod crypt;
pub mod deliver;
pub mod faults;
pub mod gateway;
pub mod inbound;
pub mod message;
pub mod page;
pub mod pay;
pub mod port;
pub mod records;
pub mod refund;
pub mod status;
pub mod wire;
pub mod world;

#[cfg(test)]
mod golden_tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use url::Url;

use clock::Clock;
use config::{Keys, SimConfig};
use faults::Place;
use port::{Cut, Port};
use world::World;

/// Calls that may have a port of their own, with the name it is printed under.
pub const OWN_PORTS: [Place; 4] = [
    Place::Auth,
    Place::Status,
    Place::Refund,
    Place::RefundStatus,
];

/// The simulator cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port.
    #[error("cannot listen on {address}: {source}")]
    Port {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The client for callbacks.
    #[error("no client for callbacks: {0}")]
    Client(#[from] reqwest::Error),
}

/// What all parts of a running simulator share.
pub struct Shared {
    /// Keys and identity.
    pub keys: Keys,
    /// What it was started with.
    pub config: SimConfig,
    world: Mutex<World>,
    callback: Mutex<Option<Url>>,
    /// Something was planned, or the clock was moved.
    pub wake: Notify,
    /// Sends callbacks.
    pub client: reqwest::Client,
    doors: BTreeMap<String, watch::Sender<bool>>,
}

impl Shared {
    /// The state, for as long as the guard lives; it is never held across a wait.
    pub fn world(&self) -> MutexGuard<'_, World> {
        // Every change of the state is a few assignments; one that panicked left nothing half done.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where callbacks go.
    pub fn callback(&self) -> Option<Url> {
        self.callback
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sends callbacks somewhere else from now on.
    pub fn set_callback(&self, url: Option<Url>) {
        *self.callback.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    /// Begins anew with this seed; rules, clock and switches are as at the start.
    pub fn reset(&self, seed: u64) {
        let switches = self.config.switches.clone();
        *self.world() = World::new(seed, Clock::Runs { ahead_ms: 0 }, switches);
        self.move_doors();
        self.wake.notify_one();
    }

    /// Opens and closes the ports of single calls as the rules say.
    pub fn move_doors(&self) {
        let world = self.world();
        for place in OWN_PORTS {
            if let Some(door) = self.doors.get(&faults::word(place)) {
                door.send_replace(!world.faults.refuses(place));
            }
        }
    }
}

/// A running simulator. Dropping it ends it.
pub struct Sim {
    shared: Arc<Shared>,
    address: SocketAddr,
    own_ports: Vec<(Place, SocketAddr)>,
    // Held, because they end with it.
    _tasks: JoinSet<()>,
}

impl Sim {
    /// Starts it on this address, and on ports of the same host for single calls if the configuration wants them.
    ///
    /// # Errors
    /// A port cannot be listened on.
    pub async fn start(listen: SocketAddr, config: SimConfig) -> Result<Sim, StartError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(deliver::ANSWER_MAX)
            .build()?;
        let mut doors = BTreeMap::new();
        let mut ports = Vec::new();
        // The common port has no door: the control calls live there.
        let (_, always) = watch::channel(true);
        let common = bind(listen, always).await?;
        let address = common.address();
        if config.own_ports {
            for place in OWN_PORTS {
                let (door, open) = watch::channel(true);
                let ip = match address.ip() {
                    ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    ip => ip,
                };
                ports.push((place, bind(SocketAddr::new(ip, 0), open).await?));
                doors.insert(faults::word(place), door);
            }
        }
        let switches = config.switches.clone();
        let shared = Arc::new(Shared {
            keys: Keys::derive(config.identity.clone()),
            world: Mutex::new(World::new(
                config.seed,
                Clock::Runs { ahead_ms: 0 },
                switches,
            )),
            callback: Mutex::new(config.callback.clone()),
            config,
            wake: Notify::new(),
            client,
            doors,
        });
        let own_ports = ports
            .iter()
            .map(|(place, port)| (*place, port.address()))
            .collect();
        let router = gateway::routes()
            .merge(page::routes())
            .merge(control::routes())
            .with_state(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        for port in std::iter::once(common).chain(ports.into_iter().map(|(_, port)| port)) {
            tasks.spawn(serve(port, router.clone()));
        }
        tasks.spawn(deliver::run(Arc::clone(&shared)));
        Ok(Sim {
            shared,
            address,
            own_ports,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The ports of single calls.
    #[must_use]
    pub fn own_ports(&self) -> &[(Place, SocketAddr)] {
        &self.own_ports
    }

    /// Its parts, for tests in the same process.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

async fn bind(address: SocketAddr, open: watch::Receiver<bool>) -> Result<Port, StartError> {
    let port = Port::bind(address, open).await;
    port.map_err(|source| StartError::Port { address, source })
}

async fn serve(port: Port, router: Router) {
    let service = router.into_make_service_with_connect_info::<Cut>();
    // It ends only with the task: errors of connections are theirs, and accepting never fails for good.
    let _ = axum::serve(port, service).await;
}
