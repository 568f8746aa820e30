//! Rhai, the script language that the engine's own edits by function have: one engine for the process, and programs compiled for it.
//!
//! A program is a pure function of what it is given: no clock, no chance, no files, no network, so many steps at most, and so much
//! time. It is given only what its text names.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};
use serde_json::{Map, Value};

use super::network::Network;
use super::subject::Subject;
use crate::settings::{FromSection, Section};

/// Tells the time since some moment that stays the same.
pub type Clock = fn() -> Duration;

/// The section `programs`: how long a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramSettings {
    /// A condition or a program over a request.
    search: Duration,
    /// A program over the answer to one search.
    answer: Duration,
    /// A program over one document.
    document: Duration,
}

/// How long programs may take, and by which clock.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    pub clock: Clock,
    pub most: ProgramSettings,
}

/// How long a program may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    pub clock: Clock,
    pub most: Duration,
}

/// Why a program has come to no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It says so itself: `throw "a message for the client"`.
    Thrown(String),
    /// It is wrong, or takes too much. Not for the client.
    Broken(String),
}

/// A program as it is run.
#[derive(Clone)]
pub struct Compiled {
    pub source: String,
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

/// What the language throws where a list cannot be sorted by what a program says.
const UNSORTABLE: &str = "error in comparer for sorting";

/// The clock is looked at once in so many steps.
const LOOKS: u64 = 64;

thread_local! {
    /// What runs on this thread.
    static WATCHED: Cell<Option<Watch>> = const { Cell::new(None) };
}

/// A program under way. The language counts steps anew in each closure, and goes on over errors in what a list is sorted by; so they are
/// counted here, and what has taken too much stays so.
#[derive(Clone, Copy)]
struct Watch {
    clock: Clock,
    /// When it has to be over, by its clock.
    end: Duration,
    steps: u64,
    over: Option<Over>,
}

/// What a program has taken too much of.
#[derive(Clone, Copy)]
enum Over {
    Steps,
    Time,
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut engine = Engine::new();
    // Threads would wait for each other at the table of texts.
    engine.set_max_strings_interned(0);
    engine.set_strict_variables(true);
    // See `Watch`.
    engine.set_max_operations(0);
    engine.set_max_call_levels(32);
    engine.set_max_expr_depths(64, 32);
    engine.set_max_functions(50);
    engine.set_max_variables(100);
    engine.set_max_string_size(TEXT);
    engine.set_max_array_size(ITEMS);
    engine.set_max_map_size(ITEMS);
    engine.disable_symbol("eval");
    engine.on_progress(|_| {
        let mut watch = WATCHED.get()?;
        watch.step();
        WATCHED.set(Some(watch));
        watch.over.map(|_| Dynamic::UNIT)
    });
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

// === impl Watch ===

impl Watch {
    fn step(&mut self) {
        self.steps += 1;
        if self.steps > OPERATIONS {
            self.over = self.over.or(Some(Over::Steps));
        } else if self.steps.is_multiple_of(LOOKS) && (self.clock)() > self.end {
            self.over = self.over.or(Some(Over::Time));
        }
    }
}

// === impl ProgramSettings ===

impl FromSection for ProgramSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            search: section.duration("search", Duration::from_millis(50)),
            answer: section.duration("answer", Duration::from_millis(50)),
            document: section.duration("document", Duration::from_millis(20)),
        }
    }
}

// === impl Deadlines ===

impl Deadlines {
    /// Nothing takes too long where no time passes: for what is only tried.
    pub fn none() -> Self {
        let most = Duration::MAX;
        let most = ProgramSettings { search: most, answer: most, document: most };
        Self { clock: || Duration::ZERO, most }
    }

    /// Of a condition or a program over a request.
    pub fn search(&self) -> Deadline {
        Deadline { clock: self.clock, most: self.most.search }
    }

