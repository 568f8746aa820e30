//! What documents of the index have that may be a slip for `_vectors`: asked only when a body is refused.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::rules::held;
use crate::nodes::client::Trace;
use crate::split::rules::{Checked, Meets};
use crate::split::slips::may_be_vectors;
use crate::write::part::Writes;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    field_distribution: BTreeMap<String, u64>,
}

/// Adds the documents of `index` to `fields`, which are those of a body: what each has that may be a slip, and in how many it stands.
/// Documents of the body that take the place of others, or are laid over them, count once; of a body with too many ids to be remembered
/// they count twice.
pub(super) async fn of_index(
    writes: &Writes,
    index: &str,
    meets: Meets,
    (body, primary_key): (&Checked, &str),
    fields: &mut BTreeMap<String, u64>,
    trace: &Trace,
) {
    let there = counted(writes, index, trace).await;
    if there.is_empty() {
        return;
    }
    let ids: Vec<&str> = body.ids.values().flatten().map(String::as_str).collect();
    let names: Vec<&str> = there.keys().map(String::as_str).collect();
    let before = held(writes, index, primary_key, (&ids, &names), trace).await.unwrap_or_default();
    for (name, count) in &there {
        *fields.entry(name.clone()).or_default() += count;
    }
    let again = |id: &str, field: &str| body.slips.iter().any(|slips| slips.id == id && slips.fields.contains(field));
    for (id, had) in &before {
        let goes = |field: &&String| meets == Meets::Replacing || again(id, field);
        for field in had.iter().filter(goes) {
            if let Some(count) = fields.get_mut(field) {
                *count = count.saturating_sub(1);
            }
        }
    }
    fields.retain(|_, count| *count > 0);
}

/// Of the nodes' own counts, in which each document stands as often as it has replicas.
async fn counted(writes: &Writes, index: &str, trace: &Trace) -> BTreeMap<String, u64> {
    let topology = writes.nodes.topology();
    let copies = topology.owners.first().map_or(1, Vec::len).max(1) as u64;
    let path = format!("/indexes/{index}/stats");
    let nodes = topology.indexes().map(|node| topology.node(node)).filter(|node| node.state.serves_reads());
    let asked = nodes.map(|node| writes.nodes.client.get_json::<Stats>(node, &path, trace));
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for stats in futures::future::join_all(asked).await.into_iter().flatten().flatten() {
        for (field, count) in stats.field_distribution.into_iter().filter(|(field, _)| may_be_vectors(field)) {
            *sums.entry(field).or_default() += count;
        }
    }
    sums.values_mut().for_each(|sum| *sum = sum.div_ceil(copies));
    sums.retain(|_, count| *count > 0);
    sums
}
