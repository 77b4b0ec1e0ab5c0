//! The client of Atom against a server that misbehaves in every way the specification names: what each fault is called,
//! what is repeated and what is not, and when the circuit opens.

mod fake_atom;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use commerce::atom::call::{
    Api, Atom, CallClass, CallError, CallObserver, CircuitState, Doubt, ErrorClass, NotSent,
};
use commerce::atom::client::AtomClient;
use commerce::atom::settings::{AtomSecrets, AtomSettings, Env, KeyAndSalt, SettingsError};
use commerce::atom::wire::codes::{Class, Refusal};
use commerce::atom::wire::crypt::CipherKey;
use commerce::atom::wire::messages::{
    AuthRequest, RefundLine, RefundRequest, RefundStatusRequest, StatusRequest,
};
use commerce::clock::Clock;
use commerce::secret::Secret;
use fake_atom::{Act, Server};
use tokio::time::Instant;

const RESPONSE_KEY: &str = "75AEF0FA1B94B3C10D4F5B268F757F11";
const TOKEN: &str = r#"{"atomTokenId":15000000085228,"responseDetails":{"txnStatusCode":"OTS0000","txnMessage":"SUCCESS"}}"#;
const NO_DATA: &str =
    r#"{"payInstrument":{"responseDetails":{"statusCode":"OTS0401","message":"NO DATA"}}}"#;

/// Counts what the client tells its observer.
#[derive(Default)]
struct Seen {
    calls: Mutex<Vec<(Api, CallClass)>>,
    retries: Mutex<u32>,
    circuit: Mutex<Vec<CircuitState>>,
}

impl CallObserver for Seen {
    fn call(&self, api: Api, class: CallClass, _: Duration) {
        self.calls.lock().expect("calls").push((api, class));
    }

    fn retry(&self, _: Api) {
        *self.retries.lock().expect("retries") += 1;
    }

    fn circuit(&self, _: Api, state: CircuitState) {
        self.circuit.lock().expect("circuit").push(state);
    }
}

fn pair(text: &str) -> KeyAndSalt {
    KeyAndSalt {
        key: Secret::from(text),
        salt: Secret::from(text),
    }
}

fn secrets() -> AtomSecrets {
    AtomSecrets {
        password: Secret::from("Test@123"),
        request_key: pair("A4476C2062FFA58980DC8F79EB6A799E"),
        response_keys: vec![pair(RESPONSE_KEY)],
        request_hash_key: Secret::from("KEY123657234"),
        response_hash_keys: vec![Secret::from("KEYRESP123657234")],
        api_secret: None,
    }
}

/// Settings for a simulator at this base address, impatient enough for a test.
fn settings(base: &str) -> AtomSettings {
    let mut settings = AtomSettings {
        env: Env::Sim,
        merch_id: "317157".to_owned(),
        ..AtomSettings::default()
    };
    let url = |path: &str| Some(format!("{base}/{path}"));
    settings.url.auth = url("auth");
    settings.url.status = url("status");
    settings.url.refund = url("refund");
    settings.url.refund_status = url("refund_status");
    settings.url.checkout_js = url("checkout.js");
    settings.calls.connect_timeout_ms = 400;
    settings.calls.auth_timeout_ms = 400;
    settings.calls.status_timeout_ms = 400;
    settings.calls.refund_timeout_ms = 400;
    settings.calls.backoff_base_ms = 2;
    settings
}

struct Bench {
    server: Server,
    client: AtomClient,
    clock: Clock,
    seen: Arc<Seen>,
}

fn client_of(settings: &AtomSettings, secrets: &AtomSecrets) -> (AtomClient, Clock, Arc<Seen>) {
    let clock = Clock::manual(1_736_917_200_000);
    let seen = Arc::new(Seen::default());
    let inbound = Arc::new(secrets.inbound_keys(&settings.merch_id));
    let client = AtomClient::new(settings, secrets, inbound, clock.clone(), seen.clone());
    (client.expect("a client"), clock, seen)
}

