//! Webhooks: kept by the gateway, and told by it of each of its tasks that has ended. Nodes have none, so that a task of many
//! nodes is told once, with its own id.
//!
//! | module | what lives there |
//! |---|---|
//! | `notify` | tells webhooks of tasks that have ended |

pub mod notify;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::meili::error::ResponseError;
use crate::meili::webhook::{self, Webhook, Webhooks};
use crate::nodes::error::store_failed;
use crate::store::{Store, StoreError};

/// The fact of the store that holds them all.
const WEBHOOKS: &str = "webhooks";

/// All webhooks in memory. The store holds the truth.
pub struct WebhookBook {
    all: ArcSwap<Webhooks>,
    store: Arc<dyn Store>,
    /// Held from a look to the change that follows from it.
    changing: tokio::sync::Mutex<()>,
}

// === impl WebhookBook ===

impl WebhookBook {
    /// As the store has them; an error where what it has cannot be read.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let all = match store.get_meta(WEBHOOKS).await? {
            None => Webhooks::new(),
            Some(stored) => {
                serde_json::from_str(&stored).map_err(|source| StoreError::Corrupt { what: "webhooks", source })?
            }
        };
        Ok(Self { all: ArcSwap::from_pointee(all), store, changing: tokio::sync::Mutex::new(()) })
    }

    /// `GET /webhooks`: the answer's body.
    pub fn list(&self) -> Value {
        let shown: Vec<Value> = self.all.load().iter().map(|(uuid, webhook)| webhook.view(*uuid)).collect();
        json!({ "results": shown })
    }

    /// 404 for one that is not there, 400 for what is no UUID.
    pub fn get(&self, uuid: &str) -> Result<Value, ResponseError> {
        let uuid = webhook::parse_uuid(uuid)?;
        self.all.load().get(&uuid).map(|webhook| webhook.view(uuid)).ok_or_else(|| webhook::not_found(uuid))
    }

    /// Returns it as clients see it, with its new UUID.
    pub async fn create(&self, body: &Value) -> Result<Value, ResponseError> {
        let _order = self.changing.lock().await;
        let uuid = Uuid::new_v4();
        let made = webhook::creation(uuid, body, &self.all.load())?;
        let shown = made.view(uuid);
        self.put(uuid, Some(made)).await?;
        Ok(shown)
    }

    /// Headers of `null` are taken away; the others stay.
    pub async fn update(&self, uuid: &str, body: &Value) -> Result<Value, ResponseError> {
        let uuid = webhook::parse_uuid(uuid)?;
        webhook::refuse_nil(uuid)?;
        let _order = self.changing.lock().await;
        let old = self.all.load().get(&uuid).cloned().ok_or_else(|| webhook::not_found(uuid))?;
        let changed = webhook::update(uuid, &old, body)?;
        let shown = changed.view(uuid);
        self.put(uuid, Some(changed)).await?;
        Ok(shown)
    }

    /// 404 for one that is not there.
    pub async fn delete(&self, uuid: &str) -> Result<(), ResponseError> {
        let uuid = webhook::parse_uuid(uuid)?;
        webhook::refuse_nil(uuid)?;
        let _order = self.changing.lock().await;
        if !self.all.load().contains_key(&uuid) {
            return Err(webhook::not_found(uuid));
        }
        self.put(uuid, None).await
    }

    /// By who holds `changing`: durable first.
    async fn put(&self, uuid: Uuid, webhook: Option<Webhook>) -> Result<(), ResponseError> {
        let mut all = Webhooks::clone(&self.all.load());
        match webhook {
            Some(webhook) => all.insert(uuid, webhook),
            None => all.remove(&uuid),
        };
        let stored = json!(all).to_string();
        self.store.put_meta(WEBHOOKS, stored).await.map_err(|error| store_failed(&error))?;
        self.all.store(Arc::new(all));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::SqliteStore;

    #[tokio::test]
    async fn webhooks_survive_the_gateway() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(":memory:", 64).unwrap());
        let book = WebhookBook::open(Arc::clone(&store)).await.unwrap();
        let made = book.create(&json!({"url": "http://a", "headers": {"Authorization": "secret"}})).await.unwrap();
        let uuid = made["uuid"].as_str().unwrap();
        book.update(uuid, &json!({"headers": {"b": "1"}})).await.unwrap();

        let again = WebhookBook::open(store).await.unwrap();
        assert_eq!(again.list(), book.list());
        assert_eq!(again.get(uuid).unwrap()["headers"], json!({"Authorization": "XXX...", "b": "1"}));
        again.delete(uuid).await.unwrap();
        assert_eq!(again.get(uuid).unwrap_err().code, "webhook_not_found");
        assert_eq!(again.list(), json!({"results": []}));
    }
}
