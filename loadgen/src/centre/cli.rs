//! `loadgen centre cafis`: options, and the process around a [`Centre`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::behaviour::Scenario;
use super::config::{self, CentreConfig, LineConfig, LineError, ReportSession};
use super::{Centre, control_port, os};

/// Which centre to play.
#[derive(Debug, Subcommand)]
pub enum CentreCommand {
    /// The CAFIS centre and the issuers behind it: connects to gateways that listen.
    Cafis(Box<CafisArgs>),
    /// The Atom payment gateway: token issue, hosted page, callbacks, status and refunds, with faults on order
    Atom(Box<crate::atom::sim::cli::AtomArgs>),
    /// The deferred-payment agency: acceptance numbers and the public interface, with faults on order
    Frex(Box<crate::frex::cli::FrexArgs>),
}

/// Options of `loadgen centre cafis`.
#[derive(Debug, Args)]
pub struct CafisArgs {
    /// A line: at=HOST:PORT[,name=C01][,sessions=1][,company=TEST001][,sub=0000][,x2=1][,routes=189]; may be repeated
    #[arg(long = "line", value_name = "KEY=VALUE,...")]
    lines: Vec<String>,
    /// Make this many lines of each --line: ports and names count up, # in the company code becomes the number
    #[arg(long, value_name = "N", default_value_t = 1)]
    lines_count: usize,
    /// Play every line of this sekishod configuration
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
    /// Rules and timed orders, as TOML ([[rule]] and [[at]])
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// An order to give at the start, such as "delay 5-20"; may be repeated (see the order help on the control port)
    #[arg(long = "order", value_name = "ORDER")]
    orders: Vec<String>,
    /// Take orders on this loopback address; port 0 lets the system choose, and the choice is printed
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
    /// Write the ledger here at the end
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Keep no ledger; sequences that come again are still counted
    #[arg(long, conflicts_with = "ledger")]
    no_ledger: bool,
    /// Transactions to take memory for at the start
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    ledger_capacity: usize,
    /// Poll without sleeping: quickest, and a whole core
    #[arg(long)]
    spin: bool,
    /// Wait this long before connecting again after a failure [default: 80 s four times, then 180 s; 1 s after a close]
    #[arg(long, value_name = "MS")]
    reconnect_ms: Option<u64>,
    /// How long the issuer and the gateway may take to report (t13, t15)
    #[arg(long, value_name = "MS", default_value_t = 55_000)]
    t13_ms: u64,
    /// How long the gateway may take to answer a command (t10, t12)
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    t10_ms: u64,
    /// How long to wait before 0010 is sent again (t11)
    #[arg(long, value_name = "MS", default_value_t = 210_000)]
    t11_ms: u64,
    /// How long the rest of a frame may take
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    follow_on_ms: u64,
    /// Connection of a report
    #[arg(long, value_enum, default_value_t = Which::Same)]
    report_session: Which,
    /// Open service by 0010 as soon as a line is up
    #[arg(long)]
    start: bool,
    /// Send 4110 before 0810
    #[arg(long)]
    counter_at_end: bool,
    /// A registered issuer, company or company/sub; may be repeated [default: all]
    #[arg(long = "issuer", value_name = "CODE")]
    issuers: Vec<String>,
    /// The centre's date MMDD [default: today in Japan]
    #[arg(long, value_name = "MMDD")]
    month_day: Option<String>,
    /// First number of the centre
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=999_999))]
    first_sequence: u32,
    /// Approval number of every approval, 7 characters [default: the centre's number]
    #[arg(long, value_name = "NUMBER")]
    approval: Option<String>,
    /// Decides every percentage
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// [`ReportSession`] as an option.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// That of the request
    Same,
    /// Another one
    Other,
    /// All in turn
    InTurn,
}

