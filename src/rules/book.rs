//! All rules in order, applied to a request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};

use super::action::{Action, Effect};
use super::asked::{Asked, Part};
use super::concurrency::{Concurrency, Place, UnderWay};
use super::language::{Deadlines, Fault};
use super::limit::{self, Limit, Limits};
use super::making::Making;
use super::mask::Veil;
use super::mirror::Mirrored;
use super::on_answer::Awaiting;
use super::otherwise::Otherwise;
use super::program::Program;
use super::rule::{Rule, is_changeable};
use super::subject::{Caller, Subject};
use super::template::Missing;
use crate::meili::error::{Code, ResponseError};

/// The rules of a gateway, at least one.
#[derive(Debug)]
pub struct RuleBook {
    rules: Vec<Rule>,
}

/// What an answer says of limits, by the IETF's draft of RateLimit header fields.
pub const RATE_LIMIT: &str = "ratelimit";
/// The limits themselves, beside what is left of them.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";

/// What rules have done with a request that they let pass.
#[derive(Debug, Default, PartialEq)]
pub struct Done {
    /// Which rules have held, each once for each search on which it did.
    pub held: Vec<usize>,
    /// Which of these could not do what they should, and were passed over.
    pub skipped: Vec<usize>,
    /// Which would have refused the request, were they more than tried.
    pub shadowed: Vec<usize>,
    /// Whose programs have come to no end, and why.
    pub failed: Vec<(usize, String)>,
    /// What documents that are written must be, and what is made of them, in order.
    pub makings: Vec<Making>,
    /// What is made of the answer, in order.
    pub awaiting: Vec<Awaiting>,
    /// Searches that are asked again.
    pub mirrored: Vec<Mirrored>,
    /// What the request takes until it is over.
    pub places: Vec<Place>,
    /// For the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log.
    pub labels: Vec<String>,
}

/// Why a request goes no further.
#[derive(Debug, PartialEq)]
pub struct Refused {
    pub rule: usize,
    pub error: ResponseError,
}

/// What rules look at besides a part.
struct Around<'a> {
    caller: &'a Caller<'a>,
    meter: &'a Meter<'a>,
    others: &'a [String],
    queries: usize,
    /// Which of several searches it is.
    query: Option<usize>,
}

/// What limits count with.
#[derive(Debug)]
pub struct Meter<'a> {
    pub limits: &'a Limits,
    pub under_way: &'a UnderWay,
    /// Since some moment that stays the same.
    pub now: Duration,
    /// How long programs may take.
    pub deadlines: Deadlines,
}

// === impl RuleBook ===

impl RuleBook {
    /// `None` without rules about requests: then nothing has to be asked of any.
    pub fn new(rules: Vec<Rule>) -> Option<Self> {
        let rules: Vec<Rule> = rules.into_iter().filter(|rule| rule.task_hook().is_none()).collect();
        (!rules.is_empty()).then_some(Self { rules })
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// The name of the rule at `place`.
    pub fn name(&self, place: usize) -> &str {
        self.rules.get(place).map_or("", |rule| rule.name.as_str())
    }

    /// In order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is masked for a caller, whatever it asks; `None` where nothing is.
    pub fn veil(&self, caller: &Caller<'_>, done: &mut Done) -> Option<Veil> {
        veil(&self.rules, caller, done)
    }

    /// Changes `asked` as the rules say, or says why it is refused. Whatever they have done until then is in `done`.
    pub fn apply(
        &self,
        asked: &mut Asked,
        caller: &Caller<'_>,
        meter: &Meter<'_>,
        done: &mut Done,
    ) -> Result<(), Refused> {
        apply(&self.rules, asked, caller, meter, done)
    }
}

/// Names that come more than once.
pub fn repeated(rules: &[Rule]) -> BTreeSet<&str> {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    names.iter().enumerate().filter(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name).collect()
}

pub(super) fn veil(rules: &[Rule], caller: &Caller<'_>, done: &mut Done) -> Option<Veil> {
    let subject = Subject::of(caller, "", None);
    let mut masks = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        if let Some(hidden) = rule.mask().filter(|_| rule.conditions.concern(&subject)) {
            masks.push((rule.conditions.indexes.clone(), hidden.clone()));
            done.held.push(place);
        }
    }
    Veil::new(masks)
}

