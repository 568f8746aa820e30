//! Where in a body a byte stands, counted as serde_json counts.

/// The line of a byte from 1 and how many bytes of that line are before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

// === impl Position ===

impl Position {
    /// Lines count from 1, columns from 0.
    pub(super) fn start() -> Self {
        Self { line: 1, column: 0 }
    }

    /// The position after `bytes`.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        match memchr::memrchr(b'\n', bytes) {
            None => Self { line: self.line, column: self.column + bytes.len() },
            Some(last) => {
                let newlines = memchr::memchr_iter(b'\n', &bytes[..=last]).count();
                Self { line: self.line + newlines, column: bytes.len() - last - 1 }
            }
        }
    }

    /// `what` as an error seen when the byte at this position was looked at.
    pub(super) fn at_byte(self, what: &str) -> String {
        format!("{what} at line {} column {}", self.line, self.column + 1)
    }

    /// `what` as an error seen when the body ended at this position.
    pub(super) fn at_end(self, what: &str) -> String {
        format!("{what} at line {} column {}", self.line, self.column)
    }

    /// The message of `error`, which counted from here as if it were a body's start, with its true place.
    pub(super) fn shift(self, error: &serde_json::Error) -> String {
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let Some(what) = message.strip_suffix(&place) else { return message };
        let line = self.line + error.line() - 1;
        let column = if error.line() == 1 { self.column + error.column() } else { error.column() };
        format!("{what} at line {line} column {column}")
    }
}
