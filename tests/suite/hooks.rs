//! Rules that look at what comes of a request: tasks that end, answers, documents.

use serde_json::{Value, json};

use crate::support::client::eventually;
use crate::support::listener::Listener;
use crate::support::{Fleet, FleetOptions};

const MASTER: &str = "a-master-key-for-hooks";

/// A gateway with these `rules`, and a client that may do everything.
fn ruled(rules: &str) -> Fleet {
    let more = format!("rules:\n{rules}");
    Fleet::with(FleetOptions { master_key: Some(MASTER), more, ..FleetOptions::default() })
}

/// The file of a fleet, with something of it exchanged.
fn change(fleet: &Fleet, from: &str, to: &str) {
    let before = std::fs::read_to_string(&fleet.config).expect("a configuration");
    assert!(before.contains(from), "{before}");
    std::fs::write(&fleet.config, before.replace(from, to)).expect("a file");
}

fn told(listener: &Listener, at_least: usize) -> Vec<Value> {
    eventually("tasks are told", || Some(listener.tasks()).filter(|tasks| tasks.len() >= at_least))
}

#[test]
fn a_rule_tells_of_the_tasks_that_it_is_about() {
    let (failures, all) = (Listener::start(1), Listener::start(0));
    let mut fleet = ruled(&format!(
        "  - {{ name: failures, indexes: [\"pro*\"], on_task: {{ url: \"{}\", headers: {{ X-Token: swordfish }}, status: failed }} }}\n  \
           - {{ name: all, on_task: {{ url: \"{}\", types: [documentAdditionOrUpdate, dumpCreation] }} }}\n",
        failures.url, all.url
    ));
    let add = |fleet: &Fleet, index: &str, body: Value| {
        let path = format!("/indexes/{index}/documents");
        let task = fleet.client.post(&path, &body).ok()["taskUid"].clone();
        fleet.client.wait_id(task.as_str().map_or_else(|| task.to_string(), str::to_owned).as_str());
    };
    add(&fleet, "products", json!([{"id": 1}]));
    add(&fleet, "products", json!([{"no": 1}]));
    add(&fleet, "orders", json!([{"no": 1}]));
    fleet.client.done(&fleet.client.json("PUT", "/indexes/orders/settings/stop-words", &json!(["the"])));

    let seen = |tasks: &[Value]| -> Vec<(Value, Value)> {
        tasks.iter().map(|task| (task["indexUid"].clone(), task["status"].clone())).collect()
    };
    let failed = (json!("products"), json!("failed"));
    assert_eq!(seen(&told(&failures, 1)), std::slice::from_ref(&failed));
    let expected = [(json!("products"), json!("succeeded")), failed.clone(), (json!("orders"), json!("failed"))];
    assert_eq!(seen(&told(&all, 3)), expected, "{:?}", all.tasks());
    assert_eq!(failures.sent()[0].headers["x-token"], "swordfish");
    eventually("what was told is counted", || {
        let count = |rule: &str| fleet.metric(&format!("miroir_rules_total{{outcome=\"applied\",rule=\"{rule}\"}}"));
        (count("failures") == 1.0 && count("all") == 3.0).then_some(())
    });
    assert_eq!(fleet.client.get("/webhooks").ok()["results"], json!([]), "clients see only their own");

    // What ends while nobody can be told is told after the next start, and a reload leads the rest elsewhere.
    fleet.kill_gateway();
    fleet.start_gateway();
    add(&fleet, "products", json!([{"no": 2}]));
    assert_eq!(seen(&told(&failures, 2)), [failed.clone(), failed.clone()]);
    told(&all, 4);
    let elsewhere = Listener::start(0);
    change(&fleet, &failures.url, &elsewhere.url);
    assert_eq!(fleet.admin.with_key(MASTER).post("/reload", &json!({})).ok()["sections"], json!(["rules"]));
    add(&fleet, "products", json!([{"no": 3}]));
    assert_eq!(seen(&told(&elsewhere, 1)), [failed]);
    told(&all, 5);
    assert_eq!((failures.tasks().len(), all.tasks().len()), (2, 5), "each task is told once");
    let log = fleet.gateway().log();
    assert!(log.contains("a webhook is told again"), "one was busy: {log}");
    assert!(!log.contains("sesame") && !log.contains("swordfish"), "a secret stands in the log");
}