pub(super) fn apply(
    rules: &[Rule],
    asked: &mut Asked,
    caller: &Caller<'_>,
    meter: &Meter<'_>,
    done: &mut Done,
) -> Result<(), Refused> {
    let Asked { whole, queries, others, .. } = asked;
    let around = Around { caller, meter, others, queries: queries.len(), query: None };
    chain(rules, whole, &around, done)?;
    for (place, query) in queries.iter_mut().enumerate() {
        let alone = Around { caller, meter, others: &[], queries: 0, query: Some(place) };
        chain(rules, query, &alone, done).map_err(|mut refused| {
            refused.error.message = format!("Inside `.queries[{place}]`: {}", refused.error.message);
            refused
        })?;
    }
    Ok(())
}

fn chain(rules: &[Rule], part: &mut Part, around: &Around<'_>, done: &mut Done) -> Result<(), Refused> {
    for (place, rule) in rules.iter().enumerate() {
        if !rule.is_in_turn() || !rule.conditions.hold(&subject(part, around)) {
            continue;
        }
        if let Some(when) = &rule.when {
            match when.holds(&subject(part, around), &around.meter.deadlines.search()) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(fault) => {
                    failed(place, rule, fault, done)?;
                    continue;
                }
            }
        }
        done.held.push(place);
        act(place, rule, part, around, done)?;
        if rule.stop {
            break;
        }
    }
    Ok(())
}

/// Why a rule ends before it has done all.
enum Ends {
    Refused(Refused),
    Fails(Fault),
    Lacks(Missing),
}

/// What becomes of a request for which a program comes to no end.
fn failed(place: usize, rule: &Rule, fault: Fault, done: &mut Done) -> Result<(), Refused> {
    let (status, message) = match fault {
        Fault::Thrown(message) => (400, message),
        Fault::Broken(why) => {
            done.failed.push((place, why));
            if rule.on_error == Otherwise::Skip {
                return Ok(());
            }
            (500, format!("Rule `{}` has failed.", rule.name))
        }
    };
    let error = ResponseError { status, ..ResponseError::new(Code::MiroirRefused, message) };
    Err(Refused { rule: place, error })
}

fn act(place: usize, rule: &Rule, part: &mut Part, around: &Around<'_>, done: &mut Done) -> Result<(), Refused> {
    let may_skip = [rule.missing, rule.on_error].contains(&Otherwise::Skip);
    let before = may_skip.then(|| (part.clone(), Lengths::of(done)));
    match act_all(place, rule, part, around, done) {
        Ok(()) => return Ok(()),
        Err(Ends::Refused(refused)) => return Err(refused),
        Err(Ends::Fails(fault)) => failed(place, rule, fault, done)?,
        Err(Ends::Lacks(_)) if rule.missing == Otherwise::Skip => done.skipped.push(place),
        Err(Ends::Lacks(missing)) => {
            let message = format!("The request lacks what rule `{}` needs: `{}`.", rule.name, missing.template);
            return Err(Refused { rule: place, error: ResponseError::new(Code::MiroirRefused, message) });
        }
    }
    // What it has done until it is passed over is undone.
    if let Some((before, lengths)) = before {
        *part = before;
        lengths.cut(done);
    }
    Ok(())
}

/// How much there was before a rule.
struct Lengths {
    headers: usize,
    labels: usize,
    makings: usize,
    awaiting: usize,
    mirrored: usize,
}

// === impl Lengths ===

impl Lengths {
    fn of(done: &Done) -> Self {
        Self {
            headers: done.headers.len(),
            labels: done.labels.len(),
            makings: done.makings.len(),
            awaiting: done.awaiting.len(),
            mirrored: done.mirrored.len(),
        }
    }

    fn cut(&self, done: &mut Done) {
        done.headers.truncate(self.headers);
        done.labels.truncate(self.labels);
        done.makings.truncate(self.makings);
        done.awaiting.truncate(self.awaiting);
        done.mirrored.truncate(self.mirrored);
    }
}

/// What a program makes of a search, taken over.
fn run(program: &Program, part: &mut Part, around: &Around<'_>) -> Result<(), Ends> {
    if part.parameters.is_none() {
        return Ok(());
    }
    let changes = program.run(&subject(part, around), &around.meter.deadlines.search()).map_err(Ends::Fails)?;
    if let Some((name, _)) = changes.iter().find(|(name, _)| !is_changeable(name)) {
        return Err(Ends::Fails(Fault::Broken(format!("`{name}` is no parameter that a program can change"))));
    }
    for (name, value) in changes {
        match value {
            Some(value) => part.set(&name, value),
            None => part.remove(&name),
        }
    }
    Ok(())
}

