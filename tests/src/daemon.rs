//! The real daemon in tests: a generated configuration, the process, its applications and its centres.
//!
//! [`Plan`] is a directory with a configuration that suits tests: short timers, ports of its own, a journal on a real
//! disk. [`Daemon`] is a process that runs it; its log is kept, and shown when the test fails. [`App`] is an application
//! with the client library, [`RawLink`] one without, [`RawCentre`] a centre whose every byte a test decides. The centre
//! simulator is `loadgen`'s. Nothing here waits for luck: every wait is for a condition, and has a deadline.

mod app;
mod books;
mod plan;
mod process;
mod proxy;
mod raw_centre;
mod raw_link;

use std::time::{Duration, Instant};

pub use app::{App, Payment};
pub use books::{app_entry, assert_books_agree, assert_two_books_agree, settled_and_stopped};
pub use plan::{Plan, PlanLine};
pub use process::{Daemon, Programs, programs};
pub use proxy::CuttingProxy;
pub use raw_centre::RawCentre;
pub use raw_link::{RawLink, hello};

/// How long a test waits for anything that has to happen. Far beyond what it takes, for machines with other work.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
///
/// # Panics
/// If none comes within [`PATIENCE`]; `what` says in the message what was waited for.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
