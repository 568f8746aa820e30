//! Nodes that have more of a page than their likely share are asked for all of it that they have.

use bytes::Bytes;

use super::gather::{Gathered, Nodes, Wanted, gather_again};
use super::reader::{Reader, Stop};
use super::readings::Readings;
use crate::placement::cover::CoverPart;
use crate::placement::shard::ShardSet;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;
use crate::plan::span::Span;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// The replies with whole lists in the place of the `narrow` ones. A whole list is of one moment, which a list and its
    /// remainder would not be. What was out of sight may show that others are too narrow as well; then all are asked, so that
    /// two rounds are the most.
    pub(super) async fn widened(
        &self,
        plan: &SearchPlan,
        seed: u64,
        (mut gathered, spans): (Gathered, Vec<Span>),
        (narrow, readings): (&[usize], &Readings),
    ) -> Result<(Gathered, Vec<Span>), Stop> {
        self.note(Later::LargerShare);
        let is_second = spans.contains(&Span::UpToTheEnd);
        let mut kept = Vec::with_capacity(gathered.replies.len());
        let mut parts: Vec<CoverPart> = Vec::new();
        for (at, (reply, span)) in gathered.replies.into_iter().zip(spans).enumerate() {
            if narrow.contains(&at) || is_second && span != Span::UpToTheEnd {
                parts.push(reply.0);
            } else {
                kept.push((reply, span));
            }
        }
        let mut wanted = ShardSet::new();
        parts.iter().for_each(|part| wanted.union_with(&part.shards));
        let shards = self.topology.shards;
        let wanted = Wanted { index: &plan.index, shards: &wanted, seed };
        let request = |part: &CoverPart, _| plan.request(part, shards, false);
        let readable = |body: &Bytes| readings.judge(body);
        let more = gather_again(self.nodes, self.topology, wanted, parts, &request, &readable).await?;
        kept.extend(more.replies.into_iter().map(|reply| (reply, Span::UpToTheEnd)));
        kept.sort_by_key(|((part, _), _)| part.node);
        let (replies, spans) = kept.into_iter().unzip();
        gathered.missing.union_with(&more.missing);
        gathered.late.union_with(&more.late);
        let gathered = Gathered { replies, overloaded: gathered.overloaded || more.overloaded, ..gathered };
        self.complete(&gathered)?;
        Ok((gathered, spans))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::meili::operation::Read;
    use crate::placement::shard::{ShardId, shard_value};
    use crate::placement::topology::{NodeIx, Topology};
    use crate::plan::index_info::IndexInfo;
    use crate::plan::scatter::NodeRequest;
    use crate::plan::{Plan, read};
    use crate::read::gather::tests::{FakeNodes, broken, topology};
    use crate::read::settings::UnavailableShards;
    use crate::read::tests::run;

    /// A document's rank, the less the better, and its shard; its place among all is that in which it was written.
    type Docs = Vec<(u8, u16)>;

    /// A node as the engine would list its documents: by rank, then in the order of writes.
    fn listed(docs: &Docs, at: NodeIx, request: &NodeRequest, topology: &Topology) -> String {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let filter = body["filter"].to_string();
        let asked = |shard: u16| {
            let value = shard_value(ShardId(shard), topology.shards);
            let named = !filter.contains(" IN ") || filter.contains(&value) != filter.contains("NOT ");
            named && topology.shards_of(at).contains(ShardId(shard))
        };
        let mut held: Vec<usize> = (0..docs.len()).filter(|place| asked(docs[*place].1)).collect();
        held.sort_by_key(|place| (docs[*place].0, *place));
        let count = |name: &str, default| body[name].as_u64().unwrap_or(default) as usize;
        let (skip, take) = match body.get("page") {
            Some(page) => ((page.as_u64().unwrap() as usize - 1) * count("hitsPerPage", 20), count("hitsPerPage", 20)),
            None => (count("offset", 0), count("limit", 20)),
        };
        let hits = held.iter().skip(skip).take(take).map(|place| {
            json!({"id": place, "_miroir_shard": "{", "_rankingScoreDetails": {
                "words": {"order": 0, "score": 1.0 - f64::from(docs[*place].0) / 256.0},
                "_miroir_written:asc": {"order": 1, "value": format!("{place:06}")}}})
        });
        let hits: Vec<Value> = hits.collect();
        if body.get("page").is_some() {
            return json!({"hits": hits, "query": "x", "processingTimeMs": 1, "hitsPerPage": take, "page": 1,
                "totalPages": 1, "totalHits": held.len()})
            .to_string();
        }
        json!({"hits": hits, "query": "x", "processingTimeMs": 1, "limit": take, "offset": skip,
            "estimatedTotalHits": held.len()})
        .to_string()
    }

    /// The ids of the answer, its total, how many subrequests it took and whether nodes were asked again.
    fn answer(nodes: &FakeNodes<'_>, topology: &Topology, search: &Value) -> (Vec<u64>, u64, usize, bool) {
        let info = IndexInfo { breaks_ties: true, primary_key: Some("id".into()), ..IndexInfo::new("movies") };
        let infos = [("movies".to_owned(), Arc::new(info))].into();
        let operation = Read::SearchPost { index: "movies".into() };
        let body = search.to_string();
        let plan = read::plan(&operation, "/indexes/movies/search", body.as_bytes(), &infos, topology);
        let Plan::Scatter(scatter) = plan else { panic!("no scatter") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (reply, later) = runtime.block_on(run(nodes, topology, UnavailableShards::Error, &scatter));
        let reply = reply.unwrap();
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let ids = body["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect();
        let total = body.get("totalHits").or(body.get("estimatedTotalHits")).unwrap().as_u64().unwrap();
        let again = later.contains(&Later::LargerShare);
        (ids, total, nodes.asked.lock().len(), again)
    }

    fn wanted(docs: &Docs, offset: u64, limit: u64) -> Vec<u64> {
        let mut places: Vec<usize> = (0..docs.len()).collect();
        places.sort_by_key(|place| (docs[*place].0, *place));
        places.into_iter().skip(offset as usize).take(limit as usize).map(|place| place as u64).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Also where documents crowd in few shards, so that nobody's share is what is likely.
        #[test]
        fn a_page_is_that_of_one_node_however_documents_are_spread(
            docs in proptest::collection::vec((0u8..6, 0u16..64), 0..300), few in prop_oneof![Just(64u16), Just(3u16), Just(1u16)],
            page in 0u64..14, size in 1u64..30, replicas in 1u8..3, paged in any::<bool>(),
        ) {
            let docs: Docs = docs.into_iter().map(|(rank, shard)| (rank, shard % few)).collect();
            let topology = topology(4, replicas);
            let nodes = FakeNodes::new(|at, request| Ok((200, listed(&docs, at, request, &topology))));
            let search = if paged {
                json!({"q": "x", "page": page + 1, "hitsPerPage": size})
            } else {
                json!({"q": "x", "offset": page * size, "limit": size})
            };
            let (ids, total, asked, _) = answer(&nodes, &topology, &search);
            prop_assert_eq!(ids, wanted(&docs, page * size, size));
            prop_assert_eq!(total, docs.len() as u64);
            prop_assert!(asked <= 12, "three rounds of four nodes are the most: {}", asked);
        }
    }

    #[test]
    fn hits_in_one_shard_take_a_second_round_and_spread_ones_do_not() {
        let topology = topology(4, 1);
        for (crowded, again) in [(true, true), (false, false)] {
            let docs: Docs = (0..200u16).map(|at| (0, if crowded { 5 } else { at * 37 % 64 })).collect();
            let nodes = FakeNodes::new(|at, request| Ok((200, listed(&docs, at, request, &topology))));
            let (ids, _, asked, widened) = answer(&nodes, &topology, &json!({"q": "x", "offset": 60, "limit": 20}));
            assert_eq!((ids, widened), (wanted(&docs, 60, 20), again));
            assert_eq!(asked > 4, again);
        }
    }

    #[test]
    fn a_page_behind_the_last_hit_needs_no_second_round() {
        let topology = topology(4, 1);
        let docs: Docs = (0..50u16).map(|at| (0, at)).collect();
        let nodes = FakeNodes::new(|at, request| Ok((200, listed(&docs, at, request, &topology))));
        let (ids, total, asked, _) = answer(&nodes, &topology, &json!({"q": "x", "offset": 900}));
        assert_eq!((ids, total, asked), (Vec::new(), 50, 4));
    }

    #[test]
    fn a_node_that_dies_between_the_rounds_is_replaced() {
        let topology = topology(3, 2);
        let docs: Docs = (0..100u16).map(|_| (0, 5)).collect();
        let owner = topology.owners_of(ShardId(5)).to_vec();
        let nodes = FakeNodes::new(|at, request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let whole = body["offset"] == 0 && body["limit"] == 60;
            let first_asked = at == owner[0] || at == owner[1];
            static DEAD: parking_lot::Mutex<Option<NodeIx>> = parking_lot::Mutex::new(None);
            if whole && first_asked && DEAD.lock().get_or_insert(at) == &at {
                return Err(broken());
            }
            Ok((200, listed(&docs, at, request, &topology)))
        });
        let (ids, _, _, again) = answer(&nodes, &topology, &json!({"q": "x", "offset": 40, "limit": 20}));
        assert_eq!((ids, again), (wanted(&docs, 40, 20), true));
    }
}
