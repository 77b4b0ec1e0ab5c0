//! What the customer does at the hosted page, by a button or by `POST /_sim/pay`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::callback;
use super::config::Keys;
use super::faults::{Fault, Place};
use super::inbound::is_sub_channel;
use super::records::{Left, Payment, PaymentState, Token};
use super::wire;
use super::world::{Due, Known, World};

/// How a visit to the page ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The money is taken.
    Success,
    /// The payment fails.
    Failed,
    /// The bank will decide later.
    Pending,
    /// The customer cancels.
    Cancel,
    /// The page times out.
    Timeout,
    /// The customer closes the window.
    Close,
}

/// What the bank decides about a pending payment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The money is taken.
    #[default]
    Success,
    /// The payment fails.
    Failed,
}

/// An order of the customer.
#[derive(Clone, Debug, Deserialize)]
pub struct PayOrder {
    /// The token, as a number or a text.
    #[serde(deserialize_with = "number")]
    pub token: u64,
    /// How it ends.
    pub outcome: Outcome,
    /// The way to pay; without it the first that is allowed.
    pub channel: Option<String>,
    /// The code of a failure, OTS0600 without it.
    pub code: Option<String>,
    /// What the bank decides about a pending payment.
    #[serde(default)]
    pub then: Then,
    /// After so many seconds of the simulator's clock; without it in the first run of the next day.
    pub after_s: Option<i64>,
    /// The customer stays on the page after a failure and may try again with the same token.
    #[serde(default)]
    pub stay: bool,
    /// The answer waits until the callback was answered.
    #[serde(default)]
    pub wait: bool,
    /// No callback is sent: it is lost on the way.
    #[serde(default)]
    pub lost: bool,
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = super::inbound::Text::deserialize(deserializer)?;
    text.as_str().parse().map_err(serde::de::Error::custom)
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Paid {
    /// The payment's number at the merchant.
    pub merch_txn_id: String,
    /// The payment, if one was made.
    pub atom_txn_id: Option<u64>,
    /// Its code.
    pub status_code: Option<String>,
    /// The form that the browser carries to the return URL; nothing if the window was closed or the customer stays.
    pub return_body: Option<String>,
}

/// Why the customer cannot do this.
#[derive(Debug, Error, PartialEq)]
pub enum PayError {
    /// Never issued.
    #[error("token {0} was never issued")]
    Unknown(u64),
    /// Used before.
    #[error("token {0} was used before: it is good for one payment")]
    Used(u64),
    /// Too late.
    #[error("token {0} has expired")]
    Expired(u64),
    /// No way to pay, or not this one.
    #[error(
        "`{0}` is no way to pay this: see the sub-channels of the specification, and that of the order"
    )]
    Channel(String),
}

/// Finds a token that may be used now.
///
/// # Errors
/// It is unknown, used or expired.
pub fn usable(world: &World, id: u64) -> Result<&Token, PayError> {
    let token = world.tokens.get(&id).ok_or(PayError::Unknown(id))?;
    if token.used {
        Err(PayError::Used(id))
    } else if world.clock.now_ms() >= token.expires_ms {
        Err(PayError::Expired(id))
    } else {
        Ok(token)
    }
}

/// Does what the customer wants; callbacks are planned.
///
/// # Errors
/// The customer cannot do this.
pub fn pay(world: &mut World, keys: &Keys, order: &PayOrder) -> Result<Paid, PayError> {
    let token = usable(world, order.token)?.clone();
    let channel = order.channel.clone().or_else(|| token.sub_channel.clone());
    let channel = channel.unwrap_or_else(|| "CC".to_owned());
    let allowed = token
        .sub_channel
        .as_ref()
        .is_none_or(|only| *only == channel);
    if !allowed || !is_sub_channel(&channel) {
        return Err(PayError::Channel(channel));
    }
    match order.outcome {
        Outcome::Cancel => Ok(leave(
            world,
            keys,
            &token,
            Left::Cancelled,
            "cancelTransaction",
        )),
        Outcome::Timeout => Ok(leave(world, keys, &token, Left::TimedOut, "sessionTimeout")),
        Outcome::Close => {
            opened(world, token.id);
            Ok(Paid {
                merch_txn_id: token.merch_txn_id,
                atom_txn_id: None,
                status_code: None,
                return_body: None,
            })
        }
        Outcome::Success | Outcome::Failed | Outcome::Pending => {
            Ok(decided(world, keys, order, &token, &channel))
        }
    }
}

/// Notes that a token's page was opened.
pub fn opened(world: &mut World, id: u64) {
    if let Some(token) = world.tokens.get_mut(&id) {
        token.opened = true;
    }
}

/// The customer leaves without a payment; the browser carries a word where the ciphertext would be.
fn leave(world: &mut World, keys: &Keys, token: &Token, left: Left, word: &str) -> Paid {
    if let Some(token) = world.tokens.get_mut(&token.id) {
        (token.opened, token.used, token.left) = (true, true, Some(left));
    }
    Paid {
        merch_txn_id: token.merch_txn_id.clone(),
        atom_txn_id: None,
        status_code: None,
        return_body: Some(wire::form(&keys.identity.merch_id, word)),
    }
}

