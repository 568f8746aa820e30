//! Hits that are about equally far: the engine takes what lies within a metre of the nearest for one distance, and shows that
//! one's place and distance for all of them. Nodes do so with their own hits, and here it is done with those of all.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::detail::Details;
use super::error::MergeError;
use super::order::{Rank, Score};
use super::raw::{Members, ObjectWriter, Raw, elements};

/// Distances that differ by no more are one, in metres.
const MARGIN: f64 = 1.0;
/// From so many candidates on the engine takes them from a tree of places, in the order of their distances; fewer it sorts by whole
/// metres.
const TREE: u64 = 1000;
const DETAILS: &str = "_rankingScoreDetails";

/// What a rule says of a hit's place.
struct Near<'a> {
    reply: usize,
    hit: usize,
    rule: String,
    /// What earlier rules say.
    before: Rank,
    ascending: bool,
    metres: f64,
    place: &'a str,
    distance: &'a str,
    /// Which of equals a tree of places gives first: the less.
    in_tree: f64,
    written: Option<Cow<'a, str>>,
}

/// What is to be shown for a hit: the place and the distance of the first of its group.
type Shown<'a> = (String, &'a str, &'a str);

/// The replies with one place and one distance for all that one node would take for equally far; `None` where they have that
/// already.
pub fn level(replies: &[&[u8]]) -> Result<Option<Vec<Vec<u8>>>, MergeError> {
    let members =
        replies.iter().map(|body| Ok(Members::of_bytes(body)?)).collect::<Result<Vec<Members<'_>>, MergeError>>()?;
    let mut lists = Vec::with_capacity(members.len());
    for reply in &members {
        let hits = reply.get("hits").ok_or(MergeError::Missing("hits"))?;
        lists.push(elements(hits.get())?);
    }
    let found: u64 =
        members.iter().filter_map(|reply| reply.count("estimatedTotalHits").or_else(|| reply.count("totalHits"))).sum();
    let mut all = Vec::new();
    for (reply, hits) in lists.iter().enumerate() {
        for (hit, raw) in hits.iter().enumerate() {
            all.extend(Near::of(reply, hit, *raw)?);
        }
    }
    let changes = groups(&mut all, found >= TREE);
    if changes.is_empty() {
        return Ok(None);
    }
    let rewritten = members.iter().zip(&lists).enumerate().map(|(reply, (members, hits))| {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        for (name, value) in &members.0 {
            if name != "hits" {
                object.raw(name, value.get());
                continue;
            }
            let out = object.key(name);
            out.push(b'[');
            for (hit, raw) in hits.iter().enumerate() {
                if hit > 0 {
                    out.push(b',');
                }
                match changes.get(&(reply, hit)) {
                    Some(shown) => write_hit(*raw, shown, out)?,
                    None => out.extend_from_slice(raw.get().as_bytes()),
                }
            }
            out.push(b']');
        }
        object.finish();
        Ok(out)
    });
    rewritten.collect::<Result<Vec<_>, MergeError>>().map(Some)
}

/// Which hits show another's place.
fn groups<'a>(all: &mut [Near<'a>], from_tree: bool) -> BTreeMap<(usize, usize), Shown<'a>> {
    all.sort_by(|left, right| left.compare(right, from_tree));
    let mut changes = BTreeMap::new();
    let mut first = 0;
    for at in 1..all.len() {
        let (leader, near) = (&all[first], &all[at]);
        let same_rank = leader.before.compare(&near.before) == Ordering::Equal;
        if !same_rank || (leader.metres - near.metres).abs() > MARGIN {
            first = at;
        } else if (leader.place, leader.distance) != (near.place, near.distance) {
            changes.insert((near.reply, near.hit), (near.rule.clone(), leader.place, leader.distance));
        }
    }
    changes
}

// === impl Near ===

impl<'a> Near<'a> {
    /// Of the first rule that sorts by a distance; `None` for a hit without a place.
    fn of(reply: usize, hit: usize, raw: Raw<'a>) -> Result<Option<Self>, MergeError> {
        let hit_members = Members::parse(raw.get())?;
        let Some(shown) = hit_members.get(DETAILS) else { return Ok(None) };
        let details = Details::parse(shown.get())?;
        let mut before = Rank::default();
        for (name, detail) in &details.rules {
            let scores = before.0.len();
            detail.push_scores(name, &mut before.0)?;
            let (Some(Score::Distance { ascending, metres: Some(metres) }), Some(place), Some(distance)) =
                (before.0.get(scores).cloned(), detail.value, detail.distance)
            else {
                continue;
            };
            before.0.truncate(scores);
            let in_tree = in_tree(name, place, ascending).unwrap_or(0.0);
            let near = Self {
                reply,
                hit,
                rule: name.clone().into_owned(),
                before,
                ascending,
                metres,
                place,
                distance,
                in_tree,
                written: details.place,
            };
            return Ok(Some(near));
        }
        Ok(None)
    }

