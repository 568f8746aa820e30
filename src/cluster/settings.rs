//! What an operator sets of the cluster: the settings of all rooms.

use crate::dumps::settings::DumpSettings;
use crate::moves::settings::RebalanceSettings;
use crate::nodes::credentials::Credentials;
use crate::nodes::health::settings::HealthSettings;
use crate::nodes::overload::OverloadSettings;
#[cfg(test)]
use crate::nodes::transport::KEEPALIVE_POOL_SIZE;
use crate::placement::settings::PlacementSettings;
use crate::read::settings::SearchSettings;
use crate::replicas::resilver::settings::ResilverSettings;
use crate::replicas::scrub::ScrubSettings;
#[cfg(test)]
use crate::settings::FromSection as _;
use crate::write::settings::WriteSettings;

/// All that [`super::Cluster::start`] needs; the sections of the file as `config` reads them.
#[derive(Clone)]
pub struct ClusterSettings {
    pub placement: PlacementSettings,
    pub health: HealthSettings,
    pub write: WriteSettings,
    pub search: SearchSettings,
    /// Bytes of all replies of nodes that reads keep.
    pub kept_replies: u64,
    pub rebalance: RebalanceSettings,
    pub overload: OverloadSettings,
    pub resilver: ResilverSettings,
    pub scrub: ScrubSettings,
    pub dumps: DumpSettings,
    pub credentials: Credentials,
    /// How many idle connections to nodes are kept, over all of them.
    pub keepalive_pool_size: usize,
}

// === impl ClusterSettings ===

#[cfg(test)]
impl ClusterSettings {
    /// Defaults around `placement`, as a minimal configuration has them.
    pub fn new(placement: PlacementSettings) -> Self {
        Self {
            placement,
            health: HealthSettings::defaults(),
            write: WriteSettings::defaults(),
            search: SearchSettings::defaults(),
            kept_replies: 0,
            rebalance: RebalanceSettings::defaults(),
            overload: OverloadSettings::defaults(),
            resilver: ResilverSettings::defaults(),
            scrub: ScrubSettings::defaults(),
            dumps: DumpSettings::defaults(),
            credentials: Credentials::default(),
            keepalive_pool_size: KEEPALIVE_POOL_SIZE,
        }
    }
}
