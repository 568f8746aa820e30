//! `miroir demo`: three embedded nodes and the gateway as processes, real cities, a search to look at.

use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::client::{self, ClientError};

const NODES: usize = 3;
const BATCH: usize = 500;
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// End after the search instead of staying up.
    #[arg(long)]
    exit_after_load: bool,
}

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("cannot {what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("port {port} is taken: {source}; choose another one with --port")]
    PortTaken { port: u16, source: std::io::Error },
    #[error("{name} ended with {status} before it was ready; its log: {log}")]
    Ended { name: String, status: std::process::ExitStatus, log: String },
    #[error("{name} was not ready within {seconds} s; its log: {log}")]
    NotReady { name: String, seconds: u64, log: String },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("task {id} ended as {status}: {error}")]
    Task { id: String, status: String, error: String },
    #[error("interrupted")]
    Interrupted,
}

/// A child process. Its standard input stays open as long as the demo lives, and the child ends when it closes, so that
/// even a killed demo leaves nothing behind.
struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Everything that runs, in the order in which it was started.
struct Fleet {
    api: String,
    admin: String,
    metrics: String,
    processes: Vec<Process>,
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

    let fleet = Fleet::start(args.port, folder, interrupted)?;
    fleet.load(&lines, interrupted)?;
    fleet.show()?;
    if args.exit_after_load {
        return Ok(());
    }
    println!("\nCtrl-C ends the demo.");
    // Either Ctrl-C, or the handler is gone, which cannot be while this runs.
    let _ = interrupted.recv();
    println!("\nstopping");
    Ok(())
}

fn io(what: String, source: std::io::Error) -> DemoError {
    DemoError::Io { what, source }
}

