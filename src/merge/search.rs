//! The replies to one search as one reply, member by member in the order in which a node writes them.

use serde_json::Value;

use crate::plan::search::SearchPlan;
use crate::plan::stated::PageEnd;

use super::error::MergeError;
use super::facets::{self, Facets, NodeFacets};
use super::hit::Hit;
use super::hits::{self, Page};
use super::pins;
use super::raw::{Members, ObjectWriter, elements};
use super::reading;
use super::scores::MostTypos;
use super::shares::{self, Listed};
use super::strip;
use crate::plan::span::Span;
use crate::plan::window::{Paging, Window};

/// The member by which newer engines name the request.
const REQUEST: &str = "requestUid";

/// One node's reply to a search.
#[derive(Debug)]
pub struct SearchReply<'a> {
    pub(super) members: Members<'a>,
    pub(super) hits: Vec<Hit<'a>>,
    pub(super) total: u64,
}

// === impl SearchReply ===

impl<'a> SearchReply<'a> {
    /// Of a node's whole body; an error where it states no total.
    pub fn parse(body: &'a [u8]) -> Result<Self, MergeError> {
        let (members, hits) = reading::read(body)?;
        Ok(Self { total: reading::total(&members)?, hits, members })
    }

    /// How many hits the node lists.
    pub fn listed(&self) -> u64 {
        self.hits.len() as u64
    }

    /// What the node says of the scores of its hits, one after the other; what cannot be read is left out.
    pub fn details(&self) -> impl Iterator<Item = &'a str> {
        self.hits.iter().filter_map(|hit| hit.details().ok().flatten())
    }

    /// How many hits the node says it has found.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// True if [`SearchReply::parse`] takes `body`, of which nothing is kept.
pub fn is_reply(body: &[u8]) -> bool {
    SearchReply::parse(body).is_ok()
}

/// The replies of several nodes to one search, and the page that they make.
#[derive(Debug)]
pub struct Merged<'a> {
    plan: &'a SearchPlan,
    replies: Vec<SearchReply<'a>>,
    page: Page<'a>,
    /// What each node listed.
    listed: Vec<Listed<'a>>,
    /// What scores are related to, where they are shown.
    typos: Option<MostTypos>,
    /// False if documents that rules pin may stand in another order.
    sure: bool,
}

// === impl Merged ===

