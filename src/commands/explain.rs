//! `miroir explain`: the plan of a request, without running it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client::{AdminArgs, finish};

/// Show what the gateway would do for a request, without doing it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// GET, POST, PUT, PATCH or DELETE.
    method: String,
    /// Path and query, `/indexes/cities/search`.
    path: String,
    /// The JSON body.
    body: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub fn run(args: Args) -> ExitCode {
    let body = match args.body.as_deref().map(serde_json::from_str::<Value>).transpose() {
        Ok(body) => body,
        Err(error) => {
            eprintln!("miroir: the body is not JSON: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut request = json!({ "method": args.method.to_uppercase(), "path": args.path });
    if let Some(body) = body {
        request["body"] = body;
    }
    finish(args.admin.json, args.admin.post("/explain", &request), |plan| format!("{plan:#}"))
}
