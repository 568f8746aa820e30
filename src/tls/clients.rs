//! Certificates of clients. Who may sign them can change while the listener runs.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::certificate::certificates;
use super::error::TlsError;
use super::settings::ClientAuth;

/// Asks the verifier of the moment.
#[derive(Debug)]
pub(super) struct Clients {
    current: ArcSwap<Verifier>,
    mandatory: bool,
}

/// A swap holds sized values only.
#[derive(Debug)]
pub(super) struct Verifier(Arc<dyn ClientCertVerifier>);

// === impl Verifier ===

impl Verifier {
    /// A client's certificate must be by one of the authorities in `ca_file`; `auth` says whether it needs one.
    pub fn read(ca_file: &Path, auth: ClientAuth) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca_file)? {
            roots.add(certificate).map_err(|error| TlsError::invalid(ca_file, error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match auth {
            ClientAuth::None | ClientAuth::Optional => builder.allow_unauthenticated(),
            ClientAuth::Required => builder,
        };
        builder.build().map(Self).map_err(|error| TlsError::invalid(ca_file, error))
    }
}

// === impl Clients ===

impl Clients {
    /// Whether a certificate is mandatory stays as it is when the authorities change.
    pub fn new(verifier: Verifier, auth: ClientAuth) -> Self {
        Self { current: ArcSwap::from_pointee(verifier), mandatory: auth == ClientAuth::Required }
    }

    /// Connections that are there already stay.
    pub fn set(&self, verifier: Verifier) {
        self.current.store(Arc::new(verifier));
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// No hints: they would have to live as long as this, and those that change do not.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.current.load().0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().0.supported_verify_schemes()
    }
}
