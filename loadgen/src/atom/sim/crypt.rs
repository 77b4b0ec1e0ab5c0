//! Cipher and signatures of the wire (`spec/atom.md` 4 and 5), with aws-lc-rs.
//!
//! Derives each key once. It knows nothing of messages: it turns text into hexadecimal ciphertext and back, and text into a
//! signature.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, pbkdf2};
use thiserror::Error;

/// Rounds of the key derivation.
const ROUNDS: NonZeroU32 = NonZeroU32::new(65_536).expect("it is not zero");
/// Bytes of a block, and of the start value.
const BLOCK: usize = 16;
/// The start value of every message.
const IV: [u8; BLOCK] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// A ciphertext that cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum OpenError {
    /// Not pairs of hexadecimal digits.
    #[error("encData is not pairs of hexadecimal digits")]
    Hex,
    /// Not whole blocks.
    #[error("encData is {bytes} bytes, which is not a whole number of blocks of 16")]
    Blocks {
        /// So many bytes came.
        bytes: usize,
    },
    /// The padding of the last block is wrong: another key, or altered on the way.
    #[error("encData has no valid padding: another key, or altered on the way")]
    Padding,
    /// The plaintext is not UTF-8.
    #[error("the plaintext of encData is not UTF-8")]
    Utf8,
}

/// The cipher of one direction.
pub struct Cipher {
    encrypt: PaddedBlockEncryptingKey,
    decrypt: PaddedBlockDecryptingKey,
}

impl Cipher {
    /// The cipher of a key and salt as issued: both are texts and are used as texts.
    #[must_use]
    pub fn derive(key: &str, salt: &str) -> Cipher {
        let bytes = derive(key, salt);
        // A key of 32 bytes is what AES-256 takes, always.
        let unbound = || UnboundCipherKey::new(&AES_256, &bytes).expect("the key has 32 bytes");
        Cipher {
            encrypt: PaddedBlockEncryptingKey::cbc_pkcs7(unbound()).expect("AES-256 does CBC"),
            decrypt: PaddedBlockDecryptingKey::cbc_pkcs7(unbound()).expect("AES-256 does CBC"),
        }
    }

    /// Encrypts a text; upper-case hexadecimal.
    #[must_use]
    pub fn seal(&self, plain: &str) -> String {
        let mut bytes = plain.as_bytes().to_vec();
        self.encrypt
            .less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(FixedLength::from(IV)))
            .expect("a text of any length can be encrypted");
        hex::encode_upper(bytes)
    }

    /// Decrypts hexadecimal of either case.
    ///
    /// # Errors
    /// It is not hexadecimal, not whole blocks, wrongly padded, or no UTF-8 inside.
    pub fn open(&self, text: &str) -> Result<String, OpenError> {
        let mut bytes = hex::decode(text).map_err(|_| OpenError::Hex)?;
        if bytes.is_empty() || bytes.len() % BLOCK != 0 {
            return Err(OpenError::Blocks { bytes: bytes.len() });
        }
        let plain = self
            .decrypt
            .decrypt(&mut bytes, DecryptionContext::Iv128(FixedLength::from(IV)))
            .map_err(|_| OpenError::Padding)?;
        let plain = std::str::from_utf8(plain).map_err(|_| OpenError::Utf8)?;
        Ok(plain.to_owned())
    }
}

fn derive(key: &str, salt: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA512,
        ROUNDS,
        salt.as_bytes(),
        key.as_bytes(),
        &mut bytes,
    );
    bytes
}

/// Signs texts with one hash key.
pub struct Signer(hmac::Key);

impl Signer {
    /// The signer of a hash key, which is used as text.
    #[must_use]
    pub fn new(key: &str) -> Signer {
        Signer(hmac::Key::new(hmac::HMAC_SHA512, key.as_bytes()))
    }

    /// The signature of parts put together without anything between them; lower-case hexadecimal.
    #[must_use]
    pub fn sign(&self, parts: &[&str]) -> String {
        hex::encode(hmac::sign(&self.0, parts.concat().as_bytes()))
    }

