//! Requests go on while the gateway is restarted, and while its certificates change. `MIROIR_TEST_REQUESTS=100000` asks for so many of them.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::secured::Secured;
use crate::support::client::eventually;
use crate::support::fleet::{Fleet, FleetOptions, MIROIR};

fn wanted(usual: usize) -> usize {
    std::env::var("MIROIR_TEST_REQUESTS").map_or(usual, |text| text.parse().expect("a number"))
}

/// A gateway on sockets that it was given, as systemd gives them. It does not outlive the test.
struct Given(Child);

impl Given {
    fn start(fleet: &Fleet, sockets: &[TcpListener; 3]) -> Self {
        let script = "exec 3<&0 4<&1 5<&2 0</dev/null 1>>\"$2\" 2>&1; export LISTEN_FDS=3 LISTEN_PID=$$; exec \"$0\" serve --config \"$1\"";
        let [api, admin, metrics] =
            sockets.each_ref().map(|socket| Stdio::from(OwnedFd::from(socket.try_clone().expect("a second handle"))));
        let child = Command::new("sh")
            .args(["-c", script, MIROIR])
            .args([&fleet.config, &fleet.folder().join("given.log")])
            .stdin(api)
            .stdout(admin)
            .stderr(metrics)
            .spawn()
            .expect("a shell");
        Self(child)
    }

    fn stop(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()));
        assert!(self.0.wait().expect("a child").success());
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What clients have met.
#[derive(Default)]
struct Met {
    answered: AtomicUsize,
    failed: AtomicUsize,
    /// Requests on a kept connection that ended before it.
    again: AtomicUsize,
    longest: AtomicUsize,
    over: AtomicBool,
}

/// One answer over `stream`; `None` where it ends before its first byte.
async fn answer(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let taken = match stream.read(&mut piece).await {
            Ok(0) | Err(_) if all.is_empty() => return Ok(None),
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(taken) => taken,
            Err(error) => return Err(error),
        };
        all.extend_from_slice(&piece[..taken]);
        let text = String::from_utf8_lossy(&all).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if length.is_some_and(|length: usize| body.len() >= length) {
            return Ok(Some(text));
        }
    }
}

