//! What a connection passes before HTTP: the PROXY protocol, bounds on connections; and clients that do not read.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::secured::Secured;
use crate::support::client::eventually;
use crate::support::fleet::{Fleet, FleetOptions};

/// A request whose access log line is always written.
const ASK: &str = "GET /indexes/none HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n";
/// The beginning of a header of the PROXY protocol, version 2, and the bytes of two IPv4 addresses and ports.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\0\x71\x08\xC6\x33\x64\x01\xDC\x04\x01\xBB";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn one_node(more: &str) -> Fleet {
    Fleet::with(FleetOptions { nodes: 1, replication_factor: 1, more: more.to_owned(), ..FleetOptions::default() })
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.1 56324 443\r\n").into_bytes()
}

async fn connect(fleet: &Fleet, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("an address of this machine");
    let to = fleet.client.url.trim_start_matches("http://").parse().expect("an address");
    socket.connect(to).await.expect("the gateway listens")
}

/// What comes until the other side closes, or resets.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    let read = async {
        while let Ok(taken @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..taken]);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("the connection ends");
    String::from_utf8_lossy(&all).into_owned()
}

/// The answer to what is sent over a new connection from this address.
async fn say(fleet: &Fleet, from: &str, pieces: &[&[u8]]) -> String {
    let mut stream = connect(fleet, from).await;
    for piece in pieces {
        // It may be closed already, and then says nothing.
        let _ = stream.write_all(piece).await;
    }
    rest(&mut stream).await
}

/// Whether one request so far was logged as this client's.
fn was_logged(fleet: &Fleet, client: &str) -> bool {
    let word = format!("client={client} ");
    fleet.gateway().log().lines().any(|line| line.contains("route=\"getIndex\"") && line.contains(&word))
}

