//! `miroir upgrade`: walks the nodes of a running cluster, one after the other, from one version of the engine to another.
//!
//! A node is taken into maintenance, replaced by whoever does that, and let return once it says the new version; the next follows when all
//! are up and in sync. What is done is read from the nodes each time, so the same command goes on wherever it was stopped.
//!
//! | module | what lives there |
//! |---|---|
//! | `error` | why a walk stops |
//! | `sight` | the cluster as the admin API shows it, and what follows from that |

mod error;
mod sight;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{AdminArgs, ClientError};
use super::node;
use crate::settings::unit;

use error::UpgradeError;
use sight::{Seen, Step};

/// What the command that replaces a node has no need of.
const ADMIN_KEY: &str = "MIROIR_ADMIN_KEY";

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Walk the nodes one by one to another version of the engine, with clients at work.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The version that all nodes are to run, as they say it: `1.50.0`.
    #[arg(long, value_name = "VERSION")]
    to: String,
    /// A command that replaces a node, and ends when that was started again. It is run by `sh -c` for each node, which `MIROIR_NODE`,
    /// `MIROIR_NODE_URL` and `MIROIR_VERSION` (the new one) name. Without one, somebody replaces each node when it is its turn.
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// Also nodes that run this version already: a rolling restart.
    #[arg(long, requires = "run")]
    all: bool,
    /// How long each wait for a node may take: until it can be spared, until it says the new version, until all are in sync.
    #[arg(long, default_value = "1h", value_parser = limit)]
    limit: Duration,
    #[command(flatten)]
    admin: AdminArgs,
}

fn limit(text: &str) -> Result<Duration, String> {
    unit::duration(text).ok_or_else(|| format!("expected a duration such as `30m`, found `{text}`"))
}

/// Says what it does with which node, a line each. Fails with the reason on standard error; the same command goes on.
pub fn run(args: Args) -> ExitCode {
    match walk(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}

fn walk(args: &Args) -> Result<(), UpgradeError> {
    let mut nodes = sight::nodes(&args.admin)?;
    sight::check(&nodes, &args.to)?;
    // No other can be spared while one is away.
    nodes.sort_by_key(|node| !node.is_away());
    for (at, node) in nodes.iter().enumerate() {
        let id = &node.id;
        // Whoever was away from the beginning has its turn later.
        let others: Vec<&str> =
            nodes[at + 1..].iter().filter(|other| other.is_away()).map(|other| other.id.as_str()).collect();
        match node.step(&args.to, args.all) {
            Step::Nothing => {
                say(args, id, &format!("runs {} already", args.to));
                continue;
            }
            Step::Return => {}
            Step::Replace => {
                begin(args, node)?;
                replace(args, node)?;
            }
        }
        end(args, id, &others)?;
        say(args, id, &format!("runs {}, is in sync and serves", args.to));
    }
    Ok(())
}

/// Takes the node out of service, once it can be spared.
fn begin(args: &Args, node: &Seen) -> Result<(), UpgradeError> {
    let id = &node.id;
    if node.is_away() {
        say(args, id, "is in maintenance already");
    } else {
        wait(args, id, "all other nodes to be in sync", &mut || sight::disturbance(&args.admin, &[]))?;
    }
    let path = node::path(id);
    wait(args, id, "its turn to leave", &mut || match args.admin.post(&format!("{path}/maintenance"), &Value::Null) {
        Ok(answer) if answer["idle"] == true => Ok(None),
        Ok(_) => Ok(Some("requests to it are still under way".to_owned())),
        // Its shards need it.
        Err(ClientError::Refused { status: 409, message, .. }) => Ok(Some(message)),
        Err(error) => Err(error),
    })?;
    say(args, id, "is in maintenance and idle");
    Ok(())
}

/// Has the node replaced, or waits until it was, and until it says its new version.
fn replace(args: &Args, node: &Seen) -> Result<(), UpgradeError> {
    let id = &node.id;
    match &args.run {
        Some(command) => {
            say(args, id, "is replaced now");
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(command).env_remove(ADMIN_KEY);
            let told = [("MIROIR_NODE", id), ("MIROIR_NODE_URL", &node.url), ("MIROIR_VERSION", &args.to)];
            let status = shell.envs(told).status().map_err(UpgradeError::NoShell)?;
            if !status.success() {
                return Err(UpgradeError::Command { node: id.clone(), status });
            }
        }
        None => say(args, id, &format!("can be stopped now: start it again at {} as {}", node.url, args.to)),
    }
    wait(args, id, &format!("it to say {}", args.to), &mut || {
        let seen = Seen::of(&args.admin.get(&node::path(id))?);
        Ok(match (seen.version, seen.unreachable) {
            (Some(version), _) if version == args.to => None,
            (Some(version), _) => Some(format!("it says {version}")),
            (None, why) => Some(why.unwrap_or_else(|| "it says no version".to_owned())),
        })
    })
}

/// Lets the node return, and waits until the next can be spared.
fn end(args: &Args, id: &str, others: &[&str]) -> Result<(), UpgradeError> {
    let path = format!("{}/maintenance", node::path(id));
    wait(args, id, "the gateway to take it back", &mut || args.admin.send("DELETE", &path, None).map(|_| None))?;
    say(args, id, "returns");
    wait(args, id, "it to be in sync", &mut || sight::disturbance(&args.admin, others))
}

/// Looks until `look` finds no reason to go on waiting, and says each new reason. A gateway that does not answer is waited for, too.
fn wait(
    args: &Args,
    id: &str,
    what: &str,
    look: &mut dyn FnMut() -> Result<Option<String>, ClientError>,
) -> Result<(), UpgradeError> {
    let until = Instant::now() + args.limit;
    let mut said = String::new();
    loop {
        let reason = match look() {
            Ok(None) => return Ok(()),
            Ok(Some(reason)) => reason,
            Err(error) if sight::passes(&error) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        if reason != said {
            say(args, id, &format!("waits for {what}: {reason}"));
        }
        if Instant::now() > until {
            let (node, what) = (id.to_owned(), what.to_owned());
            return Err(UpgradeError::Late { node, what, limit: args.limit, reason });
        }
        said = reason;
        rest(LOOK_EVERY);
    }
}

fn say(args: &Args, node: &str, words: &str) {
    if args.admin.json {
        println!("{}", json!({ "node": node, "said": words }));
    } else {
        println!("{node} {words}");
    }
}

#[allow(clippy::disallowed_methods, reason = "no runtime waits for this thread")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
