//! What operators run a gateway with: alert rules and a dashboard that name what it shows, a service manager that hears of it, completions,
//! manual pages.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::fleet::{Fleet, FleetOptions, MIROIR};

const ALERTS: &str = "charts/miroir/files/alerts.yaml";
const DASHBOARD: &str = "charts/miroir/files/dashboard.json";
/// Of Prometheus, and of its histograms.
const ANY: [&str; 2] = ["instance", "le"];

/// Families and the labels they have.
type Families = BTreeMap<String, BTreeSet<String>>;

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the file is there")
}

/// The name that the series of a histogram have in common.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Families of an exposition, each with all labels that its series have.
fn shown(exposition: &str) -> Families {
    let mut families = Families::new();
    for line in exposition.lines().filter(|line| line.starts_with("miroir_")) {
        let end = line.find(['{', ' ']).expect("a value");
        let labels = families.entry(family(&line[..end]).to_owned()).or_default();
        labels.extend(selectors(&line[end..]));
    }
    families
}

/// The table in docs/operations.md: families, and the labels that all of a row have.
fn documented() -> Families {
    let page = text("docs/operations.md");
    let rows = page.lines().filter(|line| line.starts_with("| `miroir_"));
    let ticked = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let labels: BTreeSet<String> = ticked(cells[2]).into_iter().collect();
        ticked(cells[1]).into_iter().map(move |name| (name, labels.clone()))
    })
    .collect()
}

/// The labels within the first braces of `text`, if it begins with some.
fn selectors(text: &str) -> Vec<String> {
    let Some(inside) = text.strip_prefix('{') else { return Vec::new() };
    let (mut labels, mut name, mut quoted) = (Vec::new(), String::new(), false);
    for char in inside.chars() {
        match char {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '}' => break,
            ',' => name.clear(),
            '=' | '!' | '~' => {
                if !name.is_empty() {
                    labels.push(std::mem::take(&mut name));
                }
            }
            ' ' => {}
            other => name.push(other),
        }
    }
    labels
}

/// What an expression names: families with the labels that it selects by, and the labels that it groups by.
fn named(expression: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let mut families = Vec::new();
    for (at, _) in expression.match_indices("miroir_") {
        let rest = &expression[at..];
        let end = rest.find(|char| !word(char)).unwrap_or(rest.len());
        families.push((family(&rest[..end]).to_owned(), selectors(&rest[end..])));
    }
    let mut groups = Vec::new();
    for start in [" by (", " on ("] {
        for (at, _) in expression.match_indices(start) {
            let inside = expression[at + start.len()..].split(')').next().unwrap_or_default();
            groups.extend(inside.split(',').map(|label| label.trim().to_owned()));
        }
    }
    (families, groups)
}

/// What is wrong with an expression, as far as names go.
fn faults(expression: &str, known: &Families) -> Vec<String> {
    let (families, groups) = named(expression);
    let mut faults = Vec::new();
    if families.is_empty() {
        faults.push("it asks for no metric".to_owned());
    }
    let mut labels: BTreeSet<&str> = ANY.into();
    for (name, selected) in &families {
        let Some(own) = known.get(name) else {
            faults.push(format!("there is no {name}"));
            continue;
        };
        labels.extend(own.iter().map(String::as_str));
        let wrong = selected.iter().filter(|label| !own.contains(*label) && !ANY.contains(&label.as_str()));
        faults.extend(wrong.map(|label| format!("{name} has no label {label}")));
    }
    let wrong = groups.iter().filter(|label| !labels.contains(label.as_str()));
    faults.extend(wrong.map(|label| format!("nothing in it has a label {label}")));
    faults
}

fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").clone();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut all: Vec<String> = targets.map(|target| target["expr"].as_str().expect("a query").to_owned()).collect();
    let alerts: Value = serde_saphyr::from_str(&text(ALERTS)).expect("YAML");
    for rule in alerts["groups"][0]["rules"].as_array().expect("rules") {
        for field in ["alert", "expr"] {
            assert!(rule[field].is_string(), "{rule}");
        }
        for told in ["summary", "description"] {
            assert!(rule["annotations"][told].is_string(), "{rule}");
        }
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().expect("a severity")), "{rule}");
        all.push(rule["expr"].as_str().expect("a query").to_owned());
    }
    all
}

