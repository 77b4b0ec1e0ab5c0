//! The link: the protocol between an application's library and the daemon.
//!
//! A link is one stream (TCP on loopback, or a Unix socket; TLS would lie below). It carries many API
//! sessions. Every frame is a 32-byte little-endian head and a body; [`frame`] has the layout as a table,
//! [`message`] the bodies. This module knows no socket and no clock, and allocates nothing on decode.
//!
//! The order of a transaction's frames:
//!
//! ```text
//! SEND ->                      <- ACCEPTED (its record is durable and it was handed to the centre session)
//!                              <- REPORT   (its record is durable)      or <- ENDED (time-out, refusal)
//! ACK  ->                      <- CONFIRM  (the delivery is durable: rc 0; or it came too late: rc 10)
//! ```
//!
//! A SEND with [`frame::FLAG_QUIET`] gets no ACCEPTED, only REPORT or ENDED. A refused SEND is answered by ENDED.

pub mod frame;
pub mod message;
pub mod rc;

pub use frame::{Assembler, Frame, Head, Kind, LinkError, Split};
