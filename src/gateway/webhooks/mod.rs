//! Webhooks: kept by the gateway, and told by it of each of its tasks that has ended. Nodes have none, so that a task of many
//! nodes is told once, with its own id. Rules with `on_task` are told of those tasks that they are about, in the same way.
//!
//! | module | what lives there |
//! |---|---|
//! | `notify` | tells webhooks of tasks that have ended |

pub mod notify;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use uuid::Uuid;

use super::rule_metrics::{RuleMetrics, Told};
use crate::meili::error::ResponseError;
use crate::meili::webhook::{self, Wanted, Webhook, Webhooks};
use crate::nodes::error::store_failed;
use crate::placement::stable_hash::hash_bytes;
use crate::rules::on_task::TaskHook;
use crate::store::{Store, StoreError};
use crate::tasks::entry::MiroirTask;

/// The fact of the store that holds them all.
const WEBHOOKS: &str = "webhooks";

/// The fact of the store that says how far each has been told.
const TOLD: &str = "webhooks_told";

/// So many tasks wait for one webhook; it misses those before.
const MOST_WAITING: u64 = 10_000;

/// So many are told in one request.
const AT_ONCE: u32 = 1000;

/// All webhooks in memory. The store holds the truth, but for those of rules.
pub struct WebhookBook {
    all: ArcSwap<Webhooks>,
    /// Whom rules tell.
    rules: ArcSwap<BTreeMap<Uuid, TaskHook>>,
    metrics: RuleMetrics,
    store: Arc<dyn Store>,
    /// The place of the last end that each was told of, or has missed for good.
    told: tokio::sync::Mutex<BTreeMap<Uuid, u64>>,
    /// Held from a look to the change that follows from it.
    changing: tokio::sync::Mutex<()>,
}

/// Who is told.
enum Listener {
    /// A client has said so.
    Client(Webhook),
    /// A rule says so.
    Rule(TaskHook),
}

// === impl Listener ===

impl Listener {
    fn webhook(&self) -> &Webhook {
        match self {
            Self::Client(webhook) => webhook,
            Self::Rule(hook) => hook.webhook(),
        }
    }

    /// The name of the rule that says so.
    fn rule(&self) -> Option<&str> {
        match self {
            Self::Client(_) => None,
            Self::Rule(hook) => Some(&hook.rule),
        }
    }

    fn wants(&self, task: &MiroirTask) -> bool {
        match self {
            Self::Client(_) => true,
            Self::Rule(hook) => hook.is_about(task),
        }
    }
}

/// The place of a rule among those that are told: the same at every start.
fn uuid_of(rule: &str) -> Uuid {
    let half = |salt: &str| hash_bytes(format!("{salt}\n{rule}").as_bytes()).to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half("rule"));
    bytes[8..].copy_from_slice(&half("on_task"));
    // A kind of its own: no webhook of a client has it.
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn by_uuid(hooks: Vec<TaskHook>) -> BTreeMap<Uuid, TaskHook> {
    hooks.into_iter().map(|hook| (uuid_of(&hook.rule), hook)).collect()
}

// === impl WebhookBook ===

impl WebhookBook {
    /// As the store has them, and `hooks` of rules; an error where what the store has cannot be read.
    pub async fn open(store: Arc<dyn Store>, hooks: Vec<TaskHook>, metrics: RuleMetrics) -> Result<Self, StoreError> {
        let all: Webhooks = stored(&store, WEBHOOKS).await?;
        let told = tokio::sync::Mutex::new(stored(&store, TOLD).await?);
        let rules = ArcSwap::from_pointee(by_uuid(hooks));
        let changing = tokio::sync::Mutex::new(());
        let book = Self { all: ArcSwap::from_pointee(all), rules, metrics, store, told, changing };
        let (all, rules) = (book.all.load_full(), book.rules.load_full());
        book.follow(&all, &rules).await?;
        Ok(book)
    }

    /// Rules tell `hooks` from now on; one that was there goes on where it was.
    pub async fn exchange_rules(&self, hooks: Vec<TaskHook>) -> Result<(), StoreError> {
        let _order = self.changing.lock().await;
        let rules = Arc::new(by_uuid(hooks));
        let followed = self.follow(&self.all.load_full(), &rules).await;
        self.rules.store(rules);
        followed
    }

    /// Whom rules tell.
    pub fn rules(&self) -> Vec<TaskHook> {
        self.rules.load().values().cloned().collect()
    }

    /// Everybody who is told.
    fn everybody(&self) -> Vec<Uuid> {
        self.all.load().keys().chain(self.rules.load().keys()).copied().collect()
    }

    /// Counts what a rule has told, or has failed to tell.
    fn count(&self, listener: &Listener, tasks: usize, outcome: Told) {
        if let Some(rule) = listener.rule() {
            self.metrics.count_told(rule, tasks, outcome);
        }
    }