fn mirrored(fleet: &Fleet, outcome: &str) -> f64 {
    fleet.metric(&format!("miroir_mirrored_searches_total{{outcome=\"{outcome}\",rule=\"shadow\"}}"))
}

#[test]
fn searches_are_asked_again_of_another_index_and_compared() {
    let fleet = ruled(
        "  - { name: shadow, on: [search], indexes: [old], mirror: { to: new, compare: [order, totals] } }\n  \
           - { name: lost, on: [search], indexes: [old], headers: { x-lost: \"*\" }, mirror: { to: nowhere } }\n",
    );
    let film = |id: u64| json!({"id": id, "title": format!("a film {}", id % 5), "kind": id % 2});
    // Ids are numbers, too.
    let settings = json!({"filterableAttributes": ["kind"], "searchableAttributes": ["title"]});
    for index in ["old", "new"] {
        fleet.client.done(&fleet.client.json("PATCH", &format!("/indexes/{index}/settings"), &settings));
        fleet.client.add(index, &(0..60).map(film).collect());
    }
    fleet.client.add("new", &json!([{"id": 1, "title": "another film, sesame", "kind": 1}]));

    // The key may not ask the other index, and the client learns nothing of it.
    let asked = json!({"actions": ["search"], "indexes": ["old"], "expiresAt": null});
    let key = fleet.client.post("/keys", &asked).ok();
    let client = fleet.client.with_key(key["key"].as_str().expect("a key"));
    assert_eq!(client.post("/indexes/new/search", &json!({})).status, 403);
    assert_eq!(
        client.search("old", &json!({"q": "film 2", "matchingStrategy": "all"}))["hits"].as_array().map(Vec::len),
        Some(12)
    );
    eventually("the same is found", || (mirrored(&fleet, "same") == 1.0).then_some(()));
    client.search("old", &json!({"filter": "kind = 1", "limit": 5, "q": "film 1", "matchingStrategy": "all"}));
    eventually("another order is found", || (mirrored(&fleet, "differs") == 1.0).then_some(()));
    let several = json!({"queries": [{"indexUid": "old", "q": "film 3", "matchingStrategy": "all"}, {"indexUid": "old", "q": "film 1"}]});
    client.post("/multi-search", &several).ok();
    client.get("/indexes/old/search?q=film+4&matchingStrategy=all").ok();
    eventually("each by itself", || {
        ((mirrored(&fleet, "same"), mirrored(&fleet, "differs")) == (3.0, 2.0)).then_some(())
    });
    assert_eq!((mirrored(&fleet, "failed"), mirrored(&fleet, "dropped")), (0.0, 0.0));

    fleet.client.send("GET", "/indexes/old/search", &[("X-Lost", "1")], b"").ok();
    eventually("what cannot be asked is counted", || {
        let failed = fleet.metric("miroir_mirrored_searches_total{outcome=\"failed\",rule=\"lost\"}");
        (failed == 1.0).then_some(())
    });
    let log = fleet.gateway().log();
    assert!(
        log.contains("a mirrored search has another answer") && log.contains("a mirrored search has failed"),
        "{log}"
    );
    assert!(!log.contains("film") && !log.contains("sesame"), "nothing that was asked or found is logged: {log}");
}

