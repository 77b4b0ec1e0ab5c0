//! The vectors of the specification's section 8, one test per kind, and its negative tests on V10.

use super::amount::{AmountStyle, AuthAmountStyle};
use super::answer::{Body, open};
use super::callback_open::{Opened, Reason};
use super::codes::Class;
use super::crypt::{DecryptError, decode};
use super::messages::{
    AuthRequest, Mismatch, RefundLine, RefundRequest, RefundStatusRequest, StatusRequest,
};
use super::reply;
use super::request::{PasswordEncoding, RequestWriter, StatusApi, Switches};
use super::sign::{CallbackFields, SignedFields};
use super::test_keys::{
    inbound, request_key, response_hash_key, response_key, vector, vectors, writer,
};
use crate::secret::Secret;

fn body_of(id: &str) -> Body {
    let form = format!(
        "merchId=317157&encData={}",
        vector(id).cipher.expect("a cipher")
    );
    open(form.as_bytes(), &[response_key()], "317157").unwrap_or_else(|e| panic!("{id}: {e}"))
}

fn auth_request() -> AuthRequest {
    AuthRequest {
        merch_txn_id: "GWTEST0000000001".to_owned(),
        merch_txn_date_ist: "2025-01-15 10:30:00".to_owned(),
        amount: 10_000,
        currency: "INR".to_owned(),
        products: Vec::new(),
        sub_channel: None,
        cust_email: "buyer@example.com".to_owned(),
        cust_mobile: "9000000000".to_owned(),
        cust_acc_no: None,
        client_code: None,
        order_id: "ord_1".to_owned(),
    }
}

fn status_request() -> StatusRequest {
    StatusRequest {
        merch_txn_id: "GWTEST0000000001".to_owned(),
        merch_txn_date_ist: "2025-01-15 10:30:00".to_owned(),
        amount: 10_000,
        currency: "INR".to_owned(),
        atom_txn_id: None,
    }
}

fn refund_request() -> RefundRequest {
    RefundRequest {
        merch_txn_id: "GWTEST0000000001".to_owned(),
        atom_txn_id: "11000000900001".to_owned(),
        currency: "INR".to_owned(),
        lines: vec![RefundLine {
            product: String::new(),
            prod_refund_id: "RF0000000001".to_owned(),
            amount: 2_550,
        }],
    }
}

fn refund_status_request() -> RefundStatusRequest {
    RefundStatusRequest {
        atom_txn_id: "11000000900001".to_owned(),
        products: Vec::new(),
    }
}

/// V1: both cipher keys come out of the published texts, and each derivation is counted.
#[test]
fn v1_key_derivation() {
    let before = super::crypt::derivations();
    let v1 = vector("V1");
    assert_eq!(Some(hex::encode(request_key().bytes())), v1.request_key_hex);
    assert_eq!(
        Some(hex::encode(response_key().bytes())),
        v1.response_key_hex
    );
    assert!(super::crypt::derivations() >= before + 2);
}

/// Every vector with plaintext and ciphertext (V2, V9 to V15, V17 to V21) is decrypted and encrypted to the byte, and
/// lower-case hex is read too.
#[test]
fn ciphertexts_both_ways() {
    let (request, response) = (request_key(), response_key());
    let mut walked = 0;
    for vector in vectors() {
        let (Some(plain), Some(cipher)) = (vector.plain, vector.cipher) else {
            continue;
        };
        let key = match vector.key.as_deref() {
            Some("request") => &request,
            _ => &response,
        };
        let id = vector.id;
        assert_eq!(*key.decrypt(&cipher).expect("it decrypts"), plain, "{id}");
        let lower = key.decrypt(&cipher.to_ascii_lowercase());
        assert_eq!(*lower.expect("lower case decrypts"), plain, "{id}");
        assert_eq!(key.encrypt(&plain), cipher, "{id}");
        walked += 1;
    }
    assert_eq!(walked, 13);
}

