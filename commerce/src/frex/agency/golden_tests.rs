//! The messages of `spec/frex.md` 6.2 to 6.6 byte by byte, answers that break the contract, and bytes of any kind.

use proptest::prelude::*;
use time::macros::date;

use super::codes::Codes;
use super::design::{self, Entry};
use super::items::{
    AuthorizationQuery, Bill, Cancel, LookupQuery, Processed, ProcessedStatus, ResultQuery,
    ScreeningWord, Update,
};
use super::matching::Asked;
use super::samples;
use super::*;
use crate::frex::key::{RequestKey, RequestType};

const ORDER: &str = "F20250115-0001";

fn key(kind: RequestType, seq: u32) -> RequestKey {
    RequestKey::new(ORDER, kind, seq)
}

fn np() -> NpTransactionId {
    NpTransactionId::parse("18000000001").unwrap()
}

fn result_query(kind: RequestType) -> ResultQuery {
    ResultQuery {
        request_key: key(kind, 0),
        request_type: kind,
        accept_no: AcceptNo::parse("A000000123").unwrap(),
    }
}

fn lookup_query() -> LookupQuery {
    LookupQuery {
        request_key: key(RequestType::BillingReg, 0),
        shop_transaction_id: ORDER.into(),
        np_transaction_id: None,
    }
}

fn body<I: Item>(item: &I) -> String {
    String::from_utf8(design::requests(&[item])).unwrap()
}

fn asked(call: Call, codes: &Codes) -> Asked<'_> {
    Asked { call, codes }
}

fn read<I: Item, T: Entry<I>>(call: Call, items: &[&I], body: &str) -> Answer<T> {
    T::decode(asked(call, &Codes::default()), body.as_bytes(), items).unwrap()
}

/// Every request goes out in the bytes of the protocol, and the same bytes each time.
#[test]
fn requests_are_these_bytes() {
    let registration = samples::registration(ORDER, 11_000);
    assert_eq!(
        body(&registration),
        r#"{"requests":[{"requestKey":"F20250115-0001:ORDER_REG:0","shopTransactionId":"F20250115-0001","shopOrderDate":"2025-01-15","billedAmount":11000,"transactionDetails":[{"detail":"Flyer printing A4","price":10000,"quantity":1,"billedTaxKind":"T10"}],"taxRateSummaries":[{"taxRate":10,"totalAmount":11000}],"buyer":{"npBuyerId":"","companyName":"Example KK","department":"Sales","customerName":"Sample Buyer","zipCode":"1000001","address":"Tokyo Chiyoda 1-1","telNo":"0300000000","email":"buyer@example.com"},"deliveryInfo":{"companyName":"Example KK","department":"","customerName":"Sample Buyer","zipCode":"1000001","address":"Tokyo Chiyoda 1-1","telNo":"0300000000"}}]}"#
    );
    assert_eq!(registration.digest(), registration.clone().digest());
    let (transaction_details, tax_rate_summaries) = samples::goods(9_900);
    let update = Update {
        request_key: key(RequestType::UpdateReg, 1),
        np_transaction_id: np(),
        billed_amount: 9_900,
        transaction_details,
        tax_rate_summaries,
    };
    assert_eq!(
        body(&update),
        r#"{"requests":[{"requestKey":"F20250115-0001:UPDATE_REG:1","npTransactionId":"18000000001","billedAmount":9900,"transactionDetails":[{"detail":"Flyer printing A4","price":9000,"quantity":1,"billedTaxKind":"T10"}],"taxRateSummaries":[{"taxRate":10,"totalAmount":9900}]}]}"#
    );
    let cancel = Cancel {
        request_key: key(RequestType::DeleteReg, 0),
        np_transaction_id: np(),
    };
    assert_eq!(
        body(&cancel),
        r#"{"requests":[{"requestKey":"F20250115-0001:DELETE_REG:0","npTransactionId":"18000000001"}]}"#
    );
    let bill = Bill {
        request_key: key(RequestType::BillingReg, 0),
        np_transaction_id: np(),
        billed_amount: 9_900,
        bill_issue_base_date: date!(2025 - 01 - 20),
    };
    assert_eq!(
        body(&bill),
        r#"{"requests":[{"requestKey":"F20250115-0001:BILLING_REG:0","npTransactionId":"18000000001","billedAmount":9900,"billIssueBaseDate":"2025-01-20"}]}"#
    );
    assert_eq!(
        body(&result_query(RequestType::OrderReg)),
        r#"{"requests":[{"requestKey":"F20250115-0001:ORDER_REG:0","requestType":"ORDER_REG","acceptNo":"A000000123"}]}"#
    );
    let screening = AuthorizationQuery {
        np_transaction_id: np(),
    };
    assert_eq!(
        body(&screening),
        r#"{"requests":[{"npTransactionId":"18000000001"}]}"#
    );
    assert_eq!(
        body(&lookup_query()),
        r#"{"requests":[{"requestKey":"F20250115-0001:BILLING_REG:0","shopTransactionId":"F20250115-0001"}]}"#
    );
    assert_eq!(design::requests::<Cancel>(&[]), br#"{"requests":[]}"#);
    let two = design::requests(&[&screening, &screening]);
    assert_eq!(two.iter().filter(|&&byte| byte == b',').count(), 1);
}

/// The answer of 6.2: one item accepted, one refused, each for its own item and in our order.
#[test]
fn an_acceptance_and_a_refusal() {
    let items = ["F20250115-0002", ORDER].map(|order| samples::registration(order, 11_000));
    let answer: Answer<Acceptance> = read(
        Call::Register,
        &[&items[0], &items[1]],
        r#"{"results":[{"requestKey":"F20250115-0001:ORDER_REG:0","acceptNo":"A000000123"}],
            "errors":[{"requestKey":"F20250115-0002:ORDER_REG:0","codes":["E_ADDRESS"],"message":"address not recognised"}]}"#,
    );
    assert_eq!(answer.violations, []);
    let Outcome::Refused(refusal) = &answer.outcomes[0] else {
        panic!("{:?}", answer.outcomes[0]);
    };
    assert_eq!(refusal.codes, ["E_ADDRESS"]);
    assert!(!refusal.response.contains("recognised"));
    let accept_no = AcceptNo::parse("A000000123").unwrap();
    assert!(
        matches!(&answer.outcomes[1], Outcome::Answered { value, .. } if value.accept_no == accept_no)
    );
}

