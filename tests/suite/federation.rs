//! Federated multi-searches: one node and the cluster give the same list.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::corpus::cities;
use crate::support::parity::{leaks, load, random_query};
use crate::support::random::Dice;
use crate::support::{Client, Fleet, FleetOptions, Single};

/// What a hit of a federation is ordered by: which search found it, its weighted score, and what its rules say.
fn rank(hit: &Value) -> String {
    let origin = &hit["_federation"];
    let mut rank = format!("{}#{} {}", origin["indexUid"], origin["queriesPosition"], origin["weightedRankingScore"]);
    let Some(details) = hit["_rankingScoreDetails"].as_object() else { return rank };
    let mut rules: Vec<_> = details.iter().collect();
    rules.sort_by_key(|(_, rule)| rule["order"].as_u64());
    for (name, rule) in rules {
        for field in ["attributeRankingOrderScore", "queryWordDistanceScore", "score", "value", "distance"] {
            if let Some(value) = rule.get(field) {
                rank += &format!("; {name}.{field}={value}");
            }
        }
    }
    rank
}

/// A document among those of all indexes.
fn identity(hit: &Value) -> String {
    format!("{}/{}", hit["_federation"]["indexUid"], hit["id"])
}

fn has(body: &Value, name: &str) -> bool {
    body["queries"].as_array().expect("queries").iter().any(|query| query.get(name).is_some())
}

/// Facets have an order, of which values with equal counts are free: the engine lists them as it finds them.
fn same_facets(want: &Value, got: &Value) -> bool {
    match (want, got) {
        (Value::Object(left), Value::Object(right)) => {
            let same = |(one, other): (&Value, &Value)| {
                one.is_object() == other.is_object() && (one.is_object() || one == other)
            };
            want == got
                && left.values().zip(right.values()).all(same)
                && left.iter().all(|(name, value)| same_facets(value, &right[name]))
        }
        _ => want == got,
    }
}

/// True if facets are asked for, whose lists may end in a tie.
fn is_cut(body: &Value) -> bool {
    body["federation"].get("facetsByIndex").is_some()
}

/// A hit as it is compared: which words a prefix of one or two letters stands for is capped by the engine per local
/// vocabulary, so what is marked as matching can differ there (docs/compatibility.md).
fn shown(hit: &Value, body: &Value) -> Value {
    let mut shown = hit.clone();
    let query = &body["queries"][hit["_federation"]["queriesPosition"].as_u64().expect("a position") as usize];
    let last = query["q"].as_str().and_then(|q| q.split_whitespace().last()).unwrap_or_default();
    if last.chars().count() < 3
        && let Some(map) = shown.as_object_mut()
    {
        map.remove("_formatted");
        map.remove("_matchesPosition");
    }
    shown
}

/// True if searches of one index are ranked by lists of rules of different lengths or kinds, so that nodes, whose lists end
/// with one rule more, do not count what several of them find once.
fn mixes_lists_of_rules(body: &Value) -> bool {
    let mut kinds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for query in body["queries"].as_array().expect("queries") {
        let has_words = query["q"].as_str().is_some_and(|words| !words.trim().is_empty());
        let index = query["indexUid"].as_str().expect("an index");
        kinds.entry(index).or_default().insert(format!("{has_words} {}", query["sort"]));
    }
    kinds.values().any(|kinds| kinds.len() > 1)
}

