//! The operator's rules, between real clients and real nodes.

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::{Client, Fleet, FleetOptions};

const MASTER: &str = "a-master-key-for-rules";

/// A gateway with these `rules`, and a client that may do everything.
fn ruled(rules: &str) -> Fleet {
    let more = format!("rules:\n{rules}");
    Fleet::with(FleetOptions { master_key: Some(MASTER), more, ..FleetOptions::default() })
}

/// A client with a key of these actions on all indexes, and its uid.
fn with_key(fleet: &Fleet, actions: &[&str]) -> (Client, String) {
    let asked = json!({"actions": actions, "indexes": ["*"], "expiresAt": null});
    let key = fleet.client.post("/keys", &asked).ok();
    let text = |name: &str| key[name].as_str().expect("a text").to_owned();
    (fleet.client.with_key(&text("key")), text("uid"))
}

/// A client with a tenant token that says `claims`.
fn tenant(fleet: &Fleet, rules: &Value, claims: Value) -> Client {
    let (client, uid) = with_key(fleet, &["search"]);
    let mut all = claims;
    all["apiKeyUid"] = uid.into();
    all["searchRules"] = rules.clone();
    let secret = client.key.clone().expect("a key");
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &all, &key).expect("a token");
    client.with_key(&token)
}

fn ids(answer: &Value) -> Vec<u64> {
    let hits = answer["hits"].as_array().or(answer["results"].as_array()).expect("hits");
    let mut ids: Vec<u64> = hits.iter().map(|hit| hit["id"].as_u64().expect("an id")).collect();
    ids.sort_unstable();
    ids
}

/// Values of which each tries to be more than a value.
const TENANTS: [&str; 12] = [
    "plain",
    "a\"b",
    "a'b",
    "back\\slash",
    "end\\",
    "\\\"",
    "\\u{61}",
    "x\" OR tenant != \"x",
    "' OR id > 0 OR '",
    "\\\\\" OR id > 0 OR tenant = \"",
    "line\nbreak\ttab",
    "ünï ☃ AND NOT",
];

#[test]
fn a_tenant_finds_its_own_documents_whatever_it_is_called() {
    let fleet = ruled(
        "  - name: tenant\n    indexes: [orders]\n    unless: { headers: { x-test-setup: \"*\" } }\n    \
         filter: 'tenant = ${quote(claims.tenant)}'\n",
    );
    let documents = TENANTS.iter().enumerate().map(|(id, tenant)| json!({"id": id, "tenant": tenant, "kind": "order"}));
    let settings = json!({"filterableAttributes": ["tenant", "id", "kind"]});
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/orders/settings", &settings));
    fleet.client.add("orders", &documents.collect());
    for (id, name) in TENANTS.iter().enumerate() {
        let client = tenant(&fleet, &json!(["*"]), json!({"tenant": name}));
        let own = vec![id as u64];
        let everything = json!({"filter": "id >= 0 OR tenant EXISTS", "limit": 100});
        assert_eq!(ids(&client.search("orders", &everything)), own, "{name}");
        let by_get = "/indexes/orders/search?limit=100&filter=id+%3E%3D+0";
        assert_eq!(ids(&client.get(by_get).ok()), own, "{name}");
        let several = json!({"queries": [{"indexUid": "orders"}, {"indexUid": "orders", "filter": ["id >= 0"]}]});
        let several = client.post("/multi-search", &several).ok();
        assert!(several["results"].as_array().expect("results").iter().all(|one| ids(one) == own), "{several}");
        let federated = json!({"federation": {}, "queries": [{"indexUid": "orders"}]});
        assert_eq!(ids(&client.post("/multi-search", &federated).ok()), own, "{name}");
        let facets = client.post("/indexes/orders/facet-search", &json!({"facetName": "kind"})).ok();
        assert_eq!(facets["facetHits"], json!([{"value": "order", "count": 1}]), "{name}");
    }
    let nobody = tenant(&fleet, &json!(["*"]), json!({}));
    let refused = nobody.post("/indexes/orders/search", &json!({}));
    assert_eq!((refused.status, &refused.value()["code"]), (403, &json!("miroir_refused")), "{}", refused.text);
    // What the gateway cannot read, and so cannot filter, finds nothing either.
    let client = tenant(&fleet, &json!(["*"]), json!({"tenant": "plain"}));
    for (method, path, body) in [
        ("GET", "/indexes/orders/search?limit=x", ""),
        ("POST", "/indexes/orders/search", "[]"),
        ("POST", "/indexes/orders/search", "{\"limit\": 10, \"limits\": 1}"),
        ("POST", "/multi-search", "{\"queries\": [{\"indexUid\": \"orders\"}, 7]}"),
    ] {
        let reply = client.send(method, path, &[("Content-Type", "application/json")], body.as_bytes());
        assert_eq!(reply.status, 400, "{method} {path} {body}: {}", reply.text);
    }
    assert!(fleet.metric("miroir_rules_total{outcome=\"refused\",rule=\"tenant\"}") >= 1.0);
}

