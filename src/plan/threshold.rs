//! What it means for a search that hits with a low score are left out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::index_info::IndexInfo;
use super::search::SearchPlan;
use super::window::Paging;
use crate::placement::cover::CoverPart;
use crate::placement::topology::NodeIx;

const THRESHOLD: &str = "rankingScoreThreshold";

/// Hits below a score are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Threshold {
    pub counts: CountedAbove,
    pub scores: ScoreOrder,
}

/// Which of the hits above the threshold a node's total counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CountedAbove {
    /// Those up to the end of the page: a page that is full leaves out none behind it.
    ToTheEndOfThePage,
    /// All of them.
    All,
}

/// How scores go along the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ScoreOrder {
    /// They fall: behind the first hit below the threshold comes none above it.
    Falling,
    /// What a ranking rule sorts by comes before a rule that counts for the score. With `sort: ["price:asc"]` before the words a
    /// cheap film of score 0.2 stands before a dear one of 0.9.
    RisingAgain,
}

// === impl Threshold ===

impl Threshold {
    /// `None` where `body` names no threshold.
    pub fn of(info: &IndexInfo, body: &Map<String, Value>, paging: Paging) -> Option<Self> {
        let given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
        if !given(THRESHOLD) {
            return None;
        }
        let counts_all = info.counts_pages_whole && matches!(paging, Paging::Page { .. });
        let counts = if counts_all { CountedAbove::All } else { CountedAbove::ToTheEndOfThePage };
        let scores = if rise_again(info, given("sort")) { ScoreOrder::RisingAgain } else { ScoreOrder::Falling };
        Some(Self { counts, scores })
    }
}

// === impl SearchPlan ===

impl SearchPlan {
    /// The score below which hits are left out, where nodes may not judge alike: one relates a hit's typos to the most that it looked for,
    /// which is one more where some document has two words of the query in one. Example: `ice cream` and a document with `icecream`.
    pub fn least_by_typos(&self) -> Option<f64> {
        let words = self.body.get("q").and_then(Value::as_str).unwrap_or_default().trim();
        // What divides words is the engine's to say, which has scripts without spaces, too: more than two are no fault.
        self.least_score().filter(|_| words.chars().any(|letter| !letter.is_alphanumeric() || letter >= '\u{e00}'))
    }

    /// The same search where some nodes leave out what scores below other `thresholds`.
    pub fn judging_by(&self, thresholds: BTreeMap<NodeIx, f64>) -> Self {
        Self { node_thresholds: thresholds, ..self.clone() }
    }

    /// Names the threshold of the node of `part`, where there is one.
    pub(super) fn judge_alike(&self, body: &mut Map<String, Value>, part: &CoverPart) {
        if let (Some(least), Some(named)) = (self.node_thresholds.get(&part.node), body.get_mut(THRESHOLD)) {
            *named = (*least).into();
        }
    }
}

fn rise_again(info: &IndexInfo, sorted: bool) -> bool {
    let sorts = |rule: &String| (rule == "sort" && sorted) || rule.ends_with(":asc") || rule.ends_with(":desc");
    let first = info.ranking_rules.iter().position(sorts);
    first.is_some_and(|first| info.ranking_rules[first..].iter().any(|rule| !sorts(rule) && rule != "sort"))
}
