//! What an operator sets of TLS.

use std::path::{Path, PathBuf};

use crate::settings::{FromSection, Section};

/// The section `tls`. A listener without certificates speaks plain HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    pub api: ListenerSettings,
    pub admin: ListenerSettings,
    pub metrics: ListenerSettings,
    /// Of other gateways.
    pub peers: ListenerSettings,
    pub nodes: NodeSettings,
    /// Other gateways whose `peer_url` begins with `https`.
    pub to_peers: NodeSettings,
}

/// Where a certificate and its private key are: PEM, the chain from the certificate itself upwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// The oldest version of TLS that a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

/// Whether clients must show a certificate that `client_ca_file` has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// One without a certificate is let in, one with a wrong one is not.
    Optional,
    Required,
}

/// One listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerSettings {
    /// The first serves clients that ask for no name, or for one that no certificate has.
    pub certificates: Vec<CertificateFiles>,
    pub min_version: MinVersion,
    pub client_auth: ClientAuth,
    pub client_ca_file: Option<PathBuf>,
}

/// Nodes whose url begins with `https`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// Who may have signed the nodes' certificates, instead of the authorities that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// What the gateway shows to nodes that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// The name that the nodes' certificates bear, where it is not the host of their url.
    pub server_name: Option<String>,
}

// === impl TlsSettings ===

impl TlsSettings {
    /// By name, as sections have them.
    pub(super) fn listeners(&self) -> [(&'static str, &ListenerSettings); 4] {
        [("api", &self.api), ("admin", &self.admin), ("metrics", &self.metrics), ("peers", &self.peers)]
    }

    /// Takes paths that are not absolute for paths below `folder`.
    pub fn relative_to(&mut self, folder: &Path) {
        let below = |file: &mut PathBuf| *file = folder.join(&*file);
        for listener in [&mut self.api, &mut self.admin, &mut self.metrics, &mut self.peers] {
            for files in &mut listener.certificates {
                below(&mut files.cert_file);
                below(&mut files.key_file);
            }
            listener.client_ca_file.iter_mut().for_each(below);
        }
        for servers in [&mut self.nodes, &mut self.to_peers] {
            servers.ca_file.iter_mut().for_each(below);
            if let Some(files) = &mut servers.certificate {
                below(&mut files.cert_file);
                below(&mut files.key_file);
            }
        }
    }
}

impl FromSection for TlsSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            api: section.read("api"),
            admin: section.read("admin"),
            metrics: section.read("metrics"),
            peers: section.read("peers"),
            nodes: section.read("nodes"),
            to_peers: section.read("to_peers"),
        }
    }
}

// === impl ListenerSettings ===

impl ListenerSettings {
    /// True if the listener speaks TLS at all.
    pub fn is_on(&self) -> bool {
        !self.certificates.is_empty()
    }
}

impl FromSection for ListenerSettings {
    fn read(section: &mut Section) -> Self {
        let versions = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
        let wishes =
            [("none", ClientAuth::None), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
        let read = Self {
            certificates: section.read_list("certificates"),
            min_version: section.choice("min_version", &versions, MinVersion::default()),
            client_auth: section.choice("client_auth", &wishes, ClientAuth::default()),
            client_ca_file: section.text("client_ca_file").map(PathBuf::from),
        };
        match (read.client_auth, &read.client_ca_file) {
            (ClientAuth::Optional | ClientAuth::Required, None) => {
                section.problem("client_ca_file", "missing: who signs the certificates of clients?");
            }
            (ClientAuth::None, Some(_)) => {
                section.problem("client_ca_file", "has no effect unless `client_auth` is `optional` or `required`");
            }
            (ClientAuth::None, None) | (ClientAuth::Optional | ClientAuth::Required, Some(_)) => {}
        }
        // An operator who asks for certificates of clients does not want plain HTTP.
        if !read.is_on() && (read.client_auth != ClientAuth::None || read.min_version != MinVersion::default()) {
            section.problem("certificates", "missing: without a certificate the listener speaks plain HTTP");
        }
        read
    }
}

// === impl CertificateFiles ===

impl FromSection for CertificateFiles {
    fn read(section: &mut Section) -> Self {
        Self {
            cert_file: PathBuf::from(section.required_text("cert_file")),
            key_file: PathBuf::from(section.required_text("key_file")),
        }
    }
}

// === impl NodeSettings ===

impl FromSection for NodeSettings {
    fn read(section: &mut Section) -> Self {
        let (ca_file, server_name) = (section.text("ca_file"), section.text("server_name"));
        let certificate = match (section.text("cert_file"), section.text("key_file")) {
            (Some(cert_file), Some(key_file)) => {
                Some(CertificateFiles { cert_file: cert_file.into(), key_file: key_file.into() })
            }
            (Some(_), None) => {
                section.problem("key_file", "missing: `cert_file` has a private key");
                None
            }
            (None, Some(_)) => {
                section.problem("cert_file", "missing: whose key is `key_file`?");
                None
            }
            (None, None) => None,
        };
        Self { ca_file: ca_file.map(PathBuf::from), certificate, server_name }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::settings::Report;

    fn problems(value: Value) -> Vec<String> {
        let report = Report::default();
        let mut section = Section::new("tls", value, &report);
        TlsSettings::read(&mut section);
        section.finish();
        report.into_parts().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let certificates = json!([{"cert_file": "a.crt", "key_file": "a.key"}]);
        assert_eq!(problems(json!({"api": {"certificates": certificates}})), [] as [String; 0]);
        for (value, path) in [
            (json!({"api": {"certificates": [{"cert_file": "a.crt"}]}}), "tls.api.certificates[0].key_file"),
            (json!({"api": {"certificates": certificates, "client_auth": "required"}}), "tls.api.client_ca_file"),
            (json!({"api": {"certificates": certificates, "client_ca_file": "ca"}}), "tls.api.client_ca_file"),
            (json!({"admin": {"client_auth": "required", "client_ca_file": "ca"}}), "tls.admin.certificates"),
            (json!({"metrics": {"min_version": "1.3"}}), "tls.metrics.certificates"),
            (json!({"metrics": {"certificates": certificates, "min_version": "1.1"}}), "tls.metrics.min_version"),
            (json!({"nodes": {"cert_file": "a.crt"}}), "tls.nodes.key_file"),
            (json!({"nodes": {"key_file": "a.key"}}), "tls.nodes.cert_file"),
        ] {
            let found = problems(value);
            assert_eq!(found.len(), 1, "{path}: {found:?}");
            assert!(found[0].starts_with(path), "{path}: {found:?}");
        }
    }
}
