//! `loadgen centre atom`: options, and the process around a [`Sim`].

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use super::Sim;
use super::config::{Identity, SimConfig, Switches};
use super::faults;

/// Options of `loadgen centre atom`.
#[derive(Args, Clone, Debug)]
pub struct AtomArgs {
    /// Listen on this address; port 0 lets the system choose, and the choice is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Send callbacks to this URL; without it none are sent until one is given at /_sim/callback
    #[arg(long, value_name = "URL")]
    callback: Option<Url>,
    /// Give AUTH, status, refund and refund status ports of their own too, so that each can refuse connections; they are printed
    #[arg(long)]
    own_ports: bool,
    /// Decides every share and jitter
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Switches to start with, as JSON or @FILE; GET /_sim/switches shows them all
    #[arg(long, value_name = "JSON")]
    switches: Option<String>,
    /// Rules of faults to start with, as a JSON array or @FILE
    #[arg(long, value_name = "JSON")]
    faults: Option<String>,
    /// Merchant number
    #[arg(long, value_name = "DIGITS", default_value = "317157")]
    merch_id: String,
    /// Read password, keys and salts from this TOML file instead of the published dummy ones
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// The file of `--keys`. Members that are left out stay as published.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    password: Option<String>,
    api_secret: Option<String>,
    req_key: Option<String>,
    req_salt: Option<String>,
    res_key: Option<String>,
    res_salt: Option<String>,
    old_res_key: Option<String>,
    old_res_salt: Option<String>,
    req_hash_key: Option<String>,
    res_hash_key: Option<String>,
    old_res_hash_key: Option<String>,
}

/// JSON as it is, or from the file behind an `@`.
fn json<T: serde::de::DeserializeOwned>(option: &str, text: &str) -> Result<T, String> {
    let read;
    let text = match text.strip_prefix('@') {
        Some(file) => {
            read = std::fs::read_to_string(file)
                .map_err(|error| format!("{option} {file}: {error}"))?;
            &read
        }
        None => text,
    };
    serde_json::from_str(text).map_err(|error| format!("{option}: {error}"))
}

impl AtomArgs {
    /// The configuration that these options describe.
    ///
    /// # Errors
    /// One sentence naming the option and the reason.
    pub fn config(&self) -> Result<SimConfig, String> {
        let switches = self
            .switches
            .as_deref()
            .map(|text| json("--switches", text));
        Ok(SimConfig {
            identity: self.identity()?,
            callback: self.callback.clone(),
            seed: self.seed,
            switches: switches.transpose()?.unwrap_or_else(Switches::default),
            own_ports: self.own_ports,
        })
    }

    fn identity(&self) -> Result<Identity, String> {
        if self.merch_id.is_empty() || !self.merch_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("--merch-id {}: must be digits", self.merch_id));
        }
        let mut identity = Identity {
            merch_id: self.merch_id.clone(),
            ..Identity::default()
        };
        let Some(path) = &self.keys else {
            return Ok(identity);
        };
        let fail = |error: &dyn std::fmt::Display| format!("--keys {}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
        let file: KeyFile = toml::from_str(&text).map_err(|error| fail(&error))?;
        let places = [
            (file.password, &mut identity.password),
            (file.api_secret, &mut identity.api_secret),
            (file.req_key, &mut identity.request.0),
            (file.req_salt, &mut identity.request.1),
            (file.res_key, &mut identity.response.0),
            (file.res_salt, &mut identity.response.1),
            (file.old_res_key, &mut identity.old_response.0),
            (file.old_res_salt, &mut identity.old_response.1),
            (file.req_hash_key, &mut identity.request_hash),
            (file.res_hash_key, &mut identity.response_hash),
            (file.old_res_hash_key, &mut identity.old_response_hash),
        ];
        for (given, place) in places {
            if let Some(text) = given {
                *place = text;
            }
        }
        Ok(identity)
    }
}

/// Plays Atom until SIGINT or SIGTERM.
///
/// # Errors
/// One sentence for the operator.
pub fn run(args: &AtomArgs) -> Result<(), String> {
    let config = args.config()?;
    let rules: Vec<faults::Rule> = match &args.faults {
        Some(text) => json("--faults", text)?,
        None => Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let mut stops = [SignalKind::interrupt(), SignalKind::terminate()]
            .map(|kind| signal(kind).map_err(|error| format!("no signal handler: {error}")));
        let sim = Sim::start(args.listen, config)
            .await
            .map_err(|error| error.to_string())?;
        for rule in rules {
            let added = sim.shared().world().faults.add(rule);
            added.map_err(|error| format!("--faults: {error}"))?;
        }
        sim.shared().move_doors();
        for (place, address) in sim.own_ports() {
            println!("{} http://{address}", faults::word(*place));
        }
        println!("ready http://{}", sim.address());
        match &mut stops {
            [Ok(interrupt), Ok(terminate)] => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                Ok(())
            }
            [Err(problem), _] | [_, Err(problem)] => Err(problem.clone()),
        }
    })
}
