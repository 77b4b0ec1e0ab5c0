//! Places where a crash is tried.
//!
//! Between two durable statements, and before and after a call to the outside, the code reaches a named point. A test arms
//! one: the task that reaches it stops there for ever, and the test drops it, which is a crash at exactly that place. For a
//! real process against a simulator `COMMERCED_CRASH_AT=name[:nth]` ends the process there as `kill -9` would. Otherwise a point costs
//! one look at an empty slot. Each part keeps its points in a const table, which its tests walk.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The variable that crashes a process: a point's name, and which time it is reached (the first if not given).
pub const VARIABLE: &str = "COMMERCED_CRASH_AT";

/// The points of one service. Clones share what is armed.
#[derive(Clone, Default)]
pub struct Points(Option<Arc<Inner>>);

struct Inner {
    state: Mutex<State>,
    on: On,
}

enum On {
    /// The task stops, and who armed the point is told.
    Stop(watch::Sender<bool>),
    /// The process ends.
    Abort,
}

struct State {
    armed: Option<(String, u64)>,
    seen: BTreeSet<&'static str>,
}

impl Points {
    /// No point does anything.
    pub fn none() -> Points {
        Points::default()
    }

    /// As the environment says, see [`VARIABLE`], where only a simulator is talked to: a process that serves people ends by no
    /// forgotten variable.
    pub fn from_env(simulated: bool) -> Points {
        let order = std::env::var(VARIABLE).unwrap_or_default();
        Points::ordered(&order, simulated)
    }

    fn ordered(order: &str, simulated: bool) -> Points {
        if order.is_empty() {
            return Points::none();
        }
        if !simulated {
            log::warn!("{VARIABLE}={order} is ignored: it is for atom.env = \"sim\"");
            return Points::none();
        }
        let (name, nth) = order.rsplit_once(':').unwrap_or((order, "1"));
        let nth = nth.parse().unwrap_or_else(|_| {
            panic!("{VARIABLE}={order}: after the colon stands which time, a number from 1")
        });
        Points::make(Some((name.to_owned(), nth)), On::Abort)
    }

    /// Nothing armed yet, but every point that is reached is noted.
    pub fn watched() -> Points {
        Points::make(None, On::Stop(watch::Sender::new(false)))
    }

    fn make(armed: Option<(String, u64)>, on: On) -> Points {
        Points(Some(Arc::new(Inner {
            state: Mutex::new(State {
                armed,
                seen: BTreeSet::new(),
            }),
            on,
        })))
    }

    /// Stops the task that reaches this point for the `nth` time from now, counted from 1.
    ///
    /// # Panics
    /// If these points were not made by [`Points::watched`].
    pub fn arm(&self, name: &str, nth: u64) {
        let inner = self.0.as_ref().expect("only watched points are armed");
        let On::Stop(hit) = &inner.on else {
            panic!("only watched points are armed")
        };
        hit.send_replace(false);
        inner.lock().armed = Some((name.to_owned(), nth));
    }

    /// Waits until the armed point was reached.
    pub async fn hit(&self) {
        if let Some(Inner {
            on: On::Stop(hit), ..
        }) = self.0.as_deref()
        {
            // The sender is held by this very handle, so the wait can end in one way only.
            let _ = hit.subscribe().wait_for(|hit| *hit).await;
        }
    }

    /// The points reached so far.
    pub fn seen(&self) -> BTreeSet<&'static str> {
        self.0
            .as_ref()
            .map(|inner| inner.lock().seen.clone())
            .unwrap_or_default()
    }

    /// This place is reached. Returns at once, or, where a crash is ordered, never.
    pub async fn reach(&self, name: &'static str) {
        let Some(inner) = &self.0 else { return };
        if !inner.strikes(name) {
            return;
        }
        match &inner.on {
            On::Abort => std::process::abort(),
            On::Stop(hit) => {
                hit.send_replace(true);
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strikes(&self, name: &'static str) -> bool {
        let mut state = self.lock();
        state.seen.insert(name);
        let Some((armed, left)) = &mut state.armed else {
            return false;
        };
        if armed != name {
            return false;
        }
        *left -= 1;
        let now = *left == 0;
        if now {
            state.armed = None;
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An armed point stops the task the time it was armed for, and only that one; after it the points are free again.
    #[tokio::test]
    async fn the_armed_time_stops() {
        let points = Points::watched();
        points.arm("b", 2);
        let task = tokio::spawn({
            let points = points.clone();
            async move {
                for name in ["a", "b", "a", "b", "never"] {
                    points.reach(name).await;
                }
            }
        });
        points.hit().await;
        assert!(!task.is_finished());
        task.abort();
        assert_eq!(points.seen().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        points.reach("b").await;
        Points::none().reach("b").await;
    }

    /// A process that serves people ends by no variable, one against a simulator does.
    #[test]
    fn only_a_simulated_process_is_crashed() {
        assert!(Points::ordered("a:2", false).0.is_none());
        assert!(Points::ordered("a:2", true).0.is_some());
        assert!(Points::ordered("", true).0.is_none());
    }
}
