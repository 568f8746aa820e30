//! What every scattered read says of itself. Each plan says it in its own file, so that a new read is described there.

use serde_json::{Map, Value};

use super::node_request::NodeRequest;
use super::span::Span;
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;

/// A read that nodes answer for the shards they cover.
pub trait Scattered {
    /// What it counts as where reads are measured, and by that how long it may take.
    fn kind(&self) -> ReadKind;

    /// Chooses among equal covers. It is equal for the pages of one read, so that they are cut from one order.
    fn seed(&self) -> u64 {
        0
    }

    /// Whether its answer is still the answer another time.
    fn lasting(&self) -> Lasting<'_> {
        Lasting::Never
    }

    /// True if what a node finds wrong with its part is wrong with the client's request, in the same words: there is nothing in
    /// the part that the client did not write.
    fn faults_are_the_clients(&self) -> bool {
        false
    }

    /// The covers of its first round, as far as they are known before anything was asked. `_original` is the client's request, for
    /// those that pass it on.
    fn covers<'a>(&'a self, _original: &'a NodeRequest, _shards: u16) -> Vec<Covered<'a>> {
        Vec::new()
    }
}

/// What one node answers as well as all of them, or can only be asked as it came.
pub struct OfOneNode;

/// The kinds of reads that are told apart where they are measured and timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    Search,
    FacetSearch,
    MultiSearch,
    Federation,
    Similar,
    Documents,
    Other,
}

/// How long a read may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// What the operator gives a search.
    Search,
    /// Longer than that: its answer can be large.
    Long,
}

/// Whether an answer is still the answer another time, if nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lasting<'a> {
    /// It is about the moment, or an embedder may make another vector of the same words.
    Never,
    Always,
    /// If none of these indexes' searches ran out of its time: then it shows what was found by then.
    IfInTime {
        indexes: Vec<&'a str>,
    },
}

/// The request for a part of a cover; told whether the part is the only one.
type RequestOf<'a> = Box<dyn Fn(&CoverPart, bool) -> NodeRequest + 'a>;

/// Which of its hits the node of a part lists.
type SpanOf<'a> = Box<dyn Fn(&CoverPart) -> Span + 'a>;

/// One cover, and what its nodes are asked.
pub struct Covered<'a> {
    pub index: &'a str,
    pub wanted: ShardSet,
    pub seed: u64,
    /// What the client wrote, in the order in which the request has its searches; empty where nothing of it is rewritten.
    pub client: Vec<&'a Map<String, Value>>,
    pub request: RequestOf<'a>,
    pub span: SpanOf<'a>,
}

// === impl Covered ===

impl<'a> Covered<'a> {
    /// Of whole lists, and a request in which nothing of the client's is rewritten.
    pub fn new(
        index: &'a str,
        wanted: ShardSet,
        seed: u64,
        request: impl Fn(&CoverPart, bool) -> NodeRequest + 'a,
    ) -> Self {
        Self {
            index,
            wanted,
            seed,
            client: Vec::new(),
            request: Box::new(request),
            span: Box::new(|_| Span::UpToTheEnd),
        }
    }
}

// === impl Lasting ===

impl<'a> Lasting<'a> {
    /// Of a search of `index` with this body. A vector that nodes make of its words may be another one the next time.
    pub(super) fn of_search(index: &'a str, body: &Map<String, Value>) -> Self {
        let gives = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
        if gives("hybrid") && !gives("vector") { Self::Never } else { Self::IfInTime { indexes: vec![index] } }
    }

    /// Of an answer that is put together from several: it lasts as long as each of them.
    pub(super) fn of_all(parts: impl Iterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Self::Never => return Self::Never,
                Self::Always => {}
                Self::IfInTime { indexes } => all.extend(indexes),
            }
        }
        Self::IfInTime { indexes: all }
    }
}

// === impl OfOneNode ===

impl Scattered for OfOneNode {
    fn kind(&self) -> ReadKind {
        ReadKind::Other
    }

    fn faults_are_the_clients(&self) -> bool {
        true
    }
}

// === impl ReadKind ===

impl ReadKind {
    /// Every kind: each label starts at zero.
    pub const ALL: &'static [ReadKind] = &[
        Self::Search,
        Self::FacetSearch,
        Self::MultiSearch,
        Self::Federation,
        Self::Similar,
        Self::Documents,
        Self::Other,
    ];

    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::FacetSearch => "facet_search",
            Self::MultiSearch => "multi_search",
            Self::Federation => "federation",
            Self::Similar => "similar",
            Self::Documents => "documents",
            Self::Other => "other",
        }
    }

    /// A page of documents, or of fields, can be larger than any page of hits.
    pub fn budget(self) -> Budget {
        match self {
            Self::Search | Self::FacetSearch | Self::MultiSearch | Self::Federation | Self::Similar => Budget::Search,
            Self::Documents | Self::Other => Budget::Long,
        }
    }
}
