//! The program: arguments, and the one place where Pingora's proxy is instantiated (it compiles slowly, so it stays thin).

mod proxy;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use miroir::commands;

/// Many Meilisearch nodes behind one endpoint.
#[derive(Debug, Parser)]
#[command(name = "miroir", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(server::Args),
    Check(commands::check::Args),
    Status(commands::status::Args),
    Tasks(commands::tasks::Args),
    Explain(commands::explain::Args),
    Plan(commands::plan::Args),
    Node(commands::node::Args),
    #[cfg(feature = "embedded")]
    Demo(commands::demo::Args),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(args) => server::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Status(args) => commands::status::run(args),
        Command::Tasks(args) => commands::tasks::run(args),
        Command::Explain(args) => commands::explain::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Node(args) => commands::node::run(args),
        #[cfg(feature = "embedded")]
        Command::Demo(args) => commands::demo::run(args),
    }
}