async fn bench(script: impl IntoIterator<Item = Act>) -> Bench {
    let server = Server::start(script).await;
    let settings = settings(&format!("http://{}", server.addr));
    let (client, clock, seen) = client_of(&settings, &secrets());
    Bench {
        server,
        client,
        clock,
        seen,
    }
}

fn sealed(plain: &str) -> String {
    let (key, salt) = (Secret::from(RESPONSE_KEY), Secret::from(RESPONSE_KEY));
    CipherKey::derive(&key, &salt).encrypt(plain)
}

fn good(plain: &str) -> String {
    format!("merchId=317157&encData={}", sealed(plain))
}

fn answer(status: u16, body: impl Into<String>) -> Act {
    Act::Answer(status, "", body.into())
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

fn plain_error(code: &str) -> String {
    format!(
        r#"{{"encData":null,"txnMessage":"FAILED","txnStatusCode":"{code}","txnDescription":"INVALID"}}"#
    )
}

/// The name of the doubt and the HTTP status of an ambiguous call.
fn doubt<T: std::fmt::Debug>(result: Result<T, CallError>) -> (&'static str, Option<u16>) {
    match result {
        Err(CallError::Ambiguous {
            doubt, http_status, ..
        }) => (doubt.name(), http_status),
        other => panic!("{other:?}"),
    }
}

/// Every fault after which AUTH may have had its effect is ambiguous under its own name, and AUTH is sent once only.
#[tokio::test]
async fn ambiguous_faults_of_auth() {
    let cipher = sealed(TOKEN);
    let half = &cipher[..cipher.len() / 2 + 1];
    let table = [
        (Act::CloseUnread, "broken", None),
        (Act::CloseRead, "broken", None),
        (Act::Partial, "broken", Some(200)),
        (Act::Silence(Duration::from_secs(2)), "timeout", None),
        (answer(200, ""), "empty_response", Some(200)),
        (
            answer(200, " <html>maintenance</html>"),
            "html_response",
            Some(200),
        ),
        (
            answer(502, "<html>bad gateway</html>"),
            "html_response",
            Some(502),
        ),
        (answer(503, "<html>busy</html>"), "html_response", Some(503)),
        (answer(500, ""), "server_error", Some(500)),
        (answer(500, good(TOKEN)), "server_error", Some(500)),
        (answer(302, ""), "empty_response", Some(302)),
        (answer(400, good(TOKEN)), "contradiction", Some(400)),
        (
            answer(200, format!("merchId=317157&encData={half}")),
            "undecodable",
            Some(200),
        ),
        (
            answer(200, format!("merchId=317157&encData={}", &cipher[32..])),
            "undecodable",
            Some(200),
        ),
        (
            answer(200, format!("{}&encData={cipher}", good(TOKEN))),
            "undecodable",
            Some(200),
        ),
        (
            answer(200, format!("merchId=1&encData={cipher}")),
            "undecodable",
            Some(200),
        ),
        (
            answer(200, "x".repeat(300 * 1024)),
            "undecodable",
            Some(200),
        ),
        (answer(403, "Forbidden"), "undecodable", Some(403)),
        (
            answer(
                200,
                good(r#"{"responseDetails":{"txnStatusCode":"OTS0951"}}"#),
            ),
            "internal",
            Some(200),
        ),
    ];
    for (act, name, http_status) in table {
        let bench = bench([act.clone()]).await;
        let result = bench.client.auth(&auth_request(), Instant::now()).await;
        assert_eq!(doubt(result), (name, http_status));
        let sent = usize::from(!matches!(act, Act::CloseUnread));
        assert_eq!(bench.server.seen().len(), sent, "{name} is not repeated");
        assert_eq!(bench.seen.calls.lock().expect("calls").len(), 1);
    }
}

/// The oddities that are no faults: wrong content type, lower-case hex, fields in the other order, a line end.
#[tokio::test]
async fn oddities_are_accepted() {
    let cipher = sealed(TOKEN);
    for body in [
        good(TOKEN),
        format!("merchId=317157&encData={}", cipher.to_ascii_lowercase()),
        format!("encData={cipher}&merchId=317157\r\n"),
        format!("encData={cipher}"),
    ] {
        let bench = bench([answer(200, body)]).await;
        let token = bench
            .client
            .auth(&auth_request(), Instant::now())
            .await
            .expect("a token")
            .token;
        assert_eq!(token.expose(), "15000000085228");
        let request = &bench.server.seen()[0];
        assert!(request.starts_with("POST /auth HTTP/1.1\r\n"));
        assert!(request.contains("application/x-www-form-urlencoded"));
        assert!(
            request.contains("\r\n\r\nmerchId=317157&encData=582BAC98DB50B7B7465FEC80C84D6FA1")
        );
    }
}

/// What never left is repeated, three tries in all, for every call; then it is told as not sent.
#[tokio::test]
async fn not_sent_is_repeated() {
    // A port that was free a moment ago and has no listener.
    let gone = Server::start([]).await;
    let addr = gone.addr;
    drop(gone);
    tokio::task::yield_now().await;
    let (client, _, seen) = client_of(&settings(&format!("http://{addr}")), &secrets());
    let error = client
        .auth(&auth_request(), Instant::now())
        .await
        .expect_err("nobody listens");
    let why = NotSent::Connect;
    assert_eq!(
        error,
        CallError::NotSent {
            api: Api::Auth,
            why
        }
    );
    let error = client
        .refund(&refund_request())
        .await
        .expect_err("nobody listens");
    assert_eq!(
        error,
        CallError::NotSent {
            api: Api::Refund,
            why
        }
    );
    assert_eq!(*seen.retries.lock().expect("retries"), 4);
    assert_eq!(seen.calls.lock().expect("calls").len(), 6);
}

/// A TLS handshake that fails, or never ends, has sent nothing of the request.
#[tokio::test]
async fn a_failed_handshake_is_not_sent() {
    let garbage = Server::start((0..3).map(|_| Act::CloseUnread)).await;
    let (client, ..) = client_of(&settings(&format!("https://{}", garbage.addr)), &secrets());
    let error = client
        .auth(&auth_request(), Instant::now())
        .await
        .expect_err("no TLS there");
    assert!(
        matches!(
            error,
            CallError::NotSent {
                why: NotSent::Connect,
                ..
            }
        ),
        "{error}"
    );

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let mut slow = settings(&format!(
        "https://{}",
        silent.local_addr().expect("an address")
    ));
    slow.calls.tries_max = 1;
    slow.calls.connect_timeout_ms = 100;
    let (client, ..) = client_of(&slow, &secrets());
    let error = client
        .auth(&auth_request(), Instant::now())
        .await
        .expect_err("no handshake");
    assert!(
        matches!(
            error,
            CallError::NotSent {
                why: NotSent::ConnectTimeout,
                ..
            }
        ),
        "{error}"
    );
}

/// The time of a call counts from when its caller began to wait; when that is over nothing is sent.
#[tokio::test]
async fn a_late_call_is_not_sent() {
    let bench = bench([answer(200, good(TOKEN))]).await;
    let began = Instant::now() - Duration::from_secs(20);
    let error = bench.client.auth(&auth_request(), began).await;
    let (api, why) = (Api::Auth, NotSent::Deadline);
    assert_eq!(
        error.expect_err("too late"),
        CallError::NotSent { api, why }
    );
    assert_eq!(bench.server.seen().len(), 0);
}

/// A query only reads, so it is repeated after any doubt, three tries in all; a refund is not.
#[tokio::test]
async fn only_queries_are_repeated_in_doubt() {
    let script = || {
        [
            Act::CloseRead,
            answer(200, "<html>"),
            answer(200, good(NO_DATA)),
        ]
    };
    let bench = bench(script()).await;
    let status = bench
        .client
        .status(&status_request())
        .await
        .expect("the third try");
    assert_eq!(status.reading.class, Class::NoData);
    let seen = bench.server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0], seen[2], "the same bytes each time");
    assert_eq!(*bench.seen.retries.lock().expect("retries"), 2);

    let given_up = self::bench((0..3).map(|_| answer(503, ""))).await;
    let request = RefundStatusRequest {
        atom_txn_id: "11000000900001".to_owned(),
        products: Vec::new(),
    };
    let result = given_up.client.refund_status(&request).await;
    assert_eq!(doubt(result), ("server_error", Some(503)));
    assert_eq!(given_up.server.seen().len(), 3);

    let once = self::bench(script()).await;
    assert_eq!(
        doubt(once.client.refund(&refund_request()).await).0,
        "broken"
    );
    assert_eq!(once.server.seen().len(), 1);
}

