//! A certificate with its private key, out of files.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::error::TlsError;
use super::settings::CertificateFiles;

/// A certificate that a listener can show.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub key: Arc<CertifiedKey>,
    /// The names that it is for, in small letters; one may begin with `*.`.
    pub names: Vec<String>,
    pub not_after: OffsetDateTime,
    /// What metrics and warnings call it: the file's name.
    pub label: String,
}

/// A chain and its key as they stand in the files.
pub(super) struct Pair {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

// === impl Certificate ===

impl Certificate {
    /// # Errors
    ///
    /// When a file cannot be read, holds nothing of use, or the key is another certificate's.
    pub fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let pair = Pair::read(files)?;
        let (names, not_after) = described(&files.cert_file, &pair.chain[0])?;
        let signer = rustls::crypto::ring::sign::any_supported_type(&pair.key)
            .map_err(|error| TlsError::invalid(&files.key_file, error))?;
        let key = CertifiedKey::new(pair.chain, signer);
        key.keys_match().map_err(|_| {
            TlsError::invalid(&files.key_file, format!("not the key of `{}`", files.cert_file.display()))
        })?;
        Ok(Self { key: Arc::new(key), names, not_after, label: files.cert_file.display().to_string() })
    }

    /// True when the certificate is for the host `name`. `*.example.org` is for `a.example.org`, and neither for
    /// `example.org` nor for `a.b.example.org`.
    pub fn is_for(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.names.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
            None => *pattern == name,
        })
    }
}

// === impl Pair ===

impl Pair {
    /// The chain as the file has it, its own certificate first; whether the key fits is not checked here.
    pub fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.cert_file)?;
        let text = bytes(&files.key_file)?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| TlsError::Missing { file: files.key_file.clone(), what: "private key" })?;
        Ok(Self { chain, key })
    }
}

/// All certificates of a file, at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = bytes(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|error| TlsError::invalid(file, error))?;
    if read.is_empty() {
        return Err(TlsError::Missing { file: file.to_owned(), what: "certificate" });
    }
    for certificate in &read {
        described(file, certificate)?;
    }
    Ok(read)
}

fn bytes(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.to_owned(), source })
}

/// The names in a certificate, and until when it is good.
fn described(file: &Path, certificate: &CertificateDer<'_>) -> Result<(Vec<String>, OffsetDateTime), TlsError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| TlsError::invalid(file, error))?;
    let not_after = OffsetDateTime::from_unix_timestamp(parsed.validity().not_after.timestamp())
        .map_err(|error| TlsError::invalid(file, error))?;
    let alternatives = parsed.subject_alternative_name().map_err(|error| TlsError::invalid(file, error))?;
    let names = alternatives.iter().flat_map(|found| &found.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok((names.collect(), not_after))
}
