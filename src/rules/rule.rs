//! One rule as the file has it: when it holds, and what it does.

use std::sync::Arc;

use http::HeaderName;
use serde_json::{Map, Value};

use super::action::{Action, Given};
use super::cap::Cap;
use super::concurrency::Concurrency;
use super::conditions::{self, Conditions};
use super::deed;
use super::limit::Limit;
use super::mask::Hidden;
use super::mirror::Mirror;
use super::on_answer::OnAnswer;
use super::on_document::OnDocument;
use super::on_task::{self, TaskHook};
use super::otherwise::Otherwise;
use super::program::{Program, When};
use super::shape::Shape;
use super::split::Split;
use super::template::Template;
use crate::meili::uid::IndexUid;
use crate::plan::known;
use crate::settings::{FromSection, Section};

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub(super) conditions: Conditions,
    pub(super) actions: Vec<Action>,
    /// What becomes of a request that lacks a value which an action needs.
    pub(super) missing: Otherwise,
    /// What it asks of a request besides.
    pub(super) when: Option<When>,
    /// What becomes of a request for which a program of its comes to no end.
    pub(super) on_error: Otherwise,
    /// No rule after it is looked at.
    pub(super) stop: bool,
}

/// Parameters that rules do not set: the filter is only ever joined to, the rest says what is asked.
const NOT_SET: &[&str] = &["filter", "indexUid", "federationOptions", "facetName", "facetQuery", "id", "ids"];

/// Parameters of a fetch of documents that searches do not have.
const OF_DOCUMENTS: &[&str] = &["fields"];

/// Parameters of a search for similar documents that searches do not have.
const OF_SIMILAR: &[&str] = &["embedder"];

// === impl Rule ===

impl Rule {
    /// What it masks; `None` for a rule of another kind.
    pub(super) fn mask(&self) -> Option<&Hidden> {
        let [Action::Mask(hidden)] = &self.actions[..] else { return None };
        Some(hidden)
    }

    /// True if it has searches asked again.
    pub fn mirrors(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, Action::Mirror(_)))
    }

    /// True for a rule that is done to requests in its turn.
    pub(super) fn is_in_turn(&self) -> bool {
        !matches!(&self.actions[..], [Action::Mask(_) | Action::OnTask(_)])
    }

    /// Whom it tells of tasks; `None` for a rule of another kind.
    pub fn task_hook(&self) -> Option<TaskHook> {
        let [Action::OnTask(on_task)] = &self.actions[..] else { return None };
        Some(TaskHook::new(&self.name, &self.conditions.indexes, on_task))
    }
}

impl FromSection for Rule {
    fn read(section: &mut Section) -> Self {
        let name = section.required_text("name");
        if !is_name(&name) {
            section.problem("name", format!("expected 1 to 64 letters, digits, `-`, `_` and `.`, found `{name}`"));
        }
        let mut conditions = Conditions::read(section);
        let actions = actions(section, &name);
        bound(section, &mut conditions, &actions);
        let when = section
            .text("when")
            .and_then(|source| When::parse(&source).map_err(|message| section.problem("when", message)).ok());
        if when.is_some() && actions.iter().any(|action| matches!(action, Action::Mask(_))) {
            section.problem("when", "a mask holds whatever is asked");
        }
        let is_about_tasks = actions.iter().any(|action| matches!(action, Action::OnTask(_)));
        if is_about_tasks && (when.is_some() || actions.len() > 1 || conditions.look_at_requests()) {
            section.problem("on_task", "a rule about tasks has no condition but `indexes`, and does nothing else");
        }
        let choices = [("refuse", Otherwise::Refuse), ("skip", Otherwise::Skip)];
        let missing = section.choice("missing", &choices, Otherwise::Refuse);
        let on_error = section.choice("on_error", &choices, Otherwise::Refuse);
        let stop = section.parsed("stop", false, "true or false", serde_json::Value::as_bool);
        Self { name, conditions, actions, missing, when, on_error, stop }
    }
}

