//! A search that leaves out words one after the other, the most frequent first.
//!
//! How frequent a word is, a node knows of its own documents only, and one that has none with a rare word would leave out just
//! that. So nodes are asked how frequent each word is, and then for the documents with all words, for those with all but
//! the most frequent, and so on: in which order words are left out is the same on all nodes then, and that of one node.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::placement::cover::CoverPart;

use super::by_frequency::ByFrequency;
use super::federated_request::federated;
use super::filter;
use super::node_request::NodeRequest;
use super::search::SearchPlan;

/// What keeps the place of a word that is left out: a word that no document may have, and none has. It is nothing to look
/// for, and words on both sides of it are no neighbours.
const GAP: &str = " -qzxjmiroirwvkqplaceholderxqz";

/// What finds the documents with some of the words, those that are left after others were left out.
#[derive(Debug, Clone)]
pub struct Stage {
    pub plan: SearchPlan,
    /// How many words it looks for, as the engine counts them: what is left out together counts as one.
    pub words: usize,
    /// Of how many.
    pub of: usize,
    /// How many rules the engine sorts by before it looks at words.
    pub rules_before: u64,
}

/// How many rules the engine sorts by before it looks at words: it does before any other rule about relevancy.
fn rules_before_words(plan: &SearchPlan) -> u64 {
    let sorts = plan.body.get("sort").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let is_sort = |rule: &&String| *rule == "sort" || rule.ends_with(":asc") || rule.ends_with(":desc");
    let before = plan.ranking_rules.iter().take_while(is_sort);
    before.map(|rule| if rule == "sort" { sorts } else { 1 }).sum()
}

// === impl SearchPlan ===

impl SearchPlan {
    fn query(&self) -> &str {
        self.body.get("q").and_then(Value::as_str).unwrap_or_default()
    }

