//! The best hit of each distinct value, which no node knows of the others: with the page where that has room for all, else by a
//! search of its own.

use super::by_frequency::ByFrequency;
use super::facet_rules::is_pattern;
use super::index_info::IndexInfo;
use super::mix::Mix;
use super::search::SearchPlan;
use super::search_body::{helper, is_at_or_below, names, present, sorted_field};
use super::span::Span;
use super::window::Paging;

/// So many hits more than the page needs cost a node little beside one more search, which costs it a millisecond whatever it finds.
const MORE: u64 = 40;

// === impl SearchPlan ===

impl SearchPlan {
    /// The search that finds the best hit of every distinct value that can be reached; `None` where the nodes' own
    /// totals and facets will do. It knows no threshold: what is below is told by the page itself.
    pub fn census(&self) -> Option<SearchPlan> {
        let counts = matches!(self.window.paging, Paging::Page { .. }) || self.facets.is_some();
        if counts { self.best_of_each() } else { None }
    }

    /// The search that lists the best hit of every distinct value that can be reached.
    pub fn best_of_each(&self) -> Option<SearchPlan> {
        let field = self.distinct.as_ref()?;
        let mut census = self.clone();
        census.window.paging = self.window.paging.up_to(self.window.max_total_hits);
        census.show_what_is_counted(Some(field));
        Some(census)
    }

    /// Which of its hits a node lists with the page that may have the best hits of all its distinct values. `None` where only a
    /// census tells. Example of a page of 10: each node is asked for 50, and lists 13, 20 and 7. So it has listed all, and who lists 50 may
    /// have more.
    ///
    /// In the other way of paging a node looks at no more hits than it lists, and states its total by what it has looked at.
    pub fn span_of_census(&self) -> Option<Span> {
        let paged = self.distinct.is_some() && matches!(self.window.paging, Paging::Page { .. });
        let by_words = self.mix != Mix::WordsOfMixed && !self.names_a_vector() && !self.sorts_by_distance();
        // What facets are counted of is shown, and no more than that.
        let shows_facets = self.facets.is_none() || !present(&self.body, "attributesToRetrieve");
        let told = paged && by_words && shows_facets && self.threshold.is_none();
        let reach = self.window.reach();
        (told && reach > 0 && !present(&self.body, "retrieveVectors"))
            .then(|| Span::Beyond { take: reach.saturating_add(MORE).min(self.window.max_total_hits) })
    }

    /// Shows with each hit what `facets` are counted of, for who counts hits that are at hand. False where hits cannot show all of it, or
    /// are not all that the engine counts. Example where not: `facets: ["maker*"]`, and the client wants `id` alone.
    pub(super) fn show_facets(&mut self, info: &IndexInfo, facets: &[String]) -> bool {
        // A search by a vector counts documents that no list has.
        if self.mix != Mix::None || self.names_a_vector() || !facets.iter().all(|name| is_shown(info, name)) {
            return false;
        }
        let retrieved = names(&self.body, "attributesToRetrieve").unwrap_or_default();
        // With what is below, the client's own would go out of the hit again.
        let within = |facet: &str| retrieved.iter().any(|own| *own != facet && is_at_or_below(own, facet));
        let mut helpers = Vec::new();
        for facet in facets {
            match helper(&self.body, facet) {
                Some(_) if is_pattern(facet) || within(facet) => return false,
                added => helpers.extend(added),
            }
        }
        helpers.retain(|one| !self.shown.helpers.iter().any(|known| known.field == one.field));
        self.shown.helpers.extend(helpers);
        true
    }

    /// True if the total of a full page can be counted here: the hits that one node has met by the end of it, and the documents that have none
    /// of their values.
    pub fn counts_unmet(&self) -> bool {
        let by_words = self.mix == Mix::None && !self.names_a_vector() && self.by_frequency == ByFrequency::No;
        let ordered = self.comparable && self.sorted_unseen.is_none();
        let counted = self.filters_distinct || self.has_no_words();
        let plain =
            matches!(self.window.paging, Paging::Offset { .. }) && self.facets.is_none() && self.threshold.is_none();
        self.distinct.is_some() && plain && by_words && ordered && counted && self.window.take() > 0
    }

    /// Which of its hits a node lists with a page whose total is counted here. One node takes all hits that tie at once, so that some
    /// behind the page tell which it has met. `None` where no rule tells hits apart: then it goes hit by hit.
    pub fn span_of_met(&self) -> Option<Span> {
        let ranked = !self.has_no_words()
            || names(&self.body, "sort").is_some_and(|sorts| !sorts.is_empty())
            || self.ranking_rules.iter().any(|rule| sorted_field(rule).is_some());
        let more = !self.sorts_by_distance() && !present(&self.body, "retrieveVectors");
        let take = self.reach().saturating_add(MORE).min(self.window.max_total_hits);
        (self.counts_unmet() && ranked && more).then_some(Span::Beyond { take })
    }

    /// True if a node that has `listed` hits for `span` has listed the best hits of all its distinct values, as far as they can be
    /// reached.
    pub fn lists_census(&self, span: Span, listed: u64) -> bool {
        match span {
            Span::Beyond { take } => listed < take || take >= self.window.max_total_hits,
            Span::UpToTheEnd | Span::Share { .. } => false,
        }
    }
}

