//! Answers that do not simply say yes: other shapes, other payments, mixed lines, errors in plain text.

use zeroize::Zeroizing;

use super::answer::{AnswerError, Body, PlainError, Undecodable, open};
use super::codes::{Class, Refusal};
use super::messages::{
    AmountMatch, RefundLine, RefundRequest, RefundStatusRequest, StatusAnswer, StatusRequest,
};
use super::reply::{self, ReplyError};
use super::test_keys::{request_key, response_key};

fn json(text: &str) -> Body {
    Body::Plaintext(Zeroizing::new(text.to_owned()))
}

fn plain_error(code: &str) -> Body {
    Body::PlainError(PlainError {
        code: code.to_owned(),
        message: "FAILED".to_owned(),
        description: "Token generation failed".to_owned(),
    })
}

fn refused<T>(result: Result<T, ReplyError>) -> (String, Refusal) {
    match result.map(|_| ()) {
        Err(ReplyError::Refused { code, refusal }) => (code, refusal),
        other => panic!("{other:?}"),
    }
}

fn contradicts<T>(result: Result<T, ReplyError>) -> &'static str {
    match result.map(|_| ()) {
        Err(ReplyError::Contradiction(what)) => what,
        other => panic!("{other:?}"),
    }
}

/// The seven rules of the answer parser, one by one.
#[test]
fn the_rules_of_the_parser() {
    let keys = [response_key()];
    let read =
        |body: &[u8]| open(body, &keys, "317157").map(|body| matches!(body, Body::PlainError(_)));
    let cipher = response_key().encrypt("{}");
    let good = format!("merchId=317157&encData={cipher}");
    let undecodable = |why: Undecodable| Err(AnswerError::Undecodable(why));

    assert_eq!(
        read(&vec![b'a'; 256 * 1024 + 1]),
        undecodable(Undecodable::TooLong)
    );
    assert_eq!(read(b""), Err(AnswerError::Empty));
    assert_eq!(read(b" \r\n\t"), Err(AnswerError::Empty));
    assert_eq!(
        read(b" {\"encData\":null,\"txnStatusCode\":\"OTS0451\"}"),
        Ok(true)
    );
    assert_eq!(
        read(b"{\"encData\":null}"),
        undecodable(Undecodable::PlainObject)
    );
    assert_eq!(read(b"\n<html>"), Err(AnswerError::Html));
    assert_eq!(read(good.as_bytes()), Ok(false));
    assert_eq!(
        read(format!("encData={cipher}&merchId=317157\r\n").as_bytes()),
        Ok(false)
    );
    assert_eq!(
        read(format!("encData={}", cipher.to_ascii_lowercase()).as_bytes()),
        Ok(false)
    );
    assert_eq!(
        read(format!("{good}&encData={cipher}").as_bytes()),
        undecodable(Undecodable::TwoEncData)
    );
    assert_eq!(read(b"merchId=317157"), undecodable(Undecodable::NoEncData));
    assert_eq!(
        read(format!("merchId=1&encData={cipher}").as_bytes()),
        undecodable(Undecodable::OtherMerchant)
    );
    assert_eq!(
        read(format!("encData={}", &cipher[1..]).as_bytes()),
        undecodable(Undecodable::NotBlocks)
    );
    assert_eq!(
        read(format!("encData={}", &cipher[2..]).as_bytes()),
        undecodable(Undecodable::NotBlocks)
    );
    assert_eq!(read(b"encData=\xff\xfe"), undecodable(Undecodable::NotText));
    let ours = request_key().encrypt("{}");
    assert_eq!(
        read(format!("encData={ours}").as_bytes()),
        undecodable(Undecodable::NoKeyFits)
    );
    let text = response_key().encrypt("not json");
    assert_eq!(
        read(format!("encData={text}").as_bytes()),
        undecodable(Undecodable::Schema)
    );
}

