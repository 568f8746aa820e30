//! A search that mixes words and vectors, as two searches whose hits Miroir mixes itself.
//!
//! How the engine mixes depends on the whole result: whether the hits of the words are good enough to leave out the
//! vectors, and which hits fill the page. A node that holds a part of the documents would decide otherwise than one node
//! with all of them. So nodes are asked for the hits by words and for the hits by vectors.

use serde_json::Value;

use super::mix::Mix;
use super::search::SearchPlan;

/// Words count for next to nothing, and yet the engine mixes: its own hits by a vector come first then, marked up by
/// the words of the query, which hits of a search by the vector alone are not.
const NEARLY_ALL: f64 = 0.999_999_94;

/// The score from which the engine takes a hit by words as good enough, times the share of the words.
pub const GOOD_ENOUGH: f64 = 0.45;

/// The searches that a [`SearchPlan`] with a semantic ratio comes down to.
#[derive(Debug, Clone)]
pub struct HybridPlan {
    /// The share of the vectors, in the engine's precision.
    pub ratio: f32,
    /// The search by words, for the client's page.
    pub words: SearchPlan,
    /// The same, for every hit up to the end of that page.
    pub by_words: SearchPlan,
    /// The search by the vector, for every hit up to the end of the page; what words find comes after.
    pub by_vector: SearchPlan,
    /// Every document that passes the filter.
    pub everything: SearchPlan,
}

// === impl SearchPlan ===

impl SearchPlan {
    /// `None` for a search by words alone or by a vector alone.
    pub fn hybrid(&self) -> Option<HybridPlan> {
        let ratio = self.mix.ratio()? as f32;
        // The engine cuts the page out of the mixture, not out of what words find.
        let mut words = SearchPlan { mix: Mix::WordsOfMixed, from_the_first: true, ..self.clone() };
        words.body.remove("hybrid");
        words.body.remove("vector");

        let mut by_words = words.clone();
        by_words.window = self.window.from_the_first();
        by_words.body.insert("showRankingScore".into(), true.into());

        let mut by_vector = SearchPlan { window: by_words.window, mix: Mix::None, ..self.clone() };
        by_vector.body.insert("showRankingScore".into(), true.into());
        if let Some(Value::Object(hybrid)) = by_vector.body.get_mut("hybrid") {
            hybrid.insert("semanticRatio".into(), NEARLY_ALL.into());
        }

        let mut everything = SearchPlan { threshold: None, ..words.clone() };
        let filtered = ["filter", "facets"];
        everything.body = filtered.iter().filter_map(|name| self.body.get_key_value(*name)).map(owned).collect();
        Some(HybridPlan { ratio, words, by_words, by_vector, everything })
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

// === impl HybridPlan ===

impl HybridPlan {
    /// The share of the words, in the engine's precision.
    pub fn share_of_words(&self) -> f64 {
        f64::from(1.0 - self.ratio)
    }

    /// True if the hits by words can be so good that the engine looks for no others.
    pub fn may_do_without_vector(&self) -> bool {
        self.share_of_words() >= GOOD_ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::vocabulary::no_words;
    use serde_json::json;

    use super::*;
    use crate::placement::cover::Besides;
    use crate::placement::cover::CoverPart;
    use crate::placement::shard::ShardId;
    use crate::placement::topology::NodeIx;
    use crate::plan::index_info::IndexInfo;

    fn plan(body: Value) -> SearchPlan {
        let Value::Object(body) = body else { panic!("a search is an object") };
        SearchPlan::new(&IndexInfo::new("movies"), body).unwrap()
    }

    fn asked(plan: &SearchPlan) -> Value {
        let part = CoverPart { node: NodeIx(0), shards: [ShardId(0)].into_iter().collect(), besides: Besides::Nothing };
        serde_json::from_slice(&plan.request(&part, 1, false).body).unwrap()
    }

    #[test]
    fn words_and_vectors_are_searched_apart() {
        let hybrid = plan(json!({
            "q": "x", "vector": [1.0], "hybrid": {"embedder": "e", "semanticRatio": 0.25}, "offset": 2, "limit": 3,
            "filter": "a = 1", "facets": ["a"],
        }));
        let hybrid = hybrid.hybrid().unwrap();
        assert_eq!(
            asked(&hybrid.by_words),
            json!({"q": "x", "offset": 0, "limit": 5, "filter": ["a = 1", no_words()], "facets": ["a"],
                "showRankingScore": true, "showRankingScoreDetails": true})
        );
        assert_eq!(
            asked(&hybrid.by_vector),
            json!({"q": "x", "vector": [1.0], "hybrid": {"embedder": "e", "semanticRatio": NEARLY_ALL},
                "offset": 0, "limit": 5, "filter": ["a = 1", no_words()], "facets": ["a"],
                "showRankingScore": true, "showRankingScoreDetails": true})
        );
        assert_eq!(Value::Object(hybrid.everything.body), json!({"filter": "a = 1", "facets": ["a"]}));
        assert_eq!(hybrid.words.window, plan(json!({"offset": 2, "limit": 3})).window);
    }

    #[test]
    fn nearly_all_is_less_than_all_to_the_engine() {
        assert!((NEARLY_ALL as f32) < 1.0);
    }

    #[test]
    fn an_empty_page_is_decided_by_the_hits_before_it() {
        let hybrid = |page: Value| {
            let mut body = json!({"q": "x", "hybrid": {"embedder": "e"}});
            body.as_object_mut().unwrap().extend(page.as_object().unwrap().clone());
            plan(body).hybrid().unwrap()
        };
        assert_eq!(asked(&hybrid(json!({"offset": 4, "limit": 0})).by_words)["limit"], json!(4));
        let paged = hybrid(json!({"page": 3, "hitsPerPage": 2}));
        assert_eq!((&asked(&paged.by_vector)["page"], &asked(&paged.by_vector)["hitsPerPage"]), (&json!(1), &json!(6)));
    }

    #[test]
    fn only_words_with_something_to_compare_them_to_are_mixed() {
        let mixes = |body: Value| plan(body).hybrid().is_some();
        let with = |ratio: Value| json!({"embedder": "e", "semanticRatio": ratio});
        assert!(mixes(json!({"q": "x", "hybrid": {"embedder": "e"}})));
        assert!(mixes(json!({"q": "", "vector": [1], "hybrid": with(json!(0.1))})));
        assert!(!mixes(json!({"q": " ", "hybrid": with(json!(0.5))})));
        assert!(!mixes(json!({"vector": [1], "hybrid": with(json!(0.5))})));
        for end in [json!(0), json!(1), json!(0.0), json!(1.0), json!(1e-60), json!(0.999_999_999_999)] {
            assert!(!mixes(json!({"q": "x", "hybrid": with(end.clone())})), "{end}");
        }
    }

    #[test]
    fn only_a_small_share_of_vectors_can_be_done_without() {
        let ratio = |ratio: f64| plan(json!({"q": "x", "hybrid": {"embedder": "e", "semanticRatio": ratio}}));
        assert!(ratio(0.5).hybrid().unwrap().may_do_without_vector());
        assert!(!ratio(0.6).hybrid().unwrap().may_do_without_vector());
    }
}