/// A kept connection that dies under the second request leaves that request in doubt.
#[tokio::test]
async fn a_dying_connection_is_ambiguous() {
    let bench = bench([Act::KeepAlive(good(TOKEN)), Act::CloseRead]).await;
    bench
        .client
        .auth(&auth_request(), Instant::now())
        .await
        .expect("a token");
    assert_eq!(
        doubt(bench.client.auth(&auth_request(), Instant::now()).await).0,
        "broken"
    );
    assert_eq!(bench.server.seen().len(), 2);
}

/// Refusals, encrypted or plain, with or without an HTTP status of their own, keep their code and their kind.
#[tokio::test]
async fn refusals() {
    let encrypted = |code: &str| {
        good(&format!(
            r#"{{"responseDetails":{{"txnStatusCode":"{code}","txnMessage":"FAILED"}}}}"#
        ))
    };
    let table = [
        (
            answer(200, encrypted("OTS0639")),
            "OTS0639",
            Refusal::Request,
            ErrorClass::Other,
        ),
        (
            answer(400, plain_error("OTS0600")),
            "OTS0600",
            Refusal::NewIdMayPass,
            ErrorClass::Other,
        ),
        (
            answer(402, encrypted("OTS0600")),
            "OTS0600",
            Refusal::NewIdMayPass,
            ErrorClass::Other,
        ),
        (
            answer(200, plain_error("OTS0451")),
            "OTS0451",
            Refusal::Merchant,
            ErrorClass::Authentication,
        ),
        (
            answer(401, plain_error("OTS0600")),
            "OTS0600",
            Refusal::NewIdMayPass,
            ErrorClass::Authentication,
        ),
        (
            answer(403, plain_error("OTS0451")),
            "OTS0451",
            Refusal::Merchant,
            ErrorClass::Authentication,
        ),
    ];
    for (act, wanted, kind, class) in table {
        let bench = bench([act]).await;
        let error = bench
            .client
            .auth(&auth_request(), Instant::now())
            .await
            .expect_err("a refusal");
        assert_eq!(error.class(), class, "{error}");
        match error {
            CallError::Refused { code, refusal, .. } => {
                assert_eq!((code.as_str(), refusal), (wanted, kind))
            }
            other => panic!("{other:?}"),
        }
        let is_open = bench.client.circuit(Api::Auth) == CircuitState::Open;
        assert_eq!(
            is_open,
            class == ErrorClass::Authentication,
            "calls stop for a refused merchant"
        );
    }
}

