//! What a connection of a client passes before anything of TLS or HTTP is read: how many there are already, and whom a proxy names.

use core::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::listeners::PreTlsProcess;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream as Tcp;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{GetProxyDigest as _, GetSocketDigest as _, SocketDigest, UniqueID as _};
use pingora::{Error, ErrorType};

use super::client::ProxyProtocol;
use super::open_connections::{OpenConnections, Place, Refusal};
use super::proxy_protocol::{self, Header, HeaderError};
use super::serving::Serving;

/// The way in for connections of clients. Both bounds and whom to believe are those of the moment.
pub struct Entry {
    serving: Arc<Serving>,
    open: Arc<OpenConnections>,
}

/// Why one is not let in.
#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error("{}", .0.as_str())]
    Refused(Refusal),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("no header of the PROXY protocol")]
    NoHeader,
    #[error("no header of the PROXY protocol in time")]
    Late,
}

// === impl Entry ===

impl Entry {
    /// Goes by what the app in `serving` is set to.
    pub fn new(serving: Arc<Serving>, open: Arc<OpenConnections>) -> Self {
        Self { serving, open }
    }

    async fn admit(&self, stream: &mut Tcp) -> Result<Place, EntryError> {
        let settings = Arc::clone(&self.serving.app().settings());
        let (limits, trusted) = (&settings.limits, &settings.trusted_proxies);
        let mut place = self.open.enter(limits.connections)?;
        let digest = stream.get_socket_digest();
        let peer = digest.as_ref().and_then(|digest| digest.peer_addr()?.as_inet()).map(|address| address.ip());
        let is_proxy = peer.is_some_and(|peer| trusted.is_proxy(peer));
        let named = match (trusted.proxy_protocol, is_proxy) {
            (ProxyProtocol::Off, _) | (ProxyProtocol::Optional, false) => None,
            (ProxyProtocol::Required, false) => return Err(Refusal::NoProxy.into()),
            (ProxyProtocol::Required | ProxyProtocol::Optional, true) => {
                let header = tokio::time::timeout(limits.client_timeout, proxy_protocol::read(stream)).await;
                match header.map_err(|_late| EntryError::Late)?? {
                    Header::Of(address) => Some(address),
                    Header::Own => None,
                    Header::Absent(_) if trusted.proxy_protocol == ProxyProtocol::Required => {
                        return Err(EntryError::NoHeader);
                    }
                    Header::Absent(read) => {
                        stream.rewind(&read);
                        None
                    }
                }
            }
        };
        if let Some(address) = named {
            let digest = SocketDigest::from_raw_fd(stream.id());
            // Nobody else has seen it yet, so it is empty.
            let _ = digest.peer_addr.set(Some(SocketAddr::Inet(address)));
            stream.set_socket_digest(digest);
        }
        // A proxy has the connections of many clients.
        let client: Option<IpAddr> = named.map(|address| address.ip()).or(peer);
        if let Some(client) = client.filter(|client| !trusted.is_proxy(*client)) {
            place.take(client, limits.connections_per_address)?;
        }
        Ok(place)
    }
}

impl EntryError {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => *refusal,
            Self::Header(_) | Self::NoHeader | Self::Late => Refusal::Header,
        }
    }
}

impl From<Refusal> for EntryError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[async_trait]
impl PreTlsProcess for Entry {
    async fn process(&self, stream: &mut Tcp) -> pingora::Result<()> {
        match self.admit(stream).await {
            Ok(place) => {
                // Pingora keeps it with the connection, and drops it with it.
                let kept = ProxyDigest::new(Box::new(ResponseHeader::build(200, None)?), Some(Box::new(place)));
                stream.set_proxy_digest(kept);
                Ok(())
            }
            Err(error) => {
                self.open.refuse(error.refusal());
                tracing::debug!(%error, "a connection is closed");
                Err(Error::explain(ErrorType::AcceptError, error.to_string()))
            }
        }
    }
}
