//! The metrics listener: everything that is registered, as Prometheus reads it.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use prometheus::{Encoder as _, TextEncoder};

use crate::gateway::serving::Serving;

/// Answers `GET /metrics`.
pub struct MetricsApp {
    serving: Arc<Serving>,
}

// === impl MetricsApp ===

impl MetricsApp {
    /// Serves what is registered there, also what comes later.
    pub fn new(serving: Arc<Serving>) -> Self {
        Self { serving }
    }
}

/// What is registered, in Prometheus' text format.
///
/// # Errors
///
/// When a family has two series with the same labels, or two kinds.
pub fn text(serving: &Serving) -> Result<Vec<u8>, prometheus::Error> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&serving.families(), &mut text)?;
    Ok(text)
}

#[async_trait]
impl ServeHttp for MetricsApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (status, text) = if session.req_header().uri.path() != "/metrics" {
            (StatusCode::NOT_FOUND, Vec::new())
        } else {
            match text(&self.serving) {
                Ok(text) => (StatusCode::OK, text),
                Err(error) => {
                    tracing::error!(%error, "metrics cannot be encoded");
                    (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
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
