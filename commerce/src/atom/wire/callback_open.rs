//! Opens what arrives at the callback and return addresses (`spec/atom.md` 14, checks 3 to 6).
//!
//! Anybody can post there. A message that fails is refused with one and the same answer whatever the reason, and after
//! the same work: where a ciphertext gives no text, a decoy text is parsed and its signature computed instead. Without
//! that, the address would tell an attacker which paddings are right, for CBC authenticates nothing.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable};

use super::amount::{self, AmountStyle};
use super::codes::{FORCED_SUCCESS, SUCCESS, read_callback};
use super::crypt::{CipherKey, decode};
use super::json::{Lit, parse};
use super::messages::{Amounts, Callback};
use super::shape::{Instrument, Wrapper, is_id};
use super::sign::{self, CallbackFields, SIGNATURE_LEN};
use crate::secret::Secret;

/// The longest body that is taken, in bytes.
pub const BODY_LEN_MAX: usize = 64 * 1024;

/// The longest `encData`, in characters.
pub const ENC_DATA_LEN_MAX: usize = 48 * 1024;

/// The keys with which inbound messages are opened, the current ones first, and who we are.
pub struct InboundKeys {
    ciphers: Vec<CipherKey>,
    signatures: Vec<Secret>,
    merch_id: String,
}

/// What a message turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// A message whose signature is right.
    Signed(Box<SignedCallback>),
    /// A message that decrypts and carries no signature. It is **never** trusted: it pulls a status query, and is
    /// answered like a refused one.
    Unsigned {
        /// The attempt it names.
        merch_txn_id: String,
        /// What it is known by.
        trace: Trace,
    },
    /// A word in the place of the ciphertext. Nobody vouches for it: it pulls a status query, no more.
    Hint(Hint),
}

/// A verified message, and what is stored of it.
#[derive(Debug)]
pub struct SignedCallback {
    /// What it says.
    pub callback: Callback,
    /// SHA-256 of `enc_data`, in hex: the same message always has the same digest, however its hex was written.
    pub digest: String,
    /// The ciphertext in upper-case hex: the raw copy, which is encrypted as it is.
    pub enc_data: String,
}

/// The words that mobile kits send where a ciphertext belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The customer cancelled.
    CancelTransaction,
    /// The customer's session ended.
    SessionTimeout,
}

/// The words and what they are.
const HINTS: [(&str, Hint); 2] = [
    ("cancelTransaction", Hint::CancelTransaction),
    ("sessionTimeout", Hint::SessionTimeout),
];

/// A message that failed. What is in here is for counters and logs; the sender learns nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which check.
    pub reason: Reason,
    /// What it is known by.
    pub trace: Trace,
}

/// What the log may tell of a message that nobody vouches for, as far as it was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The first characters of the message's digest, if there was a ciphertext.
    pub digest_prefix: Option<String>,
    /// Which response key opened it, 0 for the current one.
    pub key: Option<usize>,
    /// The order the text names (`udf1`), if it decrypted.
    pub claimed_order_id: Option<String>,
}

/// Which check a message failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No `encData`: a bare visit.
    NoEncData,
    /// No form, two `encData`, or an `encData` that is not whole blocks in hex.
    Form,
    /// No response key gives a message of the right shape.
    Decrypt,
    /// The signature is not right.
    Signature,
    /// The signature is right and the merchant is another one.
    Merchant,
}

impl Reason {
    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NoEncData => "no_enc_data",
            Reason::Form => "form",
            Reason::Decrypt => "decrypt",
            Reason::Signature => "signature",
            Reason::Merchant => "merchant",
        }
    }
}

impl InboundKeys {
    /// Keys in the order in which they are tried.
    pub fn new(ciphers: Vec<CipherKey>, signatures: Vec<Secret>, merch_id: String) -> InboundKeys {
        InboundKeys {
            ciphers,
            signatures,
            merch_id,
        }
    }

    /// The cipher keys, for answers to our own calls.
    pub fn ciphers(&self) -> &[CipherKey] {
        &self.ciphers
    }