impl CafisArgs {
    /// The configuration these options describe.
    ///
    /// # Errors
    /// One sentence naming the option, the reason and what is allowed.
    pub fn config(&self) -> Result<CentreConfig, String> {
        let mut lines = Vec::new();
        for template in &self.lines {
            lines.extend(
                config::repeat(template, self.lines_count)
                    .map_err(|error| format!("--line: {error}"))?,
            );
        }
        if let Some(path) = &self.daemon {
            lines.extend(of_daemon(path).map_err(|error| format!("--daemon: {error}"))?);
        }
        let mut timers = config::Timers {
            t10_ms: self.t10_ms,
            t11_ms: self.t11_ms,
            t12_ms: self.t10_ms,
            t13_ms: self.t13_ms,
            t15_ms: self.t13_ms,
            follow_on_ms: self.follow_on_ms,
            ..config::Timers::default()
        };
        if let Some(ms) = self.reconnect_ms {
            (
                timers.reconnect_ms,
                timers.reconnect_slow_ms,
                timers.reconnect_orderly_ms,
            ) = (ms, ms, ms);
        }
        let issuers = self.issuers.iter().map(|text| {
            let (company, sub) = text.split_once('/').unwrap_or((text, "0000"));
            config::company_code(company, sub)
                .ok_or_else(|| format!("--issuer {text}: no company code"))
        });
        Ok(CentreConfig {
            lines,
            timers,
            issuers: issuers.collect::<Result<_, _>>()?,
            first_sequence: self.first_sequence,
            month_day: fixed("--month-day", self.month_day.as_deref())?,
            approval: fixed("--approval", self.approval.as_deref())?,
            ledger: !self.no_ledger,
            ledger_capacity: self.ledger_capacity,
            spin: self.spin,
            report_session: match self.report_session {
                Which::Same => ReportSession::Same,
                Which::Other => ReportSession::Other,
                Which::InTurn => ReportSession::InTurn,
            },
            start_by_centre: self.start,
            counter_at_end: self.counter_at_end,
            scenario: self
                .scenario
                .as_deref()
                .map_or(Ok(Scenario::default()), read_scenario)?,
            seed: self.seed,
        })
    }
}

fn fixed<const N: usize>(option: &str, text: Option<&str>) -> Result<Option<[u8; N]>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    let bytes = text.as_bytes().try_into();
    bytes
        .map(Some)
        .map_err(|_| format!("{option} {text}: must be {N} characters"))
}

fn read_scenario(path: &Path) -> Result<Scenario, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The lines of a daemon's configuration, seen from the other side. A wildcard address is reached on loopback.
fn of_daemon(path: &Path) -> Result<Vec<LineConfig>, LineError> {
    let loaded = ::config::Config::load(path).map_err(|problems| {
        let first = problems
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        LineError::Daemon { problem: first }
    })?;
    loaded.config.lines.iter().map(of_daemon_line).collect()
}

fn of_daemon_line(line: &::config::Line) -> Result<LineConfig, LineError> {
    let company =
        config::company_code(&line.company, &line.sub).ok_or_else(|| LineError::Daemon {
            problem: format!(
                "line {}: '{}/{}' is no company code",
                line.name, line.company, line.sub
            ),
        })?;
    let gateways = line.listen.iter().map(|address| {
        if address.ip().is_unspecified() {
            SocketAddr::from(([127, 0, 0, 1], address.port()))
        } else {
            *address
        }
    });
    Ok(LineConfig {
        name: line.name.clone(),
        gateways: gateways.collect(),
        sessions: line.accept_count as usize,
        company,
        x2: b'1',
        routes: line.route_count,
    })
}

/// Plays a centre until SIGINT, SIGTERM or, with CAFIS, the order `quit`; the CAFIS centre and the agency then write their ledger.
///
/// # Errors
/// One sentence for the operator.
pub fn run(command: CentreCommand) -> Result<(), String> {
    match command {
        CentreCommand::Cafis(args) => run_cafis(&args),
        CentreCommand::Atom(args) => crate::atom::sim::cli::run(&args),
        CentreCommand::Frex(args) => crate::frex::cli::run(&args),
    }
}

fn run_cafis(args: &CafisArgs) -> Result<(), String> {
    let config = args.config()?;
    let sessions: usize = config.lines.iter().map(|line| line.sessions).sum();
    let limit = os::raise_descriptor_limit();
    if limit < sessions as u64 + 64 {
        return Err(format!(
            "{sessions} sessions need more descriptors than the {limit} allowed; raise ulimit -n"
        ));
    }
    os::hold_stop_signals();
    let lines = config.lines.len();
    let handle = Centre::start_thread(config).map_err(|error| error.to_string())?;
    for order in &args.orders {
        let reply = handle.control(order);
        if reply.starts_with("error") {
            return Err(format!("--order {order}: {reply}"));
        }
    }
    if let Some(address) = args.control {
        let local = control_port::listen(address, handle.remote())
            .map_err(|error| format!("--control {address}: {error}"))?;
        println!("control {local}");
    }
    let remote = handle.remote();
    spawn("signals", move || {
        os::wait_for_stop();
        remote.control("quit");
    })?;
    // The wait for readiness ends with the centre, whichever comes first.
    if handle.wait_ready(Duration::MAX).is_some() {
        println!("ready lines={lines} sessions={sessions}");
    }
    let finished = handle
        .join()
        .map_err(|error| format!("the centre stopped: {error}"))?;
    println!("{}", finished.stats());
    if let Some(path) = &args.ledger {
        finished
            .write_ledger(path)
            .map_err(|error| format!("--ledger {}: {error}", path.display()))?;
    }
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    spawned
        .map(drop)
        .map_err(|error| format!("no thread for {name}: {error}"))
}
