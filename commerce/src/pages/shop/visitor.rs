//! Which browser made which order.
//!
//! A browser gets a random number in a cookie when it places its first order, and the order's `user_id` is the number's digest.
//! Who shows the cookie sees the orders made with it; an order's address alone opens nothing. The cookie is `SameSite=Lax`, since
//! the customer comes back from the gateway's site; should it not arrive, the page says so and nothing else is lost. A second
//! cookie has the ids of the newest orders, so that the shelf can lead back to them; it shows nothing that the first does not.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::pages::session::cookie_value;

/// Name of the cookie.
const COOKIE: &str = "shop_visitor";

/// Name of the cookie with the newest orders.
const ORDERS_COOKIE: &str = "shop_orders";

/// Orders that it has at most.
const ORDERS_MAX: usize = 5;

/// Between two ids in it; no id has one.
const BETWEEN: char = '.';

/// Random bytes of the cookie's number.
const NUMBER_BYTES: usize = 16;

/// How long a browser keeps it.
const LIFE_S: u32 = 30 * 86_400;

/// A browser that orders.
#[derive(Clone)]
pub struct Visitor {
    number: String,
}

impl Visitor {
    /// The browser whose cookie came with a request.
    #[must_use]
    pub fn known(headers: &HeaderMap) -> Option<Self> {
        let number = cookie_value(headers, COOKIE)?;
        let fits =
            number.len() == 2 * NUMBER_BYTES && number.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| Self {
            number: number.to_owned(),
        })
    }

    /// The browser of a request, or a new one.
    #[must_use]
    pub fn known_or_new(headers: &HeaderMap) -> Self {
        Self::known(headers).unwrap_or_else(|| {
            let mut bytes = [0_u8; NUMBER_BYTES];
            rand::fill(&mut bytes);
            Self {
                number: hex::encode(bytes),
            }
        })
    }

    /// The `user_id` of its orders.
    #[must_use]
    pub fn user_id(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.number.as_bytes()));
        format!("shop-{}", &digest[..32])
    }

    /// The header that gives it its cookie.
    #[must_use]
    pub fn cookie(&self, secure: bool) -> String {
        cookie(COOKIE, &self.number, secure)
    }
}

/// The newest orders that a browser remembers, newest first: ids, which may be anything.
#[must_use]
pub fn remembered(headers: &HeaderMap) -> Vec<&str> {
    let ids = cookie_value(headers, ORDERS_COOKIE).unwrap_or_default();
    let ids = ids.split(BETWEEN).filter(|id| !id.is_empty());
    ids.take(ORDERS_MAX).collect()
}

/// The header that makes a browser remember one more order.
#[must_use]
pub fn remember(headers: &HeaderMap, order_id: &str, secure: bool) -> String {
    let mut ids = vec![order_id];
    ids.extend(remembered(headers).into_iter().filter(|id| *id != order_id));
    ids.truncate(ORDERS_MAX);
    cookie(ORDERS_COOKIE, &ids.join(&BETWEEN.to_string()), secure)
}

fn cookie(name: &str, value: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/shop; Max-Age={LIFE_S}; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    #[test]
    fn a_browser_remembers_its_newest_orders_once_each() {
        // Shows: the newest comes first, none twice, and the oldest falls off.
        let mut headers = HeaderMap::new();
        assert_eq!(remembered(&headers), [""; 0]);
        let cookie = HeaderValue::from_static("shop_orders=a.b..c.d.e.f");
        headers.insert(header::COOKIE, cookie);
        assert_eq!(remembered(&headers), ["a", "b", "c", "d", "e"]);
        let said = remember(&headers, "c", true);
        assert!(said.starts_with("shop_orders=c.a.b.d.e; "), "{said}");
        assert!(said.ends_with("; Secure"), "{said}");
        let said = remember(&headers, "new", false);
        assert!(said.starts_with("shop_orders=new.a.b.c.d; "), "{said}");
    }
}