/// Asks both the same and describes the first difference; documents that tie may change places.
pub fn difference(single: &Client, cluster: &Client, body: &Value) -> Option<String> {
    let (want, got) = (single.post("/multi-search", body), cluster.post("/multi-search", body));
    if want.status != got.status {
        return Some(format!("status {} / {}: {} / {}", want.status, got.status, want.text, got.text));
    }
    let inexact = got.header("x-miroir-inexact").unwrap_or_default().to_owned();
    let (want, got) = (want.value(), got.value());
    if leaks(&got) {
        return Some(format!("a _miroir name leaks: {got}"));
    }
    if want.get("code").is_some() {
        return (want != got).then(|| format!("error {want} / {got}"));
    }
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    if keys(&want) != keys(&got) {
        return Some(format!("keys {:?} / {:?}", keys(&want), keys(&got)));
    }
    for (key, value) in want.as_object().expect("an answer") {
        // Under a threshold or distinct the engine's totals depend on where it stopped looking, and facets with them.
        let skipped = match key.as_str() {
            "processingTimeMs" | "requestUid" | "hits" => true,
            "estimatedTotalHits" | "totalHits" | "totalPages" => inexact.contains("totals"),
            "facetDistribution" | "facetStats" | "facetsByIndex" => inexact.contains("facets"),
            _ => false,
        };
        if skipped {
            continue;
        }
        let differ = match key.as_str() {
            "facetDistribution" | "facetsByIndex" => !same_facets(value, &got[key]),
            _ => *value != got[key],
        };
        if differ {
            return Some(format!("{key}: {value} / {}", got[key]));
        }
    }
    let (want_hits, got_hits) = (want["hits"].as_array()?, got["hits"].as_array()?);
    if want_hits.len() != got_hits.len() {
        return Some(format!("{} hits / {}", want_hits.len(), got_hits.len()));
    }
    let federation = &body["federation"];
    let count = |name: &str| federation[name].as_u64().map(|count| count as usize);
    let before = count("page").map(|page| page.saturating_sub(1) * count("hitsPerPage").unwrap_or(20));
    let offset = before.or(count("offset")).unwrap_or(0);
    let mut wide = body.clone();
    wide["federation"] = json!({"limit": 1000, "distinct": federation["distinct"]});
    for query in wide["queries"].as_array_mut().expect("queries") {
        let query = query.as_object_mut().expect("a query");
        query.remove("attributesToRetrieve");
        query.insert("showRankingScoreDetails".into(), json!(true));
    }
    let ranked = single.post("/multi-search", &wide).ok();
    let ranked = ranked["hits"].as_array()?;
    let rank_of: BTreeMap<String, String> = ranked.iter().map(|hit| (identity(hit), rank(hit))).collect();
    let bodies: BTreeMap<String, &Value> = want_hits.iter().map(|hit| (identity(hit), hit)).collect();
    let mut seen = BTreeSet::new();
    for (at, hit) in got_hits.iter().enumerate() {
        let id = identity(hit);
        if !seen.insert(id.clone()) {
            return Some(format!("{id} is repeated"));
        }
        let place = ranked.get(offset + at).map(rank);
        match rank_of.get(&id) {
            Some(rank) if Some(rank) != place.as_ref() => {
                return Some(format!("position {}: {id} has rank {rank}, not {place:?}", offset + at));
            }
            None if ranked.len() < 1000 && !has(body, "distinct") => return Some(format!("{id} should not be found")),
            Some(_) | None => {}
        }
        if let Some(twin) = bodies.get(&id).filter(|twin| shown(twin, body) != shown(hit, body)) {
            return Some(format!("{id}: {twin} / {hit}"));
        }
    }
    None
}

fn both(replication_factor: usize) -> (Single, Fleet) {
    let single = Single::start();
    let fleet = Fleet::with(FleetOptions { replication_factor, ..FleetOptions::default() });
    let documents = cities(0);
    let (cities, towns) = documents.split_at(documents.len() * 2 / 3);
    for client in [&single.client, &fleet.client] {
        load(client, "cities", cities);
        load(client, "towns", towns);
    }
    (single, fleet)
}

const OF_PAGES: [&str; 5] = ["limit", "offset", "page", "hitsPerPage", "facets"];