    /// In the order in which the engine looks at them.
    fn compare(&self, other: &Self, from_tree: bool) -> Ordering {
        let metres = if from_tree {
            self.metres.total_cmp(&other.metres)
        } else {
            self.metres.trunc().total_cmp(&other.metres.trunc())
        };
        let nearer = if self.ascending { metres } else { metres.reverse() };
        let of_equals = || {
            if from_tree {
                self.in_tree.total_cmp(&other.in_tree).then_with(|| self.written.cmp(&other.written))
            } else {
                self.written.cmp(&other.written)
            }
        };
        other.before.compare(&self.before).then(nearer).then_with(of_equals)
    }
}

/// How far a place is from the point of the rule, or, descending, from the point opposite: straight through the earth, as the
/// tree of places has it.
fn in_tree(rule: &str, place: &str, ascending: bool) -> Option<f64> {
    #[derive(serde::Deserialize)]
    struct Place {
        lat: f64,
        lng: f64,
    }
    let (_, point) = rule.split_once('(')?;
    let (point, _) = point.split_once(')')?;
    let (lat, lng) = point.split_once(',')?;
    let (mut lat, mut lng): (f64, f64) = (lat.trim().parse().ok()?, lng.trim().parse().ok()?);
    if !ascending {
        (lat, lng) = (-lat, if lng > 0.0 { lng - 180.0 } else { lng + 180.0 });
    }
    let place: Place = serde_json::from_str(place).ok()?;
    let (from, to) = (on_the_globe(lat, lng), on_the_globe(place.lat, place.lng));
    Some(from.iter().zip(to).map(|(from, to)| (from - to) * (from - to)).sum())
}

fn on_the_globe(lat: f64, lng: f64) -> [f64; 3] {
    let (lat, lng) = (lat.to_radians(), lng.to_radians());
    [lat.cos() * lng.cos(), lat.cos() * lng.sin(), lat.sin()]
}

/// Writes a hit with the place and the distance that one rule shows replaced.
fn write_hit(raw: Raw<'_>, (rule, place, distance): &Shown<'_>, out: &mut Vec<u8>) -> Result<(), MergeError> {
    let mut hit = ObjectWriter::new(out);
    for (name, value) in Members::parse(raw.get())?.0 {
        if name != DETAILS {
            hit.raw(&name, value.get());
            continue;
        }
        let mut details = ObjectWriter::new(hit.key(&name));
        for (name, value) in Members::parse(value.get())?.0 {
            if name != *rule {
                details.raw(&name, value.get());
                continue;
            }
            let mut detail = ObjectWriter::new(details.key(&name));
            for (name, value) in Members::parse(value.get())?.0 {
                match name.as_ref() {
                    "value" => detail.raw(&name, place),
                    "distance" => detail.raw(&name, distance),
                    _ => detail.raw(&name, value.get()),
                }
            }
            detail.finish();
        }
        details.finish();
    }
    hit.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reply(total: u64, hits: &[(u64, f64, f64, f64)]) -> Vec<u8> {
        let hit = |(id, words, lat, metres): &(u64, f64, f64, f64)| {
            json!({"id": id, "_rankingScoreDetails": {"words": {"order": 0, "score": words},
                "_geoPoint(0, 0):asc": {"order": 1, "value": {"lat": lat, "lng": 0.0}, "distance": metres},
                "_miroir_written:asc": {"order": 2, "value": id.to_string()}}})
        };
        json!({"hits": hits.iter().map(hit).collect::<Vec<_>>(), "estimatedTotalHits": total}).to_string().into_bytes()
    }

    fn shown(replies: &[Vec<u8>]) -> Option<Vec<(u64, f64)>> {
        let replies: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        let leveled = level(&replies).unwrap()?;
        let hits = leveled.iter().flat_map(|reply| {
            let reply: Value = serde_json::from_slice(reply).unwrap();
            reply["hits"].as_array().unwrap().clone()
        });
        let distance = |hit: Value| hit["_rankingScoreDetails"]["_geoPoint(0, 0):asc"]["distance"].as_f64().unwrap();
        Some(hits.map(|hit| (hit["id"].as_u64().unwrap(), distance(hit))).collect())
    }

    #[test]
    fn what_lies_within_a_metre_of_the_nearest_shows_its_distance() {
        let left = reply(900, &[(1, 1.0, 1.0, 10.2), (2, 1.0, 2.0, 11.5)]);
        let right = reply(900, &[(3, 1.0, 1.5, 11.0), (4, 0.5, 1.0, 10.3)]);
        assert_eq!(shown(&[left, right]), Some(vec![(1, 10.2), (2, 11.5), (3, 10.2), (4, 10.3)]));
    }

    #[test]
    fn of_few_the_first_written_within_a_whole_metre_is_shown() {
        let left = reply(5, &[(7, 1.0, 1.0, 10.2)]);
        let right = reply(5, &[(3, 1.0, 1.5, 10.9)]);
        assert_eq!(shown(&[left, right]), Some(vec![(7, 10.9), (3, 10.9)]));
    }

    #[test]
    fn what_is_level_stays_as_it_is() {
        let left = reply(900, &[(1, 1.0, 1.0, 10.0)]);
        let right = reply(900, &[(3, 1.0, 1.5, 12.0)]);
        assert_eq!(shown(&[left, right]), None);
        assert!(level(&[b"{}"]).is_err());
    }
}
