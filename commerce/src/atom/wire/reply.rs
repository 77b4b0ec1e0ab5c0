//! Reads the answers of the four calls (`spec/atom.md` 7.2, 7.5 to 7.7) and holds them against the request.
//!
//! No answer is signed, so an answer counts only where it names what was asked for: our merchant, our attempt, our
//! payment, our refund lines and amounts. One that does not is a [`ReplyError::Contradiction`], never a result.

use std::cmp::Reverse;

use serde::Deserialize;
use thiserror::Error;

use super::answer::{Body, PlainError, Undecodable};
use super::codes::{Alert, Class, FORCED_SUCCESS, INTERNAL, Reading, Refusal, SUCCESS};
use super::codes::{read_status, refuse, refuse_auth};
use super::json::{Lit, Many, parse};
use super::messages::{
    AuthAnswer, RefundAnswer, RefundEntry, RefundLine, RefundLineAnswer, RefundRequest,
    RefundStatusAnswer, RefundStatusRequest, StatusAnswer, StatusRequest, StatusTransaction,
    TokenId,
};
use super::shape::{Instrument, ResponseDetails, Wrapper, is_id, read_amount};

/// The code with which Atom says that it knows nothing.
const NO_DATA: &str = "OTS0401";

/// Why an answer is not the result that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The plaintext is not the JSON of this call.
    #[error("{0}")]
    Undecodable(#[from] Undecodable),
    /// The answer says something that cannot belong to the question.
    #[error("{0}")]
    Contradiction(&'static str),
    /// Atom failed inside (OTS0951): nobody knows what was done.
    #[error("an internal error of Atom")]
    Internal,
    /// A definite no.
    #[error("refused with {code} ({refusal})")]
    Refused {
        /// The code.
        code: String,
        /// What kind of no it is.
        refusal: Refusal,
    },
}

impl ReplyError {
    fn refused(code: &str, refusal: Refusal) -> ReplyError {
        ReplyError::Refused {
            code: code.to_owned(),
            refusal,
        }
    }
}

/// Reads the answer of AUTH.
pub fn auth(body: &Body) -> Result<AuthAnswer, ReplyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        #[serde(default)]
        atom_token_id: Lit,
        #[serde(default)]
        response_details: Option<ResponseDetails>,
    }
    let text = match body {
        Body::PlainError(error) => {
            let refusal = refuse_auth(&error.code, [&error.message, &error.description]);
            return Err(plain_refusal(error, refusal));
        }
        Body::Plaintext(text) => text,
    };
    let shape: Shape = parse(text).ok_or(Undecodable::Schema)?;
    let details = shape.response_details.unwrap_or_default();
    match code_of(&details)? {
        SUCCESS => {
            let token = shape.atom_token_id.as_str().and_then(TokenId::new);
            let token = token.ok_or(ReplyError::Contradiction("a success without a token"))?;
            Ok(AuthAnswer { token })
        }
        INTERNAL => Err(ReplyError::Internal),
        code => {
            let texts = [details.message.filled(), details.description.filled()];
            let refusal = refuse_auth(code, texts.map(Option::unwrap_or_default));
            Err(ReplyError::refused(code, refusal))
        }
    }
}

/// Reads the answer of a status query: of one transaction, or of several under the same id.
pub fn status(
    body: &Body,
    request: &StatusRequest,
    merch_id: &str,
) -> Result<StatusAnswer, ReplyError> {
    let text = match body {
        Body::PlainError(error) if error.code == NO_DATA => return Ok(no_data()),
        Body::PlainError(error) => return Err(plain_status(error)),
        Body::Plaintext(text) => text,
    };
    let shape: Wrapper<Instrument> = parse(text).ok_or(Undecodable::Schema)?;
    let mut kept = Vec::new();
    for instrument in shape.pay_instrument.0 {
        let ours = belongs(&instrument, request, merch_id);
        let transaction = transaction(instrument, request)?;
        if ours.is_ours(transaction.reading.class) {
            kept.push(transaction);
        }
    }
    // A reversal takes the success of the same payment with it, in whatever order the two stand.
    let reversed: Vec<_> = of_class(&kept, Class::Reversed).collect();
    kept.retain(|t| t.reading.class != Class::Success || !reversed.contains(&t.atom_txn_id));
    // Of equals the first one listed decides.
    kept.sort_by_key(|t| Reverse(rank(t.reading.class)));
    if kept.is_empty() {
        return Err(ReplyError::Contradiction("no transaction of ours"));
    }
    let best = kept.remove(0);
    match best.reading.class {
        Class::NoData => Ok(no_data()),
        Class::RequestError if best.status_code == INTERNAL => Err(ReplyError::Internal),
        Class::RequestError => Err(ReplyError::refused(
            &best.status_code,
            refuse(&best.status_code),
        )),
        _ => Ok(StatusAnswer {
            reading: best.reading,
            transaction: Some(best),
            others: kept,
        }),
    }
}

