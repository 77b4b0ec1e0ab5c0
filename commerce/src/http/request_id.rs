//! The id of a request: taken from `X-Request-Id` where the caller sends a sound one, made otherwise; sent back, put into
//! every problem and before every log line that is written while the request is served.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// The header, both ways.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken from a caller.
const LENGTH_MAX: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task serves, if it serves one.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `serving` under the id of a request, for work that moves to another task.
pub async fn scope<T>(id: String, serving: impl Future<Output = T>) -> T {
    CURRENT.scope(id, serving).await
}

/// Gives the request its id for as long as it is served.
pub async fn layer(request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).and_then(sound);
    let id = given.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let value = HeaderValue::from_str(&id).expect("an id is visible ASCII");
    let mut response = CURRENT.scope(id, next.run(request)).await;
    response.headers_mut().insert(HEADER, value);
    response
}

/// An id that can stand in a log line as it is.
fn sound(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    ((1..=LENGTH_MAX).contains(&text.len()) && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What could forge a log line or fill it is not taken over.
    #[test]
    fn odd_ids_are_replaced() {
        let taken = |text: &str| HeaderValue::from_str(text).ok().as_ref().and_then(sound);
        assert_eq!(taken("req-1.a:b_C").as_deref(), Some("req-1.a:b_C"));
        for odd in ["", "a b", "a\"b", &"x".repeat(65)] {
            assert_eq!(taken(odd), None, "{odd:?}");
        }
    }
}
