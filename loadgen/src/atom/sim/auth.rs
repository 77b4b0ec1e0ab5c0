//! Token issue: what is checked, in which order, and how a refusal reads (`spec/atom.md` 7.1, 7.2, 12.1).

use super::amount;
use super::clock::parse_indian;
use super::config::{AuthErrors, Keys, RepeatedPayment};
use super::faults::Fault;
use super::inbound::{Request, Text, is_sub_channel};
use super::message::{PlainError, TokenAnswer, TokenSaid};
use super::records::{Line, Token};
use super::world::{Known, World};

/// Digits that an amount may have before its point.
const INTEGER_DIGITS_MAX: usize = 10;
/// Characters of a free member.
const UDF_MAX: usize = 45;

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status, where refusals have one.
    pub http: u16,
    /// The code.
    pub code: String,
    /// The sentence.
    pub description: String,
}

impl Refusal {
    fn new(http: u16, code: &str, description: &str) -> Refusal {
        Refusal {
            http,
            code: code.to_owned(),
            description: description.to_owned(),
        }
    }
}

/// How a call is answered: before the faults of the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub http: u16,
    /// The code, for the record of calls.
    pub code: String,
    /// The plaintext, to be encrypted, or sent as it is.
    pub plain: String,
    /// The plaintext goes out without encryption.
    pub open: bool,
}

/// Answers AUTH: issues a token, or says why not. The token is given too.
pub fn answer(
    world: &mut World,
    keys: &Keys,
    request: &Request,
    faults: &[Fault],
) -> (Answer, Option<u64>) {
    let coded = faults.iter().find_map(|fault| match fault {
        Fault::Code { code, message } => Some(Refusal::new(400, code, message)),
        _ => None,
    });
    let issued = match coded {
        Some(refusal) => Err(refusal),
        None => issue(world, keys, request),
    };
    match issued {
        Ok(token) => (answer_token(token), Some(token)),
        Err(refusal) => (answer_refusal(world, refusal), None),
    }
}

fn answer_token(token: u64) -> Answer {
    let said = TokenSaid {
        txn_status_code: "OTS0000".to_owned(),
        txn_message: "SUCCESS".to_owned(),
        txn_description: "ATOM TOKEN ID HAS BEEN GENERATED SUCCESSFULLY".to_owned(),
    };
    let answer = TokenAnswer {
        atom_token_id: Some(token),
        response_details: said,
    };
    Answer {
        http: 200,
        code: "OTS0000".to_owned(),
        plain: super::message::plain_text_of(&answer),
        open: false,
    }
}

fn answer_refusal(world: &World, refusal: Refusal) -> Answer {
    let Refusal {
        http,
        code,
        description,
    } = refusal;
    match world.switches.auth_errors {
        AuthErrors::Plain => plain_error(http, &code, &description),
        AuthErrors::Encrypted => {
            let said = TokenSaid {
                txn_status_code: code.clone(),
                txn_message: "FAILED".to_owned(),
                txn_description: description,
            };
            let answer = TokenAnswer {
                atom_token_id: None,
                response_details: said,
            };
            Answer {
                http: 200,
                code,
                plain: super::message::plain_text_of(&answer),
                open: false,
            }
        }
    }
}

/// The error object without encryption.
#[must_use]
pub fn plain_error(http: u16, code: &str, description: &str) -> Answer {
    let error = PlainError {
        enc_data: None,
        txn_message: "FAILED".to_owned(),
        txn_status_code: code.to_owned(),
        txn_description: description.to_owned(),
    };
    Answer {
        http,
        code: code.to_owned(),
        plain: super::message::plain_text_of(&error),
        open: true,
    }
}

fn issue(world: &mut World, keys: &Keys, request: &Request) -> Result<u64, Refusal> {
    identity(keys, request)?;
    let token = checked(world, request)?;
    if let Some(known) = world.known.get(&token.merch_txn_id) {
        return match world.switches.repeated_payment {
            RepeatedPayment::SameToken => Ok(known.token),
            RepeatedPayment::Refuse => {
                let text = "VALIDATION FAILED: merchTxnId was used before";
                Err(Refusal::new(400, "OTS0600", text))
            }
        };
    }
    let id = token.id;
    let known = Known {
        token: id,
        payments: Vec::new(),
    };
    world.known.insert(token.merch_txn_id.clone(), known);
    world.tokens.insert(id, token);
    Ok(id)
}

fn identity(keys: &Keys, request: &Request) -> Result<(), Refusal> {
    let (head, merch) = (&request.head_details, &request.merch_details);
    if merch.merch_id.as_str() != keys.identity.merch_id {
        return Err(Refusal::new(403, "OTS0451", "INVALID MERCHANT INFORMATION"));
    }
    if merch.password.as_str() != keys.identity.password {
        return Err(Refusal::new(401, "OTS0600", "AUTH SERVICE FAILED"));
    }
    let expected = [
        ("api", head.api.as_str(), "AUTH"),
        ("version", head.version.as_str(), "OTSv1.1"),
        ("platform", head.platform.as_str(), "FLASH"),
    ];
    for (name, text, right) in expected {
        if text != right {
            return Err(invalid(&format!("headDetails.{name} is not {right}")));
        }
    }
    Ok(())
}

