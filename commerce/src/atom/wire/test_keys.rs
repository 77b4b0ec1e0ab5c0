//! The published dummy values and the test vectors, for the tests of this module.

use serde::Deserialize;

use super::callback_open::InboundKeys;
use super::crypt::CipherKey;
use super::request::{RequestWriter, Switches};
use crate::secret::Secret;

/// One row of `tests/data/atom_vectors.json`; what a row has depends on its kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vector {
    pub(super) id: String,
    pub(super) key: Option<String>,
    pub(super) plain: Option<String>,
    pub(super) cipher: Option<String>,
    pub(super) string: Option<String>,
    pub(super) sig: Option<String>,
    pub(super) request_key_hex: Option<String>,
    pub(super) response_key_hex: Option<String>,
}

pub(super) fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../tests/data/atom_vectors.json");
    serde_json::from_str(text).expect("the vectors are JSON")
}

pub(super) fn vector(id: &str) -> Vector {
    let found = vectors().into_iter().find(|vector| vector.id == id);
    found.unwrap_or_else(|| panic!("no vector {id}"))
}

pub(super) fn derive(text: &str) -> CipherKey {
    CipherKey::derive(&Secret::from(text), &Secret::from(text))
}

pub(super) fn request_key() -> CipherKey {
    derive("A4476C2062FFA58980DC8F79EB6A799E")
}

pub(super) fn response_key() -> CipherKey {
    derive("75AEF0FA1B94B3C10D4F5B268F757F11")
}

pub(super) fn response_hash_key() -> Secret {
    Secret::from("KEYRESP123657234")
}

pub(super) fn inbound() -> InboundKeys {
    InboundKeys::new(
        vec![response_key()],
        vec![response_hash_key()],
        "317157".to_owned(),
    )
}

pub(super) fn writer(switches: Switches) -> RequestWriter {
    RequestWriter {
        merch_id: "317157".to_owned(),
        password: Secret::from("Test@123"),
        hash_key: Secret::from("KEY123657234"),
        product: "NSE".to_owned(),
        switches,
    }
}
