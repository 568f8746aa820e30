//! Programs over answers: what they make of the hits of a page. Totals and facets are not theirs, and they see no more than the client.

use std::fmt;
use std::sync::Arc;

use rhai::{Array, Dynamic, Scope};
use serde_json::{Map, Value};

use super::language::{Compiled, Deadline, Fault};
use super::otherwise::Otherwise;
use super::patch::{parsed, patched};
use super::subject::Subject;
use crate::split::document::RESERVED_PREFIX;

/// `on_answer: ...`, statements that change `hits`.
#[derive(Clone)]
pub struct OnAnswer {
    program: Arc<Compiled>,
    params: Map<String, Value>,
}

/// A program that waits for the answer to one search.
#[derive(Clone)]
pub struct Awaiting {
    /// The rule's name.
    pub rule: String,
    /// Which of several searches; `None` for what is asked by itself.
    pub query: Option<usize>,
    /// What becomes of the answer if the program comes to no end.
    pub on_error: Otherwise,
    program: Arc<Compiled>,
    scope: Scope<'static>,
}

/// The hits of a page after a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub hits: Vec<String>,
    pub reordered: bool,
}

/// What the program knows the hits as.
const HITS: &str = "hits";

// === impl OnAnswer ===

impl OnAnswer {
    /// The message says what is wrong with the program.
    pub fn parse(source: &str, params: Map<String, Value>) -> Result<Self, String> {
        Ok(Self { program: Arc::new(Compiled::new(source, Some(HITS))?), params })
    }

    /// With all that it wants to know of the request.
    pub(super) fn of(
        &self,
        rule: &str,
        on_error: Otherwise,
        query: Option<usize>,
        subject: &Subject<'_>,
    ) -> Result<Awaiting, Fault> {
        let scope = self.program.scope(subject, Some(&self.params))?;
        Ok(Awaiting { rule: rule.to_owned(), query, on_error, program: Arc::clone(&self.program), scope })
    }
}

impl fmt::Debug for OnAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.program.source, self.params)
    }
}

// === impl Awaiting ===

impl Awaiting {
    /// What it makes of `hits`, each of them JSON.
    pub fn page(&self, hits: &[String], deadline: &Deadline) -> Result<Page, Fault> {
        let before: Array = hits.iter().map(|hit| parsed(hit)).collect::<Result<_, _>>()?;
        let mut given = before.clone();
        // By its mark a hit is known again, wherever the program has put it.
        for (mark, hit) in (1..).zip(given.iter_mut()) {
            hit.set_tag(mark);
        }
        let mut scope = self.scope.clone();
        scope.push_dynamic(HITS, given.into());
        let _returned = self.program.eval(&mut scope, deadline)?;
        let after = scope.remove::<Dynamic>(HITS).map(Dynamic::flatten).and_then(|hits| hits.into_array().ok());
        let after = after.ok_or_else(|| Fault::Broken("`hits` is no list any more".to_owned()))?;
        let places = places(&after, hits.len())?;
        let mut texts = Vec::with_capacity(hits.len());
        for (place, is) in places.iter().zip(after) {
            let (raw, was) = (&hits[*place], &before[*place]);
            let mut is = is.flatten();
            hide(was, &mut is)?;
            texts.push(patched(raw, was, &is)?);
        }
        let reordered = places.iter().enumerate().any(|(now, place)| now != *place);
        Ok(Page { hits: texts, reordered })
    }
}

impl fmt::Debug for Awaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaiting").field("rule", &self.rule).field("query", &self.query).finish_non_exhaustive()
    }
}

impl PartialEq for Awaiting {
    fn eq(&self, other: &Self) -> bool {
        (&self.rule, self.query) == (&other.rule, other.query)
    }
}

