//! Telegrams of the centre: which part of the core each one belongs to.

use super::report::Drop;
use super::service::Incoming;
use super::{Core, LineNo, Notice, Output, SessionId};
use super::{fact, tx::NO_TX};
use codec::cafis::fault::make_image;
use codec::cafis::frame::FRAME_MAX;
use codec::cafis::header::Header;
use codec::cafis::mti::{Class, Kind, Mti, lookup};
use codec::cafis::section::TransactionKey;
use codec::link::message::DroppedTelegram;

impl Core {
    /// A whole frame came on a centre session.
    pub(super) fn telegram<O: Output>(
        &mut self,
        line: LineNo,
        session: SessionId,
        frame: &[u8],
        out: &mut O,
    ) {
        if !self.line(line).sessions.contains(session) {
            return;
        }
        if frame.len() > FRAME_MAX {
            return self.drop_telegram(line, Drop::TooLong, frame, out);
        }
        let Ok(header) = Header::new(frame) else {
            return self.drop_telegram(line, Drop::Format, frame, out);
        };
        let (mti, Some(route)) = (header.mti(), header.route()) else {
            return self.drop_telegram(line, Drop::Format, frame, out);
        };
        let Some(row) = lookup(mti) else {
            return self.drop_telegram(line, Drop::UnknownType, frame, out);
        };
        let inward = route >= 3 && route % 2 == 1;
        let taken = match row.class {
            Class::Control => self.control_telegram(line, session, mti, frame, out),
            Class::Fault if inward && row.kind == Kind::Command => {
                return self.inward(line, Incoming::Fault, mti, frame, out);
            }
            _ if inward && mti == Mti::COUNTER_NOTICE => {
                return self.inward(line, Incoming::Counter, mti, frame, out);
            }
            _ if inward && row.kind == Kind::Request && mti != Mti::COUNTER_ENQUIRY => {
                return self.inward(line, Incoming::Request, mti, frame, out);
            }
            _ if !inward
                && matches!(
                    row.kind,
                    Kind::Approval | Kind::Refusal | Kind::Report | Kind::Abnormal
                ) =>
            {
                return self.report(line, route, mti, frame, out);
            }
            _ => false,
        };
        if !taken {
            self.drop_telegram(line, Drop::OutOfState, frame, out);
        }
    }

    /// A telegram as it is recorded, masked, in the scratch buffer, which the caller puts back; none if the telegram cannot
    /// be divided into its sections and so cannot be masked.
    pub(super) fn masked_copy(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut masked = std::mem::take(&mut self.scratch);
        masked.clear();
        masked.extend_from_slice(frame);
        if make_image(&mut masked).is_ok() {
            return Some(masked);
        }
        self.scratch = masked;
        None
    }

    /// Records a telegram that is not acted upon, and tells the applications of the line (events 48 and 50).
    pub(super) fn drop_telegram<O: Output>(
        &mut self,
        line: LineNo,
        why: Drop,
        frame: &[u8],
        out: &mut O,
    ) {
        let header = Header::new(frame).ok();
        let (mti, route) = header.map_or((0, 0), |header| {
            (header.mti().0, header.route().unwrap_or(0))
        });
        self.scratch.clear();
        self.scratch
            .extend_from_slice(frame.get(..FRAME_MAX).unwrap_or(frame));
        if make_image(&mut self.scratch).is_err() {
            // What cannot be divided into sections may hold a card number anywhere: only the header is kept.
            self.scratch.truncate(codec::cafis::frame::HEADER_LEN);
        }
        let masked = std::mem::take(&mut self.scratch);
        self.commit(
            line,
            NO_TX,
            fact::Dropped {
                reason: why as u8,
                frame: &masked,
            },
            out,
        );
        self.scratch = masked;
        out.notice(
            self.lines[usize::from(line.0)].cfg.id,
            Notice::Dropped { why, mti, route },
        );
        match why {
            Drop::Format | Drop::TooLong => self.broadcast(line, 48, &[], out),
            _ => {
                let dropped = DroppedTelegram {
                    mti: header.map_or(*b"    ", |header| header.mti().digits()),
                    issuer: header.map_or([b' '; 11], |header| header.issuer()),
                    sequence: header.map_or([b' '; 6], |header| {
                        sequence_digits(header.sequence().unwrap_or(0))
                    }),
                    key: TransactionKey::of(frame).map_or([b' '; 24], |key| key.0),
                };
                self.broadcast(line, 50, &dropped.encode(), out);
            }
        }
    }
}

fn sequence_digits(sequence: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    let mut rest = sequence;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}
