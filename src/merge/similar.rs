//! Documents like one document, out of what several nodes have near its vectors.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::plan::similar::SimilarPlan;

use super::error::MergeError;
use super::hit;
use super::hits::PrimaryKey;
use super::raw::{Members, ObjectWriter, elements};
use super::search::SearchReply;
use super::strip;
use crate::plan::shown::Shown;

/// What the nodes list.
#[derive(Debug, Default)]
pub struct Near<'a> {
    hits: Vec<Hit<'a>>,
    /// How many documents pass the filter.
    total: u64,
    /// True if a node may have more that belong into the page. Example: `maxTotalHits` is 2, and a rule sorts by price before
    /// vectors are compared. A node lists the cheapest two, a and b; c may be nearer than both.
    pub cut: bool,
    slowest: u64,
}

#[derive(Debug)]
struct Hit<'a> {
    text: &'a str,
    similarity: f64,
    /// The similarity as its node wrote it.
    written: &'a str,
    key: Option<PrimaryKey>,
}

/// The entry of a hit's scores that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    #[serde(borrow)]
    vector_sort: Option<VectorSort<'a>>,
}

#[derive(Deserialize)]
struct VectorSort<'a> {
    #[serde(borrow)]
    similarity: Option<&'a RawValue>,
}

/// The vectors of the document in the reply to [`SimilarPlan::request_vectors`]; `None` without the document.
pub fn vectors(plan: &SimilarPlan, reply: &[u8]) -> Result<Option<Vec<Value>>, MergeError> {
    let reply: Value = serde_json::from_slice(reply)?;
    let Some(document) = reply.pointer("/results/0") else { return Ok(None) };
    let stored = document.get("_vectors").and_then(|vectors| vectors.get(&plan.embedder));
    let embeddings = stored.map(|stored| stored.get("embeddings").unwrap_or(stored));
    Ok(Some(match embeddings {
        // One vector may stand for a list of one.
        Some(Value::Array(numbers)) if numbers.first().is_some_and(Value::is_number) => {
            vec![Value::Array(numbers.clone())]
        }
        Some(Value::Array(vectors)) => vectors.clone(),
        Some(_) | None => Vec::new(),
    }))
}

/// The answer of one node that holds everything, and how many hits it shows.
pub fn relay(plan: &SimilarPlan, reply: &[u8]) -> Result<(Vec<u8>, u64), MergeError> {
    let members = Members::of_bytes(reply)?;
    let mut listed = 0;
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    for (name, raw) in &members.0 {
        if name == "hits" {
            let hits = elements(raw.get())?;
            listed = hits.len() as u64;
            let shown = Shown { score: plan.shown.score, details: plan.shown.details, helpers: Vec::new() };
            let out = object.key(name);
            out.push(b'[');
            for (at, hit) in hits.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                strip::hit(hit.get(), &shown, None, out)?;
            }
            out.push(b']');
        } else {
            object.raw(name, raw.get());
        }
    }
    object.finish();
    Ok((out, listed))
}

// === impl Near ===

