//! What a rule does: read from the file, and worked out for one request.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::asked::Part;
use super::cap::Cap;
use super::concurrency::Concurrency;
use super::deed;
use super::limit::Limit;
use super::mask::Hidden;
use super::mirror::Mirror;
use super::on_answer::OnAnswer;
use super::on_document::OnDocument;
use super::on_task::OnTask;
use super::program::Program;
use super::shape::Shape;
use super::split::Split;
use super::subject::Subject;
use super::template::{Missing, Template};
use crate::meili::error::{Code, ResponseError};
use crate::meili::uid::IndexUid;
use crate::plan::filter;

/// One thing that a rule does. Those of one rule are done in the order of this list.
#[derive(Debug, Clone)]
pub enum Action {
    Refuse {
        status: u16,
        message: Template,
    },
    /// So many requests in a time.
    Limit(Limit),
    /// So many at once.
    Concurrent(Concurrency),
    /// Joined to the client's filter by AND.
    Filter(Template),
    Remove(Vec<String>),
    /// Where the client says nothing.
    Default(Vec<(String, Given)>),
    Set(Vec<(String, Given)>),
    Cap(Cap),
    Route(Template),
    Split(Split),
    Header(Vec<(HeaderName, Template)>),
    Label(Template),
    /// Asked again of another index, once the client has its answer.
    Mirror(Arc<Mirror>),
    /// Of documents that are written.
    Fields(Shape),
    /// Statements in Rhai.
    Run(Program),
    /// Statements in Rhai, over the hits that come of it.
    OnAnswer(OnAnswer),
    /// Statements in Rhai, over each document that is written.
    OnDocument(OnDocument),
    /// Stands alone in its rule, and is looked at apart from all others ([`super::mask`]).
    Mask(Hidden),
    /// Stands alone in its rule, which is about tasks and not about requests.
    OnTask(OnTask),
}

/// The value of a parameter.
#[derive(Debug, Clone)]
pub enum Given {
    Literal(Value),
    Template(Template),
    List(Vec<Given>),
}

/// What an action makes of one request.
#[derive(Debug, PartialEq)]
pub enum Effect {
    Nothing,
    Refuse(ResponseError),
    Filter(String),
    Remove(Vec<String>),
    Set(Vec<(String, Value)>),
    Index(String),
    Headers(Vec<(HeaderName, HeaderValue)>),
    Label(String),
}

// === impl Action ===

impl Action {
    /// What it does to the request of `subject`.
    pub fn effect(&self, subject: &Subject<'_>) -> Result<Effect, Missing> {
        Ok(match self {
            Self::Refuse { status, message } => {
                // A refusal does not wait for what its words name.
                let message = message.render(subject).unwrap_or_else(|missing| missing.template);
                Effect::Refuse(ResponseError { status: *status, ..ResponseError::new(Code::MiroirRefused, message) })
            }
            Self::Filter(template) => Effect::Filter(template.render(subject)?),
            Self::Remove(names) => Effect::Remove(names.clone()),
            Self::Set(values) => Effect::Set(given(values, subject)?),
            Self::Default(values) => {
                let says = |name: &str| {
                    subject.parameters.and_then(|said| said.get(name)).is_some_and(|value| !value.is_null())
                };
                let silent: Vec<(String, Given)> = values.iter().filter(|(name, _)| !says(name)).cloned().collect();
                Effect::Set(given(&silent, subject)?)
            }
            Self::Cap(cap) => Self::cap(cap, subject),
            Self::Route(template) => {
                let index = template.render(subject)?;
                match IndexUid::parse(&index) {
                    Ok(_) => Effect::Index(index),
                    Err(error) => Effect::Refuse(error),
                }
            }
            Self::Split(split) => split.index(subject).map_or(Effect::Nothing, |index| Effect::Index(index.to_owned())),
            Self::Header(headers) => {
                let values = headers.iter().map(|(name, template)| Ok((name.clone(), template.render(subject)?)));
                let values: Vec<(HeaderName, String)> = values.collect::<Result<_, Missing>>()?;
                // What can be in no header is in none.
                let legal =
                    values.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
                Effect::Headers(legal.collect())
            }
            Self::Label(template) => Effect::Label(template.render(subject)?),
            Self::Limit(_)
            | Self::Concurrent(_)
            | Self::Mirror(_)
            | Self::Fields(_)
            | Self::Run(_)
            | Self::OnAnswer(_)
            | Self::OnDocument(_)
            | Self::Mask(_)
            | Self::OnTask(_) => Effect::Nothing,
        })
    }

