//! `miroir leader`: which of the gateways on one state leads, or that another should.

use std::process::ExitCode;

use serde_json::Value;

use super::client::{AdminArgs, cell, finish};

/// Show which gateway leads, or hand over to another.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Have the gateway end, so that another one leads. Whoever supervises it starts it again, and it waits then.
    StepDown {
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Asks the admin API, and prints what it says. Fails with its error on standard error.
pub fn run(args: Args) -> ExitCode {
    match args.action {
        Some(Action::StepDown { admin }) => {
            finish(admin.json, admin.post("/leader/step-down", &Value::Null), |_| "it steps down".to_owned())
        }
        None => finish(args.admin.json, args.admin.get("/leader"), |answer| match answer["role"].as_str() {
            Some("only") => "the state is a file: there is no other gateway".to_owned(),
            _ => show(answer),
        }),
    }
}

/// Who leads, where several gateways could; nothing where the state is one gateway's own.
pub fn show(answer: &Value) -> String {
    let leader = &answer["leader"];
    if leader.is_null() {
        return String::new();
    }
    let gateways = answer["gateways"].as_array().into_iter().flatten();
    let named: Vec<String> =
        gateways.map(|gateway| format!("{} ({})", cell(&gateway["id"]), cell(&gateway["version"]))).collect();
    let away = if answer["trusted"] == true { "" } else { "; the lease cannot be renewed: the database is away" };
    format!(
        "gateway {} leads since {}, epoch {} of the lease{away}; at the database: {}\n",
        cell(&leader["gateway"]),
        cell(&leader["since"]),
        cell(&leader["epoch"]),
        named.join(", ")
    )
}
