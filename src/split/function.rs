//! An edit by a function, tried before any node gets it.
//!
//! On one node a function that fails on one document changes none. On many, those nodes would go on that do not have the
//! document; so the gateway runs the function first, on every document that it would run on, by the engine's bounds, and
//! applies the engine's rules to what it makes of them.
//!
//! The nodes' documents have hidden fields, and a function may meet them: `doc = #{id: doc.id}` would lose them, and
//! `doc.keys()` lists them. So the trial also finds out which program does on the nodes what the function does to the
//! client's documents: the function as it is, or [`guarded`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rhai::{AST, Dynamic, Engine, EvalAltResult, FLOAT, INT, OptimizationLevel, Scope};
use serde_json::{Map, Value};

use super::document::{Document, RESERVED_PREFIX};
use super::primary_key::{IdError, document_id};
use super::rules::{Checker, DocumentRules, Meets, Refusal};
use super::vectors::VECTORS_FIELD;
use crate::meili::error::{Code, ResponseError};
use crate::placement::shard::{SHARD_FIELD, ShardId};
use crate::placement::written::WRITTEN_FIELD;

/// The stack that a trial needs. A function may nest its expressions [`EXPRESSION_DEPTH`] deep in [`CALL_LEVELS`] calls.
pub const STACK: usize = 256 << 20;

/// The engine's bounds.
const OPERATIONS: u64 = 1_000_000;
const VARIABLES: usize = 1000;
const FUNCTIONS: usize = 30;
const EXPRESSION_DEPTH: usize = 1000;
const TOP_EXPRESSION_DEPTH: usize = 100;
const ARRAY: usize = 10_000;
const MAP: usize = 10_000;
/// Ours, where the engine's would take too much of the gateway's memory (1 GiB for each of a thousand texts) and stack (1000).
/// What runs into one of them is not judged here.
const TEXT: usize = 1 << 20;
const CALL_LEVELS: usize = 64;

/// Why an edit fails as a whole, in the engine's words.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FunctionError {
    #[error("Document edition runtime error encountered while compiling the function: {0}")]
    Compiling(String),
    #[error("Document edition runtime error encountered while running the function: {0}")]
    Running(String),
    #[error("Document editions must keep documents as objects")]
    NotAnObject,
    #[error("Document editions cannot modify a document's primary key")]
    OtherId,
    /// It put something into the document that JSON cannot say, such as a pointer to a function.
    #[error("internal: {0}.")]
    NoJson(String),
    #[error(transparent)]
    Id(#[from] IdError),
    #[error(transparent)]
    Document(#[from] Refusal),
}

/// Why a trial ends before its last document.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    Fails(FunctionError),
    /// It was stopped, or needs more than can be given to it here.
    Unknown,
}

/// What the nodes are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The client's function.
    AsItIs,
    /// [`guarded`].
    Guarded,
    /// Neither does what the function would on one node.
    None,
}

/// A function that is being tried.
pub struct Trial {
    engine: Engine,
    function: AST,
    context: Option<Dynamic>,
    primary_key: String,
    embedders: Vec<String>,
    checker: Checker,
    /// So far the function has done on documents with hidden fields what it does without.
    as_it_is: bool,
    /// So far the guarded one has; `None` once it has not.
    guarded: Option<AST>,
    /// It may end before the guard's last lines.
    ends_early: bool,
}

/// A document as a node holds it.
struct Held {
    id: String,
    /// The client's fields, as they are given to a function.
    fields: rhai::Map,
    /// The same as JSON.
    object: Map<String, Value>,
    hidden: Map<String, Value>,
}

/// What a function has made of a document.
#[derive(PartialEq)]
enum Made {
    Nothing,
    Object(Map<String, Value>),
}

/// The function between lines that take the hidden fields out of the document and put them back.
pub fn guarded(function: &str) -> String {
    // On one line, so that positions in errors move as little as can be; the last on its own, as a comment may end the
    // function.
    format!(
        "let _miroir_hidden = #{{\"{SHARD_FIELD}\": doc.remove(\"{SHARD_FIELD}\"), \"{WRITTEN_FIELD}\": \
         doc.remove(\"{WRITTEN_FIELD}\")}}; {function}\n; if type_of(doc) == \"map\" {{ doc += _miroir_hidden; }}"
    )
}

/// True for a function that may end before the guard's last lines.
fn ends_early(function: &str) -> bool {
    ["return", "exit"].iter().any(|word| function.contains(word))
}

