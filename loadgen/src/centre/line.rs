//! One line as the centre sees it: state of service, routes, what is outstanding, counters.

use codec::cafis::header::Assigned;
use codec::cafis::mti::Mti;

use super::behaviour::Decision;
use super::checks::{Code, IssuerState, Last};
use super::config::LineConfig;
use super::ledger::EntryId;

/// The state of service (`spec/cafis.md` 5 and 9.2, from the centre's side).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Not open.
    Closed,
    /// The gateway has failed: all its sessions were lost.
    Failed,
    /// 0010 is out.
    Starting,
    /// Open.
    Open,
    /// 0720 came; 0810 follows when the inward routes are free.
    SigningOff,
    /// 0610 went out, answered or not.
    Notified,
    /// 0910 is out.
    Ending,
}

/// A command to the gateway that waits for its answer.
#[derive(Debug)]
pub struct Command {
    /// Its bytes; the answer must be the same with another type.
    pub frame: Vec<u8>,
    /// Its type.
    pub mti: Mti,
}

/// What is known of the last general request of a route.
#[derive(Clone, Copy, Debug)]
pub struct LastRequest {
    /// What a fault command has to repeat.
    pub facts: Last,
    /// Where it stands in the ledger.
    pub entry: EntryId,
    /// The numbers it was given.
    pub assigned: Assigned,
}

/// What the issuer says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// xx20, 8950 or 8960 without a code.
    Good,
    /// xx50.
    Refused(Code),
    /// 8970.
    Abnormal(Code),
    /// 8950 or 8960 with a code.
    TakenOver(Code),
}

/// A message that waits for the issuer. It keeps its route.
#[derive(Debug)]
pub struct Waiting {
    /// Whether it is a fault command.
    pub fault: bool,
    /// The message as received.
    pub frame: Vec<u8>,
    /// On which session it came.
    pub session: u32,
    /// Where its request stands in the ledger.
    pub entry: Option<EntryId>,
    /// What the answer carries.
    pub assigned: Assigned,
    /// What the issuer will say.
    pub verdict: Verdict,
    /// What the rules decided.
    pub decision: Decision,
    /// Originator sequence.
    pub sequence: u32,
    /// Originator day.
    pub day: [u8; 2],
}

/// One outward route.
#[derive(Debug, Default)]
pub struct Route {
    /// The last general request on it.
    pub last: Option<LastRequest>,
    /// What it carries.
    pub waiting: Option<Waiting>,
    /// Counts the waits, so that a timer of an earlier one is told apart.
    pub token: u32,
}

/// A transaction on an inward route.
#[derive(Debug)]
pub struct Inward {
    /// What was sent last on it.
    pub frame: Vec<u8>,
    /// Its type.
    pub mti: Mti,
    /// Tells its timer from an earlier one's.
    pub generation: u32,
}

/// Approvals of one day, as section E counts them (`spec/cafis.md` 4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Authorisations.
    pub authorisations: i64,
    /// Sales.
    pub sales: i64,
    /// Business cancels.
    pub cancels: i64,
    /// All others.
    pub others: i64,
}

impl Counters {
    /// Counts an approval of a request, or takes it back with `by` -1.
    pub fn count(&mut self, request: Mti, by: i64) {
        match request {
            Mti::AUTH_REQUEST => self.authorisations += by,
            Mti::SALE_REQUEST => self.sales += by,
            Mti::BUSINESS_CANCEL_REQUEST => self.cancels += by,
            _ => self.others += by,
        }
    }
}

/// A line and all its state.
#[derive(Debug)]
pub struct Line {
    /// What was configured.
    pub config: LineConfig,
    /// State of service.
    pub service: Service,
    /// Positions of the agreed sessions.
    pub sessions: std::ops::Range<u32>,
    /// How many of them are up.
    pub up: usize,
    /// Whose turn it is to send.
    pub turn: u32,
    /// Outward routes; position n is route 2n + 2.
    pub outward: Vec<Route>,
    /// Inward routes; position n is route 2n + 3.
    pub inward: Vec<Option<Inward>>,
    /// The last incoming transaction, for a fault command on order.
    pub last_inward: Option<Vec<u8>>,
    /// Originator sequence of incoming transactions.
    pub inward_sequence: u32,
    /// The command that waits for its answer.
    pub command: Option<Command>,
    /// Counts commands, so that a timer of an earlier one is told apart.
    pub generation: u32,
    /// Counts incoming transactions likewise.
    pub inward_generation: u32,
    /// Whether a 4110 waits for its 4120.
    pub counter_out: bool,
    /// The 0720 that waits for its 0810.
    pub sign_off: Option<(Vec<u8>, u32)>,
    /// The issuer behind the line.
    pub issuer: IssuerState,
    /// Whether the centre is congested for this line.
    pub congested: bool,
    /// Approvals.
    pub counters: Counters,
}

impl Line {
    /// A line whose agreed sessions are `sessions`; nothing is up.
    pub fn new(config: LineConfig, sessions: std::ops::Range<u32>) -> Line {
        let routes = usize::from(config.routes);
        Line {
            turn: sessions.start,
            sessions,
            service: Service::Closed,
            up: 0,
            outward: (0..routes).map(|_| Route::default()).collect(),
            inward: (0..routes).map(|_| None).collect(),
            last_inward: None,
            inward_sequence: 0,
            command: None,
            generation: 0,
            inward_generation: 0,
            counter_out: false,
            sign_off: None,
            issuer: IssuerState::Up,
            congested: false,
            counters: Counters::default(),
            config,
        }
    }

    /// Highest outward route of the contract.
    pub fn route_max(&self) -> u16 {
        self.config.routes * 2
    }

    /// Position of an outward route within the contract.
    pub fn slot(&self, route: u16) -> Option<usize> {
        (route >= 2 && route.is_multiple_of(2) && route <= self.route_max())
            .then(|| usize::from(route / 2 - 1))
    }

    /// Position of an inward route within the contract.
    pub fn inward_slot(&self, route: u16) -> Option<usize> {
        (route >= 3 && route % 2 == 1 && route <= self.route_max() + 1)
            .then(|| usize::from((route - 3) / 2))
    }

    /// Whether the centre takes the gateway for open.
    pub fn is_open(&self) -> bool {
        matches!(
            self.service,
            Service::Open | Service::SigningOff | Service::Notified | Service::Ending
        )
    }

    /// Whether the centre is ending: requests get C15 (`spec/cafis.md` 9.2, rows 0610, 4110, 0910).
    pub fn is_ending(&self) -> bool {
        matches!(self.service, Service::Notified | Service::Ending) || self.counter_out
    }
}
