//! How a request is, or was, carried out: its plan, and on request each node's part in the result.

use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::gateway::App;
use crate::gateway::planning;
use crate::gateway::ruled::searchable;
use crate::meili::error::{Code, ResponseError};
use crate::meili::operation::{self, Operation};
use crate::meili::task::TaskKind;
use crate::merge::provenance::{Answered, Keys, Provenance};
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::scatter::Scatter;
use crate::plan::work::Work;
use crate::plan::{Plan, Request, explain, read};
use crate::read::Reply;
use crate::read::observe::{self, Observation, Observed, Outcome};
use crate::rules::book::RuleBook;
use crate::rules::trial::Trial;
use crate::settings::{FromSection as _, Report, Section};

/// What an operator wants to know about.
#[derive(Debug, PartialEq)]
pub struct Question {
    method: String,
    /// Path and query.
    target: String,
    /// The client's JSON; empty for none.
    body: Vec<u8>,
    /// Who asks, for rules that look at it: `claims`, `key`, `client`, `headers`.
    caller: Map<String, Value>,
    /// True if the request is to be carried out.
    run: bool,
}

// === impl Question ===

impl Question {
    /// `POST /explain`: any request.
    pub fn parse(body: &[u8]) -> Result<Self, ResponseError> {
        let asked = object(body)?;
        let text = |name: &str| {
            let message = format!("`{name}` is missing: expected {{\"method\", \"path\", \"body\", \"run\"}}");
            asked.get(name).and_then(Value::as_str).ok_or_else(|| ResponseError::new(Code::BadRequest, message))
        };
        Ok(Self {
            method: text("method")?.to_owned(),
            target: text("path")?.to_owned(),
            body: asked.get("body").map(Value::to_string).unwrap_or_default().into_bytes(),
            caller: caller(&asked)?,
            run: flag(&asked)?,
        })
    }

    /// `POST /indexes/{uid}/explain`: a read of one index, a search unless it says otherwise.
    pub fn of_index(index: &str, body: &[u8]) -> Result<Self, ResponseError> {
        let asked = object(body)?;
        let known = ["search", "facet-search", "similar", "documents/fetch", "fields"];
        let operation = match asked.get("operation") {
            None => "search",
            Some(Value::String(name)) if known.contains(&name.as_str()) => name,
            Some(other) => {
                let message = format!("`operation` is {other}: expected one of {}", known.join(", "));
                return Err(ResponseError::new(Code::BadRequest, message));
            }
        };
        Ok(Self {
            method: "POST".to_owned(),
            target: format!("/indexes/{index}/{operation}"),
            body: asked.get("body").map_or_else(|| "{}".to_owned(), Value::to_string).into_bytes(),
            caller: caller(&asked)?,
            run: flag(&asked)?,
        })
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ResponseError> {
    serde_json::from_slice(body)
        .map_err(|error| ResponseError::new(Code::MalformedPayload, format!("the request is not JSON: {error}")))
}

fn caller(asked: &Map<String, Value>) -> Result<Map<String, Value>, ResponseError> {
    match asked.get("caller") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(caller)) => Ok(caller.clone()),
        Some(other) => {
            let message = format!("`caller` is {other}: expected {{\"claims\", \"key\", \"client\", \"headers\"}}");
            Err(ResponseError::new(Code::BadRequest, message))
        }
    }
}

fn flag(asked: &Map<String, Value>) -> Result<bool, ResponseError> {
    match asked.get("run") {
        None => Ok(false),
        Some(Value::Bool(run)) => Ok(*run),
        Some(other) => Err(ResponseError::new(Code::BadRequest, format!("`run` is {other}: expected true or false"))),
    }
}

/// The plan of a request, as it would be carried out now, after the operator's rules; and what comes of it, if that is asked for. The
/// operator sees what is masked.
pub async fn answer(app: &App, question: &Question) -> Result<Value, ResponseError> {
    let Some(book) = app.ruling.book() else { return planned(app, question).await };
    let mut rules = ruled(app, &book, question, None).await?;
    let Some((method, target)) = rules["after"]["request"].as_str().and_then(|request| request.split_once(' ')) else {
        return Ok(json!({ "rules": rules }));
    };
    let body = match &rules["after"]["body"] {
        Value::Null => question.body.clone(),
        body => body.to_string().into_bytes(),
    };
    let caller = question.caller.clone();
    let after = Question { method: method.to_owned(), target: target.to_owned(), body, caller, run: question.run };
    let mut explained = planned(app, &after).await?;
    if explained["run"]["status"] == 200 {
        // With what the caller is shown of it, by masks and programs.
        rules = ruled(app, &book, question, Some(&explained["run"]["answer"])).await?;
    }
    explained["rules"] = rules;
    Ok(explained)
}

