//! How many transactions a second the centre alone can answer, for whoever wants the figure:
//! `cargo test --release -p loadgen --test centre_speed -- --ignored --nocapture`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use codec::cafis::header::{set_route, set_sequence};
use loadgen::centre::{Centre, CentreConfig};

const F01: &[u8] = include_bytes!("../../tests/golden/cafis/F01.frame");
const F09: &[u8] = include_bytes!("../../tests/golden/cafis/F09.frame");
const ROUTES: usize = 189;
const RUN: Duration = Duration::from_secs(5);

/// A blaster keeps every route of one line busy on one connection; a batch is sent when the one before is answered.
#[test]
#[ignore = "a measurement of some seconds, not a check"]
fn transactions_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = CentreConfig {
        lines: vec![format!("at={address}").parse().expect("a line")],
        ledger: std::env::var_os("NO_LEDGER").is_none(),
        ledger_capacity: 8_000_000,
        spin: std::env::var_os("SPIN").is_some(),
        ..CentreConfig::default()
    };
    let centre = Centre::start_thread(config).expect("a centre");
    let (mut stream, _) = listener.accept().expect("the centre connects");
    stream.set_nodelay(true).expect("no delay");
    stream.write_all(F01).expect("sign-on");
    stream.read_exact(&mut [0; 63]).expect("permission");
    let mut batch: Vec<u8> = F09.repeat(ROUTES);
    let mut answers = vec![0; batch.len()];
    let (mut done, mut sequence) = (0u64, 0u32);
    let start = Instant::now();
    while start.elapsed() < RUN {
        for (slot, frame) in batch.chunks_mut(F09.len()).enumerate() {
            sequence = sequence % 999_999 + 1;
            set_route(frame, 2 * slot as u16 + 2);
            set_sequence(frame, sequence);
            // A key of its own: terminal serial and sequence count on.
            let key = format!("{:05}{:05}", done / 99_999 % 100_000, done % 99_999 + 1);
            frame[63 + 27..63 + 37].copy_from_slice(key.as_bytes());
            done += 1;
        }
        stream.write_all(&batch).expect("said");
        stream.read_exact(&mut answers).expect("heard");
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_ns = centre_cpu_ns();
    println!(
        "{:.0} transactions/s, {:.0} ns of CPU each in the centre; {}",
        done as f64 / seconds,
        cpu_ns as f64 / done as f64,
        centre.control("stats")
    );
    let finished = centre.stop().expect("stopped");
    assert_eq!(finished.stats().approved, done);
    assert_eq!(finished.stats().anomalies, 0);
}

/// CPU time of the thread called `centre`, which the kernel counts in nanoseconds.
fn centre_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a list of threads");
    let named = tasks.flatten().map(|task| task.path()).find(|task| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "centre")
    });
    let text = std::fs::read_to_string(named.expect("the centre's thread").join("schedstat"));
    let text = text.expect("its times");
    let first = text.split(' ').next().expect("a number");
    first.parse().expect("nanoseconds")
}
