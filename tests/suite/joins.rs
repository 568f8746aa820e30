//! Keys to other indexes: hits show documents of them, and filters are about them, as on one node that has everything.

use serde_json::{Value, json};

use crate::support::client::{Client, eventually};
use crate::support::fleet::is_embedded;
use crate::support::{Fleet, FleetOptions, Single};

/// Engines that know no such keys refuse the feature.
fn has_keys(client: &Client) -> bool {
    !is_embedded() && client.json("PATCH", "/experimental-features", &json!({"foreignKeys": true})).status == 200
}

fn set(client: &Client, index: &str, settings: &Value) -> Value {
    client.done(&client.json("PATCH", &format!("/indexes/{index}/settings"), settings))
}

fn keys() -> Value {
    let key = |foreign: &str, field: &str| json!({"foreignIndexUid": foreign, "fieldName": field});
    json!([
        key("authors", "author"),
        key("authors", "related"),
        key("houses", "house"),
        key("authors", "more.by"),
        key("empty", "nobody")
    ])
}

/// Books that name authors, in lists and deeper too, and houses, whose ids no document shows; some that are not there, and some that
/// can be no ids. Returns what the changes of settings were told as.
fn fill(client: &Client) -> Vec<Value> {
    let authors = (0..60).map(|n| {
        let vectors = json!({"own": [1.0, f64::from(n)]});
        // Their key is guessed, and stands behind other fields.
        json!({"name": format!("Name{n}"), "id": format!("a{n}"), "born": 1900 + n, "agent": format!("a{}", n + 1), "_vectors": vectors})
    });
    client.add("authors", &authors.collect());
    let houses = (0..7).map(|n| json!({"key": n, "label": format!("House {n}"), "at": {"city": n, "street": 1.50}}));
    let houses: Value = houses.collect();
    client.done(&client.post("/indexes/houses/documents?primaryKey=key", &houses));
    client.done(&client.post("/indexes", &json!({"uid": "empty"})));
    let books: Vec<Value> = (0..200)
        .map(|n| {
            let author = if n % 11 == 0 { format!("gone{n}") } else { format!("a{}", n * 7 % 60) };
            json!({
                "id": n, "title": format!("Book {} of {}", n, if n % 3 == 0 { "rust" } else { "tea" }), "author": author,
                "related": [format!("a{}", n % 60), format!("a{}", (n + 1) % 60), if n % 5 == 0 { json!("no id!") } else { json!("a3") }],
                "house": if n % 13 == 0 { json!(f64::from(n) + 0.5) } else { json!(n % 9) },
                "more": [{"by": format!("a{}", n % 50), "deep": {"by": "a1"}}, {"by": {"in": "a2"}}, 7],
                "nobody": "x", "genre": if n % 4 == 0 { "action" } else { "drama" }, "year": 1950 + n % 40,
            })
        })
        .collect();
    client.add("books", &json!(books));
    let mut told = vec![
        set(
            client,
            "authors",
            &json!({"filterableAttributes": ["born", "name", "id"], "sortableAttributes": ["born"]}),
        ),
        set(
            client,
            "houses",
            &json!({"displayedAttributes": ["label", "at.city"], "filterableAttributes": ["label", "key"]}),
        ),
        set(
            client,
            "books",
            &json!({"foreignKeys": keys(),
            "filterableAttributes": ["author", "related", "house", "genre", "year", "more.by"], "sortableAttributes": ["year"]}),
        ),
    ];
    told.iter_mut().for_each(|task| *task = task["details"].take());
    told
}

/// What an answer says, but for how long it took and what names it.
fn said(client: &Client, method: &str, path: &str, body: &Value) -> (u16, Value) {
    fn plain(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for name in ["processingTimeMs", "requestUid"] {
                    members.shift_remove(name);
                }
                members.values_mut().for_each(plain);
            }
            Value::Array(items) => items.iter_mut().for_each(plain),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let reply = client.json(method, path, body);
    let mut value = reply.value();
    plain(&mut value);
    (reply.status, value)
}