fn read_lines(path: &Path) -> Result<Vec<String>, DemoError> {
    let text = std::fs::read_to_string(path).map_err(|source| io(format!("read {}", path.display()), source))?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

/// `wanted`, or a free port when it is 0.
fn port(wanted: u16) -> Result<u16, DemoError> {
    let listener =
        TcpListener::bind(("127.0.0.1", wanted)).map_err(|source| DemoError::PortTaken { port: wanted, source })?;
    let address = listener.local_addr().map_err(|source| io("read a port".to_owned(), source))?;
    Ok(address.port())
}

// === impl Process ===

impl Process {
    fn start(name: &str, folder: &Path, arguments: &[String]) -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(|source| io("find this program".to_owned(), source))?;
        let log = folder.join(format!("{name}.log"));
        let out = std::fs::File::create(&log).map_err(|source| io(format!("create {}", log.display()), source))?;
        let err = out.try_clone().map_err(|source| io("share a log file".to_owned(), source))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| io(format!("start {name}"), source))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until `url` answers 200.
    fn await_ready(&mut self, url: &str, interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
        let until = Instant::now() + PATIENCE;
        loop {
            if client::send(url, "GET", None, None).is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait().map_err(|source| io(format!("look after {}", self.name), source))?;
            if let Some(status) = ended {
                return Err(DemoError::Ended { name: self.name.clone(), status, log: self.last_words() });
            }
            if Instant::now() > until {
                let seconds = PATIENCE.as_secs();
                return Err(DemoError::NotReady { name: self.name.clone(), seconds, log: self.last_words() });
            }
            pause(interrupted, Duration::from_millis(50))?;
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Closing its standard input asks the child to end; a child that does not listen is killed.
        drop(self.child.stdin.take());
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            let (_never, wait) = mpsc::channel::<()>();
            let _ = wait.recv_timeout(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits, unless Ctrl-C comes first.
fn pause(interrupted: &mpsc::Receiver<()>, time: Duration) -> Result<(), DemoError> {
    match interrupted.recv_timeout(time) {
        Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(DemoError::Interrupted),
    }
}

// === impl Fleet ===

impl Fleet {
    fn start(api_port: u16, folder: &Path, interrupted: &mpsc::Receiver<()>) -> Result<Self, DemoError> {
        let api_port = port(api_port)?;
        let (admin_port, metrics_port) = if api_port == 7700 { (7701, 9090) } else { (0, 0) };
        let (admin_port, metrics_port) = (port(admin_port)?, port(metrics_port)?);
        let mut processes = Vec::new();
        let mut nodes = Vec::new();
        println!("starting {NODES} nodes and the gateway …");
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
            processes.push(Process::start(&name, folder, &arguments)?);
            nodes.push(json!({ "id": name, "url": format!("http://127.0.0.1:{node_port}") }));
        }
        for (process, node) in processes.iter_mut().zip(&nodes) {
            let url = node["url"].as_str().unwrap_or_default();
            process.await_ready(&format!("{url}/health"), interrupted)?;
        }

        // JSON is YAML.
        let config = json!({
            "listen": format!("127.0.0.1:{api_port}"),
            "admin": format!("127.0.0.1:{admin_port}"),
            "metrics": format!("127.0.0.1:{metrics_port}"),
            "state": format!("sqlite:{}", folder.join("miroir.db").display()),
            "cluster": { "replication_factor": 2, "nodes": nodes },
        });
        let path = folder.join("miroir.yaml");
        std::fs::write(&path, format!("{config:#}"))
            .map_err(|source| io(format!("write {}", path.display()), source))?;
        let arguments = [
            "serve".to_owned(),
            "--config".to_owned(),
            path.to_string_lossy().into_owned(),
            "--exit-on-stdin-close".to_owned(),
        ];
        let mut gateway = Process::start("gateway", folder, &arguments)?;
        let fleet_urls = [api_port, admin_port, metrics_port].map(|port| format!("http://127.0.0.1:{port}"));
        gateway.await_ready(&format!("{}/ready", fleet_urls[1]), interrupted)?;
        // Dropped in this order: the gateway first, so that it never sees its nodes die.
        processes.insert(0, gateway);
        let [api, admin, metrics] = fleet_urls;
        Ok(Self { api, admin, metrics, processes })
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
            let url = format!("{}/indexes/cities/documents", self.api);
            let task = client::send_bytes(&url, "POST", None, "application/x-ndjson", body.as_bytes())?;
            self.wait(&task, interrupted)?;
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        println!("loaded {} cities in {:.1} s, each on two nodes", lines.len(), begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn api_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, ClientError> {
        client::send(&format!("{}{path}", self.api), method, None, Some(body))
    }

    fn wait(&self, task: &Value, interrupted: &mpsc::Receiver<()>) -> Result<(), DemoError> {
        let id = client::cell(&task["taskUid"]);
        loop {
            let task = client::send(&format!("{}/tasks/{id}", self.api), "GET", None, None)?;
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
        println!("\nPOST {}/indexes/cities/search {query}", self.api);
        for hit in answer["hits"].as_array().into_iter().flatten() {
            println!("  {hit}");
        }
        println!(
            "  about {} found in {} ms",
            client::cell(&answer["estimatedTotalHits"]),
            client::cell(&answer["processingTimeMs"])
        );

        let request = json!({ "method": "POST", "path": "/indexes/cities/search", "body": query });
        let explained = client::send(&format!("{}/explain", self.admin), "POST", None, Some(&request))?;
        println!("\nwhich nodes answered for which shards:");
        for (node, shards) in cover(&explained) {
            println!("  {node}: {} shards: {}", shards.len(), ranges(&shards));
        }
        println!("\n  API      {}\n  admin    {}/topology\n  metrics  {}/metrics", self.api, self.admin, self.metrics);
        println!("\n  curl '{}/indexes/cities/search?q=paris'", self.api);
        println!("  {} processes: {}", self.processes.len(), names(&self.processes));
        Ok(())
    }
}

fn names(processes: &[Process]) -> String {
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
