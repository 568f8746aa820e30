//! How spans leave: in batches, from a thread of their own. A collector that is away costs them and nobody's request.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

use super::settings::Collector;
use crate::settings::Secret;

/// How long a collector may take for one batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More of a collector's answer is not read.
const MAX_ANSWER: u64 = 1 << 20;

/// Sends batches. Blocks, which only the exporter's own thread sees.
struct Sender {
    agent: ureq::Agent,
    authorization: Option<Secret>,
}

/// What makes spans, and sends them to `collector`.
pub(super) fn provider(collector: &Collector) -> Result<SdkTracerProvider, ExporterBuildError> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
    let sender = Sender { agent: config.build().into(), authorization: collector.authorization.clone() };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(sender)
        .with_endpoint(&collector.endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .build()?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", collector.service_name.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    // Which requests have spans is decided before a span is made.
    let builder = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_resource(resource);
    Ok(builder.with_batch_exporter(exporter).build())
}

// === impl Sender ===

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if let Some(authorization) = &self.authorization {
            let mut value = http::HeaderValue::from_str(authorization.expose())?;
            value.set_sensitive(true);
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
        }
        let (parts, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(parts, body.to_vec()))?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}