// === impl Program ===

impl Program {
    /// What nodes are to run where no trial has told: the guard is the safe side, unless the function may end before its last
    /// lines or no node could compile it with them.
    pub fn untried(function: &str) -> Self {
        let compiles = || engine(Arc::default()).compile(guarded(function)).is_ok();
        if !ends_early(function) && compiles() { Self::Guarded } else { Self::AsItIs }
    }
}

// === impl FunctionError ===

impl FunctionError {
    /// The error as the task of an edit of `index` shows it.
    pub fn to_response(&self, index: &str) -> ResponseError {
        let message = format!("Index `{index}`: {self}");
        match self {
            Self::Compiling(_) | Self::Running(_) | Self::NotAnObject | Self::OtherId => {
                ResponseError::new(Code::EditDocumentsByFunctionError, message)
            }
            Self::NoJson(_) => ResponseError::new(Code::Internal, message),
            Self::Id(error) => ResponseError { message, ..error.clone().into() },
            Self::Document(refusal) => ResponseError::new(refusal.code(), message),
        }
    }
}

// === impl Trial ===

impl Trial {
    /// `stopped` ends a run of the function that takes too long. [`Ended::Unknown`] where a node refuses the request itself.
    pub fn new(
        function: &str,
        context: Option<Map<String, Value>>,
        primary_key: &str,
        rules: DocumentRules,
        stopped: Arc<AtomicBool>,
    ) -> Result<Self, Ended> {
        // What has no right syntax is refused before it is a task.
        if Engine::new().compile(function).is_err() {
            return Err(Ended::Unknown);
        }
        let engine = engine(stopped);
        let compiled =
            engine.compile(function).map_err(|error| Ended::Fails(FunctionError::Compiling(error.to_string())))?;
        let context = context.map(|context| serde_json::from_value(Value::Object(context)));
        let context = context.transpose().map_err(|_| Ended::Unknown)?;
        Ok(Self {
            guarded: engine.compile(guarded(function)).ok(),
            engine,
            function: compiled,
            context,
            primary_key: primary_key.to_owned(),
            embedders: rules.embedders.iter().map(|embedder| embedder.name.clone()).collect(),
            // A document that is there keeps its vectors, so none of them can lack any.
            checker: Checker::new(rules, Meets::Replacing),
            as_it_is: true,
            ends_early: ends_early(function),
        })
    }

    /// Runs the function on a document as a node shows it with its vectors.
    pub fn take(&mut self, raw: &str) -> Result<(), Ended> {
        let held = self.held(raw).ok_or(Ended::Unknown)?;
        let made = self.run(&self.function, held.fields.clone())?;
        self.judge(&held, &made)?;
        self.compare(&held, &made);
        Ok(())
    }

    /// `complete`: every document was taken that the edit would be run on.
    pub fn finish(self, complete: bool) -> Result<Program, FunctionError> {
        if let Some(refusal) = self.checker.finish().refusal {
            return Err(refusal.into());
        }
        Ok(match (self.as_it_is, self.guarded) {
            (true, None) => Program::AsItIs,
            // What the function does to the documents that were not seen is not known: the guard is the safe side.
            (true, Some(_)) if complete || self.ends_early => Program::AsItIs,
            (true | false, Some(_)) => Program::Guarded,
            (false, None) => Program::None,
        })
    }

    /// `None` for what is no document of the index.
    fn held(&self, raw: &str) -> Option<Held> {
        let document = Document::parse(raw).ok()?;
        let id = document_id(&document, &self.primary_key).ok()?.into_owned();
        let mut held = Held { id, fields: rhai::Map::new(), object: Map::new(), hidden: Map::new() };
        for (name, raw) in document.fields() {
            let mut value: Value = serde_json::from_str(raw.get()).ok()?;
            if name.starts_with(RESERVED_PREFIX) {
                held.hidden.insert(name.to_string(), value);
                continue;
            }
            if name == VECTORS_FIELD {
                // The engine keeps those of its embedders elsewhere, and shows them to no function.
                let vectors = value.as_object_mut()?;
                vectors.retain(|embedder, _| !self.embedders.contains(embedder));
                if vectors.is_empty() {
                    continue;
                }
                held.fields.insert(name.as_ref().into(), serde_json::from_value(value.clone()).ok()?);
            } else {
                held.fields.insert(name.as_ref().into(), serde_json::from_str(raw.get()).ok()?);
            }
            held.object.insert(name.to_string(), value);
        }
        Some(held)
    }

