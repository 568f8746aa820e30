//! The program: arguments, and the one place where Pingora's proxy is instantiated (it compiles slowly, so it stays thin).

mod ending;
mod founder;
mod own;
mod proxy;
mod recover;
mod server;
mod sockets;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
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
    Backup(commands::backup::BackupArgs),
    Restore(commands::backup::RestoreArgs),
    Import(commands::import::Args),
    Status(commands::status::Args),
    Leader(commands::leader::Args),
    Tasks(commands::tasks::Args),
    Explain(commands::explain::Args),
    Try(commands::try_rules::Args),
    Plan(commands::plan::Args),
    Rebalance(commands::rebalance::Args),
    Cluster(commands::cluster::Args),
    Upgrade(commands::upgrade::Args),
    Scrub(commands::scrub::Args),
    Recover(recover::Args),
    State(commands::state::Args),
    Node(NodeArgs),
    /// Print completions for a shell: `miroir completions bash > /etc/bash_completion.d/miroir`.
    Completions {
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command, into a folder.
    Man {
        folder: std::path::PathBuf,
    },
    #[cfg(feature = "embedded")]
    Demo(commands::demo::Args),
}

/// Add, remove, drain or change a node of a running cluster, or take it out of service for a while. Without a subcommand, in
/// builds with the embedded engine: run one Meilisearch-compatible node, for trying, testing and small use.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
struct NodeArgs {
    #[cfg(feature = "embedded")]
    #[command(subcommand)]
    action: Option<commands::node::Action>,
    #[cfg(feature = "embedded")]
    #[command(flatten)]
    options: miroir_engine::node::NodeOptions,
    #[cfg(not(feature = "embedded"))]
    #[command(subcommand)]
    action: commands::node::Action,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(args) => server::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "miroir", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Man { folder } => match clap_mangen::generate_to(Arguments::command(), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", folder.display());
                ExitCode::FAILURE
            }
        },
        Command::Check(args) => commands::check::run(args),
        Command::Backup(args) => commands::backup::backup(args),
        Command::Restore(args) => commands::backup::restore(args),
        Command::Import(args) => commands::import::run(args),
        Command::Status(args) => commands::status::run(args),
        Command::Leader(args) => commands::leader::run(args),
        Command::Tasks(args) => commands::tasks::run(args),
        Command::Explain(args) => commands::explain::run(args),
        Command::Try(args) => commands::try_rules::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Rebalance(args) => commands::rebalance::run(args),
        Command::Cluster(args) => commands::cluster::run(args),
        Command::Upgrade(args) => commands::upgrade::run(args),
        Command::Scrub(args) => commands::scrub::run(args),
        Command::Recover(args) => recover::run(&args),
        Command::State(args) => commands::state::run(args),
        Command::Node(args) => node(args),
        #[cfg(feature = "embedded")]
        Command::Demo(args) => commands::demo::run(args),
    }
}

#[cfg(not(feature = "embedded"))]
fn node(args: NodeArgs) -> ExitCode {
    commands::node::run(args.action)
}

#[cfg(feature = "embedded")]
fn node(args: NodeArgs) -> ExitCode {
    if let Some(action) = args.action {
        return commands::node::run(action);
    }
    match miroir_engine::node::run_node(args.options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}
