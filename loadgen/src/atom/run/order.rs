//! One order from its creation to its end, with the time of each step.

use std::time::{Duration, Instant};

use super::api::{Api, Unexpected};
use super::bad::{Forger, Kind, Trial};

/// How long an order may take to show what its callback said.
const SHOWN_MAX: Duration = Duration::from_secs(10);

/// What shall happen to an order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The merchant's reference.
    pub reference: String,
    /// Paise.
    pub amount: i64,
    /// The payment fails.
    pub failed: bool,
    /// The callback is lost.
    pub lost: bool,
    /// A refund follows; of a part if so.
    pub refund: Option<bool>,
    /// A bad callback comes; the number from 0 up to 1 chooses which.
    pub bad: Option<f64>,
}

/// Microseconds of each step that was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Creating the order.
    pub create_us: Option<u64>,
    /// Starting the payment, with the call to Atom.
    pub start_us: Option<u64>,
    /// Answering the callback.
    pub callback_us: Option<u64>,
    /// From when the order should have begun to the answered callback.
    pub order_us: Option<u64>,
    /// The refund, with the call to Atom.
    pub refund_us: Option<u64>,
}

/// What came of an order.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// The times.
    pub times: Times,
    /// What was not as it should be.
    pub error: Option<Unexpected>,
    /// The bad callback that was tried.
    pub trial: Option<Trial>,
    /// How it ended: `paid`, `failed`, `lost`, `refunded` and so on.
    pub ended: Option<&'static str>,
    /// An order that only a status query can pay.
    pub waiting: Option<String>,
    /// The callback that was taken.
    pub callback: Option<String>,
}

/// Drives one order; `intended` is when it should have begun.
pub async fn drive(api: &Api, forger: &Forger, plan: &Plan, intended: Instant) -> Done {
    let mut done = Done::default();
    if let Err(error) = steps(api, forger, plan, intended, &mut done).await {
        done.error = Some(error);
    }
    done
}

async fn steps(
    api: &Api,
    forger: &Forger,
    plan: &Plan,
    intended: Instant,
    done: &mut Done,
) -> Result<(), Unexpected> {
    let began = Instant::now();
    let order = api.create(&plan.reference, plan.amount).await?;
    let created = Instant::now();
    done.times.create_us = Some(micros(created - began));
    let (token, merch_txn_id) = api.start(&order, &plan.reference).await?;
    done.times.start_us = Some(micros(created.elapsed()));
    let kind = plan
        .bad
        .map(|lot| Kind::by_lot(lot, plan.failed || plan.lost));
    if let Some(kind) = kind.filter(|kind| kind.before_payment()) {
        // Nothing has been paid yet: whatever this says must not make the order paid.
        let body = forger.forge(kind, &merch_txn_id, plan.amount, None);
        done.trial = Some(tried(api, kind, body, &order, "pending").await?);
    }
    let acted = api.act(&token, plan.failed, plan.lost).await?;
    if plan.lost {
        done.ended = Some("callback lost");
        done.waiting = Some(order);
        return Ok(());
    }
    let delivered = acted.callback.ok_or("callback: not sent")?;
    if delivered.http_status != Some(200) {
        return Err(format!("callback: {}", delivered.http_status.unwrap_or(0)));
    }
    done.times.callback_us = Some(delivered.took_us);
    done.callback.clone_from(&acted.return_body);
    done.times.order_us = Some(micros(intended.elapsed()));
    done.ended = Some(if plan.failed {
        "payment failed"
    } else {
        "paid"
    });
    if plan.failed {
        return Ok(());
    }
    if let Some(kind) = kind.filter(|kind| !kind.before_payment()) {
        shown(api, &order, "paid").await?;
        let body = forger.forge(
            kind,
            &merch_txn_id,
            plan.amount,
            acted.return_body.as_deref(),
        );
        done.trial = Some(tried(api, kind, body, &order, "paid").await?);
    }
    // A forged amount leaves the attempt on hold, where refunds are for a person to decide.
    let held = done.trial.as_ref().is_some_and(|trial| trial.kind.holds());
    if let Some(part) = plan.refund.filter(|_| !held) {
        shown(api, &order, "paid").await?;
        refund(api, plan, &order, part, done).await?;
    }
    Ok(())
}

async fn refund(
    api: &Api,
    plan: &Plan,
    order: &str,
    part: bool,
    done: &mut Done,
) -> Result<(), Unexpected> {
    let amount = part.then_some(plan.amount / 3);
    let asked = Instant::now();
    let state = api.refund(order, &plan.reference, amount).await?;
    done.times.refund_us = Some(micros(asked.elapsed()));
    if state != "accepted" {
        return Err(format!("refund: state {state}"));
    }
    done.ended = Some(if part { "refunded in part" } else { "refunded" });
    if !part {
        shown(api, order, "refunded").await?;
    }
    Ok(())
}

/// Sends a bad callback and sees that the order is as before.
async fn tried(
    api: &Api,
    kind: Kind,
    body: String,
    order: &str,
    before: &str,
) -> Result<Trial, Unexpected> {
    let (status, _) = api.callback(body).await?;
    let after = api.status(order).await?;
    Ok(Trial {
        kind,
        status,
        effect: (after != before).then_some(after),
    })
}

/// Waits until an order shows a status.
async fn shown(api: &Api, order: &str, status: &str) -> Result<(), Unexpected> {
    let end = Instant::now() + SHOWN_MAX;
    loop {
        let now = api.status(order).await?;
        if now == status {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!(
                "an order is {now} and not {status} {} s later",
                SHOWN_MAX.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}