    /// Of a program over the answer to one search.
    pub fn answer(&self) -> Deadline {
        Deadline { clock: self.clock, most: self.most.answer }
    }

    /// Of a program over one document.
    pub fn document(&self) -> Deadline {
        Deadline { clock: self.clock, most: self.most.document }
    }
}

// === impl Deadline ===

impl Deadline {
    /// What `run` came to, and what it has taken too much of.
    fn watch<T>(&self, run: impl FnOnce() -> T) -> (T, Option<Over>) {
        let end = (self.clock)().saturating_add(self.most);
        WATCHED.set(Some(Watch { clock: self.clock, end, steps: 0, over: None }));
        let outcome = run();
        (outcome, WATCHED.take().and_then(|watch| watch.over))
    }
}

// === impl Compiled ===

impl Compiled {
    /// `own` is a name that only such programs know. The message says what is wrong.
    pub fn new(source: &str, own: Option<&str>) -> Result<Self, String> {
        let mut scope = Scope::new();
        for name in NAMES.into_iter().chain(own) {
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

    /// What the program knows of a request.
    pub fn scope(&self, subject: &Subject<'_>, params: Option<&Map<String, Value>>) -> Result<Scope<'static>, Fault> {
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

    /// Runs it to its end, or until it has taken too much.
    pub fn eval(&self, scope: &mut Scope<'static>, deadline: &Deadline) -> Result<Dynamic, Fault> {
        let (outcome, over) = deadline.watch(|| ENGINE.eval_ast_with_scope::<Dynamic>(scope, &self.ast));
        match over {
            Some(Over::Steps) => return Err(Fault::Broken(format!("it took more than {OPERATIONS} steps"))),
            Some(Over::Time) => {
                return Err(Fault::Broken(format!("it took longer than {} ms", deadline.most.as_millis())));
            }
            None => {}
        }
        outcome.map_err(|error| match error.unwrap_inner() {
            // The language says so itself where two items are each before the other.
            EvalAltResult::ErrorRuntime(thrown, _) if thrown.to_string() == UNSORTABLE => {
                Fault::Broken(UNSORTABLE.to_owned())
            }
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
pub(super) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;

    use super::*;
    use crate::rules::subject::tests::caller;

    /// No time passes.
    pub fn unhurried() -> Deadline {
        Deadlines::none().search()
    }

    /// A millisecond passes with each look.
    fn ticking() -> Duration {
        static LOOKED: AtomicU64 = AtomicU64::new(0);
        Duration::from_millis(LOOKED.fetch_add(1, Ordering::Relaxed))
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let caller = caller(json!({}), "", &[]);
        let run = |source: &str, most: u64| {
            let program = Compiled::new(source, None).unwrap();
            let mut scope = program.scope(&Subject::of(&caller, "search", None), None).unwrap();
            program.eval(&mut scope, &Deadline { clock: ticking, most: Duration::from_millis(most) }).map(drop)
        };
        let count = "let n = 0; while n < 1000 { n += 1; }";
        let over = Fault::Broken("it took longer than 10 ms".to_owned());
        assert_eq!(run(count, 10), Err(over.clone()));
        assert_eq!(run("loop {}", 10), Err(over));
        assert_eq!(run(count, 100_000), Ok(()));
        assert_eq!(run("", 10), Ok(()), "the end of one is not the end of the next");
        // Steps in closures count with all others, and a list that came to no order is no result.
        let nested = "let l = []; l.pad(1000, 1); let m = []; m.pad(1000, 1); l.for_each(|| { m.for_each(|| 1); });";
        assert_eq!(run(nested, 100_000), Err(Fault::Broken("it took more than 100000 steps".to_owned())));
        let sorted = "let l = []; for i in 0..5000 { l.push((i * 7919) % 5003); } l.sort(|a, b| a - b);";
        assert!(matches!(run(sorted, 100), Err(Fault::Broken(why)) if why.contains("longer")));
    }
}
