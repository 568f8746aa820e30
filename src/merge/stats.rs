//! Figures of several nodes, each of which holds some replicas, as those of one node that holds every document once.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::meili::uid::IndexUid;
use crate::placement::vocabulary::{WORDS_FIELD, marked_field};
use crate::settings::unit::{self, Fraction};
use crate::split::document::RESERVED_PREFIX;

use super::error::MergeError;
use super::raw::{Members, elements};

const VECTORS: &str = "_vectors";

/// One node's figures about one index. What this version of Miroir does not know is kept as it came.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeStats {
    number_of_documents: u64,
    #[serde(default)]
    field_distribution: BTreeMap<String, u64>,
    #[serde(default)]
    is_indexing: bool,
}

/// The figures of an index that holds `documents` documents, out of those of the nodes. Counts of replicas are scaled
/// to counts of documents, which is exact where every document has the same number of replicas on these nodes; where it
/// has not, `counted` is how many documents have each field that documents show.
pub fn index(nodes: &[Value], documents: u64, counted: Option<&BTreeMap<String, u64>>) -> Result<Value, MergeError> {
    let parsed = nodes.iter().map(NodeStats::new).collect::<Result<Vec<NodeStats>, MergeError>>()?;
    let replicas: u64 = parsed.iter().map(|node| node.number_of_documents).sum();
    let Some(Value::Object(first)) = nodes.first() else { return Err(MergeError::Missing("a node's figures")) };
    let mut out = Map::new();
    for (name, value) in first {
        let sum = || nodes.iter().filter_map(|node| node.get(name)?.as_u64()).sum::<u64>();
        let merged = match name.as_str() {
            "numberOfDocuments" => documents.into(),
            "isIndexing" => parsed.iter().any(|node| node.is_indexing).into(),
            "fieldDistribution" => fields(&parsed, documents, replicas, counted),
            "avgDocumentSize" => average(nodes, &parsed, replicas).into(),
            "rawDocumentDbSize" | "numberOfEmbeddings" | "numberOfEmbeddedDocuments" => {
                scale(sum(), documents, replicas).into()
            }
            "internalDatabaseSizes" => sizes_by_name(nodes),
            _ => value.clone(),
        };
        out.insert(name.clone(), merged);
    }
    Ok(Value::Object(out))
}

/// The figures of all indexes: `indexes` as [`index`] made them; sizes are those of all nodes together.
pub fn all(nodes: &[Value], indexes: BTreeMap<String, Value>) -> Value {
    let sum = |name: &str| nodes.iter().filter_map(|node| node.get(name)?.as_u64()).sum::<u64>();
    let last_update = nodes.iter().filter_map(|node| node.get("lastUpdate")?.as_str()).max_by_key(|text| instant(text));
    let mut out = Map::new();
    out.insert("databaseSize".into(), sum("databaseSize").into());
    out.insert("usedDatabaseSize".into(), sum("usedDatabaseSize").into());
    // Without an index there is none: what a node then shows is that of Miroir's own.
    out.insert("lastUpdate".into(), last_update.filter(|_| !indexes.is_empty()).into());
    out.insert("indexes".into(), Value::Object(indexes.into_iter().collect()));
    Value::Object(out)
}

/// What the nodes' databases take, by their names, all nodes together.
fn sizes_by_name(nodes: &[Value]) -> Value {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for sizes in nodes.iter().filter_map(|node| node.get("internalDatabaseSizes")?.as_object()) {
        for (name, size) in sizes {
            *sums.entry(name).or_default() += size.as_u64().unwrap_or(0);
        }
    }
    Value::Object(sums.into_iter().map(|(name, sum)| (name.to_owned(), sum.into())).collect())
}

/// Writes the sizes of an index, or of all, as a person reads them: 28672 as `28 KiB`.
pub fn write_sizes_for_people(stats: &mut Value) {
    let Some(stats) = stats.as_object_mut() else { return };
    for (name, value) in stats {
        match name.as_str() {
            "databaseSize" | "usedDatabaseSize" | "rawDocumentDbSize" | "avgDocumentSize" => for_people(value),
            "internalDatabaseSizes" => {
                value.as_object_mut().into_iter().flatten().for_each(|(_, size)| for_people(size))
            }
            "indexes" => {
                value.as_object_mut().into_iter().flatten().for_each(|(_, index)| write_sizes_for_people(index));
            }
            _ => {}
        }
    }
}

