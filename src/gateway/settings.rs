//! What an operator can set about the gateway itself: limits, and how it answers.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};

use super::access_log::AccessLogSettings;
use super::cache::settings::CacheSettings;
use super::client::TrustedProxies;
use super::cors::CorsSettings;
use crate::settings::unit::{GIB, KIB, MIB};
use crate::settings::{FromSection, Secret, Section};
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
    pub access_log: AccessLogSettings,
    /// `tasks.uid_format`.
    pub uid_format: UidFormatSetting,
    /// `tasks.retention`: how long a finished task is kept.
    pub retention: Duration,
    /// By which operators are let in; without one, everybody is who reaches their listener.
    pub admin_key: Option<Secret>,
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
    /// How many connections clients may have open; 0 is no bound.
    pub connections: usize,
    /// How many one address may have open, other than a trusted proxy's; 0 is no bound.
    pub connections_per_address: usize,
}

/// The section `compression`: how answers are compressed for clients that accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionSettings {
    /// 1 to 9; 0 leaves it off.
    pub level: u32,
    /// Answers of fewer bytes are sent as they are.
    pub min_size: u64,
}

/// The section `http2` of the listener of clients: whether it is spoken, by ALPN and by who begins with it without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Http2Settings {
    Off,
    On(Http2Limits),
}

/// What one client of HTTP/2 may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests that are under way at once on one connection.
    pub streams: u32,
    /// How long a connection without a request stays open.
    pub idle_timeout: Duration,
}

// === impl Http2Settings ===

impl FromSection for Http2Settings {
    fn read(section: &mut Section) -> Self {
        let streams = section.integer("streams", 0..=10_000, 100);
        let idle_timeout = section.duration("idle_timeout", Duration::from_secs(60));
        if streams == 0 { Self::Off } else { Self::On(Http2Limits { streams, idle_timeout }) }
    }
}

// === impl Http2Limits ===

impl Http2Limits {
    /// The same for Pingora. `header_size` is the longest head, in bytes. A client that opens requests only to reset them is cut
    /// off by its library after some twenty that nobody has looked at.
    pub fn pingora(&self, header_size: u64) -> (Option<HttpServerOptions>, Option<H2Options>) {
        let mut server = HttpServerOptions::default();
        server.h2c = true;
        server.h2_idle_timeout = Some(self.idle_timeout);
        let mut options = default_h2_options();
        options.max_concurrent_streams(self.streams);
        options.max_header_list_size(u32::try_from(header_size).unwrap_or(u32::MAX));
        (Some(server), Some(options))
    }
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
            connections: section.integer("connections", 0..=10_000_000, 10_000),
            connections_per_address: section.integer("connections_per_address", 0..=10_000_000, 0),
        }
    }
}

// === impl CompressionSettings ===

impl CompressionSettings {
    /// Answers go out as they are.
    pub const OFF: Self = Self { level: 0, min_size: u64::MAX };
}

impl FromSection for CompressionSettings {
    fn read(section: &mut Section) -> Self {
        Self { level: section.integer("level", 0..=9, 3), min_size: section.size("min_size", 0, KIB) }
    }
}