/// A second response key is tried when the first gives no JSON.
#[test]
fn the_old_key_still_opens() {
    let old = response_key().encrypt("{\"a\":1}");
    let keys = [request_key(), response_key()];
    let body = open(format!("encData={old}").as_bytes(), &keys, "317157").expect("it opens");
    assert!(matches!(body, Body::Plaintext(text) if *text == "{\"a\":1}"));
}

/// AUTH: a success needs a token, a refusal has a kind, an internal error is no answer.
#[test]
fn auth() {
    let answer = |code: &str, token: &str| {
        reply::auth(&json(&format!(
            r#"{{"atomTokenId":{token},"responseDetails":{{"txnStatusCode":"{code}","txnMessage":"X"}}}}"#
        )))
    };
    assert_eq!(
        answer("OTS0000", "\"15\"").expect("a token").token.expose(),
        "15"
    );
    for token in ["null", "0", "-5", "1.5", "\"\"", "123456789012345678901"] {
        assert_eq!(
            contradicts(answer("OTS0000", token)),
            "a success without a token"
        );
    }
    assert_eq!(refused(answer("OTS0451", "null")).1, Refusal::Merchant);
    assert_eq!(refused(answer("OTS0639", "null")).1, Refusal::Request);
    assert_eq!(
        refused(reply::auth(&plain_error("OTS0600"))).1,
        Refusal::NewIdMayPass
    );
    assert_eq!(answer("OTS0951", "null"), Err(ReplyError::Internal));
    assert_eq!(
        contradicts(reply::auth(&plain_error("OTS0000"))),
        "a success without encryption"
    );
    let schema = Err(ReplyError::Undecodable(Undecodable::Schema));
    assert_eq!(reply::auth(&json("{}")), schema);
    assert_eq!(reply::auth(&json("[1]")), schema);
}

fn status_request() -> StatusRequest {
    StatusRequest {
        merch_txn_id: "G1".to_owned(),
        merch_txn_date_ist: "2025-01-15 10:30:00".to_owned(),
        amount: 10_000,
        currency: "INR".to_owned(),
        atom_txn_id: None,
    }
}

fn instrument(merchant: &str, code: &str, atom_txn_id: &str) -> String {
    let message = if ["OTS0000", "OTS0002"].contains(&code) {
        "SUCCESS"
    } else {
        "X"
    };
    format!(
        r#"{{"merchDetails":{{{merchant}}},"payDetails":{{"atomTxnId":{atom_txn_id},"amount":100.00,
        "totalAmount":"100.00"}},"responseDetails":{{"statusCode":"{code}","message":"{message}"}}}}"#
    )
}

const OURS: &str = r#""merchId":"317157","merchTxnId":"G1""#;

fn status(instruments: &[String]) -> Result<StatusAnswer, ReplyError> {
    let text = format!("{{\"payInstrument\":[{}]}}", instruments.join(","));
    reply::status(&json(&text), &status_request(), "317157")
}

/// Of several transactions under one id, success beats pending beats failed, in any order.
#[test]
fn status_of_several_transactions() {
    let ours = |code: &str, id: &str| instrument(OURS, code, id);
    let class = |instruments: &[String]| status(instruments).expect("an answer").reading.class;
    let (success, pending, failed) = (
        ours("OTS0000", "1"),
        ours("OTS0551", "2"),
        ours("OTS0101", "3"),
    );
    assert_eq!(
        class(&[failed.clone(), pending.clone(), success.clone()]),
        Class::Success
    );
    assert_eq!(class(&[success.clone(), failed.clone()]), Class::Success);
    assert_eq!(class(&[failed.clone(), pending]), Class::Pending);
    assert_eq!(class(&[failed, ours("OTS0401", "null")]), Class::Failed);

    let twice = status(&[success.clone(), ours("OTS0000", "9")]).expect("an answer");
    assert_eq!(twice.captures_besides(Some("1")).count(), 1);
    let repeated = status(&[success.clone(), success.clone()]).expect("an answer");
    assert_eq!(repeated.captures_besides(Some("1")).count(), 0);
    assert_eq!(
        class(&[success.clone(), ours("OTS0001", "1")]),
        Class::Reversed
    );
    assert_eq!(class(&[ours("OTS0001", "7"), success]), Class::Success);
}

