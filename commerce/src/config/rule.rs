//! What a key of the configuration may hold. The tables made of these are data: the reader, its messages and the test
//! of the sample walk them.

use std::net::{IpAddr, SocketAddr};

use url::Url;

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// As in its header, `http` or `atom.url`.
    pub path: &'static str,
    /// Whether it may stand several times, as `[[path]]`.
    pub many: bool,
    /// Its keys, in the order of the sample.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is written, the unit last.
    pub name: &'static str,
    /// What it may hold.
    pub rule: Rule,
}

/// What a key may hold, and what holds when it is not given.
#[derive(Debug)]
pub enum Rule {
    /// A whole number within `min..=max`.
    Integer {
        /// When it is not given.
        default: i64,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// `true` or `false`.
    Flag {
        /// When it is not given.
        default: bool,
    },
    /// One word of a list.
    Choice {
        /// When it is not given.
        default: &'static str,
        /// The list.
        allowed: &'static [&'static str],
    },
    /// A text of one kind.
    Text {
        /// When it is not given.
        default: Fallback,
        /// What it must be.
        kind: Kind,
    },
    /// A list of texts of one kind.
    List {
        /// When it is not given.
        default: &'static [&'static str],
        /// What each must be.
        kind: Kind,
    },
    /// Where a secret lies: the file never holds the secret itself.
    Secret {
        /// Whether the key must be given.
        required: bool,
    },
    /// Where the secrets of a list lie, the one in use first.
    Secrets {
        /// Whether the key must be given.
        required: bool,
    },
    /// A list of whole numbers, at least one, each within `min..=max`.
    Numbers {
        /// When it is not given.
        default: &'static [i64],
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
}

/// What holds when a text is not given.
#[derive(Debug)]
pub enum Fallback {
    /// It must be given.
    Required,
    /// This text.
    Value(&'static str),
    /// It follows from others, as described here.
    Derived(&'static str),
}

/// What a text must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text with a meaning of its own, described here.
    Free(&'static str),
    /// `min..=max` letters, digits and characters of `extra`.
    Code {
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
        /// Allowed besides letters and digits.
        extra: &'static str,
    },
    /// A path; a relative one starts at the directory of the file.
    Path,
    /// `address:port`.
    Socket,
    /// An address without a port.
    Address,
    /// `http://` or `https://` with a host.
    Url,
    /// Scheme, host and port of a page, without a path: `https://shop.example`.
    Origin,
    /// `sqlite:PATH` or `postgres://...`.
    Store,
    /// A part of the day: `22:30-06:00`.
    Window,
}

impl Kind {
    /// What it is, as in "expected ...".
    pub fn about(self) -> String {
        match self {
            Self::Free(about) => about.to_owned(),
            Self::Code { min, max, extra } => {
                let extra: String = extra.chars().map(|c| format!(" {c}")).collect();
                format!("{min}..{max} characters of A-Z a-z 0-9{extra}")
            }
            Self::Path => "a path".to_owned(),
            Self::Socket => "an address:port".to_owned(),
            Self::Address => "an address without a port".to_owned(),
            Self::Url => "a URL http(s)://host".to_owned(),
            Self::Origin => "an origin http(s)://host without a path".to_owned(),
            Self::Store => "sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned(),
            Self::Window => "a part of the day such as 22:30-06:00".to_owned(),
        }
    }

    /// Whether `text` is of this kind.
    pub fn fits(self, text: &str) -> bool {
        match self {
            Self::Free(_) => true,
            Self::Code { min, max, extra } => {
                (min..=max).contains(&text.len())
                    && text
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
            }
            Self::Path => !text.is_empty(),
            Self::Socket => text.parse::<SocketAddr>().is_ok(),
            Self::Address => text.parse::<IpAddr>().is_ok(),
            Self::Url => web_url(text).is_some(),
            Self::Origin => web_url(text).is_some_and(|url| {
                url.origin().ascii_serialization() == text.trim_end_matches('/')
                    && url.path() == "/"
                    && url.query().is_none()
            }),
            Self::Store => {
                text.strip_prefix("sqlite:")
                    .is_some_and(|path| !path.is_empty())
                    || Url::parse(text)
                        .is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"))
            }
            Self::Window => window(text).is_some(),
        }
    }
}

/// The minutes of the day at which a window begins and ends; it may run over midnight, and it is never empty.
pub fn window(text: &str) -> Option<(u32, u32)> {
    let minute = |part: &str| {
        let (hour, minute) = part.split_once(':')?;
        let digits = |text: &str, below: u32| {
            let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u32>().ok().filter(|_| plain)?;
            (number < below).then_some(number)
        };
        Some(digits(hour, 24)? * 60 + digits(minute, 60)?)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from != to).then_some((from, to))
}

fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// A whole number within `min..=max`.
pub const fn integer(
    name: &'static str,
    default: i64,
    min: i64,
    max: i64,
    unit: &'static str,
) -> Key {
    assert!(min <= default && default <= max);
    Key {
        name,
        rule: Rule::Integer {
            default,
            min,
            max,
            unit,
        },
    }
}

/// `true` or `false`.
pub const fn flag(name: &'static str, default: bool) -> Key {
    Key {
        name,
        rule: Rule::Flag { default },
    }
}

/// One word of a list.
pub const fn choice(
    name: &'static str,
    default: &'static str,
    allowed: &'static [&'static str],
) -> Key {
    Key {
        name,
        rule: Rule::Choice { default, allowed },
    }
}

/// A text with a default.
pub const fn text(name: &'static str, default: &'static str, kind: Kind) -> Key {
    Key {
        name,
        rule: Rule::Text {
            default: Fallback::Value(default),
            kind,
        },
    }
}

/// A text that must be given.
pub const fn needed(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        rule: Rule::Text {
            default: Fallback::Required,
            kind,
        },
    }
}

