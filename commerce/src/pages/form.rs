//! The fields of a submitted form.
//!
//! A browser sends text; what the text means is decided where it is used, with words for the person who typed it. Parsing here
//! cannot fail: a field that is missing reads as empty.

/// Fields in the order they came.
#[derive(Clone, Default, Debug)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads an `application/x-www-form-urlencoded` body, or the query of an address.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(body);
        Self(pairs.into_owned().collect())
    }

    /// The first field of that name without blanks around it; empty if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value.trim())
    }

    /// Like [`Fields::get`], but `None` for an empty field.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_empty_and_repeated_fields_are_told_apart() {
        // Shows: what a field reads as when it is filled, blank, absent, sent twice, or escaped.
        let fields = Fields::parse(b"a=+x+&b=&c=1&c=2&d=%3Cb%3E");
        assert_eq!(fields.get("a"), "x");
        assert_eq!(fields.filled("b"), None);
        assert_eq!(fields.filled("missing"), None);
        assert_eq!(fields.get("c"), "1");
        assert_eq!(fields.get("d"), "<b>");
    }
}