/// A rule is done only to what its actions can be done to.
fn bound(section: &Section, conditions: &mut Conditions, actions: &[Action]) {
    if actions.is_empty() {
        section.problem("name", "a rule that does nothing: give it `refuse`, `filter`, `set` or another action");
    }
    if actions.iter().any(|action| matches!(action, Action::Mask(_))) {
        if actions.len() > 1 {
            section.problem("mask", "a rule that masks does nothing else");
        }
        if !conditions.on.is_empty() {
            section.problem("on", "a mask holds whatever is done");
        }
    }
    if actions.len() > 1 && matches!(actions[0], Action::Refuse { .. }) {
        section.problem("refuse", "a rule that refuses does nothing else");
    }
    let all_fits: Vec<Vec<&'static str>> = actions.iter().filter_map(Action::is_for).collect();
    if let (true, Some(first)) = (conditions.on.is_empty(), all_fits.first()) {
        let searches = if first.contains(&deed::SEARCH) { deed::ASKED } else { &first[..] };
        let common = searches.iter().filter(|name| all_fits.iter().all(|fits| fits.contains(name)));
        conditions.on = common.filter_map(|name| deed::On::parse(name)).collect();
        if conditions.on.is_empty() {
            section.problem("on", "there is nothing that all of this rule's actions can be done to");
        }
    }
    for fits in &all_fits {
        let named = conditions.on.iter().flat_map(deed::On::deeds);
        for deed in named.filter(|deed| !fits.contains(deed)) {
            section.problem("on", format!("`{deed}` is not something that this rule's actions can be done to"));
        }
    }
}

fn actions(section: &mut Section, name: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    if let Some(refusal) = refusal(section) {
        actions.push(refusal);
    }
    actions.extend(Limit::read(section, name).map(Action::Limit));
    actions.extend(Concurrency::read(section, name).map(Action::Concurrent));
    if let Some(filter) = template(section, "filter", Template::filter) {
        actions.push(Action::Filter(filter));
    }
    let remove = conditions::texts(section, "remove");
    check_names(section, "remove", remove.iter());
    if !remove.is_empty() {
        actions.push(Action::Remove(remove));
    }
    let default = values(section, "default");
    if !default.is_empty() {
        actions.push(Action::Default(default));
    }
    let set = values(section, "set");
    if !set.is_empty() {
        actions.push(Action::Set(set));
    }
    let params = mapping(section, "params").unwrap_or_default();
    let mut has_program = false;
    let mut program = |section: &mut Section, key: &str, parse: &dyn Fn(&str) -> Result<Action, String>| {
        let source = section.text(key)?;
        has_program = true;
        parse(&source).map_err(|message| section.problem(key, message)).ok()
    };
    actions.extend(program(section, "run", &|source| Program::parse(source, params.clone()).map(Action::Run)));
    let cap: Cap = section.read("cap");
    if !cap.is_empty() {
        actions.push(Action::Cap(cap));
    }
    let route = template(section, "route", |text| {
        if !text.contains("${") && IndexUid::parse(text).is_err() {
            return Err(format!("expected the uid of an index, found `{text}`"));
        }
        Template::text(text)
    });
    let split = Split::read(section, name);
    if route.is_some() && split.is_some() {
        section.problem("split", "a rule has either `route` or `split`");
    }
    actions.extend(route.map(Action::Route));
    actions.extend(split.map(Action::Split));
    actions.extend(Mirror::read(section).map(|mirror| Action::Mirror(Arc::new(mirror))));
    if let Some(headers) = headers(section) {
        actions.push(Action::Header(headers));
    }
    if let Some(label) = template(section, "label", Template::text) {
        actions.push(Action::Label(label));
    }
    let shape: Shape = section.read("fields");
    if !shape.is_empty() {
        actions.push(Action::Fields(shape));
    }
    actions
        .extend(program(section, "on_answer", &|source| OnAnswer::parse(source, params.clone()).map(Action::OnAnswer)));
    actions.extend(program(section, "on_document", &|source| {
        OnDocument::parse(source, params.clone()).map(Action::OnDocument)
    }));
    if !params.is_empty() && !has_program {
        section.problem("params", "have no effect without a program: `run`, `on_answer` or `on_document`");
    }
    let masked = conditions::texts(section, "mask");
    match Hidden::parse(masked) {
        Ok(hidden) if hidden.is_empty() => {}
        Ok(hidden) => actions.push(Action::Mask(hidden)),
        Err(message) => section.problem("mask", message),
    }
    let on_task::Read(told) = section.read("on_task");
    actions.extend(told.map(Action::OnTask));
    actions
}

