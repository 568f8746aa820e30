//! Finds where a JSON value ends, however many pieces it comes in. It counts brackets and minds strings, nothing
//! more: whether the bytes are JSON is decided afterwards, by a parser that sees them whole.

/// Finds the end of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ValueScanner {
    depth: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before the first byte.
    #[default]
    Start,
    /// Inside an array or an object, not inside a string.
    Nested,
    String,
    /// After a backslash inside a string.
    Escape,
    /// A number, a word, or something that starts no value.
    Scalar,
}

/// Bytes that mean something outside strings.
const STRUCTURAL: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'}' as usize] = true;
    table[b'[' as usize] = true;
    table[b']' as usize] = true;
    table
};

/// Bytes at which a run inside a string stops: its end, an escape, and what may not stand there.
const IN_STRING: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

// === impl ValueScanner ===

impl ValueScanner {
    /// Reads on in `bytes`, of which `from` are known already; the index after the value's last byte once it is seen.
    ///
    /// The value ends early, at a control character in a string, where every parser gives up anyway: so a string that
    /// lacks its end does not swallow the lines after it.
    pub(super) fn scan(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while at < bytes.len() {
            match self.state {
                State::Start => {
                    self.state = match bytes[at] {
                        b'{' | b'[' => {
                            self.depth = 1;
                            State::Nested
                        }
                        b'"' => State::String,
                        _ => State::Scalar,
                    };
                    at += 1;
                }
                State::Nested => {
                    at += bytes[at..].iter().position(|byte| STRUCTURAL[usize::from(*byte)])?;
                    match bytes[at] {
                        b'"' => self.state = State::String,
                        b'{' | b'[' => self.depth += 1,
                        _ => self.depth -= 1,
                    }
                    at += 1;
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                State::String => {
                    at += bytes[at..].iter().position(|byte| IN_STRING[usize::from(*byte)])?;
                    let stop = bytes[at];
                    at += 1;
                    match stop {
                        b'\\' => self.state = State::Escape,
                        b'"' if self.depth > 0 => self.state = State::Nested,
                        _ => return Some(at),
                    }
                }
                State::Escape => {
                    self.state = State::String;
                    at += 1;
                }
                State::Scalar => match bytes[at] {
                    b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']' => return Some(at),
                    _ => at += 1,
                },
            }
        }
        None
    }
}
