//! The metrics listener: everything that is registered, as Prometheus reads it.

use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use prometheus::{Encoder as _, Registry, TextEncoder};

/// Answers `GET /metrics`.
pub struct MetricsApp {
    registry: Registry,
}

// === impl MetricsApp ===

impl MetricsApp {
    /// Serves what is registered there, also what comes later.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

#[async_trait]
impl ServeHttp for MetricsApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        let status = if session.req_header().uri.path() != "/metrics" {
            StatusCode::NOT_FOUND
        } else {
            match encoder.encode(&self.registry.gather(), &mut text) {
                Ok(()) => StatusCode::OK,
                Err(error) => {
                    tracing::error!(%error, "metrics cannot be encoded");
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            }
        };
        let mut response = Response::new(text);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(prometheus::TEXT_FORMAT));
        let length = response.body().len();
        response.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        response
    }
}
