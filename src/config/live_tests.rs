use std::collections::BTreeMap;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::config::docs_tests::{environment, keys, set, smallest, text_of};

/// Values of every kind that a key may have; the first that is right for a key and is not its default is taken.
fn values() -> Vec<Value> {
    let texts = [
        "7s",
        "9MiB",
        "json",
        "warn",
        "replica",
        "local",
        "error",
        "refuse",
        "plan",
        "no",
        "mtask",
        "forwarded",
        "followed",
        "rendezvous",
        "allow",
        "optional",
        "required",
        "1.3",
        "https://other.example/v1/traces",
        "http://10.0.0.9:7702",
        "0.0.0.0:7999",
        "sqlite:./other.db",
        "other",
    ];
    let mut values: Vec<Value> = vec![json!(3), json!(5), json!(2), json!(0.7), json!(true), json!(false)];
    values.extend(texts.map(|text| json!(text)));
    values.extend([
        json!(["other"]),
        json!(["10.9.0.0/16"]),
        json!(["https://shop.example"]),
        json!([{ "cert_file": "other.pem", "key_file": "other.pem" }]),
        json!([{ "name": "caps", "on": "search", "cap": { "limit": 3 } }]),
        json!([{ "id": "b", "url": "http://b:7700" }]),
        json!(["other.yaml"]),
    ]);
    values
}

/// What has to be said beside a key.
fn beside(key: &str) -> Vec<(&'static str, Value)> {
    let peers = || {
        vec![
            ("state", json!("postgres://user@host:5432/database")),
            ("gateway.peer_listen", json!("10.0.0.5:7702")),
            ("gateway.peer_url", json!("http://10.0.0.5:7702")),
            ("cluster_secret", json!("a-secret-that-is-long-enough-for-all")),
            ("node_key", json!("a-key")),
        ]
    };
    let listener = |certificates, auth, authority| {
        let pair = json!([{ "cert_file": "a.pem", "key_file": "a.pem" }]);
        vec![(certificates, pair), (auth, json!("required")), (authority, json!("a.pem"))]
    };
    let pair = |certificate, key| vec![(certificate, json!("a.pem")), (key, json!("a.pem"))];
    match key {
        "cluster_secret"
        | "gateway.peer_listen"
        | "gateway.peer_url"
        | "gateway.alone"
        | "gateway.leader_wait"
        | "gateway.unfenced_nodes"
        | "gateway.id" => peers(),
        "state_password" => vec![("state", json!("postgres://user@host:5432/database"))],
        "cors.credentials" => vec![("cors.origins", json!(["https://shop.example"]))],
        "trusted_proxies.proxy_protocol" => vec![("trusted_proxies.networks", json!(["10.0.0.0/8"]))],
        _ if key.starts_with("traces.") => vec![("traces.endpoint", json!("https://traces.example/v1/traces"))],
        _ if key.starts_with("tls.to_peers.cert") || key.starts_with("tls.to_peers.key") => {
            pair("tls.to_peers.cert_file", "tls.to_peers.key_file")
        }
        _ if key.starts_with("tls.nodes.cert") || key.starts_with("tls.nodes.key") => {
            pair("tls.nodes.cert_file", "tls.nodes.key_file")
        }
        _ if key.starts_with("tls.api.") => {
            listener("tls.api.certificates", "tls.api.client_auth", "tls.api.client_ca_file")
        }
        _ if key.starts_with("tls.admin.") => {
            listener("tls.admin.certificates", "tls.admin.client_auth", "tls.admin.client_ca_file")
        }
        _ if key.starts_with("tls.metrics.") => {
            listener("tls.metrics.certificates", "tls.metrics.client_auth", "tls.metrics.client_ca_file")
        }
        _ if key.starts_with("tls.peers.") => {
            listener("tls.peers.certificates", "tls.peers.client_auth", "tls.peers.client_ca_file")
        }
        _ => Vec::new(),
    }
}

fn part_of(key: &str) -> Option<&'static Part> {
    let is_of =
        |part: &&Part| key == part.0 || key.strip_prefix(part.0).is_some_and(|rest| rest.starts_with(['.', '[']));
    PARTS.iter().filter(is_of).max_by_key(|(name, ..)| name.len())
}

