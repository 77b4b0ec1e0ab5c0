//! Callbacks that are not the happy one: failures, forgeries, old keys, odd types, and what the time tells.

use std::time::{Duration, Instant};

use super::callback_open::{Hint, InboundKeys, Opened, Reason, SignedCallback};
use super::codes::Class;
use super::sign::CallbackFields;
use super::test_keys::{derive, inbound, response_hash_key, response_key, vector};
use crate::secret::Secret;

/// A message to be signed and sent; the JSON pieces are literal, so that a test can write what it likes.
#[derive(Clone)]
struct Draft {
    merch_id: &'static str,
    code: &'static str,
    total: &'static str,
    /// `None` leaves the member out.
    bank_json: Option<&'static str>,
    /// What is signed for `bankTxnId`.
    bank_signed: &'static str,
    channel_json: &'static str,
    /// `None` signs rightly.
    signature_json: Option<String>,
}

fn failed() -> Draft {
    Draft {
        merch_id: "317157",
        code: "OTS0600",
        total: "100.00",
        bank_json: Some("\"\""),
        bank_signed: "",
        channel_json: "[\"CC\"]",
        signature_json: None,
    }
}

fn paid() -> Draft {
    Draft {
        code: "OTS0000",
        bank_json: Some("\"0011\""),
        bank_signed: "0011",
        ..failed()
    }
}

impl Draft {
    fn signature(&self) -> String {
        let fields = CallbackFields {
            merch_id: self.merch_id,
            atom_txn_id: "11000000900002",
            merch_txn_id: "GWTEST0000000002",
            total: "100.00",
            status_code: self.code,
            sub_channel: "CC",
        };
        hex::encode(fields.signature(&response_hash_key(), self.bank_signed))
    }

    fn json(&self) -> String {
        let signature = match &self.signature_json {
            Some(json) => json.clone(),
            None => format!("{:?}", self.signature()),
        };
        let bank = match self.bank_json {
            Some(json) => format!("\"bankTxnId\":{json}"),
            None => String::new(),
        };
        let message = if self.code == "OTS0000" {
            "SUCCESS"
        } else {
            "FAILED"
        };
        format!(
            r#"{{"payInstrument":{{"merchDetails":{{"merchId":{},"merchTxnId":"GWTEST0000000002"}},
            "payDetails":{{"atomTxnId":11000000900002,"amount":100.00,"totalAmount":{},"signature":{signature}}},
            "payModeSpecificData":{{"subChannel":{},"bankDetails":{{{bank}}}}},"extras":{{"udf1":"ord_2"}},
            "responseDetails":{{"statusCode":"{}","message":"{message}"}}}}}}"#,
            self.merch_id, self.total, self.channel_json, self.code
        )
    }

    fn open(&self) -> Result<Opened, Reason> {
        open(&inbound(), &response_key().encrypt(&self.json()))
    }

    fn opened(&self) -> Box<SignedCallback> {
        match self.open() {
            Ok(Opened::Signed(signed)) => signed,
            other => panic!("{other:?}"),
        }
    }
}

fn open(keys: &InboundKeys, enc_data: &str) -> Result<Opened, Reason> {
    let form = format!("merchId=317157&encData={enc_data}");
    keys.open(form.as_bytes())
        .map_err(|rejected| rejected.reason)
}

/// V16a, V16b: a failure without a bank number is accepted whether nothing or the word `null` was signed, and whether
/// the member is empty, null or missing.
#[test]
fn v16_failures_without_a_bank_number() {
    for bank_json in [Some("\"\""), Some("null"), None] {
        for (id, bank_signed) in [("V16a", ""), ("V16b", "null")] {
            let draft = Draft {
                bank_json,
                bank_signed,
                ..failed()
            };
            assert_eq!(Some(draft.signature()), vector(id).sig);
            let callback = draft.opened().callback;
            assert_eq!(callback.reading.class, Class::Failed);
            assert_eq!(callback.bank_txn_id, None);
        }
    }
}

/// A success without a bank number fails the verification, however it was signed.
#[test]
fn a_success_needs_a_bank_number() {
    assert_eq!(paid().opened().callback.reading.class, Class::Success);
    for bank_json in [Some("\"\""), Some("null"), None] {
        for bank_signed in ["", "null"] {
            let draft = Draft {
                bank_json,
                bank_signed,
                ..paid()
            };
            assert_eq!(draft.open().err(), Some(Reason::Signature));
        }
    }
}

/// A present bank number must be the signed one: the two candidates are for an absent one only.
#[test]
fn a_bank_number_is_not_optional() {
    let draft = Draft {
        bank_json: Some("\"0011\""),
        ..failed()
    };
    assert_eq!(draft.open().err(), Some(Reason::Signature));
}

/// Types vary: numbers as texts, texts as numbers, a channel without its list, a signature in capitals.
#[test]
fn lenient_types() {
    let as_text = Draft {
        total: "\"100.00\"",
        channel_json: "\"CC\"",
        bank_json: Some("4711"),
        bank_signed: "4711",
        ..paid()
    };
    assert_eq!(as_text.opened().callback.amounts.total, Some(10_000));
    let short = Draft {
        total: "100",
        ..paid()
    };
    assert_eq!(short.opened().callback.amounts.total, Some(10_000));
    let upper = Draft {
        signature_json: Some(format!("{:?}", paid().signature().to_ascii_uppercase())),
        ..paid()
    };
    upper.opened();
}

