//! The simulator of Atom over sockets: every fault of its table as a merchant meets it.

#[path = "atom/merchant.rs"]
mod merchant;

use merchant::{Merchant, rule};
use serde_json::{Value, json};

/// What each fault of the answer does to the bytes: its label stays, and the merchant sees the damage that was ordered.
#[tokio::test]
async fn answers_are_damaged_as_ordered() {
    let merchant = Merchant::start().await;
    let token = merchant.token("G1", "100.00").await;
    merchant.pay(&token, "success").await;
    let good = merchant.status("G1").await;
    assert_eq!(good.http, 200);
    assert_eq!(good.label, "application/json");
    let field = good
        .body
        .strip_prefix("merchId=317157&encData=")
        .expect("both fields in order");
    type Check = fn(&merchant::Answer, &str) -> bool;
    let cases: [(Value, Check); 13] = [
        (json!({"fault": "empty"}), |it, _| {
            it.body.is_empty() && it.http == 200
        }),
        (json!({"fault": "html", "status": 200}), |it, _| {
            it.body.starts_with('<') && it.http == 200
        }),
        (json!({"fault": "html", "status": 502}), |it, _| {
            it.body.starts_with('<') && it.http == 502
        }),
        (json!({"fault": "truncated_hex"}), |it, good| {
            let text = it.body.rsplit('=').next().unwrap_or_default();
            good.starts_with(text) && text.len() < good.len() && text.len() % 2 == 0
        }),
        (json!({"fault": "odd_hex"}), |it, good| {
            it.body.ends_with(&good[..good.len() - 1])
        }),
        (json!({"fault": "lower_hex"}), |it, good| {
            it.body.ends_with(&good.to_lowercase())
        }),
        (json!({"fault": "reversed"}), |it, good| {
            it.body == format!("encData={good}&merchId=317157")
        }),
        (json!({"fault": "two_enc_data"}), |it, _| {
            it.body.matches("encData=").count() == 2
        }),
        (json!({"fault": "wrong_key"}), |it, good| {
            it.body.len() > 40 && !it.body.contains(good)
        }),
        (json!({"fault": "old_key"}), |it, good| {
            it.body.len() > 40 && !it.body.contains(good)
        }),
        (
            json!({"fault": "plain_error", "status": 402, "code": "OTS0600"}),
            |it, _| it.http == 402 && it.body.starts_with("{\"encData\":null,"),
        ),
        (
            json!({"fault": "http", "status": 503, "retry_after": 7}),
            |it, _| it.http == 503 && it.retry_after.as_deref() == Some("7"),
        ),
        (json!({"fault": "delay", "ms": 120}), |it, good| {
            it.took_ms >= 120 && it.body.contains(good)
        }),
    ];
    for (fault, check) in cases {
        merchant.only_fault(rule("status", &fault)).await;
        let answer = merchant.status("G1").await;
        assert!(check(&answer, field), "{fault}: {answer:?}");
        merchant.no_faults().await;
    }
}

/// A connection is refused where its port was told to, and breaks before or after the work; the ledger shows which.
#[tokio::test]
async fn connections_break_as_ordered() {
    let merchant = Merchant::start().await;
    let token = merchant.token("G1", "100.00").await;
    let id = merchant.pay(&token, "success").await["atom_txn_id"]
        .as_u64()
        .expect("a payment");

    merchant
        .only_fault(json!({"api": "refund", "fault": "refuse"}))
        .await;
    let error = merchant
        .refund(id, "G1", "R0", "1.00")
        .await
        .expect_err("it is refused");
    assert!(error.is_connect(), "{error:?}");
    merchant.no_faults().await;

    merchant
        .only_fault(json!({"api": "refund", "fault": "drop_before"}))
        .await;
    let error = merchant
        .refund(id, "G1", "R1", "1.00")
        .await
        .expect_err("it breaks");
    assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
    assert_eq!(merchant.ledger().await["refunds"], json!([]));
    merchant.no_faults().await;

    merchant
        .only_fault(json!({"api": "refund", "fault": "drop_after", "nth": 1}))
        .await;
    merchant
        .refund(id, "G1", "R2", "1.00")
        .await
        .expect_err("it breaks");
    let ledger = merchant.ledger().await;
    assert_eq!(ledger["refunds"][0]["prod_refund_id"], "R2");
    let again = merchant
        .refund(id, "G1", "R2", "1.00")
        .await
        .expect("the second is answered");
    assert_eq!(again["responseDetails"]["statusCode"], "OTS0601", "{again}");
}

