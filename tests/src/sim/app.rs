//! An application with the library under it: what client/src does with each frame, one link, a few API sessions.

use std::collections::BTreeMap;

use super::rng::Rng;
use super::telegram::{self, Business};
use super::{MS, SEC};
use codec::cafis::header::{Header, HeaderError, data};
use codec::cafis::section::TransactionKey;
use codec::link::frame::{FLAG_AGAIN, FLAG_QUIET};
use codec::link::message::{Hello, Opened, Order, Report, Send, Status};
use codec::link::{Frame, Head, Kind, rc};

/// What an application knows of a request that it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing final yet.
    Nothing,
    /// RC_OK: type and data of the report.
    Delivered([u8; 4], Vec<u8>),
    /// Never taken: this code came instead of ACCEPTED.
    Refused(u16),
    /// Over without a report.
    Ended(u16),
    /// It stopped asking.
    Unknown,
}

/// One request of an application, and what it was told about it.
#[derive(Clone, Debug)]
pub struct Deal {
    /// Line number.
    pub line: usize,
    /// Transaction key.
    pub key: [u8; 24],
    /// What it is about.
    pub business: Business,
    /// Amount.
    pub amount: u64,
    /// What it was told.
    pub told: Told,
    /// A system cancel was ordered for its key.
    pub cancel_ordered: bool,
    /// A system cancel was answered with RC_OK.
    pub cancelled: bool,
}

/// How far a request is, as in the library.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Sent,
    Accepted,
    Reported([u8; 4], Vec<u8>),
    Acked([u8; 4], Vec<u8>),
    GivenUp,
}

#[derive(Clone, Debug)]
struct Pending {
    deal: usize,
    body: Vec<u8>,
    phase: Phase,
    deadline: u64,
    /// Answers to the centre are over with ACCEPTED.
    answer: bool,
}

/// An order under way.
#[derive(Clone, Debug)]
struct Asked {
    request: u64,
    kind: Kind,
    body: Vec<u8>,
    repeatable: bool,
    deal: Option<usize>,
    since: u64,
}

/// An API session.
#[derive(Default)]
struct Session {
    number: Option<u32>,
    token: Option<[u8; 16]>,
    next: u64,
    pending: BTreeMap<u64, Pending>,
    asked: Option<Asked>,
    listens: bool,
    /// Requests of the centre that wait for an answer.
    centre: Vec<Vec<u8>>,
    lost: bool,
}

/// The link as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Connecting(u64),
    Up(u64),
}

/// One application.
pub struct App {
    /// Its line.
    pub line: usize,
    /// The name of its line.
    name: String,
    link: Link,
    sessions: Vec<Session>,
    /// Sessions whose OPEN is unanswered, in order.
    opening: Vec<usize>,
    /// Sessions to be taken over, the first one's RESUME is unanswered.
    resuming: Vec<usize>,
    /// The credit of the daemon.
    credit: u32,
    /// No new business.
    pub retired: bool,
    /// It stays although it is retired: somebody has to give orders.
    pub operator: bool,
    company: [u8; 11],
    rng: Rng,
    out: Vec<Vec<u8>>,
    /// The last status.
    pub status: Option<Status>,
}

impl App {
    /// An application without a link.
    #[must_use]
    pub fn new(line: usize, name: &str, company: [u8; 11], rng: Rng) -> App {
        App {
            line,
            name: name.into(),
            link: Link::Down,
            sessions: Vec::new(),
            opening: Vec::new(),
            resuming: Vec::new(),
            credit: 1,
            retired: false,
            operator: false,
            company,
            rng,
            out: Vec::new(),
            status: None,
        }
    }

    /// Frames to be written, in order.
    pub fn frames(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }

    /// The link it uses or is connecting.
    #[must_use]
    pub fn link(&self) -> Option<u64> {
        match self.link {
            Link::Down => None,
            Link::Connecting(link) | Link::Up(link) => Some(link),
        }
    }

    /// Whether nothing of it is under way.
    #[must_use]
    pub fn idle(&self) -> bool {
        let idle = |session: &Session| session.pending.is_empty() && session.asked.is_none();
        self.sessions.iter().all(idle)
    }

    fn put(&mut self, head: Head, body: &[u8]) {
        let mut frame = Vec::new();
        head.write(body, &mut frame);
        self.out.push(frame);
    }

