//! Conditions, and programs over the parameters of searches: of what a program gives back only what it has changed is taken.

use std::fmt;

use rhai::Scope;
use serde_json::{Map, Value};

use super::language::{Compiled, Deadline, Fault};
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

// === impl When ===

impl When {
    /// An expression. The message says what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        Compiled::new(source, None).map(|program| Self { program })
    }

    /// An error where the expression cannot be worked out, or is neither true nor false.
    pub fn holds(&self, subject: &Subject<'_>, deadline: &Deadline) -> Result<bool, Fault> {
        let mut scope = self.program.scope(subject, None)?;
        let value = self.program.eval(&mut scope, deadline)?;
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
        Compiled::new(source, None).map(|program| Self { program, params })
    }

    /// The parameters that it has changed; `None` for what it has taken away.
    pub fn run(&self, subject: &Subject<'_>, deadline: &Deadline) -> Result<Vec<(String, Option<Value>)>, Fault> {
        let mut scope = self.program.scope(subject, Some(&self.params))?;
        let before = parameters(&scope)?;
        let _returned = self.program.eval(&mut scope, deadline)?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::language::tests::unhurried;
    use crate::rules::subject::tests::caller;

    fn holds(when: &str, search: Value) -> Result<bool, Fault> {
        let caller = caller(json!({"plan": "gold", "roles": ["a"]}), "10.1.2.3", &[("x-beta", "1")]);
        let search = search.as_object().cloned();
        let subject = Subject { parameters: search.as_ref(), ..Subject::of(&caller, "search", Some("products")) };
        When::parse(when).unwrap().holds(&subject, &unhurried())
    }

    fn run(source: &str, search: Value) -> Result<Vec<(String, Option<Value>)>, Fault> {
        let caller = caller(json!({"plan": "gold"}), "10.1.2.3", &[]);
        let search = search.as_object().cloned();
        let subject = Subject { parameters: search.as_ref(), ..Subject::of(&caller, "search", Some("products")) };
        Program::parse(source, json!({"field": "sku"}).as_object().cloned().unwrap())
            .unwrap()
            .run(&subject, &unhurried())
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