    fn cap(cap: &Cap, subject: &Subject<'_>) -> Effect {
        let refused = match subject.parameters {
            Some(parameters) => match cap.cut(subject.deed, parameters) {
                Ok(cut) => return Effect::Set(cut),
                Err(message) => Some(message),
            },
            None => cap.refuses_queries(subject.queries),
        };
        refused.map_or(Effect::Nothing, |message| Effect::Refuse(ResponseError::new(Code::BadRequest, message)))
    }

    /// The names of what it can be done to; `None` for everything.
    pub fn is_for(&self) -> Option<Vec<&'static str>> {
        match self {
            Self::Filter(_) => Some(deed::FILTERED.to_vec()),
            Self::Remove(_) | Self::Default(_) | Self::Set(_) | Self::Run(_) => Some(deed::ASKED.to_vec()),
            Self::Cap(cap) if cap.bounds_queries() => Some([deed::ASKED, &["multiSearch"]].concat()),
            Self::Cap(_) => Some(deed::ASKED.to_vec()),
            Self::Route(_) | Self::Split(_) => Some(deed::of_one_index().to_vec()),
            Self::Mirror(_) => Some(vec![deed::SEARCH]),
            Self::OnAnswer(_) => Some(vec![deed::SEARCH, deed::SIMILAR, deed::FETCH_DOCUMENTS]),
            Self::Fields(_) | Self::OnDocument(_) => Some(vec!["addDocuments", "updateDocuments"]),
            Self::Refuse { .. }
            | Self::Header(_)
            | Self::Label(_)
            | Self::Limit(_)
            | Self::Concurrent(_)
            | Self::Mask(_)
            | Self::OnTask(_) => None,
        }
    }
}

fn given(values: &[(String, Given)], subject: &Subject<'_>) -> Result<Vec<(String, Value)>, Missing> {
    values.iter().map(|(name, given)| Ok((name.clone(), given.value(subject)?))).collect()
}

// === impl Given ===

impl Given {
    /// Texts may hold templates, those in a list too.
    pub fn parse(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Template(Template::text(text)?),
            Value::Array(items) => Self::List(items.iter().map(Self::parse).collect::<Result<_, _>>()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Self::Literal(value.clone()),
        })
    }

    /// What it comes to for this request; an error names what the request does not have.
    pub fn value(&self, subject: &Subject<'_>) -> Result<Value, Missing> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Template(template) => template.value(subject),
            Self::List(items) => items.iter().map(|item| item.value(subject)).collect(),
        }
    }
}

// === impl Part ===

impl Part {
    /// Takes an effect over, as far as it is one on a part. True if it was.
    pub(super) fn take(&mut self, effect: &Effect) -> bool {
        match effect {
            Effect::Filter(expression) => {
                if let Some(parameters) = &mut self.parameters {
                    filter::and(parameters, expression);
                    self.changed = true;
                }
            }
            Effect::Remove(names) => names.iter().for_each(|name| self.remove(name)),
            Effect::Set(values) => values.iter().for_each(|(name, value)| self.set(name, value.clone())),
            Effect::Index(index) => {
                if self.index.as_deref() != Some(index) {
                    let client = self.index.replace(index.clone());
                    self.from = self.from.take().or(client);
                }
            }
            Effect::Nothing | Effect::Refuse(_) | Effect::Headers(_) | Effect::Label(_) => return false,
        }
        true
    }
}
