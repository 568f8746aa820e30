//! How many answers without an end are open, and that they end with the process.

use tokio::sync::watch;

use crate::meili::error::ResponseError;
use crate::nodes::overload::overloaded;

/// How many there may be at once: each holds a connection for as long as its client likes.
const MOST: usize = 256;

/// The streams of the process.
pub struct OpenStreams {
    /// Turns true when the process is about to end. Each stream holds a receiver.
    ending: watch::Sender<bool>,
}

// === impl OpenStreams ===

impl Default for OpenStreams {
    fn default() -> Self {
        Self { ending: watch::Sender::new(false) }
    }
}

impl OpenStreams {
    /// Ends them all, and those that come.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Held as long as a stream is open; it says when the stream has to end.
    pub fn enter(&self) -> Result<watch::Receiver<bool>, ResponseError> {
        if self.ending.receiver_count() >= MOST {
            return Err(overloaded(format!("{MOST} streams are open already.")));
        }
        Ok(self.ending.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many_and_one_that_ends_makes_room() {
        let streams = OpenStreams::default();
        let mut open: Vec<_> = (0..MOST).map(|_| streams.enter().unwrap()).collect();
        assert_eq!(streams.enter().unwrap_err().code, "miroir_overloaded");
        open.pop();
        let last = streams.enter().unwrap();
        assert!(!*last.borrow());
        streams.end();
        assert!(*last.borrow() && *open[0].borrow());
    }
}
