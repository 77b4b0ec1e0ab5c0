//! Faults on demand (`spec/frex.md` 15): which request is struck, and with what.
//!
//! A fault with a probability decides by a hash of the seed, its place in the list and the count of requests that fitted it,
//! so that a run is the same whenever its requests are.

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::item::Item;
use super::rules;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No connection is accepted as long as the fault is in the list.
    Refuse,
    /// The connection is reset before anything is executed.
    DropBefore,
    /// The connection is reset after everything is executed.
    DropAfter,
    /// Executed at once, answered after `delay_ms`.
    Delay,
    /// The connection is reset after `delay_ms`, and the request executed `late_ms` after it arrived.
    Late,
    /// Answered with `status`, after execution if `executed`.
    Status,
    /// Executed, answered with a page of HTML and status 200.
    Html,
    /// Executed, answered with JSON that ends too soon.
    BrokenJson,
    /// Executed, answered with more bytes than anyone wants to read.
    Oversize,
    /// Executed, the answer does not mention the item.
    MissingItem,
    /// Executed, the answer has the item twice.
    ItemTwice,
    /// Executed, the answer has an item of another order in its place.
    ForeignItem,
    /// Executed, the answer has the item among the results and among the errors.
    BothLists,
    /// Executed, the item and the next one have their acceptance numbers swapped; alone, it gets one that nobody has.
    SwapAcceptNo,
    /// Executed, every acceptance number of the answer is the same.
    SameAcceptNo,
    /// Executed, and the acceptance number is unknown afterwards.
    ForgetAcceptNo,
    /// Executed, and its result tells another amount.
    ResultAmount,
    /// Executed, and its result tells another order number.
    ResultShop,
    /// The screening word is one that nobody knows.
    ScreeningWord,
    /// Not executed, the whole request is refused because of the item.
    BatchRefused,
    /// Executed, and the answer comes some bytes at a time, `delay_ms` apart.
    Trickle,
}

/// A fault and when it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: Kind,
    /// Only on this call.
    #[serde(default)]
    pub call: Option<Call>,
    /// Only on requests with an item of such an order, which is then the item concerned; else it is the first item.
    #[serde(default)]
    pub order: Option<String>,
    /// Only on the nth request that fits, from 1.
    #[serde(default)]
    pub nth: Option<u64>,
    /// At most so many times.
    #[serde(default)]
    pub times: Option<u64>,
    /// How often, from 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// See [`Kind::Delay`], [`Kind::Late`], [`Kind::Trickle`].
    #[serde(default)]
    pub delay_ms: u64,
    /// See [`Kind::Late`].
    #[serde(default)]
    pub late_ms: i64,
    /// See [`Kind::Status`].
    #[serde(default = "internal_error")]
    pub status: u16,
    /// Retry-After of a status.
    #[serde(default)]
    pub retry_after_s: Option<u64>,
    /// See [`Kind::Status`].
    #[serde(default)]
    pub executed: bool,
}

fn always() -> f64 {
    1.0
}

fn internal_error() -> u16 {
    500
}

impl Fault {
    /// A fault that strikes every request of a call.
    #[must_use]
    pub fn on(kind: Kind, call: Call) -> Self {
        Self {
            kind,
            call: Some(call),
            order: None,
            nth: None,
            times: None,
            probability: always(),
            delay_ms: 0,
            late_ms: 0,
            status: internal_error(),
            retry_after_s: None,
            executed: false,
        }
    }
}

/// A fault and how often it was met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counted {
    /// The fault.
    pub fault: Fault,
    /// Requests that fitted it.
    pub seen: u64,
    /// Requests it struck.
    pub fired: u64,
}

/// The faults to be played.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    list: Vec<Counted>,
    seed: u64,
}

/// A fault that strikes a request, and the item it concerns.
#[derive(Clone, Debug)]
pub struct Strike {
    /// The fault.
    pub fault: Fault,
    /// Index of the item.
    pub item: usize,
}

impl Faults {
    /// No faults yet; the seed decides probabilities.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            list: Vec::new(),
            seed,
        }
    }

    /// Replaces the list; counts start again.
    pub fn set(&mut self, faults: Vec<Fault>) {
        let counted = faults.into_iter().map(|fault| Counted {
            fault,
            seen: 0,
            fired: 0,
        });
        self.list = counted.collect();
    }

    /// The list with its counts.
    #[must_use]
    pub fn list(&self) -> &[Counted] {
        &self.list
    }

    /// Whether connections are refused.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.list.iter().any(|it| it.fault.kind == Kind::Refuse)
    }

    /// The first fault that strikes a request.
    pub fn strike(&mut self, call: Call, orders: &[String]) -> Option<Strike> {
        let seed = self.seed;
        for (place, it) in self.list.iter_mut().enumerate() {
            let fault = &it.fault;
            if fault.kind == Kind::Refuse || fault.call.is_some_and(|wanted| wanted != call) {
                continue;
            }
            let item = match fault.order.as_deref() {
                None => Some(0),
                Some(pattern) => orders
                    .iter()
                    .position(|order| rules::matches(pattern, order)),
            };
            let Some(item) = item else {
                continue;
            };
            it.seen += 1;
            let fires = fault.nth.is_none_or(|nth| nth == it.seen)
                && fault.times.is_none_or(|times| it.fired < times)
                && chance(seed, place as u64, it.seen) < fault.probability;
            if fires {
                it.fired += 1;
                let fault = fault.clone();
                return Some(Strike { fault, item });
            }
        }
        None
    }
}

/// Orders of a request's items; `order_of` knows those of transactions.
pub fn orders(items: &[Item], order_of: impl Fn(&str) -> String) -> Vec<String> {
    let orders = items.iter().map(|item| match item.order() {
        "" => order_of(&item.np),
        order => order.to_owned(),
    });
    orders.collect()
}

/// A number from 0 to 1 that depends on nothing else (SplitMix64).
fn chance(seed: u64, place: u64, count: u64) -> f64 {
    let mut x = seed
        .wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(count.wrapping_mul(0xd1b5_4a32_d192_ed03));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fault strikes the call, the order, the nth request and as many times as it says, and nothing else.
    #[test]
    fn a_fault_strikes_what_it_names() {
        let mut faults = Faults::new(1);
        faults.set(vec![Fault {
            order: Some("*-9".into()),
            nth: Some(2),
            ..Fault::on(Kind::DropAfter, Call::Bill)
        }]);
        let orders = ["F-1".to_owned(), "F-9".to_owned()];
        assert!(faults.strike(Call::Cancel, &orders).is_none());
        assert!(faults.strike(Call::Bill, &orders[..1]).is_none());
        assert!(faults.strike(Call::Bill, &orders).is_none());
        assert_eq!(
            faults.strike(Call::Bill, &orders).map(|it| it.item),
            Some(1)
        );
        assert!(faults.strike(Call::Bill, &orders).is_none());
        assert_eq!((faults.list()[0].seen, faults.list()[0].fired), (3, 1));
    }

    /// A probability is kept over many requests, and the same seed strikes the same ones.
    #[test]
    fn a_probability_is_a_share() {
        let run = |seed| {
            let mut faults = Faults::new(seed);
            faults.set(vec![Fault {
                probability: 0.08,
                ..Fault::on(Kind::DropBefore, Call::Bill)
            }]);
            let strikes = (0..10_000).map(|_| faults.strike(Call::Bill, &[]).is_some());
            strikes.collect::<Vec<_>>()
        };
        let struck = run(7).into_iter().filter(|&it| it).count();
        assert!((700..900).contains(&struck), "{struck}");
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