/// Each fault of a callback is in the message that arrives, and in nothing else.
#[tokio::test]
async fn callbacks_are_damaged_as_ordered() {
    let merchant = Merchant::start().await;
    type Check = fn(&[merchant::Heard]) -> bool;
    let cases: [(Value, Check); 16] = [
        (json!({"fault": "bad_signature"}), |all| {
            !all[0].signed && all[0].success()
        }),
        (json!({"fault": "null_signature"}), |all| {
            all[0].pay()["signature"].is_null()
        }),
        (json!({"fault": "upper_signature"}), |all| {
            all[0].signed
                && all[0].pay()["signature"]
                    .as_str()
                    .is_some_and(|it| !it.contains('a'))
        }),
        (json!({"fault": "total_changed"}), |all| {
            all[0].signed && all[0].total() == "200.00"
        }),
        (json!({"fault": "amount_changed"}), |all| {
            all[0].signed && all[0].total() == "100.00" && all[0].text.contains("\"amount\":50.00")
        }),
        (json!({"fault": "currency_changed"}), |all| {
            all[0].signed && all[0].pay()["txnCurrency"] == "USD"
        }),
        (json!({"fault": "other_merchant"}), |all| {
            all[0].signed && all[0].text.contains("\"merchId\":317158")
        }),
        (json!({"fault": "bank_txn_id", "form": "missing"}), |all| {
            all[0].signed && !all[0].text.contains("bankTxnId")
        }),
        (json!({"fault": "bank_txn_id", "form": "null"}), |all| {
            all[0].signed && all[0].text.contains("\"bankTxnId\":null")
        }),
        (json!({"fault": "sub_channel_text"}), |all| {
            all[0].text.contains("\"subChannel\":\"CC\"")
        }),
        (json!({"fault": "numbers_as_text"}), |all| {
            all[0].signed && all[0].text.contains("\"totalAmount\":\"100.00\"")
        }),
        (json!({"fault": "duplicated", "copies": 3}), |all| {
            all.len() == 4 && all.iter().all(|it| it.text == all[0].text)
        }),
        (json!({"fault": "failed_after_success"}), |all| {
            all.len() == 2 && all[0].success() && !all[1].success() && all[1].signed
        }),
        (json!({"fault": "success_after_failed"}), |all| {
            all.len() == 2 && !all[0].success() && all[1].success()
        }),
        (json!({"fault": "unknown_order"}), |all| {
            all.len() == 2 && all[1].signed && all[1].text.contains("\"GUNKNOWN")
        }),
        (json!({"fault": "old_key"}), |all| {
            all[0].old_key && all[0].signed
        }),
    ];
    for (number, (fault, check)) in cases.into_iter().enumerate() {
        merchant.only_fault(rule("callback", &fault)).await;
        let token = merchant.token(&format!("G{number}"), "100.00").await;
        merchant.pay(&token, "success").await;
        let heard = merchant.heard();
        assert!(!heard.is_empty() && check(&heard), "{fault}: {heard:?}");
        merchant.no_faults().await;
    }
}

/// A lost callback does not arrive, and a word may stand where the ciphertext should be.
#[tokio::test]
async fn lost_callbacks_and_words() {
    let merchant = Merchant::start().await;
    merchant
        .only_fault(json!({"api": "callback", "fault": "lost"}))
        .await;
    let token = merchant.token("GL", "100.00").await;
    let paid = merchant.pay(&token, "success").await;
    assert!(merchant.heard().is_empty() && paid["callback"].is_null());
    merchant.no_faults().await;
    merchant
        .only_fault(json!({"api": "return", "fault": "word", "word": "cancelTransaction"}))
        .await;
    let token = merchant.token("GW", "100.00").await;
    let paid = merchant.pay(&token, "success").await;
    assert_eq!(
        paid["return_body"],
        "merchId=317157&encData=cancelTransaction"
    );
}

/// A callback may be there before its token: the customer has paid when AUTH is answered.
#[tokio::test]
async fn a_callback_before_the_answer() {
    let merchant = Merchant::start().await;
    merchant
        .only_fault(json!({"api": "auth", "fault": "before_auth_answer"}))
        .await;
    merchant.token("G1", "100.00").await;
    assert!(merchant.heard()[0].success());
}

/// A callback that is not answered by 200 comes again, as often as the switch says, and a late one when its time has come.
#[tokio::test]
async fn callbacks_come_again_and_late() {
    let merchant = Merchant::start().await;
    merchant
        .switch(json!({"callback_retry_ms": 1000, "callback_retries": 2}))
        .await;
    merchant.stop_clock().await;
    merchant.answer_with(&[500, 503, 500, 200]);
    let token = merchant.token("G1", "100.00").await;
    merchant.pay(&token, "success").await;
    merchant.advance_s(1).await;
    merchant.advance_s(1).await;
    merchant.advance_s(1).await;
    assert_eq!(merchant.heard().len(), 3, "one try and two more");
    let ledger = merchant.ledger().await;
    let statuses: Vec<&Value> = ledger["payments"][0]["callbacks"]
        .as_array()
        .expect("deliveries")
        .iter()
        .map(|it| &it["http_status"])
        .collect();
    assert_eq!(statuses, [500, 503, 500]);

    merchant.answer_with(&[]);
    merchant
        .only_fault(json!({"api": "callback", "fault": "delayed", "ms": 90_000_000}))
        .await;
    let token = merchant.token("G2", "100.00").await;
    merchant.pay(&token, "success").await;
    assert!(merchant.heard().is_empty());
    merchant.advance_s(90_000).await;
    assert!(merchant.heard()[0].success());
}