#[test]
fn a_rule_leads_nobody_where_the_key_does_not() {
    let fleet = ruled(
        "  - { name: route, on: [search, fetchDocuments, addDocuments], indexes: [shop], route: \"shop_${headers.x-to}\", missing: skip }\n",
    );
    for index in ["shop", "shop_eu", "shop_secret"] {
        fleet.client.add(index, &json!([{"id": 1, "from": index}]));
    }
    let asked = json!({"actions": ["search", "documents.*"], "indexes": ["shop", "shop_eu"], "expiresAt": null});
    let key = fleet.client.post("/keys", &asked).ok();
    let client = fleet.client.with_key(key["key"].as_str().expect("a key"));
    let ask = |client: &Client, method: &str, path: &str, to: &str, body: &Value| {
        let headers = [("Content-Type", "application/json"), ("X-To", to)];
        client.send(method, path, &headers, body.to_string().as_bytes())
    };
    let search = ask(&client, "POST", "/indexes/shop/search", "eu", &json!({}));
    assert_eq!(search.ok()["hits"][0]["from"], "shop_eu");
    let one = json!({"queries": [{"indexUid": "shop"}]});
    assert_eq!(ask(&client, "POST", "/multi-search", "eu", &one).ok()["results"][0]["hits"][0]["from"], "shop_eu");
    fleet.client.done(&ask(&client, "POST", "/indexes/shop/documents", "eu", &json!([{"id": 2, "from": "a write"}])));
    assert_eq!(fleet.client.get("/indexes/shop_eu/documents/2").ok()["from"], "a write");

    let token = tenant(&fleet, &json!({"shop": null, "shop_eu": {"filter": "id = 7"}}), json!({}));
    for (client, path, body) in [
        (&client, "/indexes/shop/search", json!({})),
        (&client, "/multi-search", one.clone()),
        (&client, "/indexes/shop/documents/fetch", json!({})),
        (&client, "/indexes/shop/documents", json!([{"id": 3}])),
        (&token, "/indexes/shop/search", json!({})),
        (&token, "/multi-search", one),
    ] {
        let refused = ask(client, "POST", path, "secret", &body);
        assert_eq!(
            (refused.status, &refused.value()["code"]),
            (403, &json!("invalid_api_key")),
            "{path}: {}",
            refused.text
        );
    }
    // The token's own filter holds on the index that is asked in the end.
    fleet.client.done(&fleet.client.json("PUT", "/indexes/shop_eu/settings/filterable-attributes", &json!(["id"])));
    assert_eq!(ids(&ask(&token, "POST", "/indexes/shop/search", "eu", &json!({})).ok()), [] as [u64; 0]);
}