#[test]
fn every_query_names_metrics_and_labels_that_a_gateway_shows() {
    let fleet = Fleet::start();
    fleet.client.add("films", &json!([{"id": 1, "title": "Alien"}]));
    fleet.client.post("/indexes/films/search", &json!({"q": "alien", "facets": ["*"]}));
    fleet.client.get("/indexes/none");
    let live = shown(&fleet.metrics.get("/metrics").text);
    // What has not happened has no series yet: of it the page tells, and of what there is, both agree.
    let mut known = documented();
    let mut unsaid = Vec::new();
    for (name, labels) in &live {
        match known.insert(name.clone(), labels.clone()) {
            None => unsaid.push(name.clone()),
            Some(told) => {
                let missing = labels.iter().filter(|label| !told.contains(*label) && *label != "le");
                unsaid.extend(missing.map(|label| format!("{name}{{{label}}}")));
            }
        }
    }
    assert!(unsaid.is_empty(), "docs/operations.md does not tell of {unsaid:?}");
    let all = expressions();
    let wrong: Vec<String> = all
        .iter()
        .flat_map(|expression| {
            faults(expression, &known).into_iter().map(move |fault| format!("{expression}: {fault}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let asked: BTreeSet<String> = all.iter().flat_map(|one| named(one).0).map(|(name, _)| name).collect();
    let seen = asked.iter().filter(|name| live.contains_key(*name)).count();
    assert!(seen * 4 >= asked.len() * 3, "only {seen} of {} were seen at a live gateway", asked.len());
}

/// As a unit of `Type=notify` is started and stopped.
#[test]
fn a_service_manager_hears_when_the_gateway_answers_and_when_it_ends() {
    let mut fleet = Fleet::start();
    fleet.kill_gateway();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let mut gateway = Command::new(MIROIR)
        .args(["serve", "--config"])
        .arg(&fleet.config)
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a gateway");
    let heard = || {
        let mut message = [0; 200];
        let length = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert_eq!(heard().trim(), "READY=1");
    assert_eq!(fleet.client.get("/health").status, 200);
    assert_eq!(fleet.admin.get("/ready").status, 200);
    Command::new("kill").args(["-TERM", &gateway.id().to_string()]).status().expect("a signal");
    assert_eq!(heard().trim(), "STOPPING=1");
    gateway.wait().expect("it ends");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let said = |arguments: &[&str]| {
        let output = Command::new(MIROIR).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let folder = tempfile::tempdir().expect("a folder");
    said(&["man", &folder.path().display().to_string()]);
    let bash = said(&["completions", "bash"]);
    let help = said(&["help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands.iter().filter(|command| **command != "help") {
        assert!(
            bash.contains(&format!("miroir__{command})")) || bash.contains(&format!("__subcmd__{command})")),
            "{command}"
        );
        let page = std::fs::read_to_string(folder.path().join(format!("miroir-{command}.1"))).expect("a page");
        assert!(page.contains(".SH NAME") && page.contains(".SH DESCRIPTION"), "{page}");
    }
}

/// The check itself sees each kind of fault.
#[test]
fn a_query_with_a_wrong_name_is_found() {
    let known = Families::from([
        ("miroir_a_seconds".to_owned(), BTreeSet::from(["route".to_owned()])),
        ("miroir_b".to_owned(), BTreeSet::from(["node".to_owned()])),
    ]);
    let fine = "sum by (route, le) (rate(miroir_a_seconds_bucket{route=~\"a|b{1}\",instance=~\"$instance\"}[5m]))";
    assert_eq!(faults(fine, &known), Vec::<String>::new());
    assert_eq!(
        faults("miroir_b == 0 unless on (instance, node) miroir_b{node!=\"x\"} == 1", &known),
        Vec::<String>::new()
    );
    assert_eq!(faults("rate(miroir_c_total[5m])", &known), ["there is no miroir_c_total"]);
    assert_eq!(faults("miroir_b{route=\"x\"}", &known), ["miroir_b has no label route"]);
    assert_eq!(faults("sum by (index) (miroir_b)", &known), ["nothing in it has a label index"]);
    assert_eq!(faults("1 + 1", &known), ["it asks for no metric"]);
}

/// Of ordinary requests one in so many has a line; an answer that is not whole always has one, with what is missing.
#[test]
fn the_access_log_leaves_out_ordinary_requests_and_no_other() {
    let mut fleet = Fleet::with(FleetOptions {
        replication_factor: 1,
        more: "access_log: { one_in: 1000, slow_after: 1h }\nlog: { format: json }\n".to_owned(),
        ..Default::default()
    });
    fleet.client.add("logged", &json!((0..60).map(|id| json!({"id": id})).collect::<Vec<_>>()));
    (0..20).for_each(|_| _ = fleet.client.get("/indexes/logged").ok());
    fleet.nodes[2].kill();
    let search = || fleet.client.post("/indexes/logged/search", &json!({"q": "", "limit": 100}));
    let degraded = search().header("x-miroir-degraded").expect("what is missing").to_owned();
    let lines = |route: &str| -> Vec<Value> {
        let log = fleet.gateway().log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "miroir::access" && line["route"] == route).collect()
    };
    let told = eventually("the search has a line", || lines("searchPost").pop());
    assert_eq!((&told["degraded"], &told["status"], &told["index"]), (&json!(degraded), &json!(200), &json!("logged")));
    assert!(told["milliseconds"].as_f64().is_some_and(|took| took > 0.0), "{told}");
    assert!(lines("getIndex").len() <= 1, "{:?}", lines("getIndex"));
}

/// The line of a search says how many hits it shows and how long each node took; a slow one says the same as a warning.
#[test]
fn the_access_log_tells_hits_and_the_time_of_each_node() {
    let more = "access_log: { slow_after: 1h }\nlog: { format: json }\n";
    let fleet = Fleet::with(FleetOptions { replication_factor: 1, more: more.to_owned(), ..Default::default() });
    fleet.client.add("timed", &json!((0..60).map(|id| json!({"id": id})).collect::<Vec<_>>()));
    let lines = |route: &str| -> Vec<Value> {
        let log = fleet.gateway().log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "miroir::access" && line["route"] == route).collect()
    };
    let line = |route: &str, count: usize| eventually("it has a line", || lines(route).into_iter().nth(count - 1));
    let nodes_of = |line: &Value| -> Vec<(String, f64)> {
        let nodes = line["nodes"].as_str().expect("nodes are a text").split(", ");
        let parts = nodes.map(|node| node.split_once('=').expect("node=milliseconds"));
        parts.map(|(node, took)| (node.to_owned(), took.parse().expect("a number"))).collect()
    };
    let check = |line: &Value, hits: Option<u64>, asked: usize| {
        assert_eq!(line.get("hits").and_then(Value::as_u64), hits, "{line}");
        let (took, own) = (line["milliseconds"].as_f64().unwrap(), line["gateway_milliseconds"].as_f64().unwrap());
        assert!(own > 0.0 && own <= took, "{line}");
        let nodes = nodes_of(line);
        assert_eq!(nodes.len(), asked, "{line}");
        let slowest = nodes.iter().map(|(_, took)| *took).fold(0.0, f64::max);
        assert!(nodes.iter().all(|(_, took)| *took > 0.0) && own + slowest <= took + 0.01, "{line}");
    };
    fleet.client.post("/indexes/timed/search", &json!({"q": "", "limit": 7})).ok();
    check(&line("searchPost", 1), Some(7), 3);
    fleet.client.post("/indexes/timed/search", &json!({"q": "nothing of the kind"})).ok();
    check(&line("searchPost", 2), Some(0), 3);
    let queries = json!([{"indexUid": "timed", "limit": 5}, {"indexUid": "timed", "limit": 4}]);
    fleet.client.post("/multi-search", &json!({"queries": queries})).ok();
    check(&line("multiSearch", 1), Some(9), 3);
    fleet.client.post("/multi-search", &json!({"federation": {"limit": 3}, "queries": [{"indexUid": "timed"}]})).ok();
    check(&line("multiSearch", 2), Some(3), 3);
    // One node answers it, by Pingora's own path.
    fleet.client.get("/version").ok();
    let forwarded = line("version", 1);
    check(&forwarded, None, 1);
    assert_eq!(nodes_of(&forwarded)[0].0, forwarded["node"], "{forwarded}");
    // From now on nearly everything is slow.
    let file = std::fs::read_to_string(&fleet.config).expect("a configuration");
    std::fs::write(&fleet.config, file.replace("slow_after: 1h", "slow_after: 1ms")).expect("a file");
    assert_eq!(fleet.admin.post("/reload", &json!({})).ok()["sections"], json!(["access_log"]));
    let slow = eventually("a slow search has a line", || {
        fleet.client.post("/indexes/timed/search", &json!({"q": "", "limit": 60})).ok();
        lines("searchPost").into_iter().find(|line| line["level"] == "WARN")
    });
    assert_eq!(slow["message"], "slow request");
    check(&slow, Some(60), 3);
}
