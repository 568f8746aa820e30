//! A dump as a source. It is read once to its end before anything is loaded, so that a broken one loads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::ImportError;
use super::source::{Source, SourceIndex, Visit};
use crate::dumps::archive;
use crate::dumps::format::{self, Entry, IndexMetadata, IndexPart, Metadata};
use crate::dumps::rules;
use crate::meili::uid::{IndexUid, RULES_INDEX};

/// The most bytes of a file that is held in memory.
const MOST: u64 = 1 << 30;
/// The most bytes of a document; an archive is packed, and a small one may hold a line without an end.
const MOST_OF_A_LINE: u64 = 256 << 20;

/// A dump that was found whole.
pub struct FromDump {
    path: PathBuf,
    identity: String,
    version: String,
    keys: Vec<Value>,
    features: Map<String, Value>,
    webhooks: Vec<Value>,
    chats: BTreeMap<String, Value>,
    rules: Vec<(String, Value)>,
    indexes: Vec<SourceIndex>,
}

/// What has been read of a dump.
#[derive(Default)]
struct Found {
    metadata: Option<Value>,
    instance: String,
    keys: Vec<Value>,
    features: Map<String, Value>,
    webhooks: Vec<Value>,
    chats: BTreeMap<String, Value>,
    rules: Vec<(String, Value)>,
    indexes: BTreeMap<String, Parts>,
    tasks: usize,
    /// Tasks that had not ended.
    waiting: usize,
    /// What Miroir does not serve.
    others: BTreeSet<&'static str>,
}

#[derive(Default)]
struct Parts {
    metadata: Option<IndexMetadata>,
    settings: Map<String, Value>,
    documents: u64,
}

// === impl FromDump ===

impl FromDump {
    /// Reads what the dump says of itself and of its indexes; documents are read later. An error where it is none, or of another format.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let broken = |reason: String| ImportError::Broken { path: path.to_owned(), reason };
        let mut found = Found::default();
        let read = archive::read::<io::Error>(open(path)?, &mut |entry, content| found.take(entry, content));
        read.map_err(|error| broken(error.to_string()))?;
        let metadata = found.metadata.take().ok_or_else(|| broken("metadata.json is missing".to_owned()))?;
        let version = metadata["dumpVersion"].as_str().unwrap_or("none").to_owned();
        if version != format::VERSION {
            return Err(ImportError::Version { path: path.to_owned(), version });
        }
        let metadata: Metadata = serde_json::from_value(metadata).map_err(|error| broken(error.to_string()))?;
        if found.tasks > 0 {
            println!("the {} tasks of the dump are not taken along: no API takes them", found.tasks);
        }
        if found.waiting > 0 {
            println!(
                "the dump was made while {} tasks were waiting: what they would have done is not in its indexes",
                found.waiting
            );
        }
        for what in found.others {
            println!("{what} are not taken along: Miroir does not serve them");
        }
        let indexes = found.indexes.into_iter().map(|(uid, parts)| {
            // It becomes a part of paths that are asked for.
            IndexUid::parse(&uid).map_err(|error| broken(error.message))?;
            let metadata = parts.metadata.ok_or_else(|| broken(format!("index `{uid}` has no metadata.json")))?;
            if metadata.uid != uid {
                return Err(broken(format!("index `{uid}` calls itself `{}`", metadata.uid)));
            }
            let (settings, documents) = (parts.settings, parts.documents);
            Ok(SourceIndex { uid, primary_key: metadata.primary_key, settings, documents })
        });
        Ok(Self {
            path: path.to_owned(),
            identity: format!("dump {} of {}", found.instance.trim(), metadata.dump_date),
            version: metadata.db_version,
            keys: found.keys,
            features: found.features,
            webhooks: found.webhooks,
            chats: found.chats,
            rules: found.rules,
            indexes: indexes.collect::<Result<_, ImportError>>()?,
        })
    }
}

fn open(path: &Path) -> Result<BufReader<File>, ImportError> {
    File::open(path).map(BufReader::new).map_err(|source| ImportError::File { path: path.to_owned(), source })
}

impl Source for FromDump {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn keys(&self) -> Result<&[Value], &str> {
        Ok(&self.keys)
    }