/// `Retry-After` is waited for by a query, told by AUTH, and not waited for beyond the time for all tries.
#[tokio::test]
async fn retry_after() {
    let busy = || Act::Answer(503, "Retry-After: 1\r\n", String::new());
    let waited = bench([busy(), answer(200, good(NO_DATA))]).await;
    let began = Instant::now();
    waited
        .client
        .status(&status_request())
        .await
        .expect("the second try");
    assert!(began.elapsed() >= Duration::from_secs(1));

    let told = bench([busy()]).await;
    let error = told
        .client
        .auth(&auth_request(), Instant::now())
        .await
        .expect_err("busy");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));

    let too_long = Act::Answer(503, "Retry-After: 3600\r\n", String::new());
    let bounded = bench([too_long]).await;
    let error = bounded
        .client
        .status(&status_request())
        .await
        .expect_err("busy");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(bounded.server.seen().len(), 1);
}

/// Five doubts in a row shut AUTH and AUTH alone; after 15 seconds one trial goes through and opens it again.
#[tokio::test]
async fn the_circuit() {
    let faults = (0..5).map(|_| answer(200, ""));
    let rest = [
        answer(200, good(NO_DATA)),
        answer(500, ""),
        answer(200, good(TOKEN)),
    ];
    let bench = bench(faults.chain(rest)).await;
    for _ in 0..5 {
        assert_eq!(
            doubt(bench.client.auth(&auth_request(), Instant::now()).await).0,
            "empty_response"
        );
    }
    let shut = |wait| CallError::CircuitOpen {
        api: Api::Auth,
        retry_after: Duration::from_millis(wait),
    };
    let auth = async || bench.client.auth(&auth_request(), Instant::now()).await;
    assert_eq!(auth().await, Err(shut(15_000)));
    bench.clock.advance(14_999);
    assert_eq!(auth().await, Err(shut(1)));
    bench
        .client
        .status(&status_request())
        .await
        .expect("another call is not shut");
    assert_eq!(bench.server.seen().len(), 6);

    bench.clock.advance(1);
    assert_eq!(doubt(auth().await).0, "server_error", "the trial fails");
    assert_eq!(auth().await, Err(shut(15_000)));
    bench.clock.advance(15_000);
    auth().await.expect("the second trial passes");
    use CircuitState::{Closed, HalfOpen, Open};
    let told = bench.seen.circuit.lock().expect("circuit").clone();
    assert_eq!(told, [Open, HalfOpen, Open, HalfOpen, Closed]);
}