/// Asks until it is over: by a connection for each request, or by one that is kept.
async fn ask(address: String, keeps: bool, met: Arc<Met>) {
    let body = json!({"q": "film 7", "limit": 1}).to_string();
    let connection = if keeps { "keep-alive" } else { "close" };
    let request = format!(
        "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut kept: Option<TcpStream> = None;
    while !met.over.load(Ordering::Relaxed) {
        let (began, is_kept) = (Instant::now(), kept.is_some());
        let asked = async {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => TcpStream::connect(&address).await?,
            };
            let sent = stream.write_all(request.as_bytes()).await;
            let came = if sent.is_ok() { answer(&mut stream).await? } else { None };
            Ok::<_, std::io::Error>((came, stream))
        };
        match tokio::time::timeout(Duration::from_secs(60), asked).await {
            Ok(Ok((Some(text), stream)))
                if text.starts_with("HTTP/1.1 200") && text.contains("\"title\":\"film 7\"") =>
            {
                met.answered.fetch_add(1, Ordering::Relaxed);
                kept = (keeps && !text.to_ascii_lowercase().contains("connection: close")).then_some(stream);
            }
            Ok(Ok((None, _))) if is_kept => {
                met.again.fetch_add(1, Ordering::Relaxed);
            }
            other => {
                eprintln!("{keeps}: {other:?}");
                met.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        met.longest.fetch_max(usize::try_from(began.elapsed().as_millis()).unwrap_or(usize::MAX), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_given_sockets_refuses_no_connection_and_fails_no_request() {
    let mut fleet =
        Fleet::with(FleetOptions { more: "gateway: { drain: 1s }\n".to_owned(), ..FleetOptions::default() });
    let films: Vec<_> = (0..100).map(|id| json!({"id": id, "title": format!("film {id}")})).collect();
    fleet.client.done(&fleet.client.post("/indexes/films/documents", &json!(films)));
    fleet.kill_gateway();
    let sockets = [&fleet.client, &fleet.admin, &fleet.metrics]
        .map(|client| TcpListener::bind(client.url.trim_start_matches("http://")).expect("the port is free"));
    let mut gateway = Given::start(&fleet, &sockets);
    let address = fleet.client.url.trim_start_matches("http://").to_owned();
    let met = Arc::new(Met::default());
    let clients: Vec<_> =
        (0..8).map(|number| tokio::spawn(ask(address.clone(), number % 2 == 0, Arc::clone(&met)))).collect();
    let (wanted, mut restarts) = (wanted(1000), 0);
    let answered = || met.answered.load(Ordering::Relaxed);
    while restarts < 3 || answered() < wanted {
        let before = answered();
        tokio::task::block_in_place(|| {
            eventually("some more are answered", || (answered() >= before + 200).then_some(()));
            gateway.stop();
        });
        gateway = Given::start(&fleet, &sockets);
        restarts += 1;
    }
    let before = answered();
    tokio::task::block_in_place(|| eventually("it answers", || (answered() > before).then_some(())));
    met.over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("it ran");
    }
    let (failed, again) = (met.failed.load(Ordering::Relaxed), met.again.load(Ordering::Relaxed));
    println!(
        "{restarts} restarts, {} answered, {failed} failed, {again} sent again, the longest {} ms",
        answered(),
        met.longest.load(Ordering::Relaxed)
    );
    assert_eq!(failed, 0);
    // A socket that nothing listens on would leave its clients waiting.
    gateway.stop();
    let [listen, admin, metrics] = sockets;
    drop(listen);
    let strange = [TcpListener::bind("127.0.0.1:0").expect("a port"), admin, metrics];
    let mut refused = Given::start(&fleet, &strange);
    assert!(!tokio::task::block_in_place(|| refused.0.wait()).expect("a child").success());
    let log = std::fs::read_to_string(fleet.folder().join("given.log")).expect("a log");
    assert!(log.contains("where nothing is configured to listen"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_load_and_no_request_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let secured = Arc::new(Secured::new(folder.path()));
    let fleet = Fleet::with(FleetOptions {
        nodes: 1,
        replication_factor: 1,
        more: secured.config(),
        ..FleetOptions::default()
    });
    let address = fleet.client.url.trim_start_matches("http://").to_owned();
    let (wanted, done) = (wanted(2000), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (secured, done, address) = (Arc::clone(&secured), Arc::clone(&done), address.clone());
            tokio::spawn(async move {
                while done.load(Ordering::Relaxed) < wanted {
                    let tcp = TcpStream::connect(&address).await.expect("the gateway listens");
                    let stream = secured.over(tcp, &[b"h2"]).await.expect("a handshake");
                    let (client, connection) = h2::client::handshake(stream).await.expect("a preface");
                    let connection = tokio::spawn(connection);
                    for _ in 0..10 {
                        let all = (0..5).map(async |_| {
                            let mut client = client.clone().ready().await.expect("room for a request");
                            let request = Request::get("https://localhost/health").body(()).expect("a request");
                            let (answer, _) = client.send_request(request, true).expect("a stream");
                            let mut answer = answer.await.expect("an answer");
                            assert_eq!(answer.status(), 200);
                            let body = answer.body_mut().data().await.expect("a body").expect("a body");
                            assert_eq!(&body[..], b"{\"status\":\"available\"}");
                        });
                        futures::future::join_all(all).await;
                        done.fetch_add(5, Ordering::Relaxed);
                    }
                    drop(client);
                    connection.await.expect("it ran").expect("it ends properly");
                }
            })
        })
        .collect();
    let mut changes = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        tokio::task::block_in_place(|| {
            secured.renew();
            assert_eq!(fleet.admin.post("/reload", &json!({})).status, 200);
        });
        changes += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for client in clients {
        client.await.expect("no request failed");
    }
    println!("{} requests, {changes} changes", done.load(Ordering::Relaxed));
    assert!(changes > 1, "they changed meanwhile");
}
