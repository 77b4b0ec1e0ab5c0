//! The message that says how a payment went: what it contains, how it is signed, and what faults make of it.

use std::collections::VecDeque;

use super::amount::fixed2;
use super::clock::indian_time;
use super::config::{CallbackOrder, Keys};
use super::faults::{BankTxnId, Fault, Place, draw};
use super::message::{
    Callback, CallbackBank, CallbackCust, CallbackMerch, CallbackMode, CallbackPay, Empty, Extras,
    Number, ProductPart, Said, SubChannel, text_of,
};
use super::records::{Line, Payment, Token};
use super::wire::{self, Sealed};
use super::world::{Due, Parcel, World};

/// How much later the callback leaves when the browser is to be first.
const RETURN_FIRST_MS: i64 = 2000;
/// What a changed total is higher by: a hundred rupees.
const CHANGED_BY: i64 = 10_000;

/// Plans the callbacks of a payment as it stands now; gives those that leave at once.
pub fn plan(world: &mut World, keys: &Keys, atom_txn_id: u64) {
    let Some((payment, token)) = of(world, atom_txn_id) else {
        return;
    };
    let faults = world.faults.strike(Place::Callback, &payment.merch_txn_id);
    if faults.contains(&Fault::Lost) {
        return;
    }
    let true_word = payment.said();
    let false_word = Said::new("OTS0600", "FAILED");
    let words = if faults.contains(&Fault::FailedAfterSuccess) {
        vec![true_word, false_word]
    } else if faults.contains(&Fault::SuccessAfterFailed) {
        vec![false_word, true_word]
    } else {
        vec![true_word]
    };
    let mut bodies: VecDeque<String> = words
        .iter()
        .map(|said| body(keys, &token, &payment, said, &faults))
        .collect();
    let mut delay_ms = delay_ms(world, atom_txn_id);
    for fault in &faults {
        match fault {
            Fault::Duplicated { copies } => {
                let last = bodies.back().cloned();
                bodies.extend(last.into_iter().cycle().take(*copies as usize));
            }
            Fault::Delayed { ms } => delay_ms += ms,
            Fault::UnknownOrder => bodies.push_back(unknown(keys, &token, &payment)),
            _ => {}
        }
    }
    let parcel = Parcel {
        atom_txn_id,
        bodies,
        tries_left: world.switches.callback_retries,
    };
    world.plan(world.clock.now_ms() + delay_ms, Due::Send(parcel));
}

fn of(world: &World, atom_txn_id: u64) -> Option<(Payment, Token)> {
    let payment = world.payments.get(&atom_txn_id)?.clone();
    let token = world.tokens.get(&payment.token)?.clone();
    Some((payment, token))
}

fn delay_ms(world: &World, atom_txn_id: u64) -> i64 {
    let switches = &world.switches;
    let jitter = draw(&[world.seed, atom_txn_id]) * switches.callback_jitter_ms as f64;
    let order = match switches.callback_order {
        CallbackOrder::ReturnFirst => RETURN_FIRST_MS,
        CallbackOrder::Together | CallbackOrder::CallbackFirst => 0,
    };
    switches.callback_delay_ms + jitter as i64 + order
}

/// The body that the browser carries to the return URL.
pub fn return_body(world: &mut World, keys: &Keys, atom_txn_id: u64) -> Option<String> {
    let (payment, token) = of(world, atom_txn_id)?;
    let faults = world.faults.strike(Place::Return, &payment.merch_txn_id);
    Some(body(keys, &token, &payment, &payment.said(), &faults))
}

/// A callback about a payment that the merchant never began.
fn unknown(keys: &Keys, token: &Token, payment: &Payment) -> String {
    let payment = Payment {
        merch_txn_id: format!("GUNKNOWN{}", payment.atom_txn_id),
        atom_txn_id: payment.atom_txn_id + 5_000_000_000,
        ..payment.clone()
    };
    body(keys, token, &payment, &payment.said(), &[])
}

/// The form of a callback.
#[must_use]
pub fn body(
    keys: &Keys,
    token: &Token,
    payment: &Payment,
    said: &Said,
    faults: &[Fault],
) -> String {
    let word = faults.iter().find_map(|fault| match fault {
        Fault::Word { word } => Some(word.clone()),
        _ => None,
    });
    if let Some(word) = word {
        return wire::form(&keys.identity.merch_id, &word);
    }
    let plain = compose(keys, token, payment, said, faults);
    let Sealed(enc_data) = wire::seal(keys, &plain, faults);
    wire::form(&keys.identity.merch_id, &enc_data)
}

