//! `sekishod`: reads the configuration, starts one thread a shard, and waits for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use config::Config;
use engine::control::{Control, Reach, log_file};
use engine::settings;
use engine::shard::{Ended, Setup, Shard, ShardError};

/// The payment-centre gateway between applications and the CAFIS centre.
#[derive(Parser)]
#[command(name = "sekishod", version)]
struct Arguments {
    /// The configuration to run.
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    config: Option<PathBuf>,
    /// Check a configuration, say what is wrong with it, and end.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (path, check) = match (arguments.check, arguments.config) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path, false),
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let loaded = match Config::load(&path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::from(2);
        }
    };
    loaded
        .warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    if check {
        println!(
            "{}: {} lines on {} shards, no errors",
            path.display(),
            loaded.config.lines.len(),
            loaded.config.shards.len()
        );
        return ExitCode::SUCCESS;
    }
    match run(&loaded.config) {
        Ok(Ended::Clean) => ExitCode::SUCCESS,
        Ok(Ended::Forced) => ExitCode::from(3),
        Err(message) => {
            eprintln!("sekishod: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Starts everything and waits until every shard has ended. The first error of a shard ends the daemon: a part of a
/// gateway that goes on alone would look healthy and is not.
fn run(config: &Config) -> Result<Ended, String> {
    log_file::start(config.log_file.as_deref(), config.log_level).map_err(|error| {
        let at = config
            .log_file
            .as_ref()
            .map_or("standard error".into(), |path| path.display().to_string());
        format!("cannot write the log to {at}: {error}; check log_file and its permissions")
    })?;
    let boot = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |time| time.as_nanos() as u64);
    let secret = secret().map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    let mut control = Control::new(config.shards.len());
    let (ready, wait_ready) = channel();
    let (done, wait_done) = channel();
    for number in 0..config.shards.len() {
        let (console, inbox) = control.ends_of(number);
        let setup = Setup {
            config: config.clone(),
            number,
            boot,
            secret,
            inbox,
            console,
        };
        let (ready, done, core) = (ready.clone(), done.clone(), config.shards[number].core);
        let spawned = std::thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || {
                if core
                    .is_some_and(|id| !core_affinity::set_for_current(core_affinity::CoreId { id }))
                {
                    log::warn!(
                        "shard {number} cannot be pinned to core {}",
                        core.unwrap_or_default()
                    );
                }
                // Nothing of the shard is used after a panic, so that nothing broken is seen.
                let ended = catch_unwind(AssertUnwindSafe(move || {
                    let shard = Shard::new(setup)?;
                    let _ = ready.send((number, shard.waker()));
                    // Whoever waits for the others must not wait for this one.
                    drop(ready);
                    shard.run()
                }));
                let _ = done.send((number, ended));
            });
        spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    drop((ready, done));
    let mut wakers: Vec<_> = wait_ready.iter().take(config.shards.len()).collect();
    let mut reach = Vec::new();
    if wakers.len() == config.shards.len() {
        wakers.sort_by_key(|(number, _)| *number);
        let named = |line: &config::Line| (u32::from(line.id), line.name.clone());
        let lines = config.lines.iter().map(named).collect();
        let wakers = wakers.into_iter().map(|(_, waker)| waker).collect();
        let started = control.start(settings::journal_dir(config), lines, wakers);
        reach = started.map_err(|error| format!("cannot start the control threads: {error}"))?;
        log::info!("sekishod {} is ready", env!("CARGO_PKG_VERSION"));
    }
    wait(&wait_done, &reach, config.shards.len())
}

type Done = (usize, std::thread::Result<Result<Ended, ShardError>>);

/// Waits for every shard. An order that stops one in order stops the others the same way; a forced stop, an error
/// or a broken invariant ends the daemon at once, and the next start recovers.
fn wait(done: &Receiver<Done>, reach: &[Reach], shards: usize) -> Result<Ended, String> {
    for (number, ended) in done.iter().take(shards) {
        match ended {
            Ok(Ok(Ended::Clean)) => {
                log::info!("shard {number} has stopped");
                reach.iter().for_each(Reach::terminate);
            }
            Ok(Ok(Ended::Forced)) => return Ok(Ended::Forced),
            Ok(Err(error)) => return Err(format!("shard {number}: {error}")),
            Err(_) => {
                let text = "died of a broken invariant, see above; the journal is truthful, start the daemon again";
                return Err(format!("shard {number} {text}"));
            }
        }
    }
    Ok(Ended::Clean)
}

fn secret() -> std::io::Result<[u64; 2]> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| {
        half.iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    Ok([word(low), word(high)])
}