fn for_people(size: &mut Value) {
    let Some(bytes) = size.as_u64() else { return };
    *size = unit::written(bytes, Fraction::UpToTwo).into();
}

/// Each index's figures, node by node, out of the nodes' answers to `GET /stats`.
pub fn by_index(nodes: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut indexes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for node in nodes {
        let held = node.get("indexes").and_then(Value::as_object).into_iter().flatten();
        for (index, stats) in held.filter(|(index, _)| !IndexUid::is_reserved(index)) {
            indexes.entry(index.clone()).or_default().push(stats.clone());
        }
    }
    indexes
}

/// All replicas of an index that the nodes count together.
pub fn replicas(nodes: &[Value]) -> u64 {
    let of_words = |node: &Value| node.get("fieldDistribution")?.get(WORDS_FIELD)?.as_u64();
    let documents = |node: &Value| {
        let all = node.get("numberOfDocuments")?.as_u64()?;
        Some(all.saturating_sub(of_words(node).unwrap_or(0)))
    };
    nodes.iter().filter_map(documents).sum()
}

// === impl NodeStats ===

impl NodeStats {
    /// Without documents of words, which say of each of their fields that they have it.
    fn new(node: &Value) -> Result<Self, MergeError> {
        let mut stats: Self = serde_json::from_value(node.clone())?;
        let fields = &mut stats.field_distribution;
        stats.number_of_documents =
            stats.number_of_documents.saturating_sub(fields.get(WORDS_FIELD).copied().unwrap_or(0));
        let marked: Vec<(String, u64)> =
            fields.iter().filter_map(|(name, count)| Some((marked_field(name)?.to_owned(), *count))).collect();
        for (field, of_words) in marked {
            let left = fields.get(&field).copied().unwrap_or(0).saturating_sub(of_words);
            if left == 0 {
                fields.remove(&field);
            } else {
                fields.insert(field, left);
            }
        }
        Ok(stats)
    }
}