/// What a client may post to `products`.
fn posted() -> Vec<(&'static str, Value)> {
    vec![
        ("search", json!({})),
        (
            "search",
            json!({"q": "cheap", "showMatchesPosition": true, "attributesToHighlight": ["*"], "attributesToCrop": ["*"]}),
        ),
        ("search", json!({"q": "secret", "showRankingScoreDetails": true, "showRankingScore": true})),
        ("search", json!({"q": "expensive", "attributesToRetrieve": ["cost", "note", "id"]})),
        ("search", json!({"q": "secret", "attributesToSearchOn": ["*"]})),
        ("search", json!({"q": "secret", "attributesToSearchOn": ["n*"]})),
        ("search", json!({"q": "secret", "attributesToSearchOn": ["note"]})),
        ("search", json!({"q": "secret", "matchingStrategy": "all", "hitsPerPage": 2})),
        ("search", json!({"facets": ["*"]})),
        ("search", json!({"facets": ["cost", "kind"]})),
        ("search", json!({"facets": ["kind"], "filter": "cost > 50"})),
        ("search", json!({"filter": "\"cost\" > 50"})),
        ("search", json!({"filter": "'co\\u{73}t' > 50"})),
        ("search", json!({"filter": [["kind = a", "cost=99"]]})),
        ("search", json!({"filter": "NOT cost 1 TO 50"})),
        ("search", json!({"filter": "note = 'secret words'"})),
        ("search", json!({"sort": ["cost:desc"]})),
        ("search", json!({"distinct": "cost"})),
        ("search", json!({"filter": "kind = 'x' OR cost EXISTS"})),
        ("facet-search", json!({"facetName": "cost"})),
        ("facet-search", json!({"facetName": "kind", "q": "secret"})),
        ("facet-search", json!({"facetName": "kind", "filter": "cost > 50"})),
        ("documents/fetch", json!({})),
        ("documents/fetch", json!({"fields": ["cost", "id"]})),
        ("documents/fetch", json!({"filter": "cost > 50"})),
        ("documents/fetch", json!({"sort": ["cost:asc"]})),
        ("search", json!({"q": "secret", "retrieveVectors": true, "hybrid": {"embedder": "e", "semanticRatio": 1.0}})),
        ("search", json!({"vector": [0.1], "hybrid": {"embedder": "e"}, "retrieveVectors": true})),
        ("search", json!({"q": "secret", "personalize": {"userContext": "what costs much"}})),
        ("search", json!({"q": "secret", "showPerformanceDetails": true, "rankingScoreThreshold": 0.9})),
        ("search", json!({"filter": "_geoRadius(1, 2, 3)", "sort": ["_geoPoint(1, 2):asc"]})),
        ("search", json!({"media": {"cost": 1}, "hybrid": {"embedder": "e"}})),
        ("facet-search", json!({"facetName": "note.text", "facetQuery": "s"})),
        (
            "facet-search",
            json!({"facetName": "kind", "q": "secret", "attributesToSearchOn": ["note.text"], "exhaustiveFacetCount": true}),
        ),
        ("similar", json!({"id": 3, "embedder": "e", "showRankingScoreDetails": true})),
        ("similar", json!({"id": 3, "embedder": "e", "filter": "cost > 50"})),
        ("documents/fetch", json!({"ids": [3], "retrieveVectors": true, "fields": ["note.text", "id"]})),
        ("documents/edit", json!({"filter": "cost > 50", "function": "doc.kind = `x`"})),
        ("documents/edit", json!({"function": "doc.kind = `${doc.cost}`"})),
        ("documents/delete", json!({"filter": "cost > 50"})),
        ("fields", json!({})),
    ]
}

