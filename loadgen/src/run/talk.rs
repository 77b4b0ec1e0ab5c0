//! What a connection of the generator can do, without its socket: take requests, read answers, say what ended.

use thiserror::Error;

use codec::cafis::frame::FrameError;
use codec::link::LinkError;

use super::outcome::Outcome;
use super::telegram::Telegrams;

/// A request that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The request's number: key and contents follow from it.
    pub(crate) serial: u64,
    /// When it is meant to be sent; its latency counts from here.
    pub(crate) intended_ns: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is over.
    Over(Outcome),
    /// The daemon had no route for it and has forgotten it: it is to be sent again.
    Again,
}

/// A request that left a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) order: Order,
    pub(crate) fate: Fate,
}

/// Why a connection cannot go on.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TalkError {
    /// Not a frame of the link protocol.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Not a centre telegram.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The daemon refused the handshake.
    #[error("the daemon refused the link for line `{line}`: {name} ({code}){text}")]
    Refused {
        /// The line that was asked for.
        line: String,
        /// Its return code.
        code: u16,
        /// The name of the code.
        name: &'static str,
        /// What it said, after a colon, or nothing.
        text: String,
    },
    /// The daemon refused to open an API session.
    #[error("the daemon opened no API session: {name} ({code})")]
    NoSession {
        /// Its return code.
        code: u16,
        /// The name of the code.
        name: &'static str,
    },
    /// A frame that has no place in the handshake.
    #[error("{kind:?} came in the middle of the handshake")]
    Unexpected {
        /// Its kind.
        kind: codec::link::Kind,
    },
    /// The line lives elsewhere, again and again.
    #[error("line `{line}` was sent from address to address more than {hops} times")]
    GoneAround {
        /// The line.
        line: String,
        /// How often.
        hops: u32,
    },
}

/// One connection's protocol. Bytes to be sent are appended to `out`.
pub(crate) trait Talk {
    /// A fresh connection stands: says what has to be said first.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Requests may be sent.
    fn ready(&self) -> bool;

    /// Where to connect instead, once, if the peer said so.
    fn moved(&mut self) -> Option<String>;

    /// How many requests can be sent now.
    fn room(&self, now_ns: u64) -> usize;

    /// How many requests are open.
    fn in_flight(&self) -> usize;

    /// When room comes back by time alone.
    fn held_until_ns(&self) -> Option<u64>;

    /// Sends a request. Only with room.
    fn send(&mut self, order: Order, telegrams: &mut Telegrams, out: &mut Vec<u8>);

    /// Reads what came at `now_ns`; appends the requests that ended to `done`.
    fn receive(
        &mut self,
        now_ns: u64,
        input: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), TalkError>;

    /// The connection is gone, or the run is over: every open request ends with `outcome`.
    fn abandon(&mut self, outcome: Outcome, done: &mut Vec<Done>);
}

/// What is kept of an open request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) order: Order,
    /// The request id or originator sequence under which the answer comes.
    pub(crate) id: u64,
    /// The outcome of its report, once that is there.
    pub(crate) reported: Option<Outcome>,
}
