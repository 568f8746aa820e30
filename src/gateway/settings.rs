//! What an operator can set about the gateway itself: limits, and how it answers.

use std::sync::Arc;
use std::time::Duration;

use super::cache::settings::CacheSettings;
use super::client::TrustedProxies;
use super::cors::CorsSettings;
use crate::settings::unit::{GIB, KIB, MIB};
use crate::settings::{FromSection, Section};
use crate::tasks::view::UidFormatSetting;

/// Limits and habits of the client-facing side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// `overload.requests`: how many requests of clients are answered at once; more are turned away.
    pub max_requests: usize,
    pub limits: LimitSettings,
    pub compression: CompressionSettings,
    pub cache: CacheSettings,
    pub trusted_proxies: TrustedProxies,
    pub cors: Arc<CorsSettings>,
    /// `tasks.uid_format`.
    pub uid_format: UidFormatSetting,
}

/// The section `limits`. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// Longest body of any request but a write of documents, unpacked; it is held in memory. Meilisearch's own is 100 MiB.
    pub body_size: u64,
    /// Longest body of a write of documents, unpacked; it is streamed.
    pub document_payload_size: u64,
    /// Longest head of a request.
    pub header_size: u64,
    /// How long a client may stay silent in the middle of a request.
    pub client_timeout: Duration,
    /// How long a node may take for a request that it answers alone, forwarded whole.
    pub forward_timeout: Duration,
}

/// The section `compression`: how answers are compressed for clients that accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionSettings {
    /// 1 to 9; 0 leaves it off.
    pub level: u32,
    /// Answers of fewer bytes are sent as they are.
    pub min_size: u64,
}

// === impl LimitSettings ===

impl FromSection for LimitSettings {
    fn read(section: &mut Section) -> Self {
        Self {
            body_size: section.size("body_size", KIB, 16 * MIB),
            document_payload_size: section.size("document_payload_size", KIB, GIB),
            header_size: section.size("header_size", KIB, 32 * KIB),
            client_timeout: section.duration("client_timeout", Duration::from_secs(30)),
            forward_timeout: section.duration("forward_timeout", Duration::from_secs(30)),
        }
    }
}

// === impl CompressionSettings ===

impl CompressionSettings {
    pub const OFF: Self = Self { level: 0, min_size: u64::MAX };
}

impl FromSection for CompressionSettings {
    fn read(section: &mut Section) -> Self {
        Self { level: section.integer("level", 0..=9, 3), min_size: section.size("min_size", 0, KIB) }
    }
}