/// The answers of 6.4, 6.5 and 6.6, and the alias of the screening word.
#[test]
fn the_answers_of_the_reads() {
    let query = result_query(RequestType::OrderReg);
    let answer: Answer<Processed> = read(
        Call::Results,
        &[&query],
        r#"{"results":[{"requestKey":"F20250115-0001:ORDER_REG:0","acceptNo":"A000000123","requestType":"ORDER_REG","status":"DONE",
            "npTransactionId":"18000000001","shopTransactionId":"F20250115-0001","billedAmount":11000,"codes":[],"processedAt":"2025-01-15T01:02:03Z"}],"errors":[]}"#,
    );
    let processed = Processed {
        status: ProcessedStatus::Done,
        np_transaction_id: Some(np()),
        shop_transaction_id: Some(ORDER.into()),
        billed_amount: Some(11_000),
        codes: vec![],
        processed_at: Some("2025-01-15T01:02:03Z".into()),
    };
    assert!(matches!(&answer.outcomes[0], Outcome::Answered { value, .. } if *value == processed));
    let query = AuthorizationQuery {
        np_transaction_id: np(),
    };
    for name in ["authoriResult", "authorResult"] {
        let body = format!(
            r#"{{"results":[{{"npTransactionId":"18000000001","{name}":"10","authoriNg":null,"authoriHold":["RE009"],"authoriRequiredDate":"2025-01-15T02:00:00Z"}}],"errors":[]}}"#
        );
        let answer: Answer<Screening> = read(Call::Authorizations, &[&query], &body);
        let screening = Screening {
            word: ScreeningWord::Held,
            authori_result: "10".into(),
            ng: None,
            hold: vec!["RE009".into()],
            required_date: Some("2025-01-15T02:00:00Z".into()),
        };
        assert!(
            matches!(&answer.outcomes[0], Outcome::Answered { value, .. } if *value == screening)
        );
    }
    let missing: Answer<Screening> = read(
        Call::Authorizations,
        &[&query],
        r#"{"results":[{"npTransactionId":"18000000001"}]}"#,
    );
    assert!(
        matches!(&missing.outcomes[0], Outcome::Answered { value, .. }
        if value.word == ScreeningWord::Other(String::new()))
    );
    let answer: Answer<Lookup> = read(
        Call::Lookup,
        &[&lookup_query()],
        r#"{"results":[{"requestKey":"F20250115-0001:BILLING_REG:0","found":true,"acceptNo":"A000000130","receivedAt":"2025-01-20T00:10:00Z"}],"errors":[]}"#,
    );
    assert!(
        matches!(&answer.outcomes[0], Outcome::Answered { value: Lookup::Found(found), .. }
        if found.by == FoundBy::RequestKey && found.accept_no.as_str() == "A000000130")
    );
}