    fn listener(&self, uuid: Uuid) -> Option<Listener> {
        let client = self.all.load().get(&uuid).cloned().map(Listener::Client);
        client.or_else(|| self.rules.load().get(&uuid).cloned().map(Listener::Rule))
    }

    /// The ends that a webhook has not been told of, the first of them; `None` for one that is gone.
    async fn untold(&self, uuid: Uuid) -> Result<Option<Vec<(u64, MiroirTask)>>, StoreError> {
        let Some(mut place) = self.told.lock().await.get(&uuid).copied() else { return Ok(None) };
        let last = self.store.last_end().await?;
        if let Some(first) = last.checked_sub(MOST_WAITING).filter(|first| place < *first) {
            let missed = first - place;
            tracing::error!(webhook = %uuid, missed, "a webhook is too slow, and is not told of tasks");
            place = first;
        }
        self.store.ends_after(place, AT_ONCE).await.map(Some)
    }

    /// A webhook was told of everything up to `place`, or has missed it; what all have is forgotten.
    async fn note_told(&self, uuid: Uuid, place: u64) -> Result<(), StoreError> {
        let mut told = self.told.lock().await;
        let Some(is) = told.get_mut(&uuid) else { return Ok(()) };
        // What it was told of before a reload may be told again, but nothing goes back.
        *is = place.max(*is);
        self.store.put_meta(TOLD, json!(*told).to_string()).await?;
        match told.values().min() {
            Some(least) => self.store.forget_ends(*least).await,
            None => Ok(()),
        }
    }

    /// As `all` and `rules` have them: a new one is told of what ends from now on.
    async fn follow(&self, all: &Webhooks, rules: &BTreeMap<Uuid, TaskHook>) -> Result<(), StoreError> {
        self.store.keep_ends(!(all.is_empty() && rules.is_empty()));
        let mut told = self.told.lock().await;
        let is_there = |uuid: &Uuid| all.contains_key(uuid) || rules.contains_key(uuid);
        let wanted = || all.keys().chain(rules.keys());
        if told.keys().all(is_there) && wanted().all(|uuid| told.contains_key(uuid)) {
            return Ok(());
        }
        let last = self.store.last_end().await?;
        told.retain(|uuid, _| is_there(uuid));
        for uuid in wanted() {
            told.entry(*uuid).or_insert(last);
        }
        self.store.put_meta(TOLD, json!(*told).to_string()).await?;
        if told.is_empty() { self.store.forget_ends(last).await } else { Ok(()) }
    }

    /// `GET /webhooks`: the answer's body.
    pub fn list(&self) -> Value {
        let shown: Vec<Value> = self.all.load().iter().map(|(uuid, webhook)| webhook.view(*uuid)).collect();
        json!({ "results": shown })
    }

    /// 404 for one that is not there.
    pub fn get(&self, uuid: Uuid) -> Result<Value, ResponseError> {
        self.all.load().get(&uuid).map(|webhook| webhook.view(uuid)).ok_or_else(|| webhook::not_found(uuid))
    }

    /// Returns it as clients see it, with its new UUID.
    pub async fn create(&self, wanted: Wanted) -> Result<Value, ResponseError> {
        let _order = self.changing.lock().await;
        let uuid = Uuid::new_v4();
        let made = webhook::creation(uuid, wanted, &self.all.load())?;
        let shown = made.view(uuid);
        self.put(uuid, Some(made)).await?;
        Ok(shown)
    }

    /// Headers of `null` are taken away; the others stay. 404 for one that is not there, whatever is wanted.
    pub async fn update(&self, uuid: Uuid, wanted: Wanted) -> Result<Value, ResponseError> {
        let _order = self.changing.lock().await;
        let old = self.all.load().get(&uuid).cloned().ok_or_else(|| webhook::not_found(uuid))?;
        let changed = webhook::update(uuid, &old, wanted)?;
        let shown = changed.view(uuid);
        self.put(uuid, Some(changed)).await?;
        Ok(shown)
    }

    /// 404 for one that is not there.
    pub async fn delete(&self, uuid: Uuid) -> Result<(), ResponseError> {
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
        self.follow(&all, &self.rules.load_full()).await.map_err(|error| store_failed(&error))?;
        self.all.store(Arc::new(all));
        Ok(())
    }
}