/// Reads the answer of a refund and holds every line against the request.
pub fn refund(body: &Body, request: &RefundRequest) -> Result<RefundAnswer, ReplyError> {
    let text = match body {
        Body::PlainError(error) => return Err(plain_refusal(error, refuse(&error.code))),
        Body::Plaintext(text) => text,
    };
    let shape: Wrapper<RefundInstrument> = parse(text).ok_or(Undecodable::Schema)?;
    let [instrument] =
        <[_; 1]>::try_from(shape.pay_instrument.0).map_err(|_| Undecodable::Schema)?;
    let details = instrument.response_details.unwrap_or_default();
    let pay = instrument.pay_details.unwrap_or_default();
    let code = code_of(&details)?;
    let any_line = |wanted: &str| {
        let is_wanted = |line: &RefundProduct| line.prod_status_code.as_str() == Some(wanted);
        pay.prod_details.0.iter().any(is_wanted)
    };
    if code == INTERNAL || any_line(INTERNAL) {
        return Err(ReplyError::Internal);
    }
    if code != SUCCESS && !any_line(SUCCESS) {
        return Err(ReplyError::refused(code, refuse(code)));
    }
    if code == SUCCESS
        && read_status(code, details.message.filled().unwrap_or_default()).class != Class::Success
    {
        return Err(ReplyError::Contradiction(
            "the message is not the one of a success",
        ));
    }
    let answer = RefundAnswer {
        status_code: code.to_owned(),
        lines: refund_lines(&pay, request)?,
    };
    check_refund_total(&pay, request, &answer)?;
    if let Some(line) = answer.lines.first()
        && answer.initiated_total() == 0
    {
        return Err(ReplyError::refused(
            &line.status_code,
            refuse(&line.status_code),
        ));
    }
    Ok(answer)
}

