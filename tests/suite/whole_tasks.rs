//! A task is whole: what one node refuses for the sake of one document fails in the cluster with the same words, and no
//! document of the batch is there.

use serde_json::{Value, json};

use crate::support::embedder::{Embedder, UNSPEAKABLE};
use crate::support::{Client, Fleet, Single};

/// One node and a cluster, told the same.
struct Both {
    single: Single,
    fleet: Fleet,
}

impl Both {
    fn start() -> Self {
        Self { single: Single::start(), fleet: Fleet::start() }
    }

    fn each(&self, mut tell: impl FnMut(&Client)) {
        [&self.single.client, &self.fleet.client].into_iter().for_each(&mut tell);
    }

    /// The task of a request, the same on both but for what differs from run to run.
    fn task(&self, method: &str, path: &str, body: &str) -> Value {
        let headers = [("Content-Type", "application/json")];
        let told = |client: &Client| {
            let mut task = client.wait(&client.send(method, path, &headers, body.as_bytes()));
            let map = task.as_object_mut().expect("a task");
            for key in ["uid", "taskUid", "batchUid", "duration", "enqueuedAt", "startedAt", "finishedAt"] {
                map.remove(key);
            }
            task
        };
        let (want, got) = (told(&self.single.client), told(&self.fleet.client));
        assert_eq!(want, got, "{method} {path} {body}");
        got
    }

    /// The documents with their vectors, the same on both.
    fn documents(&self, index: &str) -> Vec<Value> {
        let held = |client: &Client| {
            let page = client.get(&format!("/indexes/{index}/documents?limit=1000&retrieveVectors=true")).ok();
            let mut documents = page["results"].as_array().cloned().expect("a page");
            documents.sort_by_key(|document| document["id"].to_string());
            documents
        };
        let (want, got) = (held(&self.single.client), held(&self.fleet.client));
        assert_eq!(want, got, "{index}");
        got
    }
}

fn numbered(ids: std::ops::Range<u32>, vectors: &Value) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "n": id % 7, "_vectors": vectors})).collect()
}

/// Forty documents, of which one has these `_vectors`.
fn one_wrong(wrong: &str) -> String {
    let mut lines: Vec<String> = numbered(0..40, &json!({"own": [1, 2, 3]})).iter().map(ToString::to_string).collect();
    lines[17] = format!("{{\"id\":17,\"_vectors\":{wrong}}}");
    format!("[{}]", lines.join(","))
}

const OF_WRONG_SHAPE: [&str; 11] = [
    "5",
    "null",
    "\"x\"",
    "[1,2,3]",
    r#"{"own":"x"}"#,
    r#"{"other":1.5}"#,
    r#"{"own":true}"#,
    r#"{"own":{}}"#,
    r#"{"own":{"embeddings":[1,2,3]}}"#,
    r#"{"own":{"regenerate":false,"vectors":[1,2,3]}}"#,
    r#"{"other":{"regenerate":"no"}}"#,
];

const OF_WRONG_VALUE: [&str; 8] = [
    r#"{"own":[1,2]}"#,
    r#"{"own":[[1,2,3],[1,2,3,4]]}"#,
    r#"{"own":[[]]}"#,
    r#"{"own":["a","b","c"]}"#,
    r#"{"own":[1,2,null]}"#,
    r#"{"own":[[1,2,3],4]}"#,
    r#"{"own":[[1,2,"3"]]}"#,
    r#"{"own":{"regenerate":true,"embeddings":"x"}}"#,
];