fn decided(world: &mut World, keys: &Keys, order: &PayOrder, token: &Token, channel: &str) -> Paid {
    let stays = order.stay && order.outcome == Outcome::Failed;
    if let Some(token) = world.tokens.get_mut(&token.id) {
        (token.opened, token.used) = (true, !stays);
    }
    let faults = world.faults.strike(Place::Pay, &token.merch_txn_id);
    let id = payment(world, order, token, channel, &faults);
    if !order.lost {
        callback::plan(world, keys, id);
    }
    if faults.contains(&Fault::DoubleCapture) {
        let second = payment(world, order, token, channel, &faults);
        callback::plan(world, keys, second);
    }
    let return_body = callback::return_body(world, keys, id).filter(|_| !stays);
    Paid {
        merch_txn_id: token.merch_txn_id.clone(),
        atom_txn_id: Some(id),
        status_code: world.payments.get(&id).map(|it| it.status_code.clone()),
        return_body,
    }
}

/// A payment like another one.
#[derive(Clone, Debug, Deserialize)]
pub struct Copy {
    /// Its number at the merchant.
    pub merch_txn_id: String,
    /// The merchant's free member.
    pub udf1: String,
}

/// Captures payments like the one that a token was for; their callbacks are lost.
///
/// # Errors
/// There is no such token.
pub fn captured_like(world: &mut World, like: u64, copies: &[Copy]) -> Result<(), PayError> {
    let like = world.tokens.get(&like).ok_or(PayError::Unknown(like))?;
    let mut token = Token {
        opened: true,
        used: true,
        ..like.clone()
    };
    let order = PayOrder {
        token: like.id,
        outcome: Outcome::Success,
        channel: None,
        code: None,
        then: Then::default(),
        after_s: None,
        stay: false,
        wait: false,
        lost: true,
    };
    let channel = token.sub_channel.clone().unwrap_or_else(|| "CC".to_owned());
    for copy in copies {
        token.id = world.next_token();
        token.merch_txn_id.clone_from(&copy.merch_txn_id);
        token.udf1.clone_from(&copy.udf1);
        world.tokens.insert(token.id, token.clone());
        let known = Known {
            token: token.id,
            payments: Vec::new(),
        };
        world.known.insert(token.merch_txn_id.clone(), known);
        payment(world, &order, &token, &channel, &[]);
    }
    Ok(())
}

/// Makes a payment, and plans what will become of it.
fn payment(
    world: &mut World,
    order: &PayOrder,
    token: &Token,
    channel: &str,
    faults: &[Fault],
) -> u64 {
    let now_ms = world.clock.now_ms();
    let id = world.next_payment();
    let code = order.code.clone().unwrap_or_else(|| "OTS0600".to_owned());
    let (state, code, message) = match order.outcome {
        Outcome::Success => (PaymentState::Captured, "OTS0000".to_owned(), "SUCCESS"),
        // A challan is a slip of paper until somebody pays it.
        Outcome::Pending if channel == "NR" => {
            (PaymentState::Pending, "OTS0351".to_owned(), "INITIATED")
        }
        Outcome::Pending => (PaymentState::Pending, "OTS0551".to_owned(), "PENDING"),
        _ => (PaymentState::Failed, code, "FAILED"),
    };
    let basis_points = world
        .switches
        .surcharge_bp
        .get(channel)
        .copied()
        .unwrap_or(0);
    let bank_txn_id = match state {
        PaymentState::Captured | PaymentState::Pending => format!("00{id}001"),
        _ => String::new(),
    };
    let made = Payment {
        atom_txn_id: id,
        token: token.id,
        merch_txn_id: token.merch_txn_id.clone(),
        udf1: token.udf1.clone(),
        state,
        status_code: code,
        message: message.to_owned(),
        sub_channel: channel.to_owned(),
        amount: token.amount,
        surcharge: (token.amount * basis_points + 5000) / 10_000,
        currency: token.currency.clone(),
        lines: token.lines.clone(),
        bank_txn_id,
        at_ms: now_ms,
        decided_ms: now_ms,
        visible_ms: now_ms + world.switches.status_lag_ms,
        callbacks: Vec::new(),
    };
    world.payments.insert(id, made);
    world
        .known
        .entry(token.merch_txn_id.clone())
        .or_default()
        .payments
        .push(id);
    plan_ahead(world, order, id, state, faults);
    id
}

/// Plans what the bank and Atom will do to a payment by themselves.
fn plan_ahead(world: &mut World, order: &PayOrder, id: u64, state: PaymentState, faults: &[Fault]) {
    let now_ms = world.clock.now_ms();
    if state == PaymentState::Pending {
        let at_ms = match order.after_s {
            Some(seconds) => now_ms + seconds * 1000,
            None => World::day_run_ms(now_ms, 1),
        };
        let state = match order.then {
            Then::Success => PaymentState::Captured,
            Then::Failed => PaymentState::Failed,
        };
        world.plan(
            at_ms,
            Due::Decide {
                atom_txn_id: id,
                state,
            },
        );
    }
    if faults.contains(&Fault::AutoReverse) {
        world.plan(
            World::day_run_ms(now_ms, 2),
            Due::Reverse { atom_txn_id: id },
        );
    }
}
