//! What stands in a dump of Meilisearch's sixth format, and where. Pure.
//!
//! ```text
//! metadata.json                    {"dumpVersion":"V6","dbVersion":"1.50.0","dumpDate":"..."}
//! instance_uid.uuid                a uuid as text
//! keys.jsonl                       an API key a line, its names in snake case
//! experimental-features.json
//! webhooks.json                    {"webhooks":{"<uuid>":{"url":"...","headers":{}}}}
//! tasks/queue.jsonl                a task a line; of a cluster those that have ended
//! batches/queue.jsonl              empty
//! network.json                     an engine's remotes
//! chat-completions-settings/*.json a workspace of chats, named by its file: `{"source":"openAi","apiKey":"...","prompts":{}}`
//! chat-completions-settings/others/workspaces.json   Miroir's own: workspaces whose names can name no file, by their names
//! indexes/.meili_dsr/*             the dynamic search rules, a document each (`rules.rs`)
//! indexes/<uid>/metadata.json      {"uid":"...","primaryKey":"id","createdAt":"...","updatedAt":"..."}
//! indexes/<uid>/settings.json      as `GET /indexes/<uid>/settings` shows them
//! indexes/<uid>/documents.jsonl    a document a line, vectors in `_vectors`
//! ```

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::meili::chat::Workspaces;
use crate::meili::key::Key;

/// The format that is written, and the only one that is read.
pub const VERSION: &str = "V6";
/// The most bytes of a workspace's name in the name of a file, which has no more than 255.
const LONGEST: usize = 250;

/// A file of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Metadata,
    InstanceUid,
    Keys,
    Features,
    Webhooks,
    Tasks,
    Batches,
    /// Remotes that an engine searches. Not written.
    Network,
    /// The settings of a workspace of chats.
    Chat {
        workspace: String,
    },
    /// Those of all workspaces whose names can name no file. An engine passes folders over there.
    OtherChats,
    Index {
        uid: String,
        part: IndexPart,
    },
    /// A folder, or what this version does not know.
    Other,
}

/// A file of one index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexPart {
    Metadata,
    Settings,
    Documents,
}

/// The file that says what a dump is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub dump_version: String,
    pub db_version: String,
    #[serde(with = "time::serde::rfc3339")]
    pub dump_date: OffsetDateTime,
}

/// What a dump says of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexMetadata {
    pub uid: String,
    pub primary_key: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// An API key as a dump has it: in a dump names are in snake case, and what is not there is left out.
#[derive(Serialize, Deserialize)]
struct DumpedKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    uid: uuid::Uuid,
    actions: Value,
    indexes: Value,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

// === impl Entry ===

impl Entry {
    /// What stands at `path`, written `indexes/movies/settings.json` or `./indexes/movies/settings.json`.
    pub fn of(path: &Path) -> Self {
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(part) => match part.to_str() {
                    Some(part) => parts.push(part),
                    None => return Self::Other,
                },
                // A dump names nothing outside of itself.
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Self::Other,
            }
        }
        match parts[..] {
            ["metadata.json"] => Self::Metadata,
            ["instance_uid.uuid"] => Self::InstanceUid,
            ["keys.jsonl"] => Self::Keys,
            ["experimental-features.json"] => Self::Features,
            ["webhooks.json"] => Self::Webhooks,
            ["tasks", "queue.jsonl"] => Self::Tasks,
            ["batches", "queue.jsonl"] => Self::Batches,
            ["network.json"] => Self::Network,
            ["chat-completions-settings", "others", "workspaces.json"] => Self::OtherChats,
            ["chat-completions-settings", file] => match file.strip_suffix(".json") {
                Some(workspace) if names_a_file(workspace) => Self::Chat { workspace: workspace.to_owned() },
                Some(_) | None => Self::Other,
            },
            ["indexes", uid, file] => match IndexPart::of(file) {
                Some(part) => Self::Index { uid: uid.to_owned(), part },
                None => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// Where it stands.
    pub fn path(&self) -> String {
        match self {
            Self::Metadata => "metadata.json".to_owned(),
            Self::InstanceUid => "instance_uid.uuid".to_owned(),
            Self::Keys => "keys.jsonl".to_owned(),
            Self::Features => "experimental-features.json".to_owned(),
            Self::Webhooks => "webhooks.json".to_owned(),
            Self::Tasks => "tasks/queue.jsonl".to_owned(),
            Self::Batches => "batches/queue.jsonl".to_owned(),
            Self::Index { uid, part } => format!("indexes/{uid}/{}", part.file()),
            Self::Network => "network.json".to_owned(),
            Self::Chat { workspace } => format!("chat-completions-settings/{workspace}.json"),
            Self::OtherChats => "chat-completions-settings/others/workspaces.json".to_owned(),
            Self::Other => "other".to_owned(),
        }
    }
}

// === impl IndexPart ===

impl IndexPart {
    const ALL: [Self; 3] = [Self::Metadata, Self::Settings, Self::Documents];

    fn file(self) -> &'static str {
        match self {
            Self::Metadata => "metadata.json",
            Self::Settings => "settings.json",
            Self::Documents => "documents.jsonl",
        }
    }

    fn of(file: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.file() == file)
    }
}

