//! Programs over documents, each before anything else is done with it: changed, left out or refused. Its id is what it was.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rhai::{Dynamic, Scope};
use serde_json::{Map, Value};

use super::language::{Compiled, Deadline, Fault};
use super::otherwise::Otherwise;
use super::patch::{parsed, patched};
use super::shape::Fit;
use super::subject::Subject;
use crate::split::Document;
use crate::split::primary_key::{document_id, is_candidate};

/// `on_document: ...`, statements that change `doc`.
#[derive(Clone)]
pub struct OnDocument {
    program: Arc<Compiled>,
    params: Map<String, Value>,
}

/// A program for the documents of one request.
#[derive(Clone)]
pub struct Editing {
    /// The rule's name.
    pub rule: String,
    on_error: Otherwise,
    program: Arc<Compiled>,
    scope: Scope<'static>,
    deadline: Deadline,
    failures: Arc<Failures>,
}

/// How often a program has come to no end in one request.
#[derive(Default)]
struct Failures {
    count: AtomicU64,
    /// Why it did at first.
    first: Mutex<Option<String>>,
}

/// Why a document is not written, and nothing of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// It is not what it must be: the client's fault.
    Document(String),
    /// A rule has failed.
    Rule(String),
}

/// What the program knows the document as.
const DOCUMENT: &str = "doc";

// === impl OnDocument ===

impl OnDocument {
    /// The message says what is wrong with the program.
    pub fn parse(source: &str, params: Map<String, Value>) -> Result<Self, String> {
        Ok(Self { program: Arc::new(Compiled::new(source, Some(DOCUMENT))?), params })
    }

    /// With all that it wants to know of the request.
    pub(super) fn of(
        &self,
        rule: &str,
        on_error: Otherwise,
        subject: &Subject<'_>,
        deadline: Deadline,
    ) -> Result<Editing, Fault> {
        let scope = self.program.scope(subject, Some(&self.params))?;
        let program = Arc::clone(&self.program);
        Ok(Editing { rule: rule.to_owned(), on_error, program, scope, deadline, failures: Arc::default() })
    }
}

impl fmt::Debug for OnDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.program.source, self.params)
    }
}

// === impl Editing ===

impl Editing {
    /// What becomes of `document`. `primary_key` is `None` where the first document tells it.
    pub fn fit(&self, document: &Document<'_>, primary_key: Option<&str>) -> Result<Fit, Rejected> {
        match self.edited(document, primary_key) {
            Ok(fit) => Ok(fit),
            Err(Fault::Thrown(why)) => Err(Rejected::Document(format!("{why} (rule `{}`)", self.rule))),
            Err(Fault::Broken(why)) => {
                self.failures.count.fetch_add(1, Ordering::Relaxed);
                self.failures.first.lock().get_or_insert(why);
                match self.on_error {
                    Otherwise::Skip => Ok(Fit::AsItIs),
                    Otherwise::Refuse => Err(Rejected::Rule(format!("Rule `{}` has failed.", self.rule))),
                }
            }
        }
    }

    /// How often it has failed, and why at first.
    pub fn failures(&self) -> Option<(u64, String)> {
        let first = self.failures.first.lock().clone()?;
        Some((self.failures.count.load(Ordering::Relaxed), first))
    }

    fn edited(&self, document: &Document<'_>, primary_key: Option<&str>) -> Result<Fit, Fault> {
        let before = parsed(document.raw())?;
        let mut scope = self.scope.clone();
        scope.push_dynamic(DOCUMENT, before.clone());
        let _returned = self.program.eval(&mut scope, &self.deadline)?;
        let after = scope.remove::<Dynamic>(DOCUMENT).unwrap_or_default().flatten();
        if after.is_unit() {
            return Ok(Fit::Skipped);
        }
        if !after.is_map() {
            return Err(Fault::Broken("`doc` is no mapping any more".to_owned()));
        }
        let text = patched(document.raw(), &before, &after)?;
        if text == document.raw() {
            return Ok(Fit::AsItIs);
        }
        let changed =
            Document::parse(&text).map_err(|error| Fault::Broken(format!("what the program has made: {error}")))?;
        if !has_same_id(document, &changed, primary_key) {
            return Err(Fault::Broken("the primary key of a document is not a program's to change".to_owned()));
        }
        Ok(Fit::Changed(text))
    }
}