/// What the status query says in each situation: before, while, after; cancelled, timed out, closed; lagging, contradicting.
#[tokio::test]
async fn the_status_of_every_situation() {
    let merchant = Merchant::start().await;
    merchant.stop_clock().await;
    let code = async |id: &str| merchant.status_code(id).await;
    assert_eq!(code("GX").await, "OTS0401", "never heard of");
    for (id, outcome, expected) in [
        ("G1", "success", "OTS0000"),
        ("G2", "failed", "OTS0600"),
        ("G3", "pending", "OTS0551"),
        ("G4", "cancel", "OTS0101"),
        ("G5", "timeout", "OTS0201"),
        ("G6", "close", "OTS0301"),
    ] {
        let token = merchant.token(id, "100.00").await;
        assert_eq!(code(id).await, "OTS0401", "{id} is only a token");
        merchant.pay(&token, outcome).await;
        assert_eq!(code(id).await, expected, "{id}");
    }
    merchant.advance_s(1000).await;
    assert_eq!(code("G6").await, "OTS0401", "the token is dead");
    assert_eq!(
        merchant.status_v2_code("G1").await,
        "OTS0000",
        "the short form"
    );
    assert_eq!(
        merchant.status_code_of("G1", "99.00").await,
        "OTS0509",
        "another amount"
    );
    merchant
        .only_fault(json!({"api": "status", "fault": "code", "code": "OTS0401", "times": 1}))
        .await;
    assert_eq!(code("G1").await, "OTS0401");
    assert_eq!(code("G1").await, "OTS0000");
    merchant.no_faults().await;
    merchant
        .only_fault(json!({"api": "status", "fault": "status_lag", "ms": 5_000_000}))
        .await;
    assert_eq!(code("G1").await, "OTS0401", "it lags");
    merchant.no_faults().await;
    merchant.advance_s(86_400).await;
    assert_eq!(code("G3").await, "OTS0000", "the bank has decided");
    assert_eq!(code("G5").await, "OTS0600", "final on the next day");
}

/// Two captures under one number are an array; what Atom takes back is told from the second day on.
#[tokio::test]
async fn double_captures_and_reversals() {
    let merchant = Merchant::start().await;
    merchant.stop_clock().await;
    merchant
        .only_fault(json!({"api": "pay", "fault": "double_capture", "merch_txn_id": "G1"}))
        .await;
    let token = merchant.token("G1", "100.00").await;
    merchant.pay(&token, "success").await;
    assert_eq!(merchant.heard().len(), 2);
    let all = merchant.status("G1").await.opened(&merchant);
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
    assert_ne!(
        all[0]["payDetails"]["atomTxnId"],
        all[1]["payDetails"]["atomTxnId"]
    );
    merchant.no_faults().await;
    merchant
        .only_fault(json!({"api": "pay", "fault": "auto_reverse"}))
        .await;
    let token = merchant.token("G2", "100.00").await;
    merchant.pay(&token, "success").await;
    merchant.advance_s(86_400).await;
    assert_eq!(merchant.status_code("G2").await, "OTS0000");
    merchant.advance_s(86_400).await;
    assert_eq!(merchant.status_code("G2").await, "OTS0001");
}

/// Refunds stay within the balance, come to their end with time, and meet their faults.
#[tokio::test]
async fn refunds_and_their_faults() {
    let merchant = Merchant::start().await;
    merchant.stop_clock().await;
    let token = merchant.token("G1", "100.00").await;
    let id = merchant.pay(&token, "success").await["atom_txn_id"]
        .as_u64()
        .expect("a payment");
    let code = |answer: &Value| {
        answer["responseDetails"]["statusCode"]
            .as_str()
            .map(str::to_owned)
    };
    let done = merchant
        .refund(id, "G1", "R1", "60.00")
        .await
        .expect("answered");
    assert_eq!(code(&done).as_deref(), Some("OTS0000"));
    let over = merchant
        .refund(id, "G1", "R2", "40.01")
        .await
        .expect("answered");
    assert_eq!(code(&over).as_deref(), Some("OTS0405"), "over the balance");
    merchant
        .only_fault(json!({"api": "refund", "fault": "refund_fails"}))
        .await;
    merchant
        .refund(id, "G1", "R3", "40.00")
        .await
        .expect("answered");
    merchant.no_faults().await;
    assert_eq!(
        merchant.remarks(id).await,
        ["REFUND INITIATED", "REFUND INITIATED"]
    );
    merchant.advance_s(86_400).await;
    assert_eq!(
        merchant.remarks(id).await,
        ["REFUND PROCESSED", "REFUND FAILED"]
    );
    let free = merchant
        .refund(id, "G1", "R4", "40.00")
        .await
        .expect("answered");
    assert_eq!(
        code(&free).as_deref(),
        Some("OTS0000"),
        "what failed is free again"
    );
    merchant
        .only_fault(json!({"api": "refund_status", "fault": "amount_times100"}))
        .await;
    let listed = merchant.refund_status(id).await;
    assert!(listed.to_string().contains("6000.0"), "{listed}");
}