/// How many of the documents in the reply to a request for documents have each field.
pub fn fields_of(reply: &[u8]) -> Result<BTreeMap<String, u64>, MergeError> {
    let page = Members::of_bytes(reply)?;
    let documents = page.get("results").ok_or(MergeError::Missing("results"))?;
    let mut counts = BTreeMap::new();
    for document in elements(documents.get())? {
        for (name, _) in Members::parse(document.get())?.0 {
            *counts.entry(name.into_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

fn fields(nodes: &[NodeStats], documents: u64, replicas: u64, counted: Option<&BTreeMap<String, u64>>) -> Value {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (field, count) in nodes.iter().flat_map(|node| &node.field_distribution) {
        *sums.entry(field).or_default() += count;
    }
    sums.retain(|field, _| !field.starts_with(RESERVED_PREFIX));
    let scaled = sums.into_iter().filter_map(|(field, count)| {
        let count = match counted {
            // Documents do not show their vectors unless they are asked for them.
            Some(counted) if field != VECTORS => *counted.get(field)?,
            Some(_) | None => scale(count, documents, replicas),
        };
        Some((field.to_owned(), count.into()))
    });
    Value::Object(scaled.collect())
}

fn average(raw: &[Value], nodes: &[NodeStats], replicas: u64) -> u64 {
    let sizes = raw.iter().zip(nodes).map(|(raw, node)| {
        let average = raw.get("avgDocumentSize").and_then(Value::as_u64).unwrap_or(0);
        u128::from(average) * u128::from(node.number_of_documents)
    });
    narrow(sizes.sum::<u128>().checked_div(u128::from(replicas)).unwrap_or(0))
}

/// `count` of `replicas` as so many of `documents`, to the nearest.
fn scale(count: u64, documents: u64, replicas: u64) -> u64 {
    let scaled = u128::from(count) * u128::from(documents) + u128::from(replicas) / 2;
    narrow(scaled.checked_div(u128::from(replicas)).unwrap_or(0))
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Seconds and nanoseconds of an RFC 3339 date; what is none is the earliest.
fn instant(text: &str) -> Option<i128> {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, format).ok().map(time::OffsetDateTime::unix_timestamp_nanos)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(documents: u64, size: u64) -> Value {
        json!({"numberOfDocuments": documents, "rawDocumentDbSize": documents * size, "avgDocumentSize": size,
            "isIndexing": documents == 3, "numberOfEmbeddings": 0,
            "fieldDistribution": {"id": documents, "_miroir_shard": documents}})
    }

    #[test]
    fn every_document_counts_once() {
        let merged = index(&[node(3, 100), node(4, 100), node(5, 100)], 6, None).unwrap();
        assert_eq!(
            merged,
            json!({"numberOfDocuments": 6, "rawDocumentDbSize": 600, "avgDocumentSize": 100, "isIndexing": true,
                "numberOfEmbeddings": 0, "fieldDistribution": {"id": 6}})
        );
    }

    #[test]
    fn fields_are_those_that_documents_show_where_replicas_are_uneven() {
        let reply = br#"{"results":[{"id":1,"a":null},{"id":2,"b":{"a":1}},{"id":3}],"offset":0,"limit":3,"total":3}"#;
        let counted = fields_of(reply).unwrap();
        let node =
            json!({"numberOfDocuments": 5, "fieldDistribution": {"id": 5, "a": 3, "b": 1, "gone": 1, "_vectors": 5}});
        let merged = index(&[node], 3, Some(&counted)).unwrap();
        assert_eq!(merged["fieldDistribution"], json!({"_vectors": 3, "a": 1, "b": 1, "id": 3}));
        assert!(fields_of(b"{}").is_err());
    }

    #[test]
    fn documents_of_words_do_not_count() {
        let with_words = json!({"numberOfDocuments": 9, "fieldDistribution": {
            "id": 9, "title": 7, "o.p": 2, "_miroir_shard": 9, "_miroir_written": 4, "_miroir_words": 5,
            "_miroir_words:id": 5, "_miroir_words:title": 3, "_miroir_words:o.p": 2}});
        assert_eq!(replicas(std::slice::from_ref(&with_words)), 4);
        let merged = index(&[with_words], 4, None).unwrap();
        assert_eq!(merged["fieldDistribution"], json!({"id": 4, "title": 4}));
    }

    #[test]
    fn an_empty_index_has_figures_too() {
        let merged = index(&[node(0, 0), node(0, 0)], 0, None).unwrap();
        assert_eq!(merged["avgDocumentSize"], json!(0));
        assert_eq!(merged["fieldDistribution"], json!({"id": 0}));
    }

    #[test]
    fn sizes_can_be_written_for_people() {
        let mut stats = json!({
            "databaseSize": 28672, "usedDatabaseSize": 0, "lastUpdate": null,
            "indexes": {"a": {
                "numberOfDocuments": 3000, "rawDocumentDbSize": 1_310_720, "avgDocumentSize": 1023,
                "internalDatabaseSizes": {"words": 1536},
            }},
        });
        write_sizes_for_people(&mut stats);
        assert_eq!(
            stats,
            json!({
                "databaseSize": "28 KiB", "usedDatabaseSize": "0 B", "lastUpdate": null,
                "indexes": {"a": {
                    "numberOfDocuments": 3000, "rawDocumentDbSize": "1.25 MiB", "avgDocumentSize": "1023 B",
                    "internalDatabaseSizes": {"words": "1.5 KiB"},
                }},
            })
        );
    }

    #[test]
    fn sizes_of_databases_are_added_up_by_their_names() {
        let node = |sizes: Value| json!({"numberOfDocuments": 1, "internalDatabaseSizes": sizes});
        let merged = index(&[node(json!({"a": 1, "b": 2})), node(json!({"b": 3}))], 1, None).unwrap();
        assert_eq!(merged["internalDatabaseSizes"], json!({"a": 1, "b": 5}));
    }

    #[test]
    fn sizes_are_those_of_all_nodes_and_the_last_update_is_the_latest() {
        let nodes = [
            json!({"databaseSize": 5, "usedDatabaseSize": 2, "lastUpdate": "2026-01-01T00:00:00.5Z", "indexes": {"a": node(1, 1)}}),
            json!({"databaseSize": 7, "usedDatabaseSize": 3, "lastUpdate": "2026-01-01T01:00:01+01:00", "indexes": {"a": node(2, 1)}}),
        ];
        let indexes = by_index(&nodes);
        assert_eq!(replicas(&indexes["a"]), 3);
        let merged = all(&nodes, BTreeMap::from([("a".to_owned(), json!({}))]));
        let want = json!({
            "databaseSize": 12, "usedDatabaseSize": 5, "lastUpdate": "2026-01-01T01:00:01+01:00", "indexes": {"a": {}},
        });
        assert_eq!(merged, want);
        // What nodes without an index of a client's show is of Miroir's own.
        assert_eq!(all(&nodes, BTreeMap::new())["lastUpdate"], Value::Null);
    }
}
