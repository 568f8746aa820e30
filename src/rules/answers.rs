//! Answers after programs: the hits of each search are exchanged in its place, and all else stays byte by byte.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::asked::Asked;
use super::deed;
use super::language::{Deadline, Fault};
use super::on_answer::{Awaiting, Page};
use super::otherwise::Otherwise;
use crate::meili::error::{Code, ResponseError};
use crate::merge::raw::{Members, Raw, elements};
use crate::split::scanner::Malformed;

/// What waits for the answer to a request, and how that looks.
#[derive(Debug, Default, PartialEq)]
pub struct Answers {
    programs: Vec<Awaiting>,
    form: Form,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Hits of one search, at `hits`.
    #[default]
    Hits,
    /// Documents, at `results`.
    Documents,
    /// Answers of several searches, at `results`.
    Several,
    /// Hits of several searches as one list, each saying of which it is.
    Federated,
}

/// An answer after programs.
#[derive(Debug, PartialEq)]
pub struct Changed {
    pub body: Bytes,
    /// The names of rules that have put hits in another order.
    pub reordered: BTreeSet<String>,
    /// Whose programs have come to no end, and why.
    pub failed: Vec<(String, String)>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq)]
pub struct Refused {
    pub error: ResponseError,
    /// As in [`Changed`].
    pub failed: Vec<(String, String)>,
}

/// All programs of an answer together may take so many times what one may.
const MOST_DEADLINES: u32 = 20;

/// Names the rules that have put hits in another order.
pub const REORDERED: &str = "x-miroir-reordered";

/// A piece of a body that is exchanged, by its bytes.
struct Piece {
    from: usize,
    to: usize,
    text: String,
}

// === impl Answers ===

impl Answers {
    /// What waits for the answer to `asked`; `None` where nothing does.
    pub fn of(programs: Vec<Awaiting>, asked: &Asked) -> Option<Self> {
        Self::new(programs, asked.whole.deed, asked.is_federated())
    }

    fn new(programs: Vec<Awaiting>, deed: &str, federated: bool) -> Option<Self> {
        let form = match deed {
            "multiSearch" if federated => Form::Federated,
            "multiSearch" => Form::Several,
            deed::FETCH_DOCUMENTS => Form::Documents,
            _ => Form::Hits,
        };
        (!programs.is_empty()).then_some(Self { programs, form })
    }

    /// What the programs make of a good answer.
    pub fn changed(&self, body: &Bytes, deadline: &Deadline) -> Result<Changed, Refused> {
        let mut changed = Changed { body: body.clone(), reordered: BTreeSet::new(), failed: Vec::new() };
        let mut results = if self.form == Form::Several { results(body) } else { Vec::new() };
        let until = (deadline.clock)().saturating_add(deadline.most.saturating_mul(MOST_DEADLINES));
        for program in &self.programs {
            let part = match (self.form, program.query) {
                (Form::Several, Some(place)) => match results.get_mut(place) {
                    Some((_, part)) => part,
                    None => continue,
                },
                (Form::Hits | Form::Documents | Form::Several | Form::Federated, _) => &mut changed.body,
            };
            let outcome = if (deadline.clock)() > until {
                Err(Fault::Broken(format!("all programs of an answer took longer than {MOST_DEADLINES} may")))
            } else {
                self.apply(program, part, deadline)
            };
            match outcome {
                Ok(None) => {}
                Ok(Some((body, reordered))) => {
                    *part = body;
                    if reordered {
                        changed.reordered.insert(program.rule.clone());
                    }
                }
                Err(Fault::Thrown(message)) => {
                    let error = ResponseError { status: 400, ..ResponseError::new(Code::MiroirRefused, message) };
                    return Err(Refused { error, failed: changed.failed });
                }
                Err(Fault::Broken(why)) => {
                    changed.failed.push((program.rule.clone(), why));
                    if program.on_error == Otherwise::Refuse {
                        let message = format!("Rule `{}` has failed.", program.rule);
                        let error = ResponseError { status: 500, ..ResponseError::new(Code::MiroirRefused, message) };
                        return Err(Refused { error, failed: changed.failed });
                    }
                }
            }
        }
        if !results.is_empty() {
            changed.body = joined(body, &results);
        }
        Ok(changed)
    }

