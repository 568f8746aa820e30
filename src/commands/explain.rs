//! `miroir explain`: the plan of a request; with `--run` also what came of it, node by node.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{AdminArgs, cell, finish, table};

/// Show what the gateway would do for a request; with `--run` do it, and show each node's part in the result.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GET, POST, PUT, PATCH or DELETE.
    method: String,
    /// Path and query, `/indexes/cities/search`.
    path: String,
    /// The JSON body.
    body: Option<String>,
    /// Who asks, for rules that look at it, as JSON: `{"claims": {...}, "key": "...", "client": "...", "headers": {...}}`.
    #[arg(long = "as")]
    caller: Option<String>,
    /// Carry the request out, which must be a read.
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the admin API, and prints the plan. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    let body = match args.body.as_deref().map(serde_json::from_str::<Value>).transpose() {
        Ok(body) => body,
        Err(error) => {
            eprintln!("miroir: the body is not JSON: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut request = json!({ "method": args.method.to_uppercase(), "path": args.path, "run": args.run });
    match args.caller.as_deref().map(serde_json::from_str::<Value>).transpose() {
        Ok(Some(caller)) => request["caller"] = caller,
        Ok(None) => {}
        Err(error) => {
            eprintln!("miroir: who asks is not JSON: {error}");
            return ExitCode::FAILURE;
        }
    }
    if let Some(body) = body {
        request["body"] = body;
    }
    finish(args.admin.json, args.admin.post("/explain", &request), show)
}

/// Which rules have held, and what they have made of the request.
fn show_rules(rules: &Value) -> String {
    let names = items(&rules["rules"]).iter().map(cell).collect::<Vec<_>>().join(", ");
    let mut out = if names.is_empty() { "no rule holds\n".to_owned() } else { format!("rules: {names}\n") };
    if let Some(refused) = rules.get("refused") {
        out += &format!("refused with {}: {}\n", refused["status"], cell(&refused["error"]["message"]));
    } else if rules["before"] != rules["after"] {
        for moment in ["before", "after"] {
            out += &format!("  {moment}: {} {}\n", cell(&rules[moment]["request"]), rules[moment]["body"]);
        }
    }
    if !items(&rules["mirrored"]).is_empty() {
        let indexes: Vec<String> = items(&rules["mirrored"]).iter().map(cell).collect();
        out += &format!("asked again of {}\n", indexes.join(", "));
    }
    for failed in items(&rules["failed"]) {
        out += &format!("rule {} has failed: {}\n", cell(&failed["rule"]), cell(&failed["why"]));
    }
    if let Some(answer) = rules.get("answer") {
        out += &format!("the caller is shown {answer}\n");
    }
    out
}

/// Which rules tell somebody of the task.
fn show_told(told: &[Value]) -> String {
    let lines = told.iter().map(|told| {
        let ends: Vec<String> = items(&told["status"]).iter().map(cell).collect();
        format!("rule {} tells of its task when it has {}\n", cell(&told["rule"]), ends.join(" or "))
    });
    lines.collect()
}

fn show(explained: &Value) -> String {
    let rules = explained.get("rules").map(show_rules).unwrap_or_default();
    if explained.get("plan").is_none() {
        return rules;
    }
    let plan = &explained["plan"];
    let mut out = rules;
    out += &format!("plan {} {}, topology {}\n", cell(&plan["plan"]), cell(&plan["ask"]["kind"]), explained["epoch"]);
    let covers = items(&plan["covers"]);
    for cover in covers {
        out.push('\n');
        out += &rows(&["node", "shards", "filtered", "asks"], items(&cover["parts"]), |part| {
            let filtered = if part["whole"] == true { "no" } else { "yes" };
            let asks = format!("{} {}", cell(&part["method"]), cell(&part["path"]));
            vec![cell(&part["node"]), items(&part["shards"]).len().to_string(), filtered.to_owned(), asks]
        });
        if !items(&cover["missing"]).is_empty() {
            out += &format!("no replica for shards {}\n", cover["missing"]);
        }
        if !items(&cover["rewrites"]).is_empty() {
            out += "nodes are asked otherwise:\n";
            out += &rows(&["  parameter", "client", "node", "why"], items(&cover["rewrites"]), |rewrite| {
                let parameter = match rewrite["query"].as_u64() {
                    Some(query) => format!("  queries[{query}].{}", cell(&rewrite["parameter"])),
                    None => format!("  {}", cell(&rewrite["parameter"])),
                };
                vec![parameter, cell(&rewrite["client"]), cell(&rewrite["node"]), cell(&rewrite["why"])]
            });
        }
    }
    if covers.is_empty() {
        out += &format!("\n{plan:#}\n");
    }
    out += &show_told(items(&explained["told"]));
    out += &rounds("may follow", &plan["mayFollow"]);
    if let Some(run) = explained.get("run") {
        out += &show_run(run);
    }
    out
}

fn show_run(run: &Value) -> String {
    let mut out = format!("\nanswered {} in {} ms\n", run["status"], run["milliseconds"]);
    for (name, what) in [("degraded", "lacks shards"), ("inexact", "inexact")] {
        if !items(&run[name]).is_empty() {
            out += &format!("{what}: {}\n", run[name]);
        }
    }
    if let Some(message) = run["answer"]["message"].as_str() {
        out += &format!("{message}\n");
    }
    out += &rounds("followed", &run["followed"]);
    out.push('\n');
    out += &rows(&["node", "asked", "after ms", "took ms", "answer"], items(&run["subrequests"]), |sub| {
        let answer = match sub["failed"].as_str() {
            Some(why) => why.to_owned(),
            None => format!("{}, {} bytes", sub["status"], sub["bytes"]),
        };
        vec![cell(&sub["node"]), cell(&sub["path"]), cell(&sub["startedAfter"]), cell(&sub["milliseconds"]), answer]
    });
    out.push('\n');
    out += &rows(&["node", "offered", "given"], items(&run["nodes"]), |node| {
        vec![cell(&node["node"]), cell(&node["offered"]), cell(&node["given"])]
    });
    out.push('\n');
    let mut place = 0;
    out += &rows(&["hit", "index", "id", "from"], items(&run["hits"]), |hit| {
        place += 1;
        vec![place.to_string(), cell(&hit["index"]), cell(&hit["id"]), cell(&hit["node"])]
    });
    out
}

/// What is asked after the first round, by name.
fn rounds(what: &str, rounds: &Value) -> String {
    let names: Vec<String> = items(rounds).iter().map(cell).collect();
    if names.is_empty() { String::new() } else { format!("{what}: {}\n", names.join(", ")) }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn rows(head: &[&str], items: &[Value], mut row: impl FnMut(&Value) -> Vec<String>) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(items.iter().map(&mut row)).collect();
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_and_what_nodes_gave_are_tables() {
        let explained = json!({
            "epoch": 3,
            "plan": {"plan": "scatter", "ask": {"kind": "search"}, "covers": [{
                "parts": [{"node": "a", "shards": [0, 2], "whole": false, "method": "POST", "path": "/indexes/x/search"}],
                "missing": [],
                "rewrites": [{"parameter": "limit", "client": 2, "node": 7, "why": "upToTheEndOfThePage"}],
            }], "mayFollow": ["judge", "census"]},
            "run": {
                "status": 200, "milliseconds": 3.5, "degraded": [], "inexact": ["facets"], "followed": ["census"],
                "subrequests": [{"node": "a", "path": "/indexes/x/search", "startedAfter": 0.0, "milliseconds": 3.0, "failed": "refused"}],
                "nodes": [{"node": "a", "offered": 7, "given": 1}],
                "hits": [{"index": "x", "id": 9, "node": "a"}], "answer": {},
            },
        });
        let text = show(&explained);
        for line in [
            "plan scatter search, topology 3",
            "a     2       yes       POST /indexes/x/search",
            "  limit      2       7     upToTheEndOfThePage",
            "may follow: judge, census",
            "answered 200 in 3.5 ms",
            "followed: census",
            "inexact: [\"facets\"]",
            "a     /indexes/x/search  0.0       3.0      refused",
            "a     7        1",
            "1    x      9   a",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_plan_without_a_cover_is_shown_as_it_is() {
        let text = show(&json!({"epoch": 1, "plan": {"plan": "answer", "own": "health"}}));
        assert!(text.contains("\"own\": \"health\""), "{text}");
    }
}
