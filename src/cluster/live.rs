//! What of the cluster's settings can be exchanged while it works.

use super::Cluster;
use crate::ledger::LedgerSettings;
use crate::moves::settings::RebalanceSettings;
use crate::nodes::health;
use crate::nodes::overload::OverloadSettings;
use crate::read;
use crate::read::settings::SearchSettings;
use crate::replicas::resilver::settings::ResilverSettings;
use crate::replicas::scrub::ScrubSettings;
use crate::settings::Secret;
use crate::write::settings::WriteSettings;

/// The sections of the file as they were read anew. How ties are broken and whether words are shared is in the nodes' settings and
/// documents: that stays as it was at the start, whatever `search` says.
#[derive(Debug, Clone)]
pub struct LiveSettings {
    pub node_key: Option<Secret>,
    pub search: SearchSettings,
    /// Whether other gateways were told how long reads take: then that stays, too.
    pub told_others: bool,
    pub overload: OverloadSettings,
    pub write: WriteSettings,
    pub rebalance: RebalanceSettings,
    pub resilver: ResilverSettings,
    pub scrub: ScrubSettings,
}

// === impl Cluster ===

impl Cluster {
    /// What begins from now on goes by these.
    pub fn exchange(&self, live: LiveSettings) {
        let LiveSettings { node_key, search, told_others, overload, write, rebalance, resilver, scrub } = live;
        let before = SearchSettings::clone(&self.reads.settings.get());
        let timeout = if told_others { before.timeout } else { search.timeout };
        let search = SearchSettings { timeout, tie_break: before.tie_break, words: before.words, ..search };
        // Before a read may take as long: who waits for the end of reads waits for it, too.
        self.nodes.allow_reads_of(read::longest(&search));
        health::stand_in(&self.nodes, search.zone.as_deref());
        self.reads.settings.set(search);
        self.nodes.show_key(node_key);
        self.nodes.overload.exchange(overload);
        let remembered = LedgerSettings { min_in_sync: write.min_in_sync, ..**self.ledger.settings.get() };
        self.ledger.settings.set(remembered);
        self.writes.settings.set(write);
        self.moves.settings.set(rebalance);
        self.replicas.copies.exchange(resilver);
        self.replicas.scrub.exchange(scrub);
    }
}