/// A text that follows from others where it is not given.
pub const fn derived(name: &'static str, from: &'static str, kind: Kind) -> Key {
    Key {
        name,
        rule: Rule::Text {
            default: Fallback::Derived(from),
            kind,
        },
    }
}

/// A list of texts.
pub const fn list(name: &'static str, default: &'static [&'static str], kind: Kind) -> Key {
    Key {
        name,
        rule: Rule::List { default, kind },
    }
}

/// Where one secret lies.
pub const fn secret(name: &'static str, required: bool) -> Key {
    Key {
        name,
        rule: Rule::Secret { required },
    }
}

/// Where the secrets of a list lie.
pub const fn secrets(name: &'static str, required: bool) -> Key {
    Key {
        name,
        rule: Rule::Secrets { required },
    }
}

/// A list of whole numbers within `min..=max`.
pub const fn numbers(
    name: &'static str,
    default: &'static [i64],
    min: i64,
    max: i64,
    unit: &'static str,
) -> Key {
    Key {
        name,
        rule: Rule::Numbers {
            default,
            min,
            max,
            unit,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind takes what it is for and refuses its neighbours.
    #[test]
    fn kinds_tell_texts_apart() {
        let cases = [
            (Kind::Socket, "127.0.0.1:80", "127.0.0.1"),
            (Kind::Address, "::1", "[::1]:80"),
            (Kind::Url, "https://pay.example/x", "ftp://pay.example"),
            (
                Kind::Origin,
                "https://shop.example",
                "https://shop.example/x",
            ),
            (
                Kind::Origin,
                "http://127.0.0.1:8080",
                "https://shop.example?x=1",
            ),
            (Kind::Store, "sqlite:data/x.db", "sqlite:"),
            (Kind::Store, "postgres://u@h/d", "mysql://u@h/d"),
            (Kind::Window, "22:30-06:00", "22:30-24:00"),
            (Kind::Window, "00:00-00:01", "06:00-06:00"),
            (
                Kind::Code {
                    min: 1,
                    max: 3,
                    extra: "_",
                },
                "a_1",
                "a-1",
            ),
        ];
        for (kind, good, bad) in cases {
            assert!(kind.fits(good), "{kind:?} takes {good}");
            assert!(!kind.fits(bad), "{kind:?} refuses {bad}");
        }
    }
}
