//! Workspaces of chats: kept by the gateway, as nodes would not show the secret among their settings to one another. Nodes have none.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use crate::meili::chat::{self, Wanted, Workspace, Workspaces};
use crate::meili::error::ResponseError;
use crate::nodes::error::store_failed;
use crate::plan::chats::ChatPage;
use crate::store::{Store, StoreError};

/// The fact of the store that holds them all.
const CHATS: &str = "chats";

/// All workspaces in memory. The store holds the truth.
pub struct ChatBook {
    all: ArcSwap<Workspaces>,
    store: Arc<dyn Store>,
    /// Held from a look to the change that follows from it.
    changing: tokio::sync::Mutex<()>,
}

// === impl ChatBook ===

impl ChatBook {
    /// As the store has them; an error where what it has cannot be read.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let all: Workspaces = match store.get_meta(CHATS).await? {
            None => Workspaces::default(),
            Some(stored) => {
                serde_json::from_str(&stored).map_err(|source| StoreError::Corrupt { what: "chats", source })?
            }
        };
        Ok(Self { all: ArcSwap::from_pointee(all), store, changing: tokio::sync::Mutex::new(()) })
    }

    /// `GET /chats`: the answer's body.
    pub fn list(&self, page: ChatPage) -> Value {
        let ChatPage { offset, limit } = page;
        let all = self.all.load();
        let (skip, take) = (usize::try_from(offset), usize::try_from(limit));
        let shown = all.keys().skip(skip.unwrap_or(usize::MAX)).take(take.unwrap_or(usize::MAX));
        let results: Vec<Value> = shown.map(|uid| json!({ "uid": uid })).collect();
        json!({ "results": results, "offset": offset, "limit": limit, "total": all.len() })
    }

    /// 404 for one that is not there.
    pub fn get(&self, workspace: &str) -> Result<Value, ResponseError> {
        if self.all.load().contains_key(workspace) {
            Ok(json!({ "uid": workspace }))
        } else {
            Err(chat::not_found(workspace))
        }
    }

    /// 404 for one that is not there.
    pub fn settings(&self, workspace: &str) -> Result<Value, ResponseError> {
        let all = self.all.load();
        all.get(workspace).map(|found| found.view()).ok_or_else(|| chat::no_settings(workspace))
    }

    /// Changes the settings of a workspace, and makes it if it is not there; returns them as clients see them.
    pub async fn update(&self, workspace: &str, wanted: Wanted) -> Result<Value, ResponseError> {
        let _order = self.changing.lock().await;
        let old = self.all.load().get(workspace).cloned().unwrap_or_default();
        let changed = old.changed(wanted)?;
        let shown = changed.view();
        self.put(workspace, Some(changed)).await?;
        Ok(shown)
    }

    /// Settings as of a new workspace. 404 for one that is not there.
    pub async fn reset(&self, workspace: &str) -> Result<Value, ResponseError> {
        let _order = self.changing.lock().await;
        if !self.all.load().contains_key(workspace) {
            return Err(chat::no_settings(workspace));
        }
        let new = Workspace::default();
        let shown = new.view();
        self.put(workspace, Some(new)).await?;
        Ok(shown)
    }

    /// 404 for one that is not there.
    pub async fn delete(&self, workspace: &str) -> Result<(), ResponseError> {
        let _order = self.changing.lock().await;
        if !self.all.load().contains_key(workspace) {
            return Err(chat::not_found(workspace));
        }
        self.put(workspace, None).await
    }

    /// By who holds `changing`: durable first.
    async fn put(&self, workspace: &str, settings: Option<Workspace>) -> Result<(), ResponseError> {
        let mut all = Workspaces::clone(&self.all.load());
        match settings {
            Some(settings) => all.insert(workspace.to_owned(), settings),
            None => all.remove(workspace),
        };
        self.store.put_meta(CHATS, json!(all).to_string()).await.map_err(|error| store_failed(&error))?;
        self.all.store(Arc::new(all));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::SqliteStore;

    #[tokio::test]
    async fn workspaces_survive_the_gateway() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(":memory:", 64).unwrap());
        let book = ChatBook::open(Arc::clone(&store)).await.unwrap();
        let wanted = |body: Value| Wanted::read(&body).unwrap();
        book.update("b", wanted(json!({"apiKey": "abcdefghijklmnop"}))).await.unwrap();
        book.update("a", wanted(json!({}))).await.unwrap();
        book.update("b", wanted(json!({"orgId": "o"}))).await.unwrap();

        let again = ChatBook::open(store).await.unwrap();
        let uids = |offset, limit| again.list(ChatPage { offset, limit })["results"].clone();
        assert_eq!(uids(0, 20), json!([{"uid": "a"}, {"uid": "b"}]));
        assert_eq!(uids(1, 20), json!([{"uid": "b"}]));
        let settings = again.settings("b").unwrap();
        assert_eq!((&settings["apiKey"], &settings["orgId"]), (&json!("abXXXX..."), &json!("o")));
        assert_eq!(again.reset("b").await.unwrap()["apiKey"], Value::Null);
        again.delete("b").await.unwrap();
        for error in [again.get("b").unwrap_err(), again.delete("b").await.unwrap_err()] {
            assert_eq!((error.code.as_str(), error.message.as_str()), ("chat_not_found", "chat b not found"));
        }
        assert_eq!(again.settings("b").unwrap_err().message, "Chat `b` not found");
    }
}
