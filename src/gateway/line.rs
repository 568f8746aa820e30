//! Request lines that are none, seen before Pingora sees them.
//!
//! Pingora escapes what may not stand in a request's target: `GET /a b HTTP/1.1` becomes a request for `/a%20b`, and nobody
//! can tell any more that it was not. The engine's server refuses it. So the bytes of a connection pass through here, and a
//! request line of that kind is spoiled where it ends: Pingora then refuses it too, with 400, and closes the connection.
//!
//! Only what is surely a request line is touched: the first of a connection, and the next one after an answer as long as no
//! request so far has had a body or another one right behind it. From then on nobody can tell here where a request begins, a
//! line in a body may look like one, and the connection passes as it is.

/// A line as it arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// What there is of it so far.
    Open(Vec<u8>),
    /// It ended; headers follow until an empty line. True at the beginning of a line.
    Head { at_start: bool },
    /// The head is over, and nothing has come behind it.
    Asked,
    /// Something has: where the next request begins is not known.
    Unknown,
}

/// Longer heads are refused for their length.
const LONGEST: usize = 64 << 10;

// === impl Line ===

impl Line {
    pub(super) fn new() -> Self {
        Self::Open(Vec::new())
    }

    /// Looks at bytes that were read; spoils the line that ends in them if it is no request line.
    pub(super) fn watch(&mut self, read: &mut [u8]) {
        let Self::Open(line) = self else { return self.follow(read) };
        for at in 0..read.len() {
            if read[at] != b'\n' {
                line.push(read[at]);
                if line.len() > LONGEST {
                    *self = Self::Unknown;
                    return;
                }
                continue;
            }
            // Empty lines may come before a request.
            if line.iter().all(|byte| *byte == b'\r') {
                line.clear();
                continue;
            }
            if has_raw_target(line) {
                // Behind the version nothing but the line's end can stand.
                let end = if at > 0 && read[at - 1] == b'\r' { at - 1 } else { at };
                read[end] = 0;
            }
            *self = Self::Head { at_start: true };
            return self.follow(&read[at + 1..]);
        }
    }

    /// Looks for the end of the head in what follows its first line, and whether anything is behind it.
    fn follow(&mut self, read: &[u8]) {
        for byte in read {
            match (&mut *self, byte) {
                (Self::Head { at_start: true }, b'\n') => *self = Self::Asked,
                (Self::Head { at_start }, b'\n') => *at_start = true,
                (Self::Head { .. }, b'\r') => {}
                (Self::Head { at_start }, _) => *at_start = false,
                (Self::Asked, _) => *self = Self::Unknown,
                (Self::Open(_) | Self::Unknown, _) => return,
            }
        }
    }

    /// An answer was written: the next request may begin. After `100 Continue` comes the body of the same one.
    pub(super) fn answered(&mut self, written: &[u8]) {
        if *self == Self::Asked && !written.starts_with(b"HTTP/1.1 100") {
            *self = Self::new();
        }
    }
}

/// True for `METHOD /target HTTP/1.x` with a space or a control character in the target, and for nothing that could be
/// anything else but a request line.
fn has_raw_target(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(line) = line.strip_suffix(b" HTTP/1.1").or_else(|| line.strip_suffix(b" HTTP/1.0")) else { return false };
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return false };
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    is_method && target.starts_with(b"/") && target.iter().any(|byte| *byte <= b' ' || *byte == 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Pingora gets to read, where it comes in these pieces.
    fn seen(line: &mut Line, pieces: &[&str]) -> Vec<u8> {
        let mut seen = Vec::new();
        for piece in pieces {
            let mut piece = piece.as_bytes().to_vec();
            line.watch(&mut piece);
            seen.extend_from_slice(&piece);
        }
        seen
    }

    #[test]
    fn a_target_with_a_space_spoils_its_line_in_however_many_pieces() {
        let spoiled = b"GET /a b HTTP/1.1\0\nHost: x\r\n\r\n";
        for pieces in [&["GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"][..], &["GET /a", " b HTTP/1.1\r", "\nHost: x\r\n\r\n"]]
        {
            let seen = seen(&mut Line::new(), pieces);
            assert!(seen.contains(&0), "{pieces:?}");
            if pieces.len() == 1 {
                assert_eq!(seen, spoiled);
            }
        }
        for bad in ["GET /a\tb HTTP/1.1\r\n", "POST /health  HTTP/1.0\n", "\r\n\r\nGET /? HTTP/1.1 HTTP/1.1\r\n"] {
            assert!(seen(&mut Line::new(), &[bad]).contains(&0), "{bad:?}");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        for good in [
            "GET /a%20b?q=c HTTP/1.1\r\nX: a b HTTP/1.1\r\n\r\nGET /a b HTTP/1.1\r\n",
            "{\"a\": \"GET /a b HTTP/1.1\"}\n",
            "id,GET /a b HTTP/1.1\n",
            "GET /health\r\n",
        ] {
            assert_eq!(seen(&mut Line::new(), &[good]), good.as_bytes());
        }
    }

    #[test]
    fn the_line_after_an_answer_is_a_request_line_again() {
        let (good, bad) = ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n");
        let mut line = Line::new();
        for _ in 0..2 {
            assert!(!seen(&mut line, &[&good[..20], &good[20..]]).contains(&0));
            line.answered(b"HTTP/1.1 200 OK\r\n");
        }
        assert!(seen(&mut line, &[bad]).contains(&0));
    }

    #[test]
    fn a_body_is_never_touched_however_it_comes() {
        let head = "POST /indexes/logs/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n";
        let line_of_a_log = "GET /a b HTTP/1.1\n";
        // At once, by itself, after a wait for it, and in the read that follows an answer to a request before.
        assert!(!seen(&mut Line::new(), &[&format!("{head}{line_of_a_log}"), line_of_a_log]).contains(&0));
        let mut line = Line::new();
        assert!(!seen(&mut line, &[head]).contains(&0));
        line.answered(b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(!seen(&mut line, &[line_of_a_log, line_of_a_log]).contains(&0));
        let mut line = Line::new();
        assert!(!seen(&mut line, &[&format!("GET / HTTP/1.1\r\n\r\n{head}half")]).contains(&0));
        line.answered(b"HTTP/1.1 200 OK\r\n");
        assert!(!seen(&mut line, &[line_of_a_log]).contains(&0));
    }
}
