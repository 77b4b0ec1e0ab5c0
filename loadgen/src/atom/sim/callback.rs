//! The message that says how a payment went: what it contains, how it is signed, and what faults make of it.

use std::collections::VecDeque;

use super::clock::indian_time;
use super::config::{CallbackOrder, Keys};
use super::faults::{BankTxnId, Fault, Place, draw};
use super::message::{
    Callback, CallbackBank, CallbackCust, CallbackMerch, CallbackMode, CallbackPay, Empty, Extras,
    Number, ProductPart, Said, SubChannel, text_of,
};
use super::records::{Payment, Token};
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
    let has = |fault: Fault| faults.contains(&fault);
    let as_text = has(Fault::NumbersAsText);
    let merch_id = match keys.identity.merch_id.parse::<u64>() {
        Ok(number) if has(Fault::OtherMerchant) => number + 1,
        Ok(number) => number,
        Err(_) => 0,
    };
    let (mut amount, mut surcharge) = (payment.amount, payment.surcharge);
    let mut total = payment.total();
    if has(Fault::TotalChanged) {
        total += CHANGED_BY;
    }
    if has(Fault::AmountChanged) {
        amount /= 2;
        surcharge = total - amount;
    }
    let bank_txn_id = bank_txn_id(payment, faults);
    let signed_bank = match &bank_txn_id {
        _ if has(Fault::BankTxnId {
            form: BankTxnId::NullSigned,
        }) =>
        {
            "null"
        }
        Some(Some(text)) => text,
        Some(None) | None => "",
    };
    let total_text = super::amount::fixed2(total);
    let parts = [
        &merch_id.to_string(),
        &payment.atom_txn_id.to_string(),
        &payment.merch_txn_id,
        &total_text,
        &said.status_code,
        &payment.sub_channel,
        signed_bank,
    ];
    let card = matches!(payment.sub_channel.as_str(), "CC" | "DC");
    let product = |line: &super::records::Line| ProductPart {
        prod_name: line.prod_name.clone(),
        prod_amount: Number::amount(line.amount, as_text),
    };
    text_of(Callback {
        merch_details: CallbackMerch {
            merch_id: Number::digits(merch_id, as_text),
            merch_txn_id: payment.merch_txn_id.clone(),
            merch_txn_date: token.merch_txn_date.replace(' ', "T"),
        },
        pay_details: CallbackPay {
            atom_txn_id: Number::digits(payment.atom_txn_id, as_text),
            prod_details: payment.lines.iter().map(product).collect(),
            amount: Number::amount(amount, as_text),
            surcharge_amount: Number::amount(surcharge, as_text),
            total_amount: Number::amount(total, as_text),
            cust_acc_no: "",
            client_code: "",
            txn_currency: if has(Fault::CurrencyChanged) {
                "USD".to_owned()
            } else {
                payment.currency.clone()
            },
            signature: signature(keys, &parts.map(|part| part as &str), faults),
            txn_init_date: indian_time(payment.at_ms),
            txn_complete_date: indian_time(payment.decided_ms),
        },
        pay_mode_specific_data: CallbackMode {
            sub_channel: if has(Fault::SubChannelText) {
                SubChannel::Text(payment.sub_channel.clone())
            } else {
                SubChannel::Array([payment.sub_channel.clone()])
            },
            bank_details: CallbackBank {
                ots_bank_id: Number::digits(2, as_text),
                bank_txn_id,
                ots_bank_name: "Sim Bank",
                card_type: card.then(|| payment.sub_channel.clone()),
                card_mask_number: card.then_some("XXXXXXXXXXXX1111"),
                scheme: card.then_some("VISA"),
            },
        },
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
