//! Conditions and programs in Rhai, the script language that the engine's own edits by function have.
//!
//! A program is a pure function of the request: no clock, no chance, no files, no network, and so many steps at most. It is given
//! only what its text names, and of what it gives back only what it has changed is taken.

use std::fmt;
use std::sync::LazyLock;

use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};
use serde_json::{Map, Value};

use super::network::Network;
use super::subject::Subject;

/// What a rule asks of a request besides its conditions.
#[derive(Clone)]
pub struct When {
    program: Compiled,
}

/// What a rule makes of the parameters of a search.
#[derive(Clone)]
pub struct Program {
    program: Compiled,
    /// Known to the program as `params`.
    params: Map<String, Value>,
}

/// Why a program has come to no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It says so itself: `throw "a message for the client"`.
    Thrown(String),
    /// It is wrong, or takes too much. Not for the client.
    Broken(String),
}

#[derive(Clone)]
struct Compiled {
    source: String,
    ast: AST,
    /// What the source names, so that nothing else has to be converted.
    named: Vec<&'static str>,
    /// The parameters of a search that it names; `None` for all.
    parameters: Option<Vec<String>>,
}

/// What can be named.
const NAMES: [&str; 7] = ["claims", "headers", "client", "key", "request", "search", "params"];

/// So many steps a program may take; a few milliseconds.
const OPERATIONS: u64 = 100_000;
const TEXT: usize = 1 << 20;
const ITEMS: usize = 10_000;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut engine = Engine::new();
    // Threads would wait for each other at the table of texts.
    engine.set_max_strings_interned(0);
    engine.set_strict_variables(true);
    engine.set_max_operations(OPERATIONS);
    engine.set_max_call_levels(32);
    engine.set_max_expr_depths(64, 32);
    engine.set_max_functions(50);
    engine.set_max_variables(100);
    engine.set_max_string_size(TEXT);
    engine.set_max_array_size(ITEMS);
    engine.set_max_map_size(ITEMS);
    engine.disable_symbol("eval");
    engine.on_print(|_| {});
    engine.on_debug(|_, _, _| {});
    // `search.q.len()` of a search without words.
    engine.register_fn("len", |_nothing: ()| -> rhai::INT { 0 });
    engine.register_fn("in_cidr", |address: &str, network: &str| {
        let network: Option<Network> = network.parse().ok();
        network.zip(address.parse().ok()).is_some_and(|(network, address)| network.contains(address))
    });
    engine
});

// === impl When ===

impl When {
    /// An expression. The message says what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        Compiled::new(source).map(|program| Self { program })
    }

    /// An error where the expression cannot be worked out, or is neither true nor false.
    pub fn holds(&self, subject: &Subject<'_>) -> Result<bool, Fault> {
        let mut scope = self.program.scope(subject, None)?;
        let value = self.program.eval(&mut scope)?;
        value.as_bool().map_err(|kind| Fault::Broken(format!("the condition is a {kind}, and neither true nor false")))
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.source)
    }
}

// === impl Program ===

impl Program {
    /// Statements that change `search`. The message says what is wrong with them.
    pub fn parse(source: &str, params: Map<String, Value>) -> Result<Self, String> {
        Compiled::new(source).map(|program| Self { program, params })
    }

    /// The parameters that it has changed; `None` for what it has taken away.
    pub fn run(&self, subject: &Subject<'_>) -> Result<Vec<(String, Option<Value>)>, Fault> {
        let mut scope = self.program.scope(subject, Some(&self.params))?;
        let before = parameters(&scope)?;
        let _returned = self.program.eval(&mut scope)?;
        let after = parameters(&scope)?;
        // Compared as they come out of the language, so that what it cannot hold exactly does not count as changed.
        let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), None));
        let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
        Ok(gone.chain(changed.map(|(name, value)| (name.clone(), Some(value.clone())))).collect())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.program.source, self.params)
    }
}

