//! The centre as originator: counter notices, and requests of a card company on inward routes (`spec/cafis.md` 9.4).

use codec::cafis::fault::{make_image, write_cancel, write_cancel_confirm};
use codec::cafis::field::put_number;
use codec::cafis::header::{Assigned, Header, HeaderBuilder, HeaderField, NO_COMPANY};
use codec::cafis::mti::{Mti, is_answered_by};

use super::ledger::Anomaly;
use super::line::{Inward, Service};
use super::section_e;
use super::sim::{BLANK, Sim};
use super::timers::Timer;

const NS_PER_MS: u64 = 1_000_000;
/// The card company behind incoming requests.
const CARD_COMPANY: [u8; 11] = *b"TEST9000000";

/// Why an incoming transaction cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InwardError {
    /// The line is not open.
    #[error("the line is not open")]
    NotOpen,
    /// Every inward route carries a transaction.
    #[error("no inward route is free")]
    NoRoute,
    /// No session is up.
    #[error("no session is up")]
    NoSession,
    /// A type that no card company sends.
    #[error(
        "no incoming message of type {0}; known are 3110, 3210, 3310, 3410, 3510, 6110, 8910, 8920, 8930, 8940"
    )]
    UnknownType(Mti),
    /// A fault command before there was a request.
    #[error("there was no incoming request that could be undone")]
    NothingToUndo,
}

impl Sim {
    /// 4110 with the line's counters; `false` if it could not be sent.
    pub(super) fn counter(&mut self, line: usize) -> bool {
        let (assigned, _) = self.assign(line, b'1');
        let state = &self.lines[line];
        let section = section_e::counters(&state.config.company, &self.month_day, &state.counters);
        let header = HeaderBuilder {
            mti: Mti::COUNTER_NOTICE,
            issuer: state.config.company,
            trailer: section_e::LEN as u16,
            ..assigned_header(assigned)
        };
        let sent = self.send_inward(line, header, &section).is_ok();
        self.lines[line].counter_out |= sent;
        sent
    }

    /// An incoming transaction of the given type, or a fault command for the last one.
    pub(super) fn incoming(&mut self, line: usize, mti: Mti) -> Result<u16, InwardError> {
        if self.lines[line].service != Service::Open {
            return Err(InwardError::NotOpen);
        }
        match mti {
            Mti::CANCEL | Mti::CANCEL_AGAIN | Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN => {
                self.incoming_fault(line, mti)
            }
            _ => self.incoming_request(line, mti),
        }
    }

    fn incoming_request(&mut self, line: usize, mti: Mti) -> Result<u16, InwardError> {
        let body = body(mti).ok_or(InwardError::UnknownType(mti))?;
        let (assigned, _) = self.assign(line, b'3');
        let state = &mut self.lines[line];
        state.inward_sequence = state.inward_sequence % 999_999 + 1;
        let sequence = state.inward_sequence;
        let mut data = b"   000000002       1234599000001".to_vec();
        let mut digits = [0; 5];
        put_number(&mut digits, sequence % 100_000);
        data.extend_from_slice(&digits);
        data.extend_from_slice(b"991130000@");
        data.extend_from_slice(&body);
        let header = HeaderBuilder {
            mti,
            sequence,
            acquirer: CARD_COMPANY,
            issuer: state.config.company,
            originator_day: [self.month_day[2], self.month_day[3]],
            trailer: data.len() as u16,
            ..assigned_header(assigned)
        };
        let route = self.send_inward(line, header, &data)?;
        self.stats.inward += 1;
        let slot = self.lines[line].inward_slot(route);
        let sent = slot
            .and_then(|slot| self.lines[line].inward[slot].as_ref())
            .map(|inward| inward.frame.clone());
        self.lines[line].last_inward = sent;
        Ok(route)
    }

    fn incoming_fault(&mut self, line: usize, mti: Mti) -> Result<u16, InwardError> {
        let mut image = self.lines[line]
            .last_inward
            .clone()
            .ok_or(InwardError::NothingToUndo)?;
        let frame = fault_for(&mut image, mti).ok_or(InwardError::NothingToUndo)?;
        let route = Header::new(&frame)
            .ok()
            .and_then(|header| header.route())
            .unwrap_or(0);
        let slot = self.lines[line]
            .inward_slot(route)
            .ok_or(InwardError::NoRoute)?;
        if !self.push_on_line(line, &frame) {
            return Err(InwardError::NoSession);
        }
        self.stats.inward += 1;
        self.occupy(line, slot, frame, mti, self.config.timers.t15_ms);
        Ok(route)
    }

    /// Sends a message on the smallest free inward route.
    fn send_inward(
        &mut self,
        line: usize,
        header: HeaderBuilder,
        data: &[u8],
    ) -> Result<u16, InwardError> {
        let free = self.lines[line].inward.iter().position(Option::is_none);
        let slot = free.ok_or(InwardError::NoRoute)?;
        let route = 2 * slot as u16 + 3;
        let mti = header.mti;
        let mut frame = HeaderBuilder { route, ..header }.to_bytes().to_vec();
        frame.extend_from_slice(data);
        if !self.push_on_line(line, &frame) {
            return Err(InwardError::NoSession);
        }
        self.occupy(line, slot, frame, mti, self.config.timers.t13_ms);
        Ok(route)
    }

