//! Alerts told to people, by webhook and by e-mail (`spec/frex.md` 9).
//!
//! Repeated alerts have folded into one row already; here the untold rows of a short while go into one message. A message that
//! did not get through is tried again after growing waits, with whatever was raised meanwhile. Who sends is whoever takes the
//! way's row ([`super::duty`]), so several processes do not tell the same twice; only a crash between sending and noting it does.

mod channel;
mod message;
pub mod settings;

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use self::channel::Channel;
use self::message::{Item, Message};
use self::settings::NotifySettings;
use super::alert::Severity;
use super::duty::Duty;
use super::error::FrexError;
use super::report::Observer;
use super::settings::ms;
use crate::clock::Clock;
use crate::store::Store;

/// How much longer than its time limit a message may take before another process takes the way over.
const BUSY_SPARE_MS: i64 = 60_000;

/// Tells alerts. Clones are handles on the same one.
#[derive(Clone)]
pub struct Notifier {
    store: Store,
    clock: Clock,
    settings: Arc<NotifySettings>,
    channels: Arc<Vec<Channel>>,
    observer: Arc<dyn Observer>,
}

/// What a message says of an alert `a`, with the row `n` of the way it goes.
const SELECT: &str = "SELECT a.id, a.kind, a.severity, a.order_no, a.request_key, a.codes, a.detail, a.first_seen, a.last_seen, a.count, \
    COALESCE(n.times, 0) AS times FROM frex_alert a";

impl Notifier {
    /// What the settings say.
    #[must_use]
    pub fn new(
        store: &Store,
        clock: &Clock,
        settings: &NotifySettings,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            store: store.clone(),
            clock: clock.clone(),
            channels: Arc::new(Channel::all(settings)),
            settings: Arc::new(settings.clone()),
            observer,
        }
    }

    /// Sends one message by each way that has something to tell and is due.
    ///
    /// # Errors
    /// The database's. That a message did not get through is no error: it is noted and tried again.
    pub async fn tell_once(&self) -> Result<(), FrexError> {
        for channel in self.channels.iter() {
            self.tell_by(channel).await?;
        }
        Ok(())
    }

    async fn tell_by(&self, channel: &Channel) -> Result<(), FrexError> {
        let (duty, now) = (channel.duty(), self.clock.now_ms());
        let items = self.untold(duty, now).await?;
        let gathered = items
            .first()
            .is_some_and(|first| first.told || now - first.seen_at >= ms(self.settings.gather_s));
        let busy_ms = ms(self.settings.timeout_ms.div_ceil(1_000)) + BUSY_SPARE_MS;
        if !gathered || !duty.take(&self.store, now, busy_ms).await? {
            return Ok(());
        }
        // Another process may have told some between the look and the taking.
        let mut items = self.untold(duty, now).await?;
        if items.is_empty() {
            return duty.done(&self.store, now).await;
        }
        let most = usize::try_from(self.settings.items_max).unwrap_or(usize::MAX);
        let more = items.len() > most;
        items.truncate(most);
        let message = Message::new(&items, more, now);
        match channel.send(&message).await {
            Ok(()) => {
                self.note(duty, &items).await?;
                duty.done(&self.store, self.clock.now_ms()).await?;
                self.observer.notice(duty.name(), "sent");
                log::info!("frex: told {} alerts by {}", items.len(), duty.name());
            }
            Err(error) => {
                self.observer.notice(duty.name(), "failed");
                log::warn!(
                    "frex: a message by {} did not get through: {error}",
                    duty.name()
                );
                let (now, retry) = (self.clock.now_ms(), &self.settings.retry_s);
                duty.failed(&self.store, now, retry, &error).await?;
            }
        }
        Ok(())
    }

    /// Up to one more than a message may hold: open alerts that this way has not told, and critical ones that it told long ago. One
    /// statement a severity, each of which walks only what is to be told.
    async fn untold(&self, duty: Duty, now: i64) -> Result<Vec<Item>, FrexError> {
        let told = now - ms(self.settings.remind_s);
        let mut items = Vec::new();
        for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
            let sql = format!(
                "{SELECT} LEFT JOIN frex_notice n ON n.alert_id = a.id AND n.channel = $1 WHERE a.severity = '{severity}' \
                 AND a.resolved_at = 0 AND a.told_{} = 0 ORDER BY a.first_seen, a.id LIMIT $2",
                duty.name()
            );
            self.read(&mut items, sql, duty, None).await?;
            if severity == self.settings.least {
                break;
            }
        }
        let sql = format!(
            "{SELECT} CROSS JOIN frex_notice n WHERE n.alert_id = a.id AND n.channel = $1 AND a.severity = 'critical' \
             AND a.resolved_at = 0 AND n.told_at <= $3 ORDER BY a.first_seen, a.id LIMIT $2"
        );
        self.read(&mut items, sql, duty, Some(told)).await?;
        items.sort_by(|a, b| (a.seen_at, &a.id).cmp(&(b.seen_at, &b.id)));
        items.truncate(
            usize::try_from(self.settings.items_max)
                .unwrap_or(usize::MAX)
                .saturating_add(1),
        );
        Ok(items)
    }

    async fn read(
        &self,
        items: &mut Vec<Item>,
        sql: String,
        duty: Duty,
        told: Option<i64>,
    ) -> Result<(), FrexError> {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(duty.name())
            .bind(i64::from(self.settings.items_max) + 1);
        if let Some(told) = told {
            query = query.bind(told);
        }
        for row in query.fetch_all(self.store.pool()).await? {
            items.push(item(&row)?);
        }
        Ok(())
    }

    async fn note(&self, duty: Duty, items: &[Item]) -> Result<(), FrexError> {
        let now = self.clock.now_ms();
        let mut tx = self.store.begin().await?;
        for item in items {
            sqlx::query(
                "INSERT INTO frex_notice (alert_id, channel, told_at, times) VALUES ($1, $2, $3, 1) \
                 ON CONFLICT (alert_id, channel) DO UPDATE SET told_at = excluded.told_at, times = frex_notice.times + 1",
            )
            .bind(item.id.as_str())
            .bind(duty.name())
            .bind(now)
            .execute(tx.conn())
            .await?;
            let sql = format!(
                "UPDATE frex_alert SET told_{} = 1 WHERE id = $1",
                duty.name()
            );
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(item.id.as_str())
                .execute(tx.conn())
                .await?;
        }
        Ok(tx.commit().await?)
    }
}

fn item(row: &AnyRow) -> Result<Item, sqlx::Error> {
    let codes: String = row.try_get("codes")?;
    Ok(Item {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        severity: row.try_get("severity")?,
        order_no: row.try_get("order_no")?,
        request_key: row.try_get("request_key")?,
        codes: serde_json::from_str(&codes).unwrap_or_default(),
        detail: row.try_get("detail")?,
        seen_at: row.try_get("first_seen")?,
        last_seen_at: row.try_get("last_seen")?,
        count: row.try_get("count")?,
        told: row.try_get::<i64, _>("times")? > 0,
    })
}