/// What is stored before a refund is sent is what is sent: the amount's characters and the digest of the ciphertext.
#[tokio::test]
async fn the_mark_of_a_refund() {
    let bench = bench([answer(200, plain_error("OTS0408"))]).await;
    let mark = bench.client.refund_mark(&refund_request()).expect("a mark");
    assert_eq!(mark.amount_text, "25.50");
    assert_eq!(
        bench.client.refund_mark(&refund_request()).expect("a mark"),
        mark
    );
    bench
        .client
        .refund(&refund_request())
        .await
        .expect_err("refused");
    let request = bench.server.seen().remove(0);
    let (_, enc_data) = request.split_once("encData=").expect("a ciphertext");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(enc_data.trim());
    assert_eq!(mark.digest, hex::encode(digest));
}

/// A request outside the interface's limits is not sent and does not count against the circuit.
#[tokio::test]
async fn invalid_requests_stay_here() {
    let bench = bench([]).await;
    let mut request = auth_request();
    request.amount = 0;
    let error = bench
        .client
        .auth(&request, Instant::now())
        .await
        .expect_err("no amount");
    assert!(matches!(error, CallError::Invalid { api: Api::Auth, .. }));
    assert!(error.to_string().contains("payDetails.amount"), "{error}");
    assert!(bench.seen.calls.lock().expect("calls").is_empty());
}

/// The newer form of AUTH carries the bearer header; nothing else does.
#[tokio::test]
async fn the_bearer_header() {
    let server = Server::start([answer(200, good(TOKEN)), answer(200, good(NO_DATA))]).await;
    let mut settings = settings(&format!("http://{}", server.addr));
    settings.auth_bearer = true;
    let mut secrets = secrets();
    secrets.api_secret = Some(Secret::from("s3cret"));
    let (client, ..) = client_of(&settings, &secrets);
    client
        .auth(&auth_request(), Instant::now())
        .await
        .expect("a token");
    client.status(&status_request()).await.expect("no data");
    let seen = server.seen();
    // Base64 of 317157:s3cret.
    assert!(
        seen[0].contains("authorization: Bearer MzE3MTU3OnMzY3JldA=="),
        "{}",
        seen[0]
    );
    assert!(!seen[1].contains("Bearer"));
}

