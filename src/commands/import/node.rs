//! A running Meilisearch as a source. Nobody may write to it meanwhile: it is read page by page, and what is deleted would move
//! the pages. The comparison in the end finds that.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::chats;
use super::error::{ImportError, during};
use super::rules;
use super::source::{Source, SourceIndex, Visit};
use crate::dumps::format;
use crate::dumps::remote::Remote;
use crate::nodes::fence::Reign;
use crate::settings::Secret;

/// How many documents are asked for at a time.
const PAGE: u64 = 1000;
/// The most keys and indexes in one list.
const LIST: u64 = 1000;

/// What it had when the import began.
pub struct FromNode {
    remote: Remote,
    url: String,
    version: String,
    keys: Result<Vec<Value>, String>,
    features: Map<String, Value>,
    chats: BTreeMap<String, Value>,
    rules: Vec<(String, Value)>,
    indexes: Vec<SourceIndex>,
}

// === impl FromNode ===

impl FromNode {
    /// Asks the node what it has; documents are read later. An error where it does not answer, or the key is not enough.
    pub fn open(url: &str, key: Option<Secret>) -> Result<Self, ImportError> {
        let remote = Remote::new(url, key);
        let version = during(format!("the version of {url}"), remote.send("GET", "/version", None))?;
        let version = version["pkgVersion"].as_str().unwrap_or_default().to_owned();
        let mut indexes = Vec::new();
        for index in list(&remote, "/indexes")? {
            let uid = index["uid"].as_str().unwrap_or_default().to_owned();
            let what = format!("index `{uid}` of {url}");
            let read = |path: &str| during(what.as_str(), remote.send("GET", &format!("/indexes/{uid}{path}"), None));
            let Value::Object(mut settings) = read("/settings")? else { continue };
            if format::without_masked_keys(&mut settings) {
                println!("{what}: the keys of its embedders are not shown, set them on the target yourself");
            }
            let documents = read("/stats")?["numberOfDocuments"].as_u64().unwrap_or(0);
            let primary_key = index["primaryKey"].as_str().map(str::to_owned);
            indexes.push(SourceIndex { uid, primary_key, settings, documents });
        }
        let keys =
            list(&remote, "/keys").map(|keys| keys.iter().filter(|key| !is_of_a_leader(key)).map(key_body).collect());
        let features = remote.send("GET", "/experimental-features", None);
        let features = features.ok().and_then(|features| features.as_object().cloned()).unwrap_or_default();
        let is_on = |feature: &str| features.get(feature).is_some_and(|on| *on == true);
        let (shows_chats, shows_rules) = (is_on("chatCompletions"), is_on("dynamicSearchRules"));
        Ok(Self {
            url: url.to_owned(),
            version,
            keys: keys.map_err(|error| error.to_string()),
            features,
            chats: if shows_chats { chats(&remote, url)? } else { BTreeMap::new() },
            rules: if shows_rules { rules::of(&remote)? } else { Vec::new() },
            indexes,
            remote,
        })
    }
}

/// The settings of all workspaces, without keys, which nobody shows.
fn chats(remote: &Remote, url: &str) -> Result<BTreeMap<String, Value>, ImportError> {
    let mut all = BTreeMap::new();
    for listed in list(remote, "/chats")? {
        let workspace = listed["uid"].as_str().unwrap_or_default().to_owned();
        let what = format!("workspace `{workspace}` of {url}");
        let mut settings = during(what.as_str(), remote.send("GET", &chats::path(&workspace), None))?;
        let key = settings.as_object_mut().and_then(|fields| fields.shift_remove("apiKey"));
        if key.is_some_and(|key| key.is_string()) {
            println!("{what}: its key is not shown, set it on the target yourself");
        }
        all.insert(workspace, settings);
    }
    Ok(all)
}

/// True for a key by which a gateway changed this node, where it is one of a cluster's.
fn is_of_a_leader(key: &Value) -> bool {
    key["description"].as_str().is_some_and(|text| Reign::of_key(text).is_some())
}

fn key_body(key: &Value) -> Value {
    let fields = ["name", "description", "uid", "actions", "indexes", "expiresAt"];
    fields.iter().map(|field| ((*field).to_owned(), key[*field].clone())).collect::<Map<_, _>>().into()
}

/// All of a list that is shown by pages.
fn list(remote: &Remote, path: &str) -> Result<Vec<Value>, ImportError> {
    let mut all = Vec::new();
    loop {
        let asked = format!("{path}?limit={LIST}&offset={}", all.len());
        let page = during(path, remote.send("GET", &asked, None))?;
        let results = page["results"].as_array().cloned().unwrap_or_default();
        all.extend(results.iter().cloned());
        if results.is_empty() || all.len() as u64 >= page["total"].as_u64().unwrap_or(0) {
            return Ok(all);
        }
    }
}

impl Source for FromNode {
    fn identity(&self) -> String {
        format!("node {}", self.url)
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn keys(&self) -> Result<&[Value], &str> {
        self.keys.as_deref().map_err(String::as_str)
    }

    fn features(&self) -> &Map<String, Value> {
        &self.features
    }

    fn webhooks(&self) -> &[Value] {
        // Nodes do not show what a webhook needs.
        &[]
    }

    fn chats(&self) -> &BTreeMap<String, Value> {
        &self.chats
    }

    fn rules(&self) -> &[(String, Value)] {
        &self.rules
    }

    fn indexes(&self) -> &[SourceIndex] {
        &self.indexes
    }

    fn documents(&mut self, from: &dyn Fn(&str) -> u64, visit: Visit<'_>) -> Result<(), ImportError> {
        for index in &self.indexes {
            let mut place = from(&index.uid);
            while place < index.documents {
                let body = json!({ "offset": place, "limit": PAGE, "retrieveVectors": true });
                let path = format!("/indexes/{}/documents/fetch", index.uid);
                let page =
                    during(format!("documents of `{}`", index.uid), self.remote.send("POST", &path, Some(&body)))?;
                let documents = page["results"].as_array().map(Vec::as_slice).unwrap_or_default();
                if documents.is_empty() {
                    break;
                }
                for document in documents {
                    let text = document.to_string();
                    let (text, end) = format::without_empty_vectors(&text);
                    visit(&index.uid, place, &format!("{text}{end}"))?;
                    place += 1;
                }
            }
        }
        Ok(())
    }
}
