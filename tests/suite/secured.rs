//! A listener of clients with a certificate, and connections to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// An authority and the files of a certificate that it has signed for `localhost`.
pub struct Secured {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

// === impl Secured ===

impl Secured {
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let secured = Self { authority, folder: folder.to_owned() };
        secured.renew();
        secured
    }

    /// Writes another certificate, with another key, over the one before.
    pub fn renew(&self) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.authority).expect("a certificate").pem();
        std::fs::write(self.folder.join("api.crt"), cert).expect("a file");
        std::fs::write(self.folder.join("api.key"), key.serialize_pem()).expect("a file");
    }

    /// Lines of a gateway's configuration.
    pub fn config(&self) -> String {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (cert, key) = (path("api.crt"), path("api.key"));
        format!("tls: {{ api: {{ certificates: [{{ cert_file: \"{cert}\", key_file: \"{key}\" }}] }} }}\n")
    }

    /// TLS over `tcp`, with these protocols offered.
    pub async fn over(&self, tcp: TcpStream, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).expect("a certificate");
        roots.add(root).expect("a root");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}
