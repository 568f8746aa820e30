//! The node as its clients see it: a real node on a free port, asked over HTTP.

mod access;
mod bad_input;
mod documents;
mod durability;
mod indexes;
mod tasks;

use std::path::Path;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::node::{NodeOptions, OpenNode};

/// A node that serves until it is dropped.
struct Server {
    url: String,
    agent: ureq::Agent,
    key: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    open: Option<std::sync::Arc<OpenNode>>,
    runtime: Runtime,
}

struct Reply {
    status: u16,
    body: Value,
    headers: ureq::http::HeaderMap,
}

// === impl Server ===

impl Server {
    fn start(folder: &Path) -> Self {
        Self::start_with(NodeOptions { data_dir: folder.to_owned(), ..NodeOptions::default() })
    }

    fn start_with(options: NodeOptions) -> Self {
        let open = std::sync::Arc::new(OpenNode::open(&options).unwrap());
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = {
            let open = std::sync::Arc::clone(&open);
            runtime.spawn(async move {
                open.serve(listener, async {
                    let _ = stopped.await;
                })
                .await
                .unwrap();
            })
        };
        // No connection twice: the node closes one whose body it did not read, which may cross the next request.
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_idle_connections(0)
            .build()
            .into();
        let key = options.master_key;
        Self { url, agent, key, stop: Some(stop), serving: Some(serving), open: Some(open), runtime }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Reply {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let reply = match body {
            Some(bytes) => self.agent.run(request.body(bytes).unwrap()),
            None => self.agent.run(request.body(()).unwrap()),
        };
        let mut reply = reply.unwrap();
        let text = reply.body_mut().read_to_string().unwrap();
        Reply {
            status: reply.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
            headers: reply.headers().clone(),
        }
    }

    fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", path, &[], None);
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.body);
        reply.body
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }

    /// Sends a request that makes a task, and answers the task when it has ended.
    fn task(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.json(method, path, body);
        self.ended(&reply)
    }

    fn ended(&self, reply: &Reply) -> Value {
        assert!(matches!(reply.status, 200 | 202), "{} {}", reply.status, reply.body);
        let uid = u32::try_from(reply.body["taskUid"].as_u64().unwrap()).unwrap();
        self.node().node.queue.wait_for(uid);
        self.get(&format!("/tasks/{uid}"))
    }

    fn node(&self) -> &OpenNode {
        self.open.as_ref().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving).unwrap();
        }
        self.open.take();
    }
}

fn movies() -> Value {
    json!([
        {"id": 1, "title": "Paris at night", "genre": "drama"},
        {"id": "2", "title": "The sea", "genre": "comedy"},
        {"id": 3, "title": "Night train", "genre": "drama"},
    ])
}
