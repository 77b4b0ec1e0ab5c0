//! The circuit breaker of one call (`spec/atom.md` 13.2).
//!
//! It opens after a row of system errors, or when most of the recent calls were system errors, or at once when Atom does
//! not accept the merchant. Open, it lets nothing through for a while; then one trial call decides. It is told the
//! time and asks no clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::{Api, CallObserver, CircuitState};

/// When a breaker opens, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// So many system errors in a row open it.
    pub errors_in_row: u32,
    /// The stretch of time whose calls are counted, in milliseconds.
    pub window_ms: i64,
    /// Among at least so many calls of the window, more than half being system errors opens it.
    pub window_calls_min: u32,
    /// How long it stays open before a trial, in milliseconds.
    pub open_ms: i64,
}

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings {
            errors_in_row: 5,
            window_ms: 30_000,
            window_calls_min: 20,
            open_ms: 15_000,
        }
    }
}

/// How long another caller waits while the trial is out, if the trial takes its usual time.
const TRIAL_WAIT: Duration = Duration::from_secs(1);

/// How a call ended, as far as the breaker cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A definite answer, also a refusal.
    Definite,
    /// No definite answer.
    SystemError,
    /// Atom does not accept the merchant: no further call makes sense until somebody mends the configuration.
    Stop,
}

/// The breaker of one call of one merchant.
pub struct Breaker {
    api: Api,
    settings: BreakerSettings,
    observer: Arc<dyn CallObserver>,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    errors_in_row: u32,
    /// Counts by second, oldest first.
    window: VecDeque<Second>,
}

enum State {
    Closed,
    Open {
        until_ms: i64,
    },
    /// The trial is out.
    HalfOpen,
}

struct Second {
    at_ms: i64,
    calls: u32,
    errors: u32,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(api: Api, settings: BreakerSettings, observer: Arc<dyn CallObserver>) -> Breaker {
        Breaker {
            api,
            settings,
            observer,
            inner: Mutex::new(Inner {
                state: State::Closed,
                errors_in_row: 0,
                window: VecDeque::new(),
            }),
        }
    }

    /// Lets a call through, or says when to come back.
    pub fn admit(&self, now_ms: i64) -> Result<Permit<'_>, Duration> {
        let mut inner = self.lock();
        let is_trial = match inner.state {
            State::Closed => false,
            State::HalfOpen => return Err(TRIAL_WAIT),
            State::Open { until_ms } if now_ms < until_ms => {
                // A clock that went back makes it wait no longer than a circuit is open.
                let left_ms = (until_ms - now_ms).min(self.settings.open_ms);
                inner.state = State::Open {
                    until_ms: now_ms + left_ms,
                };
                return Err(Duration::from_millis(left_ms.unsigned_abs()));
            }
            State::Open { .. } => {
                inner.state = State::HalfOpen;
                self.observer.circuit(self.api, CircuitState::HalfOpen);
                true
            }
        };
        Ok(Permit {
            breaker: self,
            is_trial,
            reported: false,
        })
    }

    /// Where it stands.
    pub fn state(&self) -> CircuitState {
        match self.lock().state {
            State::Closed => CircuitState::Closed,
            State::HalfOpen => CircuitState::HalfOpen,
            State::Open { .. } => CircuitState::Open,
        }
    }

    fn report(&self, is_trial: bool, outcome: Outcome, now_ms: i64) {
        let mut inner = self.lock();
        let is_closed = matches!(inner.state, State::Closed);
        if is_trial && outcome == Outcome::Definite {
            inner.state = State::Closed;
            inner.errors_in_row = 0;
            inner.window.clear();
            self.observer.circuit(self.api, CircuitState::Closed);
            return;
        }
        // A call that began before the circuit opened tells nothing new.
        if !is_trial && !is_closed {
            return;
        }
        let must_open = match outcome {
            Outcome::Stop => true,
            _ => is_trial || inner.count(outcome, now_ms, &self.settings),
        };
        if must_open {
            inner.state = State::Open {
                until_ms: now_ms + self.settings.open_ms,
            };
            inner.errors_in_row = 0;
            inner.window.clear();
            self.observer.circuit(self.api, CircuitState::Open);
        }
    }

    /// A trial that was given up without an outcome leaves the next call to be the trial.
    fn give_back(&self) {
        let mut inner = self.lock();
        if matches!(inner.state, State::HalfOpen) {
            inner.state = State::Open { until_ms: i64::MIN };
            self.observer.circuit(self.api, CircuitState::Open);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while it holds a breaker")
    }
}

impl Inner {
    /// Counts a call of a closed circuit and says whether the circuit must open.
    fn count(&mut self, outcome: Outcome, now_ms: i64, settings: &BreakerSettings) -> bool {
        let is_error = outcome == Outcome::SystemError;
        self.errors_in_row = if is_error { self.errors_in_row + 1 } else { 0 };
        let second_ms = now_ms - now_ms.rem_euclid(1000);
        match self.window.back_mut() {
            Some(last) if last.at_ms == second_ms => {
                last.calls += 1;
                last.errors += u32::from(is_error);
            }
            _ => self.window.push_back(Second {
                at_ms: second_ms,
                calls: 1,
                errors: u32::from(is_error),
            }),
        }
        let oldest_ms = now_ms - settings.window_ms;
        while self.window.front().is_some_and(|s| s.at_ms <= oldest_ms) {
            self.window.pop_front();
        }
        let calls: u32 = self.window.iter().map(|s| s.calls).sum();
        let errors: u32 = self.window.iter().map(|s| s.errors).sum();
        let most_fail = calls >= settings.window_calls_min && errors * 2 > calls;
        is_error && (self.errors_in_row >= settings.errors_in_row || most_fail)
    }
}