/// The parameters of the search as a scope has them.
fn parameters(scope: &Scope<'_>) -> Result<Map<String, Value>, Fault> {
    let Some(search) = scope.get("search") else { return Ok(Map::new()) };
    match serde_json::to_value(search) {
        Ok(Value::Object(parameters)) => Ok(parameters),
        Ok(_) => Err(Fault::Broken("`search` is no mapping any more".to_owned())),
        Err(error) => Err(Fault::Broken(format!("`search` holds what is no JSON: {error}"))),
    }
}

// === impl Compiled ===

impl Compiled {
    fn new(source: &str) -> Result<Self, String> {
        let mut scope = Scope::new();
        for name in NAMES {
            scope.push_dynamic(name, Dynamic::from_map(rhai::Map::new()));
        }
        let ast = ENGINE.compile_with_scope(&scope, source).map_err(|error| error.to_string())?;
        let named = NAMES.into_iter().filter(|name| words(source).any(|word| word.names(name))).collect();
        let of_search: Vec<Option<&str>> =
            words(source).filter(|word| word.names("search")).map(|word| word.property()).collect();
        let parameters: Option<Vec<&str>> = of_search.into_iter().collect();
        let parameters = parameters.map(|names| names.into_iter().map(str::to_owned).collect());
        Ok(Self { source: source.to_owned(), ast, named, parameters })
    }

    fn scope(&self, subject: &Subject<'_>, params: Option<&Map<String, Value>>) -> Result<Scope<'static>, Fault> {
        let mut scope = Scope::new();
        for name in NAMES {
            let mut value = Value::Object(Map::new());
            if self.named.contains(&name) {
                value = self.value(name, subject, params);
            }
            let value: Dynamic =
                serde_json::from_value(value).map_err(|error| Fault::Broken(format!("`{name}`: {error}")))?;
            scope.push_dynamic(name, value);
        }
        Ok(scope)
    }

    fn eval(&self, scope: &mut Scope<'static>) -> Result<Dynamic, Fault> {
        ENGINE.eval_ast_with_scope::<Dynamic>(scope, &self.ast).map_err(|error| match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(thrown, _) if !thrown.is_unit() => Fault::Thrown(thrown.to_string()),
            _ => Fault::Broken(error.to_string()),
        })
    }

    fn value(&self, name: &str, subject: &Subject<'_>, params: Option<&Map<String, Value>>) -> Value {
        let caller = subject.caller;
        match name {
            "claims" => caller.claims.clone().unwrap_or_default().into(),
            "headers" => {
                let pairs = caller.headers.iter().filter(|(name, _)| *name != http::header::AUTHORIZATION);
                let pairs = pairs.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())));
                Value::Object(pairs.collect())
            }
            "client" => {
                serde_json::json!({ "ip": caller.address.map(|address| address.to_string()).unwrap_or_default() })
            }
            "key" => serde_json::json!({ "uid": caller.key.map(|key| key.to_string()).unwrap_or_default() }),
            "request" => serde_json::json!({ "index": subject.index.unwrap_or_default(), "operation": subject.deed }),
            "search" => {
                let all = subject.parameters.into_iter().flatten();
                let wanted =
                    |name: &str| self.parameters.as_ref().is_none_or(|names| names.iter().any(|known| known == name));
                Value::Object(
                    all.filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect(),
                )
            }
            _ => params.cloned().unwrap_or_default().into(),
        }
    }
}

/// A name with what follows it after dots: `search.q.len`.
struct Word<'s> {
    text: &'s str,
    /// It is called, as a function.
    is_called: bool,
}

// === impl Word ===

impl<'s> Word<'s> {
    fn names(&self, name: &str) -> bool {
        self.text.split('.').next() == Some(name)
    }

    /// What is taken of it, where that is one property: `q` of `search.q.len()`. None of `search`, and none of `search.remove("q")`.
    fn property(&self) -> Option<&'s str> {
        let mut steps = self.text.split('.').skip(1);
        let property = steps.next().filter(|property| !property.is_empty())?;
        let is_method = self.is_called && steps.next().is_none();
        (!is_method).then_some(property)
    }
}