#[test]
fn one_document_of_forty_with_wrong_vectors_fails_them_all() {
    let both = Both::start();
    both.each(|client| {
        client.done(&client.post("/indexes", &json!({"uid": "plain", "primaryKey": "id"})));
        client.done(&client.post("/indexes", &json!({"uid": "films", "primaryKey": "id"})));
        let own = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 3}}});
        client.done(&client.json("PATCH", "/indexes/films/settings", &own));
    });
    for wrong in OF_WRONG_SHAPE {
        for index in ["plain", "films"] {
            let task = both.task("POST", &format!("/indexes/{index}/documents"), &one_wrong(wrong));
            assert_eq!(task["status"], "failed", "{wrong}: {task}");
            assert_eq!(both.documents(index).len(), 0, "{wrong}");
        }
    }
    for wrong in OF_WRONG_VALUE {
        for method in ["POST", "PUT"] {
            let task = both.task(method, "/indexes/films/documents", &one_wrong(wrong));
            assert_eq!(task["status"], "failed", "{wrong}: {task}");
            assert_eq!(both.documents("films").len(), 0, "{wrong}");
        }
    }
    // What no embedder of the index concerns is not looked at more closely.
    let task = both.task("POST", "/indexes/plain/documents", &one_wrong(OF_WRONG_VALUE[3]));
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(both.documents("plain").len(), 40);
}

#[test]
fn a_new_document_must_give_vectors_and_one_that_is_there_need_not() {
    let both = Both::start();
    both.each(|client| {
        client.done(&client.post("/indexes", &json!({"uid": "films", "primaryKey": "id"})));
        let own = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 3}}});
        client.done(&client.json("PATCH", "/indexes/films/settings", &own));
    });
    let path = "/indexes/films/documents";
    for method in ["POST", "PUT"] {
        for lacking in ["{}", r#"{"other":[1]}"#, r#"{"own":{"regenerate":true}}"#] {
            let task = both.task(method, path, &one_wrong(lacking));
            assert_eq!(task["error"]["code"], "vector_embedding_error", "{lacking}: {task}");
            assert_eq!(both.documents("films").len(), 0, "{lacking}");
        }
    }
    // Twenty new ones, none of which gives a vector: more than one is counted in the message.
    let bare: Vec<Value> = (0..20).map(|id| json!({"id": id})).collect();
    let task = both.task("PUT", path, &json!(bare).to_string());
    assert_eq!(task["status"], "failed", "{task}");
    for opted_out in [r#"{"own":null}"#, r#"{"own":{"regenerate":false}}"#] {
        assert_eq!(both.task("POST", path, &one_wrong(opted_out))["status"], "succeeded");
        assert_eq!(both.documents("films").len(), 40);
    }
    for method in ["PUT", "POST"] {
        let task = both.task(method, path, &json!(bare).to_string());
        assert_eq!(task["status"], "succeeded", "these keep their vectors: {task}");
        assert_eq!(both.documents("films").len(), 40);
    }
    let mut some_new = bare;
    some_new.push(json!({"id": 500}));
    assert_eq!(both.task("PUT", path, &json!(some_new).to_string())["status"], "failed");
    assert_eq!(both.documents("films").len(), 40);
}

#[test]
fn a_fault_that_a_later_version_mends_is_none() {
    let both = Both::start();
    both.each(|client| {
        client.done(&client.post("/indexes", &json!({"uid": "films", "primaryKey": "id"})));
        let settings = json!({
            "embedders": {"own": {"source": "userProvided", "dimensions": 3}}, "filterableAttributes": ["_geo"],
        });
        client.done(&client.json("PATCH", "/indexes/films/settings", &settings));
    });
    let bad = r#"{"id":1,"_geo":5,"_vectors":{"own":"x"}}"#;
    let good = r#"{"id":1,"_geo":{"lat":1,"lng":2},"_vectors":{"own":[1,2,3]}}"#;
    let bare = r#"{"id":1,"a":2}"#;
    for (method, documents, status) in [
        ("POST", [bad, good], "succeeded"),
        ("PUT", [bad, good], "succeeded"),
        ("POST", [good, bad], "failed"),
        ("PUT", [good, bad], "failed"),
        ("POST", [bad, bare], "succeeded"),
        ("PUT", [bad, bare], "failed"),
        ("PUT", [good, bare], "succeeded"),
    ] {
        let task = both.task(method, "/indexes/films/documents", &format!("[{}]", documents.join(",")));
        assert_eq!(task["status"], status, "{method} {documents:?}: {task}");
        both.documents("films");
    }
}

