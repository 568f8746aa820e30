//! One listener's certificates.

use pingora::protocols::ALPN;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::CipherSuite;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::clients::{Clients, Verifier};
use super::error::TlsError;
use super::settings::{CertificateFiles, ClientAuth, ListenerSettings, MinVersion};

/// A listener that speaks TLS.
#[derive(Debug)]
pub(super) struct Listener {
    pub name: &'static str,
    settings: ListenerSettings,
    resolver: Arc<Resolver>,
    clients: Option<Arc<Clients>>,
}

/// What was read of a listener's files, not taken over yet.
pub(super) struct Read {
    certificates: Vec<Certificate>,
    verifier: Option<Verifier>,
}

/// Chooses the certificate for a connection.
#[derive(Debug)]
pub(super) struct Resolver {
    certificates: ArcSwap<Vec<Certificate>>,
    min_version: MinVersion,
}

// === impl Read ===

impl Read {
    /// Reads all its files; the first that cannot be used is the error.
    pub fn new(settings: &ListenerSettings) -> Result<Self, TlsError> {
        let certificates: Result<Vec<_>, _> = settings.certificates.iter().map(Certificate::read).collect();
        let verifier = match (settings.client_auth, &settings.client_ca_file) {
            (ClientAuth::None, _) | (_, None) => None,
            (auth, Some(file)) => Some(Verifier::read(file, auth)?),
        };
        Ok(Self { certificates: certificates?, verifier })
    }

    /// In the order of the settings.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }
}

// === impl Listener ===

impl Listener {
    /// An error names the file that cannot be used.
    pub fn new(name: &'static str, settings: ListenerSettings) -> Result<Self, TlsError> {
        let read = Read::new(&settings)?;
        let resolver =
            Resolver { certificates: ArcSwap::from_pointee(read.certificates), min_version: settings.min_version };
        let clients = read.verifier.map(|verifier| Arc::new(Clients::new(verifier, settings.client_auth)));
        Ok(Self { name, settings, resolver: Arc::new(resolver), clients })
    }

    /// Reads the files anew and changes nothing.
    pub fn read(&self) -> Result<Read, TlsError> {
        Read::new(&self.settings)
    }

    /// Connections from now on go by `read`.
    pub fn take_over(&self, read: Read) {
        self.resolver.certificates.store(Arc::new(read.certificates));
        if let (Some(clients), Some(verifier)) = (&self.clients, read.verifier) {
            clients.set(verifier);
        }
    }

    /// Those that new connections are shown.
    pub fn certificates(&self) -> Arc<Vec<Certificate>> {
        self.resolver.certificates.load_full()
    }

    /// All whose change matters: certificates, keys, and the authorities of clients.
    pub fn files(&self) -> Vec<PathBuf> {
        let of = |files: &CertificateFiles| [files.cert_file.clone(), files.key_file.clone()];
        self.settings.certificates.iter().flat_map(of).chain(self.settings.client_ca_file.clone()).collect()
    }

    /// What Pingora listens with; `offered` names the versions of HTTP.
    pub fn pingora(&self, offered: ALPN) -> pingora::Result<pingora::listeners::tls::TlsSettings> {
        let mut tls = pingora::listeners::tls::TlsSettings::intermediate("", "")?;
        tls.set_alpn(offered);
        tls.set_cert_resolver(Arc::clone(&self.resolver) as Arc<dyn ResolvesServerCert>);
        if let Some(clients) = &self.clients {
            tls.set_client_cert_verifier(Arc::clone(clients) as _);
        }
        Ok(tls)
    }
}

// === impl Resolver ===

impl Resolver {
    /// The certificate for `name`: the first that is for it, else the first of all.
    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.load();
        let fitting = name.and_then(|name| certificates.iter().find(|certificate| certificate.is_for(name)));
        fitting.or(certificates.first()).map(|certificate| Arc::clone(&certificate.key))
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The listener speaks 1.2 and 1.3 and takes the newest that the client knows; one that knows no suite of 1.3 is turned away.
        let knows_13 = hello.cipher_suites().iter().any(is_of_13);
        if self.min_version == MinVersion::Tls13 && !knows_13 {
            return None;
        }
        self.choose(hello.server_name())
    }
}

fn is_of_13(suite: &CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    )
}
