//! `miroir scrub`: what the comparison of all replicas has found, or one that begins now.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{AdminArgs, cell, finish, table};

/// Show what the comparison of all replicas has found.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Begin a comparison now.
    #[arg(long)]
    start: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks the admin API, and prints what it says. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    if args.start {
        return finish(args.admin.json, args.admin.post("/scrub", &Value::Null), |_| "a scrub begins".to_owned());
    }
    finish(args.admin.json, args.admin.get("/scrub"), show)
}

fn show(answer: &Value) -> String {
    let mut out = String::new();
    for (name, what) in [("running", "running"), ("last", "last scrub")] {
        let report = &answer[name];
        if report.is_null() {
            continue;
        }
        out += &format!(
            "{what}: {} of {} shards compared, {} skipped, {} bytes read, since {}{}\n",
            cell(&report["compared"]),
            cell(&report["shards"]),
            cell(&report["skipped"]),
            cell(&report["bytes"]),
            cell(&report["startedAt"]),
            report["finishedAt"].as_str().map(|end| format!(" until {end}")).unwrap_or_default(),
        );
        let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
        if !findings.is_empty() {
            let mut rows = vec![["index", "what", "nodes", "evidence"].map(str::to_owned).to_vec()];
            rows.extend(findings.iter().map(|found| {
                let evidence = found["evidence"].as_str().unwrap_or("undecided: nothing was changed");
                vec![cell(&found["index"]), cell(&found["what"]), cell(&found["nodes"]), evidence.to_owned()]
            }));
            out += &table(&rows);
        }
    }
    if out.is_empty() { "nothing was scrubbed yet".to_owned() } else { out }
}
