//! Failures are told to people: by webhook and by e-mail, folded, tried again, and without buyer data.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::agency::Agency;
use super::catcher::Catcher;
use super::shop::{Setup, Shop};

/// Refused registrations of several orders come in one message by each way, although neither way works at first; what is told is
/// not told again; and a later failure is a message of its own.
#[tokio::test]
async fn failures_are_told_by_both_ways() {
    let agency = Agency::start();
    let (hook, mail) = (Catcher::http().await, Catcher::smtp().await);
    hook.refuse(2);
    mail.refuse(1);
    let setup = Setup {
        notify: format!(
            "gather_s = 3\nretry_s = [1]\nwebhook_url = \"http://127.0.0.1:{}/hook\"\nwebhook_key = \"file:secrets/frex_webhook_key\"\n\
             smtp_host = \"127.0.0.1\"\nsmtp_port = {}\nsmtp_tls = \"none\"\nsmtp_user = \"frex\"\n\
             smtp_password = \"file:secrets/frex_smtp_password\"\nmail_from = \"frex@shop.example\"\nmail_to = [\"desk@shop.example\"]",
            hook.port, mail.port
        ),
        ..Setup::default()
    };
    let shop = Shop::start(&agency, &setup).await;
    agency
        .rules(&json!({"orders": [{"order": "N*", "refuse": [{"call": "register", "codes": ["E_ADDRESS"]}]}]}))
        .await;
    for order_no in ["N1", "N2", "N3"] {
        shop.place(order_no, 11_000).await;
    }
    let (signature, body) = hook.caught(|body| body.contains("N1")).await;
    let told: Value = serde_json::from_str(&body).expect("JSON");
    let alerts = told["alerts"].as_array().expect("alerts");
    let mut orders: Vec<_> = alerts
        .iter()
        .filter_map(|it| it["order_no"].as_str())
        .collect();
    orders.sort_unstable();
    assert_eq!(
        orders,
        ["N1", "N2", "N3"],
        "one message tells all: {told:#}"
    );
    assert_eq!(alerts[0]["kind"], "registration_refused");
    assert_eq!(alerts[0]["codes"], json!(["E_ADDRESS"]));
    let mut mac = Hmac::<Sha256>::new_from_slice(b"a-made-up-key-for-webhooks").expect("a key");
    mac.update(body.as_bytes());
    assert_eq!(signature, hex::encode(mac.finalize().into_bytes()));

    let (envelope, letter) = mail.caught(|body| body.contains("N1")).await;
    for part in [
        "MAIL FROM:<frex@shop.example>",
        "RCPT TO:<desk@shop.example>",
        "AUTH PLAIN",
    ] {
        assert!(envelope.contains(part), "{part}: {envelope}");
    }
    for part in [
        "Subject: [frex] 3 alerts",
        "WARNING registration_refused",
        "E_ADDRESS",
        "N3",
    ] {
        assert!(letter.contains(part), "{part}: {letter}");
    }

    // A later failure is told alone: what was told is not told again.
    shop.place("N4", 11_000).await;
    let (_, later) = hook.caught(|body| body.contains("N4")).await;
    assert!(!later.contains("N1"), "{later}");
    mail.caught(|body| body.contains("N4")).await;
    for (name, catcher) in [("the webhook", &hook), ("the e-mail", &mail)] {
        assert_eq!(catcher.all().len(), 2, "{name}: {:#?}", catcher.all());
        for (_, text) in catcher.all() {
            shop.shows_no_buyer(name, &text);
        }
    }
    let metrics = shop.metrics().await;
    for line in [
        "frex_notices_total{channel=\"webhook\",result=\"failed\"} 2",
        "frex_notices_total{channel=\"webhook\",result=\"sent\"} 2",
        "frex_notices_total{channel=\"mail\",result=\"failed\"} 1",
        "frex_notices_total{channel=\"mail\",result=\"sent\"} 2",
        "frex_alerts_open{kind=\"registration_refused\",severity=\"warning\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let log = shop.daemon.log();
    shop.shows_no_buyer("the log", &log);
    assert!(!log.contains("a-made-up-password-for-mail"));
}

/// E-mail goes out encrypted to a server whose certificate is trusted, and to no other one: neither in clear to one that offers
/// no encryption, nor to one that cannot show who it is.
#[tokio::test]
async fn mail_is_never_sent_in_clear() {
    let known = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("an identity");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("an identity");
    let dir = tempfile::tempdir().expect("a folder");
    let authorities = dir.path().join("authorities.pem");
    std::fs::write(&authorities, known.cert.pem()).expect("written");
    let catchers = [
        Catcher::starttls(&known).await,
        Catcher::starttls(&other).await,
        Catcher::smtp().await,
    ];
    for (at, catcher) in catchers.iter().enumerate() {
        let agency = Agency::start();
        let setup = Setup {
            authorities: Some(authorities.clone()),
            notify: format!(
                "gather_s = 1\nretry_s = [1]\nsmtp_host = \"localhost\"\nsmtp_port = {}\nsmtp_tls = \"starttls\"\nsmtp_user = \"frex\"\n\
                 smtp_password = \"file:secrets/frex_smtp_password\"\nmail_from = \"frex@shop.example\"\nmail_to = [\"desk@shop.example\"]",
                catcher.port
            ),
            ..Setup::default()
        };
        let shop = Shop::start(&agency, &setup).await;
        agency
            .rules(&json!({"orders": [{"order": "N*", "refuse": [{"call": "register", "codes": ["E_ADDRESS"]}]}]}))
            .await;
        shop.place("N1", 11_000).await;
        if at == 0 {
            let (envelope, _) = catcher.caught(|body| body.contains("N1")).await;
            assert!(envelope.contains("AUTH PLAIN"), "{envelope}");
        } else {
            shop.logs("a message by mail did not get through").await;
            assert!(catcher.all().is_empty(), "{:#?}", catcher.all());
        }
    }
}
