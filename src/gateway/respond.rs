//! The one place where answers and errors become HTTP.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;
use serde_json::Value;

use super::cache::status::CacheStatus;
use super::compress::{Encoding, Packed};
use super::context::RequestContext;
use super::head::{CACHE_STATUS, DEGRADED, Head, INEXACT, REQUEST_ID};
use super::settings::CompressionSettings;
use crate::meili::error::{Code, ResponseError};
use crate::placement::shard::{SHARD_FIELD, ShardSet};
use crate::placement::vocabulary::WORDS_FIELD;
use crate::placement::written::WRITTEN_FIELD;
use crate::read::Inexact;

/// An answer before it is HTTP.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Of `content_type`; empty for none.
    pub body: Bytes,
    pub content_type: &'static str,
    /// Shards that had no replica left: the answer lacks their documents.
    pub degraded: ShardSet,
    /// By what a gateway knew that follows another one.
    pub seen: Seen,
    pub inexact: Inexact,
    /// How many hits it shows, if it shows hits.
    pub hits: Option<u64>,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
    /// `None` for what is never kept.
    pub cache: Option<CacheStatus>,
    /// Where the answer is kept.
    pub packed: Option<Arc<Packed>>,
}

/// By what an answer was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Seen {
    /// By what is so.
    #[default]
    Now,
    /// By what was so when the leader was last heard of.
    Before,
}

// === impl Answer ===

impl Answer {
    /// Without a body and a content type.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            body: Bytes::new(),
            content_type: "application/json",
            degraded: ShardSet::new(),
            seen: Seen::Now,
            inexact: Inexact::default(),
            hits: None,
            retry_after: None,
            cache: None,
            packed: None,
        }
    }

    /// The value as one line.
    pub fn json(status: u16, body: &Value) -> Self {
        Self { body: Bytes::from(body.to_string()), ..Self::empty(status) }
    }

    /// JSON that is written already.
    pub fn bytes(status: u16, body: Bytes) -> Self {
        Self { body, ..Self::empty(status) }
    }

    /// The head of the HTTP answer.
    pub fn header(&self, request_id: &str) -> pingora::Result<ResponseHeader> {
        let mut header = ResponseHeader::build(self.status, Some(8))?;
        if !self.body.is_empty() {
            header.insert_header(http::header::CONTENT_TYPE, self.content_type)?;
        }
        // A 204 has no body by definition, and a length would contradict that.
        if self.status != 204 {
            header.insert_header(http::header::CONTENT_LENGTH, self.body.len())?;
        }
        header.insert_header(REQUEST_ID, request_id)?;
        if let Some(value) = self.degraded_value() {
            header.insert_header(DEGRADED, value)?;
        }
        if !self.inexact.is_none() {
            header.insert_header(INEXACT, self.inexact.names().join(", "))?;
        }
        if let Some(seconds) = self.retry_after {
            header.insert_header(http::header::RETRY_AFTER, seconds)?;
        }
        if let Some(status) = self.cache {
            header.insert_header(CACHE_STATUS, status.as_str())?;
        }
        Ok(header)
    }
}

impl Answer {
    /// `shards=3,17`, `view`, or both.
    fn degraded_value(&self) -> Option<String> {
        let shards = (!self.degraded.is_empty()).then(|| degraded_value(&self.degraded));
        match (shards, self.seen) {
            (None, Seen::Now) => None,
            (Some(shards), Seen::Now) => Some(shards),
            (None, Seen::Before) => Some("view".to_owned()),
            (Some(shards), Seen::Before) => Some(format!("{shards}, view")),
        }
    }
}

impl From<ResponseError> for Answer {
    fn from(error: ResponseError) -> Self {
        let body = Bytes::from(error.to_body());
        // The engine asks for the same ten seconds with each of its 503s; too much to do passes sooner.
        let retry_after = match error.status {
            503 if error.is(Code::MiroirOverloaded) => Some(1),
            503 => Some(10),
            _ => None,
        };
        Self { body, retry_after, ..Self::empty(error.status) }
    }
}

/// `shards=3,17`.
fn degraded_value(shards: &ShardSet) -> String {
    let shards: Vec<String> = shards.iter().map(|shard| shard.0.to_string()).collect();
    format!("shards={}", shards.join(","))
}

/// As much of an answer goes to a client of HTTP/2 at once: it has `limits.client_timeout` for each piece, however long the whole is.
const PIECE: usize = 64 << 10;