fn act_all(place: usize, rule: &Rule, part: &mut Part, around: &Around<'_>, done: &mut Done) -> Result<(), Ends> {
    for action in &rule.actions {
        let asked = subject(part, around);
        let effect = match action {
            Action::Limit(limit) => {
                limited(place, limit, &asked, around.meter, done).map_err(Ends::Refused)?;
                continue;
            }
            Action::Concurrent(bound) => {
                placed(place, bound, &asked, around.meter, done).map_err(Ends::Refused)?;
                continue;
            }
            Action::Fields(shape) => {
                done.makings.push(Making::Shape(shape.of(&rule.name, &asked).map_err(Ends::Lacks)?));
                continue;
            }
            Action::OnDocument(program) => {
                let deadline = around.meter.deadlines.document();
                let editing = program.of(&rule.name, rule.on_error, &asked, deadline).map_err(Ends::Fails)?;
                done.makings.push(Making::Program(Box::new(editing)));
                continue;
            }
            Action::OnAnswer(program) => {
                let awaiting = program.of(&rule.name, rule.on_error, around.query, &asked);
                done.awaiting.push(awaiting.map_err(Ends::Fails)?);
                continue;
            }
            Action::Mirror(mirror) => {
                let to = mirror.to(&asked).map_err(Ends::Lacks)?;
                let mirror = Arc::clone(mirror);
                done.mirrored.extend(to.map(|to| Mirrored { rule: place, query: around.query, to, mirror }));
                continue;
            }
            Action::Run(program) => {
                run(program, part, around)?;
                continue;
            }
            Action::Refuse { .. }
            | Action::Filter(_)
            | Action::Remove(_)
            | Action::Default(_)
            | Action::Set(_)
            | Action::Cap(_)
            | Action::Route(_)
            | Action::Split(_)
            | Action::Header(_)
            | Action::Label(_)
            | Action::Mask(_)
            | Action::OnTask(_) => action.effect(&asked).map_err(Ends::Lacks)?,
        };
        if part.take(&effect) {
            continue;
        }
        match effect {
            Effect::Refuse(error) => return Err(Ends::Refused(Refused { rule: place, error })),
            Effect::Headers(headers) => done.headers.extend(headers),
            Effect::Label(label) => done.labels.push(label),
            Effect::Nothing | Effect::Filter(_) | Effect::Remove(_) | Effect::Set(_) | Effect::Index(_) => {}
        }
    }
    Ok(())
}

/// Counts a request against a limit.
fn limited(
    place: usize,
    limit: &Limit,
    subject: &Subject<'_>,
    meter: &Meter<'_>,
    done: &mut Done,
) -> Result<(), Refused> {
    let verdict = limit.take(subject, meter.limits, meter.now);
    if limit.shadow {
        if !verdict.allowed {
            done.shadowed.push(place);
        }
        return Ok(());
    }
    let header = |name: &'static str, value: String| {
        HeaderValue::try_from(value).ok().map(|value| (HeaderName::from_static(name), value))
    };
    done.headers.extend(header(RATE_LIMIT_POLICY, limit.policy()));
    done.headers.extend(header(RATE_LIMIT, limit.state(&verdict)));
    if verdict.allowed {
        return Ok(());
    }
    let retry = limit::seconds(verdict.retry);
    done.headers.extend(header("retry-after", retry.to_string()));
    let message = format!("There were too many requests. They may go on in {retry} s.");
    Err(Refused { rule: place, error: ResponseError::new(Code::MiroirRateLimited, message) })
}

/// Takes a place for a request among those that are under way.
fn placed(
    rule: usize,
    bound: &Concurrency,
    subject: &Subject<'_>,
    meter: &Meter<'_>,
    done: &mut Done,
) -> Result<(), Refused> {
    match bound.take(subject, meter.under_way) {
        Some(taken) => done.places.push(taken),
        None if bound.shadow => done.shadowed.push(rule),
        None => {
            // Nobody knows when one is over.
            done.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
            let message = format!("{} such requests are under way already, which is the most.", bound.most);
            return Err(Refused { rule, error: ResponseError::new(Code::MiroirRateLimited, message) });
        }
    }
    Ok(())
}

fn subject<'a>(part: &'a Part, around: &Around<'a>) -> Subject<'a> {
    Subject {
        caller: around.caller,
        deed: part.deed,
        index: part.index.as_deref(),
        others: around.others,
        queries: around.queries,
        parameters: part.parameters.as_ref(),
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
