//! API keys: the gateway holds them, and nodes that have a master key get copies.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::app::App;
use super::auth::keyring::HeldKey;
use super::respond::Answer;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::client::{Subrequest, Trace};
use crate::nodes::elsewhere::Told;
use crate::nodes::error::store_failed;
use crate::placement::topology::Node;
use crate::plan::key_request::{KeyPage, KeyPatch, NewKey};
use crate::replicas::repair::RepairHook;
use crate::write::direct;

/// Gives a returning node the keys it missed.
pub struct KeyRepair {
    app: Weak<App>,
}

/// A page of all keys in the order in which they are listed.
pub fn list(app: &App, page: KeyPage) -> Answer {
    let keys = app.keyring.list();
    let shown: Vec<Value> = keys.iter().skip(page.offset).take(page.limit).map(view).collect();
    let body = json!({ "results": shown, "offset": page.offset, "limit": page.limit, "total": keys.len() });
    Answer::json(200, &body)
}

/// `name` is the uid or the key itself.
pub fn get(app: &App, name: &str) -> Result<Answer, ResponseError> {
    app.keyring.named(name).map(|held| Answer::json(200, &view(&held))).ok_or_else(|| not_found(name))
}

/// Nodes get copies; one that misses its copy gets it when it returns.
pub async fn create(app: &App, wanted: NewKey, trace: &Trace) -> Result<Answer, ResponseError> {
    let key = wanted.made(Uuid::new_v4(), OffsetDateTime::now_utc());
    let uid = key.uid;
    let added = app.keyring.add(key).await.map_err(|error| store_failed(&error))?;
    let Some(held) = added else {
        let message = format!("`uid` field value `{uid}` is already an existing API key.");
        return Err(ResponseError::new(Code::ApiKeyAlreadyExists, message));
    };
    let copy = Bytes::from(held.key.creation_body().to_string());
    tell_nodes(app, http::Method::POST, "/keys".to_owned(), Some(copy), trace).await;
    tell_gateways(app).await;
    Ok(Answer::json(201, &view(&held)))
}

/// Only name and description can change.
pub async fn update(app: &App, name: &str, patch: KeyPatch, trace: &Trace) -> Result<Answer, ResponseError> {
    let uid = app.keyring.named(name).ok_or_else(|| not_found(name))?.key.uid;
    let changed = app.keyring.change(uid, |key| {
        if let Some(text) = &patch.name {
            key.name.clone_from(text);
        }
        if let Some(text) = &patch.description {
            key.description.clone_from(text);
        }
        key.updated_at = OffsetDateTime::now_utc();
    });
    let held = changed.await.map_err(|error| store_failed(&error))?.ok_or_else(|| not_found(name))?;
    let copy = json!({ "name": held.key.name, "description": held.key.description });
    tell_nodes(app, http::Method::PATCH, format!("/keys/{uid}"), Some(Bytes::from(copy.to_string())), trace).await;
    tell_gateways(app).await;
    Ok(Answer::json(200, &view(&held)))
}

/// `name` is the uid or the key itself.
pub async fn delete(app: &App, name: &str, trace: &Trace) -> Result<Answer, ResponseError> {
    let uid = app.keyring.named(name).ok_or_else(|| not_found(name))?.key.uid;
    if !app.keyring.remove(uid).await.map_err(|error| store_failed(&error))? {
        return Err(not_found(name));
    }
    tell_nodes(app, http::Method::DELETE, format!("/keys/{uid}"), None, trace).await;
    tell_gateways(app).await;
    Ok(Answer::empty(204))
}

fn view(held: &HeldKey) -> Value {
    held.key.view(held.secret.expose())
}

fn not_found(name: &str) -> ResponseError {
    ResponseError::new(Code::ApiKeyNotFound, format!("API key `{name}` not found."))
}

/// Copies a change to the nodes. The gateway's own keys decide about clients, so a node that refuses (it may run without
/// a master key) or misses it changes nothing for them; a node that comes back gets what it missed.
async fn tell_nodes(app: &App, method: http::Method, path: String, body: Option<Bytes>, trace: &Trace) {
    if app.cluster.nodes.credentials.get().key.is_none() {
        return;
    }
    if let Err(error) = direct::everywhere(&app.cluster.writes, method, &path, body, trace).await {
        tracing::warn!(code = error.code, "API keys could not be copied to the nodes");
    }
}

/// Before the client is told: a key that was deleted opens no gateway any more, and one that was made opens all.
async fn tell_gateways(app: &App) {
    app.cluster.nodes.elsewhere.changed(Told::Keys);
    app.cluster.nodes.elsewhere.heard().await;
}

// === impl KeyRepair ===

impl KeyRepair {
    /// Of the keys of `app`, which it does not keep alive.
    pub fn new(app: &Arc<App>) -> Self {
        Self { app: Arc::downgrade(app) }
    }
}

#[async_trait]
impl RepairHook for KeyRepair {
    async fn repair(&self, node: &Node) -> Result<(), String> {
        let Some(app) = self.app.upgrade() else { return Ok(()) };
        if app.cluster.nodes.credentials.get().key.is_none() || !app.keyring.has_master_key() {
            return Ok(());
        }
        let trace = Trace::background("keys");
        let timeout = app.cluster.writes.settings.get().timeout;
        for held in app.keyring.list() {
            let body = Bytes::from(held.key.creation_body().to_string());
            let request = Subrequest::json(http::Method::POST, "/keys", body, timeout, true);
            let sent = app.cluster.nodes.client.send(node, request, &trace).await;
            let reply = sent.map_err(|error| error.to_string())?;
            // A refusal holds no node back: it may run without a master key, have the key already, or not take one
            // that has expired meanwhile. The gateway's own keys decide about clients.
            if reply.is_success() || reply.error().is_some_and(|error| error.is(Code::ApiKeyAlreadyExists)) {
                continue;
            }
            if reply.error().is_some_and(|error| error.is(Code::MissingMasterKey)) {
                return Ok(());
            }
            tracing::warn!(node = %node.id, key = %held.key.uid, status = reply.status, "a node refused a copy of a key");
        }
        Ok(())
    }
}
