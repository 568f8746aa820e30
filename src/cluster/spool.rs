//! Bytes collected for a node before they are sent: in memory up to a bound, then in an unlinked temporary file.

use bytes::Bytes;

/// A finished spool, or a slice of one. Cloning is cheap, and every clone can be read again from its start.
#[derive(Debug, Clone)]
pub struct Spool {}

/// Reads a spool chunk by chunk.
#[derive(Debug)]
pub struct SpoolReader {}

// === impl Spool ===

impl Spool {
    pub fn len(&self) -> u64 {
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn reader(&self) -> SpoolReader {
        todo!()
    }
}

impl From<Bytes> for Spool {
    fn from(_bytes: Bytes) -> Self {
        todo!()
    }
}

// === impl SpoolReader ===

impl SpoolReader {
    /// The next chunk of at most 64 KiB, `None` at the end.
    pub async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        todo!()
    }
}
