//! A worker in a process of its own: this test program once more, told by its standard input what to do.
//!
//! It has a clock of its own that moves with its runs, so that hours pass in a moment, and crash points that end the process
//! as `kill -9` would ([`commerce::points`]).

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use commerce::clock::Clock;
use commerce::frex::settings::WorkerSettings;
use commerce::frex::shop::Shop;
use commerce::frex::worker::{RunError, Worker};
use commerce::points::{self, Points};
use commerce::store::{Store, StoreSettings};

use crate::frex_support::MINUTE_MS;
use crate::rig;

const URL: &str = "FREX_CHILD_DATABASE";
const AGENCY: &str = "FREX_CHILD_AGENCY";
const NOW: &str = "FREX_CHILD_NOW_MS";
const SETTINGS: &str = "FREX_CHILD_SETTINGS";
const OWNER: &str = "FREX_CHILD_OWNER";
/// What the child says begins so; the test harness talks on the same pipe.
const MARK: char = '@';
/// No child lives longer, whatever becomes of its parent.
const LIFE_MAX: Duration = Duration::from_secs(120);
const CALL_TIMEOUT_MS: u64 = 5_000;
/// Runs until nothing is left to do, at most.
const RUNS_MAX: usize = 60;

/// How a child is started.
pub struct Start<'a> {
    pub url: &'a str,
    pub agency: String,
    /// Its time; `None` is the system's.
    pub now_ms: Option<i64>,
    /// Settings as JSON.
    pub settings: &'a str,
    pub owner: &'a str,
    /// Where it ends itself.
    pub crash_at: Option<&'a str>,
}

/// A running child.
pub struct Process {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one.
    pub fn start(start: &Start<'_>) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command
            .args([
                "--ignored",
                "--exact",
                "--nocapture",
                "child::worker_process",
            ])
            .env(URL, start.url)
            .env(AGENCY, &start.agency)
            .env(SETTINGS, start.settings)
            .env(OWNER, start.owner)
            .env(
                NOW,
                start.now_ms.map_or(String::new(), |now| now.to_string()),
            )
            .env(points::VARIABLE, start.crash_at.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let input = child.stdin.take().expect("its input");
        let output = child.stdout.take().expect("its output");
        Self {
            child,
            input,
            lines: BufReader::new(output).lines(),
        }
    }

    /// Tells it something, and gives its answer; none if it died of it.
    pub fn tell(&mut self, order: &str) -> Option<String> {
        writeln!(self.input, "{order}").ok()?;
        self.hear()
    }

    /// What it says next; none if it is dead.
    pub fn hear(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// Says something and waits for no answer.
    pub fn say(&mut self, order: &str) {
        // A child that is dead already has nothing to hear.
        let _ = writeln!(self.input, "{order}");
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whether it is dead already or now: afterwards it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Longer than the wait between questions about a held order.
const HOLD_MIN: i64 = 37;

/// What the child works with.
struct Work {
    shop: Shop,
    clock: Clock,
    /// Crashes where it was told to.
    armed: Worker,
    /// Crashes nowhere.
    safe: Worker,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("only a parent starts this: no {name}"))
}

impl Work {
    async fn new() -> Self {
        let store = Store::open(&variable(URL), &StoreSettings::default())
            .await
            .expect("the database opens");
        let clock = match variable(NOW).parse() {
            Ok(now) => Clock::manual(now),
            Err(_) => Clock::system(),
        };
        let settings: WorkerSettings =
            serde_json::from_str(&variable(SETTINGS)).expect("settings in JSON");
        let points = Points::from_env(true);
        let shop = rig::shop(store, clock.clone(), &settings, points.clone());
        let (agency, owner) = (variable(AGENCY), variable(OWNER));
        let worker = |points| {
            let client = rig::client(&agency, CALL_TIMEOUT_MS);
            rig::worker(&shop, client, points, &owner)
        };
        let (armed, safe) = (worker(points), worker(Points::none()));
        Self {
            shop,
            clock,
            armed,
            safe,
        }
    }

    /// Runs until nothing is left to do; says the time.
    async fn settle(&self) -> String {
        for _ in 0..RUNS_MAX {
            self.clock.advance(11 * MINUTE_MS);
            let report = self.safe.run_if_due().await.expect("a run");
            assert!(report.whole(), "a step failed: {report:?}");
            if report.idle() && rig::open_requests(&self.shop.store).await == 0 {
                return format!("quiet {}", self.clock.now_ms());
            }
        }
        "restless".to_owned()
    }

    /// Orders of every fate, and runs enough to bring each kind of step to work; somewhere in it the armed point lies.
    async fn script(&self, name: &str) -> String {
        let order = |of: &str| format!("K{name}-{of}");
        for of in ["A", "B", "C", "D", "E-HA"] {
            rig::place(&self.shop, &order(of), 1_000).await;
        }
        self.run().await;
        // In flight: B is changed, C and D are cancelled.
        rig::edit(&self.shop, &order("B"), 1_500).await;
        for of in ["C", "D"] {
            self.shop.cancel(&order(of)).await.expect("a cancel");
        }
        self.run().await;
        // Held: E is cancelled while the question about it is open.
        self.shop.cancel(&order("E-HA")).await.expect("a cancel");
        // It is due by then: the question is dropped because of the cancel, before the cancel is done.
        self.clock.advance(HOLD_MIN * MINUTE_MS);
        for _ in 0..3 {
            self.run().await;
        }
        format!("survived {}", self.clock.now_ms())
    }

    async fn run(&self) {
        self.clock.advance(6 * MINUTE_MS);
        self.armed.run_if_due().await.expect("a run");
    }

    /// Runs whenever it may, until told to stop; says how many runs it had.
    async fn compete(&self, mut stop: tokio::sync::watch::Receiver<bool>) -> String {
        let mut runs = 0;
        while !*stop.borrow_and_update() {
            match self.safe.run_if_due().await {
                Ok(_) => runs += 1,
                Err(RunError::Held(_)) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => return format!("failed {error}"),
            }
        }
        format!("runs {runs}")
    }
}

/// The child: reads what to do, line by line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a worker in a process of its own, which other tests start"]
async fn worker_process() {
    let work = Work::new().await;
    let (orders, mut heard) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if orders.send(line).is_err() {
                return;
            }
        }
        // The parent is gone.
        std::process::exit(0);
    });
    let life = tokio::time::timeout(LIFE_MAX, async {
        while let Some(order) = heard.recv().await {
            let said = match order.split_once(' ').unwrap_or((&order, "")) {
                ("settle", _) => work.settle().await,
                ("script", name) => work.script(name).await,
                ("compete", _) => {
                    let (stop, stopped) = tokio::sync::watch::channel(false);
                    let (said, _) = tokio::join!(work.compete(stopped), async {
                        // Whatever is heard next ends it.
                        let _ = heard.recv().await;
                        stop.send_replace(true);
                    });
                    said
                }
                _ => panic!("unknown order '{order}'"),
            };
            println!("{MARK}{said}");
        }
    });
    life.await.expect("it ends in time");
}
