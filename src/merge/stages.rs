//! Hits of stages, each of which left out more words of the query, as one list.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::plan::frequency::Stage;
use crate::plan::search::SearchPlan;

use super::error::MergeError;
use super::hit::Hit;
use super::hits::{self, PrimaryKey};
use super::raw::{Members, ObjectWriter};
use super::search::{Merged, SearchReply};

/// The rule that tells how many words of the query a hit has.
const WORDS: &str = "words";

/// The best hits that the nodes list for a stage, stated as of a search that left out words.
pub fn of_stage(plan: &SearchPlan, stage: &Stage, replies: &[&[u8]]) -> Result<Vec<String>, MergeError> {
    let replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
    let lists = replies.into_iter().map(|reply| reply.hits).collect();
    let page = hits::merge(lists, &plan.rules(), 0, stage.plan.window.reach())?;
    page.hits.into_iter().map(|hit| restated(hit.text, stage)).collect()
}

/// The hits of all stages, the first stage's first where the rules do not say otherwise, as one page of `plan`. `replies` are
/// those to the first stage.
pub fn merged<'a>(
    plan: &'a SearchPlan,
    stages: &'a [Vec<String>],
    replies: &[&'a [u8]],
) -> Result<Merged<'a>, MergeError> {
    let mut found: HashSet<PrimaryKey> = HashSet::new();
    let mut lists: Vec<Vec<Hit<'a>>> = Vec::with_capacity(stages.len());
    for stage in stages {
        let mut own = Vec::with_capacity(stage.len());
        let mut list = Vec::with_capacity(stage.len());
        for hit in stage {
            let document: Value = serde_json::from_str(hit)?;
            let key = plan.primary_key.as_deref().and_then(|field| PrimaryKey::of(&document, field));
            let is_new = key.as_ref().is_none_or(|key| !found.contains(key));
            own.extend(key);
            if is_new && plan.least_score().is_none_or(|least| score(&document) >= least) {
                list.push(Hit::parse(hit)?);
            }
        }
        found.extend(own);
        lists.push(list);
    }
    Merged::of_lists(plan, replies, lists)
}

fn score(document: &Value) -> f64 {
    document["_rankingScore"].as_f64().unwrap_or(1.0)
}

