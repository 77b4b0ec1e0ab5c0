//! What an application does by itself: begins requests, takes reports, loses patience, asks and orders.

use super::{App, Asked, Deal, Link, Pending, Phase, Session, Told, finish};
use crate::sim::telegram::{self, Business};
use crate::sim::{MS, SEC};
use codec::cafis::header::{Header, HeaderError, data};
use codec::cafis::section::TransactionKey;
use codec::link::frame::FLAG_QUIET;
use codec::link::message::{Order, Report, Send};
use codec::link::{Head, Kind};

impl App {
    /// It does something, as an application may at any time.
    pub fn act(&mut self, now: u64, deals: &mut Vec<Deal>) {
        if self.opening.is_empty() && self.resuming.is_empty() {
            self.sessions.retain(|session| !session.lost);
        }
        let Link::Up(_) = self.link else {
            return self.overdue(now, deals);
        };
        if !self.resuming.is_empty() {
            return;
        }
        if self.sessions.is_empty() || (self.sessions.len() < 2 && self.rng.chance(50)) {
            if !self.retired && self.opening.is_empty() {
                self.open();
            }
            return;
        }
        self.take_reports();
        self.overdue(now, deals);
        let at = self.rng.below(self.sessions.len() as u64) as usize;
        let closing = self.sessions[at]
            .asked
            .as_ref()
            .is_some_and(|asked| asked.kind == Kind::Close);
        if self.sessions[at].number.is_none() || closing {
            return;
        }
        if self.retired {
            if !self.operator
                && self.sessions[at].pending.is_empty()
                && self.sessions[at].asked.is_none()
            {
                self.ask(now, at, Kind::Close, &[], false, None);
            }
            return;
        }
        match self.rng.below(100) {
            0..60 => self.begin(now, at, deals),
            60..63 => self.ask_about(now, at, Kind::Query, deals),
            63..67 => self.ask_about(now, at, Kind::Cancel, deals),

            67..69 => {
                self.ask(now, at, Kind::Close, &[], false, None);
            }
            69..73 => self.listen(at),
            73..80 => self.answer_centre(now, at),
            80..82 => {
                self.control(now, Order::Status, 0);
            }
            _ => {}
        }
    }

    /// Opens an API session.
    pub fn open(&mut self) {
        self.opening.push(self.sessions.len());
        self.sessions.push(Session {
            next: 1,
            ..Session::default()
        });
        self.put(Head::new(Kind::Open), &[]);
    }

    fn listen(&mut self, at: usize) {
        let session = &mut self.sessions[at];
        session.listens = true;
        let head = Head {
            session: session.number.unwrap_or(0),
            request: session.next,
            ..Head::new(Kind::Listen)
        };
        session.next += 1;
        self.put(head, &[1]);
    }

    /// Begins a request of chance.
    fn begin(&mut self, now: u64, at: usize, deals: &mut Vec<Deal>) {
        let outstanding: usize = self
            .sessions
            .iter()
            .map(|session| session.pending.len())
            .sum();
        if outstanding >= self.credit as usize {
            return;
        }
        let business = match self.rng.below(10) {
            0 => Business::Test,
            1 => Business::Counters,
            2..4 => Business::Sale,
            _ => Business::Authorisation,
        };
        let security = self.rng.chance(300);
        let quiet = self.rng.chance(200);
        self.send(now, at, business, security, quiet, deals);
    }

    /// Sends a request on the at-th API session; gives its place among the deals.
    pub fn send(
        &mut self,
        now: u64,
        at: usize,
        business: Business,
        security: bool,
        quiet: bool,
        deals: &mut Vec<Deal>,
    ) -> usize {
        let key = telegram::key(deals.len() as u64);
        let amount = self.rng.between(1, 9999);
        let data = telegram::data(business, &key, amount, security);
        let send = Send {
            centre_id: *b"00",
            centre_seq: *b"      ",
            issuer: if business.turnaround() {
                *b"00000000000"
            } else {
                telegram::ISSUER
            },
            acquirer: self.company,
            mti: business.mti().digits(),
            data: &data,
        };
        let mut body = Vec::new();
        send.encode(&mut body);
        deals.push(Deal {
            line: self.line,
            key,
            business,
            amount,
            told: Told::Nothing,
            cancel_ordered: false,
            cancelled: false,
        });
        let deal = deals.len() - 1;
        self.send_body(now, at, deal, body, quiet, false);
        deal
    }

    /// Sends the request that a telegram to the centre was made from; gives its place among the deals.
    ///
    /// # Errors
    /// It is no request with a section 1-0.
    pub fn send_telegram(
        &mut self,
        now: u64,
        frame: &[u8],
        deals: &mut Vec<Deal>,
    ) -> Result<usize, HeaderError> {
        let header = Header::new(frame)?;
        let send = Send {
            centre_id: header.centre_id(),
            centre_seq: header.centre_seq(),
            issuer: header.issuer(),
            acquirer: header.acquirer(),
            mti: header.mti().digits(),
            data: data(frame),
        };
        let mut body = Vec::new();
        send.encode(&mut body);
        deals.push(Deal {
            line: self.line,
            key: TransactionKey::of(frame).map_or([b' '; 24], |key| key.0),
            business: Business::Authorisation,
            amount: 0,
            told: Told::Nothing,
            cancel_ordered: false,
            cancelled: false,
        });
        let deal = deals.len() - 1;
        let attached = self
            .sessions
            .iter()
            .position(|session| session.number.is_some());
        self.send_body(now, attached.unwrap_or(0), deal, body, true, false);
        Ok(deal)
    }