/// The configuration is refused with the key that is wrong: dummies in production, plain HTTP, missing values.
#[test]
fn settings_are_checked() {
    let prod = || AtomSettings {
        env: Env::Prod,
        merch_id: "123456".to_owned(),
        ..AtomSettings::default()
    };
    let real = || AtomSecrets {
        password: Secret::from("a real one"),
        request_key: pair("0123456789ABCDEF0123456789ABCDEF"),
        response_keys: vec![pair("FEDCBA9876543210FEDCBA9876543210")],
        request_hash_key: Secret::from("ABC"),
        response_hash_keys: vec![Secret::from("DEF")],
        api_secret: None,
    };
    assert_eq!(prod().check(&real()), Ok(()));
    let dummy = |change: fn(&mut AtomSettings, &mut AtomSecrets)| {
        let (mut settings, mut secrets) = (prod(), real());
        change(&mut settings, &mut secrets);
        match settings.check(&secrets) {
            Err(SettingsError::Dummy { key }) => key,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(dummy(|s, _| s.merch_id = "317157".to_owned()), "merch_id");
    assert_eq!(
        dummy(|_, s| s.password = Secret::from("Test@123")),
        "password"
    );
    assert_eq!(
        dummy(|_, s| s.request_key = secrets().request_key),
        "req_key or req_salt"
    );
    assert_eq!(
        dummy(|_, s| s.response_keys.extend(secrets().response_keys)),
        "res_key or res_salt"
    );
    assert_eq!(
        dummy(|_, s| s.request_hash_key = secrets().request_hash_key),
        "req_hash_key"
    );
    assert_eq!(
        dummy(|_, s| s.response_hash_keys.extend(secrets().response_hash_keys)),
        "res_hash_key"
    );

    let wrong = |change: fn(&mut AtomSettings, &mut AtomSecrets)| {
        let (mut settings, mut secrets) = (prod(), real());
        change(&mut settings, &mut secrets);
        settings.check(&secrets).expect_err("wrong").to_string()
    };
    let named = [
        (wrong(|s, _| s.merch_id.clear()), "atom.merch_id is missing"),
        (wrong(|s, _| s.merch_id = "12a".to_owned()), "atom.merch_id"),
        (
            wrong(|s, _| s.url.auth = Some("http://x/".to_owned())),
            "atom.url.auth is not an https",
        ),
        (wrong(|s, _| s.env = Env::Sim), "atom.url.auth is missing"),
        (
            wrong(|s, _| s.public_key_pins = vec!["abc".to_owned()]),
            "atom.public_key_pins is not a list",
        ),
        (
            wrong(|s, _| s.calls.tries_max = 4),
            "atom.calls.tries_max is not 1 to 3",
        ),
        (
            wrong(|s, _| s.auth_bearer = true),
            "atom.api_secret is missing",
        ),
        (
            wrong(|_, s| s.response_keys.clear()),
            "atom.res_key or res_salt is missing",
        ),
        (
            wrong(|_, s| s.password = Secret::from("")),
            "atom.password is missing",
        ),
    ];
    for (message, wanted) in named {
        assert!(
            message.contains(wanted),
            "{message:?} does not say {wanted:?}"
        );
    }
}

/// Nothing that the client logs or prints of a refused request holds the password, contact data or ciphertext, and
/// the names of the fields are there.
#[tokio::test]
async fn the_log_has_no_secrets() {
    static LINES: Mutex<String> = Mutex::new(String::new());
    struct Sink;
    impl log::Log for Sink {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let line = format!("{} {}\n", record.target(), record.args());
            LINES.lock().expect("lines").push_str(&line);
        }
        fn flush(&self) {}
    }
    log::set_logger(&Sink).expect("the only logger of this process");
    log::set_max_level(log::LevelFilter::Trace);
    let bench = bench([answer(200, plain_error("OTS0638")), answer(200, "")]).await;
    let refused = bench
        .client
        .auth(&auth_request(), Instant::now())
        .await
        .expect_err("refused");
    let doubtful = bench
        .client
        .auth(&auth_request(), Instant::now())
        .await
        .expect_err("empty");
    assert!(matches!(
        doubtful,
        CallError::Ambiguous {
            doubt: Doubt::Empty,
            ..
        }
    ));
    let mut lines = LINES.lock().expect("lines").clone();
    lines.push_str(&format!("{refused} {refused:?} {:?}", auth_request()));
    assert!(lines.contains("API call failed"), "{lines}");
    assert!(
        lines.contains("custEmail") && lines.contains("merchTxnDate"),
        "{lines}"
    );
    for secret in [
        "Test@123",
        "A4476C20",
        "75AEF0FA",
        "buyer@",
        "9000000000",
        "582BAC98",
    ] {
        assert!(!lines.contains(secret), "{secret} is in the log");
    }
}