/// The request before and after the rules, and what is shown of the nodes' answer, if that is there.
async fn ruled(
    app: &App,
    book: &RuleBook,
    question: &Question,
    answer: Option<&Value>,
) -> Result<Value, ResponseError> {
    let mut asked = question.caller.clone();
    asked.insert("request".to_owned(), format!("{} {}", question.method, question.target).into());
    if let Ok(body) = serde_json::from_slice::<Value>(&question.body) {
        asked.insert("body".to_owned(), body);
    }
    if let Some(answer) = answer {
        asked.insert("answer".to_owned(), answer.clone());
    }
    let index = question.path().split('/').nth(2).unwrap_or_default();
    let topology = app.cluster.nodes.topology();
    if let Ok(words) = searchable(app, &topology, index, &Trace::background("explain")).await {
        asked.insert("searchable".to_owned(), words.into());
    }
    let report = Report::default();
    let mut section = Section::new("caller", asked.into(), &report);
    let trial = Trial::read(&mut section);
    section.finish();
    let problems: Vec<String> = report.into_parts().0.iter().map(ToString::to_string).collect();
    let wrong = |message: String| ResponseError::new(Code::BadRequest, message);
    if !problems.is_empty() {
        return Err(wrong(problems.join("; ")));
    }
    trial.shown(book.rules()).map_err(wrong)
}

async fn planned(app: &App, question: &Question) -> Result<Value, ResponseError> {
    let cluster = &app.cluster;
    let (method, path, target) = (question.method.as_str(), question.path(), question.target.as_str());
    let operation = &operation::route(method, path).map_err(|error| ResponseError {
        status: error.status(),
        ..ResponseError::new(Code::BadRequest, format!("no operation is {method} {path}"))
    })?;
    let (topology, trace) = (cluster.nodes.topology(), Trace::background("explain"));
    // A body of documents is taken for JSON, like all that can stand in a question.
    let request = Request { operation, target, body: &question.body, content_type: Some("application/json") };
    let plan = planning::plan(app.known(), &topology, request, &trace).await?;
    let mut explained = explain::explain(&plan, &topology);
    let told = told(app, &plan);
    if !told.is_empty() {
        explained["told"] = told.into();
    }
    if !question.run {
        return Ok(explained);
    }
    let (Plan::Scatter(_), Operation::Read(read)) = (plan, operation) else {
        let message = "only a read that nodes answer for the shards they cover can be run to explain it";
        return Err(ResponseError::new(Code::BadRequest, message));
    };
    let infos = planning::infos(&cluster.ledger, &read::indexes(read, &question.body), &trace).await?;
    let keys = infos.values().filter_map(|info| Some((info.uid.clone(), info.primary_key.clone()?))).collect();
    let request = Request { body: &with_keys(&question.body, path, &keys), ..request };
    let Plan::Scatter(scatter) = planning::plan(app.known(), &topology, request, &trace).await? else {
        return Err(ResponseError::new(Code::Internal, "a read has two different plans"));
    };
    explained["run"] = run(cluster, &topology, &scatter, &keys, &trace).await;
    Ok(explained)
}

/// Which rules tell somebody of the end of the task that a plan makes, and of which ends.
fn told(app: &App, plan: &Plan) -> Vec<Value> {
    let (kind, indexes) = match plan {
        Plan::Broadcast(intent) | Plan::DeleteMatching(intent) | Plan::Edit(intent) => {
            (intent.kind, intent.indexes.clone())
        }
        Plan::Fail(write) => (write.intent.kind, write.intent.indexes.clone()),
        Plan::Split(split) => (TaskKind::DocumentAdditionOrUpdate, vec![split.index.clone()]),
        Plan::Delete(deletion) => (TaskKind::DocumentDeletion, vec![deletion.index.clone()]),
        Plan::Work(Work::Dump) => (TaskKind::DumpCreation, Vec::new()),
        Plan::Work(Work::Snapshot) => (TaskKind::SnapshotCreation, Vec::new()),
        Plan::Work(Work::Export(_)) => (TaskKind::Export, Vec::new()),
        Plan::Forward(_)
        | Plan::List(_)
        | Plan::Scatter(_)
        | Plan::Everywhere(_)
        | Plan::Answer(_)
        | Plan::Refuse(_) => return Vec::new(),
    };
    let told = app.webhooks.rules().into_iter().filter_map(|hook| {
        let ends = hook.ends(kind, &indexes);
        (!ends.is_empty()).then(|| json!({ "rule": hook.rule, "status": ends }))
    });
    told.collect()
}

