//! Control messages: header only, they open, close and test service (`spec/cafis.md` 2.2).

use super::fault::append;
use super::frame::HEADER_LEN;
use super::header::{Assigned, HeaderBuilder, set_mti};
use super::mti::Mti;

/// What the gateway may ask of the centre, on route 0000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayControl {
    /// 7020: open service.
    SignOn,
    /// 0720: close service.
    SignOff,
    /// 9210: is this connection alive?
    LineCheck,
}

impl GatewayControl {
    /// The message type.
    pub const fn mti(self) -> Mti {
        match self {
            GatewayControl::SignOn => Mti::SIGN_ON,
            GatewayControl::SignOff => Mti::SIGN_OFF,
            GatewayControl::LineCheck => Mti::LINE_CHECK,
        }
    }

    /// Appends the message; `gateway` is the gateway's company code (7) and sub code (4).
    pub fn write(self, gateway: [u8; 11], out: &mut Vec<u8>) {
        let header = HeaderBuilder {
            mti: self.mti(),
            acquirer: gateway,
            ..HeaderBuilder::default()
        };
        out.extend_from_slice(&header.to_bytes());
    }
}

/// What the centre may tell the gateway, on route 0001.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CentreControl {
    /// 0010: service opens.
    Start,
    /// 0610: service is going to end.
    EndNotice,
    /// 0910: service ends.
    End,
    /// 9210: is this connection alive?
    LineCheck,
}

impl CentreControl {
    /// The message type.
    pub const fn mti(self) -> Mti {
        match self {
            CentreControl::Start => Mti::START_COMMAND,
            CentreControl::EndNotice => Mti::END_NOTICE,
            CentreControl::End => Mti::END_COMMAND,
            CentreControl::LineCheck => Mti::LINE_CHECK,
        }
    }

    /// Appends the message; the gateway's code stands in the issuer fields.
    pub fn write(self, gateway: [u8; 11], assigned: Assigned, out: &mut Vec<u8>) {
        let header = HeaderBuilder {
            route: 1,
            mti: self.mti(),
            issuer: gateway,
            centre_id: assigned.centre_id,
            centre_seq: assigned.centre_seq,
            month_day: assigned.month_day,
            ..HeaderBuilder::default()
        };
        out.extend_from_slice(&header.to_bytes());
    }
}

/// Appends the gateway's answer to a command or notice of the centre, 0120, 0620, 0920, 9220 or 4120: the same
/// bytes with another message type. The centre drops an answer that differs in anything else.
///
/// # Panics
/// If `command` has no header.
pub fn answer(command: &[u8], mti: Mti, out: &mut Vec<u8>) {
    assert!(
        command.len() >= HEADER_LEN,
        "a command of {} bytes has no header to answer",
        command.len()
    );
    set_mti(append(command, out), mti);
}
