//! Bad input: the same request to one node and to the gateway gets the same status, code, type and message.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fleet::is_embedded;
use crate::support::{Client, Fleet, Single};

type Request<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

/// Method, path, content type, body.
const REQUESTS: &[Request] = &[
    // Routes and methods.
    ("GET", "/nowhere", None, ""),
    ("GET", "/indexes/books/nowhere", None, ""),
    ("DELETE", "/health", None, ""),
    ("PATCH", "/indexes/books/documents", Some("application/json"), "{}"),
    ("POST", "/version", None, ""),
    // Index uids.
    ("GET", "/indexes/b%20ad", None, ""),
    ("POST", "/indexes", Some("application/json"), r#"{"uid":"b ad"}"#),
    ("POST", "/indexes", Some("application/json"), r#"{}"#),
    ("POST", "/indexes", Some("application/json"), r#"{"uid":1}"#),
    ("POST", "/indexes", Some("application/json"), r#"{"uid":"x","nope":1}"#),
    ("POST", "/indexes", Some("application/json"), r#"{"uid":"x""#),
    ("POST", "/indexes", Some("text/plain"), r#"{"uid":"x"}"#),
    ("POST", "/indexes", None, r#"{"uid":"x"}"#),
    ("GET", "/indexes/missing", None, ""),
    ("GET", "/indexes/missing/stats", None, ""),
    ("GET", "/indexes/missing/settings", None, ""),
    ("GET", "/indexes/missing/documents", None, ""),
    ("GET", "/indexes/missing/documents/1", None, ""),
    ("POST", "/indexes/missing/search", Some("application/json"), "{}"),
    ("GET", "/indexes/missing/search?q=a", None, ""),
    ("POST", "/indexes/missing/facet-search", Some("application/json"), r#"{"facetName":"a"}"#),
    ("GET", "/indexes?limit=x", None, ""),
    ("GET", "/indexes?nope=1", None, ""),
    ("GET", "/indexes?limit=1&limit=x", None, ""),
    // Documents.
    ("GET", "/indexes/books/documents/99", None, ""),
    ("GET", "/indexes/books/documents/1?nope=1", None, ""),
    ("GET", "/indexes/books/documents?limit=-1", None, ""),
    ("GET", "/indexes/books/documents?filter=nope%20=%201", None, ""),
    ("POST", "/indexes/books/documents/fetch", Some("application/json"), r#"{"limit":"a"}"#),
    ("POST", "/indexes/books/documents/fetch", Some("application/json"), r#"{"filter":"="}"#),
    ("POST", "/indexes/books/documents", Some("application/json"), r#"[{"id":1,}]"#),
    ("POST", "/indexes/books/documents", Some("application/json"), "[{\"id\":1},\n{\"id\" 2}]"),
    ("POST", "/indexes/books/documents", Some("application/json"), r#"[{"id":1}"#),
    ("POST", "/indexes/books/documents", Some("application/json"), r#"[1]"#),
    ("POST", "/indexes/books/documents", Some("application/json"), r#"[1,2]"#),
    ("POST", "/indexes/books/documents", Some("application/json"), r#"[{"id":1},2,]"#),
    ("POST", "/indexes/books/documents", Some("application/json"), r#""text""#),
    ("POST", "/indexes/books/documents", Some("application/json"), ""),
    ("POST", "/indexes/books/documents", Some("application/x-ndjson"), "{\"id\":1}\n{\"id\":\n"),
    ("POST", "/indexes/books/documents", Some("application/x-ndjson"), ""),
    ("POST", "/indexes/books/documents", Some("text/csv"), "id,name\n1,a,b\n"),
    ("POST", "/indexes/books/documents", Some("text/csv"), "id,n:number\n1,abc\n"),
    ("POST", "/indexes/books/documents?csvDelimiter=ab", Some("text/csv"), "id\n1\n"),
    ("POST", "/indexes/books/documents?csvDelimiter=%3B", Some("application/json"), r#"[{"id":1}]"#),
    ("POST", "/indexes/books/documents", Some("text/plain"), "x"),
    ("POST", "/indexes/books/documents", None, r#"[{"id":1}]"#),
    ("POST", "/indexes/books/documents?nope=1", Some("application/json"), r#"[{"id":1}]"#),
    ("POST", "/indexes/b%20ad/documents", Some("application/json"), r#"[{"id":1}]"#),
    ("POST", "/indexes/books/documents/delete-batch", Some("application/json"), r#"{"id":1}"#),
    ("POST", "/indexes/books/documents/delete-batch", Some("application/json"), "[1,"),
    ("POST", "/indexes/books/documents/delete", Some("application/json"), r#"{}"#),
    ("POST", "/indexes/books/documents/delete", Some("application/json"), r#"{"filter":5}"#),
    ("POST", "/indexes/books/documents/delete", Some("application/json"), r#"{"filter":"a = "}"#),
    // Searches.
    ("POST", "/indexes/books/search", Some("application/json"), "{"),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"q":1}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"limit":-1}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"limit":"a"}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"offset":1.5}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"nope":1}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"filter":"title = "}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"filter":"other = 1"}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"filter":{"a":1}}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"sort":["other:asc"]}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"sort":["year"]}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"facets":["other"]}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"distinct":"other"}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"matchingStrategy":"some"}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"rankingScoreThreshold":2}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"q":"one","hybrid":{"embedder":"nope"}}"#),
    ("POST", "/indexes/books/search", Some("application/json"), r#"{"q":"one","hybrid":{}}"#),
    ("POST", "/indexes/titles/search", Some("application/json"), r#"{"q":"one","attributesToSearchOn":["year"]}"#),
    ("POST", "/indexes/titles/search", Some("application/json"), r#"{"attributesToSearchOn":["title","nope"]}"#),
    ("GET", "/indexes/titles/search?attributesToSearchOn=year", None, ""),
    ("POST", "/indexes/books/search", Some("text/plain"), r#"{}"#),
    ("POST", "/indexes/books/search", None, r#"{}"#),
    ("GET", "/indexes/books/search?limit=a", None, ""),
    ("GET", "/indexes/books/search?nope=a", None, ""),
    ("GET", "/indexes/books/search?filter=other%20=%201", None, ""),
    ("POST", "/indexes/books/facet-search", Some("application/json"), r#"{}"#),
    ("POST", "/indexes/books/facet-search", Some("application/json"), r#"{"facetName":"other"}"#),
    ("POST", "/multi-search", Some("application/json"), r#"{"queries":[{"indexUid":"books","limit":"x"}]}"#),
    ("POST", "/multi-search", Some("application/json"), r#"{"queries":[{"indexUid":"missing"}]}"#),
    // Settings.
    ("PATCH", "/indexes/books/settings", Some("application/json"), r#"{"nope":1}"#),
    ("PATCH", "/indexes/books/settings", Some("application/json"), r#"{"rankingRules":["nope"]}"#),
    ("PATCH", "/indexes/books/settings", Some("application/json"), r#"{"stopWords":1}"#),
    ("PUT", "/indexes/books/settings/stop-words", Some("application/json"), r#"{"a":1}"#),
    ("PUT", "/indexes/books/settings/filterable-attributes", Some("application/json"), r#"5"#),
    ("PUT", "/indexes/books/settings/nope", Some("application/json"), "[]"),
    (
        "PATCH",
        "/indexes/books/settings/typo-tolerance",
        Some("application/json"),
        r#"{"minWordSizeForTypos":{"oneTypo":9,"twoTypos":5}}"#,
    ),
    ("PATCH", "/indexes/books", Some("application/json"), r#"{"uid":"other"}"#),
    ("POST", "/swap-indexes", Some("application/json"), r#"[{"indexes":["books"]}]"#),
    ("POST", "/swap-indexes", Some("application/json"), r#"{}"#),
    // Tasks.
    ("GET", "/tasks/abc", None, ""),
    ("GET", "/tasks/99999", None, ""),
    ("GET", "/tasks?statuses=nope", None, ""),
    ("GET", "/tasks?types=nope", None, ""),
    ("GET", "/tasks?uids=a", None, ""),
    ("GET", "/tasks?limit=a", None, ""),
    ("GET", "/tasks?from=a", None, ""),
    ("GET", "/tasks?beforeEnqueuedAt=yesterday", None, ""),
    ("GET", "/tasks?nope=1", None, ""),
    ("POST", "/tasks/cancel", None, ""),
    ("DELETE", "/tasks", None, ""),
    ("POST", "/tasks/cancel?statuses=nope", None, ""),
    // Keys without a master key.
    ("GET", "/keys", None, ""),
    ("POST", "/keys", Some("application/json"), r#"{"actions":["*"],"indexes":["*"],"expiresAt":null}"#),
];

fn prepare(client: &Client) {
    client.done(&client.post("/indexes", &json!({"uid": "books", "primaryKey": "id"})));
    client.done(&client.json(
        "PATCH",
        "/indexes/books/settings",
        &json!({"filterableAttributes": ["title", "year"], "sortableAttributes": ["year"]}),
    ));
    // Only an index that says what is searchable refuses to search elsewhere.
    client.done(&client.json("PATCH", "/indexes/titles/settings", &json!({"searchableAttributes": ["title"]})));
    client.add("titles", &json!([{"id": 1, "title": "one", "year": 1999}]));
    client.add("books", &json!([{"id": 1, "title": "one", "year": 1999}, {"id": 2, "title": "two", "year": 2001}]));
}

fn ask(client: &Client, (method, path, content_type, body): Request) -> (u16, Value) {
    let headers: Vec<(&str, &str)> = content_type.map(|value| ("Content-Type", value)).into_iter().collect();
    let reply = client.send(method, path, &headers, body.as_bytes());
    let value = serde_json::from_str(&reply.text).unwrap_or_else(|_| json!(reply.text));
    (reply.status, value)
}

#[test]
fn the_gateway_refuses_what_a_node_refuses_in_the_same_words() {
    let single = Single::start();
    let fleet = Fleet::start();
    prepare(&single.client);
    prepare(&fleet.client);
    let mut wrong = Vec::new();
    // Today's engines give an index another name.
    let renames = |path: &str, body: &str| path == "/indexes/books" && body.contains("uid") && !is_embedded();
    for request in REQUESTS.iter().filter(|(method, path, _, body)| !(*method == "PATCH" && renames(path, body))) {
        let (want, got) = (ask(&single.client, *request), ask(&fleet.client, *request));
        if want.0 < 400 {
            wrong.push(format!("{request:?} is not bad input: {want:?}"));
        }
        if want != got {
            wrong.push(format!("{request:?}\n  node    {} {}\n  gateway {} {}", want.0, want.1, got.0, got.1));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), REQUESTS.len(), wrong.join("\n"));
}

/// What cannot name a document deletes none, and the task says so.
#[test]
fn ids_of_the_wrong_kind_are_taken_for_unknown_ones() {
    let single = Single::start();
    let fleet = Fleet::start();
    let [want, got] = [&single.client, &fleet.client].map(|client| {
        prepare(client);
        ["[{\"a\":1}]", "[[1],null,2.5]", "[\"not an id\",2]"].map(|ids| {
            let ids: Value = serde_json::from_str(ids).expect("a list");
            let task = client.wait(&client.post("/indexes/books/documents/delete-batch", &ids));
            let left = client.get("/indexes/books/stats").ok()["numberOfDocuments"].clone();
            (task["status"].clone(), task["details"].clone(), task["error"].clone(), left)
        })
    });
    assert_eq!(want, got);
    assert_eq!(want[0].3, json!(2));
    assert_eq!(want[2].3, json!(1));
}

#[test]
fn an_index_without_filterable_attributes_says_so() {
    let single = Single::start();
    let fleet = Fleet::start();
    for client in [&single.client, &fleet.client] {
        client.add("plain", &json!([{"id": 1, "a": 2}]));
    }
    for body in [r#"{"filter":"a = 1"}"#, r#"{"facets":["a"]}"#, r#"{"distinct":"a"}"#, r#"{"sort":["a:asc"]}"#] {
        let request = ("POST", "/indexes/plain/search", Some("application/json"), body);
        assert_eq!(ask(&single.client, request), ask(&fleet.client, request), "{body}");
    }
}

#[test]
fn the_reserved_field_is_refused_wherever_it_is_named() {
    let fleet = Fleet::start();
    prepare(&fleet.client);
    let requests: &[Request] = &[
        ("POST", "/indexes/books/documents", Some("application/json"), r#"[{"id":3},{"id":4,"_miroir_shard":"x"}]"#),
        ("POST", "/indexes/books/search", Some("application/json"), r#"{"filter":"_miroir_shard = x"}"#),
        ("POST", "/indexes/books/search", Some("application/json"), r#"{"facets":["_miroir_shard"]}"#),
        ("POST", "/indexes/books/search", Some("application/json"), r#"{"sort":["_miroir_shard:asc"]}"#),
        ("PATCH", "/indexes/books/settings", Some("application/json"), r#"{"sortableAttributes":["_miroir_shard"]}"#),
        ("PUT", "/indexes/books/settings/filterable-attributes", Some("application/json"), r#"["_miroir_shard"]"#),
        ("PUT", "/indexes/books/settings/non-separator-tokens", Some("application/json"), r#"["{"]"#),
        ("POST", "/indexes/books/documents/delete", Some("application/json"), r#"{"filter":"_miroir_shard = x"}"#),
    ];
    for request in requests {
        let (status, error) = ask(&fleet.client, *request);
        assert_eq!((status, &error["code"]), (400, &json!("miroir_reserved_field")), "{request:?}: {error}");
    }
    assert_eq!(fleet.client.get("/indexes/books/stats").ok()["numberOfDocuments"], json!(2), "nothing was written");
    // In a query's words it is a word like any other.
    fleet.client.post("/indexes/books/search", &json!({"q": "_miroir_shard"})).ok();
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let fleet = Fleet::with(crate::support::FleetOptions {
        more: "limits: { document_payload_size: 64KiB }\n".to_owned(),
        ..Default::default()
    });
    let body = format!(r#"[{{"id":1,"t":"{}"}}]"#, "x".repeat(100_000));
    let (status, error) = ask(&fleet.client, ("POST", "/indexes/a/documents", Some("application/json"), &body));
    assert_eq!((status, &error["code"]), (413, &json!("payload_too_large")), "{error}");
}

#[test]
fn what_miroir_does_not_serve_says_so() {
    let fleet = Fleet::start();
    let joins = r#"{"foreignKeys":[{"foreignIndexUid":"authors","fieldName":"author"}]}"#;
    let joined = ("PATCH", "/indexes/books/settings", Some("application/json"), joins);
    let (status, error) = ask(&fleet.client, joined);
    // Newer nodes know them, and want their feature on.
    let expected = if is_embedded() { (501, "miroir_not_supported") } else { (400, "feature_not_enabled") };
    assert_eq!((status, error["code"].as_str()), (expected.0, Some(expected.1)), "{error}");
    assert_eq!(fleet.client.get("/indexes/books").status, 404, "nothing was made by what was refused");
    for (method, path) in [("POST", "/network/control"), ("PATCH", "/network"), ("POST", "/chats/a/chat/completions")] {
        let (status, error) = ask(&fleet.client, (method, path, None, ""));
        assert_eq!((status, &error["code"]), (501, &json!("miroir_not_supported")), "{method} {path}: {error}");
    }
}

/// The embedded engine overlooks these, the engine does not.
#[test]
fn deletions_take_no_parameter_but_a_note() {
    let fleet = Fleet::start();
    prepare(&fleet.client);
    let requests: &[Request] = &[
        ("DELETE", "/indexes/books/documents/1?nope=1", None, ""),
        ("DELETE", "/indexes/books/documents?nope=1", None, ""),
        ("POST", "/indexes/books/documents/delete-batch?nope=1", Some("application/json"), "[1]"),
    ];
    for request in requests {
        let (status, error) = ask(&fleet.client, *request);
        let words = "Unknown parameter `nope`: expected one of `customMetadata`";
        assert_eq!((status, &error["message"]), (400, &json!(words)), "{request:?}");
    }
    assert_eq!(fleet.client.get("/indexes/books/stats").ok()["numberOfDocuments"], json!(2), "nothing was deleted");
}

#[test]
fn of_a_parameter_that_comes_twice_the_last_counts_and_empty_members_are_none() {
    let single = Single::start();
    let fleet = Fleet::start();
    prepare(&single.client);
    prepare(&fleet.client);
    for path in [
        "/indexes/books/search?limit=5&limit=1&q=o&q=one",
        "/indexes/books/search?limit=x&limit=1&facets=title,,year,",
        "/indexes/books/documents?limit=1&limit=2&offset=x&offset=1",
        "/indexes/books/documents?ids=",
        "/indexes/books/documents?ids=1,,2",
        "/indexes/books/documents?fields=id,,title",
        "/indexes/books/documents/1?fields=id&fields=title",
        "/indexes?limit=0&limit=1",
    ] {
        let [want, got] = [&single.client, &fleet.client].map(|client| {
            let mut answer = client.get(path).ok();
            let map = answer.as_object_mut().expect("an object");
            // Another one for each request.
            map.retain(|name, _| !matches!(name.as_str(), "processingTimeMs" | "requestUid"));
            for index in answer["results"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                index.retain(|name, _| !matches!(name.as_str(), "createdAt" | "updatedAt"));
            }
            answer
        });
        assert_eq!(want, got, "{path}");
    }
}

/// Sends bytes as they are.
fn sent(client: &Client, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(client.url.trim_start_matches("http://")).expect("it listens");
    stream.write_all(bytes).expect("a socket");
    stream
}

/// Reads what comes until the other end closes the connection, or resets it for what it has left unread.
fn read_to_the_end(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no end ({error}) after: {}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends bytes as they are and nothing behind them, and reads all that the gateway makes of them. (The engine would give up what it
/// has not answered by then.)
pub fn raw(client: &Client, bytes: &[u8]) -> String {
    let stream = sent(client, bytes);
    stream.shutdown(Shutdown::Write).expect("a socket");
    read_to_the_end(stream)
}

#[test]
fn heads_that_make_no_sense_are_refused() {
    let fleet = Fleet::start();
    prepare(&fleet.client);
    let search = |length: &str| {
        format!("POST /indexes/books/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n\r\n")
            .into_bytes()
    };
    let get = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    let mut wrong = Vec::new();
    for (request, body) in [
        (get(b" /health"), &b""[..]),
        (get(b"health"), b""),
        (get(b"\\health"), b""),
        (get(b"/a b"), b""),
        (get(b"/indexes/books/search?q=a b"), b""),
        (get(b"/health\tx"), b""),
        (get(b"/indexes/books/documents/caf\xe9"), b""),
        (get("/indexes/books/documents/caf\u{e9}".as_bytes()), b""),
        (search("Transfer-Encoding: gzip, chunked"), b"2\r\n{}\r\n0\r\n\r\n"),
        (search("Transfer-Encoding: chunked, chunked"), b"2\r\n{}\r\n0\r\n\r\n"),
        (search("Content-Length: 2, 2"), b"{}"),
    ] {
        let answer = raw(&fleet.client, &[&request, body].concat());
        if !answer.starts_with("HTTP/1.1 400 ") || answer.matches("HTTP/1.1").count() != 1 {
            wrong.push(format!("{}: {answer}", String::from_utf8_lossy(&request)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let fine = raw(&fleet.client, &[search("Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n".to_vec()].concat());
    assert!(fine.starts_with("HTTP/1.1 200 "), "{fine}");
}

/// Several requests may be on their way before the first answer: each is answered, in their order.
#[test]
fn requests_in_one_packet_are_all_answered() {
    let single = Single::start();
    let fleet = Fleet::start();
    for client in [&single.client, &fleet.client] {
        prepare(client);
        let body = r#"{"q":"two","attributesToRetrieve":["id"]}"#;
        let requests = format!(
            "GET /health HTTP/1.1\r\nHost: x\r\n\r\n\
             POST /indexes/books/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}\
             GET /indexes/books HTTP/1.1\r\nHost: x\r\n\r\n\
             GET /version HTTP/1.1\r\nHost: x\r\n\r\n\
             GET /indexes/missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answers = read_to_the_end(sent(client, requests.as_bytes()));
        let places: Vec<Option<usize>> =
            ["available", r#""hits":[{"id":2}]"#, r#""uid":"books""#, "pkgVersion", "index_not_found"]
                .iter()
                .map(|part| answers.find(part))
                .collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 5, "{answers}");
    }
}

#[test]
fn pages_learn_what_they_may_and_nobody_gets_what_it_does_not_take() {
    let fleet = Fleet::start();
    let ask = |method: &str, headers: &[(&str, &str)]| fleet.client.send(method, "/version", headers, b"");
    let origin = ("Origin", "https://shop.example");
    let method = |method| ("Access-Control-Request-Method", method);
    assert_eq!(ask("OPTIONS", &[origin, method("PATCH")]).status, 200);
    assert_eq!(ask("OPTIONS", &[origin, method("NOPE")]).status, 400);
    assert!(ask("GET", &[]).header("vary").is_some_and(|names| names.contains("Origin")));
    let exposed = ask("GET", &[origin]).header("access-control-expose-headers").map(str::to_owned).expect("names");
    for name in ["x-request-id", "x-miroir-degraded", "x-miroir-inexact", "retry-after"] {
        assert!(exposed.contains(name), "{name}: {exposed}");
    }
    assert_eq!(ask("GET", &[("Accept-Encoding", "identity;q=0")]).status, 406);
    assert_eq!(ask("GET", &[("Accept-Encoding", "gzip, identity;q=0")]).status, 200);
}

/// The engine guesses which name was meant, by the documents of the request and of the whole index.
#[test]
fn vectors_under_another_name_are_guessed_as_by_one_node() {
    let (single, fleet) = (Single::start(), Fleet::start());
    let own = json!({"own": [0, 0, 0]});
    let bodies = [
        ("POST", json!([{"id": 1, "_vector": 1, "_vectrs": 2, "vectors": 3}])),
        (
            "POST",
            json!([{"id": 1, "_vectors": {"onw": [0, 0, 0]}}, {"id": 2, "_vectors": {"onw": [0, 0, 0], "far": [1]}}]),
        ),
        ("POST", json!([{"id": 1, "_vector": 1, "_vectors": {"owns": [0, 0, 0]}}])),
        ("POST", json!([{"id": 1, "_vec": 1, "_vectors": {"mine": [0, 0, 0]}}])),
        ("POST", json!([{"id": 5, "_vector": 1, "_vectors": own}, {"id": 6}])),
        ("POST", json!([{"id": 7, "_vector": 1, "_vectors": own}, {"id": 8, "vectors": own, "_vectors": own}])),
        ("POST", json!([{"id": 9}])),
        ("POST", json!([{"id": 9, "_vector": {"own": [0, 0, 0]}}])),
        ("POST", json!([{"id": 9}, {"id": 7, "_vectors": own}])),
        ("PUT", json!([{"id": 9}, {"id": 7, "_vector": 2}, {"id": 8, "_vector": 2}])),
        ("POST", json!([{"id": 9, "a": {"_vector": 1}}, {"id": 9, "b": 1}])),
    ];
    let told = |client: &Client| -> Vec<Value> {
        let settings = json!({"embedders": {"own": {"source": "userProvided", "dimensions": 3}}});
        client.done(&client.json("PATCH", "/indexes/d/settings", &settings));
        let ends = bodies.iter().map(|(method, body)| {
            let task = client.json(method, "/indexes/d/documents?primaryKey=id", body).ok()["taskUid"].clone();
            let task = client.wait_id(&task.as_str().map_or_else(|| task.to_string(), str::to_owned));
            json!({"status": task["status"], "error": task["error"]})
        });
        ends.collect()
    };
    let (expected, given) = (told(&single.client), told(&fleet.client));
    for ((body, expected), given) in bodies.iter().zip(&expected).zip(&given) {
        assert_eq!(given, expected, "{} {}", body.0, body.1);
    }
    assert!(expected[0].to_string().contains("try replacing `_vector`"), "{}", expected[0]);
}