fn refusal(section: &mut Section) -> Option<Action> {
    let refusal = mapping(section, "refuse")?;
    if let Some(other) = refusal.keys().find(|key| !["status", "message"].contains(&key.as_str())) {
        section.problem("refuse", format!("expected `status` and `message`, found `{other}`"));
    }
    let status = match refusal.get("status") {
        None => 403,
        Some(status) => match status.as_u64().and_then(|status| u16::try_from(status).ok()) {
            Some(status) if (400..600).contains(&status) => status,
            Some(_) | None => {
                section.problem("refuse", format!("expected a status from 400 to 599, found `{status}`"));
                403
            }
        },
    };
    let message = refusal.get("message").and_then(Value::as_str).unwrap_or("The request is refused by a rule.");
    match Template::text(message) {
        Ok(message) => Some(Action::Refuse { status, message }),
        Err(error) => {
            section.problem("refuse", error);
            None
        }
    }
}

fn template(section: &mut Section, key: &str, parse: impl Fn(&str) -> Result<Template, String>) -> Option<Template> {
    let text = section.text(key)?;
    parse(&text).map_err(|message| section.problem(key, message)).ok()
}

fn mapping(section: &mut Section, key: &str) -> Option<Map<String, Value>> {
    section.parsed(key, None, "a mapping", |value| value.as_object().cloned().map(Some))
}

fn values(section: &mut Section, key: &str) -> Vec<(String, Given)> {
    let values = mapping(section, key).unwrap_or_default();
    check_names(section, key, values.keys());
    let given = values.into_iter().filter_map(|(name, value)| match Given::parse(&value) {
        Ok(given) => Some((name, given)),
        Err(message) => {
            section.problem(key, format!("{name}: {message}"));
            None
        }
    });
    given.collect()
}

/// True for a parameter that a rule may change.
pub(super) fn is_changeable(name: &str) -> bool {
    let known = [known::SEARCH, known::FACET_SEARCH, OF_DOCUMENTS, OF_SIMILAR];
    !NOT_SET.contains(&name) && known.iter().any(|names| names.contains(&name))
}

fn check_names<'n>(section: &Section, key: &str, names: impl Iterator<Item = &'n String>) {
    for name in names {
        if name == "filter" {
            section.problem(key, "`filter` is only ever joined to: use the action `filter`");
        } else if !is_changeable(name) {
            section.problem(key, format!("`{name}` is no parameter that a rule can change"));
        }
    }
}

fn headers(section: &mut Section) -> Option<Vec<(HeaderName, Template)>> {
    let headers = mapping(section, "header")?;
    let read = headers.iter().filter_map(|(name, value)| {
        let parsed = name.parse::<HeaderName>().ok().filter(|name| {
            let name = name.as_str();
            name.starts_with("x-") && !name.starts_with("x-miroir-") && name != "x-request-id"
        });
        let template = value.as_str().map(Template::text);
        match (parsed, template) {
            (Some(name), Some(Ok(template))) => Some((name, template)),
            (Some(_), Some(Err(message))) => {
                section.problem("header", message);
                None
            }
            (None, _) | (_, None) => {
                section.problem(
                    "header",
                    format!(
                        "expected a text for a name that begins with `X-` and is none of Miroir's own, found `{name}`"
                    ),
                );
                None
            }
        }
    });
    Some(read.collect())
}

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}