impl fmt::Debug for Editing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editing").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl PartialEq for Editing {
    fn eq(&self, other: &Self) -> bool {
        self.rule == other.rule
    }
}

/// Where it is not known yet which field is the primary key, none of those that could be has changed.
fn has_same_id(one: &Document<'_>, other: &Document<'_>, primary_key: Option<&str>) -> bool {
    if let Some(key) = primary_key {
        return document_id(one, key).ok() == document_id(other, key).ok();
    }
    let candidates = |document: &Document<'_>| -> Vec<(String, String)> {
        let fields = document.fields().iter().filter(|(name, _)| is_candidate(name));
        fields.map(|(name, value)| (name.to_string(), value.get().to_owned())).collect()
    };
    candidates(one) == candidates(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::rules::language::tests::unhurried;
    use crate::rules::subject::tests::caller;

    fn editing(source: &str, on_error: Otherwise) -> Editing {
        let caller = caller(json!({"team": "blue"}), "", &[]);
        let program = OnDocument::parse(source, json!({"most": 10}).as_object().cloned().unwrap()).unwrap();
        program.of("r", on_error, &Subject::of(&caller, "addDocuments", Some("a")), unhurried()).unwrap()
    }

    fn fit(source: &str, document: &str, key: Option<&str>) -> Result<Fit, Rejected> {
        editing(source, Otherwise::Refuse).fit(&Document::parse(document).unwrap(), key)
    }

    #[test]
    fn a_document_is_changed_left_out_or_refused() {
        let document = r#"{"id": 7, "price":1.50 ,"tags":["a"]}"#;
        let changed = |text: &str| Ok(Fit::Changed(text.to_owned()));
        assert_eq!(fit("", document, None), Ok(Fit::AsItIs));
        assert_eq!(
            fit("doc.team = claims.team; doc.remove(\"tags\");", document, None),
            changed(r#"{"id":7,"price":1.50,"team":"blue"}"#)
        );
        assert_eq!(fit("if doc.price < params.most { doc = (); }", document, None), Ok(Fit::Skipped));
        let why = "too cheap (rule `r`)".to_owned();
        assert_eq!(fit("throw \"too cheap\"", document, None), Err(Rejected::Document(why)));
        for broken in
            ["doc = 1;", "loop {}", "doc.nothing.len2();", "doc.id = 8;", "doc.remove(\"id\");", "doc.other_ID = 1;"]
        {
            assert!(matches!(fit(broken, document, None), Err(Rejected::Rule(_))), "{broken}");
        }
        let lax = editing("doc.id = 8;", Otherwise::Skip);
        let documents = [document, document];
        for document in documents {
            assert_eq!(lax.fit(&Document::parse(document).unwrap(), None), Ok(Fit::AsItIs));
        }
        assert_eq!(lax.failures().map(|(count, _)| count), Some(2));
        assert_eq!(editing("", Otherwise::Skip).failures(), None);
    }

    #[test]
    fn the_primary_key_stays_wherever_it_is() {
        let document = r#"{"sku":"x","id":1,"meta":{"no":5,"n":1}}"#;
        assert!(matches!(fit("doc.id = 2;", document, Some("sku")), Ok(Fit::Changed(_))));
        assert!(fit("doc.sku = \"y\";", document, Some("sku")).is_err());
        assert!(fit("doc.meta.no = 6;", document, Some("meta.no")).is_err());
        assert!(matches!(fit("doc.meta.n = 6;", document, Some("meta.no")), Ok(Fit::Changed(_))));
        let large = r#"{"id":9007199254740993.0,"uid":18446744073709551615,"n":1}"#;
        assert_eq!(fit("doc.n = 2;", large, None), Ok(Fit::Changed(large.replace("\"n\":1", "\"n\":2"))));
    }

    proptest! {
        #[test]
        fn a_program_that_changes_nothing_leaves_every_byte(
            fields in prop::collection::vec(("[a-z\"\\\\]{1,3}", "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?"), 0..6),
            source in prop::sample::select(vec!["", "doc = doc;", "let other = doc; other.x = 1;", "doc.NEW = 1; doc.remove(\"NEW\");"]),
        ) {
            let members: Vec<String> = fields.iter().map(|(name, number)| format!("{} : {number}", json!(name))).collect();
            let text = format!("{{ {} }}", members.join(" ,"));
            prop_assert_eq!(fit(source, &text, None), Ok(Fit::AsItIs));
        }
    }
}
