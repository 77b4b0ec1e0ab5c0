//! JSON as this interface needs it: objects written in a given order with numbers as literal text, and fields read
//! leniently (numbers may come as texts and texts as numbers) without ever becoming a float.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The deepest nesting that is accepted from outside.
const DEPTH_MAX: u32 = 16;

/// Room for a usual request, so that its text, which may hold the password, is not left behind by a growing buffer.
const CAPACITY: usize = 4096;

/// Writes one JSON text, member by member, in the order of the calls.
pub(super) struct Writer {
    text: Zeroizing<String>,
    wants_comma: bool,
}

impl Writer {
    /// Starts with `{`.
    pub(super) fn new() -> Writer {
        let mut text = Zeroizing::new(String::with_capacity(CAPACITY));
        text.push('{');
        Writer {
            text,
            wants_comma: false,
        }
    }

    /// A member that is a text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quote(value);
    }

    /// A member that is a number, in exactly these characters. The caller vouches that it is a JSON number.
    pub(super) fn number(&mut self, name: &str, literal: &str) {
        self.name(name);
        self.text.push_str(literal);
    }

    /// A member that is an object.
    pub(super) fn object(&mut self, name: &str, members: impl FnOnce(&mut Writer)) {
        self.name(name);
        self.braced(members);
    }

    /// A member that is an array of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &str,
        items: &[T],
        members: impl Fn(&mut Writer, &T),
    ) {
        self.name(name);
        self.text.push('[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.braced(|w| members(w, item));
        }
        self.text.push(']');
    }

    /// Ends with `}`.
    pub(super) fn finish(mut self) -> Zeroizing<String> {
        self.text.push('}');
        self.text
    }

    fn braced(&mut self, members: impl FnOnce(&mut Writer)) {
        self.text.push('{');
        self.wants_comma = false;
        members(self);
        self.text.push('}');
        self.wants_comma = true;
    }

    fn name(&mut self, name: &str) {
        if self.wants_comma {
            self.text.push(',');
        }
        self.wants_comma = true;
        self.quote(name);
        self.text.push(':');
    }

    fn quote(&mut self, value: &str) {
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                c if c < ' ' => self.text.push_str(&format!("\\u{:04x}", c as u32)),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

/// The names of all members of a JSON text of our own, for a log that must not have the values.
pub(super) fn member_names(text: &str) -> String {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('"') {
        let after = &rest[open + 1..];
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { break };
        rest = &after[end + 1..];
        if rest.starts_with(':') {
            names.push(&after[..end]);
        }
    }
    names.join(" ")
}

/// Whether the text nests no deeper than [`DEPTH_MAX`]. Looks at brackets outside of strings, before any parsing.
pub(super) fn is_shallow(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
    for b in text.bytes() {
        match (in_string, b) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}

/// A scalar as literal text: a string's content, or a number's own characters. `null` is absence.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Lit(pub(super) Option<String>);

impl Lit {
    /// The text, if there was one.
    pub(super) fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text, if there was one and it is not empty.
    pub(super) fn filled(&self) -> Option<&str> {
        self.as_str().filter(|text| !text.is_empty())
    }

    /// An owned copy of [`Lit::filled`].
    pub(super) fn to_filled(&self) -> Option<String> {
        self.filled().map(str::to_owned)
    }
}

impl<'de> Deserialize<'de> for Lit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lit, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        match raw.as_bytes()[0] {
            b'n' => Ok(Lit(None)),
            b'"' => {
                let text = serde_json::from_str(raw).map_err(D::Error::custom)?;
                Ok(Lit(Some(text)))
            }
            b'-' | b'0'..=b'9' => Ok(Lit(Some(raw.to_owned()))),
            _ => Err(D::Error::custom("neither a text nor a number")),
        }
    }
}

/// One value or an array of them; both shapes occur in the same place.
#[derive(Debug, Clone)]
pub(super) struct Many<T>(pub(super) Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Many<T> {
        Many(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Many<T>, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let items = match raw.as_bytes()[0] {
            b'n' => Vec::new(),
            b'[' => serde_json::from_str(raw).map_err(D::Error::custom)?,
            _ => vec![serde_json::from_str(raw).map_err(D::Error::custom)?],
        };
        Ok(Many(items))
    }
}

/// Parses a text strictly into a schema: shallow, one value, nothing after it.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    if !is_shallow(text) {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Members come out in the order of the calls, numbers as they were given, texts escaped.
    #[test]
    fn written_in_order() {
        let mut w = Writer::new();
        w.object("b", |w| {
            w.text("t", "a\"\\\u{1}₹");
            w.number("n", "5.00");
        });
        w.objects("a", &[1, 2], |w, n| w.number("i", &n.to_string()));
        w.text("z", "");
        let text = w.finish();
        assert_eq!(
            *text,
            "{\"b\":{\"t\":\"a\\\"\\\\\\u0001₹\",\"n\":5.00},\"a\":[{\"i\":1},{\"i\":2}],\"z\":\"\"}"
        );
        serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
    }

    #[derive(Deserialize)]
    struct Sample {
        #[serde(default)]
        lit: Lit,
        #[serde(default)]
        many: Many<Lit>,
    }

    /// A number keeps its characters, a text its content; null is absence; a list or an object is refused.
    #[test]
    fn lenient_scalars() {
        let lit = |text: &str| parse::<Sample>(text).map(|sample| sample.lit.0);
        assert_eq!(lit(r#"{"lit":100.00}"#), Some(Some("100.00".to_owned())));
        assert_eq!(lit(r#"{"lit":"100.00"}"#), Some(Some("100.00".to_owned())));
        assert_eq!(lit(r#"{"lit":"a\u0041"}"#), Some(Some("aA".to_owned())));
        assert_eq!(lit(r#"{"lit":1e400}"#), Some(Some("1e400".to_owned())));
        assert_eq!(lit(r#"{"lit":null}"#), Some(None));
        assert_eq!(lit("{}"), Some(None));
        assert_eq!(lit(r#"{"lit":[1]}"#), None);
        assert_eq!(lit(r#"{"lit":true}"#), None);
        assert_eq!(lit(r#"{"lit":1} x"#), None);
        assert_eq!(lit(r#"{"lit":1,"lit":2}"#), None, "a member twice");
    }

    /// One value and a list of values are read alike.
    #[test]
    fn one_or_many() {
        let many = |text: &str| parse::<Sample>(text).map(|sample| sample.many.0.len());
        assert_eq!(many(r#"{"many":"CC"}"#), Some(1));
        assert_eq!(many(r#"{"many":["CC","DC"]}"#), Some(2));
        assert_eq!(many(r#"{"many":[]}"#), Some(0));
        assert_eq!(many(r#"{"many":null}"#), Some(0));
        assert_eq!(many(r#"{"many":{}}"#), None);
    }

    /// The names of the members come out, and no value does, whatever it looks like.
    #[test]
    fn names_without_values() {
        let mut w = Writer::new();
        w.object("head", |w| w.text("password", "a\":\"b\\"));
        w.number("amount", "5");
        assert_eq!(member_names(&w.finish()), "head password amount");
    }

    /// Sixteen levels pass, the seventeenth does not, and brackets inside a text do not count.
    #[test]
    fn depth() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(is_shallow(&nested(16)));
        assert!(!is_shallow(&nested(17)));
        assert!(is_shallow(&format!("\"\\\"{}\"", "[".repeat(40))));
        assert!(!is_shallow(&format!("\"\\\\\"{}", "[".repeat(40))));
    }
}
