//! Which browser made which order.
//!
//! A browser gets a random number in a cookie when it places its first order, and the order's `user_id` is the number's digest.
//! Who shows the cookie sees the orders made with it; an order's address alone opens nothing. The cookie is `SameSite=Lax`, since
//! the customer comes back from the gateway's site; should it not arrive, the page says so and nothing else is lost.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::pages::session::cookie_value;

/// Name of the cookie.
const COOKIE: &str = "shop_visitor";

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
        let secure = if secure { "; Secure" } else { "" };
        format!(
            "{COOKIE}={}; Path=/shop; Max-Age={LIFE_S}; HttpOnly; SameSite=Lax{secure}",
            self.number
        )
    }
}
