//! Every key of the configuration with its default, range and unit: the one table that the reader, its messages and the
//! test of the sample walk.

use super::rule::{
    Key, Kind, Section, choice, derived, flag, integer, list, needed, numbers, secret, secrets,
    text,
};

use crate::pages::shop::settings::PRICE_MINOR_MAX;

/// A waiting time: 10 ms to 10 minutes.
const fn wait_ms(name: &'static str, default: i64) -> Key {
    integer(name, default, 10, 600_000, "ms")
}

/// A time limit of a call to Atom.
const fn call_ms(name: &'static str, default: i64) -> Key {
    integer(name, default, 100, 300_000, "ms")
}

/// An address of Atom.
const fn atom_url(name: &'static str) -> Key {
    derived(name, "the published address of the environment", Kind::Url)
}

/// All sections, in the order of the sample.
pub const SECTIONS: &[&Section] = &[
    &LOG,
    &STORE,
    &HTTP,
    &LIMITS,
    &CALLBACK,
    &MERCHANT,
    &ATOM,
    &ATOM_URL,
    &ATOM_MESSAGES,
    &ATOM_CALLS,
    &ATOM_BREAKER,
    &FLOW,
    &FLOW_REMARKS,
    &JOBS,
    &SHOP,
    &SHOP_ITEM,
    &FREX,
    &FREX_WORKER,
    &FREX_AGENCY,
    &FREX_NOTIFY,
];

const LOG: Section = Section {
    path: "log",
    many: false,
    keys: &[
        choice("level", "info", &["error", "warn", "info", "debug"]),
        text("file", "", Kind::Free("a file, or \"\" for standard error")),
    ],
};

const STORE: Section = Section {
    path: "store",
    many: false,
    keys: &[
        text("url", "sqlite:commerce.db", Kind::Store),
        integer("connections_max", 16, 1, 1_000, "connections"),
        wait_ms("acquire_ms_max", 10_000),
        wait_ms("busy_ms_max", 10_000),
    ],
};

const HTTP: Section = Section {
    path: "http",
    many: false,
    keys: &[
        text("listen", "127.0.0.1:8700", Kind::Socket),
        needed("public_url", Kind::Origin),
        integer("body_timeout_s", 10, 1, 300, "s"),
        integer("shutdown_s", 30, 1, 300, "s"),
        list("metrics_allow", &["127.0.0.1", "::1"], Kind::Address),
        list("trusted_proxies", &[], Kind::Address),
    ],
};

const LIMITS: Section = Section {
    path: "http.limits",
    many: false,
    keys: &[
        integer("address_rate", 200, 1, 1_000_000, "requests/s"),
        integer("address_burst", 1_000, 1, 1_000_000, "requests"),
        integer("key_rate", 500, 1, 1_000_000, "requests/s"),
        integer("key_burst", 2_000, 1, 1_000_000, "requests"),
    ],
};

const CALLBACK: Section = Section {
    path: "callback",
    many: false,
    keys: &[
        list("allow_ips", &[], Kind::Address),
        integer("rate", 2_000, 1, 1_000_000, "requests/s"),
        integer("burst", 10_000, 1, 1_000_000, "requests"),
        integer("address_rate", 1_000, 1, 1_000_000, "requests/s"),
        integer("address_burst", 5_000, 1, 1_000_000, "requests"),
    ],
};

const MERCHANT: Section = Section {
    path: "merchant",
    many: true,
    keys: &[
        needed(
            "id",
            Kind::Code {
                min: 1,
                max: 32,
                extra: "_-",
            },
        ),
        list("return_origins", &[], Kind::Origin),
        derived("notify_url", "none", Kind::Url),
    ],
};

const ATOM: Section = Section {
    path: "atom",
    many: false,
    keys: &[
        choice("env", "uat", &["uat", "prod", "sim"]),
        needed(
            "merch_id",
            Kind::Code {
                min: 1,
                max: 10,
                extra: "",
            },
        ),
        secret("password", true),
        secret("req_key", true),
        secret("req_salt", true),
        secrets("res_key", true),
        secrets("res_salt", true),
        secret("req_hash_key", true),
        secrets("res_hash_key", true),
        secret("api_secret", false),
        flag("auth_bearer", false),
        text(
            "product",
            "NSE",
            Kind::Free("a product name of 1 to 50 characters"),
        ),
        derived("proxy", "none", Kind::Url),
        list(
            "public_key_pins",
            &[],
            Kind::Free("SHA-256 of a public key in Base64"),
        ),
    ],
};

const ATOM_URL: Section = Section {
    path: "atom.url",
    many: false,
    keys: &[
        atom_url("auth"),
        atom_url("status"),
        atom_url("refund"),
        atom_url("refund_status"),
        atom_url("checkout_js"),
    ],
};

