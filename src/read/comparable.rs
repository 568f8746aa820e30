//! Whether one node would compare the searches of a federation, where nodes do not because of the rule that breaks ties.
//!
//! The engine compares hits of two searches rule by rule, and refuses searches whose rules do not match place by place, as
//! far as both have rules. On Miroir's nodes each list of rules ends with one more, which then meets a rule of the other
//! search that on one node meets nothing. Asked in pairs, a node names the first two rules that do not match: if one of
//! them is Miroir's own, the shorter list had come to its end there, and one node would compare the two.

use futures::future::join_all;
use serde_json::{Value, json};

use super::gather::Nodes;
use super::judge::relay_error;
use super::reader::{Reader, Reply};
use crate::meili::error::ResponseError;
use crate::nodes::client::NodeReply;
use crate::nodes::meaning::Meaning;
use crate::placement::written::WRITTEN_RULE;
use crate::plan::federation::{FederatedQuery, FederationPlan};
use crate::plan::rounds::Later;
use crate::plan::scatter::NodeRequest;

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// The refusal that one node would answer to `original`; `None` if it would compare the searches.
    pub(super) async fn refusal(
        &self,
        plan: &FederationPlan,
        original: &NodeRequest,
    ) -> Result<Option<Reply>, ResponseError> {
        self.note(Later::Pairs);
        let body: Value = serde_json::from_slice(&original.body).unwrap_or_default();
        let queries = body["queries"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut asked = Vec::new();
        for pair in compared(plan) {
            let (lower, higher) = (pair.0.min(pair.1), pair.0.max(pair.1));
            let (Some(first), Some(second)) = (queries.get(lower), queries.get(higher)) else { continue };
            let body = json!({"federation": {"limit": 0}, "queries": [first, second]});
            asked.push((lower, higher, NodeRequest { body: body.to_string().into_bytes(), ..original.clone() }));
        }
        let replies = join_all(asked.iter().map(|(_, _, request)| self.any(request))).await;
        for ((lower, higher, _), reply) in asked.iter().zip(replies) {
            let reply = reply?;
            if !reply.is_success() && !names_ties(&reply) {
                return Ok(Some(relay_error(&NodeReply { body: renumbered(&reply, &[*lower, *higher]), ..reply })));
            }
        }
        Ok(None)
    }
}

/// Which searches the engine compares with which, by their places in the client's list: it goes index by index, and
/// compares each with the one that had most rules until then.
fn compared(plan: &FederationPlan) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let mut longest: Option<&FederatedQuery> = None;
    for query in plan.indexes.iter().flat_map(|index| &index.queries) {
        pairs.extend(longest.map(|longest| (longest.at, query.at)));
        if longest.is_none_or(|longest| longest.rules <= query.rules) {
            longest = Some(query);
        }
    }
    pairs
}

/// True if a node says that searches cannot be compared, and the rule that only Miroir has put there is one of the two
/// that do not match.
pub(super) fn names_ties(reply: &NodeReply) -> bool {
    let message = ResponseError::from_node(reply.status, &reply.body).map(|error| error.message).unwrap_or_default();
    let mut rules =
        message.lines().filter(|line| ["  1. `queries", "  2. `queries"].iter().any(|of| line.starts_with(of)));
    Meaning::of_reply(reply).is_judgement() && rules.any(|rule| rule.contains(WRITTEN_RULE))
}

/// What a node says of searches, with their `places` in the client's list. Example: asked for the client's third and sixth search
/// it says `queries[1]`, and means the sixth: `queries[5]`.
pub(super) fn renumbered(reply: &NodeReply, places: &[usize]) -> bytes::Bytes {
    let Some(error) = ResponseError::from_node(reply.status, &reply.body) else { return reply.body.clone() };
    ResponseError { message: with_places(&error.message, places), ..error }.to_body().into()
}

/// `message` with another number wherever the engine names a search.
fn with_places(message: &str, places: &[usize]) -> String {
    const BEFORE: [&str; 4] = ["queries[", "query #", "queries #", " and #"];
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(end) = BEFORE.iter().filter_map(|mark| Some(rest.find(mark)? + mark.len())).min() {
        let (before, named) = rest.split_at(end);
        let digits = named.len() - named.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let (number, after) = named.split_at(digits);
        out.push_str(before);
        match number.parse::<usize>().ok().and_then(|number| places.get(number)) {
            Some(place) => out.push_str(&place.to_string()),
            None => out.push_str(number),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meili::error::Code;

    fn reply(message: &str) -> NodeReply {
        let error = ResponseError::new(Code::InvalidMultiSearchQueryRankingRules, message);
        NodeReply { status: 400, body: error.to_body().into(), retry_after: None }
    }

    #[test]
    fn only_a_rule_that_does_not_match_counts() {
        let ties = "Inside `.queries[1]`: The results of queries #0 and #1 are incompatible: \n  1. `queries[0]`, \
                    `a.rankingRules[6]`: ascending sort rule(s) _miroir_written:asc\n  2. `queries[1]`, \
                    `a.rankingRules[0]`: relevancy rule(s) words\n";
        assert!(names_ties(&reply(ties)));
        let others = "The results of queries #0 and #1 are incompatible: \n  1. `queries[0].sort[0]`, `a.rankingRules[4]`: \
                      ascending sort rule(s) on field `b`\n  2. `queries[1]`, `a.rankingRules[0]`: relevancy rule(s) \
                      words\n  - note: _miroir_written:asc\n";
        assert!(!names_ties(&reply(others)));
        assert!(!names_ties(&NodeReply { status: 500, ..reply(ties) }));
    }

    #[test]
    fn searches_keep_their_places() {
        let text = "Inside `.queries[1]`: The results of queries #0 and #1 are incompatible: \n  1. `queries[0]`\n  - note: \
                    The ranking rules of query #0 were modified\n    1. Removed rule `sort` at position #1\n  - note: The \
                    ranking rules of query #1 were modified";
        let body = renumbered(&reply(text), &[1, 4]);
        let error = ResponseError::from_node(400, &body).unwrap();
        assert_eq!(
            error.message,
            "Inside `.queries[4]`: The results of queries #1 and #4 are incompatible: \n  1. `queries[1]`\n  - note: \
             The ranking rules of query #1 were modified\n    1. Removed rule `sort` at position #1\n  - note: The \
             ranking rules of query #4 were modified"
        );
    }
    #[test]
    fn a_place_is_never_taken_for_a_number_of_a_node() {
        let text =
            "Inside `.queries[1]`: queries #1 and #2 are incompatible: `queries[0]`, query #2 \u{e9} #1, queries[7]";
        assert_eq!(
            with_places(text, &[2, 0, 1]),
            "Inside `.queries[0]`: queries #0 and #1 are incompatible: `queries[2]`, query #1 \u{e9} #1, queries[7]"
        );
    }
}