/// Reads the answer of a refund-status query, in either of its shapes.
pub fn refund_status(
    body: &Body,
    request: &RefundStatusRequest,
) -> Result<RefundStatusAnswer, ReplyError> {
    let empty = || RefundStatusAnswer {
        status_code: NO_DATA.to_owned(),
        entries: Vec::new(),
    };
    let text = match body {
        Body::PlainError(error) if error.code == NO_DATA => return Ok(empty()),
        Body::PlainError(error) => return Err(plain_refusal(error, refuse(&error.code))),
        Body::Plaintext(text) => text,
    };
    let shape: Wrapper<RefundStatusInstrument> = parse(text).ok_or(Undecodable::Schema)?;
    let [instrument] =
        <[_; 1]>::try_from(shape.pay_instrument.0).map_err(|_| Undecodable::Schema)?;
    let details = instrument.response_details.unwrap_or_default();
    let code = code_of(&details)?;
    match code {
        SUCCESS => {}
        NO_DATA => return Ok(empty()),
        INTERNAL => return Err(ReplyError::Internal),
        _ => return Err(ReplyError::refused(code, refuse(code))),
    }
    let atom_txn_id = instrument.pay_details.unwrap_or_default().atom_txn_id;
    if atom_txn_id
        .filled()
        .is_some_and(|id| id != request.atom_txn_id)
    {
        return Err(ReplyError::Contradiction("another atomTxnId"));
    }
    let groups = instrument
        .refund_status_details
        .ok_or(ReplyError::Contradiction(
            "a success without refundStatusDetails",
        ))?;
    let mut entries = Vec::new();
    for group in groups.0 {
        let listed = group
            .refund_status
            .0
            .into_iter()
            .chain(group.refund_details.0);
        entries.extend(listed.map(|entry| entry.read(&group.prod_name)));
    }
    Ok(RefundStatusAnswer {
        status_code: code.to_owned(),
        entries,
    })
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RefundInstrument {
    pay_details: Option<RefundPay>,
    response_details: Option<ResponseDetails>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RefundPay {
    atom_txn_id: Lit,
    prod_details: Many<RefundProduct>,
    total_refund_amount: Lit,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RefundProduct {
    prod_refund_id: Lit,
    refund_txn_id: Lit,
    prod_status_code: Lit,
    prod_refund_amount: Lit,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RefundStatusInstrument {
    pay_details: Option<RefundPay>,
    response_details: Option<ResponseDetails>,
    refund_status_details: Option<Many<RefundGroup>>,
}

/// One shape names the list `refundStatus` and groups it by product, the other names it `refundDetails`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RefundGroup {
    prod_name: Lit,
    refund_status: Many<RefundEntryShape>,
    refund_details: Many<RefundEntryShape>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RefundEntryShape {
    prod_name: Lit,
    remarks: Lit,
    refund_amt: Lit,
    refund_txn_id: Lit,
    prod_refund_id: Lit,
    refund_initiated_date: Lit,
}

impl RefundEntryShape {
    fn read(self, group_name: &Lit) -> RefundEntry {
        RefundEntry {
            prod_name: self
                .prod_name
                .to_filled()
                .or_else(|| group_name.to_filled()),
            prod_refund_id: self.prod_refund_id.to_filled().unwrap_or_default(),
            refund_txn_id: self.refund_txn_id.to_filled(),
            // An unreadable amount is kept as absent: the other refunds in the list must stay readable.
            amount: read_amount(&self.refund_amt).flatten(),
            remarks: self.remarks.to_filled().unwrap_or_default(),
            initiated_date: self.refund_initiated_date.to_filled(),
        }
    }
}

/// Who a part of a status answer is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Belongs {
    /// It names our merchant and our attempt.
    Ours,
    /// It names neither.
    Nobody,
    /// It names another merchant or another attempt.
    Other,
}

impl Belongs {
    /// That nothing is known, or that our request is wrong, may be said without naming the attempt. A result may not.
    fn is_ours(self, class: Class) -> bool {
        match self {
            Belongs::Ours => true,
            Belongs::Nobody => matches!(class, Class::NoData | Class::RequestError),
            Belongs::Other => false,
        }
    }
}

fn belongs(instrument: &Instrument, request: &StatusRequest, merch_id: &str) -> Belongs {
    let Some(details) = &instrument.merch_details else {
        return Belongs::Nobody;
    };
    let named = [details.merch_id.filled(), details.merch_txn_id.filled()];
    let ours = [merch_id, request.merch_txn_id.as_str()];
    if named == ours.map(Some) {
        Belongs::Ours
    } else if named
        .iter()
        .zip(ours)
        .any(|(n, o)| n.is_some_and(|n| n != o))
    {
        Belongs::Other
    } else {
        Belongs::Nobody
    }
}

fn transaction(
    instrument: Instrument,
    request: &StatusRequest,
) -> Result<StatusTransaction, ReplyError> {
    let details = instrument.response_details.unwrap_or_default();
    let pay = instrument.pay_details.unwrap_or_default();
    let mode = instrument.pay_mode_specific_data.unwrap_or_default();
    let bank = mode.bank_details.unwrap_or_default();
    let settlement = instrument.settlement_details.unwrap_or_default();
    let code = code_of(&details)?;
    let amounts = pay.amounts().ok_or(Undecodable::Schema)?;
    let atom_txn_id = pay.atom_txn_id.to_filled();
    if atom_txn_id.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(Undecodable::Schema.into());
    }
    let mut reading = read_status(code, details.message.filled().unwrap_or_default());
    if reading.class == Class::Success {
        let agrees = amounts
            .mismatches(request.amount, &request.currency)
            .is_empty();
        if code == FORCED_SUCCESS && (atom_txn_id.is_none() || !agrees) {
            reading = Reading::loud(Class::Unknown, Alert::Contradiction);
        } else if atom_txn_id.is_none() {
            // A payment without a number could never be refunded.
            reading = Reading::loud(Class::Hold, Alert::Contradiction);
        }
    }
    Ok(StatusTransaction {
        reading,
        status_code: code.to_owned(),
        atom_txn_id,
        amounts,
        sub_channel: mode.sub_channel.0.first().and_then(Lit::to_filled),
        bank_txn_id: bank.bank_txn_id.to_filled(),
        ots_bank_name: bank.ots_bank_name.to_filled(),
        recon_status: settlement.recon_status.to_filled(),
    })
}

fn of_class(
    transactions: &[StatusTransaction],
    class: Class,
) -> impl Iterator<Item = Option<String>> {
    let wanted = transactions
        .iter()
        .filter(move |t| t.reading.class == class);
    wanted.map(|t| t.atom_txn_id.clone())
}

/// Which of several transactions decides: success beats pending beats failed, and doubt beats certainty of nothing.
fn rank(class: Class) -> u8 {
    match class {
        Class::Success => 8,
        Class::Reversed => 7,
        Class::Hold => 6,
        Class::Unknown => 5,
        Class::AskStatus => 4,
        Class::Pending => 3,
        Class::Failed => 2,
        Class::NoData => 1,
        Class::RequestError => 0,
    }
}

fn no_data() -> StatusAnswer {
    StatusAnswer {
        reading: Reading::quiet(Class::NoData),
        transaction: None,
        others: Vec::new(),
    }
}

/// A status by plain error names no attempt, so it may refuse the request but not decide a payment.
fn plain_status(error: &PlainError) -> ReplyError {
    let class = read_status(&error.code, &error.message).class;
    if class == Class::RequestError {
        return plain_refusal(error, refuse(&error.code));
    }
    ReplyError::Contradiction("a payment's status without encryption")
}

fn plain_refusal(error: &PlainError, refusal: Refusal) -> ReplyError {
    match error.code.as_str() {
        INTERNAL => ReplyError::Internal,
        SUCCESS => ReplyError::Contradiction("a success without encryption"),
        code => ReplyError::refused(code, refusal),
    }
}

fn code_of(details: &ResponseDetails) -> Result<&str, Undecodable> {
    details.status_code.filled().ok_or(Undecodable::Schema)
}

/// Every line of the request answered once, nothing else answered, and equal amounts wherever money may move.
fn refund_lines(
    pay: &RefundPay,
    request: &RefundRequest,
) -> Result<Vec<RefundLineAnswer>, ReplyError> {
    if pay.atom_txn_id.filled() != Some(&request.atom_txn_id) {
        return Err(ReplyError::Contradiction("another atomTxnId"));
    }
    if pay.prod_details.0.len() != request.lines.len() {
        return Err(ReplyError::Contradiction("not the lines of the request"));
    }
    request
        .lines
        .iter()
        .map(|line| refund_line(pay, line))
        .collect()
}

fn refund_line(pay: &RefundPay, line: &RefundLine) -> Result<RefundLineAnswer, ReplyError> {
    let ours = |p: &&RefundProduct| p.prod_refund_id.as_str() == Some(&line.prod_refund_id);
    let answered = pay.prod_details.0.iter().find(ours);
    let answered = answered.ok_or(ReplyError::Contradiction("not the lines of the request"))?;
    let code = answered.prod_status_code.filled();
    let code = code.ok_or(ReplyError::Contradiction("a line without a code"))?;
    let initiated = code == SUCCESS;
    let amount = read_amount(&answered.prod_refund_amount).flatten();
    if initiated && amount != Some(line.amount) {
        return Err(ReplyError::Contradiction("another amount in a line"));
    }
    Ok(RefundLineAnswer {
        prod_refund_id: line.prod_refund_id.clone(),
        refund_txn_id: answered.refund_txn_id.to_filled(),
        status_code: code.to_owned(),
        initiated,
        amount: line.amount,
    })
}

/// The total is what was asked for, or what was initiated; no public sample says which of the two a mixed answer has.
fn check_refund_total(
    pay: &RefundPay,
    request: &RefundRequest,
    answer: &RefundAnswer,
) -> Result<(), ReplyError> {
    match read_amount(&pay.total_refund_amount) {
        Some(None) => Ok(()),
        Some(Some(total)) if total == request.total() || total == answer.initiated_total() => {
            Ok(())
        }
        _ => Err(ReplyError::Contradiction("another total")),
    }
}