/// Of two captures the first one listed decides, until an attempt has one: then that one does, also when it was given back
/// or is denied, and the other is news of its own.
#[test]
fn status_about_a_known_capture() {
    let ours = |code: &str, id: &str| instrument(OURS, code, id);
    let decides = |answer: &StatusAnswer| {
        let said = answer.transaction.as_ref().expect("a transaction");
        (
            said.atom_txn_id.clone().expect("a number"),
            said.reading.class,
        )
    };
    for (list, first) in [
        ([ours("OTS0000", "1"), ours("OTS0000", "9")], "1"),
        ([ours("OTS0000", "9"), ours("OTS0000", "1")], "9"),
    ] {
        let answer = status(&list).expect("an answer");
        assert_eq!(decides(&answer), (first.to_owned(), Class::Success));
        let about = answer.about("1");
        assert_eq!(decides(&about), ("1".to_owned(), Class::Success));
        let besides: Vec<_> = about.captures_besides(Some("1")).collect();
        assert_eq!(besides.len(), 1);
        assert_eq!(besides[0].atom_txn_id.as_deref(), Some("9"));
    }
    for (code, class) in [("OTS0001", Class::Reversed), ("OTS0101", Class::Failed)] {
        let answer = status(&[ours(code, "1"), ours("OTS0000", "9")]).expect("an answer");
        assert_eq!(decides(&answer), ("9".to_owned(), Class::Success));
        let about = answer.about("1");
        assert_eq!((decides(&about).1, about.reading.class), (class, class));
        assert_eq!(about.captures_besides(Some("1")).count(), 1);
    }
    let unlisted = status(&[ours("OTS0000", "9")])
        .expect("an answer")
        .about("1");
    assert_eq!(decides(&unlisted).0, "9");
}