    /// Whether a signature in either case is that of the parts.
    #[must_use]
    pub fn verify(&self, parts: &[&str], signature: &str) -> bool {
        hex::decode(signature)
            .is_ok_and(|tag| hmac::verify(&self.0, parts.concat().as_bytes(), &tag).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::*;

    const REQUEST: &str = "A4476C2062FFA58980DC8F79EB6A799E";
    const RESPONSE: &str = "75AEF0FA1B94B3C10D4F5B268F757F11";

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        id: String,
        key: Option<String>,
        plain: Option<String>,
        cipher: Option<String>,
        string: Option<String>,
        sig: Option<String>,
        request_key_hex: Option<String>,
        response_key_hex: Option<String>,
    }

    /// The published and computed vectors; data that both sides are held to, and the only thing they share.
    fn vectors() -> Vec<Vector> {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../commerce/tests/data/atom_vectors.json");
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        serde_json::from_str(&text).expect("the vectors are JSON")
    }

    /// Which hash key a vector's signature is made with follows from what it covers.
    fn hash_key(id: &str) -> &'static str {
        match id {
            "V3" | "V4" | "V7" | "V8a" | "V8b" | "V11" | "V12" => "KEY123657234",
            _ => "KEYRESP123657234",
        }
    }

    /// Every vector of `spec/atom.md` 8 comes out as written: keys, ciphertexts in both directions, signatures.
    #[test]
    fn the_vectors_hold() {
        let ciphers = [
            ("request", Cipher::derive(REQUEST, REQUEST)),
            ("response", Cipher::derive(RESPONSE, RESPONSE)),
        ];
        let (mut keys, mut sealed, mut signed) = (0, 0, 0);
        for vector in vectors() {
            let id = &vector.id;
            for (key, expected) in [
                (REQUEST, &vector.request_key_hex),
                (RESPONSE, &vector.response_key_hex),
            ] {
                if let Some(expected) = expected {
                    assert_eq!(&hex::encode(derive(key, key)), expected, "{id}");
                    keys += 1;
                }
            }
            if let (Some(plain), Some(cipher)) = (&vector.plain, &vector.cipher) {
                let which = vector.key.as_deref().unwrap_or("response");
                let (_, by) = ciphers
                    .iter()
                    .find(|(name, _)| *name == which)
                    .expect("a key");
                assert_eq!(&by.seal(plain), cipher, "{id}");
                assert_eq!(by.open(cipher).as_ref(), Ok(plain), "{id}");
                assert_eq!(by.open(&cipher.to_lowercase()).as_ref(), Ok(plain), "{id}");
                sealed += 1;
            }
            if let (Some(string), Some(signature)) = (&vector.string, &vector.sig) {
                let signer = Signer::new(hash_key(id));
                assert_eq!(&signer.sign(&[string]), signature, "{id}");
                assert!(signer.verify(&[string], &signature.to_uppercase()), "{id}");
                assert!(!signer.verify(&[string, "0"], signature), "{id}");
                signed += 1;
            }
        }
        assert_eq!((keys, sealed, signed), (2, 13, 14), "vectors covered");
    }

    /// A ciphertext that was damaged on the way is refused, and the refusal names what is wrong with it.
    #[test]
    fn damage_is_named() {
        let cipher = Cipher::derive(RESPONSE, RESPONSE);
        let good = cipher.seal("{\"atomTokenId\":15000000085228}");
        assert_eq!(cipher.open(&good[1..]), Err(OpenError::Hex));
        assert_eq!(
            cipher.open(&good[2..]),
            Err(OpenError::Blocks { bytes: 31 })
        );
        assert_eq!(cipher.open(""), Err(OpenError::Blocks { bytes: 0 }));
        assert_eq!(
            Cipher::derive(REQUEST, REQUEST).open(&good),
            Err(OpenError::Padding)
        );
        let twice = format!("{good}{}", &good[good.len() - 32..]);
        assert_eq!(cipher.open(&twice), Err(OpenError::Padding));
    }
}