    fn features(&self) -> &Map<String, Value> {
        &self.features
    }

    fn webhooks(&self) -> &[Value] {
        &self.webhooks
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
        archive::read::<ImportError>(open(&self.path)?, &mut |entry, content| {
            let Entry::Index { uid, part: IndexPart::Documents } = entry else { return Ok(()) };
            if uid == RULES_INDEX {
                return Ok(());
            }
            let (mut lines, mut line, mut place) = (BufReader::new(content), String::new(), 0);
            let first = from(&uid);
            while next_line(&mut lines, &mut line)? {
                if place >= first && !line.trim().is_empty() {
                    visit(&uid, place, line.trim_end())?;
                }
                place += u64::from(!line.trim().is_empty());
            }
            Ok(())
        })
    }
}

// === impl Found ===

impl Found {
    fn take(&mut self, entry: Entry, content: &mut dyn Read) -> io::Result<()> {
        match entry {
            Entry::Metadata => self.metadata = Some(json_of(content)?),
            Entry::InstanceUid => self.instance = text(content)?,
            Entry::Keys => {
                for line in text(content)?.lines().filter(|line| !line.trim().is_empty()) {
                    self.keys.push(format::key_body(line)?);
                }
            }
            Entry::Features => self.features = json_of(content)?,
            Entry::Webhooks => {
                let all: Value = json_of(content)?;
                let named = all["webhooks"].as_object().into_iter().flatten();
                self.webhooks = named.map(|(_, webhook)| webhook_body(webhook)).collect();
            }
            Entry::Index { uid, part } if uid == RULES_INDEX => {
                // Of its other files nothing can be said to a target.
                if part == IndexPart::Documents {
                    for line in text(content)?.lines().filter(|line| !line.trim().is_empty()) {
                        self.rules.push(rules::rule(line)?);
                    }
                }
            }
            Entry::Index { uid, part } => self.indexes.entry(uid).or_default().take(part, content)?,
            Entry::Tasks => {
                let (mut lines, mut line) = (BufReader::new(content), String::new());
                while next_line(&mut lines, &mut line)? {
                    self.tasks += 1;
                    self.waiting += usize::from(format::waits(&line));
                }
            }
            Entry::Chat { workspace } => {
                self.chats.insert(workspace, Value::Object(json_of(content)?));
            }
            Entry::OtherChats => {
                let others: BTreeMap<String, Map<String, Value>> = json_of(content)?;
                self.chats.extend(others.into_iter().map(|(workspace, settings)| (workspace, Value::Object(settings))));
            }
            Entry::Network => {
                let network: Value = json_of(content)?;
                if network["remotes"].as_object().is_some_and(|remotes| !remotes.is_empty()) {
                    self.others.insert("remotes of the network");
                }
            }
            Entry::Batches | Entry::Other => {}
        }
        Ok(())
    }
}

// === impl Parts ===

impl Parts {
    fn take(&mut self, part: IndexPart, content: &mut dyn Read) -> io::Result<()> {
        match part {
            IndexPart::Metadata => self.metadata = Some(json_of(content)?),
            IndexPart::Settings => self.settings = json_of(content)?,
            IndexPart::Documents => {
                let (mut lines, mut line) = (BufReader::new(content), String::new());
                while next_line(&mut lines, &mut line)? {
                    if !line.trim().is_empty() {
                        let _: serde::de::IgnoredAny = serde_json::from_str(&line)?;
                        self.documents += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Puts the next line in the place of `line`; false at the end.
fn next_line(lines: &mut impl BufRead, line: &mut String) -> io::Result<bool> {
    line.clear();
    let read = lines.take(MOST_OF_A_LINE).read_line(line)? as u64;
    if read == MOST_OF_A_LINE && !line.ends_with('\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a document has more than 256 MiB"));
    }
    Ok(read > 0)
}

fn webhook_body(webhook: &Value) -> Value {
    json!({ "url": webhook["url"], "headers": webhook["headers"] })
}

fn text(content: &mut dyn Read) -> io::Result<String> {
    let mut text = String::new();
    content.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

fn json_of<T: serde::de::DeserializeOwned>(content: &mut dyn Read) -> io::Result<T> {
    Ok(serde_json::from_str(&text(content)?)?)
}