/// True if documents show every attribute that `name` names or fits.
fn is_shown(info: &IndexInfo, name: &str) -> bool {
    if is_pattern(name) { info.displayed.is_none() } else { info.shows(name) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::index_info::IndexInfo;

    fn span(body: Value) -> Option<Span> {
        SearchPlan::new(&IndexInfo::new("movies"), body.as_object().unwrap().clone()).unwrap().span_of_census()
    }

    #[test]
    fn a_page_has_room_for_more_distinct_values() {
        assert_eq!(span(json!({"distinct": "maker", "page": 2, "hitsPerPage": 10})), Some(Span::Beyond { take: 60 }));
        assert_eq!(
            span(json!({"distinct": "maker", "page": 98, "hitsPerPage": 10})),
            Some(Span::Beyond { take: 1000 })
        );
        let counted = json!({"distinct": "maker", "page": 1, "facets": ["genre"]});
        assert_eq!(span(counted), Some(Span::Beyond { take: 60 }));
    }

    #[test]
    fn a_list_that_ends_before_what_was_asked_for_or_can_be_reached_has_all() {
        let plan = |body: Value| SearchPlan::new(&IndexInfo::new("movies"), body.as_object().unwrap().clone()).unwrap();
        let short = plan(json!({"distinct": "maker", "page": 1, "hitsPerPage": 10}));
        let told = |plan: &SearchPlan, listed| plan.lists_census(plan.span_of_census().unwrap(), listed);
        assert_eq!([0, 49, 50].map(|listed| told(&short, listed)), [true, true, false]);
        let deep = plan(json!({"distinct": "maker", "page": 100, "hitsPerPage": 10}));
        assert!(told(&deep, 1000));
        assert!(!short.lists_census(Span::UpToTheEnd, 0));
    }

    #[test]
    fn what_the_page_does_not_tell_is_left_to_the_census() {
        for body in [
            json!({"distinct": "maker"}),
            json!({"page": 1}),
            json!({"distinct": "maker", "page": 1, "hitsPerPage": 0}),
            json!({"distinct": "maker", "facets": ["genre"], "limit": 3}),
            json!({"distinct": "maker", "page": 1, "rankingScoreThreshold": 0.1}),
            json!({"distinct": "maker", "page": 1, "retrieveVectors": true}),
            json!({"distinct": "maker", "page": 1, "sort": ["_geoPoint(1, 2):asc"]}),
            json!({"distinct": "maker", "page": 1, "facets": ["genre"], "attributesToRetrieve": ["id"]}),
        ] {
            assert_eq!(span(body.clone()), None, "{body}");
        }
    }

    #[test]
    fn hits_show_what_facets_are_counted_of_where_they_can() {
        let shown = |displayed: Option<&[&str]>, body: Value, facets: &[&str]| {
            let displayed = displayed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let info = IndexInfo { displayed, ..IndexInfo::new("movies") };
            let mut plan = SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap();
            let facets: Vec<String> = facets.iter().map(|name| (*name).to_owned()).collect();
            let all = plan.show_facets(&info, &facets);
            (all, plan.shown.helpers.into_iter().map(|helper| helper.field).collect::<Vec<_>>())
        };
        let id = || json!({"attributesToRetrieve": ["id"], "distinct": "maker"});
        let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(shown(None, json!({}), &["genre", "ma*"]), (true, Vec::new()));
        assert_eq!(shown(None, id(), &["genre", "maker"]), (true, fields(&["maker", "genre"])));
        assert!(!shown(None, id(), &["gen*"]).0 && !shown(None, json!({"vector": [1]}), &["genre"]).0);
        let some: &[&str] = &["id", "genre"];
        assert!(shown(Some(some), json!({}), &["genre"]).0);
        assert!(!shown(Some(some), json!({}), &["maker"]).0 && !shown(Some(some), json!({}), &["*"]).0);
        assert!(!shown(None, json!({"attributesToRetrieve": ["genre.name"]}), &["genre"]).0);
    }

    #[test]
    fn a_full_page_has_room_for_hits_that_tie_with_its_last_one() {
        let span = |info: &IndexInfo, body: Value| {
            let plan = SearchPlan::new(info, body.as_object().unwrap().clone()).unwrap();
            (plan.counts_unmet(), plan.span_of_met())
        };
        let plain = IndexInfo::new("movies");
        let beyond = |take: u64| (true, Some(Span::Beyond { take }));
        assert_eq!(span(&plain, json!({"q": "a", "distinct": "maker", "offset": 5, "limit": 5})), beyond(50));
        assert_eq!(span(&plain, json!({"distinct": "maker", "sort": ["year:asc"], "limit": 990})), beyond(1000));
        // Nothing tells hits apart, so none ties.
        assert_eq!(span(&plain, json!({"distinct": "maker"})), (true, None));
        let settings = IndexInfo { distinct: Some("maker".into()), filters_distinct: false, ..plain.clone() };
        assert_eq!(span(&settings, json!({})), (true, None));
        for (info, body) in [
            (&settings, json!({"q": "a"})),
            (&plain, json!({"q": "a"})),
            (&plain, json!({"distinct": "maker", "limit": 0})),
            (&plain, json!({"distinct": "maker", "page": 1})),
            (&plain, json!({"distinct": "maker", "facets": ["genre"]})),
            (&plain, json!({"distinct": "maker", "rankingScoreThreshold": 0.1})),
            (&plain, json!({"distinct": "maker", "vector": [1]})),
        ] {
            assert_eq!(span(info, body.clone()), (false, None), "{body}");
        }
    }
}