impl<'a> Merged<'a> {
    /// `replies` are those to [`SearchPlan::request`], in the order of the cover.
    pub fn new(plan: &'a SearchPlan, replies: &[&'a [u8]]) -> Result<Self, MergeError> {
        let replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
        Self::of_spans(plan, replies, &[])
    }

    /// `replies` are those to [`SearchPlan::request_share`], each for one of the `spans`.
    pub fn of_spans(
        plan: &'a SearchPlan,
        mut replies: Vec<SearchReply<'a>>,
        spans: &[Span],
    ) -> Result<Self, MergeError> {
        let lists: Vec<_> = replies.iter_mut().map(|reply| std::mem::take(&mut reply.hits)).collect();
        Self::out_of(plan, replies, lists, spans)
    }

    /// The page out of `lists` of hits that were put together from more than `replies`, which have the other members.
    pub fn of_lists(plan: &'a SearchPlan, replies: &[&'a [u8]], lists: Vec<Vec<Hit<'a>>>) -> Result<Self, MergeError> {
        let replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
        Self::out_of(plan, replies, lists, &[])
    }

    fn out_of(
        plan: &'a SearchPlan,
        replies: Vec<SearchReply<'a>>,
        lists: Vec<Vec<Hit<'a>>>,
        spans: &[Span],
    ) -> Result<Self, MergeError> {
        let listed =
            lists.iter().map(|list| Listed { count: list.len() as u64, first: list.first().copied() }).collect();
        let left_out: u64 = spans.iter().map(|span| span.skip()).sum();
        let typos = (plan.shown.score || plan.shown.details).then(|| most_typos(&lists));
        let skip = plan.window.skip().saturating_sub(left_out);
        let mut sure = true;
        let page = if let Some(pins) = &plan.pins {
            let placed = pins::page(lists, plan, pins)?;
            sure = placed.sure;
            placed.page
        } else if plan.is_walked_unseen() {
            Page { hits: Vec::new(), ..hits::merge(lists, &plan.rules(), 0, plan.reach())? }
        } else {
            hits::merge(lists, &plan.rules(), skip, plan.window.take())?
        };
        Ok(Self { plan, replies, page, listed, typos, sure })
    }

    /// The replies whose spans were too narrow for the page.
    pub fn too_narrow(&self, spans: &[Span]) -> Result<Vec<usize>, MergeError> {
        // A page behind the last hit of all is empty whatever the lists have.
        let found = self.replies.iter().fold(0, |sum: u64, reply| sum.saturating_add(reply.total));
        if self.page.hits.is_empty() && found <= self.plan.window.skip() {
            return Ok(Vec::new());
        }
        shares::too_narrow(&self.page, self.plan.window.take(), &self.listed, spans)
    }

    /// True if a single node would have stopped at the end of the page, not for want of hits.
    pub fn is_full(&self) -> bool {
        let walked = self.plan.walked_window().take();
        if self.plan.is_walked_unseen() {
            self.page.passed >= walked
        } else {
            self.page.hits.len() as u64 >= self.plan.window.take()
        }
    }

    /// True if hits are missing because a node left them out for one that is left out here. Example under `distinct: "maker"`: node x
    /// lists film a of the makers A and B, and for its sake leaves out film b of B. Film c of A, on node y, ranks before a: so a
    /// goes, and nobody shows B.
    pub fn hides(&self) -> bool {
        self.page.hides
    }

    /// False if documents that rules pin may stand in another order on one node.
    pub fn is_sure(&self) -> bool {
        self.sure
    }

    /// True if hits may be missing that nodes would list beyond `most`.
    pub fn ends_too_early(&self, most: u64) -> bool {
        !self.is_full() && self.listed.iter().any(|listed| listed.count >= most)
    }

    /// True if the node with the `at`th reply stopped at the end of the page, not for want of hits. Example: asked for 20, node x lists 20,
    /// and may have more; node y lists 3, and has looked at all that it has.
    pub fn stopped(&self, at: usize) -> bool {
        self.listed.get(at).is_some_and(|listed| listed.count >= self.plan.reach())
    }

    /// What ends the page.
    pub fn end(&self) -> PageEnd {
        match (self.is_full(), self.page.hits.is_empty()) {
            (true, _) => PageEnd::Full,
            (false, false) => PageEnd::Short,
            (false, true) => PageEnd::Empty,
        }
    }

    /// True if the page begins behind the last hit, so that the engine does not look at any.
    pub fn is_past_the_end(&self) -> bool {
        self.plan.is_past_the_end(self.end())
    }

    /// How many hits there are up to the end of the page.
    pub fn passed(&self) -> u64 {
        self.page.passed
    }

    /// The total to show, out of `totals` of the nodes.
    pub fn total_of(&self, totals: &[u64]) -> u64 {
        // What nodes find beyond what can be reached makes up for what is left out.
        let sum = totals.iter().fold(0, |sum: u64, total| sum.saturating_add(*total));
        self.plan.window.total(totals).min(sum.saturating_sub(self.page.duplicates))
    }

    /// As each node states its own, in the order of the replies.
    pub fn totals(&self) -> Vec<u64> {
        self.replies.iter().map(|reply| reply.total).collect()
    }

    /// How many hits the page has.
    pub fn shown(&self) -> u64 {
        self.page.hits.len() as u64
    }

    /// What the nodes said of facets, one after the other.
    pub fn facets(&self) -> Result<Vec<NodeFacets<'a>>, MergeError> {
        self.replies.iter().map(|reply| NodeFacets::of(&reply.members, reply.total)).collect()
    }

    /// The one reply, member by member as the first node wrote its own. `index` is written first where the answer is
    /// one of several.
    pub fn write(&self, facets: Option<&Facets>, total: u64, index: Option<&str>) -> Result<Vec<u8>, MergeError> {
        let first = &self.replies.first().ok_or(MergeError::Missing("a reply"))?.members;
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        if let Some(index) = index {
            serde_json::to_writer(object.key("indexUid"), index)?;
        }
        for (name, raw) in &first.0 {
            match (name.as_ref(), facets) {
                ("hits", _) => {
                    write_hits(&self.page.hits, self.plan, self.typos.as_ref(), object.key("hits"))?;
                }
                ("processingTimeMs", _) => {
                    let slowest = self.replies.iter().filter_map(|reply| reply.members.count("processingTimeMs")).max();
                    object.number(name, slowest.unwrap_or(0));
                }
                ("estimatedTotalHits" | "totalHits", _) => object.number(name, total),
                ("facetDistribution", Some(facets)) => facets.write_distribution(object.key(name)),
                ("facetStats", Some(facets)) => facets.write_stats(object.key(name)),
                ("semanticHitCount", _) => object.number(name, self.page.hits.len() as u64),
                (key, _) => match paging_member(self.plan.window, key, total) {
                    Some(number) => object.number(name, number),
                    None => object.raw(name, raw.get()),
                },
            }
        }
        object.finish();
        Ok(out)
    }
}

