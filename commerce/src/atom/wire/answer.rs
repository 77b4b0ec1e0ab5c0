//! From the body of an HTTP answer to the plaintext inside it (`spec/atom.md` 3).
//!
//! The content type is wrong by tradition and is ignored; the body itself says what it is. HTML is a proxy or a
//! firewall, a brace is a plain error object, everything else must be form data with one `encData`.

use thiserror::Error;
use zeroize::Zeroizing;

use super::crypt::{CipherKey, DecryptError, decode};
use super::json::{Lit, is_shallow, parse};

/// The longest answer that is read, in bytes.
pub const ANSWER_LEN_MAX: usize = 256 * 1024;

/// What was inside an answer.
pub enum Body {
    /// A decrypted JSON text.
    Plaintext(Zeroizing<String>),
    /// The plain error object, which Atom sends without encryption.
    PlainError(PlainError),
}

/// Atom's unencrypted error object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainError {
    /// `txnStatusCode`.
    pub code: String,
    /// `txnMessage`.
    pub message: String,
    /// `txnDescription`.
    pub description: String,
}

/// Why an answer has no usable content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// No body, or blanks only.
    #[error("the answer is empty")]
    Empty,
    /// A page of a proxy or a firewall.
    #[error("the answer is an HTML page")]
    Html,
    /// Something that cannot be read.
    #[error("{0}")]
    Undecodable(#[from] Undecodable),
}

/// Where reading an answer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Undecodable {
    /// More than [`ANSWER_LEN_MAX`] bytes.
    #[error("longer than {ANSWER_LEN_MAX} bytes")]
    TooLong,
    /// Bytes that are no text at all.
    #[error("not text")]
    NotText,
    /// A brace, and no error object behind it.
    #[error("an error object without a code")]
    PlainObject,
    /// Form data without `encData`.
    #[error("no encData")]
    NoEncData,
    /// Form data with `encData` twice.
    #[error("encData twice")]
    TwoEncData,
    /// `merchId` is not ours.
    #[error("another merchId")]
    OtherMerchant,
    /// `encData` is not even-length hex of whole blocks.
    #[error("encData is not whole blocks in hex")]
    NotBlocks,
    /// No response key gives a text.
    #[error("no response key fits")]
    NoKeyFits,
    /// The plaintext is not the JSON of this call.
    #[error("not the expected JSON")]
    Schema,
}

/// Opens an answer. `keys` are the response keys, the current one first; `merch_id` is ours.
pub fn open(body: &[u8], keys: &[CipherKey], merch_id: &str) -> Result<Body, AnswerError> {
    if body.len() > ANSWER_LEN_MAX {
        return Err(Undecodable::TooLong.into());
    }
    match body.iter().find(|b| !b.is_ascii_whitespace()) {
        None => Err(AnswerError::Empty),
        Some(b'<') => Err(AnswerError::Html),
        Some(b'{') => Ok(Body::PlainError(plain_error(body)?)),
        Some(_) => {
            let enc_data = enc_data(body, merch_id)?;
            Ok(Body::Plaintext(decrypt(&enc_data, keys)?))
        }
    }
}

fn plain_error(body: &[u8]) -> Result<PlainError, Undecodable> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        #[serde(default)]
        txn_status_code: Lit,
        #[serde(default)]
        txn_message: Lit,
        #[serde(default)]
        txn_description: Lit,
    }
    let text = std::str::from_utf8(body).map_err(|_| Undecodable::NotText)?;
    let shape: Shape = parse(text).ok_or(Undecodable::PlainObject)?;
    Ok(PlainError {
        code: shape
            .txn_status_code
            .to_filled()
            .ok_or(Undecodable::PlainObject)?,
        message: shape.txn_message.to_filled().unwrap_or_default(),
        description: shape.txn_description.to_filled().unwrap_or_default(),
    })
}

fn enc_data(body: &[u8], merch_id: &str) -> Result<String, Undecodable> {
    let text = std::str::from_utf8(body).map_err(|_| Undecodable::NotText)?;
    let mut found = None;
    for (key, value) in url::form_urlencoded::parse(text.trim_ascii().as_bytes()) {
        match &*key {
            "merchId" if value != merch_id => return Err(Undecodable::OtherMerchant),
            "encData" if found.is_some() => return Err(Undecodable::TwoEncData),
            "encData" => found = Some(value.into_owned()),
            _ => {}
        }
    }
    found.ok_or(Undecodable::NoEncData)
}

/// An answer is not signed, so the first key whose text is a JSON object is taken.
fn decrypt(enc_data: &str, keys: &[CipherKey]) -> Result<Zeroizing<String>, Undecodable> {
    let blocks = decode(enc_data).map_err(|error| match error {
        DecryptError::Hex | DecryptError::Blocks => Undecodable::NotBlocks,
        DecryptError::Padding | DecryptError::Utf8 => Undecodable::NoKeyFits,
    })?;
    let is_object = |text: &str| {
        is_shallow(text) && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
    };
    let mut undecodable = Undecodable::NoKeyFits;
    for key in keys {
        match key.decrypt_bytes(&blocks) {
            Ok(text) if is_object(&text) => return Ok(text),
            Ok(_) => undecodable = Undecodable::Schema,
            Err(_) => {}
        }
    }
    Err(undecodable)
}