async fn run(cluster: &Cluster, topology: &Topology, scatter: &Scatter, keys: &Keys, trace: &Trace) -> Value {
    let Observation { answer, took, subrequests, later } = observe::run(&cluster.reads, topology, scatter, trace).await;
    let Reply { status, body, degraded, inexact, .. } = answer.unwrap_or_else(|error| Reply::refusal(&error));
    let answered: Vec<Answered<'_>> = subrequests
        .iter()
        .filter_map(|observed| match &observed.outcome {
            Outcome::Answered { status: 200, body } => {
                Some(Answered { node: topology.node(observed.node).id.as_str(), path: &observed.request.path, body })
            }
            Outcome::Answered { .. } | Outcome::Failed { .. } => None,
        })
        .collect();
    let Provenance { hits, nodes } = Provenance::new(&scatter.original.path, &body, &answered, keys);
    json!({
        "status": status,
        "milliseconds": milliseconds(took),
        "degraded": degraded,
        "inexact": inexact.names(),
        "subrequests": subrequests.iter().map(|observed| subrequest(observed, topology)).collect::<Vec<_>>(),
        "followed": later,
        "nodes": nodes,
        "hits": hits,
        "answer": serde_json::from_slice::<Value>(&body).unwrap_or_default(),
    })
}

fn subrequest(observed: &Observed, topology: &Topology) -> Value {
    let mut shown = json!({
        "node": topology.node(observed.node).id,
        "method": observed.request.method,
        "path": observed.request.path,
        "startedAfter": milliseconds(observed.began),
        "milliseconds": milliseconds(observed.took),
    });
    match &observed.outcome {
        Outcome::Answered { status, body } => {
            shown["status"] = (*status).into();
            shown["bytes"] = body.len().into();
            let reply: Value = serde_json::from_slice(body).unwrap_or_default();
            for name in ["processingTimeMs", "estimatedTotalHits", "totalHits", "total", "message"] {
                if let Some(value) = reply.get(name) {
                    shown[name] = value.clone();
                }
            }
        }
        Outcome::Failed { why } => shown["failed"] = why.as_str().into(),
    }
    shown
}

fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

/// The client's request with primary keys among the attributes shown: by them a hit is traced to its node.
fn with_keys(body: &[u8], path: &str, keys: &Keys) -> Vec<u8> {
    let Ok(Value::Object(mut request)) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    let show = |search: &mut Map<String, Value>, key: &str| {
        for list in ["attributesToRetrieve", "fields"] {
            if let Some(Value::Array(names)) = search.get_mut(list)
                && !names.iter().any(|name| name == key || name == "*")
            {
                names.push(key.into());
            }
        }
    };
    match request.get_mut("queries") {
        Some(Value::Array(queries)) => {
            for query in queries.iter_mut().filter_map(Value::as_object_mut) {
                let index = query.get("indexUid").and_then(Value::as_str).unwrap_or_default();
                if let Some(key) = keys.get(index) {
                    show(query, key);
                }
            }
        }
        Some(_) => {}
        None => {
            let index = path.split('/').nth(2).unwrap_or_default();
            if let Some(key) = keys.get(index) {
                show(&mut request, key);
            }
        }
    }
    Value::Object(request).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_about_an_index_is_one_about_a_search_of_it() {
        let of_index = |body: Value| Question::of_index("films", body.to_string().as_bytes());
        let search = of_index(json!({"body": {"q": "a"}, "run": true})).unwrap();
        let whole = json!({"method": "POST", "path": "/indexes/films/search", "body": {"q": "a"}, "run": true});
        assert_eq!(search, Question::parse(whole.to_string().as_bytes()).unwrap());
        assert_eq!(of_index(json!({"operation": "similar"})).unwrap().target, "/indexes/films/similar");
        for wrong in [json!({"operation": "swap"}), json!({"run": "yes"}), json!([])] {
            assert!(of_index(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(Question::parse(br#"{"path":"/x"}"#).unwrap_err().message.contains("`method` is missing"));
    }

    #[test]
    fn primary_keys_are_shown_where_a_list_would_leave_them_out() {
        let keys: Keys = [("films".to_owned(), "id".to_owned())].into();
        let shown = |path: &str, body: Value| -> Value {
            serde_json::from_slice(&with_keys(body.to_string().as_bytes(), path, &keys)).unwrap()
        };
        let search = "/indexes/films/search";
        let named = json!({"attributesToRetrieve": ["name"]});
        assert_eq!(shown(search, named.clone()), json!({"attributesToRetrieve": ["name", "id"]}));
        for enough in [json!({}), json!({"attributesToRetrieve": ["*"]}), json!({"attributesToRetrieve": ["id"]})] {
            assert_eq!(shown(search, enough.clone()), enough);
        }
        assert_eq!(shown("/indexes/books/search", named.clone()), named);
        let several = json!({"queries": [{"indexUid": "films", "attributesToRetrieve": []}, {"indexUid": "books"}]});
        let queries =
            json!({"queries": [{"indexUid": "films", "attributesToRetrieve": ["id"]}, {"indexUid": "books"}]});
        assert_eq!(shown("/multi-search", several), queries);
    }
}