/// The leave to make one call. It is given back when it is dropped without a report.
pub struct Permit<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
    reported: bool,
}

impl Permit<'_> {
    /// Says how the call ended.
    pub fn done(mut self, outcome: Outcome, now_ms: i64) {
        self.reported = true;
        self.breaker.report(self.is_trial, outcome, now_ms);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_trial && !self.reported {
            self.breaker.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atom::call::Unobserved;

    fn breaker() -> Breaker {
        Breaker::new(
            Api::Status,
            BreakerSettings::default(),
            Arc::new(Unobserved),
        )
    }

    fn call(breaker: &Breaker, outcome: Outcome, now_ms: i64) {
        let permit = breaker
            .admit(now_ms)
            .unwrap_or_else(|_| panic!("shut at {now_ms}"));
        permit.done(outcome, now_ms);
    }

    /// Five errors in a row open it for 15 seconds; one trial then closes it, or opens it again.
    #[test]
    fn a_row_of_errors() {
        let breaker = breaker();
        for _ in 0..4 {
            call(&breaker, Outcome::SystemError, 0);
        }
        call(&breaker, Outcome::Definite, 0);
        for _ in 0..5 {
            assert_eq!(breaker.state(), CircuitState::Closed);
            call(&breaker, Outcome::SystemError, 1_000);
        }
        assert_eq!(breaker.admit(1_000).err(), Some(Duration::from_secs(15)));
        assert_eq!(breaker.admit(15_999).err(), Some(Duration::from_millis(1)));

        // The clock goes back by a day: it waits as long as ever, from there.
        let day_ms = 86_400_000;
        assert_eq!(breaker.admit(-day_ms).err(), Some(Duration::from_secs(15)));
        assert_eq!(
            breaker.admit(14_999 - day_ms).err(),
            Some(Duration::from_millis(1))
        );

        let trial = breaker.admit(16_000).expect("a trial");
        assert_eq!(breaker.state(), CircuitState::HalfOpen);
        assert_eq!(
            breaker.admit(16_000).err(),
            Some(TRIAL_WAIT),
            "one trial at a time"
        );
        trial.done(Outcome::SystemError, 16_000);
        assert_eq!(breaker.admit(30_999).err(), Some(Duration::from_millis(1)));
        call(&breaker, Outcome::Definite, 31_000);
        assert_eq!(breaker.state(), CircuitState::Closed);
    }

    /// More than half of twenty calls within thirty seconds open it, without five in a row.
    #[test]
    fn most_of_the_window() {
        let half = breaker();
        for n in 0..40 {
            let outcome = [Outcome::Definite, Outcome::SystemError][n % 2];
            call(&half, outcome, 1_000 * n as i64);
        }
        assert_eq!(
            half.state(),
            CircuitState::Closed,
            "just half is not more than half"
        );

        let most = breaker();
        for n in 0..19 {
            let outcome = if n % 3 == 2 {
                Outcome::Definite
            } else {
                Outcome::SystemError
            };
            call(&most, outcome, 1_000 * n);
        }
        assert_eq!(
            most.state(),
            CircuitState::Closed,
            "nineteen calls are too few"
        );
        call(&most, Outcome::SystemError, 19_000);
        assert_eq!(most.state(), CircuitState::Open);
    }

    /// Calls that are older than the window no longer count.
    #[test]
    fn the_window_moves_on() {
        let breaker = breaker();
        for n in 0..18 {
            let outcome = if n % 3 == 2 {
                Outcome::Definite
            } else {
                Outcome::SystemError
            };
            call(&breaker, outcome, 0);
        }
        call(&breaker, Outcome::Definite, 31_000);
        call(&breaker, Outcome::SystemError, 31_000);
        assert_eq!(breaker.state(), CircuitState::Closed);
    }

    /// A refused merchant opens it at once, and a trial that is given up does not shut it for ever.
    #[test]
    fn a_stop_and_a_lost_trial() {
        let breaker = breaker();
        call(&breaker, Outcome::Stop, 0);
        assert_eq!(breaker.state(), CircuitState::Open);
        drop(breaker.admit(15_000).expect("a trial"));
        assert_eq!(breaker.state(), CircuitState::Open);
        call(&breaker, Outcome::Definite, 15_001);
        assert_eq!(breaker.state(), CircuitState::Closed);
    }

    /// A call that was let through before the circuit opened does not close it by coming back well.
    #[test]
    fn a_late_answer_changes_nothing() {
        let breaker = breaker();
        let late = breaker.admit(0).expect("closed");
        call(&breaker, Outcome::Stop, 0);
        late.done(Outcome::Definite, 1);
        assert_eq!(breaker.state(), CircuitState::Open);
    }
}