/// What the replies to a [`SearchPlan::census`] tell.
#[derive(Debug)]
pub struct Census<'a> {
    /// The best hits of distinct values, best first.
    pub best: Page<'a>,
    /// How many hits the longest reply lists.
    pub longest: u64,
}

/// The best hits of distinct values out of the replies to a [`SearchPlan::census`] of `plan`.
pub fn census<'a>(plan: &SearchPlan, replies: &[&'a [u8]]) -> Result<Census<'a>, MergeError> {
    let replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
    let longest = replies.iter().map(SearchReply::listed).max().unwrap_or(0);
    let lists = replies.into_iter().map(|reply| reply.hits).collect();
    // Nodes with 800 values each have 2,400 together, and engines that state all of them state more than can be listed.
    let most = if plan.window.states_all_hits { u64::MAX } else { plan.window.max_total_hits };
    Ok(Census { best: hits::merge(lists, &plan.rules(), 0, most)?, longest })
}

/// The hits that one node has met when its page is full. `replies` list the best of each node's distinct values, `most` at once. `None`
/// where they end too early to tell. Example of a page of two, lists of three at most: x lists a, b and c, y lists d. If a, d and c tie and b
/// ranks behind them, x may have more that tie.
pub fn met_by_page<'a>(plan: &SearchPlan, replies: &[&'a [u8]], most: u64) -> Result<Option<Vec<Hit<'a>>>, MergeError> {
    let lists =
        replies.iter().map(|body| Ok(SearchReply::parse(body)?.hits)).collect::<Result<Vec<_>, MergeError>>()?;
    let lengths: Vec<u64> = lists.iter().map(|list| list.len() as u64).collect();
    let all = hits::merge(lists.clone(), &plan.rules(), 0, u64::MAX)?;
    if all.hides {
        return Ok(None);
    }
    let count = hits::met(&all.hits, plan.reach() as usize)?;
    let Page { hits, used, .. } = hits::merge(lists, &plan.rules(), 0, count as u64)?;
    let ended = lengths.iter().zip(&used).any(|(length, used)| *length >= most && used >= length);
    // Without any rule nothing ties, and lists up to the end of the page are enough.
    let ranked = hits.last().map(hits::is_ranked).transpose()?.unwrap_or(false);
    Ok((!ended || !ranked).then_some(hits))
}

/// The total of a reply to [`SearchPlan::request_candidates`], and what it says of facets.
pub fn candidates(reply: &[u8]) -> Result<NodeFacets<'_>, MergeError> {
    let reply = SearchReply::parse(reply)?;
    let facets = NodeFacets::of(&reply.members, reply.total)?;
    Ok(NodeFacets { documents: reply.hits.iter().map(|hit| hit.text).collect(), ..facets })
}

