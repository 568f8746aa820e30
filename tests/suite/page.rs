//! The page of the admin listener: what is served to whom, and the page in a real browser.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::client::Client;
use crate::support::fleet::{Fleet, FleetOptions};

const KEY: &str = "a-master-key-of-a-test";

/// Addresses that a text names between `before` and a quote.
fn named<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split(['"', '\'']).next().unwrap_or_default()).collect()
}

#[test]
fn the_page_is_shown_to_everybody_and_what_it_shows_only_to_the_key() {
    let fleet = Fleet::with(FleetOptions { master_key: Some(KEY), ..FleetOptions::default() });
    let stranger = Client::new(&fleet.admin.url).seeing_hidden();
    let page = stranger.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(!page.text.contains(KEY));
    let mut files: Vec<String> = named(&page.text, "src=\"").into_iter().map(str::to_owned).collect();
    files.extend(named(&page.text, "href=\"").into_iter().filter(|path| !path.starts_with('#')).map(str::to_owned));
    let main = stranger.get("/page/main.js");
    files.extend(named(&main.text, " from './").into_iter().map(|name| format!("page/{name}")));
    assert!(files.len() > 5, "{files:?}");
    for path in files.iter().map(String::as_str).chain([""]) {
        let answer = stranger.get(&format!("/{path}"));
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let kind = answer.header("content-type").expect("a type");
        let wanted = match path.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            Some("svg") => "image/svg+xml",
            _ => "text/html",
        };
        assert!(kind.starts_with(wanted), "{path}: {kind}");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            assert_eq!(stranger.send(method, &format!("/{path}"), &[], b"").status, 404, "{method} {path}");
        }
    }
    for path in
        ["/page", "/page/none.js", "/page/../page/main.js", "/page/index.html", "/index.html", "/page/main.js.map"]
    {
        assert_eq!(stranger.get(path).status, 404, "{path}");
    }
    let read = ["topology", "shards", "rebalance", "resilver", "tasks", "scrub", "gateway", "metrics"];
    for path in read {
        let path = format!("/{path}");
        let refused = stranger.get(&path);
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(stranger.with_key("another-key").get(&path).status, 403, "{path}");
        assert_eq!(fleet.admin.get(&path).status, 200, "{path}");
    }
    for act in ["/nodes/node-0/drain", "/nodes/node-0/maintenance", "/rebalance/plan", "/rebalance/pause"] {
        assert_eq!(stranger.post(act, &json!({})).status, 401, "{act}");
    }
    let gateway = fleet.admin.get("/gateway").ok();
    assert_eq!(gateway["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&gateway["rules"], &gateway["atNextStart"]), (&json!([]), &json!([])));
    assert!(gateway["secondsUp"].is_u64(), "{gateway}");
    let families = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).map(str::to_owned).collect()
    };
    let shown = families(&fleet.admin.get("/metrics").text);
    assert!(shown.iter().any(|name| name == "miroir_topology_epoch"), "{shown:?}");
    let listened = families(&fleet.metrics.get("/metrics").text);
    assert!(shown.iter().all(|name| listened.contains(name)), "{shown:?} {listened:?}");
}

#[test]
fn rules_are_named_in_order() {
    let rules =
        "rules:\n  - { name: second-look, indexes: [films], label: looked }\n  - { name: a-first, label: all }\n";
    let fleet = Fleet::with(FleetOptions {
        nodes: 1,
        replication_factor: 1,
        more: rules.to_owned(),
        ..FleetOptions::default()
    });
    assert_eq!(fleet.admin.get("/gateway").ok()["rules"], json!(["second-look", "a-first"]));
}

/// Without a key, any page that is open in an operator's browser can reach the listener.
#[test]
fn a_page_of_another_site_changes_nothing() {
    let fleet = Fleet::start();
    let own = fleet.admin.url.clone();
    let port = own.rsplit(':').next().expect("a port");
    let renamed = format!("evil.example:{port}");
    let sites: [&[(&str, &str)]; 5] = [
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Origin", &own), ("Sec-Fetch-Site", "same-site")],
        // A name of theirs that leads here.
        &[("Host", &renamed), ("Origin", &format!("http://{renamed}"))],
    ];
    for headers in sites {
        for (method, path) in
            [("POST", "/nodes/node-0/maintenance"), ("POST", "/nodes/node-0/drain"), ("DELETE", "/nodes/node-0")]
        {
            assert_eq!(fleet.admin.send(method, path, headers, b"").status, 403, "{method} {path} {headers:?}");
        }
    }
    assert_eq!(fleet.admin.get("/topology").ok()["nodes"][0]["state"], "up");
    assert_eq!(fleet.admin.get("/rebalance").ok()["state"], "idle");
    let mine = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(fleet.admin.send("POST", "/nodes/node-0/maintenance", &mine, b"").status, 200);
    assert_eq!(fleet.admin.send("DELETE", "/nodes/node-0/maintenance", &mine[..1], b"").status, 200);
}

/// `tests/page/page.py` says what it looks at. Its pictures stay where `MIROIR_PAGE_SHOTS` says.
#[test]
fn a_browser_without_a_mouse_drains_a_node() {
    let missing: Vec<&str> = ["python3", "chromedriver", "chromium"]
        .into_iter()
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    if !missing.is_empty() {
        // Past the harness, which shows what a test prints only when it fails.
        let _ = writeln!(std::io::stderr(), "skipped: the page in a browser, for there is no {}", missing.join(", "));
        return;
    }
    // Few replicas at once, so that there is time to look at the moves and to pause them.
    let more = "rebalance: { concurrency: 8 }\n".to_owned();
    let fleet = Fleet::with(FleetOptions { master_key: Some(KEY), more, ..FleetOptions::default() });
    let folder = tempfile::tempdir().expect("a folder");
    let shots = std::env::var("MIROIR_PAGE_SHOTS").unwrap_or_else(|_| folder.path().to_string_lossy().into_owned());
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/page.py"))
        .args(["--admin", &fleet.admin.url, "--api", &fleet.client.url, "--key", KEY, "--shots", &shots])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    print!("{said}");
    assert!(said.contains("all is well"), "{said}");
}
