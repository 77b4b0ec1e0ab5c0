//! An application with the client library, and the payments it makes.

use std::time::{Duration, Instant};

use client::{ClientError, Delivery, Endpoint, Link, Options, RequestId, Send, Session, Wait};
use codec::link::message::{Status, TransactionState};

use super::{PATIENCE, Plan, until};

/// Section 1-0 with a place for terminal, sequence and date, and section 1-1 with the well-known test card.
const DATA: &[u8; 145] = b"   000000002       000000000000000000000000000@\
214111111111111111=99121012080000000000                                00000000990000050000000500@";
const TERMINAL_AT: usize = 19;
const SEQUENCE_AT: usize = 32;
const DATE_AT: usize = 37;
const DATE: &[u8; 6] = b"991130";

/// One payment: an authorisation with a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Message type.
    pub mti: [u8; 4],
    /// Date, terminal and terminal sequence.
    pub key: [u8; 24],
    /// Destination.
    pub issuer: [u8; 11],
    /// Data part.
    pub data: Vec<u8>,
}

impl Payment {
    /// The authorisation of this number; numbers up to a hundred million have keys of their own.
    pub fn new(serial: u32) -> Payment {
        let mut data = DATA.to_vec();
        let terminal = format!("1234599{:06}", serial / 90_000);
        let sequence = format!("{:05}", serial % 90_000 + 1);
        data[TERMINAL_AT..TERMINAL_AT + 13].copy_from_slice(terminal.as_bytes());
        data[SEQUENCE_AT..SEQUENCE_AT + 5].copy_from_slice(sequence.as_bytes());
        data[DATE_AT..DATE_AT + 6].copy_from_slice(DATE);
        let mut key = [0; 24];
        key[..6].copy_from_slice(DATE);
        key[6..].copy_from_slice(&data[TERMINAL_AT..SEQUENCE_AT + 5]);
        Payment {
            mti: *b"3110",
            key,
            issuer: *b"TEST9000000",
            data,
        }
    }

    /// A centre turnaround test with a key: no fault message may ever follow it (spec/cafis.md 8.2).
    pub fn turnaround(serial: u32) -> Payment {
        let mut payment = Payment::new(serial);
        payment.data.truncate(47);
        payment.data.extend_from_slice(b"592@");
        Payment {
            mti: *b"3510",
            issuer: *b"00000000000",
            ..payment
        }
    }

    /// As the client library takes it, for the company of the first line of a plan.
    pub fn send(&self) -> Send<'_> {
        self.send_from("TEST001")
    }

    /// As the client library takes it, for this company.
    pub fn send_from(&self, company: &str) -> Send<'_> {
        let mut acquirer = *b"       0000";
        acquirer[..company.len()].copy_from_slice(company.as_bytes());
        Send {
            centre_id: *b"00",
            centre_seq: *b"      ",
            issuer: self.issuer,
            acquirer,
            mti: self.mti,
            data: &self.data,
        }
    }
}

/// An application with one API session on a link of its own.
pub struct App {
    /// Its session.
    pub session: Session,
}

impl App {
    /// Connects to the default line of a plan's daemon, and waits until the line is open.
    pub fn open(plan: &Plan) -> App {
        let mut app = App::connect(plan);
        app.wait_open();
        app
    }

    /// Connects to the default line of a plan's daemon.
    pub fn connect(plan: &Plan) -> App {
        App::connect_to(&plan.endpoint(), "")
    }

    /// Connects to the default line of a plan's daemon, if it is there.
    pub fn try_connect(plan: &Plan) -> Option<App> {
        let session = Link::connect(&plan.endpoint(), "")
            .ok()?
            .open_session()
            .ok()?;
        Some(App { session })
    }

    /// Connects to a line.
    ///
    /// # Panics
    /// If that fails.
    pub fn connect_to(endpoint: &Endpoint, line: &str) -> App {
        let options = Options {
            call_limit: PATIENCE,
            ..Options::default()
        };
        let link = Link::connect_with(endpoint, line, options).expect("a link to the daemon");
        App {
            session: link.open_session().expect("an API session"),
        }
    }

    /// The line's state.
    ///
    /// # Panics
    /// If the daemon does not say.
    pub fn status(&mut self) -> Status {
        self.session.status().expect("the line's state")
    }

    /// Waits until the line's state is as wanted, and returns it.
    ///
    /// # Panics
    /// If that does not come about.
    pub fn wait_status(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain: {what}; the line's state is {status:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until business is taken.
    pub fn wait_open(&mut self) {
        self.wait_status("an open line", |status| {
            status.service == 4 && !status.recovering
        });
    }

    /// Waits until the line is in this state, by its name in `SERVICE_STATES`.
    pub fn wait_service(&mut self, name: &str) {
        self.wait_status(name, |status| service_name(status) == name);
    }

    /// Waits until no transaction of the line is open, held or escalated.
    pub fn wait_idle(&mut self) -> Status {
        self.wait_status("a line without open transactions", |status| {
            status.routes_busy == 0 && status.escalated == 0
        })
    }

    /// Sends a payment.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send(&mut self, payment: &Payment) -> Result<RequestId, ClientError> {
        self.session.send(&payment.send(), 0)
    }

    /// Takes the next report, waiting as long as it takes.
    ///
    /// # Errors
    /// As [`Session::receive`].
    pub fn receive(&mut self) -> Result<Delivery, ClientError> {
        self.session.receive(Wait::For(PATIENCE))
    }

    /// Sends a payment and takes its report.
    ///
    /// # Errors
    /// As [`Session::send`] and [`Session::receive`].
    pub fn pay(&mut self, payment: &Payment) -> Result<Delivery, ClientError> {
        self.send(payment)?;
        self.receive()
    }

    /// Sends a payment that has to be approved.
    ///
    /// # Panics
    /// If it is not.
    pub fn approve(&mut self, serial: u32) -> Payment {
        let payment = Payment::new(serial);
        let delivery = self.pay(&payment).expect("a report");
        assert_eq!(
            delivery.telegram.mti, *b"3120",
            "payment {serial} was not approved"
        );
        payment
    }

    /// The code of a request that has to end without a report.
    ///
    /// # Panics
    /// If it does not.
    pub fn ended(&mut self) -> u16 {
        match self.receive() {
            Err(ClientError::Ended { code, .. }) => code,
            other => panic!("not the end of a request without a report: {other:?}"),
        }
    }

    /// Where a payment stands.
    ///
    /// # Panics
    /// If the daemon does not say.
    pub fn state(&mut self, payment: &Payment) -> TransactionState {
        self.session.query(&payment.key).expect("an answer").state
    }

    /// Waits until a payment stands so.
    pub fn wait_state(&mut self, payment: &Payment, wanted: TransactionState) {
        until(&format!("a payment that is {wanted:?}"), || {
            (self.state(payment) == wanted).then_some(())
        });
    }

    /// Takes what comes, but waits only this long.
    ///
    /// # Errors
    /// As [`Session::receive`].
    pub fn receive_for(&mut self, wait: Duration) -> Result<Delivery, ClientError> {
        self.session.receive(Wait::For(wait))
    }
}

fn service_name(status: &Status) -> &'static str {
    codec::link::message::SERVICE_STATES[usize::from(status.service)]
}
