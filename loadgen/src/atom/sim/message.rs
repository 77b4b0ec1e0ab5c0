//! What the simulator sends, as JSON in the order of members that Atom uses (`spec/atom.md` 7).

use serde::Serialize;
use serde_json::value::RawValue;

use super::amount::fixed2;

/// A JSON number with exactly these characters, or the same as a text.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Number(Box<RawValue>);

impl Number {
    /// Digits, such as a number of a payment.
    #[must_use]
    pub fn digits(number: u64, as_text: bool) -> Number {
        Number::literal(number.to_string(), as_text)
    }

    /// An amount with two decimals.
    #[must_use]
    pub fn amount(paise: i64, as_text: bool) -> Number {
        Number::literal(fixed2(paise), as_text)
    }

    fn literal(text: String, as_text: bool) -> Number {
        let json = if as_text { format!("\"{text}\"") } else { text };
        // Digits with a point are JSON with and without quotation marks.
        Number(RawValue::from_string(json).expect("digits are JSON"))
    }
}

/// The member that has the content.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<T> {
    /// The content.
    pub pay_instrument: T,
}

/// Puts a content into its envelope, as text.
#[must_use]
pub fn text_of<T: Serialize>(pay_instrument: T) -> String {
    plain_text_of(&Envelope { pay_instrument })
}

/// A message as text.
///
/// # Panics
/// Never: these structures have nothing that JSON cannot say.
#[must_use]
pub fn plain_text_of<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("plain structures are JSON")
}

/// `responseDetails` of all answers but that of AUTH.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The code.
    pub status_code: String,
    /// Its word.
    pub message: String,
    /// Its sentence.
    pub description: String,
}

impl Said {
    /// A code with its word, and a sentence that follows from the word.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Said {
        let description = match message {
            "SUCCESS" => "TRANSACTION IS SUCCESSFUL.".to_owned(),
            other => format!("TRANSACTION IS {other}."),
        };
        Said {
            status_code: code.to_owned(),
            message: message.to_owned(),
            description,
        }
    }

    /// The same with another sentence.
    #[must_use]
    pub fn because(code: &str, message: &str, description: &str) -> Said {
        Said {
            description: description.to_owned(),
            ..Said::new(code, message)
        }
    }
}

/// The answer to AUTH; it has no envelope.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenAnswer {
    /// The token, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atom_token_id: Option<u64>,
    /// How it went.
    pub response_details: TokenSaid,
}

/// `responseDetails` of AUTH.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenSaid {
    /// The code.
    pub txn_status_code: String,
    /// Its word.
    pub txn_message: String,
    /// Its sentence.
    pub txn_description: String,
}

/// The error object that is not encrypted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainError {
    /// Always null.
    pub enc_data: Option<()>,
    /// The word.
    pub txn_message: String,
    /// The code.
    pub txn_status_code: String,
    /// The sentence.
    pub txn_description: String,
}

/// A callback, or what the browser carries to the return URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Callback {
    /// Whose payment.
    pub merch_details: CallbackMerch,
    /// The money.
    pub pay_details: CallbackPay,
    /// The way it went.
    pub pay_mode_specific_data: CallbackMode,
    /// Free members.
    pub extras: Extras,
    /// Who paid.
    pub cust_details: CallbackCust,
    /// How it went.
    pub response_details: Said,
}

/// `merchDetails` of a callback.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackMerch {
    /// The merchant's number.
    pub merch_id: Number,
    /// Its number of the payment.
    pub merch_txn_id: String,
    /// Its time, with a `T`.
    pub merch_txn_date: String,
}

/// `payDetails` of a callback.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackPay {
    /// Atom's number of the payment.
    pub atom_txn_id: Number,
    /// Products.
    pub prod_details: Vec<ProductPart>,
    /// Amount.
    pub amount: Number,
    /// Surcharge.
    pub surcharge_amount: Number,
    /// Both together.
    pub total_amount: Number,
    /// Empty.
    pub cust_acc_no: &'static str,
    /// Empty.
    pub client_code: &'static str,
    /// Currency.
    pub txn_currency: String,
    /// Signature.
    pub signature: Option<String>,
    /// When it began.
    pub txn_init_date: String,
    /// When it was done.
    pub txn_complete_date: String,
}

/// A product and its part.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductPart {
    /// Its name.
    pub prod_name: String,
    /// Its part.
    pub prod_amount: Number,
}

/// `payModeSpecificData` of a callback.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackMode {
    /// The way, in an array, or as a text.
    pub sub_channel: SubChannel,
    /// The bank.
    pub bank_details: CallbackBank,
}