/// A random federation of one to four searches of two indexes.
fn random_federation(dice: &mut Dice, documents: &[Value]) -> Value {
    let mut queries = Vec::new();
    for _ in 0..=dice.roll(4) {
        let mut query = random_query(dice, documents);
        let object = query.as_object_mut().expect("a query");
        object.retain(|name, _| !OF_PAGES.contains(&name.as_str()));
        query["indexUid"] = dice.one(&[json!("cities"), json!("towns")]).clone();
        if dice.roll(2) == 0 {
            let weight = dice.one(&[0.5, 2.0, 1.3, 0.0, 1.0]);
            query["federationOptions"] = json!({ "weight": weight });
        }
        queries.push(query);
    }
    let mut federation = json!({});
    match dice.roll(5) {
        0 => federation["limit"] = dice.one(&[json!(0), json!(1), json!(5), json!(50)]).clone(),
        1 => {
            federation["offset"] = dice.one(&[json!(1), json!(7), json!(20)]).clone();
            federation["limit"] = json!(10);
        }
        2 => {
            federation["page"] = dice.one(&[json!(1), json!(2), json!(4)]).clone();
            federation["hitsPerPage"] = dice.one(&[json!(5), json!(20)]).clone();
        }
        _ => {}
    }
    for index in ["cities", "towns"] {
        if dice.roll(3) == 0 {
            let facets = [json!(["country"]), json!(["feature", "country"]), json!(null), json!([])];
            federation["facetsByIndex"][index] = dice.one(&facets).clone();
        }
    }
    if dice.roll(3) == 0 {
        federation["mergeFacets"] = dice.one(&[json!({}), json!({"maxValuesPerFacet": 3}), json!(null)]).clone();
    }
    // Which of two hits that tie stands for a distinct value decides what another search may still show.
    let several = queries.len() > 1;
    for query in queries.iter_mut().filter(|_| several) {
        query.as_object_mut().expect("a query").remove("distinct");
    }
    json!({"queries": queries, "federation": federation})
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn agree(replication_factor: usize) {
    let seed = setting("MIROIR_PARITY_SEED", 29) + replication_factor as u64;
    let (single, fleet) = both(replication_factor);
    let documents = cities(0);
    let mut dice = Dice::new(seed);
    for n in 0..setting("MIROIR_PARITY_QUERIES", 250) {
        let body = random_federation(&mut dice, &documents);
        if let Some(difference) = difference(&single.client, &fleet.client, &body) {
            panic!("seed {seed}, federation {n}: {body}\n{difference}");
        }
        let leaves_out = has(&body, "distinct") || has(&body, "rankingScoreThreshold");
        if !leaves_out && !is_cut(&body) && !mixes_lists_of_rules(&body) {
            let inexact = fleet.client.post("/multi-search", &body).header("x-miroir-inexact").map(str::to_owned);
            assert_eq!(inexact, None, "seed {seed}, federation {n}: {body}");
        }
    }
}

#[test]
fn random_federations_agree_with_one_node_at_replication_factor_one() {
    agree(1);
}

#[test]
fn random_federations_agree_with_one_node_at_replication_factor_two() {
    agree(2);
}

/// Two indexes whose settings differ, searched by several searches each.
#[test]
fn what_makes_a_list_of_several_searches_is_as_one_node_has_it() {
    let (single, fleet) = both(2);
    for client in [&single.client, &fleet.client] {
        let sortable = json!({"sortableAttributes": ["population", "name", "id", "_geo"]});
        for index in ["cities", "towns"] {
            client.done(&client.json("PATCH", &format!("/indexes/{index}/settings"), &sortable));
        }
        let rules = json!({"rankingRules": ["words", "typo", "population:desc", "proximity", "attribute", "sort", "exactness"]});
        client.done(&client.json("PATCH", "/indexes/towns/settings", &rules));
    }
    // Every document has a place of its own, so that ties decide nothing.
    let order = json!(["population:desc", "name:asc", "id:asc"]);
    for body in [
        // The total, the facets and the best of searches that find the same documents.
        json!({"federation": {"facetsByIndex": {"cities": ["feature", "country"]}}, "queries": [
            {"indexUid": "cities", "q": "san"},
            {"indexUid": "cities", "q": "san jose", "federationOptions": {"weight": 0.9}},
            {"indexUid": "cities", "q": "santa", "filter": "country = PH", "federationOptions": {"weight": 1.2}}]}),
        // Distinct values, over searches and nodes.
        json!({"federation": {"limit": 60}, "queries": [
            {"indexUid": "cities", "q": "", "sort": order, "distinct": "country", "filter": "population > 1000"}]}),
        json!({"federation": {"limit": 60}, "queries": [
            {"indexUid": "cities", "q": "san", "sort": order, "distinct": "country"},
            {"indexUid": "cities", "q": "santa", "sort": order, "distinct": "country",
                "attributesToRetrieve": ["id", "name"], "federationOptions": {"weight": 1.1}}]}),
        json!({"federation": {"offset": 5, "limit": 7}, "queries": [
            {"indexUid": "cities", "q": "san", "sort": order, "distinct": "country", "attributesToRetrieve": ["id"]},
            {"indexUid": "cities", "q": "la", "sort": order}]}),
        // Distinct values over searches, nodes and indexes.
        json!({"federation": {"limit": 60, "distinct": "country"}, "queries": [
            {"indexUid": "cities", "q": "san", "sort": order},
            {"indexUid": "cities", "q": "santa", "sort": order, "federationOptions": {"weight": 1.1}}]}),
        json!({"federation": {"limit": 200, "distinct": "country"}, "queries": [
            {"indexUid": "cities", "sort": order, "filter": "population > 1000"},
            {"indexUid": "towns", "sort": order, "attributesToRetrieve": ["id"]}]}),
        json!({"federation": {"offset": 4, "limit": 9, "distinct": "feature",
            "facetsByIndex": {"cities": ["country"], "towns": ["feature"]}}, "queries": [
            {"indexUid": "cities", "sort": order}, {"indexUid": "towns", "sort": order},
            {"indexUid": "towns", "sort": order, "filter": "country = FR"}]}),
        json!({"federation": {"page": 2, "hitsPerPage": 5, "distinct": "country", "mergeFacets": {},
            "facetsByIndex": {"cities": ["country"], "towns": ["country"]}}, "queries": [
            {"indexUid": "cities", "sort": order}, {"indexUid": "towns", "sort": order}]}),
        json!({"federation": {"distinct": "feature"}, "queries": [{"indexUid": "towns", "sort": order}]}),
        // The nearest and the farthest.
        json!({"federation": {"limit": 40}, "queries": [
            {"indexUid": "cities", "sort": ["_geoPoint(48.85, 2.35):asc"], "filter": "country = FR"},
            {"indexUid": "cities", "sort": ["_geoPoint(40.71, -74.0):asc"], "filter": "population > 100000"}]}),
        json!({"federation": {"limit": 40}, "queries": [
            {"indexUid": "cities", "sort": ["_geoPoint(48.85, 2.35):desc"]},
            {"indexUid": "towns", "sort": ["_geoPoint(40.71, -74.0):desc"]}]}),
        // Rules that sort between rules of relevancy, and sorts that all share.
        json!({"federation": {"limit": 100}, "queries": [
            {"indexUid": "towns", "q": "new"}, {"indexUid": "towns", "q": "new town"}]}),
        json!({"federation": {"limit": 100}, "queries": [
            {"indexUid": "cities", "q": "", "sort": ["name:asc"]},
            {"indexUid": "cities", "q": "", "sort": ["name:asc"], "filter": "population > 500"}]}),
        // Facets of all indexes as one.
        json!({"federation": {"mergeFacets": {}, "facetsByIndex": {"cities": ["country", "feature"], "towns": ["country"]}},
            "queries": [{"indexUid": "cities", "q": "a"}, {"indexUid": "towns", "q": ""}]}),
        json!({"federation": {"mergeFacets": {"maxValuesPerFacet": 2}, "facetsByIndex": {"cities": ["*"], "towns": []}},
            "queries": [{"indexUid": "cities", "filter": "country = CH"}, {"indexUid": "towns", "q": "x"}]}),
        json!({"federation": {"facetsByIndex": {"cities": ["*"], "towns": ["country"]}},
            "queries": [{"indexUid": "cities", "filter": "country = CH"}]}),
        json!({"federation": {"limit": 0, "facetsByIndex": {"cities": ["country"]}}, "queries": [{"indexUid": "cities"}]}),
        json!({"federation": {}, "queries": []}),
        json!({"federation": {"offset": 3, "limit": 2, "facetsByIndex": {"cities": ["country"]}}, "queries": []}),
    ] {
        if let Some(difference) = difference(&single.client, &fleet.client, &body) {
            panic!("{body}\n{difference}");
        }
    }
}

/// Nodes leave out the words that are frequent in their own documents, and the answer says so.
#[test]
fn a_federation_that_leaves_out_words_by_their_frequency_says_so() {
    let (_single, fleet) = both(1);
    let asked = |strategy: &str| {
        let query = json!({"indexUid": "cities", "q": "san jose city", "matchingStrategy": strategy});
        let body = json!({"federation": {}, "queries": [query]});
        fleet.client.post("/multi-search", &body).header("x-miroir-inexact").map(str::to_owned)
    };
    assert_eq!(asked("frequency").as_deref(), Some("order, totals, facets"));
    assert_eq!(asked("last"), None);
}

#[test]
fn a_wrong_federation_is_refused_in_the_engines_words() {
    let (single, fleet) = both(2);
    for client in [&single.client, &fleet.client] {
        let faceting = json!({"faceting": {"sortFacetValuesBy": {"country": "alpha"}}});
        client.done(&client.json("PATCH", "/indexes/towns/settings", &faceting));
    }
    let ask = |federation: Value, queries: Value| json!({"federation": federation, "queries": queries});
    let one = |more: Value| {
        let mut query = json!({"indexUid": "cities", "q": "a"});
        query.as_object_mut().expect("a query").extend(more.as_object().expect("more").clone());
        ask(json!({}), json!([{"indexUid": "towns"}, query]))
    };
    let in_both = json!([{"indexUid": "cities"}, {"indexUid": "towns"}]);
    for body in [
        one(json!({"limit": 3})),
        one(json!({"hitsPerPage": 3})),
        one(json!({"facets": ["country"]})),
        one(json!({"indexUid": "nowhere"})),
        one(json!({"filter": "nothing = 1"})),
        one(json!({"filter": "country ="})),
        one(json!({"sort": ["feature:asc"]})),
        one(json!({"hybrid": {"embedder": "none"}})),
        one(json!({"federationOptions": {"weight": -1}})),
        one(json!({"federationOptions": {"weight": "x"}})),
        one(json!({"federationOptions": {"remote": "elsewhere"}})),
        one(json!({"federationOptions": {"queryPosition": 3}})),
        one(json!({"federationOptions": {"unknown": 3}})),
        one(json!({"unknown": 3})),
        ask(json!({"unknown": 1}), json!([])),
        ask(json!({"limit": -1}), json!([])),
        ask(json!({"limit": null}), json!([])),
        ask(json!({"distinct": 3}), json!([{"indexUid": "cities"}])),
        ask(json!({"distinct": "name"}), json!([{"indexUid": "cities"}, {"indexUid": "towns"}])),
        ask(json!({"distinct": "country"}), json!([{"indexUid": "cities", "distinct": "feature"}])),
        ask(json!({"mergeFacets": 1}), json!([])),
        ask(json!({"mergeFacets": {"maxValuesPerFacet": "x"}}), json!([])),
        ask(json!({"facetsByIndex": []}), json!([])),
        ask(json!({"facetsByIndex": {"cities": ["name"]}}), json!([{"indexUid": "cities"}])),
        ask(json!({"facetsByIndex": {"cities": ["name"]}}), json!([{"indexUid": "towns"}])),
        ask(json!({"facetsByIndex": {"nowhere": ["name"]}}), json!([{"indexUid": "towns"}])),
        ask(json!({"facetsByIndex": {"no where": ["name"]}}), json!([{"indexUid": "towns"}])),
        ask(
            json!({"mergeFacets": {}, "facetsByIndex": {"cities": ["country"], "towns": ["country"]}}),
            in_both.clone(),
        ),
        ask(
            json!({}),
            json!([{"indexUid": "cities", "sort": ["population:asc"]},
            {"indexUid": "cities", "sort": ["population:desc"]}]),
        ),
        ask(
            json!({}),
            json!([{"indexUid": "cities", "sort": ["population:asc", "_geoPoint(1, 2):asc", "population:desc"]},
            {"indexUid": "towns", "sort": ["population:asc", "name:asc", "_geoPoint(1, 2):asc"]}]),
        ),
        // The rule that breaks ties on nodes is in the way, and the index is asked alone.
        ask(
            json!({}),
            json!([{"indexUid": "cities", "q": "a"}, {"indexUid": "towns", "q": "a", "sort": ["feature:asc"]}]),
        ),
        ask(
            json!({}),
            json!([{"indexUid": "towns", "q": "a"}, {"indexUid": "cities", "q": "a"},
            {"indexUid": "towns", "q": "b", "sort": ["feature:asc"]}]),
        ),
        ask(json!([]), json!([])),
    ] {
        let (want, got) = (single.client.post("/multi-search", &body), fleet.client.post("/multi-search", &body));
        assert!((400..500).contains(&want.status), "{body}: {}", want.text);
        assert_eq!((want.status, want.value()), (got.status, got.value()), "{body}");
    }
}

#[test]
fn positions_are_the_clients_where_the_engine_allows_to_choose_them() {
    let (single, fleet) = both(2);
    for client in [&single.client, &fleet.client] {
        client.json("PATCH", "/experimental-features", &json!({"network": true})).ok();
    }
    let body = json!({"federation": {"limit": 50}, "queries": [
        {"indexUid": "cities", "q": "san", "federationOptions": {"queryPosition": 9}},
        {"indexUid": "cities", "q": "san", "filter": "country = PH", "federationOptions": {"queryPosition": 2}},
        {"indexUid": "towns", "q": "san", "federationOptions": {"queryPosition": 5, "weight": 1}}]});
    let ranks = |client: &Client| -> Vec<String> {
        let answer = client.post("/multi-search", &body).ok();
        answer["hits"].as_array().expect("hits").iter().map(rank).collect()
    };
    let (want, got) = (ranks(&single.client), ranks(&fleet.client));
    assert!(want.iter().any(|rank| rank.contains("#2")) && want.iter().any(|rank| rank.contains("#9")));
    assert_eq!(want, got);
}