/// All that a client may ask of `products`, in every way it could try to learn the cost.
fn battery(client: &Client) -> Vec<(String, u16, Value)> {
    let gets = [
        "search?q=secret",
        "search?q=secret&attributesToSearchOn=*",
        "search?filter=cost+%3E+50",
        "search?sort=cost:asc",
        "search?facets=*",
        "documents?limit=10",
        "documents?fields=cost,id",
        "documents?filter=cost+%3E+50",
        "similar?id=3&embedder=e",
        "facet-search?facetName=cost",
        "documents/3",
        "documents/3?fields=cost",
        "stats",
    ];
    let several = [
        json!({"queries": [{"indexUid": "products", "q": "secret"}, {"indexUid": "products", "facets": ["*"]}]}),
        json!({"queries": [{"indexUid": "products", "filter": "cost > 50"}]}),
        json!({"federation": {}, "queries": [{"indexUid": "products"}, {"indexUid": "products", "q": "secret"}]}),
        json!({"federation": {"facetsByIndex": {"products": ["cost"]}}, "queries": [{"indexUid": "products"}]}),
        json!({"federation": {"facetsByIndex": {"products": ["*"]}, "mergeFacets": {}}, "queries": [{"indexUid": "products"}]}),
        json!({"federation": {"distinct": "cost"}, "queries": [{"indexUid": "products"}]}),
    ];
    let mut asked: Vec<(&str, String, Value)> = Vec::new();
    asked.extend(posted().into_iter().map(|(path, body)| ("POST", format!("/indexes/products/{path}"), body)));
    asked.extend(gets.map(|path| ("GET", format!("/indexes/products/{path}"), Value::Null)));
    asked.extend(several.map(|body| ("POST", "/multi-search".to_owned(), body)));
    asked.push(("GET", "/stats".to_owned(), Value::Null));
    // What carries whole documents elsewhere, or makes keys that no mask is for.
    let template = json!({"template": {"kind": "inlineDocumentTemplate", "inline": "{{ doc.cost }}"},
        "input": {"kind": "indexDocument", "indexUid": "products", "id": "3"}});
    asked.push(("POST", "/render-template".to_owned(), template));
    asked.push(("POST", "/export".to_owned(), json!({"url": "http://127.0.0.1:9", "indexes": {"products": {}}})));
    asked.push(("POST", "/dumps".to_owned(), json!({})));
    asked.push(("POST", "/snapshots".to_owned(), json!({})));
    asked.push(("POST", "/keys".to_owned(), json!({"actions": ["*"], "indexes": ["*"], "expiresAt": null})));
    asked.push(("POST", "/logs/stream".to_owned(), json!({"target": "info"})));
    for path in ["/keys", "/tasks/stream", "/batches/stream", "/tasks/0/documents", "/tasks/1/documents"] {
        asked.push(("GET", path.to_owned(), Value::Null));
    }
    asked.push(("PUT", "/indexes/products/settings/distinct-attribute".to_owned(), json!("cost")));
    asked.push(("PATCH", "/indexes/products/settings".to_owned(), json!({"rankingRules": ["cost:asc"]})));
    asked.push(("POST", "/swap-indexes".to_owned(), json!([{"indexes": ["products", "other"]}])));
    asked.push(("PATCH", "/indexes/products".to_owned(), json!({"uid": "renamed"})));
    let answers = asked.into_iter().map(|(method, path, body)| {
        let reply =
            if body.is_null() { client.send(method, &path, &[], b"") } else { client.json(method, &path, &body) };
        // Lines of a dump or a stream, or nothing, are looked through as they are.
        let mut answer = serde_json::from_str(&reply.text).unwrap_or_else(|_| Value::String(reply.text.clone()));
        timeless(&mut answer);
        (format!("{method} {path} {body}"), reply.status, answer)
    });
    answers.collect()
}

/// Takes out what differs from moment to moment, whatever the documents are.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in [
                "processingTimeMs",
                "performanceDetails",
                "requestUid",
                "isIndexing",
                "lastUpdate",
                "databaseSize",
                "usedDatabaseSize",
                "rawDocumentDbSize",
                "avgDocumentSize",
            ] {
                fields.remove(name);
            }
            fields.values_mut().for_each(timeless);
        }
        Value::Array(items) => items.iter_mut().for_each(timeless),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The documents with costs and notes of which nothing may be learnt.
fn products(cost: u64, note: &str) -> Value {
    let of = |id: u64| {
        let (cost, note) = if id == 3 { (cost, note) } else { (10 * id, "plain words") };
        json!({"id": id, "name": format!("a cheap thing {id}"), "kind": "a", "cost": cost, "note": {"text": note}})
    };
    (0..8).map(of).collect()
}

