//! What a trial finds.

use serde_json::json;

use super::super::vectors::Embedder;
use super::*;

fn trial(function: &str, context: Option<Value>) -> Trial {
    let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 2}}});
    let rules = DocumentRules { geo: true, embedders: Embedder::of_settings(&settings) };
    let context = context.map(|context| context.as_object().cloned().unwrap());
    Trial::new(function, context, "id", rules, Arc::default()).ok().unwrap()
}

/// Ten documents, the last without a title.
fn documents() -> Vec<Value> {
    let mut documents: Vec<Value> = (0..10)
        .map(|id| {
            json!({
                "id": id, "title": format!("film {id}"), "n": id % 3,
                "_vectors": {"own": {"embeddings": [[1.0, 2.0]], "regenerate": false}},
                SHARD_FIELD: "{{{{{{{{", WRITTEN_FIELD: "[]",
            })
        })
        .collect();
    documents[9].as_object_mut().unwrap().remove("title");
    documents
}

fn tried(function: &str) -> Result<Program, Ended> {
    let mut trial = trial(function, None);
    for document in documents() {
        trial.take(&document.to_string())?;
    }
    trial.finish(true).map_err(Ended::Fails)
}

fn message(function: &str) -> (String, String) {
    match tried(function) {
        Err(Ended::Fails(error)) => {
            let error = error.to_response("films");
            (error.code, error.message)
        }
        other => panic!("{function}: {other:?}"),
    }
}

#[test]
fn a_function_that_touches_only_what_it_names_is_sent_as_it_is() {
    for function in [
        "doc.n = doc.n * 2",
        "if doc.n == 1 { return; } doc.title = `${doc.title}!`",
        "if doc.n == 1 { doc = () } else { doc.x = #{a: [1, 2.5]} }",
        "fn twice(x) { x + x } doc.n = twice(doc.n); // done",
        "print(doc.id); sleep(1000); debug(1)",
        "",
    ] {
        assert_eq!(tried(function), Ok(Program::AsItIs), "{function}");
    }
}

#[test]
fn a_function_that_meets_hidden_fields_is_guarded() {
    for function in [
        "doc = #{id: doc.id, title: doc.title}",
        "doc.fields = doc.keys().len()",
        "for key in doc.keys() { if key != \"id\" { doc[key] = 1 } }",
        "doc = #{id: doc.id} // and no more",
    ] {
        assert_eq!(tried(function), Ok(Program::Guarded), "{function}");
    }
    assert_eq!(tried("if doc.n == 1 { doc = #{id: doc.id}; return; } doc.fields = doc.len()"), Ok(Program::None));
}

#[test]
fn what_was_not_tried_is_guarded_unless_it_may_end_early() {
    assert_eq!(Program::untried("doc = #{id: doc.id}"), Program::Guarded);
    assert_eq!(Program::untried("doc.n += 1 // done"), Program::Guarded);
    for early in ["if doc.n == 1 { return; } doc.v = 1", "if doc.n == 1 { exit(); } doc.v = 1"] {
        assert_eq!(Program::untried(early), Program::AsItIs, "{early}");
        let mut trial = trial(early, None);
        assert_eq!(trial.take(&documents()[0].to_string()), Ok(()));
        assert_eq!(trial.finish(false), Ok(Program::AsItIs), "the guard could be skipped in what was not seen");
    }
}

#[test]
fn what_fails_on_one_document_fails_in_the_engines_words() {
    let code = "edit_documents_by_function_error".to_owned();
    let running = "Index `films`: Document edition runtime error encountered while running the function: ";
    assert_eq!(
        message("if doc.id == 7 { throw \"no seven\" } doc.n = 1"),
        (code.clone(), format!("{running}Runtime error: no seven (line 1, position 18)"))
    );
    let (_, missing) = message("doc.n = doc.title.len");
    assert!(missing.starts_with(running), "{missing}");
    let (_, endless) = message("loop { doc.n += 1 }");
    assert!(endless.starts_with(&format!("{running}Too many operations")), "{endless}");
    assert_eq!(
        message("if doc.id == 7 { doc.id = 8 }"),
        (code.clone(), "Index `films`: Document editions cannot modify a document's primary key".to_owned())
    );
    assert_eq!(
        message("if doc.id == 7 { doc = 8 }"),
        (code, "Index `films`: Document editions must keep documents as objects".to_owned())
    );
    assert_eq!(
        message("if doc.id == 7 { doc = #{b: 1, a: 2} }"),
        (
            "missing_document_id".to_owned(),
            r#"Index `films`: Document doesn't have a `id` attribute: `{"a":2,"b":1}`."#.to_owned()
        )
    );
    assert_eq!(message("if doc.id == 7 { doc.id = \"a b\" }").0, "invalid_document_id");
}