/// Where each hit stood. All of a page are there afterwards, each once: nothing is taken out, doubled or made up.
fn places(after: &Array, hits: usize) -> Result<Vec<usize>, Fault> {
    let places: Vec<usize> = after.iter().filter_map(|hit| usize::try_from(hit.tag()).ok()?.checked_sub(1)).collect();
    let mut there = vec![false; hits];
    for place in &places {
        if let Some(there) = there.get_mut(*place) {
            *there = true;
        }
    }
    if after.len() == hits && places.len() == hits && there.iter().all(|there| *there) {
        return Ok(places);
    }
    Err(Fault::Broken(
        "the hits are not those of the page any more: they can be changed and put in another order".to_owned(),
    ))
}

/// A field that a program takes away is not shown beside it either.
fn hide(was: &Dynamic, is: &mut Dynamic) -> Result<(), Fault> {
    let changed = || Fault::Broken("a hit is no mapping any more".to_owned());
    let was = was.as_map_ref().map_err(|_| changed())?;
    let mut is = is.as_map_mut().map_err(|_| changed())?;
    if let Some(name) = is.keys().find(|name| name.starts_with(RESERVED_PREFIX)) {
        return Err(Fault::Broken(format!("`{name}` begins as what is Miroir's own")));
    }
    let mut gone = Vec::new();
    taken_away(&was, &is, &mut Vec::new(), &mut gone);
    if gone.is_empty() {
        return Ok(());
    }
    if let Some(mut formatted) = is.get_mut("_formatted").and_then(|formatted| formatted.as_map_mut().ok()) {
        gone.iter().for_each(|path| remove(&mut formatted, path));
    }
    if let Some(mut matches) = is.get_mut("_matchesPosition").and_then(|matches| matches.as_map_mut().ok()) {
        let is_gone = |name: &str| {
            gone.iter().map(|path| path.join(".")).any(|path| {
                name.strip_prefix(path.as_str()).is_some_and(|below| below.is_empty() || below.starts_with('.'))
            })
        };
        matches.retain(|name, _| !is_gone(name));
    }
    Ok(())
}

/// Where something was that is no more, as names from the outermost on.
fn taken_away(was: &rhai::Map, is: &rhai::Map, within: &mut Vec<String>, gone: &mut Vec<Vec<String>>) {
    for (name, was) in was {
        within.push(name.to_string());
        match is.get(name) {
            None => gone.push(within.clone()),
            Some(is) => {
                if let (Ok(was), Ok(is)) = (was.as_map_ref(), is.as_map_ref()) {
                    taken_away(&was, &is, within, gone);
                }
            }
        }
        within.pop();
    }
}

