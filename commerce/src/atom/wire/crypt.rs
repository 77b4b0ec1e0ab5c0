//! AES-256 in CBC mode with keys from PBKDF2 (`spec/atom.md` 4).
//!
//! The derivation costs tens of milliseconds and happens once per key, when [`CipherKey::derive`] is called at start;
//! a message costs microseconds. The scheme has a fixed IV and no authentication: that a text decrypts proves nothing.
//! What a decryption failure was is known inside, for counters, and is never told to a peer.

use std::sync::atomic::{AtomicU64, Ordering};

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha512;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Length of a cipher block, in bytes.
pub const BLOCK_LEN: usize = 16;

/// Rounds of the key derivation.
const KDF_ROUNDS: u32 = 65_536;

/// The one IV of all messages.
const IV: [u8; BLOCK_LEN] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

static DERIVATIONS: AtomicU64 = AtomicU64::new(0);

/// How many keys this process has derived (`kdf_derivations_total`): it must not grow after start.
pub fn derivations() -> u64 {
    DERIVATIONS.load(Ordering::Relaxed)
}

/// Why a ciphertext gave no text. For counters and logs, never for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecryptError {
    /// Odd length, or a character that is not a hex digit.
    #[error("encData is not even-length hex")]
    Hex,
    /// No block at all, or a part of one.
    #[error("encData is not whole blocks of {BLOCK_LEN} bytes")]
    Blocks,
    /// The last block does not end in PKCS#7 padding.
    #[error("the padding is wrong")]
    Padding,
    /// The plaintext is not strict UTF-8, or starts with a byte-order mark.
    #[error("the plaintext is not strict UTF-8")]
    Utf8,
}

/// A derived key. Wiped when dropped; cannot be printed.
pub struct CipherKey(Zeroizing<[u8; 32]>);

impl CipherKey {
    /// Derives the key from the text as it was issued: the characters count, they are not read as hex.
    pub fn derive(password: &Secret, salt: &Secret) -> CipherKey {
        let mut key = Zeroizing::new([0u8; 32]);
        pbkdf2_hmac::<Sha512>(
            password.expose().as_bytes(),
            salt.expose().as_bytes(),
            KDF_ROUNDS,
            key.as_mut_slice(),
        );
        DERIVATIONS.fetch_add(1, Ordering::Relaxed);
        CipherKey(key)
    }

    /// Encrypts a text and writes it as upper-case hex.
    pub fn encrypt(&self, plain: &str) -> String {
        let cipher = cbc::Encryptor::<Aes256>::new((&*self.0).into(), (&IV).into());
        hex::encode_upper(cipher.encrypt_padded_vec::<Pkcs7>(plain.as_bytes()))
    }

    /// Decrypts hex of either case to a text.
    pub fn decrypt(&self, enc_data: &str) -> Result<Zeroizing<String>, DecryptError> {
        self.decrypt_bytes(&decode(enc_data)?)
    }

    /// Decrypts whole blocks to a text.
    pub fn decrypt_bytes(&self, blocks: &[u8]) -> Result<Zeroizing<String>, DecryptError> {
        if blocks.is_empty() || !blocks.len().is_multiple_of(BLOCK_LEN) {
            return Err(DecryptError::Blocks);
        }
        let mut buffer = Zeroizing::new(blocks.to_vec());
        let cipher = cbc::Decryptor::<Aes256>::new((&*self.0).into(), (&IV).into());
        let plain_len = cipher
            .decrypt_padded::<Pkcs7>(&mut buffer)
            .map_err(|_| DecryptError::Padding)?
            .len();
        let plain = std::str::from_utf8(&buffer[..plain_len]).map_err(|_| DecryptError::Utf8)?;
        if plain.starts_with('\u{feff}') {
            return Err(DecryptError::Utf8);
        }
        Ok(Zeroizing::new(plain.to_owned()))
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Reads `encData`: even-length hex, whole blocks.
pub fn decode(enc_data: &str) -> Result<Vec<u8>, DecryptError> {
    let bytes = hex::decode(enc_data).map_err(|_| DecryptError::Hex)?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK_LEN) {
        return Err(DecryptError::Blocks);
    }
    Ok(bytes)
}