fn words(source: &str) -> impl Iterator<Item = Word<'_>> {
    let is_inner = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    let mut rest = source;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter| !is_inner(letter));
        let end = rest.find(|letter| !is_inner(letter)).unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        rest = after;
        (!text.is_empty()).then(|| Word { text, is_called: after.trim_start().starts_with('(') })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;

    fn holds(when: &str, search: Value) -> Result<bool, Fault> {
        let caller = caller(json!({"plan": "gold", "roles": ["a"]}), "10.1.2.3", &[("x-beta", "1")]);
        let search = search.as_object().cloned();
        let subject = Subject { parameters: search.as_ref(), ..Subject::of(&caller, "search", Some("products")) };
        When::parse(when).unwrap().holds(&subject)
    }

    fn run(source: &str, search: Value) -> Result<Vec<(String, Option<Value>)>, Fault> {
        let caller = caller(json!({"plan": "gold"}), "10.1.2.3", &[]);
        let search = search.as_object().cloned();
        let subject = Subject { parameters: search.as_ref(), ..Subject::of(&caller, "search", Some("products")) };
        Program::parse(source, json!({"field": "sku"}).as_object().cloned().unwrap()).unwrap().run(&subject)
    }

    #[test]
    fn a_condition_sees_who_asks_for_what() {
        for (when, expected) in [
            ("search.q.len() >= 5", true),
            ("claims.plan == \"gold\" && \"a\" in claims.roles", true),
            ("claims.other == ()", true),
            ("!client.ip.in_cidr(\"10.0.0.0/8\")", false),
            ("headers[\"x-beta\"] == \"1\" && request.index == \"products\" && request.operation == \"search\"", true),
            ("key.uid == \"\"", true),
            ("search.limit > 10", false),
            ("search.distinct.len() == 0", true),
        ] {
            assert_eq!(holds(when, json!({"q": "shoes", "limit": 3})), Ok(expected), "{when}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_costs_little() {
        for source in ["search.q.len(", "nobody.q == 1", "eval(\"1\") == 1", "let x = 1; y"] {
            assert!(When::parse(source).is_err(), "{source}");
        }
        for source in [
            "1",
            "loop {}",
            "fn f(n) { f(n + 1) } f(0)",
            "1 / 0 == 1",
            "let a = \"x\"; loop { a += a; }",
            "let a = []; loop { a.push(1); }",
            "search.q.nothing()",
        ] {
            let outcome = holds(source, json!({"q": "a"}));
            assert!(matches!(outcome, Err(Fault::Broken(_))), "{source}: {outcome:?}");
        }
        for impure in ["timestamp() == 1", "sleep(1)", "rand() == 1"] {
            let outcome = When::parse(impure).map(|_| holds(impure, json!({})));
            assert!(!matches!(outcome, Ok(Ok(_))), "{impure}: {outcome:?}");
        }
    }

    #[test]
    fn a_program_changes_what_it_changes() {
        let search = json!({"q": "AB-1234", "vector": [0.1, 1e-7], "limit": 3});
        let rewritten = run(
            "search.filter = params.field + \" = \" + search.q; search.q = \"\"; search.remove(\"limit\");",
            search.clone(),
        );
        let changed = rewritten.unwrap();
        assert!(changed.contains(&("q".to_owned(), Some(json!("")))));
        assert!(changed.contains(&("limit".to_owned(), None)));
        assert!(changed.contains(&("filter".to_owned(), Some(json!("sku = AB-1234")))));
        assert_eq!(changed.len(), 3);
        for same in ["", "search.q = search.q", "let all = search; all.q = 1;", "search.limit += 0"] {
            assert_eq!(run(same, search.clone()), Ok(vec![]), "{same}");
        }
        assert!(run("search = 1", search.clone()).is_err());
        assert_eq!(run("throw \"not so\"", search), Err(Fault::Thrown("not so".to_owned())));
    }

    #[test]
    fn numbers_that_the_language_cannot_hold_are_left_alone() {
        let search: Value =
            serde_json::from_str(r#"{"vector": [0.1, 1.0, 123456789.123456789, 1e300], "limit": 9007199254740993}"#)
                .unwrap();
        assert_eq!(
            run("let untouched = search; search.q = \"x\";", search).unwrap(),
            [("q".to_owned(), Some(json!("x")))]
        );
    }
}
