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
    pub compression: CompressionSettings,
    /// How long a request that is forwarded whole to one node may take.
    pub forward_timeout: Duration,
    /// How ids of tasks are written.
    pub uid_format: UidFormatSetting,
}

/// How answers are compressed for clients that accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionSettings {
    /// 1 to 9; 0 leaves it off.
    pub level: u32,
    /// Answers of fewer bytes are sent as they are.
    pub min_size: usize,
}

// === impl CompressionSettings ===

impl CompressionSettings {
    pub const OFF: Self = Self { level: 0, min_size: usize::MAX };
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
            compression: CompressionSettings { level: 3, min_size: 1024 },
            forward_timeout: Duration::from_secs(30),
            uid_format: UidFormatSetting::Auto,
        }
    }
}
