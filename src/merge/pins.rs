//! Documents that dynamic search rules pin, placed among the hits of all nodes.
//!
//! Each node pins what it holds, by itself, at the places of its own list. So pins are taken out of the lists, what is left is
//! merged as ever, and they are placed in it as the engine does: one after the other, each at its position or at the first place
//! behind it, and behind the last hit where there are not so many. What was placed so up to the page's end is placed once more, by position.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use super::error::MergeError;
use super::hit::Hit;
use super::hits::{self, Page, only};
use crate::plan::pins::{MOST, Pins};
use crate::plan::search::SearchPlan;
use crate::plan::values::visit;

/// A page with the documents that are pinned on it.
pub(super) struct Placed<'a> {
    pub page: Page<'a>,
    /// False if two of them may stand the other way round on one node.
    pub sure: bool,
}

/// A hit that is pinned.
#[derive(Debug)]
struct Pinned<'a> {
    hit: Hit<'a>,
    position: u64,
    /// What may have pinned it, by place among all pins.
    places: Vec<usize>,
}

/// What a node says of a pinned hit in the place of scores.
#[derive(Deserialize)]
struct Details {
    pin: Detail,
}

#[derive(Deserialize)]
struct Detail {
    position: u64,
}

/// The page of `plan` out of `lists` with all that `pins` may have pinned.
pub(super) fn page<'a>(mut lists: Vec<Vec<Hit<'a>>>, plan: &SearchPlan, pins: &Pins) -> Result<Placed<'a>, MergeError> {
    let key = plan.primary_key.as_deref().unwrap_or_default();
    let mut pinned = Vec::with_capacity(lists.len());
    for list in &mut lists {
        pinned.push(take_out(list, key, pins)?);
    }
    let (pinned, sure) = in_order(pinned, pins);
    let (skip, reach) = (plan.window.skip(), plan.window.reach());
    let rest = hits::merge(lists, &plan.rules(), 0, reach)?;
    let mut all = by_position(place(pinned, rest.hits, reach), reach);
    let passed = all.len() as u64;
    let page = all.split_off(all.len().min(usize::try_from(skip).unwrap_or(usize::MAX)));
    Ok(Placed { page: Page { hits: page, passed, used: rest.used, ..Page::default() }, sure })
}

/// Leaves in `list` what is not pinned.
fn take_out<'a>(list: &mut Vec<Hit<'a>>, key: &str, pins: &Pins) -> Result<Vec<Pinned<'a>>, MergeError> {
    let mut pinned = Vec::new();
    let mut others = Vec::with_capacity(list.len());
    for hit in list.drain(..) {
        match position_of(&hit)? {
            None => others.push(hit),
            Some(position) => {
                let id = id_of(&only(hit.text, key)?, key).unwrap_or_default();
                pinned.push(Pinned { hit, position, places: pins.places(&id, position) });
            }
        }
    }
    *list = others;
    Ok(pinned)
}

/// `None` for a hit that is not pinned.
fn position_of(hit: &Hit<'_>) -> Result<Option<u64>, MergeError> {
    let Some(details) = hit.details()? else { return Ok(None) };
    // A pinned hit has no other scores.
    if !details.trim_start_matches(['{', ' ']).starts_with("\"pin\"") {
        return Ok(None);
    }
    let details: Details = serde_json::from_str(details)?;
    Ok(Some(details.pin.position))
}

fn id_of(document: &Value, key: &str) -> Option<String> {
    let mut id = None;
    visit(document, key, &mut |leaf| id = Some(leaf.as_str().map_or_else(|| leaf.to_string(), str::to_owned)));
    id
}