#[test]
fn nothing_that_is_masked_can_be_learnt_by_any_operation() {
    let fleet = ruled(
        "  - { name: costs, indexes: [products], mask: [cost, \"note.*\"], unless: { headers: { x-buyer: \"*\" } } }\n",
    );
    let facets = json!({"filterableAttributes": ["cost", "kind", "note"], "sortableAttributes": ["cost"]});
    let refused = fleet.client.json("PATCH", "/indexes/products/settings", &facets);
    assert_eq!(refused.status, 403, "the master key is under the mask, too: {}", refused.text);
    let buyer = [("X-Buyer", "1"), ("Content-Type", "application/json")];
    let as_buyer =
        |method: &str, path: &str, body: &Value| fleet.client.send(method, path, &buyer, body.to_string().as_bytes());
    fleet.client.done(&as_buyer("PATCH", "/indexes/products/settings", &facets));
    for searchable in [json!(["*"]), json!(["name", "kind"]), json!(["note", "name"])] {
        fleet.client.done(&as_buyer("PUT", "/indexes/products/settings/searchable-attributes", &searchable));
        fleet.client.add("products", &products(99, "secret words, expensive"));
        let one = battery(&fleet.client);
        let shown = as_buyer("POST", "/indexes/products/search", &json!({"filter": "cost = 99"})).ok();
        assert_eq!(shown["hits"][0]["note"]["text"], "secret words, expensive");
        fleet.client.add("products", &products(1, "other matter"));
        let other = battery(&fleet.client);
        for ((asked, status, answer), (_, other_status, other)) in one.into_iter().zip(other) {
            assert_eq!((status, &answer), (other_status, &other), "{asked} with {searchable}");
            let text = answer.to_string();
            assert!(!text.contains("99") && !text.contains("matter") && !text.contains("plain"), "{asked}: {text}");
            assert!(status < 500, "{asked}: {text}");
        }
    }
    let found = fleet.client.search("products", &json!({"q": "cheap", "filter": "kind = a"}));
    assert_eq!(found["hits"].as_array().map(Vec::len), Some(8), "{found}");
    assert_eq!(
        found["hits"][0].as_object().map(|hit| hit.keys().cloned().collect::<Vec<_>>()).unwrap_or_default(),
        ["id", "name", "kind", "note"]
    );
}

#[test]
fn who_asks_too_often_waits_and_is_known_behind_proxies() {
    let rules = "  - { name: rate, on: [search], indexes: [a], limit: { by: client.ip, rate: 1/h, burst: 3 } }\n\
                 trusted_proxies: { hops: 1 }\ncors: { origins: [\"https://shop.example\"] }\n";
    let fleet = ruled(rules);
    for index in ["a", "b"] {
        fleet.client.add(index, &json!([{"id": 1}]));
    }
    let ask = |from: &str, index: &str| {
        let headers = [("X-Forwarded-For", from), ("Origin", "https://shop.example")];
        fleet.client.send("GET", &format!("/indexes/{index}/search"), &headers, b"")
    };
    for left in [2, 1, 0] {
        let reply = ask("9.9.9.9, 203.0.113.7", "a");
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.header("ratelimit-policy"), Some("\"rate\";q=3;w=10800"));
        assert!(
            reply.header("ratelimit").is_some_and(|said| said.starts_with(&format!("\"rate\";r={left};t="))),
            "{:?}",
            reply.headers
        );
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://shop.example"));
    }
    // Whatever a client claims before the proxy's own word, it is the same client.
    let refused = ask("8.8.8.8, 203.0.113.7", "a");
    assert_eq!((refused.status, &refused.value()["code"]), (429, &json!("miroir_rate_limited")));
    assert!(
        refused.header("retry-after").and_then(|said| said.parse::<u64>().ok()).is_some_and(|seconds| seconds > 3000)
    );
    assert!(refused.header("access-control-expose-headers").is_some_and(|said| said.contains("ratelimit")));
    assert_eq!(ask("203.0.113.8", "a").status, 200);
    assert_eq!(ask("203.0.113.7", "b").status, 200);
    let foreign = fleet.client.send("GET", "/indexes/b/search", &[("Origin", "https://evil.example")], b"");
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, None));
    assert!(fleet.gateway().log().contains("203.0.113.7"));
}