#[test]
fn an_embedder_that_fails_on_some_shards_is_told_and_the_write_can_be_finished() {
    let embedder = Embedder::start();
    let fleet = Fleet::start();
    let client = &fleet.client;
    client.done(&client.post("/indexes", &json!({"uid": "films", "primaryKey": "id"})));
    let settings = json!({"embedders": {"rest": embedder.settings("{{doc.text}}")}});
    client.done(&client.json("PATCH", "/indexes/films/settings", &settings));
    let films = |spoken: &str| -> Value {
        (0..40)
            .map(|id| json!({"id": id, "text": if id == 5 { spoken.to_owned() } else { format!("film {id}") }}))
            .collect()
    };
    let task = client.wait(&client.post("/indexes/films/documents", &films(UNSPEAKABLE)));
    assert_eq!(
        (&task["status"], &task["error"]["code"]),
        (&json!("failed"), &json!("miroir_partly_applied")),
        "{task}"
    );
    let message = task["error"]["message"].as_str().expect("a message");
    assert!(message.contains("While embedding documents for embedder `rest`"), "{message}");
    assert!(message.ends_with("sending the same documents again finishes the write."), "{message}");
    let held = client.documents("films");
    let there = held.len();
    assert!(there > 0 && there < 40, "{there}");
    // It says which documents are there and which are not.
    let mut missed: Vec<String> = (0..40).map(|id| id.to_string()).filter(|id| !held.contains_key(id)).collect();
    missed.sort_unstable();
    let details = json!({"receivedDocuments": 40, "indexedDocuments": there, "missedDocuments": missed});
    assert_eq!(task["details"], details);
    let task = client.done(&client.post("/indexes/films/documents", &films("spoken")));
    assert_eq!(task["details"]["indexedDocuments"], json!(40));
    assert_eq!(client.documents("films").len(), 40);
}