/// V3, V4, V7, V8a, V8b: request signatures over the literal characters of the amount.
#[test]
fn request_signatures() {
    let (password, key) = (Secret::from("Test@123"), Secret::from("KEY123657234"));
    let sign = |id: &str, merch_id, merch_txn_id, amount| {
        let fields = SignedFields {
            merch_id,
            password: &password,
            merch_txn_id,
            amount,
            currency: "INR",
        };
        let signature = match id {
            "V3" | "V4" => fields.refund(&key),
            "V7" => fields.status(&key),
            _ => fields.status_v2(&key),
        };
        assert_eq!(Some(signature), vector(id).sig, "{id}");
    };
    sign("V3", "317157", "6545e02c9d835", "5");
    sign("V4", "317159", "173821682043", "500.00");
    sign("V7", "446442", "67a44ce2ed4c6", "10.00");
    sign("V8a", "317157", "63d12a8782587dda", "1");
    sign("V8b", "317157", "63d12a8782587dda", "1.00");
}

/// V5, V6, V10, V16a, V16b, V20, V21: callback signatures.
#[test]
fn callback_signatures() {
    let sign = |id: &str, parts: [&str; 6], bank_txn_id: &str| {
        let fields = CallbackFields {
            merch_id: parts[0],
            atom_txn_id: parts[1],
            merch_txn_id: parts[2],
            total: parts[3],
            status_code: parts[4],
            sub_channel: parts[5],
        };
        let vector = vector(id);
        assert_eq!(vector.string, Some(parts.concat() + bank_txn_id), "{id}");
        let signature = fields.signature(&response_hash_key(), bank_txn_id);
        assert_eq!(Some(hex::encode(signature)), vector.sig, "{id}");
    };
    let v5 = [
        "446442",
        "11000000701799",
        "TXN_1761885849611_nrjpw6jpm",
        "100.00",
        "OTS0000",
        "NB",
    ];
    sign("V5", v5, "zzKKzhF6TaL0Amq9Zc98");
    let v6 = [
        "317157",
        "11000000615892",
        "019MC6VE42",
        "336.67",
        "OTS0000",
        "DC",
    ];
    sign("V6", v6, "00110000006158921119");
    let good = [
        "317157",
        "11000000900001",
        "GWTEST0000000001",
        "100.00",
        "OTS0000",
        "CC",
    ];
    sign("V10", good, "0011000000900001001");
    sign("V21", good, "0011000000900001001");
    let dearer = [
        "317157",
        "11000000900001",
        "GWTEST0000000001",
        "900.00",
        "OTS0000",
        "CC",
    ];
    sign("V20", dearer, "0011000000900001001");
    let failed = [
        "317157",
        "11000000900002",
        "GWTEST0000000002",
        "100.00",
        "OTS0600",
        "CC",
    ];
    sign("V16a", failed, "");
    sign("V16b", failed, "null");
}

/// V9, V11, V12, V13: the requests are written to the byte, with all switches at their defaults.
#[test]
fn requests_as_published() {
    let writer = writer(Switches::default());
    let written = [
        ("V9", writer.auth(&auth_request())),
        ("V11", writer.status(&status_request())),
        ("V12", writer.refund(&refund_request())),
        ("V13", writer.refund_status(&refund_status_request())),
    ];
    for (id, text) in written {
        let text = text.unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(Some(text.to_string()), vector(id).plain, "{id}");
    }
}

/// Each switch changes what it is for and nothing else; the signature covers the plain password and the sent number.
#[test]
fn the_switches() {
    let with = |change: fn(&mut Switches)| {
        let mut switches = Switches::default();
        change(&mut switches);
        writer(switches)
    };
    let plain = |id: &str| vector(id).plain.expect("a plaintext");

    let number = with(|s| s.auth_amount_style = AuthAmountStyle::Number);
    let auth = number.auth(&auth_request()).expect("auth");
    assert_eq!(*auth, plain("V9").replace("\"100.00\"", "100.00"));

    let base64 = with(|s| s.status_password_encoding = PasswordEncoding::Base64);
    let status = base64.status(&status_request()).expect("status");
    assert_eq!(*status, plain("V11").replace("Test@123", "VGVzdEAxMjM="));
    let base64 = with(|s| s.refund_password_encoding = PasswordEncoding::Base64);
    let refund = base64.refund(&refund_request()).expect("refund");
    assert_eq!(*refund, plain("V12").replace("Test@123", "VGVzdEAxMjM="));

    let minimal = with(|s| s.amount_style = AmountStyle::Minimal);
    let mut five = refund_request();
    five.lines[0].amount = 500;
    assert_eq!(minimal.refund_amount_text(&five), "5");
    let refund = minimal.refund(&five).expect("refund");
    let signature = SignedFields {
        merch_id: "317157",
        password: &Secret::from("Test@123"),
        merch_txn_id: "GWTEST0000000001",
        amount: "5",
        currency: "INR",
    }
    .refund(&Secret::from("KEY123657234"));
    assert!(refund.contains("\"totalRefundAmount\":5}") && refund.contains(&signature));

    let v2 = with(|s| s.status_api = StatusApi::V2);
    let short = v2.status(&status_request()).expect("status");
    assert!(!short.contains("headDetails") && !short.contains("password"));

    let varied = with(|s| s.vary_prefix = true);
    let early = "{\"payInstrument\":{\"merchDetails\":{\"merchTxnId\":\"GWTEST0000000001\"";
    for text in [
        varied.auth(&auth_request()),
        varied.status(&status_request()),
        varied.refund(&refund_request()),
    ] {
        assert!(text.expect("a request").starts_with(early));
    }
}

