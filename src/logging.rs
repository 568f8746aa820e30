//! Structured logs on stderr: plain for people, JSON for machines. One client at a time may listen to them too.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing_subscriber::filter::{Filtered, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::settings::{FromSection, Section};
use crate::traces;
use crate::traces::settings::TraceSettings;

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

/// How lines look for who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Plain,
    Json,
}

/// What is logged, for the one who listens. Dropping it makes room for another.
#[derive(Debug)]
pub struct Listening {
    lines: mpsc::Receiver<Bytes>,
    number: u64,
}

/// What can be exchanged while the process runs.
struct Loggers {
    set_filter: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
    listener: reload::Handle<Listener, Registry>,
}

/// A layer that is there while somebody listens.
type Listener = Filtered<Option<Box<dyn Layer<Registry> + Send + Sync>>, Targets, Registry>;

static LOGGERS: OnceLock<Loggers> = OnceLock::new();

/// Who listens, by a number that is used once.
static LISTENS: Mutex<Option<u64>> = Mutex::new(None);

/// So many lines wait for who listens; more are lost to him, and delay nobody.
const LINES_KEPT: usize = 4096;

/// Why nothing can be logged or traced.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("log.level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("traces: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Sends log lines to stderr, and spans to who collects them. Called once, by a command's `main`; a second call changes nothing.
///
/// # Errors
///
/// When `level` is not a valid filter, or spans cannot be sent where they should go.
pub fn init(settings: &LogSettings, traces: &TraceSettings) -> Result<(), InitError> {
    let wanted = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let (filter, set) = reload::Layer::new(filter(wanted.as_deref().unwrap_or(&settings.level))?);
    let (listener, handle) = reload::Layer::new(None.with_filter(Targets::new()));
    // Colours are for people who look on, not for files and pipes.
    let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let logs = Registry::default().with(listener).with(traces::open(traces)?);
    // A logger that another part of the process installed first is left in place.
    let _ = match settings.format {
        LogFormat::Plain => logs.with(lines.with_target(false).with_filter(filter)).try_init(),
        LogFormat::Json => {
            logs.with(lines.json().flatten_event(true).with_current_span(true).with_filter(filter)).try_init()
        }
    };
    let set_filter = Box::new(move |filter| set.reload(filter).is_ok());
    let _ = LOGGERS.set(Loggers { set_filter, listener: handle });
    Ok(())
}

/// Makes log lines go by another level from now on. False where `RUST_LOG` holds it, or it is not valid.
pub fn set_level(level: &str) -> bool {
    let held = std::env::var("RUST_LOG").is_ok_and(|filter| !filter.is_empty());
    !held && filter(level).is_ok_and(set_filter)
}

/// Makes the lines on stderr go by `targets` from now on, whatever held before.
pub fn set_targets(targets: &Targets) -> bool {
    filter(&targets.to_string()).is_ok_and(set_filter)
}

fn set_filter(filter: EnvFilter) -> bool {
    LOGGERS.get().is_some_and(|loggers| (loggers.set_filter)(filter))
}

/// The lines that `targets` let through, from now on; `None` while somebody else listens.
pub fn listen(targets: Targets, look: Look) -> Option<Listening> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut listens = LISTENS.lock();
    if listens.is_some() {
        return None;
    }
    let (sender, lines) = mpsc::channel(LINES_KEPT);
    // For people with colours, wherever they go: the engine writes them so, too.
    let layer = fmt::layer().with_ansi(true).with_writer(move || LineWriter(sender.clone()));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match look {
        Look::Plain => Box::new(layer),
        Look::Json => Box::new(layer.with_ansi(false).json()),
    };
    exchange_listener(Some(layer), targets);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    *listens = Some(number);
    Some(Listening { lines, number })
}

/// Ends the listening of whoever listens.
pub fn hush() {
    let mut listens = LISTENS.lock();
    if listens.take().is_some() {
        exchange_listener(None, Targets::new());
    }
}

fn exchange_listener(layer: Option<Box<dyn Layer<Registry> + Send + Sync>>, targets: Targets) {
    let Some(loggers) = LOGGERS.get() else { return };
    // It fails where another logger was there first: then there are no lines of this one.
    let _ = loggers.listener.modify(|listener| {
        *listener.filter_mut() = targets.with_target(traces::TARGET, LevelFilter::OFF);
        *listener.inner_mut() = layer;
    });
}

/// Hands each line on, and drops what finds no room: who logs must not wait.
struct LineWriter(mpsc::Sender<Bytes>);

// === impl LineWriter ===

impl std::io::Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let _full = self.0.try_send(Bytes::copy_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// === impl Listening ===

impl Listening {
    /// The next lines; `None` once [`hush`] was called.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.lines.recv().await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listens = LISTENS.lock();
        // Another may listen by now.
        if *listens == Some(self.number) {
            *listens = None;
            exchange_listener(None, Targets::new());
        }
    }
}

/// What `wanted` says, without Pingora's pool of connections unless it is named: under load it reports as an error what is
/// none, an idle connection that another task just looks after, in whose place it opens a new one. Subrequests that fail
/// are logged by Miroir.
fn filter(wanted: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(wanted)?.add_directive(format!("{}=off", traces::TARGET).parse()?);
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
        assert!(!directives("info,pingora_core=debug").contains("pingora_core::connectors=off"));
        assert!(directives("trace").contains("miroir::traces=off"));
    }

    #[tokio::test]
    async fn one_listens_at_a_time_and_is_in_nobodys_way() {
        init(&LogSettings { level: "off".to_owned(), ..LogSettings::defaults() }, &TraceSettings::Off).unwrap();
        let mut first = listen("miroir::logging=info".parse().unwrap(), Look::Json).unwrap();
        assert!(listen(Targets::new(), Look::Plain).is_none());
        tracing::debug!("too fine");
        tracing::info!(who = "first", "heard");
        // Those who log in other tests of this process are not asked for.
        let line: serde_json::Value = serde_json::from_slice(&first.next().await.unwrap()).unwrap();
        assert_eq!((&line["fields"]["message"], &line["fields"]["who"]), (&"heard".into(), &"first".into()));
        for _ in 0..LINES_KEPT + 10 {
            tracing::info!("more than is kept");
        }
        hush();
        let second = listen("off".parse().unwrap(), Look::Plain).unwrap();
        // It ends nobody's listening but its own.
        drop(first);
        assert!(listen(Targets::new(), Look::Plain).is_none());
        drop(second);
        assert!(listen(Targets::new(), Look::Plain).is_some());
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_an_error() {
        let settings = LogSettings { level: "miroir=loudly".to_owned(), ..LogSettings::defaults() };
        assert!(init(&settings, &TraceSettings::Off).is_err());
    }
}