#[test]
fn each_document_counts_once_in_what_a_task_says() {
    let both = Both::start();
    let path = "/indexes/films/documents";
    both.each(|client| {
        client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
        let settings = json!({"filterableAttributes": ["n", "tags"]});
        client.done(&client.json("PATCH", "/indexes/films/settings", &settings));
    });
    for (body, indexed) in [
        (r#"[{"id":"ab","v":1},{"id":"ab","v":2},{"id":"ab","v":3}]"#, 1),
        (r#"[{"id":"ab","v":4},{"id":"\u0061b","v":5}]"#, 1),
        (r#"[{"id":7,"v":1},{"id":"7","v":2},{"id":"8"}]"#, 2),
    ] {
        for method in ["POST", "PUT"] {
            assert_eq!(both.task(method, path, body)["details"]["indexedDocuments"], json!(indexed), "{body}");
        }
    }
    let films: Vec<Value> = (0..31)
        .map(|id| json!({"id": format!("f{id}"), "n": u8::from(id < 20), "tags": ["a", "a", format!("t{}", id % 3)]}))
        .collect();
    both.task("POST", path, &json!(films).to_string());
    both.task("DELETE", "/indexes/films/documents/nobody", "");
    both.task("DELETE", "/indexes/films/documents/f30", "");
    both.task("POST", "/indexes/films/documents/delete-batch", r#"["nobody","f29","f29","f28"]"#);
    for filter in [json!("n = 1"), json!("n = 1 OR n = 1"), json!(["n = 1", "n = 1"]), json!([["n = 1", "tags = a"]])] {
        for _ in 0..2 {
            let body = json!({"filter": filter, "function": "doc.v = 1"});
            both.task("POST", "/indexes/films/documents/edit", &body.to_string());
        }
    }
    both.task("POST", "/indexes/films/documents/edit", r#"{"function": "doc.v = 2"}"#);
    let failed = both.task("POST", "/indexes/films/documents/edit", r#"{"function": "doc.id = 3"}"#);
    assert_eq!(
        (&failed["status"], &failed["details"]["deletedDocuments"]),
        (&json!("failed"), &Value::Null),
        "{failed}"
    );
    both.documents("films");
}

/// Words that nodes were sent by themselves stand in their queues before what comes next, and an engine that takes a deletion
/// and an addition together counts what it was told to delete. No client knows of words.
#[test]
fn a_deletion_counts_what_was_there_however_many_words_came_before_it() {
    let both = Both::start();
    for round in 0..6 {
        let new_words =
            |id: usize| json!({"id": format!("r{round}-{id}"), "title": format!("w{round}x{id} v{round}y{id}")});
        let films: Vec<Value> = (0..3).map(new_words).collect();
        both.task("POST", "/indexes/films/documents", &json!(films).to_string());
        both.task("DELETE", "/indexes/films/documents/nobody", "");
        both.task("POST", "/indexes/films/documents", &json!([new_words(5)]).to_string());
        let listed = json!(["nobody", format!("r{round}-0"), format!("r{round}-1"), "noone", "none"]);
        both.task("POST", "/indexes/films/documents/delete-batch", &listed.to_string());
    }
    both.task("DELETE", "/indexes/films/documents", "");
    both.task("POST", "/indexes/films/documents", r#"[{"id":1,"title":"another word"}]"#);
    both.task("DELETE", "/indexes/films", "");
}

/// Both with the index `films`: 31 documents, and edits by a function enabled.
fn with_films() -> Both {
    let both = Both::start();
    let films: Vec<Value> = (0..31).map(|id| json!({"id": id, "n": id % 3, "title": format!("film {id}")})).collect();
    both.each(|client| {
        client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
        client.done(&client.json("PATCH", "/indexes/films/settings", &json!({"filterableAttributes": ["n", "_geo"]})));
        client.done(&client.post("/indexes/films/documents", &json!(films)));
    });
    both
}

const EDIT: &str = "/indexes/films/documents/edit";

#[test]
fn a_function_that_fails_on_one_document_changes_none() {
    let both = with_films();
    let before = both.documents("films");
    let functions: String = (0..31).map(|n| format!("fn f{n}() {{ {n} }} ")).collect();
    for function in [
        "if doc.id == 17 { throw \"no\" } doc.v = 1",
        "doc.v = 1; if doc.id == 17 { doc.id = 18 }",
        "doc.v = 1; if doc.id == 17 { doc.id = \"a b\" }",
        "if doc.id == 17 { doc = 3 } else { doc.v = 1 }",
        "if doc.id == 17 { doc = #{v: 1} } else { doc.v = 1 }",
        "if doc.id == 17 { doc.v = doc.title.nothing } else { doc.v = 1 }",
        "if doc.id == 17 { loop { doc.v = 1 } } else { doc.v = 1 }",
        "if doc.id == 17 { doc._geo = 5 } else { doc.v = 1 }",
        "if doc.id == 17 { doc._vectors = #{any: \"x\"} } else { doc.v = 1 }",
        functions.as_str(),
    ] {
        let task = both.task("POST", EDIT, &json!({"function": function}).to_string());
        assert_eq!(task["status"], "failed", "{function}: {task}");
        assert_eq!(both.documents("films"), before, "{function}");
    }
    // Of those that it is for, none fails.
    let others = json!({"filter": "n != 2", "function": "if doc.id == 17 { throw \"no\" } doc.v = 1"});
    let task = both.task("POST", EDIT, &others.to_string());
    assert_eq!((&task["status"], &task["details"]["editedDocuments"]), (&json!("succeeded"), &json!(21)), "{task}");
    assert_eq!(both.documents("films").iter().filter(|film| film["v"] == 1).count(), 21);
}

#[test]
fn an_edit_sees_what_was_written_just_before_it() {
    let both = with_films();
    let more: Vec<Value> = (100..600).map(|id| json!({"id": id, "n": 4, "bad": id == 599})).collect();
    both.each(|client| {
        client.post("/indexes/films/documents", &json!(more));
    });
    let function = "if doc.bad == true { throw `no ${doc.id}` } doc.v = 1";
    let task = both.task("POST", EDIT, &json!({"function": function}).to_string());
    assert_eq!(task["status"], "failed", "{task}");
    assert!(both.documents("films").iter().all(|film| film.get("v").is_none()));
}

#[test]
fn a_function_that_makes_documents_anew_or_counts_their_fields_does_what_it_does_on_one_node() {
    let both = with_films();
    for (function, left) in [
        ("doc = #{id: doc.id, n: doc.n, fields: doc.keys().len()} // anew", 31),
        ("for key in doc.keys() { if key != \"id\" { doc[key] = 1 } }", 31),
        ("doc.x = #{deep: [doc.id, 1.5, true]}; if doc.id > 5 { return; } doc.y = context", 31),
        ("if doc.id % 2 == 0 { doc = () }", 15),
    ] {
        let body = json!({"function": function, "context": {"a": [1]}});
        let task = both.task("POST", EDIT, &body.to_string());
        assert_eq!(task["status"], "succeeded", "{function}: {task}");
        assert_eq!(both.documents("films").len(), left, "{function}");
    }
    // Still each document of its shard: a filter finds them, and writes and deletions meet them.
    let found = |client: &Client| client.post("/indexes/films/search", &json!({"filter": "n = 1", "limit": 50})).ok();
    assert_eq!(found(&both.fleet.client)["estimatedTotalHits"], found(&both.single.client)["estimatedTotalHits"]);
    both.task("DELETE", "/indexes/films/documents/7", "");
    assert_eq!(both.documents("films").len(), 14);
    let neither = json!({"function": "if doc.id == 9 { doc = #{id: 9}; return; } doc.fields = doc.len()"});
    let refused = both.fleet.client.post(EDIT, &neither);
    assert_eq!((refused.status, &refused.value()["code"]), (501, &json!("miroir_not_supported")));
    for wrong in [json!({"function": "doc.n = "}), json!({"function": "doc", "x": 1}), json!({"function": 5})] {
        let refusal = |client: &Client| {
            let reply = client.post(EDIT, &wrong);
            (reply.status, reply.value())
        };
        assert_eq!(refusal(&both.single.client), refusal(&both.fleet.client), "{wrong}");
    }
}

#[test]
fn an_edit_that_ended_in_part_says_so_and_the_rest_is_done_once() {
    let embedder = Embedder::start();
    let fleet = Fleet::start();
    let client = &fleet.client;
    client.json("PATCH", "/experimental-features", &json!({"editDocumentsByFunction": true})).ok();
    client.done(&client.post("/indexes", &json!({"uid": "films", "primaryKey": "id"})));
    let settings = json!({"embedders": {"rest": embedder.settings("{{doc.text}}")}});
    client.done(&client.json("PATCH", "/indexes/films/settings", &settings));
    let films: Value = (0..40).map(|id| json!({"id": id, "text": format!("film {id}"), "v": 0})).collect();
    client.done(&client.post("/indexes/films/documents", &films));
    let function = format!("doc.v += 1; if doc.id == 5 {{ doc.text = \"{UNSPEAKABLE}\" }}");
    let task = client.wait(&client.post(EDIT, &json!({"function": function})));
    assert_eq!(task["error"]["code"], "miroir_partly_applied", "{task}");
    let edited = |client: &Client| client.documents("films").values().filter(|film| film["v"] == 1).count();
    let first = edited(client);
    assert!(first > 0 && first < 40, "{first}");
    assert_eq!(task["details"]["editedDocuments"], json!(first));
    let path = format!("/tasks/{}", task["uid"].as_str().expect("an id"));
    let seen = fleet.admin.get(&path).ok();
    let shards = |side: &str| seen["shards"][side].as_array().expect("shards").len();
    assert!(shards("applied") > 0 && shards("missed") > 0, "{seen}");

    // What makes it fail is still there: it fails once more, and can be finished later.
    let finish = format!("{path}/finish");
    let again = fleet.admin.post(&finish, &json!({}));
    assert_eq!(again.status, 202, "{}", again.value());
    assert_eq!(client.wait(&again)["status"], "failed");
    assert_eq!(edited(client), first);
    client.done(&client.json("PATCH", "/indexes/films/settings", &json!({"embedders": null})));
    let rest = fleet.admin.post(&finish, &json!({}));
    assert_eq!(rest.status, 202, "{}", rest.value());
    let rest = client.done(&rest);
    assert_eq!(rest["details"]["editedDocuments"], json!(40 - first));
    assert_eq!(edited(client), 40);
    assert_eq!(fleet.admin.post(&finish, &json!({})).status, 400);
    assert_eq!(edited(client), 40);
}

/// An engine of today puts a deletion by a filter and the additions behind it into one batch, which fails as a whole.
#[test]
fn a_deletion_by_a_filter_that_fails_takes_no_addition_with_it() {
    let (single, fleet) = (Single::start(), Fleet::start());
    for client in [&single.client, &fleet.client] {
        client.add("films", &json!([{"id": 0, "year": 1979}]));
        client.done(&client.json("PUT", "/indexes/films/settings/filterable-attributes", &json!(["year"])));
        for filter in
            [json!("nowhere = 1"), json!(["year = 1979", ["other = 2", "year = 3"]]), json!("_geoRadius(1, 2, 3)")]
        {
            client.wait(&client.post("/indexes/films/documents/delete", &json!({"filter": filter})));
        }
        // One that settings under way will allow.
        let setting = client.json("PUT", "/indexes/films/settings/filterable-attributes", &json!(["year", "seen"]));
        let deletion = client.post("/indexes/films/documents/delete", &json!({"filter": "seen = true"}));
        assert_eq!(client.wait(&deletion)["status"], "succeeded");
        client.done(&setting);
    }
    // Many at once, other clients' documents among them: each of those is there.
    let client = &fleet.client;
    let mut additions = Vec::new();
    for id in 1..40 {
        if id % 3 == 0 {
            client.post("/indexes/films/documents/delete", &json!({"filter": format!("nowhere = {id}")})).ok();
        }
        additions.push(client.post("/indexes/films/documents", &json!([{"id": id, "year": 2000 + id}])));
    }
    additions.iter().for_each(|addition| {
        assert_eq!(client.wait(addition)["status"], "succeeded");
    });
    assert_eq!(client.documents("films").len(), 40);
    let told = |client: &Client| {
        let list = client.get("/tasks?types=documentDeletion&limit=100").ok();
        let all = list["results"].as_array().expect("tasks").clone();
        let all = all.iter().rev().take(4);
        all.map(|task| json!([task["status"], task["details"], task["error"]])).collect::<Vec<_>>()
    };
    let (want, got) = (told(&single.client), told(client));
    assert_eq!(want.len(), 4);
    assert_eq!(want[0][0], "failed");
    assert_eq!(want, got);
}

/// A node without documents takes another primary key, one with documents refuses it, and the next documents are read by the
/// old one whatever else the nodes have to do: here they change the keys of eleven more indexes.
#[test]
fn a_primary_key_that_was_refused_is_not_what_the_next_documents_are_read_by() {
    const INDEXES: u32 = 12;
    const ROUNDS: u32 = 5;
    let fleet = Fleet::start();
    let headers = [("Content-Type", "application/json")];
    let change_keys = |index: &str, client: &Client| {
        for round in 0..ROUNDS {
            let first = json!([{"id": round * 10, "n": 1}]).to_string();
            let path = format!("/indexes/{index}/documents");
            client.wait(&client.send("POST", &path, &headers, first.as_bytes()));
            // The second is refused while the first is being taken back.
            let change = || client.send("PATCH", &format!("/indexes/{index}"), &headers, br#"{"primaryKey":"n"}"#);
            for refused in [change(), change()] {
                assert_eq!(client.wait(&refused)["error"]["code"], "index_primary_key_already_exists", "{index}");
            }
            let more = json!([1, 2, 3].map(|id| json!({"id": round * 10 + id, "n": 2}))).to_string();
            let task = client.wait(&client.send("POST", &path, &headers, more.as_bytes()));
            assert_eq!(task["details"], json!({"receivedDocuments": 3, "indexedDocuments": 3}), "{index}, {round}");
        }
        let held = client.get(&format!("/indexes/{index}/documents?limit=100")).ok();
        assert_eq!(held["total"], ROUNDS * 4, "{index}");
    };
    std::thread::scope(|scope| {
        for number in 0..INDEXES {
            let client = &fleet.client;
            scope.spawn(move || change_keys(&format!("keys-{number}"), client));
        }
    });
}
