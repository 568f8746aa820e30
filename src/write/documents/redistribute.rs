//! Shares collected documents out anew, when shards got other owners between the reading of a body and its place in the
//! order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collect::spool_failed;
use super::payloads::{Part, Payloads};
use crate::meili::error::{Code, ResponseError};
use crate::nodes::overload::spool_budget::SpoolBudget;
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, Topology};
use crate::placement::vocabulary::WORDS_END;
use crate::split::document::HiddenFields;
use crate::write::settings::WriteSettings;

/// The parts of `from`'s owners as parts for those of `to`. Each shard is read from one of its owners' parts, so the
/// documents of one id keep their order.
pub(super) async fn redistribute(
    parts: &[Part],
    from: &Topology,
    to: &Topology,
    settings: &WriteSettings,
    budget: &Arc<SpoolBudget>,
) -> Result<Vec<Part>, ResponseError> {
    let chosen = sources(parts, from);
    let fields = HiddenFields::shared(to.shards);
    let mut payloads = Payloads::new(to, settings);
    payloads.within(budget);
    let mut line = Vec::new();
    for part in parts {
        let Some(wanted) = chosen.get(&part.node) else { continue };
        let mut reader = part.spool.reader();
        while let Some(chunk) = reader.next().await.map_err(|error| spool_failed(&error))? {
            for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if !piece.ends_with(b"\n") {
                    continue;
                }
                // Documents of words are for all nodes, and sent anew.
                if line.ends_with(WORDS_END.as_bytes()) {
                    line.clear();
                    continue;
                }
                let unmarked = || ResponseError::new(Code::Internal, "A collected document has no shard.");
                let shard = fields.shard_of(&line).ok_or_else(unmarked)?;
                if wanted.contains(shard) {
                    payloads.append(to.owners_of(shard), shard, &line);
                }
                line.clear();
            }
            payloads.spill().await.map_err(|error| spool_failed(&error))?;
        }
    }
    payloads.finish().await.map_err(|error| spool_failed(&error))
}

/// Which node's parts each shard is read from.
fn sources(parts: &[Part], topology: &Topology) -> BTreeMap<NodeIx, ShardSet> {
    let mut sources: BTreeMap<NodeIx, ShardSet> = BTreeMap::new();
    for part in parts {
        for shard in part.shards.iter().filter(|shard| topology.owners_of(*shard).first() == Some(&part.node)) {
            sources.entry(part.node).or_default().insert(shard);
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::collect::{Collector, Source};
    use super::super::tests::topology;
    use super::*;
    use crate::placement::written::WRITTEN_FIELD;
    use crate::settings::FromSection as _;
    use crate::split::PayloadFormat;
    use crate::write::body::WholeBody;
    use crate::write::order::Batches;

    async fn collect(topology: &Topology, body: &str, settings: &WriteSettings) -> Vec<Part> {
        let mut body = WholeBody::new(Bytes::copy_from_slice(body.as_bytes()));
        let batches = Batches::default();
        let collector = Collector::new(topology, settings, &batches, "id".to_owned());
        collector.read(Source::Body(&mut body), PayloadFormat::Ndjson).await.unwrap().unwrap().parts
    }

    /// The lines for each node, by shard: between shards their order does not matter. When each reading wrote is left out.
    async fn lines(parts: &[Part], shards: u16) -> BTreeMap<(NodeIx, u16), Vec<String>> {
        let fields = HiddenFields::new(shards);
        let mut found: BTreeMap<(NodeIx, u16), Vec<String>> = BTreeMap::new();
        for part in parts {
            let mut reader = part.spool.reader();
            let mut bytes = Vec::new();
            while let Some(chunk) = reader.next().await.unwrap() {
                bytes.extend_from_slice(&chunk);
            }
            for line in String::from_utf8(bytes).unwrap().lines() {
                let shard = fields.shard_of(line.as_bytes()).unwrap();
                assert!(part.shards.contains(shard));
                let (document, _) = line.split_once(WRITTEN_FIELD).unwrap();
                found.entry((part.node, shard.0)).or_default().push(document.to_owned());
            }
        }
        found
    }

    #[tokio::test]
    async fn documents_that_are_shared_out_anew_are_as_if_read_by_the_new_owners() {
        let settings = WriteSettings { spool_memory: 1000, max_payload_size: 5000, ..WriteSettings::defaults() };
        let budget = SpoolBudget::new(1 << 20, 1 << 30, prometheus::IntGauge::new("spooled", "bytes").unwrap());
        let body: String = (0..600).map(|n| format!("{{\"id\": {}, \"n\": {n}, \"t\": \"ü{{\"}}\n", n % 250)).collect();
        for (before, after) in
            [(topology(3, 2), topology(4, 2)), (topology(4, 2), topology(3, 1)), (topology(3, 1), topology(3, 3))]
        {
            let old = collect(&before, &body, &settings).await;
            let fresh = collect(&after, &body, &settings).await;
            let moved = redistribute(&old, &before, &after, &settings, &budget).await.unwrap();
            assert_eq!(lines(&moved, 64).await, lines(&fresh, 64).await);
        }
    }
}