/// A request that breaks a limit of the interface is not written, and the error names the field.
#[test]
fn limits_are_named() {
    type Change = fn(&mut AuthRequest);
    let writer: RequestWriter = writer(Switches::default());
    let auth = |change: Change| {
        let mut request = auth_request();
        change(&mut request);
        writer
            .auth(&request)
            .expect_err("a limit is broken")
            .to_string()
    };
    let table: [(Change, &str); 8] = [
        (|r| r.merch_txn_id = "g1".to_owned(), "merchTxnId"),
        (|r| r.merch_txn_id = "G".repeat(33), "merchTxnId"),
        (
            |r| r.merch_txn_date_ist = "2025-01-15T10:30:00".to_owned(),
            "merchTxnDate",
        ),
        (|r| r.amount = 1_000_000_000_000, "payDetails.amount"),
        (|r| r.amount = 0, "payDetails.amount"),
        (|r| r.cust_mobile = "+919000000000".to_owned(), "custMobile"),
        (|r| r.cust_email = String::new(), "custEmail"),
        (|r| r.order_id = "o".repeat(46), "udf1"),
    ];
    for (change, field) in table {
        let message = auth(change);
        assert!(message.contains(field), "{message:?} does not name {field}");
    }
    let mut two_alike = refund_request();
    two_alike.lines.push(two_alike.lines[0].clone());
    let error = writer.refund(&two_alike).expect_err("one id twice");
    assert!(error.to_string().contains("prodRefundId"), "{error}");
}

/// V10 opens, and everything it says arrives; the same ciphertext in lower case has the same digest.
#[test]
fn v10_a_callback() {
    let cipher = vector("V10").cipher.expect("a cipher");
    let keys = inbound();
    let opened = |enc_data: &str| {
        let form = format!("merchId=317157&encData={enc_data}");
        match keys.open(form.as_bytes()).expect("it opens") {
            Opened::Signed(signed) => signed,
            other => panic!("{other:?}"),
        }
    };
    let signed = opened(&cipher);
    let callback = &signed.callback;
    assert_eq!(callback.merch_txn_id, "GWTEST0000000001");
    assert_eq!(callback.atom_txn_id, "11000000900001");
    assert_eq!(callback.reading.class, Class::Success);
    assert_eq!(callback.sub_channel.as_deref(), Some("CC"));
    assert_eq!(callback.bank_txn_id.as_deref(), Some("0011000000900001001"));
    assert_eq!(callback.mismatches(10_000, "INR", "ord_1"), []);
    assert_eq!(
        callback.mismatches(10_000, "INR", "ord_2"),
        [Mismatch::OrderId]
    );
    assert_eq!(signed.enc_data, cipher);
    assert_eq!(opened(&cipher.to_ascii_lowercase()).digest, signed.digest);
}

/// V20: a changed total decrypts and parses, and fails the signature.
#[test]
fn v20_a_changed_total() {
    let form = format!("encData={}", vector("V20").cipher.expect("a cipher"));
    let rejected = inbound()
        .open(form.as_bytes())
        .expect_err("a wrong signature");
    assert_eq!(rejected.reason, Reason::Signature);
    assert_eq!(rejected.trace.claimed_order_id.as_deref(), Some("ord_1"));
    assert_eq!(rejected.trace.key, Some(0), "the current key opened it");
}

/// V21: changed unsigned amounts pass the signature, and the comparison with the attempt catches them.
#[test]
fn v21_changed_unsigned_amounts() {
    let form = format!("encData={}", vector("V21").cipher.expect("a cipher"));
    let Ok(Opened::Signed(signed)) = inbound().open(form.as_bytes()) else {
        panic!("the signature is right");
    };
    let found = signed.callback.mismatches(10_000, "INR", "ord_1");
    assert!(found.contains(&Mismatch::Amount {
        expected: 10_000,
        found: Some(100)
    }));
}

