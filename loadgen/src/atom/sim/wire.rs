//! Forms and ciphertext as they go over the wire, and the faults that they may have (`spec/atom.md` 3).

use thiserror::Error;

use super::config::Keys;
use super::faults::Fault;

/// Hexadecimal ciphertext, with its faults.
pub struct Sealed(pub String);

/// Encrypts a plaintext for the merchant, with what the faults do to it.
#[must_use]
pub fn seal(keys: &Keys, plain: &str, faults: &[Fault]) -> Sealed {
    let cipher = if faults.contains(&Fault::WrongKey) {
        &keys.foreign
    } else if faults.contains(&Fault::OldKey) {
        &keys.old_response
    } else {
        &keys.response
    };
    let mut text = cipher.seal(plain);
    for fault in faults {
        match fault {
            // Half of the digits, and still whole bytes.
            Fault::TruncatedHex => text.truncate(text.len() / 4 * 2),
            Fault::OddHex => text.truncate(text.len() - 1),
            Fault::LowerHex => text.make_ascii_lowercase(),
            _ => {}
        }
    }
    Sealed(text)
}

/// The form as it is sent.
#[must_use]
pub fn form(merch_id: &str, enc_data: &str) -> String {
    format!("merchId={merch_id}&encData={enc_data}")
}

/// The body of an answer, with the faults of its form.
#[must_use]
pub fn answer(keys: &Keys, plain: &str, faults: &[Fault]) -> String {
    let Sealed(enc_data) = seal(keys, plain, faults);
    let merch_id = &keys.identity.merch_id;
    if faults.contains(&Fault::Empty) {
        String::new()
    } else if faults.contains(&Fault::TwoEncData) {
        format!("merchId={merch_id}&encData={enc_data}&encData={enc_data}")
    } else if faults.contains(&Fault::Reversed) {
        format!("encData={enc_data}&merchId={merch_id}")
    } else {
        form(merch_id, &enc_data)
    }
}

/// A request whose form or cipher is wrong.
#[derive(Debug, Error, PartialEq)]
pub enum FormError {
    /// A field is missing, or there twice.
    #[error("the form needs exactly one merchId and one encData")]
    Fields,
    /// Another merchant.
    #[error("the form is of merchant {0}")]
    Merchant(String),
    /// The ciphertext cannot be read.
    #[error(transparent)]
    Open(#[from] super::crypt::OpenError),
    /// The plaintext is no request.
    #[error("the plaintext is no request: {0}")]
    Json(String),
}

/// Reads a request's form down to its plaintext.
///
/// # Errors
/// Names what is wrong with it.
pub fn open(keys: &Keys, body: &[u8]) -> Result<super::inbound::Request, FormError> {
    let (mut merch_id, mut enc_data) = (None, None);
    for (name, value) in url::form_urlencoded::parse(body) {
        let slot = match name.as_ref() {
            "merchId" => &mut merch_id,
            "encData" => &mut enc_data,
            _ => continue,
        };
        if slot.replace(value.into_owned()).is_some() {
            return Err(FormError::Fields);
        }
    }
    let (Some(merch_id), Some(enc_data)) = (merch_id, enc_data) else {
        return Err(FormError::Fields);
    };
    if merch_id != keys.identity.merch_id {
        return Err(FormError::Merchant(merch_id));
    }
    let plain = keys.request.open(&enc_data)?;
    let envelope: super::inbound::Envelope =
        serde_json::from_str(&plain).map_err(|error| FormError::Json(error.to_string()))?;
    Ok(envelope.instrument)
}
