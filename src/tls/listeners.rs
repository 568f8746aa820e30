//! The listeners of the gateway together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use pingora::protocols::ALPN;
use tokio::sync::watch;

use super::error::TlsError;
use super::expiry::Expiry;
use super::listener::{Listener, Read};
use super::settings::TlsSettings;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The listeners that speak TLS.
pub struct Listeners {
    all: Vec<Listener>,
    expiry: Expiry,
    /// When each file was last changed, as far as is known. Held while files are read anew.
    seen: Mutex<Vec<(PathBuf, Option<SystemTime>)>>,
}

// === impl Listeners ===

impl Listeners {
    /// # Errors
    ///
    /// When a file is of no use.
    pub fn open(settings: &TlsSettings, expiry: Expiry) -> Result<Arc<Self>, TlsError> {
        let on = settings.listeners().into_iter().filter(|(_, listener)| listener.is_on());
        let all: Result<Vec<_>, _> = on.map(|(name, listener)| Listener::new(name, listener.clone())).collect();
        let listeners = Self { all: all?, expiry, seen: Mutex::default() };
        *listeners.seen.lock() = listeners.changes();
        listeners.tell();
        Ok(Arc::new(listeners))
    }

    /// What Pingora listens with; `None` where the listener of this name speaks without TLS. `offered` names the versions of HTTP.
    pub fn of(&self, name: &str, offered: ALPN) -> Option<pingora::Result<pingora::listeners::tls::TlsSettings>> {
        self.all.iter().find(|listener| listener.name == name).map(|listener| listener.pingora(offered))
    }

    /// Reads all files and changes nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the first that is of no use.
    pub fn are_readable(&self) -> Result<(), TlsError> {
        self.all.iter().try_for_each(|listener| listener.read().map(|_read| ()))
    }

    /// Reads all files anew; new connections go by them. When one is of no use nothing changes.
    ///
    /// # Errors
    ///
    /// What is wrong with the first such file.
    pub fn reload(&self) -> Result<(), TlsError> {
        let mut seen = self.seen.lock();
        // Before they are read: what changes meanwhile is seen next time.
        let changes = self.changes();
        let read: Result<Vec<Read>, _> = self.all.iter().map(Listener::read).collect();
        *seen = changes;
        for (listener, read) in self.all.iter().zip(read?) {
            listener.take_over(read);
        }
        self.tell();
        Ok(())
    }

    /// Reads files anew when one has changed, until `shutdown`.
    pub async fn watch(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        if self.all.is_empty() {
            return;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = shutdown.changed() => return,
            }
            let me = Arc::clone(&self);
            // Files may lie on a slow disk.
            let looked = tokio::task::spawn_blocking(move || me.look()).await;
            if let Err(error) = looked {
                tracing::error!(%error, "the files of certificates cannot be looked at");
            }
        }
    }

    fn look(&self) {
        self.tell();
        if *self.seen.lock() == self.changes() {
            return;
        }
        match self.reload() {
            Ok(()) => tracing::info!("certificates have changed and were read anew"),
            Err(error) => tracing::error!(%error, "changed certificates are of no use, those of before stay"),
        }
    }

    fn changes(&self) -> Vec<(PathBuf, Option<SystemTime>)> {
        let changed = |file: &Path| std::fs::metadata(file).and_then(|data| data.modified()).ok();
        self.all.iter().flat_map(Listener::files).map(|file| (file.clone(), changed(&file))).collect()
    }

    fn tell(&self) {
        for listener in &self.all {
            self.expiry.tell(listener.name, &listener.certificates());
        }
    }
}

/// What an operator should hear of the files of `settings`: those that are of no use, as errors, and certificates that end soon.
///
/// # Errors
///
/// What is wrong with each listener's first file of no use, with the name of its section.
pub fn check(
    settings: &TlsSettings,
    now: time::OffsetDateTime,
) -> Result<Vec<(String, String)>, Vec<(String, TlsError)>> {
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for (name, listener) in settings.listeners() {
        let path = format!("tls.{name}");
        match Read::new(listener) {
            Ok(read) => {
                let doubts =
                    read.certificates().iter().filter_map(|certificate| super::expiry::doubt(certificate, now));
                warnings.extend(doubts.map(|doubt| (path.clone(), doubt)));
            }
            Err(error) => errors.push((path, error)),
        }
    }
    for (path, servers) in [("tls.nodes", &settings.nodes), ("tls.to_peers", &settings.to_peers)] {
        if let Err(error) = super::nodes::NodeTls::open(servers) {
            errors.push((path.to_owned(), error));
        }
    }
    if errors.is_empty() { Ok(warnings) } else { Err(errors) }
}