/// A result counts only if it names our merchant and our attempt; knowing nothing needs no name.
#[test]
fn status_of_somebody_else() {
    for merchant in [
        r#""merchId":"317159","merchTxnId":"G1""#,
        r#""merchId":317157,"merchTxnId":"G2""#,
        r#""merchId":317157"#,
        "",
    ] {
        let answer = status(&[instrument(merchant, "OTS0000", "1")]);
        assert_eq!(contradicts(answer), "no transaction of ours");
    }
    let nothing = status(&[instrument("", "OTS0401", "null")]).expect("an answer");
    assert_eq!(
        (nothing.reading.class, nothing.transaction),
        (Class::NoData, None)
    );
    let foreign = status(&[instrument(r#""merchTxnId":"G2""#, "OTS0401", "null")]);
    assert_eq!(contradicts(foreign), "no transaction of ours");
    assert_eq!(contradicts(status(&[])), "no transaction of ours");
}

/// Errors about our request are refusals, never results of the payment.
#[test]
fn status_request_errors() {
    assert_eq!(
        refused(status(&[instrument("", "OTS0506", "null")])).1,
        Refusal::Signature
    );
    assert_eq!(
        refused(status(&[instrument(OURS, "OTS0522", "null")])).1,
        Refusal::Merchant
    );
    assert_eq!(
        status(&[instrument(OURS, "OTS0951", "null")]),
        Err(ReplyError::Internal)
    );
    let plain = |code| reply::status(&plain_error(code), &status_request(), "317157");
    assert_eq!(refused(plain("OTS0501")).1, Refusal::Request);
    assert_eq!(
        plain("OTS0401").expect("an answer").reading.class,
        Class::NoData
    );
    assert_eq!(plain("OTS0951"), Err(ReplyError::Internal));
    assert_eq!(
        contradicts(plain("OTS0101")),
        "a payment's status without encryption"
    );
}

/// A forced success needs a payment number and agreeing amounts; a plain one needs the number.
#[test]
fn status_of_doubtful_successes() {
    let class = |code, id| {
        status(&[instrument(OURS, code, id)])
            .expect("an answer")
            .reading
            .class
    };
    assert_eq!(class("OTS0002", "1"), Class::Success);
    assert_eq!(class("OTS0002", "null"), Class::Unknown);
    assert_eq!(class("OTS0000", "null"), Class::Hold);
    assert_eq!(class("OTS7777", "1"), Class::Unknown);
    let dearer = instrument(OURS, "OTS0002", "1").replace("100.00", "200.00");
    assert_eq!(
        status(&[dearer]).expect("an answer").reading.class,
        Class::Unknown
    );
}

fn refund_request(amounts: &[i64]) -> RefundRequest {
    let line = |(at, amount): (usize, &i64)| RefundLine {
        product: format!("P{at}"),
        prod_refund_id: format!("RF{at}"),
        amount: *amount,
    };
    RefundRequest {
        merch_txn_id: "G1".to_owned(),
        atom_txn_id: "11".to_owned(),
        currency: "INR".to_owned(),
        lines: amounts.iter().enumerate().map(line).collect(),
    }
}

/// An answer with lines of (id, code, amount).
fn refund_answer(code: &str, total: &str, lines: &[(&str, &str, &str)]) -> Body {
    let lines: Vec<_> = lines
        .iter()
        .map(|(id, code, amount)| {
            format!(
                r#"{{"prodName":"P","refundTxnId":700001,"prodRefundId":"{id}","prodStatusCode":"{code}",
                "prodRefundAmount":{amount}}}"#
            )
        })
        .collect();
    json(&format!(
        r#"{{"payInstrument":{{"payDetails":{{"atomTxnId":11,"prodDetails":[{}],"totalRefundAmount":{total}}},
        "responseDetails":{{"statusCode":"{code}","message":"SUCCESS"}}}}}}"#,
        lines.join(",")
    ))
}

/// A refund is initiated line by line: all, some, none.
#[test]
fn refund_lines() {
    let request = refund_request(&[1_000, 500]);
    let yes = [("RF1", "OTS0000", "5.00"), ("RF0", "OTS0000", "10.00")];
    let all = reply::refund(&refund_answer("OTS0000", "15.00", &yes), &request).expect("initiated");
    assert!(all.is_complete());
    assert_eq!(
        all.lines[0].prod_refund_id, "RF0",
        "in the order of the request"
    );

    let some = [("RF0", "OTS0000", "10.00"), ("RF1", "OTS0405", "5.00")];
    for (code, total) in [
        ("OTS0000", "15.00"),
        ("OTS0000", "10.00"),
        ("OTS0600", "null"),
    ] {
        let mixed = reply::refund(&refund_answer(code, total, &some), &request).expect("mixed");
        assert_eq!(
            (mixed.is_complete(), mixed.initiated_total()),
            (false, 1_000)
        );
    }
    let none = [("RF0", "OTS0405", "10.00"), ("RF1", "OTS0406", "5.00")];
    let answer = |code, lines| reply::refund(&refund_answer(code, "15.00", lines), &request);
    assert_eq!(
        refused(answer("OTS0000", &none)),
        ("OTS0405".to_owned(), Refusal::Business)
    );
    assert_eq!(
        refused(answer("OTS0404", &none)),
        ("OTS0404".to_owned(), Refusal::Business)
    );
    assert_eq!(
        refused(answer("OTS0506", &[])),
        ("OTS0506".to_owned(), Refusal::Signature)
    );
}

