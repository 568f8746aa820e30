//! Dynamic search rules: kept by every node, and what they pin placed among the hits of all.

use serde_json::{Value, json};

use crate::support::client::{Client, eventually};
use crate::support::fleet::is_embedded;
use crate::support::{Fleet, FleetOptions, Single};

const RULES: &str = "/dynamic-search-rules";

fn switch(client: &Client, on: bool) {
    client.json("PATCH", "/experimental-features", &json!({"dynamicSearchRules": on})).ok();
}

fn write(client: &Client, uid: &str, rule: &Value) -> Value {
    client.done(&client.json("PATCH", &format!("{RULES}/{uid}"), rule))
}

/// A rule that pins documents at positions.
fn pinning(conditions: Value, pins: &[(u32, u32)]) -> Value {
    let action = |(id, position): &(u32, u32)| json!({"selector": {"indexUid": "films", "id": id.to_string()}, "action": {"type": "pin", "position": position}});
    json!({"conditions": conditions, "actions": pins.iter().map(action).collect::<Vec<_>>()})
}

/// Without what differs from one moment or one process to the next.
fn settled(mut value: Value) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = settled(item.take())),
        Value::Object(members) => {
            let moments = ["lastUpdatedAt", "processingTimeMs", "requestUid", "enqueuedAt", "startedAt", "finishedAt"];
            for name in moments.into_iter().chain(["duration", "uid", "taskUid", "batchUid"]) {
                if name != "uid" || members.contains_key("batchUid") {
                    members.remove(name);
                }
            }
            members.values_mut().for_each(|member| *member = settled(member.take()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// Films of four genres; each fifth one is about a storm.
fn films(client: &Client) {
    let settings = json!({
        "filterableAttributes": ["genre", "year"], "sortableAttributes": ["year"],
        "searchableAttributes": ["title", "story"], "stopWords": ["the"],
    });
    client.done(&client.json("PATCH", "/indexes/films/settings", &settings));
    let film = |id: u32| {
        let genre = ["drama", "comedy", "western", "horror"][(id % 4) as usize];
        let word = if id.is_multiple_of(5) { "storm" } else { "calm" };
        let story = format!("a {word} over the {} sea", ["red", "black", "white"][(id % 3) as usize]);
        json!({"id": id, "title": format!("Film number{id}"), "story": story, "genre": genre, "year": 1950 + id % 60})
    };
    client.add("films", &(1..=240).map(film).collect());
    client.add("books", &json!([{"id": 7, "title": "A storm"}, {"id": 8, "title": "A calm"}]));
}

#[test]
fn rules_are_written_and_read_as_on_one_node() {
    let fleet = Fleet::start();
    if is_embedded() {
        for (method, path) in [("POST", RULES), ("DELETE", RULES), ("GET", "/dynamic-search-rules/r")] {
            let refused = fleet.client.json(method, path, &json!({}));
            assert_eq!((refused.status, &refused.value()["code"]), (501, &json!("miroir_not_supported")), "{method}");
        }
        return;
    }
    let said = |client: &Client| {
        let one = |uid: &str| format!("{RULES}/{uid}");
        let mut said = vec![client.post(RULES, &json!({})).value(), client.get(&one("a")).value()];
        said.push(client.json("PATCH", &one("a"), &json!({"active": true})).value());
        switch(client, true);
        said.push(client.post(RULES, &json!({})).ok());
        let full = json!({
            "description": "Storms first", "precedence": 3,
            "conditions": {
                "query": {"words": "storm sea"}, "time": {"start": "2020-01-01T00:00:00Z", "end": "2120-01-01T00:00:00Z"},
            },
            "actions": [{"selector": {"id": "7"}, "action": {"type": "pin", "position": 2}}],
        });
        said.push(write(client, "a", &full));
        said.push(write(client, "b", &pinning(json!({"query": {"isEmpty": true}}), &[(1, 0), (2, 4)])));
        said.push(write(client, "c", &json!({"active": false, "description": "Nothing at all"})));
        for listed in [
            json!({}),
            json!({"offset": 1, "limit": 1}),
            json!({"filter": {"active": false}}),
            json!({"filter": {"query": "storms", "active": true}}),
            json!({"filter": {"nope": 1}}),
            json!({"limit": -1}),
        ] {
            said.push(client.post(RULES, &listed).value());
        }
        for changed in [json!({"precedence": null}), json!({"active": null, "conditions": null}), json!({})] {
            said.push(write(client, "a", &changed));
            said.push(client.get(&one("a")).ok());
        }
        for wrong in [
            json!({"conditions": {"query": {"isEmpty": true, "words": "a"}}}),
            json!({"conditions": {"time": {"start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}}}),
            json!({"actions": [{"selector": {"id": "1"}, "action": {"type": "boost", "factor": 2}}]}),
            json!({"actions": [{"selector": {}, "action": {"type": "pin", "position": 2}}]}),
            json!({"precedence": -1}),
            json!({"nope": 1}),
        ] {
            let refused = client.json("PATCH", &one("a"), &wrong);
            said.extend([json!(refused.status), refused.value()]);
        }
        said.push(client.get(&one("nobody")).value());
        said.push(client.done(&client.delete(&one("nobody"))));
        said.push(client.done(&client.delete(&one("c"))));
        said.push(client.post(RULES, &json!({})).ok());
        said.push(client.done(&client.delete(RULES)));
        said.push(client.post(RULES, &json!({})).ok());
        said.push(client.done(&client.delete(RULES)));
        said.into_iter().map(settled).collect::<Vec<_>>()
    };
    let of_one = said(&Single::start().client);
    for (at, (of_fleet, of_one)) in said(&fleet.client).iter().zip(&of_one).enumerate() {
        assert_eq!(of_fleet, of_one, "answer {at}");
    }
    let unnamed = fleet.client.json("PATCH", "/dynamic-search-rules/no%20name", &json!({}));
    // A rule that can have no such name is not there.
    assert_eq!((unnamed.status, &unnamed.value()["code"]), (404, &json!("invalid_index_uid")));
    let noted = fleet.client.json("PATCH", "/dynamic-search-rules/d?customMetadata=mine", &json!({"active": true}));
    assert_eq!(fleet.client.done(&noted)["customMetadata"], "mine");
    for (rule, word) in [
        (json!({"conditions": {"filter": {"values": {"genre": "drama"}}}}), "`filter`"),
        (pinning(json!({}), &[(1, 501)]), "position 501"),
    ] {
        let refused = fleet.client.json("PATCH", "/dynamic-search-rules/d", &rule).value();
        assert_eq!(refused["code"], "miroir_not_supported");
        assert!(refused["message"].as_str().is_some_and(|message| message.contains(word)), "{refused}");
    }
}

#[test]
fn pins_stand_where_one_node_has_them() {
    if is_embedded() {
        return;
    }
    let (single, fleet) = (Single::start(), Fleet::start());
    let searches = [
        json!({}),
        json!({"q": ""}),
        json!({"q": "  "}),
        json!({"q": "storm"}),
        json!({"q": "Storm sea", "attributesToHighlight": ["*"], "showMatchesPosition": true}),
        json!({"q": "storm", "attributesToCrop": ["story"], "cropLength": 3, "attributesToRetrieve": ["title"]}),
        json!({"q": "the storm", "showRankingScore": true, "showRankingScoreDetails": true}),
        json!({"q": "calm red", "facets": ["genre", "year"]}),
        json!({"q": "storm", "facets": ["genre"], "filter": "genre = drama"}),
        json!({"q": "storm", "filter": ["year > 1960", ["genre = horror", "genre = western"]]}),
        json!({"q": "number12", "limit": 50}),
        json!({"q": "nothingofthekind"}),
        json!({"sort": ["year:desc"], "limit": 30}),
        json!({"q": "storm", "sort": ["year:asc"], "matchingStrategy": "all"}),
        json!({"q": "storm -red"}),
        json!({"q": "sotrm"}),
        json!({"q": "storm", "attributesToSearchOn": ["title"]}),
    ];
    let same = |what: &str| {
        for search in &searches {
            for page in [
                json!({}),
                json!({"offset": 3, "limit": 4}),
                json!({"limit": 1}),
                json!({"limit": 0}),
                json!({"page": 1, "hitsPerPage": 6}),
                json!({"page": 2, "hitsPerPage": 7}),
                json!({"offset": 200, "limit": 60}),
            ] {
                let mut body = search.clone();
                body.as_object_mut().expect("a search").extend(page.as_object().expect("a page").clone());
                let of_one = settled(single.client.search("films", &body));
                assert_eq!(settled(fleet.client.search("films", &body)), of_one, "{what}: {body}");
            }
        }
        let of_index = |index: &str, q: &str| json!({"indexUid": index, "q": q, "limit": 5});
        let several = json!({"queries": [of_index("films", "storm"), of_index("books", ""), of_index("films", "")]});
        let [of_one, of_fleet] =
            [&single.client, &fleet.client].map(|client| settled(client.post("/multi-search", &several).ok()));
        assert_eq!(of_fleet, of_one, "{what}");
        let [of_one, of_fleet] = [&single.client, &fleet.client].map(|client| {
            let query = json!({"facetName": "genre", "q": "storm"});
            settled(client.post("/indexes/films/facet-search", &query).ok())
        });
        assert_eq!(of_fleet, of_one, "{what}");
    };
    for client in [&single.client, &fleet.client] {
        films(client);
    }
    same("before");
    let both = |uid: &str, rule: &Value| {
        for client in [&single.client, &fleet.client] {
            write(client, uid, rule);
        }
    };
    for client in [&single.client, &fleet.client] {
        switch(client, true);
    }
    let with = |precedence: u32, mut rule: Value| {
        rule["precedence"] = json!(precedence);
        rule
    };
    both("empty", &with(10, pinning(json!({"query": {"isEmpty": true}}), &[(200, 0), (3, 2), (77, 2), (150, 9)])));
    same("where nothing is searched for");
    both("storm", &with(5, pinning(json!({"query": {"words": "storm"}}), &[(11, 1), (12, 0), (13, 30), (240, 31)])));
    same("a later position before an earlier one");
    let elsewhere = json!({"actions": [
        {"selector": {"id": "7"}, "action": {"type": "pin", "position": 3}},
        {"selector": {"indexUid": "books", "id": "8"}, "action": {"type": "pin", "position": 0}},
        {"selector": {"indexUid": "films", "id": "9999"}, "action": {"type": "pin", "position": 0}},
    ]});
    both("any", &with(7, elsewhere));
    same("of every search");
    both("red", &with(1, pinning(json!({"query": {"words": "red"}}), &[(11, 5), (50, 0), (51, 0), (52, 0)])));
    same("the same document by two rules");
    let past = json!({"time": {"end": "2021-01-01T00:00:00Z"}});
    both("past", &with(0, pinning(past, &[(100, 0)])));
    both("future", &with(0, pinning(json!({"time": {"start": "2099-01-01T00:00:00Z"}}), &[(101, 0)])));
    same("out of their time");
    both("empty", &json!({"active": false}));
    both("any", &json!({"precedence": null}));
    same("one that is off and one without precedence");
    for client in [&single.client, &fleet.client] {
        client.done(&client.delete(&format!("{RULES}/storm")));
    }
    same("after a deletion");
    for client in [&single.client, &fleet.client] {
        switch(client, false);
    }
    same("switched off");
    for client in [&single.client, &fleet.client] {
        switch(client, true);
        client.done(&client.delete(RULES));
    }
    same("after all");
}

#[test]
fn searches_in_which_pins_cannot_be_placed_are_refused_by_name() {
    if is_embedded() {
        return;
    }
    let fleet = Fleet::start();
    films(&fleet.client);
    switch(&fleet.client, true);
    let federated = json!({"federation": {}, "queries": [{"indexUid": "films", "q": "storm"}]});
    let refused = [
        ("/indexes/films/search", json!({"q": "storm", "distinct": "genre"}), "a distinct attribute"),
        ("/indexes/films/search", json!({"q": "storm", "rankingScoreThreshold": 0.5}), "`rankingScoreThreshold`"),
        ("/indexes/films/search", json!({"q": "storm sea", "matchingStrategy": "frequency"}), "`frequency`"),
        ("/indexes/films/search", json!({"q": "storm", "limit": 1000}), "`maxTotalHits`"),
        ("/multi-search", federated, "a federated search"),
    ];
    for (path, body, _) in &refused {
        fleet.client.post(path, body).ok();
    }
    write(&fleet.client, "mine", &pinning(json!({"query": {"words": "storm"}}), &[(11, 0)]));
    for (path, body, word) in &refused {
        let answer = fleet.client.post(path, body);
        let said = answer.value();
        assert_eq!((answer.status, &said["code"]), (501, &json!("miroir_not_supported")), "{body}: {said}");
        let message = said["message"].as_str().expect("a message");
        assert!(message.contains("`mine`") && message.contains(word), "{message}");
    }
    // Of an index in which nothing is pinned nothing is refused.
    fleet.client.post("/indexes/books/search", &json!({"rankingScoreThreshold": 0.1})).ok();
    write(&fleet.client, "mine", &json!({"active": false}));
    for (path, body, _) in &refused {
        fleet.client.post(path, body).ok();
    }
    // Two rules of one precedence: nobody knows which the engine would take first.
    let of_one = |ids: &[(u32, u32)]| pinning(json!({}), ids);
    write(&fleet.client, "mine", &of_one(&(1..20).map(|id| (id, 0)).collect::<Vec<_>>()));
    let answer = fleet.client.post("/indexes/films/search", &json!({}));
    assert!(answer.header("x-miroir-inexact").is_none(), "one rule: {:?}", answer.headers);
    write(&fleet.client, "mine", &json!({"active": true}));
    assert!(fleet.client.post("/indexes/films/search", &json!({})).header("x-miroir-inexact").is_none());
    write(&fleet.client, "yours", &of_one(&(21..40).map(|id| (id, 0)).collect::<Vec<_>>()));
    let answer = fleet.client.post("/indexes/films/search", &json!({}));
    assert_eq!(answer.header("x-miroir-inexact"), Some("order"));
    write(&fleet.client, "yours", &json!({"precedence": 1}));
    assert!(fleet.client.post("/indexes/films/search", &json!({})).header("x-miroir-inexact").is_none());
}

#[test]
fn a_node_that_was_away_has_the_rules_when_it_serves() {
    if is_embedded() {
        return;
    }
    let more = "scrub: { interval: 1d, bandwidth: 0 }\n".to_owned();
    let mut fleet = Fleet::with(FleetOptions { replication_factor: 2, more, ..Default::default() });
    films(&fleet.client);
    switch(&fleet.client, true);
    for uid in ["a", "b"] {
        write(&fleet.client, uid, &pinning(json!({"query": {"words": uid}}), &[(1, 0)]));
    }
    fleet.nodes[1].kill();
    fleet.await_state("node-1", "down");
    fleet.client.done(&fleet.client.delete(&format!("{RULES}/a")));
    write(&fleet.client, "b", &json!({"description": "changed"}));
    write(&fleet.client, "c", &pinning(json!({}), &[(2, 0)]));
    fleet.nodes[1].restart();
    fleet.await_state("node-1", "up");
    let held = |fleet: &Fleet, node: usize| {
        let listed = settled(fleet.nodes[node].client.post(RULES, &json!({})).ok());
        let mut rules = listed["results"].as_array().expect("rules").clone();
        rules.sort_by_key(|rule| rule["uid"].to_string());
        rules
    };
    assert_eq!(held(&fleet, 1), held(&fleet, 0));
    assert_eq!(held(&fleet, 1).len(), 2);

    // Changed past the gateway: the scrub finds it, and the node is repaired.
    let node = &fleet.nodes[2].client;
    node.done(&node.delete(&format!("{RULES}/c")));
    assert_eq!(fleet.admin.post("/scrub", &Value::Null).status, 202);
    let findings = eventually("a scrub ends", || {
        let last = fleet.admin.get("/scrub").ok()["last"].clone();
        (!last["finishedAt"].is_null()).then(|| last["findings"].clone())
    });
    assert_eq!((&findings[0]["what"], &findings[0]["nodes"]), (&json!("dynamicSearchRules"), &json!(["node-2"])));
    eventually("the node is repaired", || (held(&fleet, 2) == held(&fleet, 0)).then_some(()));
    fleet.await_state("node-2", "up");
}
