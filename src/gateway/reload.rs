//! The configuration read again while requests go on: all of what can change is taken over, or nothing is.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::app::App;
use super::settings::GatewaySettings;
use crate::cluster::live::LiveSettings;
use crate::meili::error::{Code, ResponseError};
use crate::moves::settings::RebalanceSettings;
use crate::moves::{self, RebalanceError};
use crate::rules::language::ProgramSettings;
use crate::rules::rule::Rule;
use crate::settings::Secret;
use crate::tls::TlsError;

/// What of a configuration can be exchanged, as it was read anew.
pub struct Fresh {
    pub settings: GatewaySettings,
    pub rules: Vec<Rule>,
    pub programs: ProgramSettings,
    pub log_level: String,
    pub master_key: Option<Secret>,
    pub cluster: LiveSettings,
    /// The sections that take effect at once, with all that they say.
    pub live: Vec<(&'static str, String)>,
    /// The same of those that take effect at a start only.
    pub at_start: Vec<(&'static str, String)>,
}

/// Reads the configuration; every problem of it as one text.
pub type Source = Box<dyn Fn() -> Result<Fresh, String> + Send + Sync>;

/// Makes logs go by a level; false where something stronger than the configuration holds it.
pub type SetLevel = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Where what is exchanged comes from, and what it was before.
#[derive(Default)]
pub struct Reloads {
    source: OnceLock<(Source, SetLevel)>,
    /// What was last taken over. Held for as long as something is being taken over.
    before: tokio::sync::Mutex<Option<Before>>,
    /// Sections of the file that wait for a start.
    waiting: Mutex<Vec<&'static str>>,
}

/// The last configuration, each section as a text.
struct Before {
    live: Vec<(&'static str, String)>,
    at_start: Vec<(&'static str, String)>,
}

/// What has come of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Sections that were taken over and say something else than before.
    pub changed: Vec<&'static str>,
    /// Sections that say something else than at the start, which goes on until the next.
    pub waiting: Vec<&'static str>,
    /// Whether the cluster has another goal.
    pub goal: bool,
}

/// Why nothing is taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Configuration(#[from] RebalanceError),
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
}

// === impl ReloadError ===

impl ReloadError {
    /// As the operators' API tells it.
    pub fn to_response(&self) -> ResponseError {
        match self {
            Self::Configuration(error) => error.to_response(),
            Self::Tls(error) => ResponseError::new(Code::BadRequest, error.to_string()),
        }
    }
}

// === impl Reloads ===

impl Reloads {
    /// Called once, before requests come; what the process was started with is what `source` says now.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub fn open(&self, source: Source, level: SetLevel) -> Result<(), String> {
        let fresh = source()?;
        if let Ok(mut before) = self.before.try_lock() {
            *before = Some(Before { live: fresh.live, at_start: fresh.at_start });
        }
        // A second source changes nothing.
        let _ = self.source.set((source, level));
        Ok(())
    }

    /// Sections that say something else than at the start.
    pub fn waiting(&self) -> Vec<&'static str> {
        self.waiting.lock().clone()
    }
}

/// Reads the configuration again. Certificates are read first and the goal of the cluster is set next, as both can be refused; what is
/// left cannot.
///
/// # Errors
///
/// Why nothing was taken over.
pub async fn reload(app: &Arc<App>) -> Result<Reloaded, ReloadError> {
    let mut before = app.reloads.before.lock().await;
    let Some((source, level)) = app.reloads.source.get() else {
        return Err(RebalanceError::NoConfig.into());
    };
    let fresh = source().map_err(RebalanceError::Config)?;
    app.tls.are_readable()?;
    // The goal of the cluster is the leader's to set; what follows from another one is said anew as well.
    let goal = match app.following() {
        None => {
            let settings = &app.cluster.moves.settings;
            let stated = RebalanceSettings::clone(&settings.get());
            settings.set(fresh.cluster.rebalance.clone());
            let goal = moves::wishes::reload(&app.cluster.moves).await;
            goal.inspect_err(|_| settings.set(stated))?
        }
        Some(_) => false,
    };
    // Which of a pair of files was written in between is read again by itself a little later.
    if let Err(error) = app.tls.reload() {
        tracing::error!(%error, "certificates were not taken over");
    }

    let live = fresh.live;
    let (changed, waiting) = match before.as_ref() {
        Some(before) => (differing(&before.live, &live), differing(&before.at_start, &fresh.at_start)),
        None => (Vec::new(), Vec::new()),
    };
    if changed.contains(&"log.level") && !level(&fresh.log_level) {
        tracing::warn!("the level of logs stays as RUST_LOG says");
    }
    let hooks = fresh.rules.iter().filter_map(Rule::task_hook).collect();
    if let Err(error) = app.webhooks.exchange_rules(hooks).await {
        tracing::error!(%error, "how far those whom rules tell of tasks have been told was not stored");
    }
    app.ruling.exchange(fresh.rules, fresh.programs);
    app.cluster.exchange(fresh.cluster);
    app.keyring.go_by_master(fresh.master_key).await;
    app.exchange_settings(fresh.settings);
    // What the process was started with stays what sections that wait are compared with.
    let at_start = before.take().map_or(fresh.at_start, |before| before.at_start);
    *before = Some(Before { live, at_start });
    app.reloads.waiting.lock().clone_from(&waiting);
    let names = |sections: &[&'static str]| sections.join(", ");
    tracing::info!(
        changed = names(&changed),
        at_next_start = names(&waiting),
        goal,
        "the configuration was read again"
    );
    Ok(Reloaded { changed, waiting, goal })
}

fn differing(before: &[(&'static str, String)], now: &[(&'static str, String)]) -> Vec<&'static str> {
    let differs = |section: &&(&'static str, String)| !before.contains(section);
    now.iter().filter(differs).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_something_else_has_changed() {
        let of = |sections: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            sections.iter().map(|(name, says)| (*name, (*says).to_owned())).collect()
        };
        let before = of(&[("rules", "a"), ("cors", "b")]);
        assert_eq!(differing(&before, &before), [] as [&str; 0]);
        assert_eq!(differing(&before, &of(&[("rules", "a"), ("cors", "c")])), ["cors"]);
    }
}