/// The first of all that is pinned, in the order in which it is placed. A node's own order is never questioned. False if two did not
/// tell which is the first.
fn in_order<'a>(lists: Vec<Vec<Pinned<'a>>>, pins: &Pins) -> (Vec<Pinned<'a>>, bool) {
    let mut lists: Vec<VecDeque<Pinned<'a>>> = lists.into_iter().map(VecDeque::from).collect();
    let (mut all, mut sure) = (Vec::new(), true);
    for list in &mut lists {
        sure &= by_precedence(list.make_contiguous(), pins);
    }
    while all.len() < MOST {
        let mut best: Option<(usize, &Pinned<'a>)> = None;
        for (at, list) in lists.iter().enumerate() {
            let Some(head) = list.front() else { continue };
            let Some((_, first)) = best else {
                best = Some((at, head));
                continue;
            };
            let order = pins.order(&head.places, &first.places);
            sure &= order.is_some();
            if order.unwrap_or_else(|| head.last_resort().cmp(&first.last_resort())).is_lt() {
                best = Some((at, head));
            }
        }
        let best = best.map(|(at, _)| at);
        let Some(next) = best.and_then(|best| lists[best].pop_front()) else { break };
        all.push(next);
    }
    (all, sure)
}

/// Puts a node's list, which is by position, into the order in which it was placed. False if nobody knows it.
fn by_precedence(list: &mut [Pinned<'_>], pins: &Pins) -> bool {
    let is_known = |(at, one): (usize, &Pinned<'_>)| {
        list[at + 1..].iter().all(|other| pins.order(&one.places, &other.places).is_some())
    };
    if list.iter().enumerate().all(is_known) {
        list.sort_by_key(Pinned::last_resort);
        return true;
    }
    // At one position they stand as they were placed.
    list.windows(2).all(|pair| pair[0].position == pair[1].position)
}

// === impl Pinned ===

impl Pinned<'_> {
    /// What it is ordered by where nothing else tells.
    fn last_resort(&self) -> (usize, u64) {
        (self.places.first().copied().unwrap_or(usize::MAX), self.position)
    }
}

/// A hit of the first ones, with its position if it is pinned.
type Standing<'a> = (Option<u64>, Hit<'a>);

/// `others` with what is `pinned`, up to the hit `end`.
fn place<'a>(pinned: Vec<Pinned<'a>>, others: Vec<Hit<'a>>, end: u64) -> Vec<Standing<'a>> {
    let pinned = pinned.into_iter().map(|pinned| (pinned.position, pinned.hit));
    fill(pinned.collect(), others, end)
}