/// Writes `answer` to the client; compressed, if the client takes that and the answer is not short.
pub async fn write(
    session: &mut Session,
    head: &Head,
    ctx: &RequestContext,
    answer: &Answer,
    compression: &CompressionSettings,
) -> pingora::Result<()> {
    debug_assert!(!names_what_is_miroirs(&answer.body), "what is Miroir's own reaches a client");
    let mut header = answer.header(ctx.request_id())?;
    ctx.add_headers(head, &mut header)?;
    let mut body = answer.body.clone();
    let accepted = head.text(http::header::ACCEPT_ENCODING);
    let is_long = body.len() as u64 >= compression.min_size || (Encoding::is_demanded(accepted) && !body.is_empty());
    if is_long && compression.level > 0 {
        header.append_header(http::header::VARY, "accept-encoding")?;
        if let Some(encoding) = Encoding::preferred(accepted)
            && let Some(compressed) = pack(answer, encoding, compression.level).await
        {
            body = compressed;
            header.insert_header(http::header::CONTENT_ENCODING, encoding.name())?;
            header.insert_header(http::header::CONTENT_LENGTH, body.len())?;
        }
    }
    let header = Box::new(header);
    if head.method == http::Method::HEAD || body.is_empty() {
        session.write_response_tasks(vec![HttpTask::Header(header, true)]).await?;
    } else {
        let is_pieces = session.as_downstream().is_http2();
        let first = if is_pieces { body.split_to(body.len().min(PIECE)) } else { std::mem::take(&mut body) };
        let first = HttpTask::Body(Some(first), body.is_empty());
        session.write_response_tasks(vec![HttpTask::Header(header, false), first]).await?;
        while !body.is_empty() {
            let piece = body.split_to(body.len().min(PIECE));
            session.write_response_tasks(vec![HttpTask::Body(Some(piece), body.is_empty())]).await?;
        }
    }
    Ok(())
}

/// True if a field of JSON, or of lines of it, is one that Miroir keeps in documents. Values are the client's own, and so are the
/// names in a distribution of facets: they are values of documents.
fn names_what_is_miroirs(body: &[u8]) -> bool {
    fn names(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                fields.iter().any(|(name, value)| is_miroirs(name) || name != "facetDistribution" && names(value))
            }
            Value::Array(items) => items.iter().any(names),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    // Few bodies have it at all, and none is parsed for nothing.
    memmem::find(body, b"\"_miroir_").is_some()
        && serde_json::Deserializer::from_slice(body)
            .into_iter::<Value>()
            .map_while(Result::ok)
            .any(|value| names(&value))
}

fn is_miroirs(name: &str) -> bool {
    name == SHARD_FIELD || name == WRITTEN_FIELD || name.split(':').next() == Some(WORDS_FIELD)
}

async fn pack(answer: &Answer, encoding: Encoding, level: u32) -> Option<Bytes> {
    match &answer.packed {
        Some(packed) => packed.get(encoding, &answer.body, level).await,
        None => encoding.compress(&answer.body, level).await,
    }
}

/// No node could be reached that may answer.
pub fn no_node() -> ResponseError {
    ResponseError::new(Code::MiroirNodeUnavailable, "No node that could answer the request can be reached.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::shard::ShardId;

    #[test]
    fn an_answer_states_its_length_and_its_request() {
        let header = Answer::json(202, &serde_json::json!({"a": 1})).header("r1").unwrap();
        assert_eq!(header.status, 202);
        assert_eq!(header.headers["content-length"], "7");
        assert_eq!(header.headers["content-type"], "application/json");
        assert_eq!(header.headers[REQUEST_ID], "r1");
        assert!(!Answer::empty(204).header("r1").unwrap().headers.contains_key("content-length"));
    }

    #[test]
    fn a_partial_answer_lists_the_shards_it_lacks() {
        let degraded: ShardSet = [ShardId(3), ShardId(17)].into_iter().collect();
        let inexact = Inexact { totals: false, facets: true, ..Inexact::default() };
        let answer = Answer { degraded, inexact, ..Answer::empty(200) };
        let header = answer.header("r1").unwrap();
        assert_eq!(
            (&header.headers[DEGRADED], &header.headers[INEXACT]),
            (&"shards=3,17".parse().unwrap(), &"facets".parse().unwrap())
        );
    }

    #[test]
    fn what_is_miroirs_own_is_known_by_its_name_and_not_by_what_clients_write() {
        for own in [
            r#"{"hits":[{"id":1,"_miroir_shard":"{"}]}"#,
            r#"{"fieldDistribution":{"_miroir_words:title":2}}"#,
            "{\"id\":1}\n{\"id\":2,\"_miroir_written\":\"[]\"}\n",
        ] {
            assert!(names_what_is_miroirs(own.as_bytes()), "{own}");
        }
        for clients in [
            r#"{"query":"_miroir_shard","hits":[{"title":"\"_miroir_shard\":"}]}"#,
            r#"{"facetDistribution":{"title":{"_miroir_shard":1}}}"#,
            r#"{"hits":[{"_miroir_house":1}]}"#,
            "not JSON: \"_miroir_shard\"",
            "",
        ] {
            assert!(!names_what_is_miroirs(clients.as_bytes()), "{clients}");
        }
    }

    #[test]
    fn an_error_that_may_pass_says_when_to_come_back() {
        let answer = Answer::from(ResponseError::new(Code::MiroirNoReplica, "gone"));
        assert_eq!(answer.header("r1").unwrap().headers["retry-after"], "10");
        let answer = Answer::from(ResponseError::new(Code::MiroirOverloaded, "busy"));
        assert_eq!(answer.header("r1").unwrap().headers["retry-after"], "1");
    }
}
