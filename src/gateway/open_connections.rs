//! How many connections clients have open: in all and from each address, as many as the operator allows.

use core::net::IpAddr;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// The connections of clients that are open.
pub struct OpenConnections {
    counts: Mutex<Counts>,
    open: IntGauge,
    refused: IntCounterVec,
}

/// An address is here for as long as it has a connection, so there are never more of them than connections.
#[derive(Default)]
struct Counts {
    open: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// An open connection. It counts for as long as this lives.
pub struct Place {
    of: Arc<OpenConnections>,
    address: Option<IpAddr>,
}

/// Why a connection is closed before anything of HTTP or TLS is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many are open as may be.
    Connections,
    /// As many are open from its address as may be.
    Address,
    /// Only proxies may connect, and this is none.
    NoProxy,
    /// It does not begin with a header of the PROXY protocol, or with a broken one.
    Header,
}

// === impl Refusal ===

impl Refusal {
    const ALL: [Self; 4] = [Self::Connections, Self::Address, Self::NoProxy, Self::Header];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "address",
            Self::NoProxy => "no_proxy",
            Self::Header => "header",
        }
    }
}

// === impl OpenConnections ===

impl OpenConnections {
    /// An error if one of the families is there already.
    pub fn register(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let open = IntGauge::new("miroir_connections_open", "Connections of clients that are open.")?;
        let opts = Opts::new(
            "miroir_connections_refused_total",
            "Connections of clients that were closed before anything was read of a request.",
        );
        let refused = IntCounterVec::new(opts, &["reason"])?;
        for reason in Refusal::ALL {
            refused.with_label_values(&[reason.as_str()]);
        }
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Arc::new(Self { counts: Mutex::default(), open, refused }))
    }

    /// Lets one more in where fewer than `most` are open; 0 is no bound.
    pub fn enter(self: &Arc<Self>, most: usize) -> Result<Place, Refusal> {
        let mut counts = self.counts.lock();
        if most > 0 && counts.open >= most {
            return Err(Refusal::Connections);
        }
        counts.open += 1;
        self.open.inc();
        Ok(Place { of: Arc::clone(self), address: None })
    }

    /// Counts one that was closed.
    pub fn refuse(&self, reason: Refusal) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
    }
}

// === impl Place ===

impl Place {
    /// Whose it is, once that is known: let in where that address has fewer than `most` open; 0 is no bound.
    pub fn take(&mut self, address: IpAddr, most: usize) -> Result<(), Refusal> {
        let address = address.to_canonical();
        let mut counts = self.of.counts.lock();
        let own = counts.by_address.entry(address).or_default();
        if most > 0 && *own >= most {
            return Err(Refusal::Address);
        }
        *own += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.counts.lock();
        counts.open -= 1;
        self.of.open.dec();
        if let Some(address) = self.address
            && let Entry::Occupied(mut own) = counts.by_address.entry(address)
        {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let open = OpenConnections::register(&Registry::new()).unwrap();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut first = open.enter(3).unwrap();
        first.take(one, 1).unwrap();
        let mut second = open.enter(3).unwrap();
        assert_eq!(second.take("::ffff:192.0.2.1".parse().unwrap(), 1), Err(Refusal::Address), "the same address");
        second.take(other, 1).unwrap();
        let third = open.enter(3).unwrap();
        assert_eq!(open.enter(3).err(), Some(Refusal::Connections));
        assert_eq!(open.open.get(), 3);
        drop(first);
        open.enter(3).unwrap().take(one, 1).unwrap();
        drop((second, third));
        assert_eq!(open.open.get(), 0);
        let counts = open.counts.lock();
        assert_eq!((counts.open, counts.by_address.len()), (0, 0));
    }

    /// However many addresses come, one after the other, only those of open connections are remembered.
    #[test]
    fn a_hundred_thousand_addresses_are_forgotten_with_their_connections() {
        let open = OpenConnections::register(&Registry::new()).unwrap();
        let mut kept = Vec::new();
        for number in 0..100_000_u32 {
            let mut place = open.enter(0).unwrap();
            place.take(IpAddr::V4(Ipv4Addr::from_bits(number)), 1).unwrap();
            if number % 1000 == 0 {
                kept.push(place);
            }
        }
        assert_eq!(open.counts.lock().by_address.len(), kept.len());
        assert!(open.counts.lock().by_address.capacity() < 1000);
    }
}
