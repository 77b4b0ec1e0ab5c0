//! Signatures: HMAC-SHA-512 over fields put end to end (`spec/atom.md` 5).
//!
//! The scheme has no separators, so a signature is only as good as the formats of its fields; those are held strict
//! where the fields are read. Comparison is in constant time over 64 bytes, and all candidates are computed and
//! compared before the answer is known.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Length of a signature, in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The last part of a refund's signature text.
const REFUND_WORD: &str = "REFUNDINIT";

/// The last part of a status query's signature text, in the form that has the password.
const STATUS_WORD: &str = "TXNVERIFICATION";

/// What a signed request is computed over. The password and the number's characters are as they are sent, in plain.
pub struct SignedFields<'a> {
    /// Our merchant number.
    pub merch_id: &'a str,
    /// The password, never its Base64 form.
    pub password: &'a Secret,
    /// The attempt.
    pub merch_txn_id: &'a str,
    /// The amount's characters as they stand in the message.
    pub amount: &'a str,
    /// The currency.
    pub currency: &'a str,
}

impl SignedFields<'_> {
    /// The signature of a refund request: lower-case hex.
    pub fn refund(&self, key: &Secret) -> String {
        self.with_password(key, REFUND_WORD)
    }

    /// The signature of a status query in the TXNVERIFICATION form: lower-case hex.
    pub fn status(&self, key: &Secret) -> String {
        self.with_password(key, STATUS_WORD)
    }

    /// The signature of a status query in the v2 form: lower-case hex.
    pub fn status_v2(&self, key: &Secret) -> String {
        let parts = [self.merch_id, self.merch_txn_id, self.amount, self.currency];
        hex::encode(hmac(key, &parts))
    }

    fn with_password(&self, key: &Secret, word: &str) -> String {
        let parts = [
            self.merch_id,
            self.password.expose(),
            self.merch_txn_id,
            self.amount,
            self.currency,
            word,
        ];
        hex::encode(hmac(key, &parts))
    }
}

/// What a callback's signature is computed over, as literal texts of the message.
#[derive(Clone, Copy)]
pub struct CallbackFields<'a> {
    /// Digits of `merchId`.
    pub merch_id: &'a str,
    /// Digits of `atomTxnId`.
    pub atom_txn_id: &'a str,
    /// The attempt.
    pub merch_txn_id: &'a str,
    /// `totalAmount`, with two decimals.
    pub total: &'a str,
    /// `statusCode`.
    pub status_code: &'a str,
    /// First element of `subChannel`, or nothing.
    pub sub_channel: &'a str,
}

impl CallbackFields<'_> {
    /// The signature for one text of `bankTxnId`.
    pub fn signature(&self, key: &Secret, bank_txn_id: &str) -> [u8; SIGNATURE_LEN] {
        let parts = [
            self.merch_id,
            self.atom_txn_id,
            self.merch_txn_id,
            self.total,
            self.status_code,
            self.sub_channel,
            bank_txn_id,
        ];
        hmac(key, &parts)
    }

    /// Whether `received` matches any of the candidates, under any of the keys. All are computed, none is skipped.
    pub fn matches(
        &self,
        keys: &[Secret],
        bank_txn_ids: [&str; 2],
        received: &[u8; SIGNATURE_LEN],
    ) -> Choice {
        let mut matched = Choice::from(0);
        for key in keys {
            for bank_txn_id in bank_txn_ids {
                matched |= self.signature(key, bank_txn_id).ct_eq(received);
            }
        }
        matched
    }
}

/// Reads a received signature: exactly 128 hex characters of either case.
pub fn parse(text: &str) -> Option<[u8; SIGNATURE_LEN]> {
    let mut bytes = [0u8; SIGNATURE_LEN];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// The text is fed in parts so that no buffer ever holds the password beside the other fields.
fn hmac(key: &Secret, parts: &[&str]) -> [u8; SIGNATURE_LEN] {
    let key = Zeroizing::new(key.expose().as_bytes().to_vec());
    let mut mac = Hmac::<Sha512>::new_from_slice(&key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A received signature is 128 hex characters, of either case, and nothing else.
    #[test]
    fn the_form_of_a_signature() {
        let lower = "ab".repeat(SIGNATURE_LEN);
        assert_eq!(parse(&lower), Some([0xab; SIGNATURE_LEN]));
        assert_eq!(parse(&lower.to_ascii_uppercase()), parse(&lower));
        assert_eq!(parse(&lower[1..]), None);
        assert_eq!(parse(&lower[2..]), None);
        assert_eq!(parse(&format!("{lower}00")), None);
        assert_eq!(parse(&lower.replace('a', "g")), None);
        assert_eq!(parse(""), None);
    }

    /// One right key or one right candidate is enough; without either there is no match.
    #[test]
    fn any_key_and_any_candidate() {
        let keys = [Secret::from("new"), Secret::from("old")];
        let fields = CallbackFields {
            merch_id: "1",
            atom_txn_id: "2",
            merch_txn_id: "G3",
            total: "4.00",
            status_code: "OTS0600",
            sub_channel: "CC",
        };
        for key in &keys {
            for bank in ["", "null"] {
                let received = fields.signature(key, bank);
                assert!(bool::from(fields.matches(&keys, ["", "null"], &received)));
                assert!(!bool::from(fields.matches(&keys, ["x", "x"], &received)));
                assert!(!bool::from(fields.matches(&[], ["", "null"], &received)));
            }
        }
    }
}