#[test]
fn programs_change_hits_and_their_order_and_never_lift_a_mask() {
    let fleet = ruled(
        "  - { name: costs, indexes: [shop], mask: [cost], unless: { headers: { x-buyer: \"*\" } } }\n  \
           - name: badge\n    on: [search, fetchDocuments]\n    indexes: [shop]\n    params: { text: sold out }\n    on_answer: |\n      \
               hits.for_each(|| { if this.stock == 0 { this.badge = params.text; } this.copy = this.cost; this.remove(\"notes\"); });\n  \
           - name: turned\n    on: search\n    indexes: [shop]\n    headers: { x-turn: \"*\" }\n    on_answer: \"hits.reverse();\"\n  \
           - { name: lax, on: search, indexes: [shop], headers: { x-lax: \"*\" }, on_answer: \"hits.pop();\", on_error: skip }\n  \
           - { name: strict, on: search, indexes: [shop], headers: { x-strict: \"*\" }, on_answer: \"hits.pop();\" }\n",
    );
    let product = |id: u64| json!({"id": id, "name": format!("chair {id}"), "stock": id % 3, "cost": 9900 + id, "notes": "sesame", "kind": "a"});
    // Who must not see all of it may not change its settings.
    let headers = [("Content-Type", "application/json"), ("X-Buyer", "1")];
    let settings = json!({"filterableAttributes": ["kind"]}).to_string();
    fleet.client.done(&fleet.client.send("PATCH", "/indexes/shop/settings", &headers, settings.as_bytes()));
    let products = Value::Array((0..30).map(product).collect()).to_string();
    for index in ["shop", "plain"] {
        let path = format!("/indexes/{index}/documents");
        fleet.client.done(&fleet.client.send("POST", &path, &headers, products.as_bytes()));
    }
    let ask = |headers: &[(&str, &str)], path: &str, body: &Value| {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        fleet.client.send("POST", path, &headers, body.to_string().as_bytes())
    };
    let search = json!({"q": "chair", "limit": 6, "facets": ["kind"], "attributesToHighlight": ["*"]});
    let buyer = [("X-Buyer", "1")];
    for (headers, sees_costs) in [(&[][..], false), (&buyer[..], true)] {
        let reply = ask(headers, "/indexes/shop/search", &search);
        assert_eq!((reply.status, reply.header("x-miroir-reordered")), (200, None), "{}", reply.text);
        assert!(!reply.text.contains("sesame") && reply.text.contains("990") == sees_costs, "{}", reply.text);
        let answer = reply.value();
        assert_eq!(answer["facetDistribution"], json!({"kind": {"a": 30}}));
        assert_eq!(answer["estimatedTotalHits"], 30);
        let hits = answer["hits"].as_array().expect("hits");
        assert_eq!(hits.len(), 6);
        for hit in hits {
            assert_eq!(hit.get("badge").is_some(), hit["stock"] == 0, "{hit}");
            assert_eq!(hit["copy"], if sees_costs { hit["cost"].clone() } else { Value::Null }, "{hit}");
            assert!(hit["_formatted"].get("notes").is_none(), "{hit}");
        }
        let documents = ask(headers, "/indexes/shop/documents/fetch", &json!({"limit": 3})).ok();
        assert_eq!(documents["results"][0]["badge"], "sold out");
        assert_eq!((documents["total"].clone(), documents.to_string().contains("990")), (json!(30), sees_costs));
    }
    let several = json!({"queries": [{"indexUid": "plain"}, {"indexUid": "shop", "limit": 2}]});
    let several = ask(&[], "/multi-search", &several).ok();
    assert!(
        several["results"][0]["hits"][0].get("badge").is_none() && several["results"][0].to_string().contains("sesame")
    );
    assert_eq!(several["results"][1]["hits"][0]["badge"], "sold out");
    let federated = json!({"federation": {"limit": 60}, "queries": [{"indexUid": "plain"}, {"indexUid": "shop"}]});
    let federated = ask(&[], "/multi-search", &federated).ok();
    let hits = federated["hits"].as_array().expect("hits");
    assert_eq!(hits.len(), 60);
    assert!(
        hits.iter().all(|hit| hit.get("notes").is_some() == (hit["_federation"]["indexUid"] == "plain")),
        "{federated}"
    );

    let ids = |answer: &Value| -> Vec<u64> {
        answer["hits"].as_array().expect("hits").iter().map(|hit| hit["id"].as_u64().expect("an id")).collect()
    };
    let straight = ids(&ask(&[], "/indexes/shop/search", &search).ok());
    let turned = ask(&[("X-Turn", "1"), ("Origin", "https://a.example")], "/indexes/shop/search", &search);
    assert_eq!(turned.header("x-miroir-reordered"), Some("turned"));
    assert!(turned.header("access-control-expose-headers").is_some_and(|names| names.contains("x-miroir-reordered")));
    assert_eq!(ids(&turned.ok()), straight.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(ids(&ask(&[("X-Lax", "1")], "/indexes/shop/search", &search).ok()), straight);
    let refused = ask(&[("X-Strict", "1")], "/indexes/shop/search", &search);
    assert_eq!((refused.status, &refused.value()["message"]), (500, &json!("Rule `strict` has failed.")));
    for rule in ["lax", "strict"] {
        assert_eq!(fleet.metric(&format!("miroir_rules_total{{outcome=\"failed\",rule=\"{rule}\"}}")), 1.0, "{rule}");
    }
}

#[test]
fn a_program_that_changes_nothing_leaves_answers_as_one_nodes() {
    let fleet = ruled(
        "  - { name: identity, on: [search, similar, fetchDocuments], indexes: [seen], on_answer: \"hits = hits.map(|hit| hit);\" }\n  \
           - { name: same, on: [addDocuments, updateDocuments], indexes: [seen], on_document: \"let id = doc.id; doc.id = id;\" }\n",
    );
    let documents = "[{\"id\": 1, \"n\": 9007199254740993, \"f\": 1.50, \"text\": \"\\u00e9 chair\"},\n {\"id\":2,\"deep\":{\"z\":1e2,\"a\":[1.0,{}]}, \"text\":\"chair\"}]";
    for index in ["seen", "plain"] {
        let path = format!("/indexes/{index}/documents?primaryKey=id");
        let headers = [("Content-Type", "application/json")];
        fleet.client.done(&fleet.client.send("POST", &path, &headers, documents.as_bytes()));
    }
    let text = |method: &str, path: &str, body: &Value| {
        let headers = [("Content-Type", "application/json")];
        let reply = fleet.client.send(method, path, &headers, body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text);
        // Times and ids of requests are of one request.
        let (hits, _) = reply.text.split_once(",\"query\"").unwrap_or((reply.text.as_str(), ""));
        hits.to_owned()
    };
    for (path, body) in [
        ("search", json!({"q": "chair", "attributesToHighlight": ["*"], "showRankingScoreDetails": true})),
        ("documents/fetch", json!({})),
    ] {
        let of = |index: &str| text("POST", &format!("/indexes/{index}/{path}"), &body);
        assert_eq!(of("seen"), of("plain"));
        assert!(of("seen").contains("9007199254740993"));
    }
}

#[test]
fn programs_edit_drop_and_reject_documents_before_their_ids_are_read() {
    let fleet = ruled(
        "  - name: products\n    on: [addDocuments, updateDocuments]\n    indexes: [shop]\n    on_document: |\n      \
               if doc.price < 0 { throw \"a price is not under 0\"; }\n      \
               if doc.state == \"draft\" { doc = (); } else { doc.net = doc.price; doc.remove(\"notes\"); doc.by = headers[\"x-by\"]; }\n  \
           - { name: thief, on: addDocuments, indexes: [ids], on_document: \"doc.id = 1;\" }\n  \
           - { name: lax, on: addDocuments, indexes: [lax], on_document: \"doc.n += 1;\", on_error: skip }\n",
    );
    let headers = |kind: &'static str| [("Content-Type", kind), ("X-By", "ann")];
    let add = |index: &str, kind, body: &str| {
        fleet.client.send("POST", &format!("/indexes/{index}/documents"), &headers(kind), body.as_bytes())
    };
    let lines = "{\"id\":1,\"price\":2.50,\"notes\":\"x\"}\n{\"id\":2,\"price\":1,\"state\":\"draft\"}\n{\"id\":3,\"price\":7}\n";
    let task = fleet.client.done(&add("shop", "application/x-ndjson", lines));
    assert_eq!(task["details"]["receivedDocuments"], 2);
    assert_eq!(fleet.client.documents("shop").keys().collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(
        fleet.client.get("/indexes/shop/documents/1").ok(),
        json!({"id": 1, "price": 2.5, "by": "ann", "net": 2.5})
    );
    let csv = fleet.client.done(&add("shop", "text/csv", "id,price:number\n4,1\n"));
    assert_eq!(csv["status"], "succeeded");
    assert_eq!(fleet.client.get("/indexes/shop/documents/4").ok()["by"], "ann");

    let refused = add("shop", "application/json", "[{\"id\":8,\"price\":1},{\"id\":9,\"price\":-1}]");
    assert_eq!((refused.status, &refused.value()["code"]), (400, &json!("miroir_refused")), "{}", refused.text);
    assert!(refused.text.contains("Document 2 of the body: a price is not under 0"), "{}", refused.text);
    let thief = add("ids", "application/json", "[{\"id\":2}]");
    assert_eq!((thief.status, &thief.value()["message"]), (500, &json!("Rule `thief` has failed.")));
    assert_eq!(fleet.client.documents("shop").len(), 3, "nothing of a refused body is written");
    fleet.client.done(&add("lax", "application/json", "[{\"id\":1,\"n\":1},{\"id\":2,\"n\":\"a\"},{\"id\":3}]"));
    let lax = fleet.client.documents("lax");
    assert_eq!((&lax["1"]["n"], &lax["2"]["n"], lax["3"].get("n")), (&json!(2), &json!("a1"), None));
    let failed = |rule: &str| fleet.metric(&format!("miroir_rules_total{{outcome=\"failed\",rule=\"{rule}\"}}"));
    assert_eq!((failed("thief"), failed("lax")), (1.0, 1.0));
    let log = fleet.gateway().log();
    assert!(log.contains("the primary key of a document is not a program's to change"), "{log}");
}

#[test]
fn hooks_are_shown_before_they_are_done() {
    let fleet = ruled(
        "  - { name: costs, indexes: [shop], mask: [cost] }\n  \
           - { name: badge, on: search, indexes: [shop], on_answer: \"hits.for_each(|| this.seen = this.cost == ());\" }\n  \
           - { name: shadow, on: search, indexes: [shop], mirror: { to: other } }\n  \
           - { name: lost, on: search, indexes: [shop], when: \"search.q == 1 / 0\", on_error: skip, label: x }\n  \
           - { name: tell, indexes: [shop], on_task: { url: \"http://127.0.0.1:9/sesame\", status: [failed, canceled] } }\n",
    );
    fleet.client.add("shop", &json!([{"id": 1, "cost": 7}]));
    let explain = |method: &str, path: &str, run: bool| {
        fleet
            .admin
            .with_key(MASTER)
            .post("/explain", &json!({"method": method, "path": path, "body": {}, "run": run}))
            .ok()
    };
    let search = explain("POST", "/indexes/shop/search", true);
    assert_eq!(search["run"]["answer"]["hits"], json!([{"id": 1, "cost": 7}]), "{search}");
    let rules = &search["rules"];
    assert_eq!(rules["answer"]["hits"], json!([{"id": 1, "seen": true}]), "{search}");
    assert_eq!((&rules["rules"], &rules["mirrored"]), (&json!(["costs", "badge", "shadow"]), &json!(["other"])));
    assert_eq!(rules["failed"][0]["rule"], "lost");
    assert_eq!(search.get("told"), None);
    let told = json!([{"rule": "tell", "status": ["failed", "canceled"]}]);
    assert_eq!(explain("DELETE", "/indexes/shop/documents/1", false)["told"], told);
    assert_eq!(explain("DELETE", "/indexes/other", false).get("told"), None);
}