/// Each way of breaking the contract leaves the items concerned in the dark, names the way, and touches no other item.
#[test]
fn broken_contracts_are_named() {
    use ViolationKind as Kind;
    let items = ["F-1", "F-2"].map(|order| samples::registration(order, 11_000));
    let good = r#"{"requestKey":"F-1:ORDER_REG:0","acceptNo":"A1"}"#;
    let other = r#"{"requestKey":"F-2:ORDER_REG:0","acceptNo":"A2"}"#;
    let error = r#"{"requestKey":"F-2:ORDER_REG:0","codes":["E0100113"]}"#;
    let cases: [(&str, &str, &[Kind], usize); 12] = [
        (other, "", &[], 2),
        ("", "", &[Kind::Missing], 1),
        (&format!("{other},{other}"), "", &[Kind::Twice], 1),
        ("", &format!("{error},{error}"), &[Kind::Twice], 1),
        (other, error, &[Kind::InBoth], 1),
        (
            r#"{"requestKey":"F-3:ORDER_REG:0","acceptNo":"A3"}"#,
            "",
            &[Kind::Foreign, Kind::Missing],
            1,
        ),
        (
            r#"{"requestKey":7}"#,
            "",
            &[Kind::Foreign, Kind::Missing],
            1,
        ),
        (
            r#""F-2:ORDER_REG:0""#,
            "",
            &[Kind::Foreign, Kind::Missing],
            1,
        ),
        (
            r#"{"requestKey":"F-2:ORDER_REG:0"}"#,
            "",
            &[Kind::Malformed],
            1,
        ),
        (
            r#"{"requestKey":"F-2:ORDER_REG:0","acceptNo":"A 2"}"#,
            "",
            &[Kind::Malformed],
            1,
        ),
        (
            "",
            r#"{"requestKey":"F-2:ORDER_REG:0","codes":["a b"]}"#,
            &[Kind::Malformed],
            1,
        ),
        (
            r#"{"requestKey":"F-2:ORDER_REG:0","acceptNo":"A1"}"#,
            "",
            &[Kind::AcceptNo, Kind::AcceptNo],
            0,
        ),
    ];
    for (results, errors, kinds, answered) in cases {
        let separator = if results.is_empty() { "" } else { "," };
        let body = format!(r#"{{"results":[{good}{separator}{results}],"errors":[{errors}]}}"#);
        let answer: Answer<Acceptance> = read(Call::Register, &[&items[0], &items[1]], &body);
        let named: Vec<_> = answer.violations.iter().map(|row| row.kind).collect();
        assert_eq!(named, kinds, "{body}");
        let is_answered = |outcome: &&Outcome<_>| matches!(outcome, Outcome::Answered { .. });
        assert_eq!(
            answer.outcomes.iter().filter(is_answered).count(),
            answered,
            "{body}"
        );
        let dark = |outcome: &Outcome<_>| {
            matches!(
                outcome,
                Outcome::Answered { .. } | Outcome::Failed(CallError::Ambiguous { .. })
            )
        };
        assert!(answer.outcomes.iter().all(dark), "{body}");
    }
}

/// A result that is done but lacks what its type needs, or belongs to another acceptance number or type, is no result.
#[test]
fn results_must_fit_their_question() {
    use ViolationKind as Kind;
    let cases = [
        (
            RequestType::OrderReg,
            r#""acceptNo":"A000000123","status":"DONE","billedAmount":1"#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::OrderReg,
            r#""acceptNo":"A000000123","status":"DONE","npTransactionId":"0","billedAmount":1"#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::OrderReg,
            r#""acceptNo":"A000000123","status":"DONE","npTransactionId":"18000000001""#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::OrderReg,
            r#""acceptNo":"A000000123","status":"PENDING","npTransactionId":"""#,
            None,
        ),
        (
            RequestType::OrderReg,
            r#""acceptNo":"A000000123","status":"PENDING","npTransactionId":"123""#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::BillingReg,
            r#""acceptNo":"A000000123","status":"DONE""#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::BillingReg,
            r#""acceptNo":"A000000123","status":"DONE","billedAmount":1.5"#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::DeleteReg,
            r#""acceptNo":"A000000123","status":"DONE","codes":null"#,
            None,
        ),
        (
            RequestType::DeleteReg,
            r#""acceptNo":"A000000123","status":"done""#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::DeleteReg,
            r#""acceptNo":"A000000124","status":"DONE""#,
            Some(Kind::AcceptNo),
        ),
        (
            RequestType::DeleteReg,
            r#""acceptNo":"A000000123","status":"DONE","requestType":"ORDER_REG""#,
            Some(Kind::Malformed),
        ),
        (
            RequestType::DeleteReg,
            r#""acceptNo":"A000000123","status":"REJECTED","codes":["E0100114"]"#,
            None,
        ),
    ];
    for (kind, fields, expected) in cases {
        let query = result_query(kind);
        let key = &query.request_key;
        let body = format!(r#"{{"results":[{{"requestKey":"{key}",{fields}}}]}}"#);
        let answer: Answer<Processed> = read(Call::Results, &[&query], &body);
        let named = answer.violations.first().map(|row| row.kind);
        assert_eq!(named, expected, "{body}");
    }
}

/// "Already billed" and "already cancelled" are done for their own call, with the number if the agency gives it.
#[test]
fn already_done_is_no_refusal() {
    let bill = Bill {
        request_key: key(RequestType::BillingReg, 0),
        np_transaction_id: np(),
        billed_amount: 9_900,
        bill_issue_base_date: date!(2025 - 01 - 20),
    };
    let body = r#"{"errors":[{"requestKey":"F20250115-0001:BILLING_REG:0","codes":["E0100115"],"acceptNo":"A9"}]}"#;
    let answer: Answer<Acceptance> = read(Call::Bill, &[&bill], body);
    assert!(
        matches!(&answer.outcomes[0], Outcome::AlreadyDone { accept_no: Some(number), .. }
        if number.as_str() == "A9")
    );
    let cancel = Cancel {
        request_key: key(RequestType::DeleteReg, 0),
        np_transaction_id: np(),
    };
    let body = r#"{"errors":[{"requestKey":"F20250115-0001:DELETE_REG:0","codes":["E0100118"]}]}"#;
    let answer: Answer<Acceptance> = read(Call::Cancel, &[&cancel], body);
    assert!(matches!(
        &answer.outcomes[0],
        Outcome::AlreadyDone {
            accept_no: None,
            ..
        }
    ));
}

/// Reads bytes as the answer of every call.
fn read_all(body: &[u8]) {
    let codes = Codes::default();
    let registration = samples::registration(ORDER, 11_000);
    let acceptance: Result<Answer<Acceptance>, _> =
        Entry::decode(asked(Call::Register, &codes), body, &[&registration]);
    let query = result_query(RequestType::OrderReg);
    let processed: Result<Answer<Processed>, _> =
        Entry::decode(asked(Call::Results, &codes), body, &[&query]);
    let query = AuthorizationQuery {
        np_transaction_id: np(),
    };
    let screening: Result<Answer<Screening>, _> =
        Entry::decode(asked(Call::Authorizations, &codes), body, &[&query]);
    let lookup: Result<Answer<Lookup>, _> =
        Entry::decode(asked(Call::Lookup, &codes), body, &[&lookup_query()]);
    for count in [
        acceptance.map(|it| it.outcomes.len()),
        processed.map(|it| it.outcomes.len()),
        screening.map(|it| it.outcomes.len()),
        lookup.map(|it| it.outcomes.len()),
    ] {
        assert!(count.is_err() || count == Ok(1));
    }
    let _ = super::matching::batch_codes(body);
}

const SEEDS: [&str; 4] = [
    r#"{"results":[{"requestKey":"F20250115-0001:ORDER_REG:0","acceptNo":"A000000123","status":"DONE","npTransactionId":"18000000001","billedAmount":1}],"errors":[]}"#,
    r#"{"errors":[{"requestKey":"F20250115-0001:ORDER_REG:0","codes":["E_ADDRESS"],"message":"x"}]}"#,
    r#"{"results":[{"npTransactionId":"18000000001","authoriResult":"10","authoriHold":["RE009"]}]}"#,
    r#"{"results":[{"requestKey":"F20250115-0001:BILLING_REG:0","found":true,"acceptNo":"A1"}]}"#,
];

proptest! {
    /// No bytes make the reader panic, and an answer that can be read has one outcome per item.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    /// The same for answers of the contract with some bytes changed, cut off or doubled.
    #[test]
    fn damaged_answers_are_read_or_refused(
        seed in 0usize..4, changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        cut in any::<usize>(), depth in 0usize..300,
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        read_all(&bytes);
        bytes.truncate(cut % (bytes.len() + 1));
        read_all(&bytes);
        let nested = format!("{{\"results\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        read_all(nested.as_bytes());
    }
}
