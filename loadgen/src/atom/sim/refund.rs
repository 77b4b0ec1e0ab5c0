//! Refunds and their status (`spec/atom.md` 7.6, 7.7, 12.4).

use std::collections::BTreeMap;

use super::amount;
use super::auth::Answer;
use super::clock::{day_of, indian_date};
use super::config::{Keys, RefundStatusShape, RepeatedRefund};
use super::faults::Fault;
use super::inbound::{Product, Request};
use super::message::{
    Number, RefundAnswer, RefundEntry, RefundLine, RefundPay, RefundStatus, RefundStatusDetails,
    RefundStatusPay, RefundsOfProduct, Said, text_of,
};
use super::records::{Payment, PaymentState, Refund, RefundState};
use super::status::password_fits;
use super::world::{Due, World};

/// The sentence of an accepted line.
const ACCEPTED: &str = "REFUND INITIATED SUCCESSFULLY";

/// Answers a refund, line by line.
pub fn answer(world: &mut World, keys: &Keys, request: &Request, faults: &[Fault]) -> Answer {
    let refused = coded(faults).or_else(|| refused(world, keys, request));
    let pay = &request.pay_details;
    let atom_txn_id: u64 = pay.atom_txn_id.as_str().parse().unwrap_or(0);
    if let Some(said) = refused {
        return answered(&said, None);
    }
    let mut lines = Vec::new();
    let mut accepted = 0;
    for (number, product) in pay.prod_details.iter().enumerate() {
        let mixed = number % 2 == 1 && faults.contains(&Fault::MixedLines);
        let line = if mixed {
            Err(("OTS0404", "REFUND NOT ALLOWED FOR THIS PRODUCT"))
        } else {
            accept(
                world,
                atom_txn_id,
                product,
                faults.contains(&Fault::RefundFails),
            )
        };
        let amount = amount::parse(product.prod_refund_amount.as_str()).unwrap_or(0);
        accepted += if line.is_ok() { amount } else { 0 };
        lines.push(line_of(product, amount, line));
    }
    let said = match lines.iter().find(|line| line.refund_txn_id.is_none()) {
        // All refused is a refusal; some refused is told by the lines.
        Some(line) if accepted == 0 => {
            Said::because(&line.prod_status_code, "FAILED", &line.prod_description)
        }
        _ => Said::because("OTS0000", "SUCCESS", ACCEPTED),
    };
    let details = RefundPay {
        atom_txn_id: Number::digits(atom_txn_id, false),
        prod_details: lines,
        txn_currency: pay.txn_currency.0.clone(),
        total_refund_amount: Number::amount(accepted, false),
    };
    answered(&said, Some(details))
}

fn answered(said: &Said, pay_details: Option<RefundPay>) -> Answer {
    Answer {
        http: 200,
        code: said.status_code.clone(),
        plain: text_of(RefundAnswer {
            pay_details,
            response_details: said.clone(),
        }),
        open: false,
    }
}

fn line_of(product: &Product, amount: i64, line: Result<u64, (&str, &str)>) -> RefundLine {
    let (code, description) = match line {
        Ok(_) => ("OTS0000", ACCEPTED),
        Err(refused) => refused,
    };
    RefundLine {
        prod_name: product.prod_name.0.clone(),
        refund_txn_id: line.ok(),
        prod_refund_id: product.prod_refund_id.0.clone(),
        prod_status_code: code.to_owned(),
        prod_description: description.to_owned(),
        prod_refund_amount: Number::amount(amount, false),
    }
}

