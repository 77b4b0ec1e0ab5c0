//! Buyer data at rest (`spec/frex.md` 14): AES-256-GCM under a key that is not in the database.
//!
//! A sealed text is `v1:KEYID:base64(nonce | ciphertext | tag)`. What it belongs to (the order or the request key) is
//! authenticated with it, so a sealed text moved to another row does not open. Two keys may be active: the first one seals, both open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const KEY_ID_CHARS_MAX: usize = 16;

/// Why a vault cannot be made, or a text not opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No key was given.
    #[error("no key for buyer data; give at least one key of 32 bytes, base64")]
    NoKey,
    /// A key is not 32 bytes.
    #[error("the key '{id}' for buyer data has {bytes} bytes; it must have 32, written in base64")]
    KeyLength {
        /// Its name.
        id: String,
        /// Its length.
        bytes: usize,
    },
    /// A key's name cannot stand in a sealed text.
    #[error("'{id}' cannot name a key for buyer data; use 1 to 16 letters, digits or '-'")]
    KeyId {
        /// The name.
        id: String,
    },
    /// A sealed text names a key that is not configured.
    #[error(
        "buyer data of {of} is sealed with the key '{id}', which is not configured; add that key beside the present one"
    )]
    UnknownKey {
        /// The key's name.
        id: String,
        /// What the text belongs to.
        of: String,
    },
    /// A sealed text does not open.
    #[error(
        "buyer data of {of} does not open: it was changed, belongs to another row, or the key is wrong; restore it from a backup"
    )]
    Closed {
        /// What the text belongs to.
        of: String,
    },
}

struct VaultKey {
    id: String,
    seal: LessSafeKey,
    digest: Zeroizing<[u8; KEY_BYTES]>,
}

/// Seals and opens. Has no `Debug`: it holds keys.
pub struct Vault {
    keys: Vec<VaultKey>,
}

impl Vault {
    /// A vault of named keys; the first one seals.
    ///
    /// # Errors
    /// No key, or one of a wrong length or name.
    pub fn new(keys: &[(String, Zeroizing<Vec<u8>>)]) -> Result<Self, VaultError> {
        if keys.is_empty() {
            return Err(VaultError::NoKey);
        }
        let made = keys.iter().map(|(id, bytes)| {
            let clean = id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if id.is_empty() || id.len() > KEY_ID_CHARS_MAX || !clean {
                return Err(VaultError::KeyId { id: id.clone() });
            }
            let wrong = || VaultError::KeyLength {
                id: id.clone(),
                bytes: bytes.len(),
            };
            if bytes.len() != KEY_BYTES {
                return Err(wrong());
            }
            let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| wrong())?;
            // The digest of contents has a key of its own, derived from the sealing key.
            let digest = Zeroizing::new(tag(bytes, b"frex content digest"));
            Ok(VaultKey {
                id: id.clone(),
                seal: LessSafeKey::new(key),
                digest,
            })
        });
        Ok(Self {
            keys: made.collect::<Result<_, _>>()?,
        })
    }

    /// Seals a text for the row it belongs to.
    #[must_use]
    pub fn seal(&self, of: &str, text: &[u8]) -> String {
        let key = &self.keys[0];
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut bytes = text.to_vec();
        // It fails only beyond 64 GiB.
        key.seal
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(of.as_bytes()),
                &mut bytes,
            )
            .expect("rows are far smaller than the limit of AES-GCM");
        let mut whole = nonce.to_vec();
        whole.append(&mut bytes);
        format!("v1:{}:{}", key.id, STANDARD.encode(whole))
    }

    /// Opens a sealed text of the row it belongs to.
    ///
    /// # Errors
    /// Its key is not configured, or it does not open.
    pub fn open(&self, of: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let closed = || VaultError::Closed { of: of.to_owned() };
        let rest = sealed.strip_prefix("v1:").ok_or_else(closed)?;
        let (id, text) = rest.split_once(':').ok_or_else(closed)?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| VaultError::UnknownKey {
            id: id.to_owned(),
            of: of.to_owned(),
        })?;
        let mut whole = Zeroizing::new(STANDARD.decode(text).map_err(|_| closed())?);
        if whole.len() < NONCE_BYTES {
            return Err(closed());
        }
        let (nonce, bytes) = whole.split_at_mut(NONCE_BYTES);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| closed())?;
        let plain = key
            .seal
            .open_in_place(nonce, Aad::from(of.as_bytes()), bytes)
            .map_err(|_| closed())?;
        Ok(Zeroizing::new(plain.to_vec()))
    }

    /// A keyed digest, by which equal contents are recognised and nobody without the key can guess at them.
    #[must_use]
    pub fn digest(&self, content: &[u8]) -> String {
        let key = &self.keys[0];
        format!("{}:{}", key.id, hex::encode(tag(&*key.digest, content)))
    }

    /// Whether a content has a digest made by [`Self::digest`], under any of the keys.
    #[must_use]
    pub fn matches(&self, content: &[u8], digest: &str) -> bool {
        let Some((id, hex_text)) = digest.split_once(':') else {
            return false;
        };
        let key = self.keys.iter().find(|key| key.id == id);
        key.is_some_and(|key| hex::encode(tag(&*key.digest, content)) == hex_text)
    }
}

fn tag(key: &[u8], content: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(content);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(names: &[(&str, u8)]) -> Vault {
        let keys: Vec<_> = names
            .iter()
            .map(|(id, byte)| ((*id).to_owned(), Zeroizing::new(vec![*byte; KEY_BYTES])))
            .collect();
        Vault::new(&keys).expect("sound keys")
    }

    /// What is sealed opens for its own row only, shows nothing of itself, and opens after the keys were rotated.
    #[test]
    fn sealed_opens_for_its_row() {
        let old = vault(&[("a", 1)]);
        let sealed = old.seal("F1", b"Sample Buyer");
        assert!(!sealed.contains("Sample"));
        assert_eq!(
            old.open("F1", &sealed).expect("opens").as_slice(),
            b"Sample Buyer"
        );
        assert!(matches!(
            old.open("F2", &sealed),
            Err(VaultError::Closed { .. })
        ));
        let both = vault(&[("b", 2), ("a", 1)]);
        assert!(both.open("F1", &sealed).is_ok());
        assert!(both.seal("F1", b"x").starts_with("v1:b:"));
        assert!(matches!(
            vault(&[("b", 2)]).open("F1", &sealed),
            Err(VaultError::UnknownKey { .. })
        ));
        assert!(both.matches(b"x", &old.digest(b"x")) && !both.matches(b"y", &old.digest(b"x")));
    }

    /// Any text is refused without a panic, and a key of a wrong length is named.
    #[test]
    fn bad_texts_and_keys_are_named() {
        let vault = vault(&[("a", 1)]);
        for text in [
            "",
            "v1:",
            "v1:a",
            "v1:a:",
            "v1:a:AAAA",
            "v1:a:%%",
            "v2:a:AAAA",
            "v1:zz:AAAA",
        ] {
            assert!(vault.open("F1", text).is_err(), "{text}");
        }
        let Err(error) = Vault::new(&[("a".into(), Zeroizing::new(vec![0; 31]))]) else {
            panic!("31 bytes are no key");
        };
        assert!(error.to_string().contains("31 bytes"));
    }
}