fn alike(single: &Client, fleet: &Client, requests: &[(&str, &str, Value)]) {
    for (method, path, body) in requests {
        let (got, want) = (said(fleet, method, path, body), said(single, method, path, body));
        assert_eq!(got, want, "{method} {path} {body}");
        // Fields stand in the same order, those of joined documents too.
        assert_eq!(got.1.to_string(), want.1.to_string(), "{method} {path} {body}");
    }
}

#[test]
fn hits_show_documents_of_other_indexes_as_on_one_node() {
    let single = Single::start();
    if !has_keys(&single.client) {
        return;
    }
    let fleet = Fleet::with(FleetOptions { replication_factor: 1, cache: true, ..FleetOptions::default() });
    assert!(has_keys(&fleet.client));
    let (one, many) = (&single.client, &fleet.client);
    assert_eq!(fill(many), fill(one));
    let search = "/indexes/books/search";
    let hits = said(many, "POST", search, &json!({"q": "rust", "limit": 3})).1;
    assert!(hits["hits"].as_array().expect("hits").iter().any(|hit| hit["author"]["name"].is_string()), "{hits}");
    let query =
        |q: &str| json!({"indexUid": "books", "q": q, "limit": 7, "attributesToHighlight": ["title", "author"]});
    let mut plain = query("tea");
    plain["attributesToRetrieve"] = json!(["id", "house"]);
    let of_authors = json!({"indexUid": "authors", "q": "name1", "limit": 3});
    let mut federated = json!({"federation": {"limit": 30}, "queries": [query("rust"), of_authors, plain]});
    for query in federated["queries"].as_array_mut().expect("queries") {
        query.as_object_mut().expect("a query").shift_remove("limit");
    }
    alike(
        one,
        many,
        &[
            ("POST", search, json!({"q": "rust", "limit": 40})),
            ("POST", search, json!({"limit": 200, "sort": ["year:desc"], "facets": ["author", "house"]})),
            ("POST", search, json!({"attributesToRetrieve": ["title", "house"], "page": 2, "hitsPerPage": 30})),
            (
                "POST",
                search,
                json!({"q": "a3 rust", "attributesToHighlight": ["*"], "showMatchesPosition": true, "limit": 20}),
            ),
            (
                "POST",
                search,
                json!({"q": "tea", "attributesToCrop": ["title"], "cropLength": 1, "showRankingScoreDetails": true}),
            ),
            ("POST", search, json!({"distinct": "author", "limit": 100})),
            ("POST", search, json!({"limit": 0})),
            ("GET", "/indexes/books/search?q=rust&limit=5&offset=20", Value::Null),
            ("POST", "/indexes/authors/search", json!({"q": "name7"})),
            ("POST", "/multi-search", json!({"queries": [query("rust"), of_authors, plain, query("book")]})),
            ("POST", "/multi-search", federated),
            // What is no hit is as it was written.
            ("GET", "/indexes/books/documents/7", Value::Null),
            ("POST", "/indexes/books/documents/fetch", json!({"limit": 5})),
            ("GET", "/indexes/books/settings", Value::Null),
            ("GET", "/indexes/books/settings/foreign-keys", Value::Null),
        ],
    );
    // A kept answer would not know of it.
    let ask = json!({"q": "book", "limit": 200});
    for client in [one, many] {
        said(client, "POST", search, &ask);
        client.done(&client.json("PUT", "/indexes/authors/documents", &json!([{"id": "a14", "name": "New"}])));
        client.done(&client.delete("/indexes/authors/documents/a21"));
    }
    alike(one, many, &[("POST", search, ask)]);
    for node in &fleet.nodes {
        let shown = node.client.get("/indexes/books/settings/foreign-keys").ok();
        assert_eq!(shown[0]["fieldName"], "_miroir_key_author", "a node joins nothing by itself");
    }
    let gone = |client: &Client| {
        client.done(&client.delete("/indexes/houses"));
        let asked = [json!({"q": "rust"}), json!({"limit": 0})].map(|body| said(client, "POST", search, &body));
        let several = json!({"queries": [{"indexUid": "books", "q": "rust"}]});
        let several = said(client, "POST", "/multi-search", &several);
        let federation = |filter: &str| json!({"federation": {}, "queries": [{"indexUid": "books", "filter": filter}]});
        let common = [federation("house = 1"), federation("genre = nothing")];
        (asked, several, common.map(|body| said(client, "POST", "/multi-search", &body)))
    };
    assert_eq!(gone(many), gone(one));
}