/// The name of a dump that was begun at `moment`: `20261129-164500123`.
pub fn dump_uid(moment: OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]-[hour][minute][second][subsecond digits:3]");
    moment.format(&format).expect("the parts of a date can be written")
}

/// The files of workspaces of chats, each of which `settings` says.
pub fn chat_files(workspaces: &Workspaces) -> Vec<(Entry, String)> {
    let (named, others): (Vec<_>, Vec<_>) = workspaces.iter().partition(|(name, _)| names_a_file(name));
    let mut files: Vec<(Entry, String)> = named
        .into_iter()
        .map(|(name, settings)| (Entry::Chat { workspace: name.clone() }, settings.dumped().to_string()))
        .collect();
    if !others.is_empty() {
        let others: Map<String, Value> =
            others.into_iter().map(|(name, settings)| (name.clone(), settings.dumped())).collect();
        files.push((Entry::OtherChats, Value::Object(others).to_string()));
    }
    files
}

/// Whether a workspace may be called so in a dump: an engine's own dump fails of a name with `/`, and who unpacks one of a name that is
/// too long.
fn names_a_file(workspace: &str) -> bool {
    !workspace.is_empty() && workspace.len() <= LONGEST && !workspace.contains(['/', '\0'])
}

/// The line of a key.
pub fn key_line(key: &Key) -> String {
    let dumped = DumpedKey {
        description: key.description.clone(),
        name: key.name.clone(),
        uid: key.uid,
        actions: json!(key.actions),
        indexes: json!(key.indexes),
        expires_at: key.expires_at,
        created_at: key.created_at,
        updated_at: key.updated_at,
    };
    json!(dumped).to_string()
}

/// The body that creates the key of a line, with its uid: under one master key it has the same secret then.
pub fn key_body(line: &str) -> Result<Value, serde_json::Error> {
    let key: DumpedKey = serde_json::from_str(line)?;
    let format = &time::format_description::well_known::Rfc3339;
    Ok(json!({
        "name": key.name,
        "description": key.description,
        "uid": key.uid,
        "actions": key.actions,
        "indexes": key.indexes,
        "expiresAt": key.expires_at.and_then(|date| date.format(format).ok()),
    }))
}

/// Takes out what nodes show masked: a key that is no key would take the place of the one that is there. True if there was one.
pub fn without_masked_keys(settings: &mut Map<String, Value>) -> bool {
    let mut found = false;
    let embedders = settings.get_mut("embedders").and_then(Value::as_object_mut);
    for embedder in embedders.into_iter().flat_map(|embedders| embedders.values_mut()) {
        let mut places = vec![&mut *embedder];
        while let Some(Value::Object(fields)) = places.pop() {
            found |= fields.get("apiKey").is_some_and(Value::is_string);
            fields.shift_remove("apiKey");
            let inner =
                fields.iter_mut().filter(|(name, _)| matches!(name.as_str(), "searchEmbedder" | "indexingEmbedder"));
            places.extend(inner.map(|(_, inner)| inner));
        }
    }
    found
}

/// Takes out the setting of keys to other indexes where it has none: who has no such setting, or has it switched off, takes the others
/// then.
pub fn without_no_joins(settings: &mut Map<String, Value>) {
    if settings.get("foreignKeys").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        settings.shift_remove("foreignKeys");
    }
}

/// Whether a task of a queue, a line, was waiting when it was dumped, and was not the dump itself.
pub fn waits(line: &str) -> bool {
    let task: Value = serde_json::from_str(line).unwrap_or_default();
    matches!(task["status"].as_str(), Some("enqueued" | "processing")) && task["type"].get("dumpCreation").is_none()
}

