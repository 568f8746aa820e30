//! The operator's rules, applied to a request that was let in. Without rules nothing of this is reached.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use serde_json::Value;

use super::app::App;
use super::auth::{Access, check, tenant};
use super::context::RequestContext;
use super::head::Head;
use super::planning;
use super::respond::Answer;
use super::rule_metrics::RuleMetrics;
use super::shadow::Shadow;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{Operation, Read};
use crate::meili::uid::index_not_found;
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::{Plan, Request};
use crate::read::{self, Keeping};
use crate::rules::answers::Answers;
use crate::rules::asked::Asked;
use crate::rules::book::{Done, Meter, Refused, RuleBook};
use crate::rules::concurrency::UnderWay;
use crate::rules::language::{Deadlines, ProgramSettings};
use crate::rules::limit::Limits;
use crate::rules::making::Making;
use crate::rules::mask::Veil;
use crate::rules::mirror::Mirrored;
use crate::rules::on_answer::Awaiting;
use crate::rules::rule::Rule;
use crate::rules::subject::Caller;

/// The rules in force, which may be exchanged while requests go on.
pub struct Ruling {
    book: ArcSwapOption<RuleBook>,
    /// All rules, those about tasks too, by their names in order.
    names: ArcSwap<Vec<String>>,
    /// How long programs may take.
    programs: ArcSwap<ProgramSettings>,
    pub metrics: RuleMetrics,
    limits: Limits,
    under_way: UnderWay,
    /// What limits count from.
    began: Instant,
}

/// A request as the rules have left it.
pub struct Ruled {
    /// With another path and query than the client's.
    pub head: Head,
    pub operation: Operation,
    pub body: Bytes,
    /// What documents that are written must be.
    pub makings: Vec<Making>,
    /// What is made of the answer.
    pub answers: Option<Answers>,
    /// What of the answer is masked.
    pub veil: Option<Veil>,
    /// What is asked again.
    pub shadows: Vec<Shadow>,
}

/// What rules have made of a request that they let pass.
struct Applied {
    asked: Asked,
    makings: Vec<Making>,
    awaiting: Vec<Awaiting>,
    veil: Option<Veil>,
    mirrored: Vec<Mirrored>,
}

// === impl Ruling ===

impl Ruling {
    /// Those of a configuration.
    pub fn new(rules: Vec<Rule>, programs: ProgramSettings, metrics: RuleMetrics) -> Self {
        let ruling = Self {
            book: ArcSwapOption::empty(),
            names: ArcSwap::default(),
            programs: ArcSwap::from_pointee(programs),
            metrics,
            limits: Limits::default(),
            under_way: UnderWay::default(),
            began: Instant::now(),
        };
        ruling.exchange(rules, programs);
        ruling
    }

    /// Requests that come from now on go by `rules`.
    pub fn exchange(&self, rules: Vec<Rule>, programs: ProgramSettings) {
        self.programs.store(Arc::new(programs));
        let names: Vec<String> = rules.iter().map(|rule| rule.name.clone()).collect();
        rules.iter().for_each(|rule| self.metrics.start(rule));
        self.names.store(Arc::new(names));
        self.book.store(RuleBook::new(rules).map(Arc::new));
    }

    /// How long programs may take.
    fn deadlines(&self) -> Deadlines {
        Deadlines { clock: since_start, most: **self.programs.load() }
    }

    /// Of all rules, in order.
    pub fn names(&self) -> Arc<Vec<String>> {
        self.names.load_full()
    }

    /// `None` without rules about requests.
    pub fn book(&self) -> Option<Arc<RuleBook>> {
        self.book.load_full()
    }

    /// What the rules make of a request, and what of its answer is masked. What they want else of the answer is noted in `ctx`.
    fn apply(
        &self,
        book: &RuleBook,
        (head, operation, body): (&Head, Operation, Bytes),
        (access, address): (&Access, Option<IpAddr>),
        ctx: &mut RequestContext,
    ) -> Result<Applied, ResponseError> {
        let began = Instant::now();
        let claims = if access.rules.is_some() { claims(head) } else { None };
        let caller = Caller { key: access.key_uid, claims, address, headers: &head.headers };
        let mut asked = Asked::new(head.method.as_str(), &head.path, &head.query, body, operation);
        let mut done = Done::default();
        let veil = book.veil(&caller, &mut done);
        let (limits, under_way) = (&self.limits, &self.under_way);
        let meter = Meter { limits, under_way, now: began.duration_since(self.began), deadlines: self.deadlines() };
        let outcome = book.apply(&mut asked, &caller, &meter, &mut done);
        self.metrics.observe(began.elapsed());
        self.metrics.count(book, &done, outcome.as_ref().err().map(|refused| refused.rule));
        ctx.headers.append(&mut done.headers);
        ctx.labels.append(&mut done.labels);
        ctx.places.append(&mut done.places);
        outcome.map_err(|Refused { error, .. }| error)?;
        let Done { makings, awaiting, mirrored, .. } = done;
        Ok(Applied { asked, makings, awaiting, veil, mirrored })
    }
}