const ATOM_MESSAGES: Section = Section {
    path: "atom.messages",
    many: false,
    keys: &[
        choice("auth_amount_style", "string", &["string", "number"]),
        choice("amount_style", "fixed2", &["fixed2", "minimal"]),
        choice("status_api", "txnverification", &["txnverification", "v2"]),
        choice("status_password_encoding", "plain", &["plain", "base64"]),
        choice("refund_password_encoding", "plain", &["plain", "base64"]),
        flag("vary_prefix", false),
    ],
};

const ATOM_CALLS: Section = Section {
    path: "atom.calls",
    many: false,
    keys: &[
        call_ms("connect_timeout_ms", 3_000),
        call_ms("auth_timeout_ms", 15_000),
        call_ms("status_timeout_ms", 10_000),
        call_ms("refund_timeout_ms", 30_000),
        call_ms("refund_status_timeout_ms", 10_000),
        call_ms("auth_deadline_ms", 20_000),
        call_ms("deadline_ms", 60_000),
        integer("tries_max", 3, 1, 3, "tries"),
        integer("backoff_base_ms", 500, 1, 60_000, "ms"),
        integer("backoff_max_ms", 8_000, 1, 60_000, "ms"),
    ],
};

const ATOM_BREAKER: Section = Section {
    path: "atom.breaker",
    many: false,
    keys: &[
        integer("errors_in_row", 5, 1, 1_000, "errors"),
        integer("window_ms", 30_000, 1_000, 600_000, "ms"),
        integer("window_calls_min", 20, 1, 100_000, "calls"),
        integer("open_ms", 15_000, 100, 600_000, "ms"),
    ],
};

const FLOW: Section = Section {
    path: "flow",
    many: false,
    keys: &[
        secret("read_token_key", true),
        integer("token_lifetime_s", 900, 10, 86_400, "s"),
        integer("order_ttl_s", 86_400, 60, 31_536_000, "s"),
        integer("attempts_per_hour_max", 5, 1, 1_000, "attempts"),
        integer("amount_min", 100, 1, 999_999_999_999, "minor units"),
        integer("amount_max", 100_000_000, 1, 999_999_999_999, "minor units"),
        list(
            "currencies",
            &["INR"],
            Kind::Code {
                min: 3,
                max: 3,
                extra: "",
            },
        ),
        choice(
            "failed_attempt_policy",
            "keep_pending",
            &["keep_pending", "cancel_order"],
        ),
        flag("require_confirm_before_ship", true),
        flag("auto_refund_late_capture", true),
        flag("refund_auto_resend", false),
        flag("allow_partial_refund", true),
        flag("refund_includes_surcharge", false),
        integer("refund_window_days", 0, 0, 3_650, "days"),
        flag("require_second_operator", true),
        flag("accept_payments", true),
        integer("queries_per_s_max", 5, 1, 1_000_000, "queries/s"),
        integer("queries_at_once_max", 8, 1, 1_000, "queries"),
        text(
            "requery_minutes",
            "2 5 10 20 40 60",
            Kind::Free("whole minutes, each more than the one before"),
        ),
        integer("requery_days", 3, 1, 30, "days"),
        integer("challan_days", 7, 1, 365, "days"),
        integer("retention_days", 400, 1, 3_650, "days"),
    ],
};

const FLOW_REMARKS: Section = Section {
    path: "flow.remarks",
    many: false,
    keys: &[
        list(
            "accepted",
            &[
                "REFUND INITIATED",
                "INITIATED",
                "PENDING",
                "REFUND PENDING",
                "REFUND IN PROCESS",
            ],
            REMARK,
        ),
        list(
            "processed",
            &["PROCESSED", "REFUND PROCESSED", "REFUND COMPLETED"],
            REMARK,
        ),
        list("failed", &["FAILED", "REFUND FAILED"], REMARK),
        list("rejected", &["REJECTED", "REFUND REJECTED"], REMARK),
    ],
};

/// A word of Atom about a refund.
const REMARK: Kind = Kind::Free("words of Atom");

const JOBS: Section = Section {
    path: "jobs",
    many: false,
    keys: &[
        flag("enabled", true),
        wait_ms("requery_ms", 500),
        wait_ms("inbox_ms", 1_000),
        wait_ms("refunds_ms", 1_000),
        wait_ms("notify_ms", 1_000),
        wait_ms("expiry_ms", 10_000),
        wait_ms("frex_ms", 1_000),
        integer("cleanup_ms", 3_600_000, 1_000, 86_400_000, "ms"),
    ],
};

const SHOP: Section = Section {
    path: "shop",
    many: false,
    keys: &[
        flag("enabled", false),
        text("name", "Tea by the river", Kind::Free("a name for people")),
        text(
            "merchant",
            "shop",
            Kind::Code {
                min: 1,
                max: 32,
                extra: "_-",
            },
        ),
        choice("currency", "INR", &["INR"]),
        list("frame_hosts", &[], Kind::Origin),
    ],
};

