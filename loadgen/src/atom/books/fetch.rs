//! Reads both books over HTTP.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

use super::rules::{Books, Issue, Ledger, Order};

/// Orders read at a time.
const AT_A_TIME: usize = 16;
/// Orders of one page of the list.
const PAGE: usize = 100;
/// How long an answer may take: a ledger may be long.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Where the books are, and the operator's key.
#[derive(Clone)]
pub struct Fetch {
    client: reqwest::Client,
    gateway: Url,
    sim: Url,
    operator: String,
}

impl Fetch {
    /// Reads from these addresses.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(gateway: Url, sim: Url, operator: String) -> Result<Fetch, String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_MAX)
            .build();
        Ok(Fetch {
            client: client.map_err(|error| format!("no client: {error}"))?,
            gateway,
            sim,
            operator,
        })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        base: &Url,
        path: &str,
        key: Option<&str>,
    ) -> Result<T, String> {
        let url = format!("{}{path}", base.as_str().trim_end_matches('/'));
        let fail = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        let mut call = self.client.get(&url);
        if let Some(key) = key {
            call = call.bearer_auth(key);
        }
        let answer = call.send().await.map_err(|error| fail(&error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| fail(&error))?;
        if !status.is_success() {
            return Err(fail(&format!("answered by {status}")));
        }
        serde_json::from_slice(&bytes).map_err(|error| fail(&error))
    }

    /// All items of a list that is given in pages.
    async fn list(&self, path: &str) -> Result<Vec<Value>, String> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let mark = if path.contains('?') { '&' } else { '?' };
            let mut page = format!("{path}{mark}limit={PAGE}");
            if !cursor.is_empty() {
                let value: String =
                    url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
                page = format!("{page}&cursor={value}");
            }
            let mut answer: Value = self.get(&self.gateway, &page, Some(&self.operator)).await?;
            if let Value::Array(mut found) = answer["items"].take() {
                items.append(&mut found);
            }
            match answer["next_cursor"].as_str() {
                Some(next) if !next.is_empty() => cursor = next.to_owned(),
                _ => return Ok(items),
            }
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// One sentence naming the address.
    pub async fn books(&self) -> Result<Books, String> {
        let mut reading = JoinSet::new();
        let room = Arc::new(Semaphore::new(AT_A_TIME));
        for item in self.list("/v1/admin/orders").await? {
            let id = item["order_id"].as_str().unwrap_or_default().to_owned();
            let (fetch, room) = (self.clone(), Arc::clone(&room));
            reading.spawn(async move {
                let _place = room
                    .acquire_owned()
                    .await
                    .map_err(|error| error.to_string())?;
                let path = format!("/v1/admin/orders/{id}");
                fetch
                    .get::<Order>(&fetch.gateway, &path, Some(&fetch.operator))
                    .await
            });
        }
        let mut orders = Vec::new();
        while let Some(read) = reading.join_next().await {
            orders.push(read.map_err(|error| error.to_string())??);
        }
        let issues = self.list("/v1/admin/issues?state=all").await?;
        let issues = issues
            .into_iter()
            .map(serde_json::from_value::<Issue>)
            .collect::<Result<_, _>>();
        // The ledger last: what happens in between is in it, and too young for a complaint only within the horizon.
        let ledger: Ledger = self.get(&self.sim, "/_sim/ledger", None).await?;
        Ok(Books {
            orders,
            issues: issues.map_err(|error| format!("/v1/admin/issues: {error}"))?,
            ledger,
        })
    }
}