/// The request as the rules of `book` want it.
pub async fn rule(
    app: &App,
    book: &RuleBook,
    topology: &Topology,
    request: (&Head, Operation, Bytes),
    who: (&Access, Option<IpAddr>),
    ctx: &mut RequestContext,
) -> Result<Ruled, ResponseError> {
    let head = request.0;
    let Applied { mut asked, makings, awaiting, mut veil, mirrored } = app.ruling.apply(book, request, who, ctx)?;
    if let Some(veil) = &mut veil {
        let mut words = BTreeMap::new();
        for index in veil.searched(&asked) {
            let attributes = searchable(app, topology, &index, &ctx.trace()).await?;
            words.insert(index, attributes);
        }
        let searched = planning::infos(&app.cluster.ledger, &veil.joined(&asked), &ctx.trace()).await?;
        let keys_of = |index: &str| searched.get(index).map(|info| info.joins.clone()).unwrap_or_default();
        veil.close(&mut asked, &|index| words.get(index).cloned().unwrap_or_default(), &keys_of)?;
    }
    let shadows = Shadow::all(book, &asked, mirrored, ctx.request_id());
    let answers = Answers::of(awaiting, &asked);
    let told = asked.finish().map_err(|_| {
        ResponseError::new(Code::Internal, "The rules make of the request what is no request of the API.")
    })?;
    let head = Head { path: told.path, query: told.query, ..head.clone() };
    Ok(Ruled { head, operation: told.operation, body: told.body, makings, answers, veil, shadows })
}

/// The attributes of an index in which words are looked for: those that its settings name, else all that its documents have.
pub async fn searchable(
    app: &App,
    topology: &Topology,
    index: &str,
    trace: &Trace,
) -> Result<Vec<String>, ResponseError> {
    let infos = planning::infos(&app.cluster.ledger, &[index.to_owned()], trace).await?;
    let info = infos.get(index).ok_or_else(|| index_not_found(index))?;
    if let Some(named) = &info.words.searchable {
        return Ok(named.clone());
    }
    let (operation, target) = (Read::IndexStats { index: index.to_owned() }.into(), format!("/indexes/{index}/stats"));
    let request = Request { operation: &operation, target: &target, body: &[], content_type: None };
    let Plan::Scatter(scatter) = planning::plan(app.known(), topology, request, trace).await? else {
        return Err(ResponseError::new(Code::Internal, "Figures of an index are not planned as figures."));
    };
    let stats = read::run(&app.cluster.reads, topology, &scatter, trace, Keeping::Nothing).await?;
    let stats: Value = serde_json::from_slice(&stats.body).unwrap_or_default();
    let fields = stats.get("fieldDistribution").and_then(Value::as_object);
    Ok(fields.into_iter().flatten().map(|(name, _)| name.clone()).collect())
}

/// An answer without what is masked.
pub fn veiled(veil: &Veil, answer: Answer) -> Result<Answer, ResponseError> {
    if answer.status != 200 || answer.content_type != "application/json" {
        return Ok(answer);
    }
    let body = veil.answer(&answer.body)?;
    Ok(Answer { body, packed: None, ..answer })
}

/// An answer after the programs that wait for it. What they want among its headers is noted in `ctx`.
pub fn changed(
    app: &App,
    answers: &Answers,
    answer: Answer,
    ctx: &mut RequestContext,
) -> Result<Answer, ResponseError> {
    if answer.status != 200 || answer.content_type != "application/json" {
        return Ok(answer);
    }
    let (failed, outcome) = match answers.changed(&answer.body, &app.ruling.deadlines().answer()) {
        Ok(changed) => {
            ctx.headers.extend(changed.header());
            let packed = answer.packed.clone().filter(|_| changed.body == answer.body);
            (changed.failed, Ok(Answer { body: changed.body, packed, ..answer }))
        }
        Err(refused) => (refused.failed, Err(refused.error)),
    };
    failed.iter().for_each(|(rule, why)| app.ruling.metrics.count_failed(rule, why));
    outcome
}

/// By a clock that never goes back.
fn since_start() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// What the tenant token of a request says, which was checked.
fn claims(head: &Head) -> Option<serde_json::Map<String, serde_json::Value>> {
    let header = head.headers.get(http::header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    tenant::claims(check::bearer(header).ok()??)
}

#[cfg(test)]
#[path = "ruled_tests.rs"]
mod tests;
