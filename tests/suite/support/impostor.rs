//! An HTTP proxy before one node that says it is well and, when told to, answers everything else with nonsense.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::client::pause;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persona {
    /// What the node says.
    Honest,
    ServerError,
    /// The page of some other server, with the status of success.
    Html,
    /// The page of some other server that does not know the path.
    HtmlNotFound,
    /// JSON that ends too soon, in an answer that is whole.
    TruncatedJson,
    /// Less than the length that was announced.
    ShortBody,
    /// More than the length that was announced.
    LongBody,
    /// One byte at a time.
    SlowBody,
    /// A body that does not end.
    EndlessBody,
    /// Not HTTP.
    Garbage,
    DiskFull,
    /// A key of Miroir's that the node does not take.
    RefusesKey,
    /// A proxy that does not reach the node.
    BadGateway,
}

pub struct Impostor {
    pub port: u16,
    persona: Arc<Mutex<Persona>>,
    lies: Arc<Lies>,
}

/// Requests that were not answered honestly.
#[derive(Default)]
struct Lies {
    all: AtomicUsize,
    searches: AtomicUsize,
}

// === impl Persona ===

impl Persona {
    pub const ALL: &[Persona] = &[
        Self::ServerError,
        Self::Html,
        Self::HtmlNotFound,
        Self::TruncatedJson,
        Self::ShortBody,
        Self::LongBody,
        Self::SlowBody,
        Self::EndlessBody,
        Self::Garbage,
        Self::DiskFull,
        Self::RefusesKey,
        Self::BadGateway,
    ];

    fn answer(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let whole = |status: &str, kind: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let json = "application/json";
        let hits = r#"{"hits":[{"id":666,"name":"evil"}],"query":"","processingTimeMs":1,"limit":20,"#;
        let text = match self {
            Self::Honest => String::new(),
            Self::ServerError => whole(
                "500 Internal Server Error",
                json,
                r#"{"message":"evil","code":"internal","type":"internal","link":""}"#,
            ),
            Self::Html => whole("200 OK", "text/html", "<html>evil</html>"),
            Self::HtmlNotFound => whole("404 Not Found", "text/html", "<html>evil</html>"),
            Self::TruncatedJson => whole("200 OK", json, hits),
            Self::ShortBody => format!("HTTP/1.1 200 OK\r\nContent-Type: {json}\r\nContent-Length: 999\r\n\r\n{hits}"),
            Self::LongBody => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: {json}\r\nContent-Length: 30\r\n\r\n{hits}{hits}")
            }
            Self::SlowBody | Self::EndlessBody => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: {json}\r\nContent-Length: 9000000000\r\n\r\n")
            }
            Self::Garbage => "evil evil evil\r\n\r\nevil".to_owned(),
            Self::DiskFull => whole(
                "422 Unprocessable Entity",
                json,
                r#"{"message":"evil","code":"no_space_left_on_device","type":"system","link":""}"#,
            ),
            Self::RefusesKey => {
                whole("403 Forbidden", json, r#"{"message":"evil","code":"invalid_api_key","type":"auth","link":""}"#)
            }
            Self::BadGateway => whole("502 Bad Gateway", "text/html", "<html>evil</html>"),
        };
        stream.write_all(text.as_bytes())?;
        loop {
            match self {
                Self::SlowBody => {
                    stream.write_all(b" ")?;
                    pause(Duration::from_millis(50));
                }
                Self::EndlessBody => stream.write_all(&[b' '; 64 << 10])?,
                Self::Honest
                | Self::ServerError
                | Self::Html
                | Self::HtmlNotFound
                | Self::TruncatedJson
                | Self::ShortBody
                | Self::LongBody
                | Self::Garbage
                | Self::DiskFull
                | Self::RefusesKey
                | Self::BadGateway => return Ok(()),
            }
        }
    }
}

// === impl Impostor ===

impl Impostor {
    /// Stands before the node at `url`.
    pub fn start(url: &str) -> Self {
        let node = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (persona, lies) = (Arc::new(Mutex::new(Persona::Honest)), Arc::new(Lies::default()));
        let shared = (Arc::clone(&persona), Arc::clone(&lies));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (node, (persona, lies)) = (node.clone(), shared.clone());
                // A client that goes away is no reason to fail.
                std::thread::spawn(move || drop(serve(stream, &node, &persona, &lies)));
            }
        });
        Self { port, persona, lies }
    }

    pub fn become_one(&self, persona: Persona) {
        *self.persona.lock() = persona;
    }

    /// How often it has not been honest.
    pub fn lies(&self) -> usize {
        self.lies.all.load(Ordering::Relaxed)
    }

    /// How often it has lied to a search.
    pub fn searches(&self) -> usize {
        self.lies.searches.load(Ordering::Relaxed)
    }
}

/// One request; the connection ends with its answer.
fn serve(mut stream: TcpStream, node: &str, persona: &Mutex<Persona>, lies: &Lies) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let persona = *persona.lock();
    if persona != Persona::Honest && !head.contains(" /health") {
        lies.all.fetch_add(1, Ordering::Relaxed);
        lies.searches.fetch_add(usize::from(head.contains("/search HTTP/")), Ordering::Relaxed);
        return persona.answer(&mut stream);
    }
    let mut to_node = TcpStream::connect(node)?;
    to_node.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    to_node.write_all(&body)?;
    std::io::copy(&mut to_node, &mut stream)?;
    Ok(())
}
