//! Where the daemon is: `fx_cf.cf`, section SOCKET_PORT, in the directory that the environment names
//! (spec/fexics.md 1.3 and 6.5). Read at every FX_OpenSession_CF, so that a program need not be started again.

use std::ffi::OsString;
use std::path::PathBuf;

use client::Endpoint;

/// The file's name for the CAFIS service.
const FILE: &str = "fx_cf.cf";

/// The daemon's endpoint; `None` if the file cannot be read or is wrong, so that nobody knows where the daemon is.
pub(crate) fn daemon() -> Option<Endpoint> {
    let path = file(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let (host, port) = config::cf::socket_port(&std::fs::read(path).ok()?).ok()?;
    Some(Endpoint::tcp(&host, port))
}

/// `FX_CONF`, else `FX_ROOT/config`, else the current directory.
fn file(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let directory = match (variable("FX_CONF"), variable("FX_ROOT")) {
        (Some(conf), _) => PathBuf::from(conf),
        (None, Some(root)) => PathBuf::from(root).join("config"),
        (None, None) => PathBuf::from("."),
    };
    directory.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FX_CONF goes before FX_ROOT, and without both it is the current directory.
    #[test]
    fn the_environment_names_the_directory() {
        let with = |set: &'static [(&str, &str)]| {
            file(move |name| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let both = &[("FX_CONF", "c"), ("FX_ROOT", "r")];
        assert_eq!(with(both), PathBuf::from("c/fx_cf.cf"));
        assert_eq!(
            with(&[("FX_ROOT", "r")]),
            PathBuf::from("r/config/fx_cf.cf")
        );
        assert_eq!(with(&[]), PathBuf::from("./fx_cf.cf"));
    }
}
