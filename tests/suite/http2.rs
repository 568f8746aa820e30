//! HTTP/2 with real sockets: by ALPN, by who begins with it, and what a client may not do with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::fleet::{Fleet, FleetOptions};

/// Requests are opened by it; the connection ends as the task says.
type Connection = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

async fn speaks<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: T) -> Connection {
    let (client, connection) = h2::client::handshake(stream).await.expect("a preface");
    (client, tokio::spawn(connection))
}

async fn connect(address: &str) -> Connection {
    speaks(TcpStream::connect(address).await.expect("the gateway listens")).await
}

/// Sends the head, and the body in pieces as the gateway takes them, without a length.
async fn ask(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> (StatusCode, http::HeaderMap, Vec<u8>) {
    let mut client = client.clone().ready().await.expect("room for a request");
    let mut request = Request::builder().method(method).uri(format!("http://miroir.test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let (answer, mut stream) = client.send_request(request, body.is_empty()).expect("a stream");
    if !body.is_empty() {
        stream.send_data(body, true).expect("a body");
    }
    read(answer).await
}

async fn read(answer: ResponseFuture) -> (StatusCode, http::HeaderMap, Vec<u8>) {
    let (head, mut body) = answer.await.expect("an answer").into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("the answer goes on");
        body.flow_control().release_capacity(piece.len()).expect("it was taken");
        whole.extend_from_slice(&piece);
    }
    (head.status, head.headers, whole)
}

async fn search(client: &SendRequest<Bytes>, body: &Value) -> Value {
    let json = [("content-type", "application/json")];
    let (status, _, text) = ask(client, "POST", "/indexes/films/search", &json, Bytes::from(body.to_string())).await;
    assert_eq!(status, 200);
    serde_json::from_slice(&text).expect("JSON")
}

fn address(fleet: &Fleet) -> String {
    fleet.client.url.trim_start_matches("http://").to_owned()
}

fn films(count: usize) -> Vec<Value> {
    (0..count).map(|id| json!({"id": id, "title": format!("film {id}"), "plot": "x".repeat(1000)})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_are_answered_side_by_side_as_over_http_1() {
    let fleet = Fleet::start();
    let (client, _) = connect(&address(&fleet)).await;
    // Some megabytes, whose length nobody was told before.
    let documents = Bytes::from(json!(films(3000)).to_string());
    let json = [("content-type", "application/json")];
    let (status, _, text) = ask(&client, "POST", "/indexes/films/documents", &json, documents).await;
    let task: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(status, 202, "{task}");
    let id = task["taskUid"].as_str().map_or_else(|| task["taskUid"].to_string(), str::to_owned);
    assert_eq!(fleet.client.wait_id(&id)["details"]["indexedDocuments"], 3000);

    let asked: Vec<Value> = (0..60).map(|id| json!({"q": format!("film {id}"), "limit": 3})).collect();
    let all = futures::future::join_all(asked.iter().map(|body| search(&client, body))).await;
    for (body, found) in asked.iter().zip(all) {
        let alone = fleet.client.post("/indexes/films/search", body).ok();
        assert_eq!(found["hits"], alone["hits"], "{body}");
    }
    // Passed through to a node, larger than a window, without a body, refused.
    let (status, headers, text) = ask(&client, "GET", "/indexes/films/settings/ranking-rules", &[], Bytes::new()).await;
    assert_eq!((status.as_u16(), text.starts_with(b"[\"words\"")), (200, true));
    assert!(headers.contains_key("x-request-id"));
    let (_, _, listed) = ask(&client, "GET", "/indexes/films/documents?limit=1000", &[], Bytes::new()).await;
    assert_eq!(listed, fleet.client.get("/indexes/films/documents?limit=1000").text.as_bytes());
    let (status, _, text) = ask(&client, "HEAD", "/health", &[], Bytes::new()).await;
    assert_eq!((status.as_u16(), text.len()), (405, 0), "as over HTTP/1.1");
    let (status, _, text) = ask(&client, "GET", "/indexes/none", &[], Bytes::new()).await;
    assert_eq!(status, 404);
    assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON")["code"], "index_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_read_of_a_body_ends_its_stream_and_no_other() {
    let fleet = Fleet::with(FleetOptions {
        more: "limits: { body_size: 64KiB, header_size: 16KiB }\n".to_owned(),
        ..FleetOptions::default()
    });
    let (client, connection) = connect(&address(&fleet)).await;
    let json = [("content-type", "application/json")];
    let (status, _, text) =
        ask(&client, "POST", "/indexes/films/search", &json, Bytes::from(vec![b' '; 1 << 20])).await;
    assert_eq!(status, 413, "{}", text.escape_ascii());
    let (status, ..) = ask(&client, "POST", "/nowhere", &json, Bytes::from(vec![b' '; 1 << 20])).await;
    assert_eq!(status, 404);
    let (status, ..) = ask(&client, "GET", "/health", &[("x-long", &"x".repeat(20_000))], Bytes::new()).await;
    assert_eq!(status, 431);
    let (status, ..) = ask(&client, "GET", "/health", &[], Bytes::new()).await;
    assert_eq!(status, 200);
    assert!(!connection.is_finished());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_requests_only_to_reset_them_is_cut_off_and_nobody_else_is() {
    let fleet = Fleet::start();
    fleet.client.done(&fleet.client.post("/indexes/films/documents", &json!(films(20))));
    let (other, _) = connect(&address(&fleet)).await;
    let (client, connection) = connect(&address(&fleet)).await;
    let mut opened = 0;
    let ended = loop {
        let Ok(mut ready) = client.clone().ready().await else { break true };
        let request = Request::get("http://miroir.test/indexes/films/documents").body(()).expect("a request");
        let Ok((answer, mut stream)) = ready.send_request(request, false) else { break true };
        stream.send_reset(h2::Reason::CANCEL);
        drop(answer);
        opened += 1;
        if connection.is_finished() {
            break true;
        }
        if opened == 1_000_000 {
            break false;
        }
        if opened % 100 == 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(ended, "{opened} requests were opened and reset");
    let ended = connection.await.expect("it ran");
    // It is told to calm down, unless it was still sending when the connection went.
    let reason = ended.as_ref().err().and_then(h2::Error::reason);
    let went = ended.as_ref().err().is_some_and(h2::Error::is_io);
    assert!(reason == Some(h2::Reason::ENHANCE_YOUR_CALM) || went, "{ended:?} after {opened}");
    assert_eq!(search(&other, &json!({"q": "film 7", "limit": 1})).await["hits"][0]["id"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_agreed_on_by_alpn_and_the_older_one_is_there_still() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("a.crt"), made.cert.pem()).expect("a file");
    std::fs::write(path("a.key"), made.signing_key.serialize_pem()).expect("a file");
    let more = format!(
        "tls: {{ api: {{ certificates: [{{ cert_file: \"{}\", key_file: \"{}\" }}] }} }}\n",
        path("a.crt"),
        path("a.key")
    );
    let fleet = Fleet::with(FleetOptions { more, ..FleetOptions::default() });
    let mut roots = RootCertStore::empty();
    roots
        .add(
            tokio_rustls::rustls::pki_types::CertificateDer::from_pem_slice(made.cert.pem().as_bytes())
                .expect("a certificate"),
        )
        .expect("a root");
    let offer = async |protocols: &[&[u8]]| {
        let mut config = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let tcp = TcpStream::connect(address(&fleet)).await.expect("the gateway listens");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake")
    };
    let stream = offer(&[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (client, _) = speaks(stream).await;
    let (status, _, text) = ask(&client, "GET", "/health", &[], Bytes::new()).await;
    assert_eq!((status.as_u16(), &text[..]), (200, &b"{\"status\":\"available\"}"[..]));
    for older in [&[&b"http/1.1"[..]][..], &[]] {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = offer(older).await;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_turned_off() {
    let fleet = Fleet::with(FleetOptions { more: "http2: { streams: 0 }\n".to_owned(), ..FleetOptions::default() });
    let (client, connection) = connect(&address(&fleet)).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), connection).await.expect("it ends").expect("it ran");
    assert!(ended.is_err() || client.clone().ready().await.is_err());
    assert_eq!(fleet.client.get("/health").status, 200);
}
