//! Text that must not be seen: keys, salts, passwords.
//!
//! A [`Secret`] has neither `Debug` nor `Display`, so a structure that holds one cannot be printed by accident, and it
//! wipes its memory when it goes. Where it comes from (file, credential, environment) is the configuration's matter.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text. The only way to it is [`Secret::expose`], which is easy to find by name.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over. The caller's buffer becomes the secret; no copy is left behind.
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares without telling by time where the texts differ. The length is not hidden.
    pub fn is_same(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equality looks at every byte and at the length.
    #[test]
    fn sameness_is_exact() {
        let secret = Secret::from("Test@123");
        assert!(secret.is_same("Test@123"));
        assert!(!secret.is_same("Test@124"));
        assert!(!secret.is_same("Test@1234"));
        assert!(!secret.is_empty() && Secret::from("").is_empty());
    }
}
