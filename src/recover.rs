//! `miroir recover`: a lost state rebuilt from what the nodes hold, before the gateway is started again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use miroir::cluster::{Cluster, ClusterError};
use miroir::config::DEFAULT_FILE;
use miroir::replicas::recover::{RecoverError, Recovered, recover};
use miroir::store::StoreError;
use miroir::store::leadership::{WhenLed, WhenLost};
use miroir::tls::TlsError;

use crate::founder::cluster_settings;
use crate::server::{BadConfig, load};

/// Rebuild a lost state from the nodes. The gateway must not run meanwhile.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file that the lost state belonged to.
    #[arg(long, default_value = DEFAULT_FILE)]
    config: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] BadConfig),
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// Rebuilds the state, and prints what was found. Fails with the reason on standard error.
pub fn run(args: &Args) -> ExitCode {
    match rebuild(args) {
        Ok(recovered) => {
            println!(
                "recovered {} indexes, {} tasks and {} keys; {} shards compared",
                recovered.indexes, recovered.tasks, recovered.keys, recovered.compared
            );
            for (node, index, shards) in &recovered.stale {
                println!("{shards} shards of `{index}` on {node} differ and will be copied anew");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rebuild(args: &Args) -> Result<Recovered, Failure> {
    let (config, _) = load(&args.config)?;
    let candidate = config.candidate(WhenLed::Refuse, WhenLost::Empty);
    let opened = config.place().open(config.cluster.shards, &candidate)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let recovered = runtime.block_on(async {
        let cluster = Cluster::start(
            cluster_settings(&config, config.pingora.upstream_keepalive_pool_size)?,
            Arc::clone(&opened.store),
            &prometheus::Registry::new(),
        )
        .await?;
        Ok(recover(&cluster.writes, &|step| eprintln!("{step}")).await?)
    });
    opened.leadership.release();
    recovered
}
