//! A failing case made smaller: whatever can be left out without the difference going away is left out.

use std::ops::Range;

use serde_json::Value;

use super::case::{Case, Request, Trouble};

/// Each try takes about as long as the case itself.
const MAX_TRIES: usize = 160;

/// Tries smaller ones as long as they fail as the smallest so far does.
pub struct Reducer<C, F> {
    pub smallest: C,
    pub difference: String,
    fails: F,
    tries: usize,
}

/// The smallest case found that `fails` as `case` does with `difference`, and how.
pub fn reduce(case: Case, difference: String, fails: impl FnMut(&Case) -> Option<String>) -> (Case, String) {
    let mut reducer = Reducer::new(case, difference, fails);
    reducer.keep_one_request();
    reducer.attempt(Case { trouble: Trouble::None, ..reducer.smallest.clone() });
    reducer.attempt(Case { trouble: Trouble::None, fleet: 0, ..reducer.smallest.clone() });
    reducer.drop_ranges(|case| case.documents.len(), without_documents);
    reducer.drop_members(|case| vec![&mut case.settings]);
    reducer.drop_members(|case| case.requests.iter_mut().flat_map(bodies).collect());
    reducer.drop_members(|case| case.documents.iter_mut().collect());
    (reducer.smallest, reducer.difference)
}

fn bodies(request: &mut Request) -> Vec<&mut Value> {
    match request {
        Request::Search(body) | Request::FacetSearch(body) => vec![body],
        Request::Federated(queries, federation) => queries.iter_mut().chain([federation]).collect(),
        Request::Fetch(_) | Request::Stats => Vec::new(),
    }
}

fn without_documents(case: &Case, range: Range<usize>) -> Option<Case> {
    let mut fewer = case.clone();
    fewer.documents.drain(range);
    (!fewer.documents.is_empty()).then_some(fewer)
}

// === impl Reducer ===

impl<C: Clone + PartialEq, F: FnMut(&C) -> Option<String>> Reducer<C, F> {
    pub fn new(case: C, difference: String, fails: F) -> Self {
        Self { smallest: case, difference, fails, tries: 0 }
    }

    /// True if `case` fails too; then it is the smallest.
    pub fn attempt(&mut self, case: C) -> bool {
        if self.tries >= MAX_TRIES || case == self.smallest {
            return false;
        }
        self.tries += 1;
        match (self.fails)(&case) {
            Some(difference) => {
                (self.smallest, self.difference) = (case, difference);
                true
            }
            None => false,
        }
    }

    /// Leaves out halves, then quarters, and so on down to single ones of what `count` counts.
    pub fn drop_ranges(&mut self, count: impl Fn(&C) -> usize, without: impl Fn(&C, Range<usize>) -> Option<C>) {
        let mut size = count(&self.smallest).div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < count(&self.smallest) {
                let end = (start + size).min(count(&self.smallest));
                let fewer = without(&self.smallest, start..end);
                if !fewer.is_some_and(|fewer| self.attempt(fewer)) {
                    start += size;
                }
            }
            size /= 2;
        }
    }
}

impl<F: FnMut(&Case) -> Option<String>> Reducer<Case, F> {
    fn keep_one_request(&mut self) {
        for request in self.smallest.requests.clone() {
            if self.attempt(Case { requests: vec![request], ..self.smallest.clone() }) {
                return;
            }
        }
    }

    /// Leaves out one member of one object at a time.
    fn drop_members(&mut self, objects: impl Fn(&mut Case) -> Vec<&mut Value>) {
        let names: Vec<Vec<String>> = objects(&mut self.smallest.clone())
            .into_iter()
            .map(|object| object.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect())
            .collect();
        for (at, names) in names.into_iter().enumerate() {
            for name in names.into_iter().filter(|name| name != "id") {
                let mut smaller = self.smallest.clone();
                if let Some(Value::Object(members)) = objects(&mut smaller).into_iter().nth(at) {
                    members.shift_remove(&name);
                }
                self.attempt(smaller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_difference_needs_is_left() {
        let documents: Vec<Value> = (0..13).map(|id| json!({"id": id, "title": "x", "price": id})).collect();
        let case = Case {
            fleet: 2,
            trouble: Trouble::DeadNode { node: 1 },
            settings: json!({"stopWords": ["a"], "rankingRules": ["words"]}),
            documents,
            requests: vec![Request::Stats, Request::Search(json!({"q": "x", "limit": 3}))],
        };
        // Fails if a search with `q` meets document 7 with its price, under any ranking rules.
        let fails = |case: &Case| {
            let document = case.documents.iter().any(|document| document["id"] == 7 && document.get("price").is_some());
            let asked =
                case.requests.iter().any(|request| matches!(request, Request::Search(body) if body.get("q").is_some()));
            (document && asked && case.settings.get("rankingRules").is_some()).then(|| "differs".to_owned())
        };
        let (smallest, difference) = reduce(case, "differs".to_owned(), fails);
        assert_eq!(difference, "differs");
        assert_eq!(
            smallest,
            Case {
                fleet: 0,
                trouble: Trouble::None,
                settings: json!({"rankingRules": ["words"]}),
                documents: vec![json!({"id": 7, "price": 7})],
                requests: vec![Request::Search(json!({"q": "x"}))],
            }
        );
    }
}
