//! The application side of the link: a blocking, thread-safe client of the daemon.
//!
//! A [`Link`] is one connection that many API [`Session`]s share; one thread per link reads it and hands every
//! frame to its session. When the connection breaks, that thread connects again, takes every session over by its
//! token and repeats what is unanswered under the same request ids, so a fault of the connection is seen as a
//! delay and never as a second payment.
//!
//! What a caller may rely on (design.md, "A transaction's life"):
//! - [`Session::receive`] returns a report only after the daemon confirmed that its delivery is durable. Any error
//!   of it means *not delivered, or unknown*: the caller settles by transaction key ([`Session::query`],
//!   [`Session::cancel`]).
//! - The ACK leaves only when the application's own receive takes the report, so *delivered* means that the
//!   application took it.
//! - A session is used by one call at a time, which `&mut self` makes a fact of the type system.
//!
//! This crate never decides a transaction's fate, keeps nothing on disk and knows no telegram's content.
//! A child of `fork` has no link thread: it opens its own sessions and never uses its parent's.

mod connect;
mod dispatch;
mod endpoint;
mod error;
mod link;
mod pump;
mod session;
mod table;

pub use codec::link::message::{DroppedTelegram, Order, Send, State, Status, TransactionState};
pub use connect::Agreed;
pub use endpoint::Endpoint;
pub use error::{ClientError, ConnectError};
pub use link::{Link, Options, WeakLink};
pub use session::{CentreItem, Delivery, Event, RequestId, Session, Telegram, Wait};