const SHOP_ITEM: Section = Section {
    path: "shop.item",
    many: true,
    keys: &[
        needed(
            "id",
            Kind::Code {
                min: 1,
                max: 32,
                extra: "-",
            },
        ),
        needed("name", Kind::Free("a name for people")),
        text("text", "", Kind::Free("a sentence for people")),
        integer("price", 10_000, 1, PRICE_MINOR_MAX, "paise"),
    ],
};

const FREX: Section = Section {
    path: "frex",
    many: false,
    keys: &[
        flag("enabled", false),
        text(
            "merchant",
            "shop",
            Kind::Code {
                min: 1,
                max: 32,
                extra: "_-",
            },
        ),
        secrets("buyer_keys", false),
        integer("buyer_retention_days", 2_555, 1, 36_500, "days"),
        integer("check_interval_s", 3_600, 1, 86_400, "s"),
        integer("reconcile_hour", 4, 0, 23, "hour of the day in Japan"),
        integer("reconcile_days", 3, 1, 60, "days"),
    ],
};

const FREX_WORKER: Section = Section {
    path: "frex.worker",
    many: false,
    keys: &[
        integer("interval_s", 300, 1, 86_400, "s"),
        integer("lease_s", 900, 60, 86_400, "s"),
        integer("lease_renew_s", 60, 1, 3_600, "s"),
        integer("run_slice_s", 240, 1, 86_400, "s"),
        integer("step_slice_s", 60, 1, 86_400, "s"),
        integer("page_rows", 200, 1, 5_000, "rows"),
        integer("call_items", 100, 1, 1_000, "items"),
        integer("read_calls", 1, 1, 4, "calls"),
        integer("commit_items", 100, 1, 1_000, "items"),
        integer("agency_delay_s", 600, 0, 604_800, "s"),
        integer("quiet_s", 600, 1, 604_800, "s"),
        integer("unknown_s", 86_400, 3_600, 2_592_000, "s"),
        numbers(
            "retry_s",
            &[60, 120, 300, 600, 1_800, 3_600],
            1,
            86_400,
            "s",
        ),
        integer("jitter_percent", 20, 0, 50, "per cent"),
        integer("hold_poll_s", 1_800, 1, 86_400, "s"),
        integer("result_overdue_s", 86_400, 600, 2_592_000, "s"),
        integer("hold_overdue_s", 259_200, 600, 2_592_000, "s"),
        integer("standby_overdue_s", 1_800, 1, 86_400, "s"),
        integer("sends", 3, 1, 10, "sends"),
        integer("faults", 5, 1, 100, "failures"),
        choice(
            "billing_trigger",
            "authorized",
            &["authorized", "order_end"],
        ),
        integer("billing_delay_s", 0, 0, 7_776_000, "s"),
        list("closed", &[], Kind::Window),
    ],
};

const FREX_AGENCY: Section = Section {
    path: "frex.agency",
    many: false,
    keys: &[
        choice("protocol", "design", &["design", "np_kakebarai"]),
        text("base_url", "", Kind::Free("https://HOST[:PORT][/PATH]")),
        text("shop_code", "", Kind::Free("a shop code")),
        text("terminal_id", "", Kind::Free("a terminal id")),
        secrets("passwords", false),
        integer("connect_timeout_ms", 5_000, 100, 60_000, "ms"),
        integer("timeout_ms", 30_000, 200, 120_000, "ms"),
        integer("answer_bytes_max", 1_048_576, 65_536, 16_777_216, "bytes"),
        list(
            "codes",
            &[],
            Kind::Free("codes of the agency with what they mean, CODE=MEANING"),
        ),
    ],
};

const FREX_NOTIFY: Section = Section {
    path: "frex.notify",
    many: false,
    keys: &[
        choice("least", "warning", &["info", "warning", "critical"]),
        integer("gather_s", 10, 0, 3_600, "s"),
        integer("items_max", 50, 1, 1_000, "alerts"),
        integer("remind_s", 86_400, 60, 2_592_000, "s"),
        numbers("retry_s", &[60, 300, 900, 3_600], 1, 86_400, "s"),
        integer("timeout_ms", 10_000, 100, 120_000, "ms"),
        text("webhook_url", "", Kind::Free("http(s)://HOST[:PORT]/PATH")),
        secret("webhook_key", false),
        text("smtp_host", "", Kind::Free("a host name")),
        integer("smtp_port", 587, 1, 65_535, "port"),
        choice("smtp_tls", "starttls", &["starttls", "tls", "none"]),
        text("smtp_user", "", Kind::Free("a user name")),
        secret("smtp_password", false),
        text("mail_from", "", Kind::Free("a mail address")),
        list("mail_to", &[], Kind::Free("mail addresses")),
    ],
};