fn refused(fleet: &Fleet, reason: &str) -> f64 {
    fleet.metric(&format!("miroir_connections_refused_total{{reason=\"{reason}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_of_whom_the_proxy_before_it_names() {
    let trusted = "trusted_proxies: { networks: [127.0.0.1], proxy_protocol: required }\n";
    let fleet = one_node(&format!("{trusted}limits: {{ client_timeout: 1s }}\n"));
    for (header, client) in [(v1("203.0.113.7"), "203.0.113.7"), (V2.to_vec(), "203.0.113.8")] {
        let answer = say(&fleet, "127.0.0.1", &[&header, ASK.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        eventually("its client is logged", || was_logged(&fleet, client).then_some(()));
    }
    assert!(!was_logged(&fleet, "9.9.9.9"), "what a client says of itself is not believed");
    // Behind a proxy that is named by a proxy stands whom it names in its header.
    say(&fleet, "127.0.0.1", &[&v1("127.0.0.1"), ASK.as_bytes()]).await;
    eventually("its client is logged", || was_logged(&fleet, "9.9.9.9").then_some(()));
    let health = ASK.replace("X-Forwarded-For: 9.9.9.9\r\n", "");
    say(&fleet, "127.0.0.1", &[LOCAL, health.as_bytes()]).await;
    eventually("a check of the proxy's own is logged", || was_logged(&fleet, "127.0.0.1").then_some(()));

    // In pieces, and HTTP/2 behind it.
    let mut stream = connect(&fleet, "127.0.0.1").await;
    for byte in v1("203.0.113.10") {
        stream.write_all(&[byte]).await.expect("sent");
    }
    let (mut client, connection) = h2::client::handshake(stream).await.expect("a preface");
    tokio::spawn(connection);
    let request = Request::get("http://miroir.test/indexes/none").body(()).expect("a request");
    let (answer, _) = client.send_request(request, true).expect("a stream");
    assert_eq!(answer.await.expect("an answer").status(), 404);
    eventually("its client is logged", || was_logged(&fleet, "203.0.113.10").then_some(()));

    for (from, pieces) in [
        ("127.0.0.1", vec![ASK.as_bytes()]),
        ("127.0.0.1", vec![&b"PROXY TCP4 nonsense\r\n"[..], ASK.as_bytes()]),
        ("127.0.0.1", vec![&b"PROXY TCP4 203.0.113.11"[..]]),
        ("127.0.0.2", vec![&v1("203.0.113.11")[..], ASK.as_bytes()]),
    ] {
        assert_eq!(say(&fleet, from, &pieces).await, "", "{from}");
    }
    assert_eq!((refused(&fleet, "header"), refused(&fleet, "no_proxy")), (3.0, 1.0));

    let config = std::fs::read_to_string(&fleet.config).expect("the configuration");
    std::fs::write(&fleet.config, config.replace("required", "optional")).expect("written");
    assert_eq!(fleet.admin.post("/reload", &json!({})).status, 200);
    let forged = say(&fleet, "127.0.0.2", &[&v1("203.0.113.11"), ASK.as_bytes()]).await;
    assert!(forged.starts_with("HTTP/1.1 400"), "{forged}");
    for (from, pieces) in [
        ("127.0.0.2", vec![ASK.as_bytes()]),
        ("127.0.0.1", vec![ASK.as_bytes()]),
        ("127.0.0.1", vec![&v1("203.0.113.12")[..], ASK.as_bytes()]),
    ] {
        let answer = say(&fleet, from, &pieces).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    eventually("its client is logged", || was_logged(&fleet, "203.0.113.12").then_some(()));
    assert!(was_logged(&fleet, "127.0.0.2") && !was_logged(&fleet, "203.0.113.11"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_names_its_client_before_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let secured = Secured::new(folder.path());
    let trusted = "trusted_proxies: { networks: [127.0.0.1], proxy_protocol: required }\n";
    let fleet = one_node(&format!("{}{trusted}limits: {{ client_timeout: 1s }}\n", secured.config()));
    for (header, client) in [(v1("203.0.113.7"), "203.0.113.7"), (V2.to_vec(), "203.0.113.8")] {
        let mut tcp = connect(&fleet, "127.0.0.1").await;
        tcp.write_all(&header).await.expect("sent");
        let mut stream = secured.over(tcp, &[]).await.expect("a handshake");
        stream.write_all(ASK.as_bytes()).await.expect("sent");
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        eventually("its client is logged", || was_logged(&fleet, client).then_some(()));
    }
    assert!(secured.over(connect(&fleet, "127.0.0.1").await, &[]).await.is_err(), "without a header");
    let mut elsewhere = connect(&fleet, "127.0.0.2").await;
    elsewhere.write_all(&v1("203.0.113.9")).await.expect("sent");
    assert!(secured.over(elsewhere, &[]).await.is_err(), "from elsewhere");
    assert_eq!((refused(&fleet, "header"), refused(&fleet, "no_proxy")), (1.0, 1.0));
    eventually("they are over", || (fleet.metric("miroir_connections_open") == 0.0).then_some(()));
}

/// An open connection on which a request was answered, or `None` where it was closed before.
async fn kept(fleet: &Fleet, from: &str) -> Option<TcpStream> {
    let mut stream = connect(fleet, from).await;
    let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut begin = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut begin)).await.expect("in time");
    read.ok().map(|_| stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_in_all_and_by_address() {
    let fleet = one_node("limits: { connections: 5, connections_per_address: 2 }\n");
    let mut open = Vec::new();
    for from in ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"] {
        open.push(kept(&fleet, from).await.expect("within the bounds"));
    }
    assert!(kept(&fleet, "127.0.0.1").await.is_none(), "a third one of an address");
    assert_eq!((refused(&fleet, "address"), refused(&fleet, "connections")), (1.0, 0.0));
    open.push(kept(&fleet, "127.0.0.3").await.expect("within the bounds"));
    assert!(kept(&fleet, "127.0.0.4").await.is_none(), "a sixth one");
    assert_eq!((refused(&fleet, "address"), refused(&fleet, "connections")), (1.0, 1.0));
    assert_eq!(fleet.metric("miroir_connections_open"), 5.0);
    drop(open.remove(0));
    eventually("it is over", || (fleet.metric("miroir_connections_open") == 4.0).then_some(()));
    assert!(kept(&fleet, "127.0.0.1").await.is_some(), "there is room again");
    drop(open);
    eventually("all are over", || (fleet.metric("miroir_connections_open") == 0.0).then_some(()));
}

/// A connection of HTTP/2 whose windows are as its library makes them.
async fn speaks<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: T) -> h2::client::SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(stream).await.expect("a preface");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_much_and_reads_nothing_is_given_up() {
    let fleet = one_node("limits: { client_timeout: 1s }\n");
    let films: Vec<Value> = (0..1000).map(|id| json!({"id": id, "plot": "x".repeat(1000)})).collect();
    fleet.client.done(&fleet.client.post("/indexes/films/documents", &Value::from(films)));
    let before = fleet.gateway().peak_memory();
    let under_way = || fleet.metric("miroir_requests_in_flight");
    let path = "/indexes/films/documents?limit=1000";

    // Streams whose windows stay shut, of a connection that goes on.
    let mut client = speaks(connect(&fleet, "127.0.0.1").await).await;
    let mut answers = Vec::new();
    for _ in 0..60 {
        client = client.ready().await.expect("room for a request");
        let request = Request::get(format!("http://miroir.test{path}")).body(()).expect("a request");
        answers.push(client.send_request(request, true).expect("a stream").0);
    }
    let mut bodies = Vec::new();
    for answer in answers {
        // Whatever comes of it, it is not read.
        bodies.push(answer.await.map(http::Response::into_body));
    }
    assert!(bodies.iter().any(Result::is_ok), "some began");
    assert_eq!(fleet.client.get("/indexes/films/documents/7").status, 200, "others are answered");
    eventually("the streams are given up", || (under_way() == 0.0).then_some(()));
    let mut broken = 0;
    for mut body in bodies.into_iter().flatten() {
        while let Some(piece) = body.data().await {
            broken += usize::from(piece.is_err());
            if piece.is_err() {
                break;
            }
        }
    }
    assert!(broken > 0, "a stream that nobody read was reset");

    // A connection of which no byte is read.
    let mut silent = connect(&fleet, "127.0.0.1").await;
    let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(60);
    silent.write_all(ask.as_bytes()).await.expect("sent");
    eventually("it is answered", || (under_way() == 1.0).then_some(()));
    drop(client);
    eventually("it is closed", || (fleet.metric("miroir_connections_open") <= 1.0 && under_way() == 0.0).then_some(()));
    assert!(rest(&mut silent).await.len() < 60_000_000, "not all was sent");
    let grown = fleet.gateway().peak_memory() - before;
    assert!(grown < 400 << 20, "{} MiB", grown >> 20);
}