    /// Gives up every request that has no report yet.
    pub fn give_up_all(&mut self, deals: &mut [Deal]) {
        for session in &mut self.sessions {
            session
                .pending
                .values_mut()
                .for_each(|pending| pending.deadline = 0);
        }
        self.overdue(1, deals);
    }

    fn send_body(
        &mut self,
        now: u64,
        at: usize,
        deal: usize,
        body: Vec<u8>,
        quiet: bool,
        answer: bool,
    ) {
        let session = &mut self.sessions[at];
        let request = session.next;
        session.next += 1;
        let patience = match self.rng.below(8) {
            0 => 500 * MS,
            1 => 20 * SEC,
            _ => 130 * SEC,
        };
        let head = Head {
            flags: if quiet { FLAG_QUIET } else { 0 },
            session: session.number.unwrap_or(0),
            request,
            trace: if answer { 0 } else { 1000 + deal as u64 },
            ..Head::new(Kind::Send)
        };
        let pending = Pending {
            deal,
            body: body.clone(),
            phase: Phase::Sent,
            deadline: now + patience,
            answer,
        };
        session.pending.insert(request, pending);
        self.put(head, &body);
    }

    /// Answers a request of the centre.
    fn answer_centre(&mut self, now: u64, at: usize) {
        let Some(asked) = self.sessions[at].centre.pop() else {
            return;
        };
        let Ok(asked) = Report::decode(&asked) else {
            return;
        };
        let mut mti = asked.mti;
        mti[2] = if self.rng.chance(700) { b'2' } else { b'5' };
        let send = Send {
            centre_id: asked.centre_id,
            centre_seq: asked.centre_seq,
            issuer: asked.issuer,
            acquirer: asked.acquirer,
            mti,
            data: asked.data,
        };
        let mut body = Vec::new();
        send.encode(&mut body);
        self.send_body(now, at, usize::MAX, body, false, true);
    }

    /// A receive takes what has arrived: ACK, and from then on the daemon decides.
    fn take_reports(&mut self) {
        let mut acks = Vec::new();
        for session in &mut self.sessions {
            let Some(number) = session.number else {
                continue;
            };
            for (request, pending) in &mut session.pending {
                if let Phase::Reported(mti, data) = &pending.phase
                    && self.rng.chance(700)
                {
                    pending.phase = Phase::Acked(*mti, data.clone());
                    acks.push(Head {
                        session: number,
                        request: *request,
                        ..Head::new(Kind::Ack)
                    });
                }
            }
        }
        acks.into_iter().for_each(|head| self.put(head, &[]));
    }

    /// A receive ends with a time-out; a link that stays away ends everything.
    fn overdue(&mut self, now: u64, deals: &mut [Deal]) {
        let mut frames = Vec::new();
        for session in &mut self.sessions {
            for (request, pending) in &mut session.pending {
                let waits = matches!(pending.phase, Phase::Sent | Phase::Accepted);
                if waits && now >= pending.deadline && !pending.answer {
                    pending.phase = Phase::GivenUp;
                    finish(&mut deals[pending.deal], Told::Unknown);
                    if let Some(number) = session.number {
                        let head = Head {
                            session: number,
                            request: *request,
                            ..Head::new(Kind::GiveUp)
                        };
                        frames.push(head);
                    }
                }
            }
            session.pending.retain(|_, p| !p.answer || now < p.deadline);
            session.asked.take_if(|asked| now > asked.since + 400 * SEC);
        }
        frames.into_iter().for_each(|head| self.put(head, &[]));
    }

    fn ask_about(&mut self, now: u64, at: usize, kind: Kind, deals: &mut [Deal]) {
        let mine: Vec<usize> = (0..deals.len())
            .filter(|at| deals[*at].line == self.line)
            .collect();
        if mine.is_empty() {
            return;
        }
        let newest = mine.len() - mine.len().min(6);
        let deal = match self.rng.chance(800) {
            true => mine[newest + self.rng.below((mine.len() - newest) as u64) as usize],
            false => *self.rng.pick(&mine),
        };
        if kind == Kind::Cancel {
            return self.cancel(now, at, deal, deals);
        }
        let key = deals[deal].key;
        self.ask(now, at, kind, &key, true, Some(deal));
    }

    /// Orders the system cancel of a deal.
    pub fn cancel(&mut self, now: u64, at: usize, deal: usize, deals: &mut [Deal]) {
        if self.ask(
            now,
            at,
            Kind::Cancel,
            &deals[deal].key.clone(),
            true,
            Some(deal),
        ) {
            deals[deal].cancel_ordered = true;
        }
    }

    fn ask(
        &mut self,
        now: u64,
        at: usize,
        kind: Kind,
        body: &[u8],
        repeatable: bool,
        deal: Option<usize>,
    ) -> bool {
        let session = &mut self.sessions[at];
        let (Some(number), None) = (session.number, &session.asked) else {
            return false;
        };
        let request = session.next;
        session.next += 1;
        session.asked = Some(Asked {
            request,
            kind,
            body: body.to_vec(),
            repeatable,
            deal,
            since: now,
        });
        self.put(
            Head {
                session: number,
                request,
                ..Head::new(kind)
            },
            body,
        );
        true
    }

    /// Gives an order on the first free API session; false if there is none.
    pub fn control(&mut self, now: u64, order: Order, route: u16) -> bool {
        let mut body = vec![order as u8];
        if order == Order::Purge {
            body.extend_from_slice(&route.to_le_bytes());
        }
        let repeatable = matches!(
            order,
            Order::Status | Order::Recovery | Order::SignOn | Order::SignOff
        );
        for at in 0..self.sessions.len() {
            if self.ask(now, at, Kind::Control, &body, repeatable, None) {
                return true;
            }
        }
        false
    }
}
