//! Structured logs on stderr: plain for people, JSON for machines.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::settings::{FromSection, Section};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Plain,
    Json,
}

/// The section `log`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A `tracing` filter: `info`, or `info,miroir::cluster=debug`. `RUST_LOG` overrides it.
    pub level: String,
}

// === impl LogSettings ===

impl FromSection for LogSettings {
    fn read(section: &mut Section) -> Self {
        let formats = [("json", LogFormat::Json), ("plain", LogFormat::Plain)];
        Self {
            format: section.choice("format", &formats, LogFormat::Plain),
            level: section.text("level").unwrap_or_else(|| "info".to_owned()),
        }
    }
}

/// Sends log lines to stderr. Called once, by a command's `main`; a second call changes nothing.
///
/// # Errors
///
/// When `level` is not a valid filter.
pub fn init(settings: &LogSettings) -> Result<(), tracing_subscriber::filter::ParseError> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = filter(wanted.as_deref().unwrap_or(&settings.level))?;
    // Colours are for people who look on, not for files and pipes.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A logger that another part of the process installed first is left in place.
    let set: SetFilter = match settings.format {
        LogFormat::Plain => {
            let builder = builder.with_target(false).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
    };
    let _ = SET_FILTER.set(set);
    Ok(())
}

/// Makes log lines go by another level from now on. False where `RUST_LOG` holds it, or it is not valid.
pub fn set_level(level: &str) -> bool {
    if std::env::var("RUST_LOG").is_ok_and(|filter| !filter.is_empty()) {
        return false;
    }
    match (filter(level), SET_FILTER.get()) {
        (Ok(filter), Some(set)) => set(filter),
        (Ok(_) | Err(_), _) => false,
    }
}

type SetFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// What `wanted` says, without Pingora's pool of connections unless it is named: under load it reports as an error what is
/// none, an idle connection that another task just looks after, in whose place it opens a new one. Subrequests that fail
/// are logged by Miroir.
fn filter(wanted: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(wanted)?;
    if wanted.contains("pingora") {
        return Ok(filter);
    }
    Ok(filter.add_directive("pingora_core::connectors=off".parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_of_connections_is_silent_unless_it_is_named() {
        let directives = |wanted: &str| filter(wanted).unwrap().to_string();
        assert!(directives("info").contains("pingora_core::connectors=off"));
        assert!(!directives("info,pingora_core=debug").contains("off"));
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_an_error() {
        let settings = LogSettings { level: "miroir=loudly".to_owned(), ..LogSettings::defaults() };
        assert!(init(&settings).is_err());
    }
}
