//! The simulator's messages are, character for character, those of the vectors that both sides are held to.

use std::path::Path;

use serde_json::Value;

use super::auth;
use super::callback;
use super::clock::{Clock, parse_indian};
use super::config::{Identity, Keys, RefundStatusShape, StatusShape, Switches};
use super::faults::{BankTxnId, Fault};
use super::inbound::{Envelope, Request};
use super::pay::{self, Outcome, PayOrder, Then};
use super::status::{self, Form};
use super::world::World;
use super::{refund, wire};

struct Vectors(Vec<Value>);

impl Vectors {
    fn read() -> Vectors {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../commerce/tests/data/atom_vectors.json");
        let text = std::fs::read_to_string(file).expect("the vectors are there");
        Vectors(serde_json::from_str(&text).expect("the vectors are JSON"))
    }

    fn get(&self, id: &str, member: &str) -> String {
        let vector = self.0.iter().find(|vector| vector["id"] == id);
        let text = vector.and_then(|vector| vector[member].as_str());
        text.unwrap_or_else(|| panic!("vector {id} has no {member}"))
            .to_owned()
    }

    /// The request of a vector, read as the wire is read.
    fn request(&self, keys: &Keys, id: &str) -> Request {
        let form = wire::form("317157", &self.get(id, "cipher"));
        wire::open(keys, form.as_bytes()).unwrap_or_else(|error| panic!("{id}: {error}"))
    }
}

fn at(time: &str) -> Clock {
    Clock::at(parse_indian(time).expect("a time"), false)
}

fn order(token: u64) -> PayOrder {
    PayOrder {
        token,
        outcome: Outcome::Success,
        channel: Some("CC".to_owned()),
        code: None,
        then: Then::Success,
        after_s: None,
        stay: false,
        wait: false,
        lost: false,
    }
}

/// V9's request is paid for by V10's callback, asked for by V11, answered by V17, refunded by V12 and V18, and V13 lists what
/// V19 says.
#[test]
fn a_payment_of_the_vectors() {
    let vectors = Vectors::read();
    let keys = Keys::derive(Identity::default());
    let mut world = World::new(1, at("2025-01-15 10:30:05"), Switches::default());
    let (answer, token) = auth::answer(&mut world, &keys, &vectors.request(&keys, "V9"), &[]);
    assert_eq!(answer.code, "OTS0000", "{}", answer.plain);
    let paid = pay::pay(&mut world, &keys, &order(token.expect("a token"))).expect("it is paid");
    let id = paid.atom_txn_id.expect("a payment");
    let payment = world.payments.get_mut(&id).expect("it is known");
    payment.decided_ms += 35_000;
    let payment = payment.clone();
    let token = &world.tokens[&payment.token];
    let plain = callback::compose(&keys, token, &payment, &payment.said(), &[]);
    assert_eq!(plain, vectors.get("V10", "plain"));

    let asked = vectors.request(&keys, "V11");
    let status = status::answer(&world, &keys, &asked, Form::TxnVerification, &[]);
    assert_eq!(status.plain, vectors.get("V17", "plain"));

    world.clock = at("2025-01-16 09:00:00");
    let asked = vectors.request(&keys, "V12");
    let refund = refund::answer(&mut world, &keys, &asked, &[]);
    assert_eq!(refund.plain, vectors.get("V18", "plain"));
    let asked = vectors.request(&keys, "V13");
    let listed = refund::status(&world, &keys, &asked, &[]);
    assert_eq!(listed.plain, vectors.get("V19", "plain"));

    world.switches.status_shape = StatusShape::Array;
    world.switches.refund_status_shape = RefundStatusShape::Object;
    let asked = vectors.request(&keys, "V11");
    let status = status::answer(&world, &keys, &asked, Form::TxnVerification, &[]);
    let array: Value = serde_json::from_str(&status.plain).expect("JSON");
    assert_eq!(
        array["payInstrument"][0]["responseDetails"]["statusCode"],
        "OTS0000"
    );
    let asked = vectors.request(&keys, "V13");
    let listed: Value =
        serde_json::from_str(&refund::status(&world, &keys, &asked, &[]).plain).expect("JSON");
    let first = &listed["payInstrument"]["refundStatusDetails"]["refundDetails"][0];
    assert_eq!(first["prodRefundId"], "RF0000000001");
    let code = Fault::Code {
        code: "OTS0951".to_owned(),
        message: "FAILED".to_owned(),
    };
    let refused = refund::status(&world, &keys, &asked, &[code]);
    assert_eq!(refused.code, "OTS0951", "a fault's code, and no list");
    assert!(!refused.plain.contains("refundStatusDetails"));
}