    /// Opens the body of a form post.
    pub fn open(&self, body: &[u8]) -> Result<Opened, Rejected> {
        let reject = |reason| Rejected {
            reason,
            trace: Trace::default(),
        };
        if body.len() > BODY_LEN_MAX {
            return Err(reject(Reason::Form));
        }
        let mut fields =
            url::form_urlencoded::parse(body.trim_ascii()).filter(|(key, _)| key == "encData");
        let (_, enc_data) = fields.next().ok_or(reject(Reason::NoEncData))?;
        if fields.next().is_some() {
            return Err(reject(Reason::Form));
        }
        if let Some((_, hint)) = HINTS.iter().find(|(word, _)| *word == enc_data) {
            return Ok(Opened::Hint(*hint));
        }
        if enc_data.len() > ENC_DATA_LEN_MAX {
            return Err(reject(Reason::Form));
        }
        let blocks = decode(&enc_data).map_err(|_| reject(Reason::Form))?;
        self.open_blocks(&blocks)
    }

    /// Every key is tried, even after one has fitted, so that the time says nothing about which.
    fn open_blocks(&self, blocks: &[u8]) -> Result<Opened, Rejected> {
        let enc_data = hex::encode_upper(blocks);
        let digest = hex::encode(Sha256::digest(&enc_data));
        let mut seen = None;
        for (key, cipher) in self.ciphers.iter().enumerate() {
            let text = cipher.decrypt_bytes(blocks).ok();
            let message = text.and_then(|text| Message::read(&text));
            let is_real = Choice::from(u8::from(message.is_some()));
            let message = message.unwrap_or_else(Message::decoy);
            let verified = bool::from(is_real & message.verify(&self.signatures));
            if bool::from(is_real) && (verified || seen.is_none()) {
                seen = Some((key, message, verified));
            }
        }
        let trace = |key, claimed_order_id| Trace {
            digest_prefix: Some(digest[..12].to_owned()),
            key,
            claimed_order_id,
        };
        let Some((key, message, verified)) = seen else {
            return Err(Rejected {
                reason: Reason::Decrypt,
                trace: trace(None, None),
            });
        };
        if message.signature.is_none() {
            return Ok(Opened::Unsigned {
                merch_txn_id: message.merch_txn_id,
                trace: trace(Some(key), message.udf1),
            });
        }
        let ours = message.merch_id == self.merch_id;
        if !verified || !ours {
            return Err(Rejected {
                reason: match verified {
                    true => Reason::Merchant,
                    false => Reason::Signature,
                },
                trace: trace(Some(key), message.udf1),
            });
        }
        Ok(Opened::Signed(Box::new(SignedCallback {
            callback: message.into_callback(),
            digest,
            enc_data,
        })))
    }
}

/// A message of the right shape, before anything of it is believed.
struct Message {
    merch_id: String,
    merch_txn_id: String,
    atom_txn_id: String,
    amounts: Amounts,
    total: i64,
    status_code: String,
    message: String,
    sub_channel: Option<String>,
    bank_txn_id: Option<String>,
    ots_bank_name: Option<String>,
    txn_init_date: Option<String>,
    txn_complete_date: Option<String>,
    udf1: Option<String>,
    signature: Option<String>,
}

impl Message {
    fn read(text: &str) -> Option<Message> {
        let shape: Wrapper<Instrument> = parse(text)?;
        let [instrument] = <[Instrument; 1]>::try_from(shape.pay_instrument.0).ok()?;
        let merchant = instrument.merch_details?;
        let pay = instrument.pay_details?;
        let mode = instrument.pay_mode_specific_data.unwrap_or_default();
        let bank = mode.bank_details.unwrap_or_default();
        let details = instrument.response_details?;
        let digits = |lit: &Lit| lit.to_filled().filter(|text| is_id(text));
        // A letter first keeps the attempt's id apart from the digits before it in the signature's text.
        let attempt = |text: &String| {
            text.len() <= 50 && text.starts_with(|first: char| first.is_ascii_alphabetic())
        };
        let amounts = pay.amounts()?;
        Some(Message {
            merch_id: digits(&merchant.merch_id)?,
            merch_txn_id: merchant.merch_txn_id.to_filled().filter(attempt)?,
            atom_txn_id: digits(&pay.atom_txn_id)?,
            total: amounts.total?,
            amounts,
            status_code: details.status_code.to_filled()?,
            message: details.message.to_filled().unwrap_or_default(),
            sub_channel: mode.sub_channel.0.first().and_then(Lit::to_filled),
            bank_txn_id: bank.bank_txn_id.to_filled(),
            ots_bank_name: bank.ots_bank_name.to_filled(),
            txn_init_date: pay.txn_init_date.to_filled(),
            txn_complete_date: pay.txn_complete_date.to_filled(),
            udf1: instrument.extras.and_then(|extras| extras.udf1.to_filled()),
            signature: pay.signature.to_filled(),
        })
    }