/// Whatever does not fit the request is no acceptance and no refusal: the refund stays unknown.
#[test]
fn refund_contradictions() {
    let request = refund_request(&[1_000]);
    let answer =
        |total, lines: &[_]| reply::refund(&refund_answer("OTS0000", total, lines), &request);
    let good = ("RF0", "OTS0000", "10.00");
    assert!(answer("10.00", &[good]).is_ok());
    assert_eq!(contradicts(answer("11.00", &[good])), "another total");
    assert_eq!(
        contradicts(answer("10.00", &[])),
        "not the lines of the request"
    );
    assert_eq!(
        contradicts(answer("10.00", &[good, good])),
        "not the lines of the request"
    );
    assert_eq!(
        contradicts(answer("10.00", &[("RF9", "OTS0000", "10.00")])),
        "not the lines of the request"
    );
    assert_eq!(
        contradicts(answer("10.00", &[("RF0", "OTS0000", "10.01")])),
        "another amount in a line"
    );
    assert_eq!(
        contradicts(answer("10.00", &[("RF0", "OTS0000", "1000")])),
        "another amount in a line"
    );
    assert_eq!(
        contradicts(answer("10.00", &[("RF0", "", "10.00")])),
        "a line without a code"
    );
    assert_eq!(
        answer("10.00", &[("RF0", "OTS0951", "10.00")]),
        Err(ReplyError::Internal)
    );
    let other = RefundRequest {
        atom_txn_id: "12".to_owned(),
        ..request.clone()
    };
    let body = refund_answer("OTS0000", "10.00", &[good]);
    assert_eq!(
        contradicts(reply::refund(&body, &other)),
        "another atomTxnId"
    );
    assert_eq!(
        reply::refund(&plain_error("OTS0951"), &request),
        Err(ReplyError::Internal)
    );
    assert_eq!(
        refused(reply::refund(&plain_error("OTS0600"), &request)).1,
        Refusal::Business
    );
}

/// Refund status comes in two shapes and lists everything; no data is an answer, a missing list is not.
#[test]
fn refund_status() {
    let request = RefundStatusRequest {
        atom_txn_id: "11".to_owned(),
        products: Vec::new(),
    };
    let answer = |code: &str, details: &str| {
        let text = format!(
            r#"{{"payInstrument":{{"payDetails":{{"atomTxnId":"11"}}{details},
            "responseDetails":{{"statusCode":"{code}"}}}}}}"#
        );
        reply::refund_status(&json(&text), &request)
    };
    let entry = r#"{"remarks":"REFUND INITIATED","refundAmt":"2550","prodRefundId":"RF0"}"#;
    let grouped =
        format!(r#","refundStatusDetails":[{{"prodName":"P","refundStatus":[{entry}]}}]"#);
    let flat = format!(r#","refundStatusDetails":{{"refundDetails":[{entry}]}}"#);
    for details in [&grouped, &flat] {
        let listed = answer("OTS0000", details).expect("a list");
        let found = listed.find("RF0").expect("our refund");
        assert_eq!(found.compare(2_550), AmountMatch::Hundredfold);
        assert_eq!(found.compare(255_000), AmountMatch::Equal);
        assert!(listed.find("RF1").is_none());
    }
    assert_eq!(
        answer("OTS0000", r#","refundStatusDetails":[]"#)
            .expect("none")
            .entries,
        []
    );
    assert_eq!(answer("OTS0401", "").expect("none").entries, []);
    assert_eq!(
        contradicts(answer("OTS0000", "")),
        "a success without refundStatusDetails"
    );
    assert_eq!(refused(answer("OTS0522", "")).1, Refusal::Merchant);
    assert_eq!(answer("OTS0951", ""), Err(ReplyError::Internal));
    let other = RefundStatusRequest {
        atom_txn_id: "12".to_owned(),
        ..request.clone()
    };
    let text = format!(
        r#"{{"payInstrument":{{"payDetails":{{"atomTxnId":11}}{flat},"responseDetails":{{"statusCode":"OTS0000"}}}}}}"#
    );
    assert_eq!(
        contradicts(reply::refund_status(&json(&text), &other)),
        "another atomTxnId"
    );
}