/// A right signature does not help another merchant's message.
#[test]
fn another_merchant() {
    let draft = Draft {
        merch_id: "317159",
        ..paid()
    };
    assert_eq!(draft.open().err(), Some(Reason::Merchant));
}

/// A message without a signature is never more than a reason to ask; a wrong one is refused.
#[test]
fn without_a_signature() {
    for json in ["null", "\"\""] {
        let draft = Draft {
            signature_json: Some(json.to_owned()),
            ..paid()
        };
        let opened = draft.open().expect("it decrypts");
        assert!(
            matches!(opened, Opened::Unsigned { merch_txn_id, .. } if merch_txn_id == "GWTEST0000000002")
        );
    }
    let right = paid().signature();
    for wrong in [
        "ab".repeat(64),
        right[2..].to_owned(),
        format!("{right}00"),
        "null".to_owned(),
    ] {
        let draft = Draft {
            signature_json: Some(format!("{wrong:?}")),
            ..paid()
        };
        assert_eq!(draft.open().err(), Some(Reason::Signature));
    }
}

/// Amounts in forms that the scheme has no rule for make the message unreadable.
#[test]
fn amounts_are_strict() {
    for total in [
        "1e2",
        "100.001",
        "-100.00",
        "null",
        "\"1,00\"",
        "1000000000000",
    ] {
        let draft = Draft { total, ..paid() };
        assert_eq!(draft.open().err(), Some(Reason::Decrypt), "{total}");
    }
}

/// During a change of keys, messages under the old keys still arrive, and under keys given up they do not.
#[test]
fn keys_change() {
    let keys = |ciphers, signatures| InboundKeys::new(ciphers, signatures, "317157".to_owned());
    let enc_data = vector("V10").cipher.expect("a cipher");
    let new_cipher = || derive("0123456789ABCDEF0123456789ABCDEF");
    let new_hash = || Secret::from("KEYNEW");
    let both = keys(
        vec![new_cipher(), response_key()],
        vec![new_hash(), response_hash_key()],
    );
    assert!(matches!(open(&both, &enc_data), Ok(Opened::Signed(_))));
    let given_up = keys(vec![new_cipher()], vec![new_hash(), response_hash_key()]);
    assert_eq!(open(&given_up, &enc_data).err(), Some(Reason::Decrypt));
    let hash_given_up = keys(vec![new_cipher(), response_key()], vec![new_hash()]);
    assert_eq!(
        open(&hash_given_up, &enc_data).err(),
        Some(Reason::Signature)
    );
}

/// What is not a form with one ciphertext is told apart inside, and the words of mobile kits are hints.
#[test]
fn what_is_no_message() {
    let keys = inbound();
    let reason = |body: &str| keys.open(body.as_bytes()).expect_err("refused").reason;
    let cipher = vector("V10").cipher.expect("a cipher");
    assert_eq!(reason(""), Reason::NoEncData);
    assert_eq!(reason("merchId=317157"), Reason::NoEncData);
    assert_eq!(
        reason(&format!("encData={cipher}&encData={cipher}")),
        Reason::Form
    );
    assert_eq!(reason(&format!("encData={}", &cipher[1..])), Reason::Form);
    assert_eq!(reason(&format!("encData={}", &cipher[2..])), Reason::Form);
    assert_eq!(reason("encData="), Reason::Form);
    assert_eq!(
        reason(&format!("encData={}", "00".repeat(24 * 1024 + 16))),
        Reason::Form
    );
    assert_eq!(
        reason(&format!("encData={cipher}&x={}", "x".repeat(64 * 1024))),
        Reason::Form
    );
    assert_eq!(
        reason(&format!("encData={}", &cipher[32..])),
        Reason::Decrypt
    );
    let hint = |body: &str| keys.open(body.as_bytes()).expect("a hint");
    assert!(matches!(
        hint("encData=cancelTransaction"),
        Opened::Hint(Hint::CancelTransaction)
    ));
    assert!(matches!(
        hint("encData=sessionTimeout"),
        Opened::Hint(Hint::SessionTimeout)
    ));
}

/// Deep nesting is refused before it is parsed.
#[test]
fn deep_nesting() {
    let deep = format!(
        "{{\"payInstrument\":{}{}}}",
        "[".repeat(3_000),
        "]".repeat(3_000)
    );
    assert_eq!(
        open(&inbound(), &response_key().encrypt(&deep)).err(),
        Some(Reason::Decrypt)
    );
}

/// A failed decryption, a wrong padding and a wrong signature take about the same time, so time is no oracle. The
/// fastest of many interleaved runs is compared, which a busy machine disturbs least.
#[test]
fn the_time_of_a_refusal() {
    let keys = inbound();
    let wrong_signature = vector("V20").cipher.expect("a cipher");
    let right = vector("V10").cipher.expect("a cipher");
    let no_text = format!("{}00{}", &right[..64], &right[66..]);
    let no_padding = format!("{}00", &right[..right.len() - 2]);
    let bodies = [wrong_signature, no_text, no_padding].map(|enc| format!("encData={enc}"));
    let mut fastest = [Duration::MAX; 3];
    for _ in 0..1_500 {
        for (body, best) in bodies.iter().zip(&mut fastest) {
            let began = Instant::now();
            keys.open(body.as_bytes()).expect_err("refused");
            *best = began.elapsed().min(*best);
        }
    }
    let slowest = fastest.iter().max().expect("three times").as_nanos();
    let quickest = fastest.iter().min().expect("three times").as_nanos();
    assert!(
        slowest * 2 < quickest * 3,
        "the three refusals take {fastest:?}"
    );
}