    /// `None` where nothing has changed.
    fn apply(&self, program: &Awaiting, body: &Bytes, deadline: &Deadline) -> Result<Option<(Bytes, bool)>, Fault> {
        let unread = |_: Malformed| Fault::Broken("the answer cannot be read".to_owned());
        let text = std::str::from_utf8(body).map_err(|_| unread(Malformed::Encoding))?;
        let Some(list) = self.list(text).map_err(unread)? else { return Ok(None) };
        let hits = elements(list.get()).map_err(unread)?;
        let own: Vec<usize> = match self.form {
            Form::Federated => (0..hits.len()).filter(|place| position(hits[*place]) == program.query).collect(),
            Form::Hits | Form::Documents | Form::Several => (0..hits.len()).collect(),
        };
        if own.is_empty() {
            return Ok(None);
        }
        let given: Vec<String> = own.iter().map(|place| hits[*place].get().to_owned()).collect();
        let Page { hits: made, reordered } = program.page(&given, deadline)?;
        if made == given {
            return Ok(None);
        }
        let mut all: Vec<&str> = hits.iter().map(|hit| hit.get()).collect();
        for (place, hit) in own.iter().zip(&made) {
            all[*place] = hit;
        }
        let from = offset(list.get(), text);
        let piece = Piece { from, to: from + list.get().len(), text: format!("[{}]", all.join(",")) };
        Ok(Some((piece.exchanged(text), reordered)))
    }

    /// The hits of a search, or of one of several.
    fn list<'t>(&self, text: &'t str) -> Result<Option<Raw<'t>>, Malformed> {
        let answer = Members::parse(text)?;
        Ok(match self.form {
            Form::Hits | Form::Several | Form::Federated => answer.get("hits"),
            Form::Documents => answer.get("results"),
        })
    }
}

/// Where each of the answers of several searches stands, and what it is; none of a body that cannot be read.
fn results(body: &Bytes) -> Vec<(Range<usize>, Bytes)> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    let Ok(answer) = Members::parse(text) else { return Vec::new() };
    let results = answer.get("results").and_then(|results| elements(results.get()).ok()).unwrap_or_default();
    let of = |result: &Raw<'_>| {
        let from = offset(result.get(), text);
        let range = from..from + result.get().len();
        (range.clone(), body.slice(range))
    };
    results.iter().map(of).collect()
}

/// `body` with these answers in their places.
fn joined(body: &Bytes, results: &[(Range<usize>, Bytes)]) -> Bytes {
    let mut whole = Vec::with_capacity(body.len());
    let mut end = 0;
    for (range, result) in results {
        whole.extend_from_slice(&body[end..range.start]);
        whole.extend_from_slice(result);
        end = range.end;
    }
    whole.extend_from_slice(&body[end..]);
    whole.into()
}

// === impl Changed ===

impl Changed {
    /// The header that says which rules have put hits in another order, if any has.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let names: Vec<&str> = self.reordered.iter().map(String::as_str).collect();
        let value = HeaderValue::try_from(names.join(", ")).ok().filter(|_| !names.is_empty());
        value.map(|value| (HeaderName::from_static(REORDERED), value))
    }
}

// === impl Piece ===

impl Piece {
    fn exchanged(&self, text: &str) -> Bytes {
        Bytes::from(format!("{}{}{}", &text[..self.from], self.text, &text[self.to..]))
    }
}

/// Where `part`, a piece of `whole`, begins in it.
fn offset(part: &str, whole: &str) -> usize {
    part.as_ptr().addr() - whole.as_ptr().addr()
}

