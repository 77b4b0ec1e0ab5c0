//! An application with the library under it: what client/src does with each frame, one link, a few API sessions.

mod act;

use std::collections::BTreeMap;

use super::rng::Rng;
use super::telegram::Business;
use codec::link::frame::FLAG_AGAIN;
use codec::link::message::{Hello, Opened, Report, Status};
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
    /// The code of the last answer to an order or a question.
    pub last_code: Option<u16>,
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
            last_code: None,
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
        self.last_code = Some(head.code);
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
