//! A client that costs as little as a client can: one connection, one request after the other, nothing parsed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

// === impl Wire ===

impl Wire {
    /// `address` is `host:port`.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).expect("an open socket");
        // An answer that this client cannot read, one in chunks for example, must not hold it for ever.
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("an open socket");
        Self { stream, buffer: vec![0; 1 << 20] }
    }

    /// How long a POST took from its first byte to the answer's last, and the answer's body.
    pub fn post(&mut self, path: &str, body: &str) -> (Duration, &[u8]) {
        let (took, status, answer) = self.send(path, body);
        let answer = &self.buffer[answer];
        assert_eq!(status / 100, 2, "{body}: {}", String::from_utf8_lossy(&answer[..answer.len().min(600)]));
        (took, answer)
    }

    /// The answer's body, unless it is a refusal.
    pub fn try_post(&mut self, path: &str, body: &str) -> Option<&[u8]> {
        let (_, status, answer) = self.send(path, body);
        (status == 200).then(|| &self.buffer[answer])
    }

    fn send(&mut self, path: &str, body: &str) -> (Duration, u16, Range<usize>) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: speed\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let start = Instant::now();
        self.stream.write_all(request.as_bytes()).expect("a server that reads");
        let (from, to) = self.read();
        let took = start.elapsed();
        let status = self.buffer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        (took, status.expect("an answer of HTTP"), from..to)
    }

    /// Reads one answer; where its body begins and ends.
    fn read(&mut self) -> (usize, usize) {
        let mut read = 0;
        let mut whole = None;
        loop {
            if let Some((from, to)) = whole
                && read >= to
            {
                return (from, to);
            }
            if read == self.buffer.len() {
                self.buffer.resize(read * 2, 0);
            }
            let count = self.stream.read(&mut self.buffer[read..]).expect("an answer");
            assert!(count > 0, "the connection ended");
            read += count;
            if whole.is_none() {
                whole = end_of(&self.buffer[..read]);
            }
        }
    }

    /// Sends a body of `length` bytes, made piece by piece.
    pub fn upload(&mut self, path: &str, length: u64, mut piece: impl FnMut() -> Vec<u8>) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: speed\r\ncontent-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).expect("a server that reads");
        let mut sent = 0;
        while sent < length {
            let piece = piece();
            self.stream.write_all(&piece).expect("a server that reads");
            sent += piece.len() as u64;
        }
        assert_eq!(sent, length);
        self.read();
        assert!(self.buffer.starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&self.buffer[..600]));
    }
}

/// Where the body begins and ends, once the head is there.
fn end_of(read: &[u8]) -> Option<(usize, usize)> {
    let from = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&read[..from]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    Some((from, from + length.trim().parse::<usize>().ok()?))
}
