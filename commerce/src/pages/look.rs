//! What every page has in common: the frame around its content, its security headers, badges and notices.
//!
//! A page is built as a [`Page`] and becomes a response in one place, so that no handler can forget a header. Everything that is
//! put into a page passes through maud and is escaped there.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::text::{Zone, when};

/// The sections of the admin pages, in the order of the menu: address and name.
pub const ADMIN_SECTIONS: &[(&str, &str)] = &[
    ("/admin/orders", "Orders"),
    ("/admin/issues", "Issues"),
    ("/admin/refunds", "Refunds"),
];

/// The section that is there only where deferred payment is configured.
pub const FREX_SECTION: (&str, &str) = ("/admin/frex/orders", "Deferred payment");

/// What stands around the content.
#[derive(Clone, Debug)]
pub enum Chrome {
    /// Nothing but the name of the service: the login, and errors of strangers.
    Bare,
    /// The shop's name, which leads back to its shelf.
    Shop {
        /// The shop's name.
        name: String,
    },
    /// The menu of the admin pages.
    Admin {
        /// Who is logged in.
        operator: String,
        /// The token of the log-out form.
        csrf: String,
        /// The address of the section that is open, one of [`ADMIN_SECTIONS`] or that of [`FREX_SECTION`].
        here: &'static str,
        /// Whether deferred payment is configured.
        frex: bool,
    },
}

/// Which sources a page may load from, beside our own style and picture.
#[derive(Clone, Debug)]
pub enum Policy {
    /// No script and no frame at all.
    Closed,
    /// The page that opens the gateway's window.
    Checkout {
        /// Origins of the gateway's script and windows.
        hosts: Vec<String>,
        /// Origin of the return URL, to which the gateway's script sends the customer's browser back.
        back: String,
    },
}

/// One page on its way to a browser.
#[derive(Clone, Debug)]
pub struct Page {
    status: StatusCode,
    title: String,
    chrome: Chrome,
    policy: Policy,
    refresh: Option<(u32, String)>,
    body: Markup,
}

impl Page {
    /// A page with this title, shown in the browser's tab and as its first heading.
    #[must_use]
    pub fn new(title: impl Into<String>, chrome: Chrome, body: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            chrome,
            policy: Policy::Closed,
            refresh: None,
            body,
        }
    }

    /// With another status than 200.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With the sources that the checkout needs.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Goes to `address` after so many seconds, without a script.
    #[must_use]
    pub fn refresh(mut self, seconds: u32, address: impl Into<String>) -> Self {
        self.refresh = Some((seconds, address.into()));
        self
    }

    fn html(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    @if let Some((seconds, address)) = &self.refresh {
                        meta http-equiv="refresh" content=(format!("{seconds};url={address}"));
                    }
                    title { (self.title) " · " (self.chrome.name()) }
                    link rel="icon" href="/static/icon.svg" type="image/svg+xml";
                    link rel="stylesheet" href="/static/pages.css";
                }
                body.wide[matches!(self.chrome, Chrome::Admin { .. })] {
                    a.skip href="#content" { "Skip to the content" }
                    (self.chrome.header())
                    main id="content" {
                        h1 { (self.title) }
                        (self.body)
                    }
                }
            }
        }
    }
}

impl Chrome {
    fn name(&self) -> &str {
        match self {
            Chrome::Shop { name } => name,
            Chrome::Bare | Chrome::Admin { .. } => "Sekisho payments",
        }
    }

    fn header(&self) -> Markup {
        html! {
            header.top {
                @match self {
                    Chrome::Bare => span.brand { (self.name()) },
                    Chrome::Shop { name } => a.brand href="/shop" { (name) },
                    Chrome::Admin { operator, csrf, here, frex } => {
                        a.brand href="/admin/orders" { (self.name()) }
                        nav aria-label="Sections" {
                            @for (address, name) in ADMIN_SECTIONS.iter().chain(frex.then_some(&FREX_SECTION)) {
                                a href=(address) aria-current=[(address == here).then_some("page")] { (name) }
                            }
                        }
                        form.who method="post" action="/admin/logout" {
                            (hidden("csrf", csrf))
                            span { (operator) }
                            button.plain type="submit" { "Log out" }
                        }
                    },
                }
            }
        }
    }
}

impl Policy {
    /// The value of `Content-Security-Policy`.
    fn header(&self) -> String {
        let common = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'self'; img-src 'self'";
        match self {
            Policy::Closed => format!("{common}; form-action 'self'"),
            Policy::Checkout { hosts, back } => {
                let hosts = hosts.join(" ");
                format!(
                    "{common} {hosts}; script-src 'self' {hosts}; frame-src {hosts}; connect-src {hosts}; form-action 'self' {hosts} {back}"
                )
            }
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let policy = HeaderValue::from_str(&self.policy.header())
            // Hosts are checked origins of the configuration; should one not fit a header, the page stays closed.
            .unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let headers = [
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (
                header::REFERRER_POLICY,
                HeaderValue::from_static("strict-origin-when-cross-origin"),
            ),
            (
                HeaderName::from_static("permissions-policy"),
                HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
            ),
        ];
        (self.status, headers, self.html()).into_response()
    }
}

/// How a notice or a badge is coloured. The words say the same: colour only helps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// Done, paid.
    Good,
    /// Under way, waiting.
    Busy,
    /// Failed, refused, held.
    Bad,
    /// Neither.
    Calm,
}

