//! What is sent to the target, in which order: switches, keys and webhooks; indexes with their settings; documents.

use std::collections::VecDeque;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::chats;
use super::error::{ImportError, during};
use super::joins;
use super::outcome::{done, note};
use super::rules;
use super::source::{Source, SourceIndex};
use super::state::State;
use crate::dumps::remote::{Remote, RemoteError};

/// How many tasks of documents may be open, so that the target always has one to do and is not flooded.
const OPEN_TASKS: usize = 3;

/// How to load.
pub struct Options {
    /// Whether indexes that are there are changed.
    pub overwrite: bool,
    /// The most bytes of documents in one request.
    pub batch: usize,
}

/// Documents on their way: those collected, and tasks that have not ended.
struct Outbox<'a> {
    remote: &'a Remote,
    state: &'a mut State,
    batch: usize,
    index: String,
    primary_key: Option<String>,
    body: String,
    /// Where the next document of the index stands.
    place: u64,
    /// Announcements, each with the place that is reached once it is carried out.
    open: VecDeque<(Value, String, u64)>,
    bar: ProgressBar,
}

/// Sends keys, settings and documents of `source`, and goes on where `state` says that an import was stopped. An error names what failed.
pub fn run(source: &mut dyn Source, remote: &Remote, state: &mut State, options: &Options) -> Result<(), ImportError> {
    if !state.done.instance {
        instance(source, remote)?;
        state.done.instance = true;
        state.save()?;
    }
    chats::open(source, remote, state)?;
    for index in source.indexes() {
        prepare(index, remote, state, options)?;
    }
    documents(source, remote, state, options)?;
    rules::load(source, remote, state, options.overwrite)
}

/// What belongs to no index. What the target does not take is said, and is no reason to stop.
fn instance(source: &dyn Source, remote: &Remote) -> Result<(), ImportError> {
    for (feature, on) in source.features().iter().filter(|(_, on)| **on == Value::Bool(true)) {
        let switched = remote.send("PATCH", "/experimental-features", Some(&json!({ feature.as_str(): on })));
        note(&format!("experimental feature `{feature}`"), switched)?;
    }
    match source.keys() {
        Ok(keys) => {
            for key in keys {
                let what = format!("API key `{}`", key["name"].as_str().or(key["uid"].as_str()).unwrap_or_default());
                match remote.send("POST", "/keys", Some(key)) {
                    Err(RemoteError::Refused(error)) if error.code == "api_key_already_exists" => {}
                    other => note(&what, other)?,
                }
            }
        }
        Err(why) => println!("API keys are not taken along: {why}"),
    }
    if source.webhooks().is_empty() {
        return Ok(());
    }
    // They get new ids, so one that is there is known by its address.
    let there = remote.send("GET", "/webhooks", None).unwrap_or_default();
    let there = there["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    for webhook in source.webhooks() {
        if !there.iter().any(|other| other["url"] == webhook["url"]) {
            note("a webhook", remote.send("POST", "/webhooks", Some(webhook)))?;
        }
    }
    Ok(())
}

/// The index and its settings, before its documents come.
fn prepare(index: &SourceIndex, remote: &Remote, state: &mut State, options: &Options) -> Result<(), ImportError> {
    let uid = &index.uid;
    if state.done.indexes.get(uid).is_some_and(|done| done.settings) {
        return Ok(());
    }
    let what = format!("index `{uid}`");
    let is_ours = state.done.indexes.contains_key(uid);
    let is_there = during(&what, remote.get(&format!("/indexes/{uid}")))?.is_some();
    if is_there && !is_ours && !options.overwrite {
        return Err(ImportError::Exists { index: uid.clone() });
    }
    // Before it is made: should this be stopped in between, the next run knows whose it is.
    state.index(uid);
    state.save()?;
    if !is_there {
        let body = json!({ "uid": uid, "primaryKey": index.primary_key });
        done(&what, remote, remote.send("POST", "/indexes", Some(&body)))?;
    }
    let settings = chats::taken(uid, index.settings.clone(), remote)?;
    let settings = Value::Object(joins::taken(uid, settings, remote)?);
    let path = format!("/indexes/{uid}/settings");
    done(&format!("settings of `{uid}`"), remote, remote.send("PATCH", &path, Some(&settings)))?;
    state.index(uid).settings = true;
    state.save()
}

fn documents(
    source: &mut dyn Source,
    remote: &Remote,
    state: &mut State,
    options: &Options,
) -> Result<(), ImportError> {
    let there = state.done.clone();
    let from = |uid: &str| there.documents(uid);
    let total: u64 = source.indexes().iter().map(|index| index.documents).sum();
    let keys: Vec<(String, Option<String>)> =
        source.indexes().iter().map(|index| (index.uid.clone(), index.primary_key.clone())).collect();
    let bar = ProgressBar::new(total);
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len} documents, {per_sec}, {eta} left");
    bar.set_style(style.expect("the template is right"));
    bar.set_position(source.indexes().iter().map(|index| from(&index.uid)).sum());
    let mut outbox = Outbox {
        remote,
        state,
        batch: options.batch,
        index: String::new(),
        primary_key: None,
        body: String::new(),
        place: 0,
        open: VecDeque::new(),
        bar,
    };
    source.documents(&from, &mut |index, place, document| {
        if outbox.index != index {
            outbox.send()?;
            index.clone_into(&mut outbox.index);
            outbox.primary_key = keys.iter().find(|(uid, _)| uid == index).and_then(|(_, key)| key.clone());
            outbox.bar.set_message(index.to_owned());
        }
        outbox.add(place, document)
    })?;
    outbox.finish()?;
    println!("{total} documents of {} indexes are there", source.indexes().len());
    Ok(())
}

// === impl Outbox ===

impl Outbox<'_> {
    fn add(&mut self, place: u64, document: &str) -> Result<(), ImportError> {
        if !self.body.is_empty() && self.body.len() + document.len() >= self.batch {
            self.send()?;
        }
        self.body.push_str(document);
        self.body.push('\n');
        self.place = place + 1;
        self.bar.inc(1);
        Ok(())
    }

    fn send(&mut self) -> Result<(), ImportError> {
        if self.body.is_empty() {
            return Ok(());
        }
        let what = format!("documents of `{}`", self.index);
        // Letters that a query string may have: others stand for themselves in percent.
        let key = self
            .primary_key
            .as_deref()
            .map(|key| percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string());
        let query = key.map(|key| format!("?primaryKey={key}")).unwrap_or_default();
        let accepted = during(&what, self.remote.add(&self.index, &query, self.body.as_bytes()))?;
        self.body.clear();
        self.open.push_back((accepted, self.index.clone(), self.place));
        self.await_tasks(OPEN_TASKS)
    }

    /// Waits until no more than `most` tasks are open. They end in the order in which they were sent, so all before is there.
    fn await_tasks(&mut self, most: usize) -> Result<(), ImportError> {
        while self.open.len() > most {
            let Some((accepted, index, reached)) = self.open.pop_front() else { break };
            done(&format!("documents of `{index}`"), self.remote, Ok(accepted))?;
            self.state.index(&index).documents = reached;
            self.state.save()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), ImportError> {
        self.send()?;
        self.await_tasks(0)?;
        self.bar.finish_and_clear();
        Ok(())
    }
}
