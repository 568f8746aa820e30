//! The keys of an epoch on the nodes: made, looked at, made anew where a node has lost one; and the tasks behind a node's barrier.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::client::{NodeClient, TaskStatusResponse};
use super::error::{NodeError, NodeErrorKind};
use super::fence::{Fence, Means, NAME, Pass, Post, Reign, Right, Unfenced};
use super::meaning::Meaning;
use super::message::{NodeReply, Subrequest, Trace};
use super::stamp;
use crate::meili::error::Code;
use crate::placement::topology::Node;
use crate::settings::Secret;
use crate::store::{Store, StoreError};

/// All: an engine lets documents be edited by a key for everything alone, `documents.*` is not enough.
const ACTIONS: [&str; 1] = ["*"];
const TASK_PAGE: usize = 200;

/// A key on a node, as its API shows it.
#[derive(Deserialize)]
struct Shown {
    uid: Uuid,
    key: String,
    #[serde(default)]
    description: Option<String>,
}

/// A key of this cluster's on a node.
struct Ours {
    uid: Uuid,
    epoch: i64,
    secret: Secret,
}

/// Why a node takes no keys.
struct Keyless(String);

// === impl NodeClient ===

impl NodeClient {
    /// Makes sure that `node` takes changes of this epoch alone. To be called before it takes part; where this gateway is the only one
    /// there is nothing to do.
    pub async fn fence(&self, node: &Node, trace: &Trace) -> Result<(), NodeError> {
        let Some(Right::Leads(fence)) = self.right() else { return Ok(()) };
        let post = fence.post(&node.id);
        let _one = post.making.lock().await;
        fence.trust.wait().await;
        self.close_to_others(fence, node, &post, trace).await
    }

    /// A node has refused the key `refused`. True when it has another one now. False when the key is good, and what was asked for is more
    /// than it allows.
    pub(super) async fn renew(
        &self,
        fence: &Fence,
        node: &Node,
        refused: Uuid,
        trace: &Trace,
    ) -> Result<bool, NodeError> {
        let post = fence.post(&node.id);
        let _one = post.making.lock().await;
        if !matches!(post.pass(), Some(Pass::Key { uid, .. }) if uid == refused) {
            return Ok(true);
        }
        if let Ok(listed) = self.keys_on(fence, node, trace).await?
            && listed.iter().any(|ours| ours.uid == refused)
        {
            return Ok(false);
        }
        tracing::warn!(node = %node.id, epoch = fence.reign.epoch, "a node refuses the key of this epoch: the lease is looked at");
        // Another gateway may lead. Then this process ends here.
        (fence.doubt)();
        fence.trust.wait().await;
        self.close_to_others(fence, node, &post, trace).await.map(|()| true)
    }

    /// The key of this epoch is there, those of others are not, and the barrier is noted.
    async fn close_to_others(&self, fence: &Fence, node: &Node, post: &Post, trace: &Trace) -> Result<(), NodeError> {
        let pass = match fence.means {
            Means::None => Pass::Unfenced,
            Means::NodeKey => match self.only_key(fence, node, post, trace).await? {
                Ok(pass) => pass,
                Err(Keyless(why)) => match fence.unfenced {
                    Unfenced::Refuse => {
                        let why = format!("{why}; see `gateway.unfenced_nodes`");
                        return Err(NodeError::new(&node.id, NodeErrorKind::Unfenced(why)));
                    }
                    Unfenced::Allow => {
                        tracing::warn!(node = %node.id, why, "a former leader's last requests cannot be kept from a node");
                        Pass::Unfenced
                    }
                },
            },
        };
        let newest = self.tasks_page(node, 1, None, trace).await?.first().map(|task| task.uid);
        tracing::info!(node = %node.id, epoch = fence.reign.epoch, barrier = newest, "a node takes changes of this epoch");
        post.lets_in(pass, newest);
        Ok(())
    }

    async fn only_key(
        &self,
        fence: &Fence,
        node: &Node,
        post: &Post,
        trace: &Trace,
    ) -> Result<Result<Pass, Keyless>, NodeError> {
        let listed = match self.keys_on(fence, node, trace).await? {
            Ok(listed) => listed,
            Err(keyless) => return Ok(Err(keyless)),
        };
        if listed.iter().any(|ours| ours.epoch > fence.reign.epoch) {
            // Of a leader after this one; unless the state was lost, and epochs are counted anew.
            (fence.doubt)();
            fence.trust.wait().await;
        }
        let held = post.pass();
        let is_held = |ours: &&Ours| matches!(&held, Some(Pass::Key { uid, .. }) if *uid == ours.uid);
        let (uid, secret) = match listed.iter().find(is_held) {
            Some(ours) => (ours.uid, ours.secret.clone()),
            None => match self.make_key(fence, node, trace).await? {
                Ok(made) => made,
                Err(keyless) => return Ok(Err(keyless)),
            },
        };
        for old in listed.iter().filter(|ours| ours.uid != uid) {
            let path = format!("/keys/{}", old.uid);
            let request = Subrequest { method: http::Method::DELETE, ..Subrequest::get(path, self.timeout) };
            let reply = self.send_as_configured(node, request, trace).await?;
            if !reply.is_success() && !reply.error().is_some_and(|error| error.is(Code::ApiKeyNotFound)) {
                let why = format!("the key of epoch {} could not be deleted: status {}", old.epoch, reply.status);
                return Ok(Err(Keyless(why)));
            }
        }
        Ok(Ok(Pass::Key { uid, secret }))
    }