/// V2 and V17 to V19: the answers of the four calls.
#[test]
fn answers() {
    let auth = reply::auth(&body_of("V2")).expect("V2");
    assert_eq!(auth.token.expose(), "15000000085228");

    let status = reply::status(&body_of("V17"), &status_request(), "317157").expect("V17");
    assert_eq!(status.reading.class, Class::Success);
    let transaction = status.transaction.expect("a transaction");
    assert_eq!(transaction.atom_txn_id.as_deref(), Some("11000000900001"));
    assert_eq!(transaction.amounts.mismatches(10_000, "INR"), []);
    assert_eq!(transaction.recon_status.as_deref(), Some("NRNS"));
    assert!(!transaction.is_settled());

    let refund = reply::refund(&body_of("V18"), &refund_request()).expect("V18");
    assert!(refund.is_complete());
    assert_eq!(refund.initiated_total(), 2_550);
    assert_eq!(refund.lines[0].refund_txn_id.as_deref(), Some("700001"));

    let listed = reply::refund_status(&body_of("V19"), &refund_status_request()).expect("V19");
    let entry = listed.find("RF0000000001").expect("our refund");
    assert_eq!(entry.amount, Some(2_550));
    assert_eq!(entry.remarks, "REFUND INITIATED");
}

/// All 7,808 single-bit flips of V10's ciphertext are refused: 151 by the padding, 7,657 by strict UTF-8.
#[test]
fn every_bit_flip_is_refused() {
    let key = response_key();
    let mut blocks = decode(&vector("V10").cipher.expect("a cipher")).expect("hex");
    let (mut padding, mut utf8) = (0, 0);
    for bit in 0..blocks.len() * 8 {
        blocks[bit / 8] ^= 1 << (bit % 8);
        match key.decrypt_bytes(&blocks) {
            Err(DecryptError::Padding) => padding += 1,
            Err(DecryptError::Utf8) => utf8 += 1,
            other => panic!("bit {bit}: {:?}", other.map(|_| "a text")),
        }
        blocks[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!((blocks.len(), padding, utf8), (976, 151, 7_657));
}

/// V10 without its last block, with it twice, without its first, with two swapped, with half a byte less.
#[test]
fn displaced_blocks_are_refused() {
    let key = response_key();
    let hex_text = vector("V10").cipher.expect("a cipher");
    let blocks = decode(&hex_text).expect("hex");
    let outcome = |bytes: &[u8]| key.decrypt_bytes(bytes).map(|_| ()).expect_err("refused");
    let last = blocks.len() - 16;
    assert_eq!(outcome(&blocks[..last]), DecryptError::Padding);
    assert_eq!(
        outcome(&[&blocks[..], &blocks[last..]].concat()),
        DecryptError::Padding
    );
    assert_eq!(outcome(&blocks[16..]), DecryptError::Utf8);
    let swapped = [
        &blocks[..16],
        &blocks[32..48],
        &blocks[16..32],
        &blocks[48..],
    ]
    .concat();
    assert_eq!(outcome(&swapped), DecryptError::Utf8);
    assert_eq!(outcome(&blocks[..last + 8]), DecryptError::Blocks);
    assert_eq!(decode(&hex_text[1..]), Err(DecryptError::Hex));
    assert_eq!(decode(""), Err(DecryptError::Blocks));
}

/// A line without a product's name is the configured product in every message about refunds: asked for by another name,
/// Atom would not list it, and we would take it for never sent.
#[test]
fn an_unnamed_product_is_the_configured_one() {
    let writer = writer(Switches::default());
    let named = RefundStatusRequest {
        products: vec!["NSE".to_owned()],
        ..refund_status_request()
    };
    let unnamed = RefundStatusRequest {
        products: vec![String::new()],
        ..refund_status_request()
    };
    let none = RefundStatusRequest {
        products: Vec::new(),
        ..refund_status_request()
    };
    let text = |request: &RefundStatusRequest| {
        writer
            .refund_status(request)
            .expect("a request")
            .to_string()
    };
    assert!(text(&named).contains(r#""prodName":"NSE""#));
    assert_eq!(text(&unnamed), text(&named));
    assert_eq!(text(&none), text(&named));
}