#[test]
fn so_many_of_a_callers_requests_are_under_way_at_once() {
    let fleet = ruled("  - { name: few, on: [search], indexes: [a], concurrent: { by: client.ip, most: 2 } }\n");
    ["a", "b"].iter().for_each(|index| _ = fleet.client.add(index, &json!([{"id": 1}])));
    let ask = |index: &str, words: &str| fleet.client.post(&format!("/indexes/{index}/search"), &json!({"q": words}));
    assert_eq!(ask("a", "").status, 200);
    fleet.nodes.iter().for_each(|node| node.signal("STOP"));
    std::thread::scope(|scope| {
        let ask = &ask;
        let waiting: Vec<_> = ["x", "y"].map(|words| scope.spawn(move || ask("a", words).status)).into();
        let refused = eventually("the third is one too many", || {
            // The first, which is over, and the two that wait.
            let taken = fleet.metric("miroir_rules_total{outcome=\"applied\",rule=\"few\"}");
            let reply = (taken >= 3.0).then(|| ask("a", "z"))?;
            (reply.status == 429).then_some(reply)
        });
        assert_eq!(
            (&refused.value()["code"], refused.header("retry-after")),
            (&json!("miroir_rate_limited"), Some("1"))
        );
        fleet.nodes.iter().for_each(|node| node.signal("CONT"));
        assert!(waiting.into_iter().all(|waiting| waiting.join().is_ok_and(|status| status == 200)));
    });
    eventually("the places are free again", || (ask("a", "w").status == 200).then_some(()));
}

#[test]
fn documents_are_what_they_must_be_before_they_are_written() {
    let fleet = ruled(
        "  - { name: shape, on: [addDocuments], indexes: [shop], fields: { require: [id, title], types: { price: number }, drop: [notes], default: { currency: EUR } } }\n  \
           - { name: lax, on: [addDocuments], indexes: [lax], fields: { types: { n: integer }, invalid: skip } }\n",
    );
    let documents =
        json!([{"id": 1, "title": "a", "price": 2.5, "notes": "x"}, {"title": "b", "id": 2, "currency": "USD"}]);
    fleet.client.add("shop", &documents);
    assert_eq!(
        fleet.client.get("/indexes/shop/documents/1").ok(),
        json!({"id": 1, "title": "a", "price": 2.5, "currency": "EUR"})
    );
    assert_eq!(fleet.client.get("/indexes/shop/documents/2").ok()["currency"], "USD");
    for (kind, body) in [
        ("application/json", r#"[{"id":3,"title":"c"},{"id":4}]"#),
        ("application/x-ndjson", "{\"id\":3,\"title\":\"c\"}\n{\"id\":4,\"title\":\"d\",\"price\":\"1\"}\n"),
    ] {
        let refused = fleet.client.send("POST", "/indexes/shop/documents", &[("Content-Type", kind)], body.as_bytes());
        assert_eq!(
            (refused.status, &refused.value()["code"]),
            (400, &json!("miroir_refused")),
            "{kind}: {}",
            refused.text
        );
        assert!(refused.text.contains("Document 2 of the body"), "{}", refused.text);
    }
    assert_eq!(fleet.client.documents("shop").len(), 2, "nothing of a refused body is written");
    let task = fleet.client.add("lax", &json!([{"id": 1, "n": 1}, {"id": 2, "n": "x"}, {"id": 3}]));
    assert_eq!(task["details"]["receivedDocuments"], 2);
    assert_eq!(fleet.client.documents("lax").keys().collect::<Vec<_>>(), ["1", "3"]);
}

#[test]
fn changed_rules_are_taken_over_whole_or_not_at_all() {
    let fleet = ruled("  - { name: caps, on: [search], cap: { limit: 3 } }\n");
    fleet.client.add("a", &(0..9).map(|id| json!({"id": id})).collect());
    let hits = || fleet.client.search("a", &json!({}))["hits"].as_array().map(Vec::len);
    let before = std::fs::read_to_string(&fleet.config).expect("a configuration");
    let change = |from: &str, to: &str| {
        assert!(before.contains(from));
        std::fs::write(&fleet.config, before.replace(from, to)).expect("a file");
    };
    assert_eq!(hits(), Some(3));
    change("limit: 3", "limit: 5");
    let answer = fleet.admin.with_key(MASTER).post("/reload", &json!({})).ok();
    assert_eq!(
        (&answer["sections"], &answer["atNextStart"], &answer["changed"]),
        (&json!(["rules"]), &json!([]), &json!(false))
    );
    assert_eq!(hits(), Some(5));
    // A rule that does not do what its example says is not taken over, and nothing else is.
    let example = "{ limit: 1 }, examples: [{ request: POST /indexes/a/search, body: {}, gives: { limit: 2 } }] }\nsearch: { timeout: 9s }\nx: ";
    change("{ limit: 3 } }", example);
    let refused = fleet.admin.with_key(MASTER).post("/reload", &json!({}));
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("rules[0].examples[0]"), "{}", refused.text);
    assert_eq!(hits(), Some(5));
    change("rules:\n", "resilver: { concurrency: 1 }\nhttp2: { streams: 70 }\nrules:\n");
    fleet.gateway().signal("HUP");
    eventually("the rules of the file hold again", || (hits() == Some(3)).then_some(()));
    let answer = fleet.admin.with_key(MASTER).post("/reload", &json!({})).ok();
    assert_eq!((&answer["sections"], &answer["atNextStart"]), (&json!([]), &json!(["http2"])));
}