/// The plaintext of a callback.
#[must_use]
pub fn compose(
    keys: &Keys,
    token: &Token,
    payment: &Payment,
    said: &Said,
    faults: &[Fault],
) -> String {
    let as_text = faults.contains(&Fault::NumbersAsText);
    let merch_id = match keys.identity.merch_id.parse::<u64>() {
        Ok(number) if faults.contains(&Fault::OtherMerchant) => number + 1,
        Ok(number) => number,
        Err(_) => 0,
    };
    let bank_txn_id = bank_txn_id(payment, faults);
    let signed_bank = match &bank_txn_id {
        _ if faults.contains(&NULL_SIGNED) => "null",
        Some(Some(text)) => text,
        Some(None) | None => "",
    };
    let sums = Sums::of(payment, faults);
    let signature = signature(
        keys,
        &[
            &merch_id.to_string(),
            &payment.atom_txn_id.to_string(),
            &payment.merch_txn_id,
            &fixed2(sums.total),
            &said.status_code,
            &payment.sub_channel,
            signed_bank,
        ],
        faults,
    );
    text_of(Callback {
        merch_details: CallbackMerch {
            merch_id: Number::digits(merch_id, as_text),
            merch_txn_id: payment.merch_txn_id.clone(),
            merch_txn_date: token.merch_txn_date.replace(' ', "T"),
        },
        pay_details: money(payment, &sums, signature, faults),
        pay_mode_specific_data: way(payment, bank_txn_id, faults),
        extras: Extras {
            udf1: token.udf1.clone(),
        },
        cust_details: CallbackCust {
            cust_email: token.email.clone(),
            cust_mobile: token.mobile.clone(),
            billing_info: Empty {},
        },
        response_details: said.clone(),
    })
}

/// `null`, signed as a word.
const NULL_SIGNED: Fault = Fault::BankTxnId {
    form: BankTxnId::NullSigned,
};

/// The three amounts of a message, in paise, with their faults.
struct Sums {
    amount: i64,
    surcharge: i64,
    total: i64,
}

impl Sums {
    fn of(payment: &Payment, faults: &[Fault]) -> Sums {
        let mut sums = Sums {
            amount: payment.amount,
            surcharge: payment.surcharge,
            total: payment.total(),
        };
        if faults.contains(&Fault::TotalChanged) {
            sums.total += CHANGED_BY;
        }
        if faults.contains(&Fault::AmountChanged) {
            sums.amount /= 2;
            sums.surcharge = sums.total - sums.amount;
        }
        sums
    }
}

fn money(
    payment: &Payment,
    sums: &Sums,
    signature: Option<String>,
    faults: &[Fault],
) -> CallbackPay {
    let as_text = faults.contains(&Fault::NumbersAsText);
    let product = |line: &Line| ProductPart {
        prod_name: line.prod_name.clone(),
        prod_amount: Number::amount(line.amount, as_text),
    };
    let currency = if faults.contains(&Fault::CurrencyChanged) {
        "USD"
    } else {
        &payment.currency
    };
    CallbackPay {
        atom_txn_id: Number::digits(payment.atom_txn_id, as_text),
        prod_details: payment.lines.iter().map(product).collect(),
        amount: Number::amount(sums.amount, as_text),
        surcharge_amount: Number::amount(sums.surcharge, as_text),
        total_amount: Number::amount(sums.total, as_text),
        cust_acc_no: "",
        client_code: "",
        txn_currency: currency.to_owned(),
        signature,
        txn_init_date: indian_time(payment.at_ms),
        txn_complete_date: indian_time(payment.decided_ms),
    }
}

fn way(payment: &Payment, bank_txn_id: Option<Option<String>>, faults: &[Fault]) -> CallbackMode {
    let channel = payment.sub_channel.clone();
    let card = matches!(channel.as_str(), "CC" | "DC");
    CallbackMode {
        bank_details: CallbackBank {
            ots_bank_id: Number::digits(2, faults.contains(&Fault::NumbersAsText)),
            bank_txn_id,
            ots_bank_name: "Sim Bank",
            card_type: card.then(|| channel.clone()),
            card_mask_number: card.then_some("XXXXXXXXXXXX1111"),
            scheme: card.then_some("VISA"),
        },
        sub_channel: if faults.contains(&Fault::SubChannelText) {
            SubChannel::Text(channel)
        } else {
            SubChannel::Array([channel])
        },
    }
}

fn bank_txn_id(payment: &Payment, faults: &[Fault]) -> Option<Option<String>> {
    let form = faults.iter().find_map(|fault| match fault {
        Fault::BankTxnId { form } => Some(*form),
        _ => None,
    });
    match form {
        None => Some(Some(payment.bank_txn_id.clone())),
        Some(BankTxnId::Empty) => Some(Some(String::new())),
        Some(BankTxnId::Null | BankTxnId::NullSigned) => Some(None),
        Some(BankTxnId::Missing) => None,
    }
}

fn signature(keys: &Keys, parts: &[&str], faults: &[Fault]) -> Option<String> {
    let signer = if faults.contains(&Fault::OldKey) {
        &keys.old_response_signer
    } else {
        &keys.response_signer
    };
    let right = signer.sign(parts);
    if faults.contains(&Fault::NullSignature) {
        None
    } else if faults.contains(&Fault::BadSignature) {
        let other = if right.starts_with('0') { '1' } else { '0' };
        Some(format!("{other}{}", &right[1..]))
    } else if faults.contains(&Fault::UpperSignature) {
        Some(right.to_uppercase())
    } else {
        Some(right)
    }
}
