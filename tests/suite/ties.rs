//! Documents that tie on every ranking rule: one order, on every replica, on every page, and that of one node.

use serde_json::{Value, json};

use crate::support::corpus::cities;
use crate::support::parity::load;
use crate::support::{Fleet, Single};

const REACH: usize = 400;

fn ids(answer: &Value) -> Vec<Value> {
    answer["hits"].as_array().expect("hits").iter().map(|hit| hit["id"].clone()).collect()
}

#[test]
fn an_order_by_what_nodes_do_not_show_is_called_inexact() {
    let fleet = Fleet::start();
    load(&fleet.client, "cities", &cities(300));
    let query = json!({"sort": ["population:desc"]});
    let header = || fleet.client.post("/indexes/cities/search", &query).header("x-miroir-inexact").map(str::to_owned);
    assert_eq!(header(), None);
    fleet.client.done(&fleet.client.json(
        "PUT",
        "/indexes/cities/settings/displayed-attributes",
        &json!(["id", "name"]),
    ));
    assert_eq!(header().as_deref(), Some("order"));
    let settings = json!({"displayedAttributes": ["id", "population"]});
    fleet.client.done(&fleet.client.json("PATCH", "/indexes/cities/settings", &settings));
    assert_eq!(header(), None);
}

/// Searches with many ties: nothing asked for, short prefixes, rules that say the same of many documents.
fn queries() -> Vec<Value> {
    vec![
        json!({}),
        json!({"filter": "feature = PPLA"}),
        json!({"q": "a"}),
        json!({"q": "san", "attributesToRetrieve": ["id"]}),
        json!({"sort": ["population:asc"]}),
        json!({"q": "s", "matchingStrategy": "all", "filter": "population > 20000"}),
    ]
}

fn with(query: &Value, more: Value) -> Value {
    let mut query = query.clone();
    query.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    query
}

#[test]
fn ties_stand_as_on_one_node_and_pages_walk_through_them_while_nodes_die() {
    let documents = cities(0);
    let single = Single::start();
    let mut fleet = Fleet::start();
    for client in [&single.client, &fleet.client] {
        load(client, "cities", &documents);
    }
    for query in queries() {
        let whole = ids(&single.client.search("cities", &with(&query, json!({"limit": REACH}))));
        assert!(whole.len() > 20, "{query}: only {} hits", whole.len());
        let walked = |fleet: &mut Fleet, killed: Option<usize>| -> Vec<Value> {
            let mut walked = Vec::new();
            for offset in (0..REACH).step_by(40) {
                if let Some(node) = killed.filter(|_| offset == 160) {
                    fleet.nodes[node].kill();
                }
                walked
                    .extend(ids(&fleet.client.search("cities", &with(&query, json!({"offset": offset, "limit": 40})))));
            }
            walked
        };
        assert_eq!(walked(&mut fleet, None), whole, "{query}");
        for node in 0..3 {
            assert_eq!(walked(&mut fleet, Some(node)), whole, "{query} with node-{node} killed");
            fleet.nodes[node].restart();
            let name = fleet.nodes[node].name.clone();
            fleet.await_state(&name, "up");
        }
    }
}

#[test]
fn the_rule_that_breaks_ties_never_shows() {
    let fleet = Fleet::start();
    let client = &fleet.client;
    load(client, "cities", &cities(50));
    let shown = |path: &str| client.get(path).ok();
    let single = Single::start();
    load(&single.client, "cities", &cities(50));
    let paths = ["/indexes/cities/settings", "/indexes/cities/settings/ranking-rules", "/indexes/cities/stats"];
    for path in paths {
        assert!(!shown(path).to_string().contains("_miroir"), "{path}: {}", shown(path));
    }
    let settings = [
        json!({"rankingRules": ["population:desc", "words"], "displayedAttributes": ["id", "population"]}),
        json!({"rankingRules": null, "displayedAttributes": null}),
        json!({"rankingRules": [], "displayedAttributes": ["name"]}),
    ];
    for change in settings {
        for client in [client, &single.client] {
            client.done(&client.json("PATCH", "/indexes/cities/settings", &change));
        }
        for path in &paths[..2] {
            assert_eq!(shown(path), single.client.get(path).ok(), "{path} after {change}");
        }
        let query = json!({"q": "a", "showRankingScoreDetails": true, "limit": 50, "attributesToHighlight": ["*"]});
        let answer = client.search("cities", &query);
        assert!(!answer.to_string().contains("_miroir"), "{answer}");
        assert_eq!(answer["hits"], single.client.search("cities", &query)["hits"], "after {change}");
    }
    for client in [client, &single.client] {
        client.done(&client.delete("/indexes/cities/settings"));
    }
    assert_eq!(shown(paths[0]), single.client.get(paths[0]).ok());
    for node in &fleet.nodes {
        let rules = node.client.get("/indexes/cities/settings/ranking-rules").ok();
        assert_eq!(rules.as_array().and_then(|rules| rules.last()), Some(&json!("_miroir_written:asc")), "{rules}");
    }
    for body in [json!({"rankingRules": ["_miroir_written:asc"]}), json!({"nonSeparatorTokens": ["["]})] {
        let refused = client.json("PATCH", "/indexes/cities/settings", &body);
        assert_eq!((refused.status, refused.value()["code"].clone()), (400, json!("miroir_reserved_field")), "{body}");
    }
}