#[test]
fn what_rules_make_of_a_request_is_shown() {
    let fleet = ruled(
        "  - { name: tenant, indexes: [orders], filter: 't = ${quote(claims.t)}', when: 'search.q != \"all\"' }\n",
    );
    fleet.client.add("orders", &json!([{"id": 1, "t": "a"}]));
    let question = |q: &str, claims: Value| {
        let body =
            json!({"method": "GET", "path": format!("/indexes/orders/search?q={q}"), "caller": {"claims": claims}});
        fleet.admin.post("/explain", &body).ok()
    };
    let explained = question("x", json!({"t": "a"}));
    assert_eq!(explained["rules"]["rules"], json!(["tenant"]));
    assert_eq!(explained["rules"]["after"]["request"], "POST /indexes/orders/search");
    assert_eq!(explained["rules"]["after"]["body"], json!({"q": "x", "filter": "t = \"a\""}));
    assert_eq!(explained["plan"]["plan"], "scatter");
    assert_eq!(question("all", json!({}))["rules"]["rules"], json!([]));
    let refused = question("x", json!({}));
    assert_eq!((&refused["rules"]["refused"]["status"], refused.get("plan")), (&json!(403), None));
}

#[test]
fn answers_and_logs_bear_what_rules_say_and_bounds_hold() {
    let fleet = ruled(
        "  - { name: caps, on: [search], cap: { limit: 3, offset: 10, q: 8 } }\n  \
           - { name: ab, on: [search], indexes: [a], split: { by: headers.x-user, weights: { a: 0, b: 1 } }, header: { X-Variant: \"${request.index}\" }, label: \"variant ${request.index}\" }\n  \
           - { name: office, on: settings, unless: { clients: [192.0.2.0/24] }, refuse: { status: 451, message: \"Not from ${client.ip}.\" } }\n",
    );
    for index in ["a", "b"] {
        fleet.client.add(index, &(0..20).map(|id| json!({"id": id, "from": index})).collect());
    }
    assert_eq!(fleet.client.search("a", &json!({"limit": 50}))["hits"].as_array().map(Vec::len), Some(3));
    assert_eq!(fleet.client.get("/indexes/a/search?hitsPerPage=10").ok()["hitsPerPage"], 3);
    for search in [json!({"q": "nine more"}), json!({"offset": 11})] {
        let refused = fleet.client.post("/indexes/a/search", &search);
        assert_eq!((refused.status, &refused.value()["code"]), (400, &json!("bad_request")), "{}", refused.text);
    }
    let split = fleet.client.send("GET", "/indexes/a/search", &[("X-User", "u1")], b"");
    assert_eq!((split.header("x-variant"), &split.ok()["hits"][0]["from"]), (Some("b"), &json!("b")));
    assert_eq!(fleet.client.get("/indexes/a/search").header("x-variant"), Some("a"));
    assert!(fleet.gateway().log().contains("variant b"));
    let refused = fleet.client.json("PATCH", "/indexes/a/settings", &json!({"stopWords": ["x"]}));
    assert_eq!((refused.status, &refused.value()["message"]), (451, &json!("Not from 127.0.0.1.")));
}