/// The vector of the query, where the node shows it.
pub fn query_vector(reply: &[u8]) -> Option<Value> {
    serde_json::from_str(query_vector_text(reply)?).ok().filter(Value::is_array)
}

/// The same as the node writes it.
pub fn query_vector_text(reply: &[u8]) -> Option<&str> {
    Some(Members::of_bytes(reply).ok()?.get("queryVector")?.get())
}

/// The replies to the queries of a multi-search, each as [`candidates`] reads one.
pub fn answers(reply: &[u8]) -> Result<Vec<NodeFacets<'_>>, MergeError> {
    let members = Members::of_bytes(reply)?;
    let results = members.get("results").ok_or(MergeError::Missing("results"))?;
    let results = elements(results.get())?;
    results.into_iter().map(|result| candidates(result.get().as_bytes())).collect()
}

/// The reply of the only node asked, which saw the client's own page; only what is Miroir's goes out of it.
pub fn relay(plan: &SearchPlan, reply: &SearchReply<'_>, index: Option<&str>) -> Result<Vec<u8>, MergeError> {
    let mut out =
        Vec::with_capacity(reply.members.0.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum());
    let mut object = ObjectWriter::new(&mut out);
    if let Some(index) = index {
        serde_json::to_writer(object.key("indexUid"), index)?;
    }
    for (name, raw) in &reply.members.0 {
        match name.as_ref() {
            "hits" => write_hits(&reply.hits, plan, None, object.key(name))?,
            "facetDistribution" => strip::document(raw.get(), object.key(name))?,
            "facetStats" => facets::relay_stats(&Members::parse(raw.get())?, object.key(name))?,
            _ => object.raw(name, raw.get()),
        }
    }
    object.finish();
    Ok(out)
}

/// The answers of several searches as one, which is one request.
pub fn results(bodies: &[&[u8]]) -> Result<Vec<u8>, MergeError> {
    let mut out = br#"{"results":["#.to_vec();
    let mut request: Option<&str> = None;
    for (at, body) in bodies.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let members = Members::of_bytes(body)?;
        let mut object = ObjectWriter::new(&mut out);
        for (name, raw) in &members.0 {
            match name.as_ref() {
                REQUEST => object.raw(name, request.get_or_insert(raw.get())),
                _ => object.raw(name, raw.get()),
            }
        }
        object.finish();
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// The value of a member that says how the answer is paged; `None` for names of another way of paging.
pub(super) fn paging_member(window: Window, name: &str, total: u64) -> Option<u64> {
    match (window.paging, name) {
        (Paging::Offset { limit, .. }, "limit") => Some(limit),
        (Paging::Offset { .. }, "offset") => Some(window.stated_offset()),
        (Paging::Page { page, .. }, "page") => Some(page),
        (Paging::Page { hits_per_page, .. }, "hitsPerPage") => Some(hits_per_page),
        (Paging::Page { hits_per_page, .. }, "totalPages") => Some(Window::pages(total, hits_per_page)),
        (Paging::Offset { .. } | Paging::Page { .. }, _) => None,
    }
}

/// The most typos that any node looked for, over all hits of all lists.
pub(super) fn most_typos(lists: &[Vec<Hit<'_>>]) -> MostTypos {
    let mut most = MostTypos::default();
    for hit in lists.iter().flatten() {
        hit.details().ok().flatten().into_iter().for_each(|details| most.see(details));
    }
    most
}

/// Appends a JSON array, each hit without what only Miroir asked for.
pub(super) fn write_hits<'a>(
    hits: impl IntoIterator<Item = &'a Hit<'a>>,
    plan: &SearchPlan,
    typos: Option<&MostTypos>,
    out: &mut Vec<u8>,
) -> Result<(), MergeError> {
    out.push(b'[');
    for (at, hit) in hits.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        strip::listed(hit, &plan.shown, typos, out)?;
    }
    out.push(b']');
    Ok(())
}
