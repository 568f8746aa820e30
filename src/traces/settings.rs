//! What an operator sets of traces.

use crate::settings::{FromSection, Secret, Section};

/// The section `traces`: whether and where spans of requests are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TraceSettings {
    /// No span is made. What clients say of their own traces is still passed on to nodes.
    #[default]
    Off,
    On(Collector),
}

/// Who collects spans, and of which requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Where spans are sent: OTLP over HTTP, as protobuf.
    pub endpoint: String,
    /// Sent as `Authorization`.
    pub authorization: Option<Secret>,
    /// The name under which the gateway's spans are filed.
    pub service_name: String,
    /// One of so many requests has spans.
    pub one_in: u64,
    pub callers: Callers,
}

/// Whether clients have a say in what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// They are counted as all others. Their trace is joined where they are chosen.
    Counted,
    /// A request that says that its trace is recorded always has spans. For gateways that only an operator's own services reach.
    Followed,
}

// === impl TraceSettings ===

impl FromSection for TraceSettings {
    fn read(section: &mut Section) -> Self {
        let endpoint = section.parsed("endpoint", None, "an http:// or https:// URL", |value| {
            let text = value.as_str()?;
            let url = url::Url::parse(text).ok()?;
            let has_login = !url.username().is_empty() || url.password().is_some();
            (matches!(url.scheme(), "http" | "https") && !has_login).then(|| Some(text.to_owned()))
        });
        let authorization = section.text("authorization").map(Secret::new);
        let service_name = section.text("service_name").unwrap_or_else(|| "miroir".to_owned());
        let one_in = section.integer("one_in", 1..=1_000_000, 100);
        let choices = [("counted", Callers::Counted), ("followed", Callers::Followed)];
        let callers = section.choice("callers", &choices, Callers::Counted);
        match endpoint {
            None => Self::Off,
            Some(endpoint) => Self::On(Collector { endpoint, authorization, service_name, one_in, callers }),
        }
    }
}
