//! As much of an object store as a backup meets: an upload in parts, a download. Objects are held in memory, and a request without
//! a signature of the right key is refused.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

pub const ACCESS_KEY: &str = "an-access-key";
pub const SECRET_KEY: &str = "a-secret-key";

type Parts = BTreeMap<u32, Vec<u8>>;

#[derive(Default)]
struct State {
    /// By the path of their object.
    uploads: BTreeMap<String, Parts>,
    objects: BTreeMap<String, Vec<u8>>,
}

pub struct ObjectStore {
    pub url: String,
    state: Arc<Mutex<State>>,
}

// === impl ObjectStore ===

impl ObjectStore {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { url, state }
    }

    /// The objects by their paths, `/bucket/key`, with their sizes.
    pub fn objects(&self) -> BTreeMap<String, usize> {
        self.state.lock().objects.iter().map(|(path, object)| (path.clone(), object.len())).collect()
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    while let Some((method, target, body)) = request(&mut reader) {
        let (status, headers, body) = answer(&method, &target, body, &mut state.lock());
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(&body)).is_err() {
            return;
        }
    }
}

fn answer(method: &str, target: &str, body: Vec<u8>, state: &mut State) -> (&'static str, String, Vec<u8>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let names = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let signed = value("X-Amz-Credential").is_some_and(|key| key.starts_with(ACCESS_KEY)) && names("X-Amz-Signature");
    if !signed {
        return ("403 Forbidden", String::new(), b"<Error><Code>AccessDenied</Code></Error>".to_vec());
    }
    let path = path.to_owned();
    match (method, value("partNumber"), names("uploadId")) {
        ("POST", None, false) if names("uploads") => {
            state.uploads.insert(path, Parts::new());
            let xml = "<InitiateMultipartUploadResult><UploadId>an-upload</UploadId></InitiateMultipartUploadResult>";
            ("200 OK", String::new(), xml.as_bytes().to_vec())
        }
        ("PUT", Some(number), true) => {
            let number: u32 = number.parse().expect("a number");
            state.uploads.get_mut(&path).expect("an upload").insert(number, body);
            ("200 OK", format!("ETag: \"part-{number}\"\r\n"), Vec::new())
        }
        ("POST", None, true) => {
            let parts = state.uploads.remove(&path).expect("an upload");
            let told = String::from_utf8(body).expect("text");
            assert!(parts.keys().all(|number| told.contains(&format!("part-{number}"))), "{told}");
            state.objects.insert(path, parts.into_values().flatten().collect());
            ("200 OK", String::new(), b"<CompleteMultipartUploadResult/>".to_vec())
        }
        ("DELETE", None, true) => {
            state.uploads.remove(&path);
            ("204 No Content", String::new(), Vec::new())
        }
        ("GET", None, false) => match state.objects.get(&path) {
            Some(object) => ("200 OK", String::new(), object.clone()),
            None => ("404 Not Found", String::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        },
        other => panic!("{other:?} {target}"),
    }
}

fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, target, body))
}
