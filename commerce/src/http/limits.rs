//! Who is calling from where, and how often they may: token buckets per address for everything, per key for merchants
//! and operators, and one each for all callbacks and all returning browsers together (`spec/atom.md 14`, check 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::App;
use super::problem::Problem;
use crate::config::{CallbackSettings, LimitSettings};

/// Where Atom's messages come in.
const CALLBACK_PATHS: [&str; 2] = ["/v1/callbacks/atom", "/v1/payments/atom/return"];

/// The buckets.
pub struct Limits {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    keys: DefaultKeyedRateLimiter<String>,
    callbacks: DefaultDirectRateLimiter,
    returns: DefaultDirectRateLimiter,
    callback_addresses: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    trusted_proxies: Vec<IpAddr>,
}

/// The address a request comes from, as far as we believe it.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub IpAddr);

impl Limits {
    /// Full buckets.
    pub fn new(
        limits: &LimitSettings,
        callback: &CallbackSettings,
        trusted_proxies: &[IpAddr],
    ) -> Self {
        let quota = |rate, burst| Quota::per_second(rate).allow_burst(burst);
        Self {
            addresses: RateLimiter::keyed(quota(limits.address_rate, limits.address_burst)),
            keys: RateLimiter::keyed(quota(limits.key_rate, limits.key_burst)),
            callbacks: RateLimiter::direct(quota(callback.rate, callback.burst)),
            returns: RateLimiter::direct(quota(callback.rate, callback.burst)),
            callback_addresses: RateLimiter::keyed(quota(
                callback.address_rate,
                callback.address_burst,
            )),
            clock: DefaultClock::default(),
            trusted_proxies: trusted_proxies.to_vec(),
        }
    }

    /// Takes one token of an API key.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn key(&self, id: &str) -> Result<(), Problem> {
        self.keys.check_key(&id.to_owned()).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Problem::rate_limited(ceil_s(wait), "This API key sends too fast")
        })
    }

    /// Takes one token of the bucket for callbacks.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn callback(&self) -> Result<(), Problem> {
        self.all_of(&self.callbacks, "Callbacks arrive too fast")
    }

    /// Takes one token of the bucket for browsers that come back: whoever floods this address keeps no callback out.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub fn coming_back(&self) -> Result<(), Problem> {
        self.all_of(&self.returns, "Browsers come back too fast")
    }

    fn all_of(&self, bucket: &DefaultDirectRateLimiter, why: &'static str) -> Result<(), Problem> {
        bucket.check().map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Problem::rate_limited(ceil_s(wait), why)
        })
    }

    /// Forgets addresses and keys whose buckets are full again.
    pub fn forget_idle(&self) {
        self.addresses.retain_recent();
        self.callback_addresses.retain_recent();
        self.keys.retain_recent();
    }

    /// The peer, or behind a trusted proxy the last address in `X-Forwarded-For` that is no trusted proxy itself:
    /// anything further left may be made up. [`UNTOLD`] if that one is not to be read.
    fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusted_proxies.contains(&peer) {
            return peer;
        }
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let hops = values
            .iter()
            .rev()
            .flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        for hop in hops {
            match address(hop.trim()) {
                None => return UNTOLD,
                Some(hop) if self.trusted_proxies.contains(&hop) => {}
                Some(hop) => return hop,
            }
        }
        peer
    }
}

/// Where a proxy names whom it speaks for.
pub const FORWARDED_FOR: &str = "x-forwarded-for";
/// Whoever a trusted proxy names in a way that we do not read: an address that is in no list of permitted ones.
const UNTOLD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|hop| hop.strip_suffix(']'))
        .unwrap_or(hop);
    let address = bare.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    address
        .or_else(with_port)
        .map(|ip: IpAddr| ip.to_canonical())
}

/// The bucket of an address: whoever has one IPv6 address has the other 2^64 of its network as well.
fn bucket_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Takes one token of the caller's address, and keeps the address for who asks later.
pub async fn layer(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let limits = &app.limits;
    let caller = limits.caller(peer.ip().to_canonical(), request.headers());
    // Atom has few addresses and many messages: what it sends must not wait behind what merchants may.
    let bucket = match request.uri().path() {
        path if CALLBACK_PATHS.contains(&path) => &limits.callback_addresses,
        _ => &limits.addresses,
    };
    if let Err(until) = bucket.check_key(&bucket_of(caller)) {
        let wait = until.wait_time_from(limits.clock.now());
        let detail = "This address sends too fast";
        return Problem::rate_limited(ceil_s(wait), detail).into_response();
    }
    request.extensions_mut().insert(Caller(caller));
    next.run(request).await
}

fn ceil_s(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(trusted: &[&str]) -> Limits {
        let n = |n| std::num::NonZeroU32::new(n).expect("not zero");
        let limits = LimitSettings {
            address_rate: n(1),
            address_burst: n(2),
            key_rate: n(1),
            key_burst: n(2),
        };
        let callback = CallbackSettings {
            allow_ips: Vec::new(),
            rate: n(1),
            burst: n(2),
            address_rate: n(1),
            address_burst: n(2),
        };
        let trusted: Vec<IpAddr> = trusted
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        Limits::new(&limits, &callback, &trusted)
    }

    /// `X-Forwarded-For` counts behind a trusted proxy only, and only its last foreign address.
    #[test]
    fn forwarded_addresses_are_believed_behind_proxies_only() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-forwarded-for",
            "192.0.2.9, 198.51.100.7, 10.0.0.2"
                .parse()
                .expect("a value"),
        );
        let proxy: IpAddr = "10.0.0.1".parse().expect("address");
        let trusting = limits(&["10.0.0.1", "10.0.0.2"]);
        assert_eq!(trusting.caller(proxy, &headers).to_string(), "198.51.100.7");
        assert_eq!(limits(&[]).caller(proxy, &headers), proxy);
        assert_eq!(trusting.caller(proxy, &HeaderMap::new()), proxy);
        let says = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_FOR, value.parse().expect("a value"));
            trusting.caller(proxy, &headers).to_string()
        };
        assert_eq!(says("192.0.2.9, 198.51.100.7:4711"), "198.51.100.7");
        assert_eq!(
            says("192.0.2.9, [2001:db8::7]:4711, 10.0.0.2"),
            "2001:db8::7"
        );
        assert_eq!(says("192.0.2.9, [2001:db8::7]"), "2001:db8::7");
        assert_eq!(says("192.0.2.9, ::ffff:198.51.100.7"), "198.51.100.7");
        // What stands left of a word that we do not read was written by the caller.
        assert_eq!(says("127.0.0.1, unknown"), "0.0.0.0");
        assert_eq!(says("127.0.0.1, unknown, 10.0.0.2"), "0.0.0.0");
    }

    /// Addresses of one IPv6 network share a bucket.
    #[test]
    fn an_ipv6_network_is_one_caller() {
        let of = |text: &str| bucket_of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    /// A burst passes, the next request is refused with a time to wait, and another key is not touched by it.
    #[test]
    fn a_key_that_is_too_fast_waits() {
        let limits = limits(&[]);
        assert!(limits.key("a").is_ok() && limits.key("a").is_ok());
        let refused = limits.key("a").expect_err("the burst is used up");
        assert_eq!(refused.code(), "rate_limited");
        assert!(limits.key("b").is_ok());
    }
}