/// What is wrong with the refund as a whole.
fn refused(world: &World, keys: &Keys, request: &Request) -> Option<Said> {
    let (merch, pay) = (&request.merch_details, &request.pay_details);
    let no = |code: &str, why: &str| Some(Said::because(code, "FAILED", why));
    if merch.merch_id.as_str() != keys.identity.merch_id {
        return no("OTS0451", "INVALID MERCHANT");
    }
    if request.head_details.source.as_str() != "OTS" {
        return no("OTS0503", "INVALID SOURCE");
    }
    if !password_fits(
        keys,
        world.switches.refund_password,
        merch.password.as_str(),
    ) {
        return no("OTS0522", "INVALID PASSWORD");
    }
    let parts = [
        merch.merch_id.as_str(),
        &keys.identity.password,
        merch.merch_txn_id.as_str(),
        pay.total_refund_amount.as_str(),
        pay.txn_currency.as_str(),
        "REFUNDINIT",
    ];
    if !keys.request_signer.verify(&parts, pay.signature.as_str()) {
        return no("OTS0506", "INVALID SIGNATURE");
    }
    if pay.txn_currency.as_str() != "INR" {
        return no("OTS0508", "INVALID CURRENCY");
    }
    let total = amount::parse(pay.total_refund_amount.as_str());
    let lines: Option<Vec<i64>> = pay
        .prod_details
        .iter()
        .map(|line| amount::parse(line.prod_refund_amount.as_str()).filter(|it| *it > 0))
        .collect();
    let sum = lines
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.iter().sum::<i64>());
    if sum.is_none() || sum != total {
        return no("OTS0509", "LINES DO NOT COME TO THE TOTAL");
    }
    let payment = pay
        .atom_txn_id
        .as_str()
        .parse()
        .ok()
        .and_then(|id: u64| world.payments.get(&id));
    let payment = payment.filter(|it| it.merch_txn_id == merch.merch_txn_id.as_str());
    let Some(payment) = payment.filter(|it| it.state == PaymentState::Captured) else {
        return no("OTS0404", "TRANSACTION NOT FOUND");
    };
    let age = day_of(world.clock.now_ms()) - day_of(payment.at_ms);
    if world
        .switches
        .refund_window_days
        .is_some_and(|days| age > days)
    {
        return no("OTS0407", "REFUND WINDOW IS OVER");
    }
    if !world.switches.partial_refund && total != Some(payment.amount) {
        return no("OTS0406", "PARTIAL REFUND NOT ALLOWED");
    }
    None
}

/// What of a payment's product may still be refunded, in paise.
fn balance(world: &World, payment: &Payment, product: &str) -> Option<i64> {
    let line = payment
        .lines
        .iter()
        .find(|line| line.prod_name == product)?;
    let of_payment = world
        .refunds_of
        .get(&payment.atom_txn_id)
        .map(Vec::as_slice);
    let gone: i64 = of_payment
        .unwrap_or_default()
        .iter()
        .filter_map(|id| world.refunds.get(id))
        .filter(|it| it.prod_name == product)
        .filter(|it| it.state != RefundState::Failed)
        .map(|it| it.amount)
        .sum();
    Some(line.amount - gone)
}

/// Accepts one line; gives its number.
fn accept(
    world: &mut World,
    atom_txn_id: u64,
    product: &Product,
    will_fail: bool,
) -> Result<u64, (&'static str, &'static str)> {
    let (name, id) = (product.prod_name.as_str(), product.prod_refund_id.as_str());
    let amount = amount::parse(product.prod_refund_amount.as_str()).unwrap_or(0);
    let earlier = world
        .refund_ids
        .get(id)
        .and_then(|ids| ids.first().copied());
    match (earlier, world.switches.repeated_refund) {
        (Some(_), RepeatedRefund::Refuse) => return Err(("OTS0601", "DUPLICATE REFUND")),
        (Some(earlier), RepeatedRefund::SameAnswer) => return Ok(earlier),
        (Some(_), RepeatedRefund::SecondRefund) | (None, _) => {}
    }
    let payment = world
        .payments
        .get(&atom_txn_id)
        .ok_or(("OTS0404", "TRANSACTION NOT FOUND"))?;
    let left = balance(world, payment, name).ok_or(("OTS0404", "PRODUCT NOT FOUND"))?;
    if amount > left {
        return Err(("OTS0405", "REFUND EXCEEDS THE ORIGINAL AMOUNT"));
    }
    let now_ms = world.clock.now_ms();
    let refund = Refund {
        refund_txn_id: world.next_refund(),
        atom_txn_id,
        merch_txn_id: payment.merch_txn_id.clone(),
        prod_name: name.to_owned(),
        prod_refund_id: id.to_owned(),
        amount,
        state: RefundState::Initiated,
        at_ms: now_ms,
        will_fail,
    };
    let refund_txn_id = refund.refund_txn_id;
    world
        .refund_ids
        .entry(id.to_owned())
        .or_default()
        .push(refund_txn_id);
    world
        .refunds_of
        .entry(atom_txn_id)
        .or_default()
        .push(refund_txn_id);
    world.refunds.insert(refund_txn_id, refund);
    let at_ms = now_ms + world.switches.refund_settle_s * 1000;
    world.plan(at_ms, Due::PayOut { refund_txn_id });
    Ok(refund_txn_id)
}