    /// What is parsed and signed in place of a text that could not be had.
    fn decoy() -> Message {
        Message::read(DECOY).expect("the decoy has the shape of a message")
    }

    /// All signatures are computed and compared, also where the answer is no already.
    fn verify(&self, keys: &[Secret]) -> Choice {
        let total = amount::text(self.total, AmountStyle::Fixed2);
        let fields = CallbackFields {
            merch_id: &self.merch_id,
            atom_txn_id: &self.atom_txn_id,
            merch_txn_id: &self.merch_txn_id,
            total: &total,
            status_code: &self.status_code,
            sub_channel: self.sub_channel.as_deref().unwrap_or_default(),
        };
        // Kits differ in what they sign where a failed payment has no bank number.
        let bank_txn_ids = match self.bank_txn_id.as_deref() {
            Some(id) => [id, id],
            None => ["", "null"],
        };
        let is_success = [SUCCESS, FORCED_SUCCESS].contains(&self.status_code.as_str());
        let lacks_bank_id = Choice::from(u8::from(is_success && self.bank_txn_id.is_none()));
        let received = self.signature.as_deref().and_then(sign::parse);
        let has_form = Choice::from(u8::from(received.is_some()));
        let received = received.unwrap_or([0; SIGNATURE_LEN]);
        let matches = fields.matches(keys, bank_txn_ids, &received);
        Choice::conditional_select(&matches, &Choice::from(0), lacks_bank_id | !has_form)
    }

    fn into_callback(self) -> Callback {
        Callback {
            reading: read_callback(&self.status_code, &self.message),
            merch_txn_id: self.merch_txn_id,
            atom_txn_id: self.atom_txn_id,
            amounts: self.amounts,
            status_code: self.status_code,
            sub_channel: self.sub_channel,
            bank_txn_id: self.bank_txn_id,
            ots_bank_name: self.ots_bank_name,
            txn_init_date: self.txn_init_date,
            txn_complete_date: self.txn_complete_date,
            udf1: self.udf1,
        }
    }
}

/// A message of usual size; its signature belongs to nothing.
const DECOY: &str = concat!(
    r#"{"payInstrument":{"merchDetails":{"merchId":100000,"merchTxnId":"G00000000000000000000000000","#,
    r#""merchTxnDate":"2000-01-01T00:00:00"},"payDetails":{"atomTxnId":10000000000000,"prodDetails":["#,
    r#"{"prodName":"NONE","prodAmount":1.00}],"amount":1.00,"surchargeAmount":0.00,"totalAmount":1.00,"#,
    r#""custAccNo":"","clientCode":"","txnCurrency":"INR","signature":""#,
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "000000000000000000000000",
    r#"","txnInitDate":"2000-01-01 00:00:00","txnCompleteDate":"2000-01-01 00:00:00"},"#,
    r#""payModeSpecificData":{"subChannel":["CC"],"bankDetails":{"otsBankId":1,"bankTxnId":"0000000000000000000","#,
    r#""otsBankName":"None","cardType":"CC","cardMaskNumber":"XXXXXXXXXXXX0000","scheme":"NONE"}},"#,
    r#""extras":{"udf1":"ord_00000000000000000000000000"},"custDetails":{"custEmail":"none@example.com","#,
    r#""custMobile":"9000000000","billingInfo":{}},"responseDetails":{"statusCode":"OTS0000","#,
    r#""message":"SUCCESS","description":"TRANSACTION IS SUCCESSFUL."}}}"#,
);
