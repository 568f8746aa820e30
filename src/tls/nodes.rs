//! Connections to nodes whose url begins with `https`.

use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use super::certificate::{Pair, certificates};
use super::error::TlsError;
use super::settings::NodeSettings;

/// What every connection to a node is made with: subrequests, what is passed through, probes.
#[derive(Default, Clone)]
pub struct NodeTls {
    ca: Option<Arc<CaType>>,
    identity: Option<Arc<CertKey>>,
    server_name: Option<String>,
}

// === impl NodeTls ===

impl NodeTls {
    /// # Errors
    ///
    /// When a file is of no use.
    pub fn open(settings: &NodeSettings) -> Result<Self, TlsError> {
        let ca = settings.ca_file.as_deref().map(certificates).transpose()?.map(|authorities| {
            let wrapped = authorities.into_iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509));
            wrapped.collect::<Vec<_>>().into()
        });
        let identity = match &settings.certificate {
            None => None,
            Some(files) => {
                // Checked as a listener's are: Pingora would break down over a key of no use.
                super::certificate::Certificate::read(files)?;
                let pair = Pair::read(files)?;
                let chain = pair.chain.iter().map(|der| der.to_vec()).collect();
                Some(Arc::new(CertKey::new(chain, pair.key.secret_der().to_vec())))
            }
        };
        Ok(Self { ca, identity, server_name: settings.server_name.clone() })
    }

    /// What `peer`, made from a node's url, is asked for and shown.
    pub fn apply(&self, peer: &mut HttpPeer) {
        if !peer.is_tls() {
            return;
        }
        peer.options.ca = self.ca.clone();
        peer.client_cert_key = self.identity.clone();
        if let Some(name) = &self.server_name {
            peer.sni = name.clone();
        }
    }
}
