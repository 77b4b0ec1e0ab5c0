//! A message as the webhook and as people read it. Alerts hold no buyer data, so neither does this.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::clock::rfc3339;

/// An alert in a message.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub kind: String,
    /// How urgent it is.
    pub severity: String,
    /// The order, empty = none in particular.
    pub order_no: String,
    /// The request, empty = none in particular.
    pub request_key: String,
    /// The agency's codes.
    pub codes: Vec<String>,
    /// What the reader needs to act.
    pub detail: String,
    /// When it was raised.
    pub seen_at: i64,
    /// When it was last raised again.
    pub last_seen_at: i64,
    /// How often.
    pub count: i64,
    /// Whether it was told before: then this is a reminder.
    pub told: bool,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// The subject of an e-mail.
    pub subject: String,
    /// The text of an e-mail.
    pub text: String,
    /// The body of a webhook.
    pub json: Value,
}

impl Message {
    /// A message of alerts; `more` says that others wait.
    #[must_use]
    pub fn new(items: &[Item], more: bool, now: i64) -> Self {
        let of = |severity: &str| items.iter().filter(|it| it.severity == severity).count();
        let (critical, all) = (of("critical"), items.len());
        let subject = match (critical, items) {
            (_, [one]) => format!("[frex] {}: {} {}", one.severity, one.kind, one.order_no),
            (0, _) => format!("[frex] {all} alerts"),
            _ => format!("[frex] {all} alerts, {critical} critical"),
        };
        Self {
            subject: subject.trim_end().to_owned(),
            text: text(items, more),
            json: json!({
                "source": "frex",
                "sent_at": rfc3339(now),
                "critical": critical,
                "more": more,
                "alerts": items.iter().map(entry).collect::<Vec<_>>(),
            }),
        }
    }
}

fn entry(item: &Item) -> Value {
    json!({
        "id": item.id,
        "kind": item.kind,
        "severity": item.severity,
        "order_no": item.order_no,
        "request_key": item.request_key,
        "codes": item.codes,
        "detail": item.detail,
        "first_seen": rfc3339(item.seen_at),
        "last_seen": rfc3339(item.last_seen_at),
        "count": item.count,
        "reminder": item.told,
    })
}

fn text(items: &[Item], more: bool) -> String {
    let mut text = String::new();
    // The most urgent first; a text grows without failing.
    for severity in ["critical", "warning", "info"] {
        for item in items.iter().filter(|it| it.severity == severity) {
            let _ = write!(text, "{} {}", item.severity.to_uppercase(), item.kind);
            for part in [&item.order_no, &item.request_key] {
                if !part.is_empty() {
                    let _ = write!(text, " {part}");
                }
            }
            let _ = writeln!(text);
            let _ = writeln!(text, "  {}", item.detail);
            if !item.codes.is_empty() {
                let _ = writeln!(text, "  codes: {}", item.codes.join(" "));
            }
            let since = rfc3339(item.seen_at);
            let again = if item.told { ", told before" } else { "" };
            let _ = writeln!(text, "  since {since}, {} times{again}\n", item.count);
        }
    }
    if more {
        text += "There are more; the next message tells them.\n";
    }
    text += "Open alerts: commerced frex alerts --config FILE, or GET /v1/admin/frex/alerts\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most urgent stands first, and what waits is said.
    #[test]
    fn the_urgent_comes_first() {
        let item = |kind: &str, severity: &str| Item {
            id: kind.into(),
            kind: kind.into(),
            severity: severity.into(),
            order_no: "F1".into(),
            request_key: String::new(),
            codes: vec!["E1".into()],
            detail: "what to do".into(),
            seen_at: 0,
            last_seen_at: 0,
            count: 3,
            told: false,
        };
        let items = [
            item("update_refused", "warning"),
            item("agency_auth", "critical"),
        ];
        let message = Message::new(&items, true, 0);
        assert_eq!(message.subject, "[frex] 2 alerts, 1 critical");
        assert!(message.text.starts_with("CRITICAL agency_auth F1\n"));
        assert!(message.text.contains("There are more"));
        assert_eq!(message.json["alerts"][0]["kind"], "update_refused");
        let message = Message::new(&items[..1], false, 0);
        assert_eq!(message.subject, "[frex] warning: update_refused F1");
    }
}