#[test]
fn filters_are_about_documents_of_other_indexes_as_on_one_node() {
    let single = Single::start();
    if !has_keys(&single.client) {
        return;
    }
    let fleet = Fleet::start();
    assert!(has_keys(&fleet.client));
    let (one, many) = (&single.client, &fleet.client);
    fill(many);
    fill(one);
    let search = "/indexes/books/search";
    let filter = |filter: Value| ("POST", search, json!({"filter": filter, "limit": 60}));
    let query = |filter: &str| json!({"indexUid": "books", "q": "rust", "filter": filter});
    let born = "_foreign(author, born 1910 TO 1925 AND name != Name12)";
    alike(
        one,
        many,
        &[
            filter(json!(born)),
            filter(json!("genre = action AND _foreign(author, born < 1930)")),
            filter(json!("genre = drama AND (_foreign(author, born = 1907) OR _foreign(related, name = 'Name9'))")),
            filter(json!(["genre = drama", "_foreign(author, born < 1940)", "_foreign(related, born > 1920)"])),
            filter(json!("NOT _foreign(\"house\", label = \"House 3\")")),
            filter(json!("_foreign(more.by, name = Name4)")),
            filter(json!("_foreign(author, born > 2500)")),
            filter(json!("_foreign(house, key IN [1, 2])")),
            ("GET", "/indexes/books/search?limit=4&filter=_foreign%28author%2C+born+%3C+1905%29", Value::Null),
            ("POST", "/indexes/books/facet-search", json!({"facetName": "genre", "filter": born})),
            ("POST", "/indexes/books/documents/fetch", json!({"filter": born, "limit": 9})),
            ("GET", "/indexes/books/documents?limit=4&filter=_foreign%28author%2C+born+%3C+1905%29", Value::Null),
            ("POST", "/multi-search", json!({"queries": [query(born), query("_foreign(house, label = 'House 1')")]})),
            (
                "POST",
                "/multi-search",
                json!({"federation": {}, "queries": [query(born), query("_foreign(house, key = 1)")]}),
            ),
            // What is wrong is told in the engine's words.
            filter(json!("_foreign(title, born = 1)")),
            filter(json!("_foreign(author, born = 1 AND _foreign(related, born = 2))")),
            filter(json!("_foreign(author, agent = a1)")),
            filter(json!("genre = action AND _foreign(author, agent = a1)")),
            filter(json!("genre = action AND _foreign(author born = 1)")),
            filter(json!("_foreign(author, born = )")),
            filter(json!("_foreign(nobody, x = 1)")),
            ("POST", "/multi-search", json!({"queries": [query("genre = x"), query("_foreign(author, agent = a1)")]})),
            ("POST", "/multi-search", json!({"federation": {}, "queries": [query("_foreign(author, agent = a1)")]})),
            ("POST", "/indexes/authors/search", json!({"filter": "_foreign(agent, born = 1)"})),
            ("POST", "/indexes/books/documents/delete", json!({"filter": "_foreign(author, born = 1)"})),
        ],
    );
    // The engine would take the one for the other.
    let apart = json!({"filter": "_foreign(author, born = 1907) OR genre = drama AND _foreign(related, born = 1909)"});
    let (status, error) = said(many, "POST", search, &apart);
    assert_eq!((status, &error["code"]), (501, &json!("miroir_not_supported")), "{error}");
    for client in [one, many] {
        let more = (60..200).map(|n| json!({"id": format!("a{n}"), "born": 1900}));
        client.add("authors", &more.collect());
        set(client, "books", &json!({"filterableAttributes": ["genre"]}));
    }
    alike(
        one,
        many,
        &[
            filter(json!("_foreign(author, born = 1900)")),
            ("POST", "/multi-search", json!({"queries": [query("_foreign(author, born = 1900)")]})),
            filter(json!("_foreign(author, born = 1907)")),
        ],
    );
}