/// Answers a refund status query with all refunds of the payment.
#[must_use]
pub fn status(world: &World, keys: &Keys, request: &Request, faults: &[Fault]) -> Answer {
    let (merch, pay) = (&request.merch_details, &request.pay_details);
    let form = super::config::PasswordForm::Base64;
    let id = pay.atom_txn_id.as_str().parse::<u64>().unwrap_or(0);
    let said = if let Some(said) = coded(faults) {
        said
    } else if merch.merch_id.as_str() != keys.identity.merch_id {
        Said::because("OTS0451", "FAILED", "INVALID MERCHANT")
    } else if !password_fits(keys, form, merch.password.as_str()) {
        Said::because("OTS0522", "FAILED", "INVALID PASSWORD")
    } else if request.head_details.source.as_str() != "OTS_ARS" {
        Said::because("OTS0503", "FAILED", "INVALID SOURCE")
    } else if !world.payments.contains_key(&id) {
        Said::because("OTS0401", "FAILED", "NO DATA FOUND")
    } else {
        Said::because("OTS0000", "SUCCESS", "SUCCESS")
    };
    let code = said.status_code.clone();
    let listed = (code == "OTS0000").then(|| listed(world, id, &pay.prod_details, faults));
    Answer {
        http: 200,
        code,
        plain: text_of(RefundStatus {
            pay_details: RefundStatusPay {
                atom_txn_id: Number::digits(id, false),
            },
            refund_status_details: listed,
            response_details: said,
        }),
        open: false,
    }
}

/// What a fault says instead.
fn coded(faults: &[Fault]) -> Option<Said> {
    faults.iter().find_map(|fault| match fault {
        Fault::Code { code, message } => Some(Said::new(code, message)),
        _ => None,
    })
}

fn listed(
    world: &World,
    atom_txn_id: u64,
    asked: &[Product],
    faults: &[Fault],
) -> RefundStatusDetails {
    let factor = if faults.contains(&Fault::AmountTimes100) {
        100
    } else {
        1
    };
    let mut by_product: BTreeMap<&str, Vec<RefundEntry>> = asked
        .iter()
        .map(|product| (product.prod_name.as_str(), Vec::new()))
        .collect();
    let of_payment = world
        .refunds_of
        .get(&atom_txn_id)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for refund in of_payment.iter().filter_map(|id| world.refunds.get(id)) {
        // Without a product in the question all are listed.
        let entries = match by_product.get_mut(refund.prod_name.as_str()) {
            Some(entries) => entries,
            None if asked.is_empty() => by_product.entry(&refund.prod_name).or_default(),
            None => continue,
        };
        entries.push(RefundEntry {
            remarks: refund.state.remarks(),
            refund_amt: Number::amount(refund.amount * factor, false),
            refund_txn_id: refund.refund_txn_id,
            prod_refund_id: refund.prod_refund_id.clone(),
            refund_initiated_date: indian_date(refund.at_ms),
        });
    }
    match world.switches.refund_status_shape {
        RefundStatusShape::Array => RefundStatusDetails::Array(
            by_product
                .into_iter()
                .map(|(name, refund_status)| RefundsOfProduct {
                    prod_name: name.to_owned(),
                    refund_status,
                })
                .collect(),
        ),
        RefundStatusShape::Object => RefundStatusDetails::Object {
            refund_details: by_product.into_values().flatten().collect(),
        },
    }
}
