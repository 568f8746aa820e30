//! Document writes: a body becomes one NDJSON payload per node, and the payloads one write.

pub mod request;
