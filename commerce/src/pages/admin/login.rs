//! The login page.

use axum::http::StatusCode;
use maud::html;

use crate::pages::look::{Chrome, Input, Page, Tone, notice};

/// Why the login page is shown again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginProblem {
    /// The key is unknown, revoked, or not an operator's: which of them is not said.
    WrongKey,
    /// The session is over.
    Expired,
}

/// The form for an operator's key.
#[must_use]
pub fn login(problem: Option<LoginProblem>) -> Page {
    let (status, words) = match problem {
        None => (StatusCode::OK, ""),
        Some(LoginProblem::WrongKey) => (
            StatusCode::UNAUTHORIZED,
            "This is no valid operator key. Keys are made with: commerced key new --role operator",
        ),
        Some(LoginProblem::Expired) => {
            (StatusCode::OK, "Your session is over. Please log in again.")
        }
    };
    let tone = if problem == Some(LoginProblem::Expired) {
        Tone::Calm
    } else {
        Tone::Bad
    };
    let key = Input {
        name: "key",
        label: "Operator key",
        kind: "password",
        hint: "The key is kept nowhere in the browser; the session ends by itself after a while.",
        autocomplete: "current-password",
        ..Input::default()
    };
    let body = html! {
        @if !words.is_empty() { (notice(tone, &html! { p { (words) } })) }
        form.card method="post" action="/admin/login" {
            (key.html())
            button.big type="submit" { "Log in" }
        }
    };
    Page::new("Log in", Chrome::Bare, body).status(status)
}