    fn occupy(&mut self, line: usize, slot: usize, frame: Vec<u8>, mti: Mti, wait_ms: u64) {
        let state = &mut self.lines[line];
        state.inward_generation = state.inward_generation.wrapping_add(1);
        let generation = state.inward_generation;
        state.inward[slot] = Some(Inward {
            frame,
            mti,
            generation,
        });
        let due = self.now.ns + wait_ms * NS_PER_MS;
        self.timers.arm(
            due,
            Timer::Inward {
                line: line as u16,
                slot,
                generation,
            },
        );
    }

    /// The gateway's answer on an inward route: the same header but for type and trailer.
    pub(super) fn inward_answer(
        &mut self,
        session: u32,
        route: u16,
        frame: &[u8],
        header: &Header<'_>,
    ) {
        let line = usize::from(self.sessions[session as usize].line);
        let slot = self.lines[line].inward_slot(route);
        let fits = slot
            .and_then(|slot| self.lines[line].inward[slot].as_ref())
            .is_some_and(|inward| {
                is_answered_by(inward.mti, header.mti()) && same_but_type(&inward.frame, frame)
            });
        let Some(slot) = slot.filter(|_| fits) else {
            let anomaly = if slot.is_some() {
                Anomaly::AnswerDiffers
            } else {
                Anomaly::WrongRoute
            };
            self.anomaly(session, Some(header), anomaly, BLANK);
            return;
        };
        self.stats.inward_answered += 1;
        self.free_inward(line, slot);
    }

    /// t13 or t15: the gateway did not answer. A counter notice is given up, a request is undone by 8930, and a fault
    /// command is given up as well: how often the real centre repeats it is not known.
    pub(super) fn inward_expired(&mut self, line: usize, slot: usize, generation: u32) {
        let current = self.lines[line].inward[slot].as_ref();
        let Some(inward) = current.filter(|inward| inward.generation == generation) else {
            return;
        };
        self.stats.inward_expired += 1;
        let undo = inward.mti != Mti::COUNTER_NOTICE && inward.mti.0 < 8_000;
        let mut image = inward.frame.clone();
        if undo
            && let Some(frame) = fault_for(&mut image, Mti::CANCEL_CONFIRM)
            && self.push_on_line(line, &frame)
        {
            self.occupy(
                line,
                slot,
                frame,
                Mti::CANCEL_CONFIRM,
                self.config.timers.t15_ms,
            );
            return;
        }
        self.free_inward(line, slot);
    }

    fn free_inward(&mut self, line: usize, slot: usize) {
        let freed = self.lines[line].inward[slot].take();
        if freed.is_some_and(|inward| inward.mti == Mti::COUNTER_NOTICE) {
            self.lines[line].counter_out = false;
        }
        if self.lines[line].service == Service::SigningOff {
            self.finish_sign_off(line);
        }
    }
}

fn assigned_header(assigned: Assigned) -> HeaderBuilder {
    HeaderBuilder {
        centre_id: assigned.centre_id,
        centre_seq: assigned.centre_seq,
        month_day: assigned.month_day,
        acquirer: NO_COMPANY,
        ..HeaderBuilder::default()
    }
}

/// The fault command for a message of ours; the centre's fields stay as they were sent.
fn fault_for(image: &mut [u8], mti: Mti) -> Option<Vec<u8>> {
    make_image(image).ok()?;
    let header = Header::new(image).ok()?;
    let mut frame = Vec::with_capacity(image.len());
    let again = matches!(mti, Mti::CANCEL_AGAIN | Mti::CANCEL_CONFIRM_AGAIN);
    if matches!(mti, Mti::CANCEL_CONFIRM | Mti::CANCEL_CONFIRM_AGAIN) {
        write_cancel_confirm(image, again, &mut frame);
    } else {
        let mut report = codec::cafis::fault::ReportFields::of(&header);
        report.mti = Mti(report.mti.0 + 10);
        write_cancel(image, &report, header.route()?, again, &mut frame);
    }
    Some(frame)
}

/// The sections behind 1-0 of an incoming request, with a well-known test card.
fn body(mti: Mti) -> Option<Vec<u8>> {
    let card = |class: u8, card: &[u8], rest: &[u8]| {
        let mut section = vec![b' '; 71];
        (section[0], section[1]) = (class, b'1');
        section[2..2 + card.len()].copy_from_slice(card);
        section.extend_from_slice(b"00000000990000050000000500@");
        section.extend_from_slice(rest);
        section
    };
    const CARD: &[u8] = b"4111111111111111=99121010000000000000";
    Some(match mti {
        Mti::AUTH_REQUEST => card(b'2', CARD, b""),
        Mti::SALE_REQUEST => card(b'1', CARD, b"10@"),
        Mti::BUSINESS_CANCEL_REQUEST => card(b'4', CARD, b"000011110@"),
        Mti::ENQUIRY_REQUEST => b"301@10@".to_vec(),
        Mti::OTHER_REQUEST => b"598@10@".to_vec(),
        Mti::LOST_CARD_REQUEST => b"14111111111111111199120100000@".to_vec(),
        _ => return None,
    })
}

/// Whether two frames agree in every header field but type and trailer length.
fn same_but_type(sent: &[u8], answer: &[u8]) -> bool {
    let mti = HeaderField::Mti.field().offset;
    let trailer = HeaderField::Trailer.field().offset;
    sent[..mti] == answer[..mti] && sent[mti + 4..trailer] == answer[mti + 4..trailer]
}