    /// The keys of this cluster's leaders on `node`.
    async fn keys_on(
        &self,
        fence: &Fence,
        node: &Node,
        trace: &Trace,
    ) -> Result<Result<Vec<Ours>, Keyless>, NodeError> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<Shown>,
        }
        let reply = self.send_as_configured(node, Subrequest::get("/keys?limit=100000", self.timeout), trace).await?;
        if let Some(keyless) = keyless(&reply) {
            return Ok(Err(keyless));
        }
        let page: Page = self.read(node, &reply)?;
        let ours = page.results.into_iter().filter_map(|shown| {
            let reign = Reign::of_key(shown.description.as_deref()?)?;
            let secret = Secret::new(shown.key);
            (reign.cluster == fence.reign.cluster).then_some(Ours { uid: shown.uid, epoch: reign.epoch, secret })
        });
        Ok(Ok(ours.collect()))
    }

    async fn make_key(
        &self,
        fence: &Fence,
        node: &Node,
        trace: &Trace,
    ) -> Result<Result<(Uuid, Secret), Keyless>, NodeError> {
        // Of nobody's making before: a state that was lost may count the same epoch twice.
        let uid = Uuid::new_v4();
        let body = json!({
            "uid": uid, "name": NAME, "description": fence.reign.to_string(), "actions": ACTIONS, "indexes": ["*"],
            "expiresAt": null,
        });
        let request = Subrequest::json(http::Method::POST, "/keys", Bytes::from(body.to_string()), self.timeout, false);
        let reply = self.send_as_configured(node, request, trace).await?;
        if let Some(keyless) = keyless(&reply) {
            return Ok(Err(keyless));
        }
        let made: Shown = self.read(node, &reply)?;
        Ok(Ok((made.uid, Secret::new(made.key))))
    }

    /// The tasks of `node` behind its barrier that were given by the leader of another epoch, and the mark up to which was looked;
    /// `None` where there is nothing to look for.
    pub async fn late_arrivals(&self, node: &Node, trace: &Trace) -> Result<Option<Late>, NodeError> {
        let Some(Right::Leads(fence)) = self.right() else { return Ok(None) };
        let post = fence.post(&node.id);
        let Some(next) = post.next() else { return Ok(None) };
        let mut found = Vec::new();
        let (mut newest, mut from) = (None, None);
        // All of them, however many: what is left out would never be looked at again.
        loop {
            let page = self.tasks_page(node, TASK_PAGE, from, trace).await?;
            newest = newest.or_else(|| page.first().map(|task| task.uid));
            let is_last = page.len() < TASK_PAGE || page.iter().any(|task| task.uid <= next);
            from = page.last().map(|task| task.uid.saturating_sub(1));
            let behind = page.into_iter().filter(|task| task.uid >= next);
            found.extend(behind.filter(|task| {
                let led = post.led(task.uid, fence.reign.epoch);
                stamp::is_of_another_epoch(task, led)
            }));
            if is_last {
                break;
            }
        }
        Ok(newest.filter(|newest| *newest >= next).map(|newest| Late { tasks: found, next, newest }))
    }

    /// What was found is durable: nobody looks at it again.
    pub fn noted(&self, node: &Node, late: &Late) {
        if let Some(Right::Leads(fence)) = self.right() {
            fence.post(&node.id).looked(late.next, late.newest);
        }
    }

    /// The next leader looks at what comes from here on. To be called before `node` takes part, and now and then.
    pub async fn keep_looked(&self, node: &Node, store: &dyn Store) -> Result<(), StoreError> {
        match self.right() {
            Some(Right::Leads(fence)) => fence.keep(&node.id, store).await,
            Some(Right::Follows) | None => Ok(()),
        }
    }

    /// The newest tasks up to `from`.
    async fn tasks_page(
        &self,
        node: &Node,
        limit: usize,
        from: Option<u32>,
        trace: &Trace,
    ) -> Result<Vec<TaskStatusResponse>, NodeError> {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<TaskStatusResponse>,
        }
        let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
        let request = Subrequest::get(format!("/tasks?limit={limit}{from}"), self.timeout);
        let reply = self.send(node, request, trace).await?;
        self.read::<Page>(node, &reply).map(|page| page.results)
    }
}

/// What came too late to a node, as far as was looked.
#[derive(Debug)]
pub struct Late {
    pub tasks: Vec<TaskStatusResponse>,
    next: u32,
    newest: u32,
}

fn keyless(reply: &NodeReply) -> Option<Keyless> {
    let refused = Meaning::of_reply(reply) == Meaning::Unauthorised;
    refused.then(|| match reply.shown_error() {
        Some(error) => Keyless(format!("the node takes no keys of Miroir's ({})", error.code)),
        None => Keyless(format!("the node takes no keys of Miroir's (status {})", reply.status)),
    })
}

/// True where a node refuses a key that it should know.
pub(super) fn refuses_key(answer: &Result<NodeReply, NodeError>) -> bool {
    answer
        .as_ref()
        .is_ok_and(|reply| reply.status == 403 && reply.error().is_some_and(|error| error.is(Code::InvalidApiKey)))
}

#[cfg(test)]
mod tests;
