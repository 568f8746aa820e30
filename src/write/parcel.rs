//! What a small write offers to those before it in its lane, to take it along to the node, and what comes of it there.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::meili::error::ResponseError;
use crate::split::rules::DocumentRules;
use crate::store::Durable;
use crate::tasks::entry::Company;

/// A place in the lanes.
pub(crate) type Turn = crate::nodes::lanes::Turn<Parcel>;

/// Something small to be sent to one node, and who waits for the node's answer.
pub(crate) struct Parcel {
    pub cargo: Cargo,
    pub answer: oneshot::Sender<Answer>,
}

/// Documents, a line each.
#[derive(Clone)]
pub(crate) struct Cargo {
    /// Without a stamp.
    pub path: String,
    pub lines: Bytes,
    pub load: Load,
}

/// Whose documents they are.
#[derive(Clone)]
pub(crate) enum Load {
    Write(OfWrite),
    /// Documents of words: they go with those of any write, and by themselves.
    Words,
}

/// A client's write, as far as it concerns the node.
#[derive(Clone)]
pub(crate) struct OfWrite {
    /// Its own, which is on disk.
    pub row: Durable,
    pub uuid: uuid::Uuid,
    pub stamp: String,
    pub method: &'static str,
    pub documents: u64,
    /// By which its documents were judged.
    pub rules: DocumentRules,
}

/// How a node took a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// With the node's task uid.
    Accepted(u32),
    /// The node will not do it, however often it is asked.
    Refused(ResponseError),
    /// The node did not answer, or answered that it cannot.
    Lost,
}

/// What became of a parcel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub result: StepResult,
    /// With which other writes it has travelled.
    pub company: Company,
}

// === impl Cargo ===

impl Cargo {
    pub fn write(&self) -> Option<&OfWrite> {
        match &self.load {
            Load::Write(write) => Some(write),
            Load::Words => None,
        }
    }
}

// === impl Answer ===

impl Answer {
    pub fn alone(result: StepResult) -> Self {
        Self { result, company: Company::None }
    }
}