fn remove(map: &mut rhai::Map, path: &[String]) {
    match path {
        [] => {}
        [name] => drop(map.remove(name.as_str())),
        [name, below @ ..] => {
            if let Some(mut map) = map.get_mut(name.as_str()).and_then(|value| value.as_map_mut().ok()) {
                remove(&mut map, below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::rules::language::tests::unhurried;
    use crate::rules::subject::tests::caller;

    fn page(source: &str, hits: &[&str]) -> Result<Page, Fault> {
        let caller = caller(json!({"plan": "gold"}), "", &[]);
        let program = OnAnswer::parse(source, json!({"most": 2}).as_object().cloned().unwrap()).unwrap();
        let awaiting = program.of("r", Otherwise::Refuse, None, &Subject::of(&caller, "search", Some("a"))).unwrap();
        awaiting.page(&hits.iter().map(|hit| (*hit).to_owned()).collect::<Vec<_>>(), &unhurried())
    }

    fn hits(source: &str, of: &[&str]) -> Vec<String> {
        page(source, of).unwrap().hits
    }

    const HITS: [&str; 3] =
        [r#"{"id": 1, "stock":0, "price":1.50}"#, r#"{"id":2,"stock": 3 }"#, r#"{ "id":3,"stock":0}"#];

    #[test]
    fn hits_are_changed_one_by_one() {
        let badge = "for i in 0..hits.len() { if hits[i].stock == 0 { hits[i].badge = claims.plan; } }";
        assert_eq!(
            hits(badge, &HITS),
            [r#"{"id":1,"stock":0,"price":1.50,"badge":"gold"}"#, HITS[1], r#"{"id":3,"stock":0,"badge":"gold"}"#]
        );
        assert_eq!(hits("hits.for_each(|| this.remove(\"stock\"));", &HITS)[1], r#"{"id":2}"#);
        let nothing = hits("hits[1].badge = claims.no_such;", &HITS);
        assert_eq!(nothing[1], r#"{"id":2,"stock":3,"badge":null}"#, "the language has no value where there is none");
        let mapped = "hits = hits.map(|hit| { if hit.id > params.most { hit.late = true; } hit });";
        assert_eq!(hits(mapped, &HITS), [HITS[0], HITS[1], r#"{"id":3,"stock":0,"late":true}"#]);
    }

    #[test]
    fn hits_are_put_in_another_order_and_nothing_else() {
        let sorted = page("hits.sort(|a, b| if a.stock == b.stock { 0 } else { b.stock - a.stock });", &HITS).unwrap();
        assert_eq!((sorted.hits[0].as_str(), sorted.reordered), (HITS[1], true));
        assert_eq!(page("hits.reverse();", &HITS).unwrap().hits, [HITS[2], HITS[1], HITS[0]]);
        assert!(!page("hits[0].x = 1;", &HITS).unwrap().reordered);
        for broken in [
            "hits.pop();",
            "hits.push(hits[0]);",
            "hits[0] = hits[1];",
            "hits[0] = #{id: 9};",
            "hits = 1;",
            "hits[0] = 1;",
            "hits[0]._miroir_shard = \"x\";",
            "loop {}",
            "hits[0].x = 1 / 0;",
        ] {
            assert!(matches!(page(broken, &HITS), Err(Fault::Broken(_))), "{broken}");
        }
        assert_eq!(page("throw \"no\"", &HITS), Err(Fault::Thrown("no".to_owned())));
        assert!(OnAnswer::parse("doc.x = 1", Map::new()).is_err());
    }

    #[test]
    fn what_is_taken_away_is_shown_nowhere_else() {
        let hit = r#"{"id":1,"cost":7,"_formatted":{"id":"1","cost":"7"},"_matchesPosition":{"cost":[],"cost.x":[],"costs":[]}}"#;
        let expected = r#"{"id":1,"_formatted":{"id":"1"},"_matchesPosition":{"costs":[]}}"#;
        assert_eq!(hits("hits[0].remove(\"cost\");", &[hit]), [expected]);
        let hit = r#"{"m":{"cost":7,"b":1},"_formatted":{"m":{"cost":"7","b":"1"}},"_matchesPosition":{"m.cost":[],"m.b":[]}}"#;
        let expected = r#"{"m":{"b":1},"_formatted":{"m":{"b":"1"}},"_matchesPosition":{"m.b":[]}}"#;
        assert_eq!(hits("hits[0].m.remove(\"cost\");", &[hit]), [expected]);
    }

    proptest! {
        #[test]
        fn a_program_that_changes_nothing_leaves_every_byte(
            numbers in prop::collection::vec("-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?", 0..6),
            source in prop::sample::select(vec!["", "hits = hits;", "for hit in hits { hit.x = 1; }", "hits.sort(|a, b| 0);", "hits.reverse(); hits.reverse();"]),
        ) {
            let raw: Vec<String> = numbers.iter().map(|number| format!("{{ \"n\": {number},\"l\":[{number} , \"é\\u00e9\"]}}")).collect();
            let raw: Vec<&str> = raw.iter().map(String::as_str).collect();
            let page = page(source, &raw).unwrap();
            prop_assert_eq!(&page.hits, &raw);
            prop_assert!(!page.reordered);
        }
    }
}
