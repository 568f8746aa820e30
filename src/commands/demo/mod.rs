//! `miroir demo`: three embedded nodes and the gateway as processes, or several gateways; real cities, a search to look at.
//!
//! | module | what lives there |
//! |---|---|
//! | `gateways` | several gateways, of which one is killed |
//! | `postgres` | a PostgreSQL server of the demo's own |
//! | `process` | processes, and why the demo could not go on |

mod gateways;
mod postgres;
mod process;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::client::{self, ClientError};
use postgres::Postgres;
pub use process::DemoError;
use process::{Process, io, pause, port};

const NODES: usize = 3;
const BATCH: usize = 500;

/// Start three embedded nodes and the gateway, load real cities, search, and stay up until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The port of the API; admin and metrics take free ones unless it is 7700, where they are 7701 and 9090.
    #[arg(long, default_value_t = 7700)]
    port: u16,
    /// Where the nodes and the gateway keep their data; a temporary folder that is removed afterwards when left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The cities, an object a line.
    #[arg(long, default_value = "examples/data/cities.ndjson")]
    data: PathBuf,
    /// How many gateways. More than one share a state on a PostgreSQL server of the demo's own, for which the system's packages of it
    /// must be installed; the demo kills the one that leads, to show what that costs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    gateways: u16,
    /// End after the search instead of staying up.
    #[arg(long)]
    exit_after_load: bool,
}

/// A gateway, and what it takes to start it again.
struct Gateway {
    api: String,
    admin: String,
    metrics: String,
    process: Process,
    arguments: Vec<String>,
}

/// Everything that runs. Dropped in this order: the gateways first, so that they never see their nodes or their state die.
struct Fleet {
    gateways: Vec<Gateway>,
    nodes: Vec<Process>,
    _postgres: Option<Postgres>,
}

/// Stays up until it is interrupted. Fails with the reason on standard error, and names the log that tells more.
pub fn run(args: Args) -> ExitCode {
    let (interrupt, interrupted) = mpsc::channel();
    if let Err(error) = ctrlc::set_handler(move || {
        // Nobody listens any more when the demo is over already.
        let _ = interrupt.send(());
    }) {
        eprintln!("miroir: cannot listen for Ctrl-C: {error}");
        return ExitCode::FAILURE;
    }
    match demo(&args, &interrupted) {
        Ok(()) | Err(DemoError::Interrupted) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &Args, interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
    if args.gateways > 1 && args.dir.is_some() {
        return Err(DemoError::NothingKept);
    }
    let lines = read_lines(&args.data)?;
    let kept;
    let temporary;
    let folder: &Path = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|source| io(format!("create {}", dir.display()), source))?;
            kept = dir.canonicalize().map_err(|source| io(format!("find {}", dir.display()), source))?;
            &kept
        }
        None => {
            temporary = tempfile::Builder::new()
                .prefix("miroir-demo-")
                .tempdir()
                .map_err(|source| io("create a temporary folder".to_owned(), source))?;
            temporary.path()
        }
    };

    let mut fleet = Fleet::start(args, folder, interrupted)?;
    fleet.load(&lines, interrupted)?;
    fleet.show()?;
    if args.gateways > 1 {
        gateways::show(&mut fleet, folder, interrupted)?;
    }
    if args.exit_after_load {
        return Ok(());
    }
    println!("\nCtrl-C ends the demo.");
    // Either Ctrl-C, or the handler is gone, which cannot be while this runs.
    let _ = interrupted.recv();
    println!("\nstopping");
    Ok(())
}

