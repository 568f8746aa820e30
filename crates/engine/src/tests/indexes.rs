//! Indexes created, swapped, counted and kept.

use serde_json::json;

use super::{Node, films};

#[test]
fn all_survives_a_restart() {
    let node = Node::new();
    node.set(json!({"filterableAttributes": ["year"]}));
    node.add(films());
    node.engine.create("empty", Some("key")).unwrap();
    let created = node.engine.view("movies").unwrap().created_at;
    let node = node.restarted();
    assert_eq!(node.engine.names().unwrap(), ["empty", "movies"]);
    assert_eq!(node.engine.view("empty").unwrap().primary_key.as_deref(), Some("key"));
    assert_eq!(node.engine.view("movies").unwrap().created_at, created);
    assert_eq!(node.ids(json!({"filter": "year < 1994"})), [1, 3]);
}

#[test]
fn an_index_that_is_deleted_while_it_is_looked_up_is_there_or_is_not() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let node = Node::new();
    let stop = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut found = 0;
            while !stop.load(Ordering::Relaxed) {
                match node.engine.index("brief").and_then(|index| index.documents()) {
                    Ok(_) => found += 1,
                    Err(error) => assert_eq!(error.code, "index_not_found", "{}", error.message),
                }
            }
            found
        });
        let mut round = 0;
        while round < 300 && !reader.is_finished() {
            node.engine.create("brief", None).unwrap();
            node.engine.delete("brief").unwrap();
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(found > 0);
}

#[test]
fn indexes_are_created_swapped_and_deleted() {
    let node = Node::new();
    node.add(films());
    assert_eq!(node.engine.create("movies", None).unwrap_err().code, "index_already_exists");
    node.engine.create("other", None).unwrap();
    node.engine.swap(&[("movies".to_owned(), "other".to_owned())]).unwrap();
    assert_eq!(node.engine.index("other").unwrap().documents().unwrap(), 4);
    assert_eq!(node.index().documents().unwrap(), 0);
    let error = node.engine.swap(&[("b".to_owned(), "a".to_owned())]).unwrap_err();
    assert_eq!(error.message, "Indexes `a`, `b` not found.");
    assert_eq!(node.engine.delete("other").unwrap(), 4);
    let error = node.engine.index("other").map(|_| ()).unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (404, "Index `other` not found."));
    assert_eq!(node.engine.delete("other").unwrap_err().code, "index_not_found");
    let error = node.engine.update_primary_key("other", Some("id")).unwrap_err();
    assert_eq!(error.code, "index_not_found");
}

#[test]
fn stats_count_documents_and_fields() {
    let node = Node::new();
    node.add(films());
    let stats = node.engine.index_stats("movies", true).unwrap();
    let keys: Vec<&str> = stats.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "numberOfDocuments",
            "rawDocumentDbSize",
            "avgDocumentSize",
            "isIndexing",
            "numberOfEmbeddings",
            "numberOfEmbeddedDocuments",
            "fieldDistribution"
        ]
    );
    assert_eq!((&stats["numberOfDocuments"], &stats["isIndexing"]), (&json!(4), &json!(true)));
    assert_eq!(stats["fieldDistribution"]["director"], json!(4));
    let all = node.engine.stats(&|uid| uid == "movies", None, (0, 0)).unwrap();
    assert_eq!(all["indexes"]["movies"]["isIndexing"], json!(false));
    assert!(all["databaseSize"].as_u64().unwrap() >= all["usedDatabaseSize"].as_u64().unwrap());
}
