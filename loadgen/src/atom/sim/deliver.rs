//! Lets time pass, and sends the callbacks that it brings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::clock::Clock;
use super::records::Delivery;
use super::world::{Due, Parcel};

/// How long a callback may stay unanswered.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long to sleep when nothing is planned; a call wakes earlier.
const IDLE: Duration = Duration::from_secs(3600);

/// Lets happen what is due, for ever.
pub async fn run(shared: Arc<Shared>) {
    loop {
        let (parcels, sleep) = {
            let mut world = shared.world();
            let parcels = world.pass_time(&shared.keys);
            let wait_ms = world
                .next_due_ms()
                .map(|at_ms| at_ms - world.clock.now_ms());
            let sleep = match (world.clock, wait_ms) {
                (Clock::Runs { .. }, Some(ms)) => Duration::from_millis(ms.max(0) as u64),
                // A clock that stands is moved by a call, which wakes.
                (Clock::Stands { .. }, _) | (_, None) => IDLE,
            };
            (parcels, sleep)
        };
        for parcel in parcels {
            tokio::spawn(send(Arc::clone(&shared), parcel));
        }
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Sends the callbacks of a parcel one after the other; gives how the last one was answered.
///
/// One that is not answered by 200 is planned again with all that are behind it, as often as the switch says.
pub async fn send(shared: Arc<Shared>, mut parcel: Parcel) -> Option<Delivery> {
    let mut last = None;
    while let Some(body) = parcel.bodies.front() {
        let sent = Instant::now();
        let http_status = post(&shared, body.clone()).await;
        let mut world = shared.world();
        let at_ms = world.clock.now_ms();
        let delivery = Delivery {
            at_ms,
            http_status,
            took_us: sent.elapsed().as_micros() as u64,
        };
        last = Some(delivery);
        if let Some(payment) = world.payments.get_mut(&parcel.atom_txn_id) {
            payment.callbacks.push(delivery);
        }
        if http_status == Some(200) {
            parcel.bodies.pop_front();
            parcel.tries_left = world.switches.callback_retries;
        } else if parcel.tries_left > 0 {
            parcel.tries_left -= 1;
            let again_ms = at_ms + world.switches.callback_retry_ms;
            world.plan(again_ms, Due::Send(parcel));
            drop(world);
            shared.wake.notify_one();
            return last;
        } else {
            // Given up; the next one has its own tries.
            parcel.bodies.pop_front();
            parcel.tries_left = world.switches.callback_retries;
        }
    }
    last
}

async fn post(shared: &Shared, body: String) -> Option<u16> {
    let url = shared.callback()?;
    let sent = shared
        .client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await;
    let answer = sent.ok()?;
    let status = answer.status().as_u16();
    // Read to its end, so that the connection can be used again.
    let _ = answer.bytes().await;
    Some(status)
}