/// `hit` as of a search that left out words: one for all of the words that are left does not state how many these are.
fn restated(hit: &str, stage: &Stage) -> Result<String, MergeError> {
    let (words, all) = (stage.words as f64, stage.of as f64);
    let mut out = Vec::with_capacity(hit.len() + 80);
    let mut object = ObjectWriter::new(&mut out);
    for (name, raw) in &Members::parse(hit)?.0 {
        match name.as_ref() {
            // The rule of words comes first of all that score, and divides what those after it say.
            "_rankingScore" => {
                let score: f64 = serde_json::from_str(raw.get())?;
                serde_json::to_writer(object.key(name), &((words - 1.0 + score) / all))?;
            }
            "_rankingScoreDetails" => {
                let mut details = Map::new();
                let rule = json!({"order": stage.rules_before, "matchingWords": stage.words,
                    "maxMatchingWords": stage.of, "score": words / all});
                let mut rule = Some(rule);
                for (name, mut detail) in serde_json::from_str::<Map<String, Value>>(raw.get())? {
                    if let Some(order) = detail["order"].as_u64().filter(|order| *order >= stage.rules_before) {
                        details.extend(rule.take().map(|rule| (WORDS.to_owned(), rule)));
                        detail["order"] = (order + 1).into();
                    }
                    details.insert(name, detail);
                }
                details.extend(rule.map(|rule| (WORDS.to_owned(), rule)));
                serde_json::to_writer(object.key(name), &details)?;
            }
            _ => object.raw(name, raw.get()),
        }
    }
    object.finish();
    String::from_utf8(out).map_err(|_| MergeError::Missing("text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn hit(id: u64, score: f64) -> Value {
        json!({"id": id, "_rankingScore": score, "_rankingScoreDetails": {"proximity": {"order": 0, "score": score}}})
    }

    fn reply(hits: &[Value]) -> String {
        json!({"hits": hits, "query": "a b", "limit": 9, "offset": 0, "estimatedTotalHits": hits.len()}).to_string()
    }

    #[test]
    fn documents_stand_where_their_first_stage_has_them() {
        let body = json!({"q": "a b", "matchingStrategy": "frequency", "limit": 3, "showRankingScore": true});
        let info = IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new("cities") };
        let plan = SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap();
        let stages = plan.stages(&[0..1, 2..3], &[9, 2]);
        let (first, second) = (reply(&[hit(1, 0.5)]), [reply(&[hit(2, 1.0), hit(1, 0.9)]), reply(&[hit(3, 0.8)])]);
        let lists = vec![
            of_stage(&plan, &stages[0], &[first.as_bytes()]).unwrap(),
            of_stage(&plan, &stages[1], &[second[0].as_bytes(), second[1].as_bytes()]).unwrap(),
        ];
        let merged = merged(&plan, &lists, &[first.as_bytes()]).unwrap();
        let answer: Value = serde_json::from_slice(&merged.write(None, 7, None).unwrap()).unwrap();
        let shown: Vec<(u64, f64)> = answer["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| (hit["id"].as_u64().unwrap(), hit["_rankingScore"].as_f64().unwrap()))
            .collect();
        assert_eq!(shown, [(1, 0.75), (2, 0.5), (3, 0.4)]);
        assert_eq!((&answer["estimatedTotalHits"], &answer["limit"]), (&json!(7), &json!(3)));
        assert!(answer["hits"][0].get("_rankingScoreDetails").is_none());
    }

    #[test]
    fn what_the_rule_of_words_says_stands_in_its_place() {
        let info = IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new("cities") };
        let info = IndexInfo { ranking_rules: ["sort", "words", "typo"].map(str::to_owned).to_vec(), ..info };
        let body = json!({"q": "a b", "matchingStrategy": "frequency", "sort": ["x:asc"]});
        let plan = SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap();
        let stages = plan.stages(&[0..1, 2..3], &[9, 2]);
        let hit = r#"{"_rankingScoreDetails":{"x:asc":{"order":0,"value":1.0},"typo":{"order":1,"score":1.0}}}"#;
        let details =
            &serde_json::from_str::<Value>(&restated(hit, &stages[1]).unwrap()).unwrap()["_rankingScoreDetails"];
        let names: Vec<(&String, &Value)> =
            details.as_object().unwrap().iter().map(|(name, rule)| (name, &rule["order"])).collect();
        assert_eq!(
            names,
            [(&"x:asc".to_owned(), &json!(0)), (&"words".to_owned(), &json!(1)), (&"typo".to_owned(), &json!(2))]
        );
        assert_eq!(details["words"]["score"], 0.5);
    }

    #[test]
    fn a_threshold_holds_for_the_score_as_it_is_stated() {
        let body = json!({"q": "a b", "matchingStrategy": "frequency", "rankingScoreThreshold": 0.45});
        let info = IndexInfo { primary_key: Some("id".into()), ..IndexInfo::new("cities") };
        let plan = SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap();
        let stages = plan.stages(&[0..1, 2..3], &[9, 2]);
        assert!(!stages[1].plan.body.contains_key("rankingScoreThreshold"));
        let second = reply(&[hit(2, 1.0), hit(3, 0.8)]);
        let lists = vec![Vec::new(), of_stage(&plan, &stages[1], &[second.as_bytes()]).unwrap()];
        let merged = merged(&plan, &lists, &[second.as_bytes()]).unwrap();
        let answer: Value = serde_json::from_slice(&merged.write(None, 1, None).unwrap()).unwrap();
        assert_eq!(answer["hits"], json!([{"id": 2}]));
    }
}