    /// A connection was made: the handshake.
    pub fn connected(&mut self, link: u64) {
        self.link = Link::Connecting(link);
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            features: 0,
            epoch: 0,
            line: &self.name,
        };
        let mut body = Vec::new();
        hello.encode(&mut body);
        self.put(Head::new(Kind::Hello), &body);
    }

    /// The connection is gone: sessions are detached, orders that must not be repeated are over.
    pub fn disconnected(&mut self, link: u64) {
        if self.link() != Some(link) {
            return;
        }
        self.link = Link::Down;
        self.opening.clear();
        self.resuming.clear();
        self.out.clear();
        for session in &mut self.sessions {
            session.number = None;
            session.centre.clear();
            session.asked.take_if(|asked| !asked.repeatable);
        }
        self.sessions.retain(|session| session.token.is_some());
    }

    /// A frame of the daemon.
    ///
    /// # Errors
    /// What a daemon never sends.
    pub fn frame(&mut self, now: u64, frame: &Frame<'_>, deals: &mut [Deal]) -> Result<(), String> {
        let Frame { head, body } = *frame;
        if head.credit != 0 {
            self.credit = head.credit;
        }
        match head.kind {
            Kind::Welcome => self.welcomed(),
            Kind::Refused => return Err("the handshake was refused".into()),
            Kind::Opened => {
                let opened = Opened::decode(body).map_err(|error| error.to_string())?;
                return self.opened(now, &head, &opened);
            }
            Kind::Ended if head.session == 0 => self.session_refused(deals),
            Kind::Event | Kind::Pong => {}
            Kind::Request => {
                if let Some(at) = self.at(head.session) {
                    self.sessions[at].centre.push(body.to_vec());
                }
            }
            Kind::Status => {
                let status = Status::decode(body).map_err(|error| error.to_string())?;
                self.status = Some(status);
                self.answered(&head, deals);
            }
            Kind::Done | Kind::State => self.answered(&head, deals),
            Kind::Accepted | Kind::Report | Kind::Ended | Kind::Confirm => {
                return self.request_frame(&head, body, deals);
            }
            kind => return Err(format!("{kind:?} from the daemon")),
        }
        Ok(())
    }

    fn at(&self, number: u32) -> Option<usize> {
        self.sessions
            .iter()
            .position(|session| session.number == Some(number))
    }

    fn welcomed(&mut self) {
        if let Link::Connecting(link) = self.link {
            self.link = Link::Up(link);
        }
        let open = |at: &usize| self.sessions[*at].token.is_some();
        self.resuming = (0..self.sessions.len()).filter(open).collect();
        self.resume_next();
    }

    fn resume_next(&mut self) {
        if let Some(token) = self
            .resuming
            .first()
            .and_then(|at| self.sessions[*at].token)
        {
            self.put(Head::new(Kind::Resume), &token);
        }
    }

    fn opened(&mut self, now: u64, head: &Head, opened: &Opened) -> Result<(), String> {
        let again = head.flags & FLAG_AGAIN != 0;
        let queue = if again {
            &mut self.resuming
        } else {
            &mut self.opening
        };
        if queue.is_empty() {
            return Err("OPENED, and nothing was to be opened".into());
        }
        let at = queue.remove(0);
        self.attach(now, at, head.session, opened);
        if again {
            self.resume_next();
        }
        Ok(())
    }

    /// Repeats what is unanswered, in the order it was first said.
    fn attach(&mut self, now: u64, at: usize, number: u32, opened: &Opened) {
        let session = &mut self.sessions[at];
        session.number = Some(number);
        session.token = Some(opened.token);
        session.next = session.next.max(opened.highest + 1).max(1);
        session
            .pending
            .retain(|id, p| !(p.phase == Phase::GivenUp && *id > opened.highest));
        let mut frames = Vec::new();
        for (id, pending) in &session.pending {
            let (kind, flags, body): (_, _, &[u8]) = match pending.phase {
                Phase::Sent | Phase::Accepted => (Kind::Send, FLAG_AGAIN, &pending.body),
                Phase::Reported(..) => continue,
                Phase::Acked(..) => (Kind::Ack, 0, &[]),
                Phase::GivenUp => (Kind::GiveUp, 0, &[]),
            };
            let head = Head {
                flags,
                session: number,
                request: *id,
                ..Head::new(kind)
            };
            frames.push((head, body.to_vec()));
        }
        if session.listens {
            let head = Head {
                session: number,
                request: session.next,
                ..Head::new(Kind::Listen)
            };
            session.next += 1;
            frames.push((head, vec![1]));
        }
        if let Some(asked) = &mut session.asked {
            asked.since = now;
            let head = Head {
                session: number,
                request: asked.request,
                ..Head::new(asked.kind)
            };
            frames.push((head, asked.body.clone()));
        }
        for (head, body) in frames {
            self.put(head, &body);
        }
    }

    /// ENDED on session 0: RESUME or OPEN is refused.
    fn session_refused(&mut self, deals: &mut [Deal]) {
        if self.resuming.is_empty() {
            if !self.opening.is_empty() {
                let at = self.opening.remove(0);
                self.sessions[at].lost = true;
            }
        } else {
            let at = self.resuming.remove(0);
            self.lose(at, deals);
            self.resume_next();
        }
    }

    fn lose(&mut self, at: usize, deals: &mut [Deal]) {
        let session = &mut self.sessions[at];
        session.lost = true;
        (session.token, session.number, session.asked) = (None, None, None);
        for pending in std::mem::take(&mut session.pending)
            .into_values()
            .filter(|p| !p.answer)
        {
            finish(&mut deals[pending.deal], Told::Unknown);
        }
    }

    fn answered(&mut self, head: &Head, deals: &mut [Deal]) {
        let Some(at) = self.at(head.session) else {
            return;
        };
        let asked = self.sessions[at]
            .asked
            .take_if(|asked| asked.request == head.request);
        let Some(asked) = asked else { return };
        if asked.kind == Kind::Cancel
            && head.code == rc::OK
            && let Some(deal) = asked.deal
        {
            deals[deal].cancelled = true;
        }
        if asked.kind == Kind::Close {
            self.lose(at, deals);
        }
    }

    fn request_frame(
        &mut self,
        head: &Head,
        body: &[u8],
        deals: &mut [Deal],
    ) -> Result<(), String> {
        let Some(at) = self.at(head.session) else {
            return Ok(());
        };
        let session = &mut self.sessions[at];
        let Some(pending) = session.pending.get_mut(&head.request) else {
            return Ok(());
        };
        match head.kind {
            Kind::Accepted => {
                if pending.phase == Phase::Sent {
                    pending.phase = Phase::Accepted;
                }
                if pending.answer {
                    session.pending.remove(&head.request);
                }
            }
            Kind::Report => {
                if matches!(pending.phase, Phase::Sent | Phase::Accepted) {
                    let report = Report::decode(body).map_err(|error| error.to_string())?;
                    pending.phase = Phase::Reported(report.mti, report.data.to_vec());
                }
            }
            _ => {
                let Some(pending) = session.pending.remove(&head.request) else {
                    return Ok(());
                };
                if pending.answer {
                    return Ok(());
                }
                let told = match (head.kind, pending.phase) {
                    (_, Phase::GivenUp) => Told::Unknown,
                    (Kind::Confirm, Phase::Acked(mti, data)) if head.code == rc::OK => {
                        Told::Delivered(mti, data)
                    }
                    (Kind::Confirm, phase) if head.code == rc::OK => {
                        return Err(format!("3: CONFIRM of a request that is {phase:?}"));
                    }
                    (_, Phase::Sent)
                        if head.code != rc::TIME_OUT && head.code != rc::ERROR_SOCKET =>
                    {
                        Told::Refused(head.code)
                    }
                    _ => Told::Ended(head.code),
                };
                finish(&mut deals[pending.deal], told);
            }
        }
        Ok(())
    }

    /// Whether it can connect now.
    #[must_use]
    pub fn wants_link(&self) -> bool {
        self.link == Link::Down
            && (!self.retired || self.operator || !self.idle() || !self.sessions.is_empty())
    }

    /// It does something. Gives the number of a deal that it wants to begin, if it does.
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

    /// Takes every report that has arrived, at once.
    pub fn acknowledge_all(&mut self) {
        let mut acks = Vec::new();
        for session in &mut self.sessions {
            let Some(number) = session.number else {
                continue;
            };
            for (request, pending) in &mut session.pending {
                if let Phase::Reported(mti, data) = &pending.phase {
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

    /// The token of an API session.
    #[must_use]
    pub fn token(&self, number: u32) -> Option<[u8; 16]> {
        self.at(number).and_then(|at| self.sessions[at].token)
    }

    /// Whether an API session is attached.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.sessions.iter().any(|session| session.number.is_some())
    }

    /// What it waits for, in a line for a failure's message.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let mut text = String::new();
        for session in &self.sessions {
            text += &format!(" session {:?} lost {}:", session.number, session.lost);
            for (request, pending) in &session.pending {
                let phase = match &pending.phase {
                    Phase::Sent => "sent",
                    Phase::Accepted => "accepted",
                    Phase::Reported(..) => "reported",
                    Phase::Acked(..) => "acked",
                    Phase::GivenUp => "given up",
                };
                text += &format!(" {request} {phase}");
            }
            if let Some(asked) = &session.asked {
                text += &format!(" order {:?} {}", asked.kind, asked.request);
            }
        }
        text
    }

    /// Whether it has no API session any more.
    #[must_use]
    pub fn gone(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// What an application is told last counts, but a delivery is never taken back.
fn finish(deal: &mut Deal, told: Told) {
    if !matches!(deal.told, Told::Delivered(..)) {
        deal.told = told;
    }
}