fn invalid(what: &str) -> Refusal {
    Refusal::new(400, "OTS0600", &format!("VALIDATION FAILED: {what}"))
}

fn missing(what: &str) -> Refusal {
    Refusal::new(400, "OTS0638", &format!("MANDATORY FIELD MISSING: {what}"))
}

/// The token that the request deserves, not yet issued.
fn checked(world: &World, request: &Request) -> Result<Token, Refusal> {
    let (merch, pay) = (&request.merch_details, &request.pay_details);
    let now_ms = world.clock.now_ms();
    within("merchTxnId", &merch.merch_txn_id, 50)?;
    let date = merch.merch_txn_date.as_str();
    let time = parse_indian(date)
        .ok_or_else(|| Refusal::new(400, "OTS0640", "WRONG DATE FORMAT: merchTxnDate"))?;
    if time > now_ms {
        return Err(Refusal::new(400, "OTS0639", "FUTURE DATE: merchTxnDate"));
    }
    let amount = amount::parse(pay.amount.as_str()).filter(|amount| *amount > 0);
    let short = pay
        .amount
        .as_str()
        .split('.')
        .next()
        .is_some_and(|it| it.len() <= INTEGER_DIGITS_MAX);
    let amount = amount
        .filter(|_| short)
        .ok_or_else(|| Refusal::new(400, "OTS0621", "AMOUNT OUTSIDE THE ALLOWED RANGE"))?;
    if pay.txn_currency.as_str() != "INR" {
        return Err(invalid("txnCurrency is not INR"));
    }
    let lines = lines(world, request, amount)?;
    customer(request)?;
    let channel = request.pay_mode_specific_data.sub_channel.as_str();
    if !channel.is_empty() && !is_sub_channel(channel) {
        return Err(Refusal::new(400, "OTS0603", "SUB CHANNEL UNKNOWN"));
    }
    let udf1 = request.extras.get("udf1").cloned().unwrap_or_default();
    Ok(Token {
        id: world.next_token(),
        merch_txn_id: merch.merch_txn_id.0.clone(),
        merch_txn_date: date.to_owned(),
        amount,
        currency: pay.txn_currency.0.clone(),
        lines,
        sub_channel: Some(channel.to_owned()).filter(|channel| !channel.is_empty()),
        udf1: udf1.0,
        email: request.cust_details.cust_email.0.clone(),
        mobile: request.cust_details.cust_mobile.0.clone(),
        expires_ms: now_ms + world.switches.token_life_s * 1000,
        opened: false,
        used: false,
        left: None,
    })
}

fn within(name: &str, text: &Text, max: usize) -> Result<(), Refusal> {
    match text.as_str().chars().count() {
        0 => Err(missing(name)),
        count if count > max => Err(invalid(&format!("{name} has more than {max} characters"))),
        _ => Ok(()),
    }
}

fn lines(world: &World, request: &Request, amount: i64) -> Result<Vec<Line>, Refusal> {
    let pay = &request.pay_details;
    let known = |name: &str| {
        world
            .switches
            .products
            .iter()
            .any(|product| product == name)
    };
    let product = pay.product.as_str();
    if pay.prod_details.is_empty() == product.is_empty() {
        return Err(missing("exactly one of product and prodDetails"));
    }
    let mut lines = Vec::new();
    if !product.is_empty() {
        lines.push(Line {
            prod_name: product.to_owned(),
            amount,
        });
    }
    for part in &pay.prod_details {
        let part_amount = amount::parse(part.prod_amount.as_str());
        lines.push(Line {
            prod_name: part.prod_name.0.clone(),
            amount: part_amount.ok_or_else(|| invalid("prodAmount is no amount"))?,
        });
    }
    if let Some(line) = lines.iter().find(|line| !known(&line.prod_name)) {
        return Err(invalid(&format!("product {} is unknown", line.prod_name)));
    }
    if lines.iter().map(|line| line.amount).sum::<i64>() != amount {
        return Err(Refusal::new(
            400,
            "OTS0626",
            "PRODUCT SUM DIFFERS FROM THE AMOUNT",
        ));
    }
    Ok(lines)
}

fn customer(request: &Request) -> Result<(), Refusal> {
    let cust = &request.cust_details;
    within("custEmail", &cust.cust_email, 100)?;
    within("custMobile", &cust.cust_mobile, 20)?;
    let (name, host) = cust.cust_email.as_str().split_once('@').unwrap_or_default();
    if name.is_empty() || !host.contains('.') {
        return Err(invalid("custEmail is no address"));
    }
    if !cust
        .cust_mobile
        .as_str()
        .bytes()
        .all(|byte| byte.is_ascii_digit())
    {
        return Err(invalid("custMobile has more than digits"));
    }
    let long = |(name, text): &(&String, &Text)| {
        name.starts_with("udf") && text.as_str().chars().count() > UDF_MAX
    };
    match request.extras.iter().find(long) {
        Some((name, _)) => Err(invalid(&format!(
            "{name} has more than {UDF_MAX} characters"
        ))),
        None => Ok(()),
    }
}
