//! The replies to one search as one reply, member by member in the order in which a node writes them.

use serde_json::value::RawValue;

use crate::plan::search::SearchPlan;

use super::error::MergeError;
use super::facets::{self, NodeFacets};
use super::hits;
use super::raw::{Members, ObjectWriter};
use super::strip;
use super::totals::{Paging, Window};

/// One node's reply to a search.
#[derive(Debug)]
pub struct SearchReply<'a> {
    members: Members<'a>,
    hits: Vec<&'a RawValue>,
    total: u64,
}

// === impl SearchReply ===

impl<'a> SearchReply<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, MergeError> {
        let members: Members<'a> = serde_json::from_slice(body)?;
        let hits = members.get("hits").ok_or(MergeError::Missing("hits"))?;
        let hits = serde_json::from_str(hits.get())?;
        let total = members.count("estimatedTotalHits").or_else(|| members.count("totalHits"));
        Ok(Self { hits, total: total.ok_or(MergeError::Missing("a total of hits"))?, members })
    }
}

/// The reply to `plan` out of those of several nodes, each to [`SearchPlan::request`], in the order of the cover.
/// `distinct` is how many distinct hits there are, where it was counted; `index` is written first where the answer is
/// one of several.
pub fn merge(
    plan: &SearchPlan,
    replies: &[&[u8]],
    distinct: Option<u64>,
    index: Option<&str>,
) -> Result<Vec<u8>, MergeError> {
    let mut replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
    let lists = replies.iter_mut().map(|reply| std::mem::take(&mut reply.hits)).collect();
    let page = hits::merge(lists, &plan.rules(), plan.window.skip(), plan.window.take())?;
    let totals: Vec<u64> = replies.iter().map(|reply| reply.total).collect();
    let total = distinct.unwrap_or_else(|| plan.window.total(&totals).saturating_sub(page.duplicates));
    let facets = replies
        .iter()
        .map(|reply| {
            let member = |name| reply.members.get(name).map(|raw| Members::parse(raw.get())).transpose();
            Ok(NodeFacets {
                distribution: member("facetDistribution")?,
                stats: member("facetStats")?,
                hits: reply.total,
            })
        })
        .collect::<Result<Vec<_>, MergeError>>()?;

    let first = &replies.first().ok_or(MergeError::Missing("a reply"))?.members;
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    if let Some(index) = index {
        serde_json::to_writer(object.key("indexUid"), index)?;
    }
    for (name, raw) in &first.0 {
        match name.as_ref() {
            "hits" => write_hits(page.hits.iter().copied(), plan, object.key("hits"))?,
            "processingTimeMs" => {
                let slowest = replies.iter().filter_map(|reply| reply.members.count("processingTimeMs")).max();
                object.number(name, slowest.unwrap_or(0));
            }
            "estimatedTotalHits" | "totalHits" => object.number(name, total),
            "facetDistribution" => match &plan.facets {
                Some(rules) => facets::write_distribution(&facets, rules, object.key(name))?,
                None => object.raw(name, raw.get()),
            },
            "facetStats" => facets::write_stats(&facets, object.key(name))?,
            "semanticHitCount" => object.number(name, page.semantic),
            key => match paging_member(plan.window, key, total) {
                Some(number) => object.number(name, number),
                None => object.raw(name, raw.get()),
            },
        }
    }
    object.finish();
    Ok(out)
}

/// How many distinct hits there are, out of the replies to a [`SearchPlan::census`].
pub fn count(census: &SearchPlan, replies: &[&[u8]]) -> Result<u64, MergeError> {
    let replies = replies.iter().map(|body| SearchReply::parse(body)).collect::<Result<Vec<_>, _>>()?;
    let lists = replies.into_iter().map(|reply| reply.hits).collect();
    Ok(hits::merge(lists, &census.rules(), 0, census.window.max_total_hits)?.hits.len() as u64)
}

/// The reply of the only node asked, which saw the client's own page; only what is Miroir's goes out of it.
pub fn relay(plan: &SearchPlan, reply: &[u8], index: Option<&str>) -> Result<Vec<u8>, MergeError> {
    let reply = SearchReply::parse(reply)?;
    let facets = |name| reply.members.get(name).map(|raw| Members::parse(raw.get())).transpose();
    let facets =
        [NodeFacets { distribution: facets("facetDistribution")?, stats: facets("facetStats")?, hits: reply.total }];
    let mut out = Vec::new();
    let mut object = ObjectWriter::new(&mut out);
    if let Some(index) = index {
        serde_json::to_writer(object.key("indexUid"), index)?;
    }
    for (name, raw) in &reply.members.0 {
        match name.as_ref() {
            "hits" => write_hits(reply.hits.iter().map(|hit| hit.get()), plan, object.key(name))?,
            "facetDistribution" => strip::document(raw.get(), object.key(name))?,
            "facetStats" => facets::write_stats(&facets, object.key(name))?,
            _ => object.raw(name, raw.get()),
        }
    }
    object.finish();
    Ok(out)
}

fn paging_member(window: Window, name: &str, total: u64) -> Option<u64> {
    match (window.paging, name) {
        (Paging::Offset { limit, .. }, "limit") => Some(limit),
        (Paging::Offset { .. }, "offset") => Some(window.skip()),
        (Paging::Page { page, .. }, "page") => Some(page),
        (Paging::Page { hits_per_page, .. }, "hitsPerPage") => Some(hits_per_page),
        (Paging::Page { hits_per_page, .. }, "totalPages") => Some(Window::pages(total, hits_per_page)),
        (Paging::Offset { .. } | Paging::Page { .. }, _) => None,
    }
}

fn write_hits<'a>(hits: impl Iterator<Item = &'a str>, plan: &SearchPlan, out: &mut Vec<u8>) -> Result<(), MergeError> {
    out.push(b'[');
    for (at, hit) in hits.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        strip::hit(hit, &plan.shown, out)?;
    }
    out.push(b']');
    Ok(())
}
