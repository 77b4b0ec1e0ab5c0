//! The status query in both its forms (`spec/atom.md` 7.5, 12.3).

use base64::Engine as _;

use super::amount;
use super::auth::Answer;
use super::clock::day_of;
use super::config::{Keys, PasswordForm, StatusShape};
use super::faults::Fault;
use super::inbound::Request;
use super::message::{
    Number, ProductPart, Said, Settlement, Status, StatusBank, StatusMerch, StatusMode, StatusPay,
    SubChannel, text_of,
};
use super::records::{Left, Payment, PaymentState, Token};
use super::world::World;

/// Which of the two forms a query has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// With the password, six parts signed.
    TxnVerification,
    /// Without, four parts signed.
    V2,
}

/// Whether a password is the right one, written as it should be.
#[must_use]
pub fn password_fits(keys: &Keys, form: PasswordForm, text: &str) -> bool {
    let password = &keys.identity.password;
    match form {
        PasswordForm::Plain => text == password,
        PasswordForm::Base64 => text == base64::engine::general_purpose::STANDARD.encode(password),
    }
}

/// Answers a status query.
pub fn answer(
    world: &World,
    keys: &Keys,
    request: &Request,
    form: Form,
    faults: &[Fault],
) -> Answer {
    let coded = faults.iter().find_map(|fault| match fault {
        Fault::Code { code, message } => Some(Said::new(code, message)),
        _ => None,
    });
    let refused = coded.or_else(|| refused(world, keys, request, form));
    let merch_txn_id = request.merch_details.merch_txn_id.as_str();
    let known = world.known.get(merch_txn_id);
    let token = known.and_then(|known| world.tokens.get(&known.token));
    let lag_ms = faults.iter().find_map(|fault| match fault {
        Fault::StatusLag { ms } => Some(*ms),
        _ => None,
    });
    let now_ms = world.clock.now_ms();
    let payments = known
        .map(|known| known.payments.as_slice())
        .unwrap_or_default();
    let visible: Vec<&Payment> = payments
        .iter()
        .filter_map(|id| world.payments.get(id))
        .filter(|payment| now_ms >= payment.visible_ms + lag_ms.unwrap_or(0))
        .collect();
    let entry = |said: Said| bare(keys, request, token, said);
    if let Some(said) = refused {
        // A contradiction looks like a full answer about the payment; a complaint about the query does not.
        let code = said.status_code.clone();
        let contradicts = matches!(
            code.as_str(),
            "OTS0000" | "OTS0002" | "OTS0600" | "OTS0101" | "OTS0001"
        );
        let status = match (visible.last(), token) {
            (Some(payment), Some(token)) if contradicts => full(keys, token, payment, said, now_ms),
            _ => entry(said),
        };
        return of(world, code, vec![status]);
    }
    match token {
        Some(token) if !visible.is_empty() => {
            let code = visible
                .last()
                .map(|it| it.status_code.clone())
                .unwrap_or_default();
            let each = |it: &&Payment| full(keys, token, it, it.said(), now_ms);
            of(world, code, visible.iter().map(each).collect())
        }
        _ => {
            let said = without_payment(token, now_ms);
            of(world, said.status_code.clone(), vec![entry(said)])
        }
    }
}

fn of(world: &World, code: String, mut all: Vec<Status>) -> Answer {
    let plain = match (all.len(), world.switches.status_shape) {
        (1, StatusShape::Auto) => text_of(all.remove(0)),
        _ => text_of(all),
    };
    Answer {
        http: 200,
        code,
        plain,
        open: false,
    }
}