/// A document as a dump has it. Asked for vectors a node names them of every document, last: `{}` where it has none.
pub fn without_empty_vectors(document: &str) -> (&str, &'static str) {
    document.strip_suffix(r#","_vectors":{}}"#).map_or((document, ""), |rest| (rest, "}"))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::meili::chat::Workspace;

    #[test]
    fn every_file_is_found_where_it_is_written() {
        let index = |part| Entry::Index { uid: "movies".to_owned(), part };
        let all = [
            Entry::Metadata,
            Entry::InstanceUid,
            Entry::Keys,
            Entry::Features,
            Entry::Webhooks,
            Entry::Tasks,
            Entry::Batches,
            Entry::Network,
            Entry::Chat { workspace: "v1.2 a".to_owned() },
            Entry::OtherChats,
            index(IndexPart::Metadata),
            index(IndexPart::Settings),
            index(IndexPart::Documents),
        ];
        for entry in all {
            assert_eq!(Entry::of(Path::new(&entry.path())), entry);
            assert_eq!(Entry::of(Path::new(&format!("./{}", entry.path()))), entry);
        }
        let others = ["chat-completions-settings", "chat-completions-settings/a", "chat-completions-settings/.json"];
        for other in ["indexes", "indexes/movies", "../metadata.json", "/metadata.json", "indexes/movies/../x", "a/b"]
            .iter()
            .chain(&others)
        {
            assert_eq!(Entry::of(Path::new(other)), Entry::Other, "{other}");
        }
    }

    #[test]
    fn a_dump_is_named_by_its_moment() {
        assert_eq!(dump_uid(datetime!(2026-01-02 03:04:05.678 UTC)), "20260102-030405678");
    }

    #[test]
    fn a_key_comes_back_with_its_uid() {
        let mut key = Key::defaults(datetime!(2026-01-02 03:04:05 UTC)).remove(0);
        key.expires_at = Some(datetime!(2030-01-01 00:00 UTC));
        let line = key_line(&key);
        assert!(line.contains(r#""expires_at":"2030-01-01T00:00:00Z""#), "{line}");
        let body = key_body(&line).unwrap();
        assert_eq!(body["uid"], json!(key.uid));
        assert_eq!(body["actions"], json!(key.actions));
        assert_eq!(body["expiresAt"], "2030-01-01T00:00:00Z");
        assert_eq!(body["name"], json!(key.name));
    }

    #[test]
    fn a_masked_key_is_taken_out_wherever_it_stands() {
        let settings = json!({"embedders": {
            "a": {"source": "openAi", "apiKey": "sk-XXXX...", "model": "m"},
            "b": {"source": "composite", "searchEmbedder": {"apiKey": "XXX..."}, "indexingEmbedder": {"url": "u"}},
            "c": {"source": "userProvided", "dimensions": 3},
        }});
        let Value::Object(mut settings) = settings else { unreachable!() };
        assert!(without_masked_keys(&mut settings));
        let expected = json!({
            "a": {"source": "openAi", "model": "m"},
            "b": {"source": "composite", "searchEmbedder": {}, "indexingEmbedder": {"url": "u"}},
            "c": {"source": "userProvided", "dimensions": 3},
        });
        assert_eq!(settings["embedders"], expected);
        assert!(!without_masked_keys(&mut settings));
    }

    #[test]
    fn tasks_that_waited_are_counted() {
        let queue = concat!(
            r#"{"uid":0,"status":"succeeded","type":{"documentImport":{}}}"#,
            "\n",
            r#"{"uid":1,"status":"enqueued","type":{"documentImport":{}}}"#,
            "\n",
            r#"{"uid":2,"status":"processing","type":{"dumpCreation":{}}}"#,
            "\n",
            r#"{"uid":3,"status":"enqueued","type":"documentClear"}"#,
            "\n",
        );
        assert_eq!(queue.lines().filter(|line| waits(line)).count(), 2);
        assert!(!waits(""));
    }

    #[test]
    fn workspaces_whose_names_name_no_file_stand_together() {
        let long = "a".repeat(251);
        let names = ["v1.2", "..", "a/b", "../c", "\0", &long];
        let workspaces = Workspaces::from_iter(names.map(|name| (name.to_owned(), Workspace::default())));
        let files = chat_files(&workspaces);
        let named: Vec<String> = files.iter().map(|(entry, _)| entry.path()).collect();
        let folder = "chat-completions-settings";
        assert_eq!(
            named,
            [format!("{folder}/...json"), format!("{folder}/v1.2.json"), format!("{folder}/others/workspaces.json")]
        );
        for (entry, _) in &files {
            assert_eq!(Entry::of(Path::new(&entry.path())), *entry);
        }
        let others: Map<String, Value> = serde_json::from_str(&files[2].1).unwrap();
        assert_eq!(others.keys().collect::<Vec<_>>(), ["\0", "../c", "a/b", &long]);
        assert!(chat_files(&Workspaces::new()).is_empty());
    }

    #[test]
    fn joins_are_taken_along_where_there_are_any() {
        let of = |settings: Value| {
            let Value::Object(mut settings) = settings else { unreachable!() };
            without_no_joins(&mut settings);
            Value::Object(settings)
        };
        assert_eq!(of(json!({"foreignKeys": [], "stopWords": []})), json!({"stopWords": []}));
        let keys = json!({"foreignKeys": [{"fieldName": "a"}]});
        assert_eq!(of(keys.clone()), keys);
    }

    #[test]
    fn only_the_nodes_own_empty_vectors_are_left_out() {
        let shown = |document| {
            let (document, end) = without_empty_vectors(document);
            format!("{document}{end}")
        };
        assert_eq!(shown(r#"{"id":1,"_vectors":{}}"#), r#"{"id":1}"#);
        for kept in [r#"{"id":1}"#, r#"{"id":1,"a":{"b":1,"_vectors":{}}}"#, r#"{"id":1,"_vectors":{"e":[1]}}"#] {
            assert_eq!(shown(kept), kept);
        }
    }
}