    fn run(&self, program: &AST, document: rhai::Map) -> Result<Made, Ended> {
        let mut scope = Scope::new();
        if let Some(context) = &self.context {
            scope.push_constant_dynamic("context", context.clone());
        }
        scope.push("doc", document);
        // What it returns is nobody's; what it has made of `doc` counts.
        let _returned: Dynamic =
            self.engine.eval_ast_with_scope(&mut scope, program).map_err(|error| failed(&error))?;
        let made = scope.remove::<Dynamic>("doc").unwrap_or_default();
        if made.is_unit() {
            return Ok(Made::Nothing);
        }
        let made: rhai::Map = made.try_cast().ok_or(Ended::Fails(FunctionError::NotAnObject))?;
        let mut object = Map::new();
        for (name, value) in made {
            let value =
                serde_json::to_value(&value).map_err(|error| Ended::Fails(FunctionError::NoJson(error.to_string())))?;
            object.insert(name.into(), value);
        }
        Ok(Made::Object(object))
    }

    /// The engine looks only at what was changed.
    fn judge(&mut self, held: &Held, made: &Made) -> Result<(), Ended> {
        let Made::Object(object) = made else { return Ok(()) };
        if *object == held.object {
            return Ok(());
        }
        let text = serde_json::to_string(object).map_err(|_| Ended::Unknown)?;
        let document = Document::parse(&text).map_err(|_| Ended::Unknown)?;
        let id = document_id(&document, &self.primary_key).map_err(|error| Ended::Fails(error.into()))?;
        if id != held.id {
            return Err(Ended::Fails(FunctionError::OtherId));
        }
        // Which shard it belongs to is of use for counts only.
        self.checker.take(&document, &id, ShardId(0));
        match self.checker.refused_at_once(&id) {
            Some(refusal) => Err(Ended::Fails(refusal.into())),
            None => Ok(()),
        }
    }

    fn compare(&mut self, held: &Held, made: &Made) {
        let same = |program: &AST| {
            let mut fields = held.fields.clone();
            for (name, value) in &held.hidden {
                let Ok(value) = serde_json::from_value(value.clone()) else { return false };
                fields.insert(name.as_str().into(), value);
            }
            match (self.run(program, fields), made) {
                (Ok(Made::Nothing), Made::Nothing) => true,
                (Ok(Made::Object(found)), Made::Object(wanted)) => {
                    found.len() == wanted.len() + held.hidden.len()
                        && wanted.iter().chain(&held.hidden).all(|(name, value)| found.get(name) == Some(value))
                }
                (Ok(_) | Err(_), Made::Nothing | Made::Object(_)) => false,
            }
        };
        let as_it_is = self.as_it_is && same(&self.function);
        let guard_holds = self.guarded.as_ref().is_some_and(same);
        self.as_it_is = as_it_is;
        if !guard_holds {
            self.guarded = None;
        }
    }
}

/// Rhai within the engine's bounds. It neither prints nor sleeps in the gateway.
fn engine(stopped: Arc<AtomicBool>) -> Engine {
    let mut engine = Engine::new();
    engine.set_optimization_level(OptimizationLevel::Full);
    engine.set_max_call_levels(CALL_LEVELS);
    engine.set_max_operations(OPERATIONS);
    engine.set_max_variables(VARIABLES);
    engine.set_max_functions(FUNCTIONS);
    engine.set_max_expr_depths(TOP_EXPRESSION_DEPTH, EXPRESSION_DEPTH);
    engine.set_max_string_size(TEXT);
    engine.set_max_array_size(ARRAY);
    engine.set_max_map_size(MAP);
    engine.on_print(|_| {});
    engine.on_debug(|_, _, _| {});
    engine.register_fn("sleep", |_seconds: INT| {});
    engine.register_fn("sleep", |_seconds: FLOAT| {});
    engine.on_progress(move |_| stopped.load(Ordering::Relaxed).then_some(Dynamic::UNIT));
    engine
}

fn failed(error: &EvalAltResult) -> Ended {
    match error.unwrap_inner() {
        EvalAltResult::ErrorTerminated(..) | EvalAltResult::ErrorStackOverflow(_) => Ended::Unknown,
        EvalAltResult::ErrorDataTooLarge(what, _) if what.contains("string") => Ended::Unknown,
        _others => Ended::Fails(FunctionError::Running(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
