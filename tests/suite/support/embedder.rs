//! An embedder over HTTP, as the engine's source `rest` asks one: the same text always lies in the same place.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Vectors have so many numbers. An index with fewer documents is searched whole, without approximation.
pub const DIMENSIONS: usize = 192;

/// A text with this word cannot be embedded.
pub const UNSPEAKABLE: &str = "unspeakable";

pub struct Embedder {
    pub url: String,
    asked: Arc<AtomicUsize>,
    texts: Arc<Mutex<BTreeSet<String>>>,
}

// === impl Embedder ===

impl Embedder {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/embed", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let texts = Arc::new(Mutex::new(BTreeSet::new()));
        let (counter, heard) = (Arc::clone(&asked), Arc::clone(&texts));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counter, heard) = (Arc::clone(&counter), Arc::clone(&heard));
                std::thread::spawn(move || serve(&stream, &counter, &heard));
            }
        });
        Self { url, asked, texts }
    }

    /// The settings of an embedder that asks here.
    pub fn settings(&self, template: &str) -> Value {
        json!({
            "source": "rest", "url": self.url, "dimensions": DIMENSIONS, "documentTemplate": template,
            "request": {"input": ["{{text}}", "{{..}}"]}, "response": {"vectors": ["{{embedding}}", "{{..}}"]},
        })
    }

    /// The texts that came since the last look.
    pub fn texts(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.texts.lock().expect("nobody panics with it"))
    }

    /// How many requests came so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Texts with common words lie near each other.
pub fn embed(text: &str) -> Vec<f64> {
    let mut vector = vec![0.0; DIMENSIONS];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut state = word
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
        for number in &mut vector {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *number += ((state >> 40) as f64) / f64::from(1 << 23) - 1.0;
        }
    }
    vector
}

fn serve(stream: &TcpStream, counter: &AtomicUsize, heard: &Mutex<BTreeSet<String>>) {
    let mut reader = BufReader::new(stream);
    while let Some(body) = request(&mut reader) {
        counter.fetch_add(1, Ordering::Relaxed);
        let texts: Vec<&str> = body["input"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        heard.lock().expect("nobody panics with it").extend(texts.iter().map(|text| (*text).to_owned()));
        let (status, answer) = if texts.iter().any(|text| text.contains(UNSPEAKABLE)) {
            ("400 Bad Request", json!({"error": "a text that cannot be embedded"}))
        } else {
            ("200 OK", json!({"vectors": texts.iter().map(|text| embed(text)).collect::<Vec<_>>()}))
        };
        let answer = answer.to_string();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        let mut out = stream;
        if out.write_all((head + answer.as_str()).as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    let mut first = true;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim();
        if line.is_empty() && !first {
            break;
        }
        first = false;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