async fn stored<T: Default + serde::de::DeserializeOwned>(
    store: &Arc<dyn Store>,
    name: &'static str,
) -> Result<T, StoreError> {
    match store.get_meta(name).await? {
        None => Ok(T::default()),
        Some(stored) => {
            serde_json::from_str(&stored).map_err(|source| StoreError::Corrupt { what: "webhooks", source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meili::task::{TaskKind, TaskStatus};
    use crate::rules::tested;
    use crate::settings::{Report, Section};
    use crate::store::sqlite::SqliteStore;

    async fn opened(store: &Arc<dyn Store>, hooks: Vec<TaskHook>) -> WebhookBook {
        let metrics = RuleMetrics::register(&prometheus::Registry::new()).unwrap();
        WebhookBook::open(Arc::clone(store), hooks, metrics).await.unwrap()
    }

    /// A rule that tells somebody of tasks.
    fn hook(rule: Value) -> TaskHook {
        let report = Report::default();
        let mut file = Section::new("", json!({"rules": [rule]}), &report);
        tested::read(&mut file)[0].task_hook().unwrap()
    }

    fn wanted(body: &Value) -> Wanted {
        Wanted::read(body).unwrap()
    }

    #[tokio::test]
    async fn webhooks_survive_the_gateway() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(":memory:", 64).unwrap());
        let book = opened(&store, Vec::new()).await;
        let body = json!({"url": "http://a", "headers": {"Authorization": "secret"}});
        let made = book.create(wanted(&body)).await.unwrap();
        let uuid: Uuid = made["uuid"].as_str().unwrap().parse().unwrap();
        book.update(uuid, wanted(&json!({"headers": {"b": "1"}}))).await.unwrap();

        let again = opened(&store, Vec::new()).await;
        assert_eq!(again.list(), book.list());
        assert_eq!(again.get(uuid).unwrap()["headers"], json!({"Authorization": "XXX...", "b": "1"}));
        again.delete(uuid).await.unwrap();
        assert_eq!(again.get(uuid).unwrap_err().code, "webhook_not_found");
        assert_eq!(again.list(), json!({"results": []}));
    }

    fn ended(uid: u32) -> MiroirTask {
        let mut task = MiroirTask::new(uid, TaskKind::IndexCreation, None, time::OffsetDateTime::UNIX_EPOCH);
        task.status = TaskStatus::Succeeded;
        task
    }

    async fn waiting(book: &WebhookBook, uuid: Uuid) -> Vec<u32> {
        book.untold(uuid).await.unwrap().unwrap().iter().map(|(_, task)| task.uid).collect()
    }

    #[tokio::test]
    async fn what_a_webhook_was_not_told_waits_for_the_next_run() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(":memory:", 64).unwrap());
        store.insert_task(ended(0)).await.unwrap();
        let book = opened(&store, Vec::new()).await;
        let made = async || {
            let made = book.create(wanted(&json!({"url": "http://a"}))).await.unwrap();
            made["uuid"].as_str().unwrap().parse::<Uuid>().unwrap()
        };
        let first = made().await;
        store.insert_task(ended(1)).await.unwrap();
        let second = made().await;
        store.insert_task(ended(2)).await.unwrap();
        assert_eq!((waiting(&book, first).await, waiting(&book, second).await), (vec![1, 2], vec![2]));
        let place = book.untold(first).await.unwrap().unwrap()[0].0;
        book.note_told(first, place).await.unwrap();

        let again = opened(&store, Vec::new()).await;
        assert_eq!((waiting(&again, first).await, waiting(&again, second).await), (vec![2], vec![2]));
        for uuid in [first, second] {
            again.note_told(uuid, store.last_end().await.unwrap()).await.unwrap();
        }
        assert!(store.ends_after(0, 9).await.unwrap().is_empty());
        again.delete(first).await.unwrap();
        assert!(again.untold(first).await.unwrap().is_none());
        again.delete(second).await.unwrap();
        store.insert_task(ended(3)).await.unwrap();
        assert!(store.ends_after(0, 9).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_rule_goes_on_where_it_was_over_restarts_and_reloads() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(":memory:", 64).unwrap());
        let rule = |url: &str| hook(json!({"name": "ops", "on_task": {"url": url}}));
        let uuid = uuid_of("ops");
        let book = opened(&store, vec![rule("http://a")]).await;
        store.insert_task(ended(0)).await.unwrap();
        assert_eq!(waiting(&book, uuid).await, [0]);
        let again = opened(&store, vec![rule("http://a")]).await;
        assert_eq!(waiting(&again, uuid).await, [0], "what it was not told waits");
        again.exchange_rules(vec![rule("http://b")]).await.unwrap();
        assert_eq!(waiting(&again, uuid).await, [0]);
        assert_eq!(again.listener(uuid).unwrap().webhook().url, "http://b");
        assert_eq!(again.list(), json!({"results": []}), "clients do not see it");
        again.exchange_rules(Vec::new()).await.unwrap();
        assert!(again.untold(uuid).await.unwrap().is_none() && again.listener(uuid).is_none());
        store.insert_task(ended(1)).await.unwrap();
        assert!(store.ends_after(0, 9).await.unwrap().is_empty(), "nobody is told, so nothing is kept");
    }
}
