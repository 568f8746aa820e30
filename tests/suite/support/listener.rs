//! Who listens on a webhook.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What a webhook was sent in one request.
#[derive(Clone)]
pub struct Sent {
    pub headers: BTreeMap<String, String>,
    pub tasks: Vec<Value>,
}

/// Listens as the owner of a webhook does; fails the first `failing` requests.
pub struct Listener {
    pub url: String,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Listener {
    /// Hears from now on.
    pub fn start(mut failing: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook?token=sesame", listener.local_addr().expect("an address"));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else { continue };
                let fails = failing > 0;
                failing = failing.saturating_sub(1);
                let status = if fails { "503 Busy" } else { "204 Gone through" };
                if !fails {
                    kept.lock().expect("nobody panics with it").push(request);
                }
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                // A client that hangs up early has what it wants.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self { url, sent }
    }

    /// What it was sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("nobody panics with it").clone()
    }

    /// The tasks that it was told of so far.
    pub fn tasks(&self) -> Vec<Value> {
        self.sent().into_iter().flat_map(|sent| sent.tasks).collect()
    }
}

fn read(stream: &TcpStream) -> Option<Sent> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let body = match headers.get("transfer-encoding").map(String::as_str) {
        Some("chunked") => chunks(&mut reader)?,
        _ => {
            let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
            reader.read_exact(&mut body).ok()?;
            body
        }
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).ok()?;
    let tasks = text.lines().map(|line| serde_json::from_str(line).expect("a task a line")).collect();
    Some(Sent { headers, tasks })
}

/// A chunked body up to its last chunk; nobody sends trailers here.
fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).ok()?];
        reader.read_exact(&mut chunk).ok()?;
        reader.read_line(&mut String::new()).ok()?;
        if chunk.is_empty() {
            return Some(body);
        }
        body.extend(chunk);
    }
}
