//! Where secrets lie, and how they are fetched. The configuration names places; what lies there goes straight into a
//! [`Secret`], which shows itself nowhere.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// The place of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// A file; its last line end is not part of the secret.
    File(PathBuf),
    /// A file in `$CREDENTIALS_DIRECTORY`, as systemd makes it.
    Credential(String),
    /// An environment variable.
    Variable(String),
}

/// Why a secret could not be fetched. Says where it was looked for, never what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// Where.
        path: String,
        /// Why.
        reason: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// It is no text.
    #[error("{0} is not UTF-8 text")]
    NotText(String),
}

/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

impl SecretPlace {
    /// The forms a place is written in.
    pub const FORMS: &'static str = "file:PATH, credential:NAME or env:NAME";

    /// Takes a place apart.
    pub fn parse(text: &str) -> Option<Self> {
        let (form, name) = text.split_once(':')?;
        let plain = |name: &str| {
            !name.is_empty()
                && !name.starts_with('.')
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        };
        match form {
            "file" if !name.is_empty() => Some(Self::File(PathBuf::from(name))),
            "credential" if plain(name) => Some(Self::Credential(name.to_owned())),
            "env" if plain(name) => Some(Self::Variable(name.to_owned())),
            _ => None,
        }
    }

    /// The file of the secret if other users of this machine may read it; a relative one starts at `base`.
    pub fn exposed(&self, base: &Path) -> Option<PathBuf> {
        let Self::File(path) = self else { return None };
        let path = base.join(path);
        let mode = std::fs::metadata(&path).ok()?.permissions().mode();
        (mode & 0o077 != 0).then_some(path)
    }

    /// Fetches the secret; a relative file starts at `base`.
    ///
    /// # Errors
    /// There is none, or it is empty or no text.
    pub fn fetch(&self, base: &Path) -> Result<Secret, SecretError> {
        let (place, text) = match self {
            Self::File(path) => from_file(&base.join(path))?,
            Self::Credential(name) => {
                let dir = std::env::var_os(CREDENTIALS)
                    .ok_or_else(|| SecretError::Unset(CREDENTIALS.to_owned()))?;
                from_file(&Path::new(&dir).join(name))?
            }
            Self::Variable(name) => match std::env::var(name) {
                Ok(text) => (format!("the environment variable {name}"), text),
                Err(std::env::VarError::NotPresent) => {
                    return Err(SecretError::Unset(name.clone()));
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(SecretError::NotText(format!(
                        "the environment variable {name}"
                    )));
                }
            },
        };
        if text.is_empty() {
            return Err(SecretError::Empty(place));
        }
        Ok(Secret::new(text))
    }
}

fn from_file(path: &Path) -> Result<(String, String), SecretError> {
    let place = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|reason| SecretError::Unreadable {
        path: place.clone(),
        reason,
    })?;
    let mut text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(place.clone()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok((place, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the three forms are places; a key that somebody pasted is none.
    #[test]
    fn places_are_told_from_secrets() {
        assert_eq!(
            SecretPlace::parse("file:keys/req"),
            Some(SecretPlace::File("keys/req".into()))
        );
        assert_eq!(
            SecretPlace::parse("credential:atom.req_key"),
            Some(SecretPlace::Credential("atom.req_key".into()))
        );
        assert_eq!(
            SecretPlace::parse("env:ATOM_REQ_KEY"),
            Some(SecretPlace::Variable("ATOM_REQ_KEY".into()))
        );
        for bad in ["A4476C2062FFA589", "credential:../x", "env:", "file:", ""] {
            assert_eq!(SecretPlace::parse(bad), None, "{bad}");
        }
    }

    /// A file gives its text without the last line end; an empty or missing one is a named fault.
    #[test]
    fn a_file_is_fetched() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("k"), "abc\n").expect("written");
        std::fs::write(dir.path().join("e"), "\n").expect("written");
        let fetch = |name: &str| SecretPlace::File(name.into()).fetch(dir.path());
        assert_eq!(fetch("k").expect("fetched").expose(), "abc");
        let path = dir.path().join("k");
        for (mode, exposed) in [
            (0o600, None),
            (0o640, Some(path.clone())),
            (0o604, Some(path.clone())),
        ] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("ours");
            assert_eq!(SecretPlace::File("k".into()).exposed(dir.path()), exposed);
        }
        assert!(matches!(fetch("e"), Err(SecretError::Empty(_))));
        assert!(matches!(fetch("none"), Err(SecretError::Unreadable { .. })));
    }
}
