//! No bytes from outside make a parser panic, and none that were tampered with pass as signed.
//!
//! A seeded mutator works on the vectors: it is fast enough for a million inputs in a test, and a failing seed fails
//! again.

use super::answer::{Body, open};
use super::callback_open::Opened;
use super::messages::{RefundLine, RefundRequest, RefundStatusRequest, StatusRequest};
use super::reply;
use super::test_keys::{inbound, response_key, vectors};
use zeroize::Zeroizing;

/// Inputs in all.
const INPUTS: u32 = 1_000_000;

/// One in so many inputs is a plaintext that is encrypted again and opened as a callback, which costs more.
const CALLBACK_EVERY: u32 = 40;

/// Pieces that parsers care about.
const PIECES: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "null",
    "1e999",
    "-1",
    "0.001",
    "99999999999999999999",
    "&",
    "=",
    "encData=",
    "%",
    "\u{0}",
    "₹",
    "<html>",
];

struct Mutator(u64);

impl Mutator {
    fn next(&mut self) -> u64 {
        // Xorshift: small, fast, and the same everywhere.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(12)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                3 => bytes.truncate(at),
                _ => {
                    let piece = PIECES[self.below(PIECES.len())].bytes();
                    bytes.splice(at..at, piece);
                }
            }
        }
    }
}

/// A million mutated inputs go through the answer parser, the four readers and the callback opener. None panics, and a
/// callback that still opens as signed says what the signature covers.
#[test]
fn a_million_inputs() {
    let keys = inbound();
    let cipher = response_key();
    let rows = vectors();
    let plains: Vec<_> = rows.iter().filter_map(|row| row.plain.as_ref()).collect();
    let ciphers: Vec<_> = rows.iter().filter_map(|row| row.cipher.as_ref()).collect();
    let mut mutator = Mutator(0x5e_c150);
    let mut signed = 0u32;
    for n in 0..INPUTS {
        if n % 4 == 0 {
            let mut form = format!(
                "merchId=317157&encData={}",
                ciphers[mutator.below(ciphers.len())]
            );
            // Most of a long hex text is alike, so the mutated form is cut to stay cheap.
            form.truncate(200);
            let mut bytes = form.into_bytes();
            mutator.mutate(&mut bytes);
            let _ = open(&bytes, keys.ciphers(), "317157");
            continue;
        }
        let mut bytes = plains[mutator.below(plains.len())].clone().into_bytes();
        mutator.mutate(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if n % CALLBACK_EVERY == 1 {
            let form = format!("encData={}", cipher.encrypt(&text));
            if let Ok(Opened::Signed(opened)) = keys.open(form.as_bytes()) {
                assert_eq!(
                    opened.callback.merch_txn_id, "GWTEST0000000001",
                    "input {n}"
                );
                assert_eq!(opened.callback.amounts.total, Some(10_000), "input {n}");
                signed += 1;
            }
            continue;
        }
        read_all(&Body::Plaintext(Zeroizing::new(text)));
    }
    // Mutations of unsigned fields leave a message that is rightly signed; the sampling must reach some of them.
    assert!(signed > 0, "no mutated callback kept its signature");
}

fn read_all(body: &Body) {
    let status = StatusRequest {
        merch_txn_id: "GWTEST0000000001".to_owned(),
        merch_txn_date_ist: "2025-01-15 10:30:00".to_owned(),
        amount: 10_000,
        currency: "INR".to_owned(),
        atom_txn_id: None,
    };
    let refund = RefundRequest {
        merch_txn_id: "GWTEST0000000001".to_owned(),
        atom_txn_id: "11000000900001".to_owned(),
        currency: "INR".to_owned(),
        lines: vec![RefundLine {
            product: String::new(),
            prod_refund_id: "RF0000000001".to_owned(),
            amount: 2_550,
        }],
    };
    let refund_status = RefundStatusRequest {
        atom_txn_id: "11000000900001".to_owned(),
        products: Vec::new(),
    };
    let _ = reply::auth(body);
    let _ = reply::status(body, &status, "317157");
    let _ = reply::refund(body, &refund);
    let _ = reply::refund_status(body, &refund_status);
}
