//! What an operator can set about the gateway itself: limits, and how it answers.

use std::time::Duration;

use crate::tasks::view::UidFormatSetting;

/// Limits and habits of the client-facing side. `config` reads the file and fills this in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// How many requests of clients are answered at once; more are turned away.
    pub max_requests: usize,
    /// Longest body of any request but a document write, in bytes. Meilisearch's own default is 100 MiB.
    pub max_body_size: u64,
    /// Longest body of a document write, in bytes, as sent; 0 sets no limit, because such bodies are streamed.
    pub max_documents_size: u64,
    /// How long a client may stay silent in the middle of a body.
    pub body_idle_timeout: Duration,
    /// How many bytes of request headers are accepted.
    pub max_header_size: usize,
    /// Compresses answers for clients that accept it: a level from 1 to 9, 0 leaves it off.
    pub compression_level: u32,
    /// How long a request that is forwarded whole to one node may take.
    pub forward_timeout: Duration,
    /// How ids of tasks are written.
    pub uid_format: UidFormatSetting,
}

// === impl GatewaySettings ===

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            max_requests: 2048,
            max_body_size: 100 * 1024 * 1024,
            max_documents_size: 0,
            body_idle_timeout: Duration::from_secs(60),
            max_header_size: 32 * 1024,
            compression_level: 0,
            forward_timeout: Duration::from_secs(30),
            uid_format: UidFormatSetting::Auto,
        }
    }
}