/// `subChannel` in its two forms.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SubChannel {
    /// As callbacks have it.
    Array([String; 1]),
    /// As status answers have it.
    Text(String),
}

/// `bankDetails` of a callback.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackBank {
    /// The bank's number.
    pub ots_bank_id: Number,
    /// The bank's number of the payment; outside missing, inside null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_txn_id: Option<Option<String>>,
    /// The bank's name.
    pub ots_bank_name: &'static str,
    /// Of a card: credit or debit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_type: Option<String>,
    /// Of a card: its number, masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_mask_number: Option<&'static str>,
    /// Of a card: its brand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<&'static str>,
}

/// `extras` of a callback.
#[derive(Debug, Serialize)]
pub struct Extras {
    /// What the merchant had sent in it.
    pub udf1: String,
}

/// `custDetails` of a callback.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackCust {
    /// Address for mail.
    pub cust_email: String,
    /// Telephone.
    pub cust_mobile: String,
    /// Empty.
    pub billing_info: Empty,
}

/// An object without members.
#[derive(Debug, Serialize)]
pub struct Empty {}

/// One transaction of a status answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether the money was settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settlement_details: Option<Settlement>,
    /// Whose payment.
    pub merch_details: StatusMerch,
    /// The money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pay_details: Option<StatusPay>,
    /// The way it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pay_mode_specific_data: Option<StatusMode>,
    /// How it stands.
    pub response_details: Said,
}

/// `settlementDetails`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement {
    /// `NRNS`, `RNS` or `RS`.
    pub recon_status: &'static str,
}

/// `merchDetails` of a status answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusMerch {
    /// The merchant's number.
    pub merch_id: Number,
    /// Its number of the payment.
    pub merch_txn_id: String,
    /// Its time.
    pub merch_txn_date: String,
    /// Empty.
    pub client_code: &'static str,
}

/// `payDetails` of a status answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusPay {
    /// Atom's number of the payment.
    pub atom_txn_id: Number,
    /// The first product.
    pub product: String,
    /// All of them.
    pub prod_details: Vec<ProductPart>,
    /// Amount.
    pub amount: Number,
    /// Surcharge.
    pub surcharge_amount: Number,
    /// Both together.
    pub total_amount: Number,
}

/// `payModeSpecificData` of a status answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusMode {
    /// The way.
    pub sub_channel: SubChannel,
    /// The bank.
    pub bank_details: StatusBank,
}

/// `bankDetails` of a status answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusBank {
    /// The bank's number of the payment.
    pub bank_txn_id: String,
    /// The bank's name.
    pub ots_bank_name: &'static str,
}

/// The answer to a refund.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundAnswer {
    /// The money, unless nothing could be said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pay_details: Option<RefundPay>,
    /// How it went.
    pub response_details: Said,
}

/// `payDetails` of a refund's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundPay {
    /// Atom's number of the payment.
    pub atom_txn_id: Number,
    /// The lines.
    pub prod_details: Vec<RefundLine>,
    /// Currency.
    pub txn_currency: String,
    /// What was accepted.
    pub total_refund_amount: Number,
}

/// A line of a refund's answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundLine {
    /// Its product.
    pub prod_name: String,
    /// Atom's number of it, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_txn_id: Option<u64>,
    /// The merchant's number of it.
    pub prod_refund_id: String,
    /// The code.
    pub prod_status_code: String,
    /// Its sentence.
    pub prod_description: String,
    /// Its amount.
    pub prod_refund_amount: Number,
}

/// The answer to a refund status query.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundStatus {
    /// Which payment.
    pub pay_details: RefundStatusPay,
    /// Its refunds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_status_details: Option<RefundStatusDetails>,
    /// How the query went.
    pub response_details: Said,
}

/// `payDetails` of a refund status answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundStatusPay {
    /// Atom's number of the payment.
    pub atom_txn_id: Number,
}

/// `refundStatusDetails` in its two shapes.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RefundStatusDetails {
    /// By product.
    Array(Vec<RefundsOfProduct>),
    /// All in one.
    Object {
        /// The refunds.
        #[serde(rename = "refundDetails")]
        refund_details: Vec<RefundEntry>,
    },
}

/// The refunds of a product.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundsOfProduct {
    /// The product.
    pub prod_name: String,
    /// Its refunds.
    pub refund_status: Vec<RefundEntry>,
}

/// A refund as listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundEntry {
    /// How it stands.
    pub remarks: &'static str,
    /// Its amount.
    pub refund_amt: Number,
    /// Atom's number of it.
    pub refund_txn_id: u64,
    /// The merchant's number of it.
    pub prod_refund_id: String,
    /// Its day.
    pub refund_initiated_date: String,
}
