//! What an operator sets about a gateway that is one of several, and about how it leaves.

use std::net::SocketAddr;
use std::time::Duration;

use crate::settings::{Section, unit};

/// The keys of the section `gateway` that concern its peers, and who sends requests to any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where other gateways are listened to, and at which URL they reach that; `None` for a gateway without peers.
    pub door: Option<DoorSettings>,
    /// How long a request waits for a leader.
    pub leader_wait: Duration,
    /// How long it goes on answering, and says that it is not ready, before it ends.
    pub drain: Duration,
}

/// Where peers come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorSettings {
    pub listen: SocketAddr,
    /// `http://host:port` or `https://host:port`.
    pub url: String,
}

// === impl PeerSettings ===

impl PeerSettings {
    /// The rest of the section is [`crate::store::settings::LeaderSettings`].
    pub fn of(section: &mut Section) -> Self {
        let listen = section.parsed("peer_listen", None, "an IP address and a port such as `0.0.0.0:7702`", |value| {
            value.as_str()?.parse().ok().map(Some)
        });
        let url = section.parsed("peer_url", None, "a URL such as `http://10.0.0.5:7702`", |value| {
            let text = value.as_str()?.trim_end_matches('/');
            crate::nodes::transport::Endpoint::parse(text).ok().map(|_| Some(text.to_owned()))
        });
        let door = match (listen, url) {
            (Some(listen), Some(url)) => Some(DoorSettings { listen, url }),
            (None, None) => None,
            (Some(_), None) => {
                section.problem("peer_url", "missing: at which URL do the others reach `peer_listen`?");
                None
            }
            (None, Some(_)) => {
                section.problem("peer_listen", "missing: where does this gateway listen for the others?");
                None
            }
        };
        let drain = section.parsed("drain", Duration::ZERO, "a duration such as `10s`, or `0s`", |value| {
            value.as_str().and_then(unit::duration)
        });
        Self { door, leader_wait: section.duration("leader_wait", Duration::from_secs(15)), drain }
    }
}