#[test]
fn documents_that_were_made_must_keep_the_rules_of_their_index() {
    assert_eq!(message("if doc.id == 7 { doc._geo = 5 }").0, "invalid_document_geo_field");
    assert_eq!(message("doc._vectors = #{own: [1.0]}").0, "invalid_vector_dimensions");
    assert_eq!(message("doc._vectors = #{other: \"x\"}").0, "invalid_vectors_type");
    for right in ["doc._geo = #{lat: 1, lng: \"2\"}", "doc._vectors = #{own: [1.0, 2.0]}", "doc.x = doc._vectors"] {
        assert_eq!(tried(right), Ok(Program::AsItIs), "{right}");
    }
}

#[test]
fn vectors_of_the_indexs_embedders_are_shown_to_no_function() {
    let mut trial = trial("doc.n = if doc._vectors == () { 0 } else { doc._vectors.keys().len() }", None);
    let bare = documents()[0].to_string();
    let held = trial.held(&bare).unwrap();
    assert!(!held.object.contains_key(VECTORS_FIELD));
    let other = json!({"id": 1, "_vectors": {"own": {"embeddings": [], "regenerate": true}, "other": [1, 2]}});
    let held = trial.held(&other.to_string()).unwrap();
    assert_eq!(held.object["_vectors"], json!({"other": [1, 2]}));
    trial.take(&bare).unwrap();
}

#[test]
fn the_context_is_there_and_cannot_be_changed() {
    let mut with_context = trial("doc.n = context.n", Some(json!({"n": 5})));
    with_context.take(&documents()[0].to_string()).unwrap();
    let mut changing = trial("context.n = 6", Some(json!({"n": 5})));
    assert!(matches!(changing.take(&documents()[0].to_string()), Err(Ended::Fails(FunctionError::Running(_)))));
}

#[test]
fn what_does_not_compile_within_the_engines_bounds_fails_and_what_has_no_syntax_is_no_task() {
    let functions: String = (0..31).map(|n| format!("fn f{n}() {{ {n} }} ")).collect();
    let trial = |function: &str| Trial::new(function, None, "id", DocumentRules::default(), Arc::default()).err();
    let Some(Ended::Fails(error)) = trial(&functions) else { panic!("31 functions") };
    assert!(error.to_string().contains("while compiling the function: "), "{error}");
    assert_eq!(trial("doc.n = "), Some(Ended::Unknown));
}

#[test]
fn a_trial_can_be_stopped_and_what_needs_more_than_it_may_have_is_not_judged() {
    let stopped = Arc::new(AtomicBool::new(true));
    let mut stopping = Trial::new("doc.n = 1", None, "id", DocumentRules::default(), stopped).ok().unwrap();
    assert_eq!(stopping.take(&documents()[0].to_string()), Err(Ended::Unknown));
    for function in ["let s = \"xxxxxxxx\"; loop { s += s }", "fn deep(n) { if n > 0 { deep(n - 1) } } deep(500)"] {
        assert_eq!(tried(function), Err(Ended::Unknown), "{function}");
    }
}

#[test]
fn of_documents_that_were_not_seen_the_guard_is_the_safe_side() {
    let partly = |function: &str| {
        let mut trial = trial(function, None);
        trial.take(&documents()[0].to_string()).unwrap();
        trial.finish(false).unwrap()
    };
    assert_eq!(partly("doc.n = 1"), Program::Guarded);
    assert_eq!(partly("if doc.n == 1 { return; } doc.n = 1"), Program::AsItIs);
}