/// Of which search of a federation a hit is.
fn position(hit: Raw<'_>) -> Option<usize> {
    let hit = Members::parse(hit.get()).ok()?;
    let place = Members::parse(hit.get("_federation")?.get()).ok()?.count("queriesPosition")?;
    usize::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::rules::language::tests::unhurried;
    use crate::rules::on_answer::OnAnswer;
    use crate::rules::subject::Subject;
    use crate::rules::subject::tests::caller;

    fn awaiting(rule: &str, source: &str, query: Option<usize>, on_error: Otherwise) -> Awaiting {
        let caller = caller(json!({}), "", &[]);
        let program = OnAnswer::parse(source, Map::new()).unwrap();
        program.of(rule, on_error, query, &Subject::of(&caller, "search", Some("a"))).unwrap()
    }

    fn changed(deed: &str, federated: bool, programs: &[(&str, Option<usize>)], body: &str) -> Changed {
        let programs = programs.iter().map(|(source, query)| awaiting("r", source, *query, Otherwise::Refuse));
        let answers = Answers::new(programs.collect(), deed, federated).unwrap();
        answers.changed(&Bytes::copy_from_slice(body.as_bytes()), &unhurried()).unwrap()
    }

    const TURN: &str = "hits.reverse(); hits[0].first = true;";

    #[test]
    fn hits_are_exchanged_and_all_else_stays() {
        let search =
            r#"{ "hits":[ {"id":1} , {"id":2}], "estimatedTotalHits": 7.0,"facetDistribution":{"a":{"hits":1}} }"#;
        let turned = changed("search", false, &[(TURN, None)], search);
        assert_eq!(turned.body, search.replace("[ {\"id\":1} , {\"id\":2}]", "[{\"id\":2,\"first\":true},{\"id\":1}]"));
        assert_eq!(turned.reordered.into_iter().collect::<Vec<_>>(), ["r"]);
        assert_eq!(changed("search", false, &[("", None)], search).body, search);
        let documents = r#"{"results":[{"id":1},{"id":2}],"total":2}"#;
        let expected = r#"{"results":[{"id":2,"first":true},{"id":1}],"total":2}"#;
        assert_eq!(changed("fetchDocuments", false, &[(TURN, None)], documents).body, expected);
        let empty = r#"{"hits":[ ],"query":""}"#;
        assert_eq!(changed("search", false, &[("hits[0].x = 1;", None)], empty).body, empty);
    }

    #[test]
    fn each_of_several_searches_has_its_own_programs() {
        let several = r#"{"results":[{"hits":[{"id":1},{"id":2}]},{"hits":[{"id":3},{"id":4}]}]}"#;
        let expected = r#"{"results":[{"hits":[{"id":1},{"id":2}]},{"hits":[{"id":4,"first":true},{"id":3}]}]}"#;
        assert_eq!(changed("multiSearch", false, &[(TURN, Some(1))], several).body, expected);
        let both =
            changed("multiSearch", false, &[(TURN, Some(1)), ("hits[0].x = 1;", Some(0)), (TURN, Some(9))], several);
        assert_eq!(both.body, expected.replace(r#"{"id":1}"#, r#"{"id":1,"x":1}"#));
        assert_eq!(changed("multiSearch", false, &[("", Some(0))], several).body, several);
        let hit = |id: u64, query: u64| format!(r#"{{"id":{id},"_federation":{{"queriesPosition":{query}}}}}"#);
        let list = |hits: &[String]| format!(r#"{{"hits":[{}]}}"#, hits.join(","));
        let before = list(&[hit(1, 0), hit(2, 1), hit(3, 0), hit(4, 1)]);
        let after = list(&[hit(1, 0), hit(4, 1), hit(3, 0), hit(2, 1)]);
        assert_eq!(changed("multiSearch", true, &[("hits.reverse();", Some(1))], &before).body, after);
    }

    #[test]
    fn a_program_that_fails_refuses_the_answer_or_is_passed_over() {
        let body = Bytes::from_static(br#"{"hits":[{"id":1}]}"#);
        let run = |source: &str, on_error| {
            let programs =
                vec![awaiting("bad", source, None, on_error), awaiting("good", "hits[0].x = 1;", None, on_error)];
            Answers::new(programs, "search", false).unwrap().changed(&body, &unhurried())
        };
        let skipped = run("hits.pop();", Otherwise::Skip).unwrap();
        assert_eq!((skipped.body.as_ref(), skipped.failed.len()), (&br#"{"hits":[{"id":1,"x":1}]}"#[..], 1));
        let refused = run("loop {}", Otherwise::Refuse).unwrap_err();
        assert_eq!((refused.error.status, refused.failed[0].0.as_str()), (500, "bad"));
        let thrown = run("throw \"no\"", Otherwise::Skip).unwrap_err();
        assert_eq!((thrown.error.status, thrown.error.message.as_str(), thrown.failed.len()), (400, "no", 0));
    }
}