/// What is wrong with the query itself.
fn refused(world: &World, keys: &Keys, request: &Request, form: Form) -> Option<Said> {
    let (merch, pay) = (&request.merch_details, &request.pay_details);
    let no = |code: &str, why: &str| Some(Said::because(code, "FAILED", why));
    if merch.merch_id.as_str() != keys.identity.merch_id {
        return no("OTS0451", "INVALID MERCHANT");
    }
    let (id, amount, currency) = (
        merch.merch_txn_id.as_str(),
        pay.amount.as_str(),
        pay.txn_currency.as_str(),
    );
    let merch_id = merch.merch_id.as_str();
    let signed = match form {
        Form::TxnVerification => {
            if request.head_details.source.as_str() != "OTS" {
                return no("OTS0503", "INVALID SOURCE");
            }
            let password = merch.password.as_str();
            if !password_fits(keys, world.switches.status_password, password) {
                return no("OTS0522", "INVALID PASSWORD");
            }
            let parts = [
                merch_id,
                &keys.identity.password,
                id,
                amount,
                currency,
                "TXNVERIFICATION",
            ];
            keys.request_signer.verify(&parts, pay.signature.as_str())
        }
        Form::V2 => {
            let parts = [merch_id, id, amount, currency];
            keys.request_signer.verify(&parts, pay.signature.as_str())
        }
    };
    if !signed {
        return no("OTS0506", "INVALID SIGNATURE");
    }
    let date = merch.merch_txn_date.as_str();
    if super::clock::parse_indian(&format!("{date} 00:00:00")).is_none() {
        return no("OTS0507", "INVALID DATE");
    }
    if currency != "INR" {
        return no("OTS0508", "INVALID CURRENCY");
    }
    let Some(amount) = amount::parse(amount) else {
        return no("OTS0509", "INVALID AMOUNT");
    };
    let token = world
        .known
        .get(id)
        .and_then(|known| world.tokens.get(&known.token))?;
    if token.amount != amount {
        return no("OTS0509", "AMOUNT DIFFERS");
    }
    // Atom looks under the day as well as the number.
    if !token.merch_txn_date.starts_with(date) {
        return no("OTS0401", "NO DATA FOUND");
    }
    None
}

/// What is said while there is no payment, or none to be seen yet.
fn without_payment(token: Option<&Token>, now_ms: i64) -> Said {
    let Some(token) = token else {
        return Said::because("OTS0401", "FAILED", "NO DATA FOUND");
    };
    match token.left {
        Some(Left::Cancelled) => Said::new("OTS0101", "CANCELLED"),
        Some(Left::TimedOut) if now_ms < World::day_run_ms(token.expires_ms, 1) => {
            Said::new("OTS0201", "TIMEOUT")
        }
        Some(Left::TimedOut) => Said::new("OTS0600", "FAILED"),
        None if token.opened && now_ms < token.expires_ms => Said::new("OTS0301", "INITIALISED"),
        None => Said::because("OTS0401", "FAILED", "NO DATA FOUND"),
    }
}

fn merch(keys: &Keys, id: &str, date: String) -> StatusMerch {
    StatusMerch {
        merch_id: Number::digits(keys.identity.merch_id.parse().unwrap_or(0), false),
        merch_txn_id: id.to_owned(),
        merch_txn_date: date,
        client_code: "",
    }
}

fn bare(keys: &Keys, request: &Request, token: Option<&Token>, said: Said) -> Status {
    let details = &request.merch_details;
    let date = token.map_or_else(
        || details.merch_txn_date.0.clone(),
        |token| token.merch_txn_date.replace(' ', "T"),
    );
    Status {
        settlement_details: None,
        merch_details: merch(keys, details.merch_txn_id.as_str(), date),
        pay_details: None,
        pay_mode_specific_data: None,
        response_details: said,
    }
}

fn full(keys: &Keys, token: &Token, payment: &Payment, said: Said, now_ms: i64) -> Status {
    let product = |line: &super::records::Line| ProductPart {
        prod_name: line.prod_name.clone(),
        prod_amount: Number::amount(line.amount, false),
    };
    let days = day_of(now_ms) - day_of(payment.at_ms);
    let recon_status = match (payment.state, days) {
        (PaymentState::Captured, 1) => "RNS",
        (PaymentState::Captured, 2..) => "RS",
        _ => "NRNS",
    };
    Status {
        settlement_details: Some(Settlement { recon_status }),
        merch_details: merch(
            keys,
            &payment.merch_txn_id,
            token.merch_txn_date.replace(' ', "T"),
        ),
        pay_details: Some(StatusPay {
            atom_txn_id: Number::digits(payment.atom_txn_id, false),
            product: payment
                .lines
                .first()
                .map(|it| it.prod_name.clone())
                .unwrap_or_default(),
            prod_details: payment.lines.iter().map(product).collect(),
            amount: Number::amount(payment.amount, false),
            surcharge_amount: Number::amount(payment.surcharge, false),
            total_amount: Number::amount(payment.total(), false),
        }),
        pay_mode_specific_data: Some(StatusMode {
            sub_channel: SubChannel::Text(payment.sub_channel.clone()),
            bank_details: StatusBank {
                bank_txn_id: payment.bank_txn_id.clone(),
                ots_bank_name: "Sim Bank",
            },
        }),
        response_details: said,
    }
}