/// A number that comes again is refused, answered alike, or done again, as the switch says.
#[tokio::test]
async fn repeats_by_switch() {
    let merchant = Merchant::start().await;
    let token = merchant.token("G1", "100.00").await;
    let id = merchant.pay(&token, "success").await["atom_txn_id"]
        .as_u64()
        .expect("a payment");
    let used = merchant.try_pay(&token, "success").await;
    assert_eq!(used.0, 409, "{}", used.1);
    assert_eq!(merchant.auth("G1", "100.00").await.http, 400);
    merchant
        .switch(json!({"repeated_payment": "same_token"}))
        .await;
    assert_eq!(merchant.token("G1", "100.00").await, token);
    for (switch, code, refunds) in [
        ("refuse", "OTS0601", 1),
        ("same_answer", "OTS0000", 1),
        ("second_refund", "OTS0000", 3),
    ] {
        merchant.switch(json!({"repeated_refund": switch})).await;
        merchant
            .refund(id, "G1", "R1", "10.00")
            .await
            .expect("answered");
        let again = merchant
            .refund(id, "G1", "R1", "10.00")
            .await
            .expect("answered");
        assert_eq!(again["responseDetails"]["statusCode"], code, "{switch}");
        let ledger = merchant.ledger().await;
        assert_eq!(
            ledger["refunds"].as_array().map(Vec::len),
            Some(refunds),
            "{switch}"
        );
    }
}

/// A refund of two products may be accepted in one and refused in the other, and says so line by line.
#[tokio::test]
async fn mixed_lines() {
    let merchant = Merchant::start().await;
    merchant.switch(json!({"products": ["NSE", "NSE2"]})).await;
    let token = merchant
        .split_token("G1", &[("NSE", "60.00"), ("NSE2", "40.00")])
        .await;
    let id = merchant.pay(&token, "success").await["atom_txn_id"]
        .as_u64()
        .expect("a payment");
    merchant
        .only_fault(json!({"api": "refund", "fault": "mixed_lines"}))
        .await;
    let lines = [("NSE", "R1", "10.00"), ("NSE2", "R2", "5.00")];
    let answer = merchant
        .refund_lines(id, "G1", &lines)
        .await
        .expect("answered");
    let line =
        |number: usize| answer["payDetails"]["prodDetails"][number]["prodStatusCode"].clone();
    assert_eq!((line(0), line(1)), (json!("OTS0000"), json!("OTS0404")));
    assert_eq!(
        merchant.ledger().await["refunds"].as_array().map(Vec::len),
        Some(1)
    );
}

/// The hosted page offers its buttons; each carries back what the merchant's script posts, and a failure may be tried again.
#[tokio::test]
async fn the_hosted_page() {
    let merchant = Merchant::start().await;
    let token = merchant.token("G1", "100.00").await;
    let page = merchant.page(&token).await;
    for button in [
        "pay-CC",
        "pay-UP",
        "fail",
        "fail-stay",
        "pending",
        "cancel",
        "timeout",
        "close",
    ] {
        assert!(page.contains(&format!("value=\"{button}\"")), "{button}");
    }
    assert_eq!(merchant.status_code("G1").await, "OTS0301");
    let again = merchant.press(&token, "fail-stay").await;
    assert!(again.contains("You may try again") && again.contains("value=\"pay-CC\""));
    let back = merchant.press(&token, "pay-CC").await;
    assert!(
        back.contains("data-kind=\"return\"") && back.contains("name=\"encData\""),
        "{back}"
    );
    assert!(merchant.page(&token).await.contains("was used before"));
    let token = merchant.token("G2", "100.00").await;
    let back = merchant.press(&token, "close").await;
    assert!(
        back.contains("data-kind=\"close\"") && !back.contains("encData"),
        "{back}"
    );
    let token = merchant.token("G3", "100.00").await;
    let back = merchant.press(&token, "cancel").await;
    assert!(back.contains("value=\"cancelTransaction\""), "{back}");
}