impl<'a> Near<'a> {
    /// `replies` are those to [`SimilarPlan::request_near`] or [`SimilarPlan::request_count`].
    pub fn new(plan: &SimilarPlan, replies: &[&'a [u8]]) -> Result<Self, MergeError> {
        let mut near = Self::default();
        for reply in replies {
            let members = Members::of_bytes(reply)?;
            let results = members.get("results").ok_or(MergeError::Missing("results"))?;
            let results = elements(results.get())?;
            for (at, result) in results.into_iter().enumerate() {
                let reply = SearchReply::parse(result.get().as_bytes())?;
                near.slowest = near.slowest.max(reply.members.count("processingTimeMs").unwrap_or(0));
                if at == 0 {
                    near.total = near.total.saturating_add(reply.total);
                }
                near.add(plan, &reply.hits)?;
            }
        }
        near.hits.sort_by(|left, right| match right.similarity.total_cmp(&left.similarity) {
            Ordering::Equal => left.key.cmp(&right.key),
            order => order,
        });
        let own = PrimaryKey::of_id(&plan.id);
        let mut seen = HashSet::new();
        near.hits.retain(|hit| match &hit.key {
            Some(key) => *key != own && seen.insert(key.clone()),
            None => true,
        });
        Ok(near)
    }

    fn add(&mut self, plan: &SimilarPlan, hits: &[hit::Hit<'a>]) -> Result<(), MergeError> {
        let mut without_vector = false;
        for hit in hits {
            let details = hit.details()?.ok_or(MergeError::Missing("the scores of a hit"))?;
            let details: Details<'a> = serde_json::from_str(details)?;
            let Some(written) = details.vector_sort.and_then(|sort| sort.similarity).map(RawValue::get) else {
                without_vector = true;
                continue;
            };
            let document: Value = serde_json::from_str(hit.text)?;
            let key = plan.primary_key.as_deref().and_then(|field| PrimaryKey::of(&document, field));
            self.hits.push(Hit { text: hit.text, similarity: serde_json::from_str(written)?, written, key });
        }
        // Documents without a vector come last: where one is listed, all with a vector are.
        let all_listed = plan.nearest_first && without_vector;
        self.cut |= plan.may_be_cut(hits.len() as u64) && !all_listed;
        Ok(())
    }

    /// The one reply, and how many hits it shows. `own` says whether the document passes the filter itself, so that it was counted.
    pub fn write(&self, plan: &SimilarPlan, own: bool) -> Result<(Vec<u8>, u64), MergeError> {
        let (offset, limit) = (usize::try_from(plan.offset), usize::try_from(plan.limit));
        let (offset, limit) = (offset.unwrap_or(usize::MAX), limit.unwrap_or(usize::MAX));
        let mut total = self.total.saturating_sub(u64::from(own));
        let mut shown = 0;
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        let hits = object.key("hits");
        hits.push(b'[');
        for (at, hit) in self.hits.iter().enumerate().skip(offset).take(limit) {
            if plan.threshold.is_some_and(|threshold| hit.similarity < threshold) {
                // What comes after is worse still, and what went before is all there is.
                total = at as u64;
                break;
            }
            if at > offset {
                hits.push(b',');
            }
            hit.write(&plan.shown, hits)?;
            shown += 1;
        }
        hits.push(b']');
        serde_json::to_writer(object.key("id"), &plan.id)?;
        object.number("processingTimeMs", self.slowest);
        object.number("limit", plan.limit);
        object.number("offset", plan.offset);
        object.number("estimatedTotalHits", total.min(plan.max_total_hits));
        object.finish();
        Ok((out, shown))
    }
}

// === impl Hit ===

impl Hit<'_> {
    fn write(&self, shown: &Shown, out: &mut Vec<u8>) -> Result<(), MergeError> {
        let without_details = Shown { details: false, ..shown.clone() };
        strip::hit(self.text, &without_details, None, out)?;
        if shown.details && out.pop() == Some(b'}') {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            // A search may have gone by other rules too.
            let details = r#""_rankingScoreDetails":{"vectorSort":{"order":0,"similarity":"#;
            out.extend_from_slice(details.as_bytes());
            out.extend_from_slice(self.written.as_bytes());
            out.extend_from_slice(b"}}}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn plan(more: Value) -> SimilarPlan {
        let mut body = json!({"id": 1, "embedder": "e"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let Value::Object(body) = body else { panic!("a request is an object") };
        let info = IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new("movies") };
        SimilarPlan::new(&info, body, 16).unwrap()
    }

    fn hit(id: u32, similarity: Option<f64>) -> Value {
        json!({"id": id, "_miroir_shard": "{", "_rankingScore": similarity.unwrap_or(0.0), "_rankingScoreDetails": {
            "price:asc": {"order": 0, "value": 1.0}, "vectorSort": {"order": 1, "similarity": similarity}}})
    }

    fn reply(results: &[(&[Value], u64)]) -> Vec<u8> {
        let results: Vec<Value> = results
            .iter()
            .map(|(hits, total)| json!({"hits": hits, "processingTimeMs": 3, "estimatedTotalHits": total}))
            .collect();
        json!({"results": results}).to_string().into_bytes()
    }

    fn merged(plan: &SimilarPlan, replies: &[Vec<u8>]) -> Value {
        let bodies: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        serde_json::from_slice(&Near::new(plan, &bodies).unwrap().write(plan, true).unwrap().0).unwrap()
    }

    fn two() -> Vec<Vec<u8>> {
        let left = [hit(1, Some(1.0)), hit(2, Some(0.75)), hit(3, Some(0.5)), hit(9, None)];
        let right = [hit(4, Some(0.75)), hit(5, Some(0.25))];
        vec![reply(&[(&left, 4)]), reply(&[(&right, 2)])]
    }

    #[test]
    fn the_nearest_of_all_nodes_go_first_without_the_document_itself() {
        let shown = json!({"showRankingScore": true, "showRankingScoreDetails": true, "offset": 1, "limit": 2});
        let score = |similarity: f64| json!({"vectorSort": {"order": 0, "similarity": similarity}});
        assert_eq!(
            merged(&plan(shown), &two()),
            json!({
                "hits": [
                    {"id": 4, "_rankingScore": 0.75, "_rankingScoreDetails": score(0.75)},
                    {"id": 3, "_rankingScore": 0.5, "_rankingScoreDetails": score(0.5)},
                ],
                "id": "1", "processingTimeMs": 3, "limit": 2, "offset": 1, "estimatedTotalHits": 5,
            })
        );
    }

    #[test]
    fn a_threshold_ends_the_page_and_the_total() {
        let body = merged(&plan(json!({"rankingScoreThreshold": 0.6})), &two());
        assert_eq!((body["hits"].as_array().unwrap().len(), &body["estimatedTotalHits"]), (2, &json!(2)));
        let body = merged(&plan(json!({"rankingScoreThreshold": 0.6, "limit": 1})), &two());
        assert_eq!((body["hits"].as_array().unwrap().len(), &body["estimatedTotalHits"]), (1, &json!(5)));
    }

    #[test]
    fn of_several_vectors_the_nearest_counts() {
        let (first, second) = ([hit(2, Some(0.5)), hit(3, Some(0.25))], [hit(3, Some(0.75)), hit(2, Some(0.125))]);
        let body = merged(&plan(json!({"showRankingScore": true})), &[reply(&[(&first, 3), (&second, 3)])]);
        assert_eq!(body["hits"], json!([{"id": 3, "_rankingScore": 0.75}, {"id": 2, "_rankingScore": 0.5}]));
        assert_eq!(body["estimatedTotalHits"], json!(2));
    }

    #[test]
    fn vectors_are_read_in_either_form() {
        let of = |stored: Value| {
            let body = json!({"results": [{"id": 1, "_vectors": {"e": stored}}]}).to_string();
            vectors(&plan(json!({})), body.as_bytes()).unwrap().unwrap()
        };
        assert_eq!(of(json!({"embeddings": [[1.0, 2.0]], "regenerate": false})), [json!([1.0, 2.0])]);
        assert_eq!(of(json!([1.0, 2.0])), [json!([1.0, 2.0])]);
        assert!(of(json!({"embeddings": [], "regenerate": false})).is_empty());
        assert_eq!(vectors(&plan(json!({})), br#"{"results":[],"total":0}"#).unwrap(), None);
    }

    #[test]
    fn the_answer_of_one_node_goes_out_without_what_is_hidden() {
        let body = json!({"hits": [{"id": 2, "_miroir_shard": "{"}], "id": "1"}).to_string();
        let relayed = relay(&plan(json!({})), body.as_bytes()).unwrap();
        assert_eq!(relayed, (br#"{"hits":[{"id":2}],"id":"1"}"#.to_vec(), 1));
    }
}
