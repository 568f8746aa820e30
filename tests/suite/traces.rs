//! Spans of requests, as a collector of OpenTelemetry gets them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::json;

use crate::support::client::{eventually, pause};
use crate::support::gateways::Gateways;
use crate::support::{Fleet, FleetOptions};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes what is sent to it, whatever its path.
struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

// === impl Collector ===

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (spans, heads) = (Arc::<Mutex<Vec<Span>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (kept, kept_heads) = (Arc::clone(&spans), Arc::clone(&heads));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
                let lower = head.to_ascii_lowercase();
                let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).expect("a whole body");
                let sent = ExportTraceServiceRequest::decode(body.as_slice()).expect("spans");
                let scopes = sent.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                kept.lock().extend(scopes.flat_map(|scope| scope.spans));
                kept_heads.lock().push(head);
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = reader.get_mut().write_all(answer.as_bytes());
            }
        });
        Self { port, spans, heads }
    }

    /// All of the trace that a request of this route belongs to, once it is there.
    fn trace_of(&self, route: &str) -> Vec<Span> {
        eventually("the request's spans arrive", || {
            let spans = self.spans.lock();
            let trace = &spans.iter().find(|span| is_request(span, route))?.trace_id;
            Some(spans.iter().filter(|span| &span.trace_id == trace).cloned().collect())
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: Option<Attribute>| match value {
        Some(Attribute::StringValue(text)) => text,
        Some(Attribute::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter();
    pairs.map(|pair| (pair.key.clone(), text(pair.value.clone().and_then(|value| value.value)))).collect()
}

/// True for the span of a request of this route.
fn is_request(span: &Span, route: &str) -> bool {
    span.name == "request" && attributes(span).get("http.route").is_some_and(|of| of == route)
}

/// Spans of this name.
fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn options(collector: &Collector, more: &str) -> FleetOptions {
    let more = format!(
        "traces: {{ endpoint: \"http://127.0.0.1:{}/v1/traces\", authorization: \"Bearer told-to-nobody\", {more} }}\n",
        collector.port
    );
    FleetOptions { nodes: 3, replication_factor: 1, more, ..Default::default() }
}

fn fleet(collector: &Collector, more: &str) -> Fleet {
    let fleet = Fleet::with(options(collector, more));
    let documents: Vec<_> = (0..60).map(|id| json!({"id": id, "name": format!("sea {id}")})).collect();
    fleet.client.add("a", &json!(documents));
    fleet
}

#[test]
fn a_search_has_spans_for_its_rounds_its_subrequests_and_its_merge() {
    let collector = Collector::start();
    let fleet = fleet(&collector, "one_in: 1");
    let parent = format!("00-{TRACE}-{CALLER}-00");
    let query = json!({"q": "sea secretword", "matchingStrategy": "last"}).to_string();
    let headers = [("Content-Type", "application/json"), ("traceparent", &*parent), ("x-request-id", "search-1")];
    let reply = fleet.client.send("POST", "/indexes/a/search", &headers, query.as_bytes());
    assert_eq!(reply.ok()["hits"].as_array().map(Vec::len), Some(20));

    let spans = collector.trace_of("searchPost");
    let root = spans.iter().find(|span| is_request(span, "searchPost")).expect("the request's span");
    assert_eq!(hex(&root.trace_id), TRACE);
    assert_eq!(hex(&root.parent_span_id), CALLER);
    let facts = attributes(root);
    let expected = [
        ("http.request.method", "POST"),
        ("http.route", "searchPost"),
        ("http.response.status_code", "200"),
        ("miroir.index", "a"),
        ("miroir.request_id", "search-1"),
    ];
    for (name, value) in expected {
        assert_eq!(facts.get(name).map(String::as_str), Some(value), "{name} of {facts:?}");
    }
    let below = |parent: &Span, name: &str| -> Vec<Span> {
        named(&spans, name).into_iter().filter(|span| span.parent_span_id == parent.span_id).cloned().collect()
    };
    let rounds = below(root, "round");
    assert_eq!(rounds.len(), 1, "{spans:#?}");
    assert_eq!(attributes(&rounds[0])["miroir.round"], "first");
    let subrequests = below(&rounds[0], "subrequest");
    let nodes: Vec<String> = subrequests.iter().map(|span| attributes(span)["miroir.node"].clone()).collect();
    let mut sorted = nodes.clone();
    sorted.sort();
    assert_eq!(sorted, ["node-0", "node-1", "node-2"]);
    for span in &subrequests {
        let facts = attributes(span);
        assert_eq!((&*facts["url.path"], &*facts["http.response.status_code"]), ("/indexes/a/search", "200"));
        assert!(span.start_time_unix_nano >= root.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= root.end_time_unix_nano);
    }
    assert_eq!(below(root, "merge").len(), 1);

    let heads = collector.heads.lock().join("");
    assert!(heads.starts_with("POST /v1/traces HTTP/1.1"), "{heads}");
    assert!(heads.to_ascii_lowercase().contains("authorization: bearer told-to-nobody"));
    let all = format!("{:?}", collector.spans.lock());
    assert!(!all.contains("secretword"), "a span names a query");
    let log = fleet.gateway().log();
    assert!(!log.contains("told-to-nobody") && !log.contains("otel.kind"), "{log}");
}

#[test]
fn a_write_has_the_subrequests_that_carry_it() {
    let collector = Collector::start();
    let fleet = fleet(&collector, "one_in: 1");
    let headers = [("Content-Type", "application/json"), ("traceparent", &*format!("00-{TRACE}-{CALLER}-01"))];
    let reply = fleet.client.send("POST", "/indexes/a/documents", &headers, br#"[{"id": 1, "name": "lake"}]"#);
    fleet.client.done(&reply);
    let spans = eventually("spans of the request and of its node", || {
        let spans = collector.spans.lock();
        let of_trace: Vec<Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).cloned().collect();
        (!named(&of_trace, "request").is_empty() && !named(&of_trace, "subrequest").is_empty()).then_some(of_trace)
    });
    let root = named(&spans, "request")[0];
    assert_eq!(attributes(root)["http.response.status_code"], "202");
    for span in named(&spans, "subrequest") {
        assert_eq!(span.parent_span_id, root.span_id);
    }
}

#[test]
fn a_request_that_is_passed_on_to_another_gateway_is_one_trace() {
    let collector = Collector::start();
    let gateways = Gateways::start(2, options(&collector, "one_in: 1"));
    let follower = &gateways.others[0].client;
    let headers = [("Content-Type", "application/json"), ("traceparent", &*format!("00-{TRACE}-{CALLER}-00"))];
    let reply = follower.send("POST", "/indexes/a/documents", &headers, br#"[{"id": 1, "name": "lake"}]"#);
    follower.done(&reply);
    // Each gateway sends its own.
    let (asked, leads, below) = eventually("spans of both gateways and of a node", || {
        let spans = collector.spans.lock();
        let of_trace: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
        let named = |name: &str, parent: &[u8]| {
            of_trace.iter().find(|span| span.name == name && span.parent_span_id == parent).map(|span| (*span).clone())
        };
        let asked = of_trace.iter().find(|span| hex(&span.parent_span_id) == CALLER)?;
        let leads = named("request", &asked.span_id)?;
        let below = named("subrequest", &leads.span_id)?;
        Some(((*asked).clone(), leads, below))
    });
    assert!(is_request(&asked, "addDocuments") && is_request(&leads, "addDocuments"), "{asked:?} {leads:?}");
    assert_eq!(attributes(&asked)["miroir.request_id"], attributes(&leads)["miroir.request_id"]);
    assert_eq!(attributes(&below)["http.request.method"], "POST");
}

#[test]
fn who_says_to_be_a_gateway_that_records_is_not_believed() {
    let collector = Collector::start();
    let gateways = Gateways::start(2, options(&collector, "one_in: 1000000"));
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers =
        [("Content-Type", "application/json"), ("traceparent", &*parent), ("x-miroir-peer-trace", "recorded")];
    let clients = gateways.clients();
    for client in &clients {
        // The first request of each is due.
        client.add("a", &json!([{"id": 1}]));
        let reply = client.send("POST", "/indexes/a/documents", &headers, br#"[{"id": 2, "name": "lake"}]"#);
        client.done(&reply);
    }
    // Longer than the exporter waits for a batch to fill.
    pause(std::time::Duration::from_secs(6));
    let spans = collector.spans.lock();
    assert!(!spans.is_empty());
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{spans:#?}");
}

#[test]
fn a_client_cannot_choose_to_be_recorded_unless_the_operator_lets_it() {
    for (callers, recorded) in [("counted", false), ("followed", true)] {
        let collector = Collector::start();
        let fleet = fleet(&collector, &format!("one_in: 1000000, callers: {callers}"));
        // The first request of all was due.
        collector.trace_of("addDocuments");
        let headers = [("traceparent", &*format!("00-{TRACE}-{CALLER}-01"))];
        fleet.client.send("GET", "/indexes/a/search?q=sea", &headers, b"").ok();
        if recorded {
            let spans = collector.trace_of("searchGet");
            assert_eq!(hex(&spans[0].trace_id), TRACE);
        } else {
            // Longer than the exporter waits for a batch to fill.
            pause(std::time::Duration::from_secs(6));
            assert!(collector.spans.lock().iter().all(|span| hex(&span.trace_id) != TRACE));
        }
    }
}

#[test]
fn a_collector_that_is_away_delays_nobody_and_the_configuration_says_what_is_wrong() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let collector = Collector { port: closed, spans: Arc::default(), heads: Arc::default() };
    let fleet = fleet(&collector, "one_in: 1");
    for _ in 0..50 {
        fleet.client.search("a", &json!({"q": "sea"}));
    }
}