/// What a file says.
struct Read {
    meaning: String,
    live: Vec<(&'static str, String)>,
    at_start: Vec<(&'static str, String)>,
}

/// One with its key, of nobody's but its own signature.
fn certificate() -> String {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(Vec::new()).expect("no names").self_signed(&key).expect("a certificate");
    [certificate.pem(), key.serialize_pem()].concat()
}

/// Read in a folder that may have the file `other.yaml`; `None` where it is wrong.
fn read(file: &Value, folder: &Path) -> Option<Read> {
    let parse = || Config::parse(&file.to_string(), folder, &environment).ok().map(|(config, _)| config);
    let meaning = format!("{:#?}", parse()?);
    let Fresh { live, at_start, .. } = parse()?.fresh();
    Some(Read { meaning, live, at_start })
}

fn names(before: &[(&'static str, String)], now: &[(&'static str, String)]) -> Vec<&'static str> {
    now.iter().filter(|part| !before.contains(part)).map(|(name, _)| *name).collect()
}

#[test]
fn each_key_holds_when_its_part_says_and_is_named_by_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = "rules: [{ name: other, on: search, cap: { limit: 3 } }]\n";
    std::fs::write(folder.path().join("other.yaml"), rules).expect("a file");
    let certificate = certificate();
    for name in ["a.pem", "other.pem", "other"] {
        std::fs::write(folder.path().join(name), &certificate).expect("a file");
    }
    let (mut untold, mut untried) = (Vec::new(), Vec::new());
    // The file of a key says the same as the key.
    let is_of_a_secret = |key: &&String| !key.contains('.') && key.ends_with("_file");
    for key in keys().iter().filter(|key| !is_of_a_secret(key)) {
        let Some((name, holds, _)) = part_of(key) else {
            untold.push(key.clone());
            continue;
        };
        let mut before = smallest();
        beside(key).into_iter().for_each(|(key, value)| set(&mut before, key, value));
        let wrong = || Config::parse(&before.to_string(), folder.path(), &environment).err().map(|why| why.to_string());
        let said = read(&before, folder.path()).unwrap_or_else(|| panic!("beside {key}: {before}: {:?}", wrong()));
        let other = values().into_iter().find_map(|value| {
            let mut file = before.clone();
            set(&mut file, key, value);
            // A secret is not shown: that it is another one is seen by what tells secrets apart.
            read(&file, folder.path())
                .filter(|now| now.meaning != said.meaning || now.live != said.live || now.at_start != said.at_start)
        });
        let Some(now) = other else {
            untried.push(key.clone());
            continue;
        };
        let (changed, waiting) = (names(&said.live, &now.live), names(&said.at_start, &now.at_start));
        match holds {
            Holds::AtOnce => assert!(changed.contains(name) && waiting.is_empty(), "{key}: {changed:?} {waiting:?}"),
            Holds::AtStart => assert!(waiting.contains(name) && changed.is_empty(), "{key}: {changed:?} {waiting:?}"),
            Holds::AsGoal => assert!(changed.is_empty() && waiting.is_empty(), "{key}: {changed:?} {waiting:?}"),
        }
    }
    assert!(untold.is_empty(), "in no part: {untold:?}");
    assert!(untried.is_empty(), "no other value is right: {untried:?}");
}

#[test]
fn how_long_searches_take_waits_for_a_start_where_other_gateways_were_told() {
    let mut file = smallest();
    beside("cluster_secret").into_iter().for_each(|(key, value)| set(&mut file, key, value));
    let folder = Path::new("");
    let said = read(&file, folder).expect("it is right");
    set(&mut file, "search.timeout", json!("7s"));
    let now = read(&file, folder).expect("it is right");
    assert_eq!(names(&said.live, &now.live), [] as [&str; 0]);
    assert_eq!(names(&said.at_start, &now.at_start), ["search.timeout"]);
}

#[test]
fn the_page_says_of_each_part_when_it_holds() {
    let page = text_of("docs/configuration.md");
    let mut lists: BTreeMap<bool, Vec<String>> = BTreeMap::new();
    for (name, holds, _) in PARTS.iter().filter(|(_, holds, _)| *holds != Holds::AsGoal) {
        lists.entry(*holds == Holds::AtOnce).or_default().push(format!("`{name}`"));
    }
    for (at_once, says) in [(true, "Taken over at once"), (false, "At the next start")] {
        let line = format!("- {says}: {}", lists[&at_once].join(", "));
        assert!(page.contains(&line), "the page does not say: {line}");
    }
}
