//! Any request planned: the one place that knows them all.

use time::OffsetDateTime;

use super::addition::Split;
use super::broadcast::{self, HiddenSettings};
use super::deletion::Deletion;
use super::index_info::Infos;
use super::own::{About, Answer};
use super::read;
use super::work::Work;
use super::write::{StepBody, WriteIntent};
use super::{Plan, several};
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{Change, Documents, Operation, Read, unserved};
use crate::meili::settings::Setting;
use crate::meili::uid::{IndexUid, index_not_found};
use crate::meili::versions;
use crate::placement::topology::Topology;

/// A request that waits to be planned.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub operation: &'a Operation,
    /// Path and query.
    pub target: &'a str,
    /// Empty for additions of documents, whose body is read once they are planned.
    pub body: &'a [u8],
    /// As the header says it; only additions of documents look at it.
    pub content_type: Option<&'a str>,
}

/// A request that names nothing out of bounds.
pub struct Checked<'a> {
    request: Request<'a>,
    /// The indexes whose settings the plan depends on.
    pub indexes: Vec<String>,
}

/// What a plan depends on besides the request.
pub struct Known<'a> {
    pub topology: &'a Topology,
    /// Of the indexes that [`Checked::indexes`] names; one that does not exist is absent.
    pub infos: Infos,
    /// The version of the nodes' engine; `None` before any node has said it.
    pub version: Option<String>,
    /// What settings hold besides the client's.
    pub hidden: HiddenSettings,
    /// Whether API keys can be made.
    pub has_master_key: bool,
    /// The moment of the request, of which dates in it may be in the future.
    pub now: OffsetDateTime,
    /// Whether there is an index of that name.
    pub exists: &'a dyn Fn(&str) -> bool,
}

// === impl Request ===

impl<'a> Request<'a> {
    /// What follows the question mark.
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Refuses what names in it decide already.
    pub fn check(self) -> Result<Checked<'a>, ResponseError> {
        self.operation.validate()?;
        let indexes = match self.operation {
            Operation::Read(read) => read::indexes(read, self.body),
            // A new embedder is given a template; one that is there has its own.
            Operation::Change(Change::UpdateSetting { index, setting: Setting::Embedders }) => vec![index.clone()],
            Operation::Change(Change::UpdateSettings { index })
                if memchr::memmem::find(self.body, b"embedders").is_some() =>
            {
                vec![index.clone()]
            }
            Operation::Own(_)
            | Operation::Change(_)
            | Operation::Documents(_)
            | Operation::Work(_)
            | Operation::Unsupported { .. } => Vec::new(),
        };
        match indexes.iter().find(|index| IndexUid::is_reserved(index)) {
            Some(reserved) => Err(index_not_found(reserved)),
            None => Ok(Checked { request: self, indexes }),
        }
    }
}

// === impl Checked ===

impl Checked<'_> {
    /// What Miroir does with the request.
    pub fn plan(&self, known: &Known<'_>) -> Plan {
        let Request { operation, target, body, content_type } = self.request;
        let (query, topology) = (self.request.query(), known.topology);
        if let Some(error) = refused_as_of(known.version.as_deref(), operation) {
            return Plan::Refuse(error);
        }
        match operation {
            Operation::Own(own) => {
                let (has_master_key, now) = (known.has_master_key, known.now);
                let about = About { has_master_key, version: known.version.as_deref(), now };
                Answer::new(own, query, body, &about).map_or_else(Plan::Refuse, Plan::Answer)
            }
            Operation::Read(read) => {
                several::or_refusal(read::plan(read, target, body, &known.infos, topology), topology)
            }
            Operation::Change(change) => {
                let mut plan = broadcast::plan(change, target, body, topology, &known.hidden, known.exists);
                if let Plan::Broadcast(intent) = &mut plan {
                    if let Some(error) = broadcast::refused_as_of(known.version.as_deref(), change, intent) {
                        return Plan::Refuse(error);
                    }
                    if let Some(version) = &known.version {
                        broadcast::show_as_of(version, change, intent);
                    }
                    if known.version.as_deref().is_none_or(versions::templates_see_names) {
                        give_templates(change, intent, &known.infos);
                    }
                }
                plan
            }
            Operation::Documents(Documents::Add { index, method }) => {
                Split::new(index, *method, query, content_type).map_or_else(Plan::Refuse, Plan::Split)
            }
            Operation::Documents(Documents::Delete { index, id }) => deletion(Deletion::one(index, id, query), known),
            Operation::Documents(Documents::DeleteBatch { index }) => {
                deletion(Deletion::batch(index, body, query), known)
            }
            Operation::Work(work) => Work::new(work, body).map_or_else(Plan::Refuse, Plan::Work),
            Operation::Unsupported { name, .. } => Plan::Refuse(unserved(name)),
        }
    }
}

/// See [`broadcast::give_templates`].
fn give_templates(change: &Change, intent: &mut WriteIntent, infos: &Infos) {
    let (index, setting) = if let Change::UpdateSettings { index } = change {
        (index, None)
    } else if let Change::UpdateSetting { index, setting } = change {
        (index, Some(*setting))
    } else {
        return;
    };
    let info = infos.get(index);
    let held = |name: &str| info.and_then(|info| info.source_of(name));
    for step in &mut intent.steps {
        if let StepBody::Json(body) = &mut step.body {
            broadcast::give_templates(setting, body, &held);
        }
    }
}

/// What nodes of `version` are not known to have a route for; `None` where they answer.
fn refused_as_of(version: Option<&str>, operation: &Operation) -> Option<ResponseError> {
    let newer = if let Operation::Read(Read::GetSetting { setting, .. })
    | Operation::Change(Change::UpdateSetting { setting, .. } | Change::ResetSetting { setting, .. }) =
        operation
    {
        (!versions::has_setting(version, *setting)).then(|| setting.key())
    } else if let Operation::Read(Read::ListDynamicSearchRules | Read::GetDynamicSearchRule { .. })
    | Operation::Change(
        Change::UpdateDynamicSearchRule { .. }
        | Change::DeleteDynamicSearchRule { .. }
        | Change::ClearDynamicSearchRules,
    ) = operation
    {
        (!version.is_some_and(versions::has_dynamic_rules)).then_some("dynamic-search-rules")
    } else {
        let asks = *operation == Operation::Read(Read::GetNetwork);
        (asks && !version.is_some_and(versions::tells_network)).then_some("network")
    };
    newer.map(|newer| {
        let message = format!("`{newer}` is supported where all nodes run Meilisearch 1.50 or newer.");
        ResponseError::new(Code::MiroirNotSupported, message)
    })
}

fn unserved(name: &str) -> ResponseError {
    let message = match unserved::reason(name) {
        Some(reason) => format!("`{name}` is not supported by Miroir: {reason}."),
        None => format!("`{name}` is not supported by this version of Miroir."),
    };
    ResponseError::new(Code::MiroirNotSupported, message)
}

/// A deletion by ids of an index that is not there is a task that fails.
fn deletion(deletion: Result<Deletion, ResponseError>, known: &Known<'_>) -> Plan {
    match deletion {
        Ok(deletion) if (known.exists)(&deletion.index) => Plan::Delete(deletion),
        Ok(deletion) => Plan::Fail(Box::new(deletion.without_index(known.topology))),
        Err(error) => Plan::Refuse(error),
    }
}
