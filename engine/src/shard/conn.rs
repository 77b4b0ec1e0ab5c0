//! What the shard knows of a socket: whose it is, and the bytes of a half-read frame.

use crate::core::{LineNo, LinkId, SessionId};
use crate::driver::SocketId;

/// The other side of a socket.
pub(super) enum Peer {
    /// A centre, on a line's listener.
    Centre {
        /// The line.
        line: LineNo,
        /// Cuts its stream into telegrams.
        assembler: codec::cafis::frame::Assembler,
    },
    /// An application.
    Link {
        /// Cuts its stream into frames.
        assembler: codec::link::Assembler,
        /// Accepted at, monotonic nanoseconds.
        since_ns: u64,
        /// A whole frame has come: the handshake is not overdue any more.
        spoke: bool,
    },
}

/// An open socket.
pub(super) struct Conn {
    pub socket: SocketId,
    pub peer: Peer,
}

/// The core's number of a socket: its slot, made unique by the slot's generation.
fn number(socket: SocketId) -> u64 {
    u64::from(socket.generation) << 32 | u64::from(socket.index)
}

pub(super) fn session_id(socket: SocketId) -> SessionId {
    SessionId(number(socket))
}

pub(super) fn link_id(socket: SocketId) -> LinkId {
    LinkId(number(socket))
}

pub(super) fn socket_of(number: u64) -> SocketId {
    SocketId {
        index: number as u32,
        generation: (number >> 32) as u32,
    }
}