/// Each field of AUTH that is wrong is refused with a code of its own kind, and nothing is issued.
#[test]
fn auth_refuses_what_is_wrong() {
    let vectors = Vectors::read();
    let keys = Keys::derive(Identity::default());
    let good = vectors.get("V9", "plain");
    let cases = [
        ("\"AUTH\"", "\"AUTHX\"", 400, "OTS0600"),
        (
            "\"merchId\":\"317157\"",
            "\"merchId\":\"317158\"",
            403,
            "OTS0451",
        ),
        ("Test@123", "Test@124", 401, "OTS0600"),
        ("GWTEST0000000001", "", 400, "OTS0638"),
        ("2025-01-15 10:30:00", "2025-01-15T10:30:00", 400, "OTS0640"),
        ("2025-01-15 10:30:00", "2025-01-15 10:30:06", 400, "OTS0639"),
        ("\"100.00\"", "\"0.00\"", 400, "OTS0621"),
        ("\"100.00\"", "\"1e2\"", 400, "OTS0621"),
        ("\"100.00\"", "\"12345678901.00\"", 400, "OTS0621"),
        ("\"NSE\"", "\"XYZ\"", 400, "OTS0600"),
        ("\"product\":\"NSE\",", "", 400, "OTS0638"),
        (
            "\"product\":\"NSE\",",
            "\"prodDetails\":[{\"prodName\":\"NSE\",\"prodAmount\":99.00}],",
            400,
            "OTS0626",
        ),
        ("INR", "USD", 400, "OTS0600"),
        ("buyer@example.com", "buyer", 400, "OTS0600"),
        ("9000000000", "+91 9000000000", 400, "OTS0600"),
        (
            "ord_1",
            "o123456789o123456789o123456789o123456789o12345",
            400,
            "OTS0600",
        ),
        (
            "\"extras\"",
            "\"payModeSpecificData\":{\"subChannel\":\"ZZ\"},\"extras\"",
            400,
            "OTS0603",
        ),
    ];
    for (from, to, http, code) in cases {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from} is in the message");
        let envelope: Envelope = serde_json::from_str(&text).expect("JSON");
        let mut world = World::new(1, at("2025-01-15 10:30:05"), Switches::default());
        let (answer, token) = auth::answer(&mut world, &keys, &envelope.instrument, &[]);
        assert_eq!(
            (answer.http, answer.code.as_str()),
            (http, code),
            "{from} -> {to}"
        );
        assert_eq!((token, world.tokens.len()), (None, 0), "{from} -> {to}");
        assert!(answer.open && answer.plain.contains("\"encData\":null"));
    }
}

/// A failed payment is signed like V16a, or like V16b where `null` is signed as a word; an amount that was changed under its
/// signature is V21's message, and what V20's message keeps is not its signature.
#[test]
fn signatures_of_the_other_vectors() {
    let vectors = Vectors::read();
    let keys = Keys::derive(Identity::default());
    let mut world = World::new(1, at("2025-01-15 10:30:05"), Switches::default());
    let mut made = Vec::new();
    for (id, outcome) in [("1", Outcome::Success), ("2", Outcome::Failed)] {
        let number = format!("GWTEST000000000{id}");
        let text = vectors
            .get("V9", "plain")
            .replace("GWTEST0000000001", &number);
        let envelope: Envelope = serde_json::from_str(&text).expect("JSON");
        let (_, token) = auth::answer(&mut world, &keys, &envelope.instrument, &[]);
        let mut order = order(token.expect("a token"));
        order.outcome = outcome;
        made.push(
            pay::pay(&mut world, &keys, &order)
                .expect("it is done")
                .atom_txn_id,
        );
    }
    let signature = |number: usize, faults: &[Fault]| {
        let payment = &world.payments[&made[number].expect("a payment")];
        let token = &world.tokens[&payment.token];
        let plain = callback::compose(&keys, token, payment, &payment.said(), faults);
        let message: Value = serde_json::from_str(&plain).expect("JSON");
        message["payInstrument"]["payDetails"]["signature"].clone()
    };
    let form = BankTxnId::NullSigned;
    assert_eq!(signature(1, &[]), vectors.get("V16a", "sig"));
    assert_eq!(
        signature(1, &[Fault::BankTxnId { form }]),
        vectors.get("V16b", "sig")
    );
    assert_eq!(
        signature(0, &[Fault::AmountChanged]),
        vectors.get("V21", "sig")
    );
    assert_ne!(signature(0, &[]), vectors.get("V20", "sig"));
    assert_eq!(signature(0, &[Fault::NullSignature]), Value::Null);
}
