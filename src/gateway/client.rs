//! Who is calling, where proxies stand between.

use core::net::IpAddr;

use http::HeaderMap;

use crate::rules::network::Network;
use crate::settings::{FromSection, Section};

/// The section `trusted_proxies`: which of those who pass a request on are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    /// How many proxies every request passes; what is further away is what a client says of itself.
    hops: usize,
    /// Where proxies stand.
    networks: Vec<Network>,
    header: Forwarding,
    /// Whether connections of proxies begin with whom they are for.
    pub(super) proxy_protocol: ProxyProtocol,
}

/// Whether the listener of clients speaks the PROXY protocol, with proxies in the trusted networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyProtocol {
    Off,
    /// Only proxies may connect, and each connection begins with a header.
    Required,
    /// A connection of a proxy may begin with a header. Nobody else's is looked at for one.
    Optional,
}

/// Where a proxy says whom a request is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forwarding {
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// More are not looked at: nobody has as many proxies.
const MOST: usize = 64;

// === impl TrustedProxies ===

impl FromSection for TrustedProxies {
    fn read(section: &mut Section) -> Self {
        let choices = [("x-forwarded-for", Forwarding::XForwardedFor), ("forwarded", Forwarding::Forwarded)];
        let protocols =
            [("off", ProxyProtocol::Off), ("required", ProxyProtocol::Required), ("optional", ProxyProtocol::Optional)];
        let read = Self {
            hops: section.integer("hops", 0..=16, 0),
            networks: section.parsed("networks", Vec::new(), "networks such as `10.0.0.0/8`", |value| {
                value.as_array()?.iter().map(|network| network.as_str()?.parse().ok()).collect()
            }),
            header: section.choice("header", &choices, Forwarding::XForwardedFor),
            proxy_protocol: section.choice("proxy_protocol", &protocols, ProxyProtocol::Off),
        };
        if read.proxy_protocol != ProxyProtocol::Off && read.networks.is_empty() {
            section.problem("proxy_protocol", "`networks` has to say whose word is taken");
        }
        if read.hops > 0 && !read.networks.is_empty() {
            section.problem("networks", "proxies are trusted either by `hops` or by `networks`");
        }
        read
    }
}

impl TrustedProxies {
    /// The address of the client of a request that came from `peer`. Of several headers the last word is that of the proxy next to
    /// us, so they are read from their end; what cannot be read there ends the way back.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.hops == 0 && self.networks.is_empty() {
            return peer;
        }
        let mut client = peer.to_canonical();
        let mut hops = self.hops;
        for said in self.said(headers) {
            let is_proxy = hops > 0 || self.networks.iter().any(|network| network.contains(client));
            let Some(said) = said.filter(|_| is_proxy) else { break };
            hops = hops.saturating_sub(1);
            client = said.to_canonical();
        }
        client
    }

    /// True for the address of a proxy, which asks for many clients.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.hops > 0 || self.networks.iter().any(|network| network.contains(address))
    }

    /// Whom the proxies name, the last first; `None` for what is no address.
    fn said<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + use<'h> {
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            Forwarding::XForwardedFor => ("x-forwarded-for", address),
            Forwarding::Forwarded => ("forwarded", of_forwarded),
        };
        let lines = headers.get_all(name).iter().rev();
        lines
            .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
            .take(MOST)
            .map(move |item| read(item.trim()))
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        return address.parse().ok().filter(|_| is_port);
    }
    let (address, port) = text.split_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse().ok()
}

/// `for=192.0.2.1;proto=https;by=...`, `for="[2001:db8::1]:4711"`; no address in `for=unknown` and `for=_hidden`.
fn of_forwarded(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    address(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::settings::Report;

    fn client(trusted: Value, peer: &str, headers: &[(&'static str, &str)]) -> String {
        let report = Report::default();
        let trusted = TrustedProxies::read(&mut Section::new("trusted_proxies", trusted, &report));
        assert!(report.into_parts().0.is_empty());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        trusted.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_it_is_said() {
        assert_eq!(client(json!({}), "192.0.2.9", &[("x-forwarded-for", "10.0.0.1")]), "192.0.2.9");
    }

    #[test]
    fn what_a_client_says_of_itself_is_beyond_the_proxies() {
        let forged = [("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.2")];
        for (trusted, expected) in [
            (json!({"hops": 1}), "10.0.0.2"),
            (json!({"hops": 2}), "203.0.113.7"),
            (json!({"networks": ["10.0.0.0/8"]}), "203.0.113.7"),
            (json!({"networks": ["192.0.2.0/24"]}), "10.0.0.9"),
        ] {
            assert_eq!(client(trusted.clone(), "10.0.0.9", &forged), expected, "{trusted}");
        }
        let lines =
            [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(json!({"networks": ["10.0.0.0/8"]}), "10.0.0.9", &lines), "203.0.113.7");
        assert_eq!(client(json!({"hops": 9}), "10.0.0.9", &lines), "1.1.1.1", "fewer proxies than hops");
        assert_eq!(client(json!({"networks": ["0.0.0.0/0"]}), "10.0.0.9", &lines), "1.1.1.1");
    }

    #[test]
    fn what_is_no_address_ends_the_way_back() {
        let networks = json!({"networks": ["10.0.0.0/8", "2001:db8::/32"]});
        for (said, expected) in [
            ("203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
            ("", "10.0.0.9"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8::1]:80, 10.0.0.2", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:port", "10.0.0.9"),
        ] {
            assert_eq!(client(networks.clone(), "10.0.0.9", &[("x-forwarded-for", said)]), expected, "{said}");
        }
    }

    #[test]
    fn the_standard_header_is_read_where_it_is_named() {
        let trusted = json!({"networks": ["10.0.0.0/8"], "header": "forwarded"});
        let ask =
            |said: &str| client(trusted.clone(), "10.0.0.9", &[("forwarded", said), ("x-forwarded-for", "9.9.9.9")]);
        assert_eq!(ask("for=1.1.1.1, For=\"[2001:db8::1]:4711\";proto=https, proto=http;for=10.0.0.2"), "2001:db8::1");
        assert_eq!(ask("for=_hidden"), "10.0.0.9");
        assert_eq!(ask("by=10.0.0.1"), "10.0.0.9");
    }

    #[test]
    fn proxies_are_trusted_by_one_of_both() {
        let report = Report::default();
        let both = json!({"hops": 1, "networks": ["10.0.0.0/8"]});
        TrustedProxies::read(&mut Section::new("trusted_proxies", both, &report));
        assert_eq!(report.into_parts().0.len(), 1);
    }

    #[test]
    fn the_proxy_protocol_is_spoken_with_networks_that_are_named() {
        for (trusted, problems) in [
            (json!({"proxy_protocol": "required"}), 1),
            (json!({"proxy_protocol": "optional", "hops": 1}), 1),
            (json!({"proxy_protocol": "v2"}), 1),
            (json!({"proxy_protocol": "required", "networks": ["10.0.0.0/8"]}), 0),
            (json!({"proxy_protocol": "off"}), 0),
        ] {
            let report = Report::default();
            TrustedProxies::read(&mut Section::new("trusted_proxies", trusted.clone(), &report));
            assert_eq!(report.into_parts().0.len(), problems, "{trusted}");
        }
    }
}