    /// Asks the node of `part` how many of its documents have `word`, with typos and, if the query ends with it, as a
    /// beginning. The client's filter has no bearing on that. The total of a federation is not capped.
    pub fn request_frequency(&self, word: &Range<usize>, part: &CoverPart, shards: u16) -> NodeRequest {
        let query = self.query();
        // What follows a word makes it a whole one.
        let end = if word.end < query.len() { " " } else { "" };
        let mut search = Map::from_iter([
            ("indexUid".to_owned(), Value::from(self.index.clone())),
            ("q".to_owned(), format!("{}{end}", &query[word.clone()]).into()),
        ]);
        for name in ["attributesToSearchOn", "locales"] {
            search.extend(self.body.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        search.insert("filter".to_owned(), filter::with_shards(None, part, shards));
        federated(vec![search.into()], Map::from_iter([("limit".to_owned(), 0.into())]), None)
    }

    /// One stage after the other, for `words` that so many documents have. The first looks for all words.
    pub fn stages(&self, words: &[Range<usize>], frequencies: &[u64]) -> Vec<Stage> {
        // What no document has goes first.
        let cost = |at: &usize| match frequencies.get(*at) {
            None | Some(0) => u64::MAX,
            Some(frequency) => *frequency,
        };
        let mut costs: Vec<u64> = (0..words.len()).map(|at| cost(&at)).collect();
        costs.sort_unstable_by(|left, right| right.cmp(left));
        costs.dedup();
        let (of, rules_before) = (costs.len(), rules_before_words(self));
        let mut stages = vec![Stage { plan: self.with_all_of(self.query().to_owned()), words: of, of, rules_before }];
        // The rarest stay.
        for (at, left_out) in costs.iter().enumerate().take(of.saturating_sub(1)) {
            let stays: Vec<bool> = (0..words.len()).map(|at| cost(&at) < *left_out).collect();
            let mut query = String::new();
            let mut end = 0;
            for (word, stays) in words.iter().zip(&stays) {
                if !stays {
                    query.push_str(&self.query()[end..word.start]);
                    query.push_str(GAP);
                    end = word.end;
                }
            }
            query.push_str(&self.query()[end..]);
            let mut plan = self.with_all_of(query);
            plan.body.remove("facets");
            // Every document of the stages before is found again.
            plan.window.paging = self.window.paging.up_to((self.window.reach() * 2).min(self.window.max_total_hits));
            stages.push(Stage { plan, words: of - at - 1, of, rules_before });
        }
        stages
    }

    /// The search for documents with all words of `query`.
    fn with_all_of(&self, query: String) -> SearchPlan {
        let mut plan = SearchPlan { by_frequency: ByFrequency::No, threshold: None, ..self.clone() };
        plan.body.insert("q".into(), query.into());
        plan.body.insert("matchingStrategy".into(), "all".into());
        plan.body.remove("rankingScoreThreshold");
        plan.body.insert("showRankingScore".into(), true.into());
        plan
    }

    /// The search for everything that the last of `stages` finds, for its total and facets.
    pub fn found_by(&self, stages: &[Stage]) -> SearchPlan {
        let query = stages.last().map_or_else(|| self.query(), |stage| stage.plan.query());
        self.with_all_of(query.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::placement::cover::Besides;
    use crate::placement::shard::ShardId;
    use crate::placement::topology::NodeIx;
    use crate::plan::index_info::IndexInfo;

    fn plan(query: &str) -> SearchPlan {
        let info =
            IndexInfo { primary_key: Some("id".into()), stop_words: vec!["de".into()], ..IndexInfo::new("cities") };
        let body = json!({"q": query, "matchingStrategy": "frequency", "limit": 5, "facets": ["a"], "filter": "b = 1",
            "attributesToSearchOn": ["name"]});
        SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn one_word_may_be_several_where_settings_say_what_ends_one() {
        let plain = IndexInfo::new("cities");
        let split = IndexInfo { splits_words_plainly: false, ..plain.clone() };
        let by = |info: &IndexInfo, query: &str| {
            ByFrequency::of(info, json!({"q": query, "matchingStrategy": "frequency"}).as_object().unwrap())
        };
        assert_eq!(by(&plain, "prado"), ByFrequency::No);
        assert_eq!(by(&split, "prado"), ByFrequency::Unknown);
        assert_eq!(by(&split, " "), ByFrequency::No);
    }

    #[test]
    fn a_stop_word_counts_where_the_query_ends_with_it() {
        assert_eq!(words("rio de"), [0..3, 4..6]);
        assert_eq!(words("rio de janeiro"), [0..3, 7..14]);
        assert_eq!(plan("rio de ").by_frequency, ByFrequency::No);
    }

    fn words(query: &str) -> Vec<Range<usize>> {
        match plan(query).by_frequency {
            ByFrequency::Words(words) => words,
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn words_are_found_where_they_can_be_told() {
        let texts = |query: &'static str| words(query).into_iter().map(|word| &query[word]).collect::<Vec<_>>();
        assert_eq!(texts("San Francisco, d'Ixhuatán"), ["San", "Francisco", "d", "Ixhuatán"]);
        assert_eq!(texts("Rio De Janeiro"), ["Rio", "Janeiro"]);
        assert_eq!(texts("x e\u{301}cole 2"), ["x", "e\u{301}cole", "2"]);
        for query in ["", "paris", "de paris"] {
            assert_eq!(plan(query).by_frequency, ByFrequency::No, "{query}");
        }
        let unknown = ["a b c d e f g h i j k", "\"new york\" city", "new -york", "new McAllen", "東京 都"];
        assert!(unknown.iter().all(|query| plan(query).by_frequency == ByFrequency::Unknown));
    }

    #[test]
    fn the_most_frequent_is_left_out_first_and_the_rarest_never() {
        let query = "san francisco ixhuatan";
        let stages = plan(query).stages(&words(query), &[900, 70, 1]);
        let shown: Vec<(&str, usize)> = stages.iter().map(|stage| (stage.plan.query(), stage.words)).collect();
        let (first, second) = (format!("{GAP} francisco ixhuatan"), format!("{GAP} {GAP} ixhuatan"));
        assert_eq!(shown, [(query, 3), (first.as_str(), 2), (second.as_str(), 1)]);
        assert!(stages.iter().all(|stage| stage.plan.body["matchingStrategy"] == "all"));
        assert!(stages[0].plan.body.contains_key("facets") && !stages[1].plan.body.contains_key("facets"));
        assert_eq!((stages[0].plan.window.reach(), stages[1].plan.window.reach()), (5, 10));
        assert_eq!(plan(query).found_by(&stages).query(), second);
    }

    /// A hyphen after a space would say that the next word must not be there.
    #[test]
    fn what_stands_between_words_stays_as_it_is() {
        let query = "igbo-ora mohali";
        let stages = plan(query).stages(&words(query), &[9, 3, 1]);
        assert_eq!(stages[1].plan.query(), format!("{GAP}-ora mohali"));
    }

    #[test]
    fn words_that_are_equally_frequent_are_left_out_together_and_unknown_ones_before_all() {
        let query = "a b c d";
        let shown = |frequencies: &[u64]| {
            let stages = plan(query).stages(&words(query), frequencies);
            assert!(
                stages
                    .iter()
                    .enumerate()
                    .all(|(at, stage)| stage.of == stages.len() && stage.words == stages.len() - at)
            );
            stages.iter().map(|stage| stage.plan.query().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[5, 0, 5, 2]), [query.to_owned(), format!("a {GAP} c d"), format!("{GAP} {GAP} {GAP} d")]);
        assert_eq!(shown(&[3, 3, 3, 3]), [query]);
    }

    #[test]
    fn a_word_is_counted_as_the_query_has_it() {
        let part = CoverPart { node: NodeIx(0), shards: [ShardId(0)].into_iter().collect(), besides: Besides::Unknown };
        let plan = plan("san jose");
        let asked = |word: Range<usize>| {
            let request = plan.request_frequency(&word, &part, 2);
            serde_json::from_slice::<Value>(&request.body).unwrap()
        };
        let first = asked(0..3);
        assert_eq!(first["queries"][0]["q"], "san ");
        assert_eq!(first["queries"][0]["filter"], json!("_miroir_shard IN [\"{{{{{{{{\"]"));
        assert_eq!(
            (&first["federation"], &first["queries"][0]["attributesToSearchOn"]),
            (&json!({"limit": 0}), &json!(["name"]))
        );
        assert_eq!(asked(4..8)["queries"][0]["q"], "jose");
    }
}