fn read_lines(path: &Path) -> Result<Vec<String>, DemoError> {
    let text = std::fs::read_to_string(path).map_err(|source| io(format!("read {}", path.display()), source))?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

// === impl Gateway ===

impl Gateway {
    /// One of several has a place among them.
    fn start(
        api_port: u16,
        place: Option<u16>,
        config: &Value,
        folder: &Path,
        interrupted: &mpsc::Receiver<()>,
    ) -> Result<Self, DemoError> {
        let api_port = port(api_port)?;
        let (admin_port, metrics_port) = if api_port == 7700 { (7701, 9090) } else { (0, 0) };
        let ports = [api_port, port(admin_port)?, port(metrics_port)?];
        // JSON is YAML.
        let mut config = config.clone();
        for (key, port) in ["listen", "admin", "metrics"].into_iter().zip(ports) {
            config[key] = json!(format!("127.0.0.1:{port}"));
        }
        let name = place.map_or_else(|| "gateway".to_owned(), |place| format!("gateway-{place}"));
        if place.is_some() {
            let peers = port(0)?;
            config["cluster_secret"] = json!("the-secret-of-the-demo");
            config["gateway"] = json!({
                "id": name,
                "peer_listen": format!("127.0.0.1:{peers}"),
                "peer_url": format!("http://127.0.0.1:{peers}"),
                // Its nodes have no keys.
                "unfenced_nodes": "allow",
            });
        }
        let file = place.map_or_else(|| "miroir.yaml".to_owned(), |place| format!("miroir-{place}.yaml"));
        let path = folder.join(file);
        std::fs::write(&path, format!("{config:#}"))
            .map_err(|source| io(format!("write {}", path.display()), source))?;
        let arguments = vec![
            "serve".to_owned(),
            "--config".to_owned(),
            path.to_string_lossy().into_owned(),
            "--exit-on-stdin-close".to_owned(),
        ];
        let [api, admin, metrics] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let mut process = Process::start(&name, folder, &arguments)?;
        process.await_ready(&format!("{admin}/ready"), interrupted)?;
        Ok(Self { api, admin, metrics, process, arguments })
    }

    /// After it was killed.
    fn restart(&mut self, folder: &Path, interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
        self.process = Process::start(&self.process.name, folder, &self.arguments)?;
        self.process.await_ready(&format!("{}/ready", self.admin), interrupted)
    }
}

// === impl Fleet ===

impl Fleet {
    fn start(args: &Args, folder: &Path, interrupted: &mpsc::Receiver<()>) -> Result<Self, DemoError> {
        let (mut nodes, mut named) = (Vec::new(), Vec::new());
        println!("starting {NODES} nodes and {} …", if args.gateways == 1 { "the gateway" } else { "the gateways" });
        for n in 0..NODES {
            let node_port = port(0)?;
            let name = format!("node-{n}");
            let data = folder.join(&name);
            let arguments = [
                "node".to_owned(),
                "--listen".to_owned(),
                format!("127.0.0.1:{node_port}"),
                "--data-dir".to_owned(),
                data.to_string_lossy().into_owned(),
                "--exit-on-stdin-close".to_owned(),
            ];
            nodes.push(Process::start(&name, folder, &arguments)?);
            named.push(json!({ "id": name, "url": format!("http://127.0.0.1:{node_port}") }));
        }
        for (process, node) in nodes.iter_mut().zip(&named) {
            let url = node["url"].as_str().unwrap_or_default();
            process.await_ready(&format!("{url}/health"), interrupted)?;
        }
        let postgres = match args.gateways {
            1 => None,
            _ => Some(Postgres::start(folder, interrupted)?),
        };
        let state = match &postgres {
            None => format!("sqlite:{}", folder.join("miroir.db").display()),
            Some(postgres) => postgres.state(),
        };
        let mut fleet = Self { gateways: Vec::new(), nodes, _postgres: postgres };
        let config = json!({ "state": state, "cluster": { "replication_factor": 2, "nodes": named } });
        for place in 0..args.gateways {
            let api = if place == 0 { args.port } else { 0 };
            let several = args.gateways > 1;
            fleet.gateways.push(Gateway::start(api, several.then_some(place), &config, folder, interrupted)?);
        }
        Ok(fleet)
    }

    fn load(&self, lines: &[String], interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
        let settings = json!({
            "filterableAttributes": ["country", "feature", "population", "_geo"],
            "sortableAttributes": ["population", "name", "_geo"],
        });
        let begun = Instant::now();
        self.wait(&self.api_call("POST", "/indexes", &json!({ "uid": "cities", "primaryKey": "id" }))?, interrupted)?;
        self.wait(&self.api_call("PATCH", "/indexes/cities/settings", &settings)?, interrupted)?;

        let bar = progress(lines.len() as u64);
        for batch in lines.chunks(BATCH) {
            let body = batch.join("\n");
            let url = format!("{}/indexes/cities/documents", self.gateways[0].api);
            let task = client::send_bytes(&url, "POST", None, "application/x-ndjson", body.as_bytes())?;
            self.wait(&task, interrupted)?;
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        println!("loaded {} cities in {:.1} s, each on two nodes", lines.len(), begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn api_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, ClientError> {
        client::send(&format!("{}{path}", self.gateways[0].api), method, None, Some(body))
    }

    fn wait(&self, task: &Value, interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
        let id = client::cell(&task["taskUid"]);
        loop {
            let task = client::send(&format!("{}/tasks/{id}", self.gateways[0].api), "GET", None, None)?;
            match task["status"].as_str() {
                Some("succeeded") => return Ok(()),
                Some(status @ ("failed" | "canceled")) => {
                    let error = client::cell(&task["error"]["message"]);
                    return Err(DemoError::Task { id, status: status.to_owned(), error });
                }
                Some(_) | None => pause(interrupted, Duration::from_millis(10))?,
            }
        }
    }

    fn show(&self) -> Result<(), DemoError> {
        let query = json!({ "q": "paris", "limit": 5, "attributesToRetrieve": ["name", "country", "population"] });
        let answer = self.api_call("POST", "/indexes/cities/search", &query)?;
        let gateway = &self.gateways[0];
        println!("\nPOST {}/indexes/cities/search {query}", gateway.api);
        for hit in answer["hits"].as_array().into_iter().flatten() {
            println!("  {hit}");
        }
        println!(
            "  about {} found in {} ms",
            client::cell(&answer["estimatedTotalHits"]),
            client::cell(&answer["processingTimeMs"])
        );

        let request = json!({ "method": "POST", "path": "/indexes/cities/search", "body": query });
        let explained = client::send(&format!("{}/explain", gateway.admin), "POST", None, Some(&request))?;
        println!("\nwhich nodes answered for which shards:");
        for (node, shards) in cover(&explained) {
            println!("  {node}: {} shards: {}", shards.len(), ranges(&shards));
        }
        println!(
            "\n  API      {}\n  admin    {}/topology\n  metrics  {}/metrics",
            gateway.api, gateway.admin, gateway.metrics
        );
        println!("\n  curl '{}/indexes/cities/search?q=paris'", gateway.api);
        let processes: Vec<&Process> =
            self.gateways.iter().map(|gateway| &gateway.process).chain(&self.nodes).collect();
        println!("  {} processes: {}", processes.len(), names(&processes));
        Ok(())
    }
}

fn names(processes: &[&Process]) -> String {
    processes
        .iter()
        .map(|process| format!("{} (pid {})", process.name, process.child.id()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The bar on a terminal; a line per tenth elsewhere would only be noise, so nothing.
fn progress(documents: u64) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("loading cities {bar:40} {pos}/{len} ({per_sec}, {eta} left)");
    let bar = ProgressBar::with_draw_target(Some(documents), target);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// The nodes of an explained search with their shards, wherever the plan shows them.
fn cover(explained: &Value) -> Vec<(String, Vec<u64>)> {
    let mut found = Vec::new();
    collect_cover(explained, &mut found);
    found
}

fn collect_cover(value: &Value, found: &mut Vec<(String, Vec<u64>)>) {
    match value {
        Value::Object(map) => {
            if let (Some(Value::String(node)), Some(Value::Array(shards))) = (map.get("node"), map.get("shards")) {
                found.push((node.clone(), shards.iter().filter_map(Value::as_u64).collect()));
                return;
            }
            map.values().for_each(|value| collect_cover(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_cover(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `0-3 7 9-12`, at most a line of it.
fn ranges(numbers: &[u64]) -> String {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            Some(_) | None => parts.push((*number, *number)),
        }
    }
    let show = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let most = 16;
    let mut text = parts.iter().take(most).map(show).collect::<Vec<_>>().join(" ");
    if parts.len() > most {
        text += " …";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_shards_are_shown_short() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2 5 7-8");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn a_cover_is_found_in_a_plan() {
        let plan =
            json!({"plan": {"cover": [{"node": "node-0", "shards": [0, 1]}, {"node": "node-1", "shards": [2]}]}});
        assert_eq!(cover(&plan), [("node-0".to_owned(), vec![0, 1]), ("node-1".to_owned(), vec![2])]);
    }
}