#[test]
fn keys_to_other_indexes_are_set_and_told_as_on_one_node() {
    let single = Single::start();
    if !has_keys(&single.client) {
        return;
    }
    let fleet = Fleet::start();
    assert!(has_keys(&fleet.client));
    let path = "/indexes/books/settings/foreign-keys";
    let told = |client: &Client| {
        let mut told = vec![client.done(&client.json("PUT", path, &keys()))["details"].clone()];
        told.push(client.get(path).ok());
        told.push(set(client, "books", &json!({"stopWords": ["a"]}))["details"].clone());
        told.push(client.get("/indexes/books/settings").ok()["foreignKeys"].clone());
        told.push(client.done(&client.delete("/indexes/books/settings"))["details"]["foreignKeys"].clone());
        told.push(client.get(path).ok());
        told.push(set(client, "books", &json!({"foreignKeys": keys()}))["details"].clone());
        client.add("books", &json!([{"id": 1, "author": "a1"}]));
        client.add("other", &json!([{"id": 1, "author": "a1"}]));
        client.done(&client.post("/swap-indexes", &json!([{"indexes": ["books", "other"]}])));
        told.push(client.get("/indexes/other/settings").ok()["foreignKeys"].clone());
        told.push(client.get(path).ok());
        told.push(client.done(&client.delete("/indexes/other/settings/foreign-keys"))["details"].clone());
        told.push(client.get("/indexes/other/settings/foreign-keys").ok());
        for wrong in
            [json!([{"fieldName": "a"}]), json!([{"foreignIndexUid": 1, "fieldName": "a"}]), json!([{"more": 1}])]
        {
            let (status, error) = said(client, "PUT", path, &wrong);
            told.push(json!([status, error]));
        }
        client.json("PATCH", "/experimental-features", &json!({"foreignKeys": false})).ok();
        for (method, path, body) in [
            ("PATCH", "/indexes/books/settings", json!({"foreignKeys": keys()})),
            ("POST", "/indexes/books/search", json!({"filter": "_foreign(author, born = 1)"})),
            ("GET", "/indexes/books/settings", Value::Null),
        ] {
            let (status, answer) = said(client, method, path, &body);
            told.push(json!([status, answer]));
        }
        told
    };
    assert_eq!(told(&fleet.client), told(&single.client));
}

#[test]
fn keys_outlive_a_node_that_lost_its_disk_and_hold_the_feature_on() {
    let mut fleet = Fleet::start();
    if !has_keys(&fleet.client) {
        return;
    }
    fill(&fleet.client);
    let refused = fleet.client.json("PATCH", "/experimental-features", &json!({"foreignKeys": false}));
    assert_eq!((refused.status, &refused.value()["code"]), (501, &json!("miroir_not_supported")), "{}", refused.text);
    let ask = json!({"q": "rust", "filter": "_foreign(author, born < 1930)", "limit": 50});
    let before = said(&fleet.client, "POST", "/indexes/books/search", &ask);
    fleet.nodes[1].kill();
    assert_eq!(said(&fleet.client, "POST", "/indexes/books/search", &ask), before);
    fleet.nodes[1].wipe();
    fleet.nodes[1].restart();
    let held = |at: usize| fleet.nodes[at].client.get("/indexes/books/settings/foreign-keys").value();
    eventually("the node has its keys again", || (held(1) == held(0)).then_some(()));
    fleet.await_state("node-1", "up");
    fleet.await_in_sync();
    fleet.equal_replicas("books");
    fleet.equal_replicas("authors");
    assert_eq!(said(&fleet.client, "POST", "/indexes/books/search", &ask), before);
}
