//! The errors of the two boundaries: getting a link, and using a session. Each session error names its return code.

use std::io;

use codec::link::frame::Kind;
use codec::link::{LinkError, rc};
use thiserror::Error;

use crate::session::RequestId;

/// Why no link could be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nothing listens there, or it cannot be reached.
    #[error(
        "no daemon can be reached at {endpoint}: {source}. Is sekishod running, and is this its API address?"
    )]
    Unreachable {
        /// The endpoint that was tried.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The peer closed the connection, or was silent, before it answered HELLO.
    #[error("{endpoint} took the connection but did not answer the handshake: {source}")]
    NoWelcome {
        /// The endpoint that was tried.
        endpoint: String,
        /// End of stream, or the time-out.
        source: io::Error,
    },
    /// The peer's bytes are no link frames.
    #[error("{endpoint} does not speak the link protocol: {source}")]
    NotALink {
        /// The endpoint that was tried.
        endpoint: String,
        /// What is wrong with its first frame.
        source: LinkError,
    },
    /// A frame that cannot answer HELLO.
    #[error("{endpoint} answered HELLO with {kind:?}")]
    Unexpected {
        /// The endpoint that was tried.
        endpoint: String,
        /// The frame's kind.
        kind: Kind,
    },
    /// Daemon and library share no protocol version.
    #[error(
        "the daemon at {endpoint} speaks another version of the link protocol than this library ({ours}){text}. Install daemon and library of one release"
    )]
    Version {
        /// The endpoint that was tried.
        endpoint: String,
        /// The version this library speaks.
        ours: u16,
        /// The daemon's own words behind `: `, or nothing.
        text: String,
    },
    /// The daemon refuses the link, for example because it has no such line or no place left.
    #[error("the daemon at {endpoint} refuses the link: {name} ({code}){text}", name = rc::name(*code))]
    Refused {
        /// The endpoint that was tried.
        endpoint: String,
        /// The return code it gave.
        code: u16,
        /// The daemon's own words behind `: `, or nothing.
        text: String,
    },
    /// Endpoints point at each other, or at something that is none.
    #[error("{endpoint} sends this link on to {go_to:?}, which leads nowhere after {hops} steps")]
    Redirects {
        /// The endpoint that was asked last.
        endpoint: String,
        /// Where it pointed.
        go_to: String,
        /// Steps followed.
        hops: usize,
    },
}

/// Why a session's call did not succeed. [`ClientError::rc`] is its return code (spec/fexics.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The link was down for the whole call: nothing was sent.
    #[error("there is no link to the daemon; nothing was sent")]
    NotConnected,
    /// The link was lost with the call under way, and stayed lost: the outcome is unknown.
    #[error("the link to the daemon was lost; the outcome is unknown")]
    LinkLost,
    /// The daemon no longer knows this API session: what it had open is given up and settled by key.
    #[error("the daemon no longer knows this API session")]
    SessionLost,
    /// The daemon is there, and did not answer this call within its limit: the outcome is unknown.
    #[error("the daemon did not answer in time; the outcome is unknown")]
    NoAnswer,
    /// As many requests as the daemon allows are outstanding on this link, and none ended within the call's limit.
    #[error("the link's credit of {credit} outstanding requests was used up for the whole call")]
    Credit {
        /// The credit in force.
        credit: u32,
    },
    /// The call's own timer expired. What was outstanding is given up: the daemon settles it at the centre.
    #[error("the timer expired")]
    TimeOut,
    /// A poll found nothing.
    #[error("nothing has been received yet")]
    NotReady,
    /// The daemon ended this request without a report, or it had given the report up before the application took it.
    #[error("request {request:?} ended: {name} ({code})", name = rc::name(*code))]
    Ended {
        /// The request that is over.
        request: RequestId,
        /// The daemon's code; 10 means that the daemon settles the transaction at the centre.
        code: u16,
    },
    /// The daemon refused the call; nothing was done.
    #[error("refused: {name} ({code})", name = rc::name(*code))]
    Refused {
        /// The daemon's code.
        code: u16,
    },
    /// The data part is longer than a telegram's may be.
    #[error("a data part of {len} bytes is longer than 961")]
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// The daemon answered with a frame that does not fit the question.
    #[error("the daemon's answer does not fit the question")]
    WrongAnswer,
}

impl ClientError {
    /// The return code of spec/fexics.md 4.2 for this error.
    #[must_use]
    pub fn rc(&self) -> u16 {
        match self {
            ClientError::NotConnected
            | ClientError::LinkLost
            | ClientError::SessionLost
            | ClientError::NoAnswer
            | ClientError::Credit { .. } => rc::ERROR_SOCKET,
            ClientError::TimeOut => rc::TIME_OUT,
            ClientError::NotReady => rc::DATA_IS_NOT_READY,
            ClientError::Ended { code, .. } | ClientError::Refused { code } => *code,
            ClientError::TooLong { .. } => rc::INVALID_PARAM,
            ClientError::WrongAnswer => rc::ERROR_DAEMON,
        }
    }
}