impl Tone {
    /// The class in the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Busy => "busy",
            Tone::Bad => "bad",
            Tone::Calm => "calm",
        }
    }
}

/// A word in a coloured pill; underscores of codes read as blanks.
#[must_use]
pub fn badge(word: &str, tone: Tone) -> Markup {
    html! { span.badge.(tone.class()) { (word.replace('_', " ")) } }
}

/// A box with a message. Bad ones are read out at once by a screen reader.
#[must_use]
pub fn notice(tone: Tone, body: &Markup) -> Markup {
    let role = if tone == Tone::Bad { "alert" } else { "status" };
    html! { div.notice.(tone.class()) role=(role) { (body) } }
}

/// A hidden field.
#[must_use]
pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// A field of a form with its label, an optional hint, and what is wrong with its value.
#[derive(Clone, Copy, Default, Debug)]
pub struct Input<'a> {
    /// Name in the form.
    pub name: &'a str,
    /// Its id, for pages with several fields of one name; the name if empty.
    pub id: &'a str,
    /// The words above the field.
    pub label: &'a str,
    /// `text`, `email`, `tel`, `password`, ...
    pub kind: &'a str,
    /// What stands in it.
    pub value: &'a str,
    /// A sentence below it.
    pub hint: &'a str,
    /// What is wrong with the value; empty if nothing is.
    pub error: &'a str,
    /// The keyboard a phone offers, if not that of the kind: `decimal`, `numeric`.
    pub keyboard: &'a str,
    /// What a browser may fill in: `email`, `tel`, `off`, ...
    pub autocomplete: &'a str,
    /// Whether the form may be sent without it.
    pub optional: bool,
}

impl Input<'_> {
    /// The field as it stands in the form.
    #[must_use]
    pub fn html(&self) -> Markup {
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let id = if self.id.is_empty() {
            self.name
        } else {
            self.id
        };
        let note = format!("{id}-note");
        let noted = !(self.hint.is_empty() && self.error.is_empty());
        html! {
            div.field.wrong[!self.error.is_empty()] {
                label for=(id) { (self.label) @if self.optional { " " span.dim { "(optional)" } } }
                input id=(id) name=(self.name) type=(self.kind) value=(self.value)
                    inputmode=[filled(self.keyboard)] autocomplete=[filled(self.autocomplete)]
                    aria-invalid=[(!self.error.is_empty()).then_some("true")]
                    aria-describedby=[noted.then_some(&note)] required[!self.optional];
                @if noted {
                    p.note id=(note) {
                        @if self.error.is_empty() { (self.hint) } @else { (self.error) }
                    }
                }
            }
        }
    }
}

/// A time of the books, readable, with the exact one in the markup.
#[must_use]
pub fn time_tag(rfc3339: &str, zone: Zone) -> Markup {
    html! { time datetime=(rfc3339) { (when(rfc3339, zone)) } }
}

/// Pairs of a term and its value; pairs without a value are left out.
#[must_use]
pub fn facts(pairs: &[(&str, Option<Markup>)]) -> Markup {
    html! {
        dl.facts {
            @for (term, value) in pairs {
                @if let Some(value) = value { div { dt { (term) } dd { (value) } } }
            }
        }
    }
}

/// Text as a value of [`facts`]; nothing for empty text.
#[must_use]
pub fn text(value: &str) -> Option<Markup> {
    (!value.is_empty()).then(|| html! { (value) })
}

/// A code or an id as a value of [`facts`], in a face in which digits line up.
#[must_use]
pub fn code(value: &str) -> Option<Markup> {
    (!value.is_empty()).then(|| html! { code { (value) } })
}

/// Nothing.
#[must_use]
pub fn nothing() -> Markup {
    PreEscaped(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_typed_is_shown_as_text() {
        // Shows: markup in a value, a label or an error reaches the browser escaped, in text and in attributes.
        let evil = "\"><script>alert(1)</script>";
        let field = Input {
            name: "x",
            label: evil,
            kind: "text",
            value: evil,
            error: evil,
            ..Input::default()
        };
        let page = Page::new(
            evil,
            Chrome::Shop {
                name: evil.to_owned(),
            },
            field.html(),
        )
        .html()
        .into_string();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
    }

    #[test]
    fn only_the_checkout_may_load_from_elsewhere() {
        // Shows: an ordinary page allows no script at all, the checkout page exactly the hosts it was given, and neither allows inline code.
        let closed = Policy::Closed.header();
        assert!(!closed.contains("script-src") && closed.contains("default-src 'none'"));
        let open = Policy::Checkout {
            hosts: vec!["https://pay.example".into()],
            back: "https://shop.example".into(),
        }
        .header();
        assert!(open.contains("script-src 'self' https://pay.example;"));
        assert!(open.contains("frame-src https://pay.example;"));
        assert!(open.ends_with("form-action 'self' https://pay.example https://shop.example"));
        assert!(!open.contains("unsafe") && !closed.contains("unsafe"));
    }
}