/// The same hits with what is pinned among them by position: an engine places once more what it has placed. Example: a rule pins x at 1
/// and y at 0. Of two hits that are wanted x stands behind the first one that is found, and y nowhere, for it waits for x. Of three
/// that are wanted y stands first, x second.
fn by_position(placed: Vec<Standing<'_>>, end: u64) -> Vec<Hit<'_>> {
    let (mut pinned, mut others) = (Vec::new(), Vec::new());
    for (position, hit) in placed {
        match position {
            Some(position) => pinned.push((position, hit)),
            None => others.push(hit),
        }
    }
    pinned.sort_by_key(|(position, _)| *position);
    fill(pinned, others, end).into_iter().map(|(_, hit)| hit).collect()
}

fn fill<'a>(pinned: Vec<(u64, Hit<'a>)>, others: Vec<Hit<'a>>, end: u64) -> Vec<Standing<'a>> {
    let (mut pinned, mut others) = (pinned.into_iter().peekable(), others.into_iter());
    let mut all = Vec::new();
    while (all.len() as u64) < end {
        let is_due = pinned.peek().is_some_and(|(position, _)| *position <= all.len() as u64);
        let other = if is_due { None } else { others.next() };
        let next = other.map(|hit| (None, hit));
        let Some(next) = next.or_else(|| pinned.next().map(|(position, hit)| (Some(position), hit))) else { break };
        all.push(next);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::index_info::IndexInfo;

    /// Rules by precedence, each with ids and positions.
    fn pins(rules: &[(&str, Option<u64>, &[(&str, u64)])]) -> Pins {
        let rules = rules.iter().map(|(uid, precedence, pins)| {
            let action = |(id, position): &(&str, u64)| {
                json!({"selector": {"id": id}, "action": {"type": "pin", "position": position}})
            };
            json!({"uid": uid, "precedence": precedence, "actions": pins.iter().map(action).collect::<Vec<_>>()})
        });
        Pins::of("shop", &rules.collect::<Vec<_>>())
    }

    fn pinned(id: &str, position: u64) -> String {
        json!({"id": id, "_rankingScoreDetails": {"pin": {"order": 0, "position": position}}}).to_string()
    }

    fn found(id: &str, words: f64) -> String {
        json!({"id": id, "_rankingScoreDetails": {"words": {"order": 0, "score": words}}}).to_string()
    }

    fn owned(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn paged(pins: &Pins, lists: &[Vec<String>], (offset, limit): (u64, u64)) -> (Vec<String>, bool) {
        let info = IndexInfo { primary_key: Some("id".into()), pins: pins.clone(), ..IndexInfo::new("shop") };
        let body = json!({"offset": offset, "limit": limit});
        let plan = SearchPlan::new(&info, body.as_object().unwrap().clone()).unwrap();
        let lists = lists.iter().map(|list| list.iter().map(|text| Hit::parse(text).unwrap()).collect()).collect();
        let placed = page(lists, &plan, pins).unwrap();
        let id = |hit: &Hit<'_>| serde_json::from_str::<Value>(hit.text).unwrap()["id"].as_str().unwrap().to_owned();
        (placed.page.hits.iter().map(id).collect(), placed.sure)
    }

    #[test]
    fn pins_of_several_nodes_stand_at_their_positions_on_every_page() {
        let rules = pins(&[("r", None, &[("p", 1), ("q", 3)])]);
        let lists = [
            vec![found("a", 0.9), pinned("p", 1), found("c", 0.5)],
            vec![found("b", 0.8), found("d", 0.4), found("e", 0.3), pinned("q", 3)],
        ];
        let all = ["a", "p", "b", "q", "c", "d", "e"];
        for (offset, limit) in [(0, 20), (0, 2), (1, 3), (3, 1), (6, 5), (7, 3)] {
            let to = all.len().min((offset + limit) as usize);
            assert_eq!(paged(&rules, &lists, (offset, limit)), (owned(&all[offset as usize..to]), true));
        }
    }

    /// As the engine has it: pins are placed one after the other, and what is to stand before waits; then by position.
    #[test]
    fn an_earlier_pin_with_a_later_position_holds_back_the_next_until_it_is_placed() {
        let rules = pins(&[("first", Some(1), &[("x", 2)]), ("second", Some(2), &[("y", 0)])]);
        let lists = [vec![found("a", 0.9), found("b", 0.8), pinned("x", 2)], vec![pinned("y", 0), found("c", 0.7)]];
        for (limit, page) in [(2, &["a", "b"][..]), (3, &["a", "b", "x"]), (4, &["y", "a", "x", "b"])] {
            assert_eq!(paged(&rules, &lists, (0, limit)), (owned(page), true));
        }
        assert_eq!(paged(&rules, &lists, (0, 20)), (owned(&["y", "a", "x", "b", "c"]), true));
        assert_eq!(paged(&rules, &lists, (1, 3)), (owned(&["a", "x", "b"]), true));
    }

    #[test]
    fn pins_follow_the_last_hit_where_there_are_too_few() {
        let rules = pins(&[("r", None, &[("p", 40), ("q", 50)])]);
        let lists = [vec![pinned("q", 50)], vec![found("a", 0.9), pinned("p", 40)]];
        assert_eq!(paged(&rules, &lists, (0, 20)), (owned(&["a", "p", "q"]), true));
    }

    #[test]
    fn rules_of_one_precedence_on_two_nodes_are_in_doubt_and_on_one_are_not() {
        let rules = pins(&[("r", Some(1), &[("p", 0)]), ("s", Some(1), &[("q", 0)])]);
        assert!(!paged(&rules, &[vec![pinned("p", 0)], vec![pinned("q", 0)]], (0, 20)).1);
        let own_order = paged(&rules, &[vec![pinned("q", 0), pinned("p", 0)], vec![found("a", 0.5)]], (0, 20));
        assert_eq!(own_order, (owned(&["q", "p", "a"]), true));
        let unknown = paged(&rules, &[vec![pinned("new", 0)], vec![pinned("p", 0)]], (0, 20));
        assert_eq!(unknown, (owned(&["p", "new"]), false));
    }
}
