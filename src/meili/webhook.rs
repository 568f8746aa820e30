//! A webhook: an address that is told of each task that has ended. Its body in requests, and what answers show of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::error::{Code, ResponseError};
use super::payload::{text, wrong_kind};
use super::secret::masked;
use super::unknown;

/// So many webhooks there may be.
const MOST_WEBHOOKS: usize = 20;
/// So many headers one may have.
const MOST_HEADERS: usize = 200;
const FIELDS: &[&str] = &["url", "headers"];

/// Whom to tell, and how. Address and headers may hold secrets: nothing of them belongs into a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// All webhooks.
pub type Webhooks = BTreeMap<Uuid, Webhook>;

/// A body of `POST` or `PATCH`; of each the outer `None` is a field that is not there, the inner one is `null`.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Wanted {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Option<BTreeMap<String, Option<String>>>>,
}

/// The id in a path.
pub fn parse_uuid(text: &str) -> Result<Uuid, ResponseError> {
    Uuid::parse_str(text)
        .map_err(|error| ResponseError::new(Code::InvalidWebhookUuid, format!("Invalid UUID: {error}")))
}

/// The webhook `uuid` that is wanted, beside those that are there.
pub fn creation(uuid: Uuid, wanted: Wanted, there: &Webhooks) -> Result<Webhook, ResponseError> {
    if wanted.headers.as_ref().is_some_and(|headers| headers.as_ref().is_some_and(|all| all.len() > MOST_HEADERS)) {
        return Err(too_many_headers(uuid));
    }
    if there.len() >= MOST_WEBHOOKS {
        let message = "Defining too many webhooks would crush the server. Please limit the number of webhooks to 20. You \
                       may use a third-party proxy server to dispatch events to more than 20 endpoints.";
        return Err(ResponseError::new(Code::InvalidWebhooks, message));
    }
    let url = wanted.url.flatten().ok_or_else(|| missing_url(uuid))?;
    let headers = wanted.headers.flatten().unwrap_or_default();
    let headers = headers.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
    let webhook = Webhook { url, headers };
    webhook.check(uuid)?;
    Ok(webhook)
}

/// What `old` becomes by what is wanted: a header that is `null` goes, others stay or are replaced.
pub fn update(uuid: Uuid, old: &Webhook, wanted: Wanted) -> Result<Webhook, ResponseError> {
    let mut webhook = old.clone();
    match wanted.url {
        Some(Some(url)) => webhook.url = url,
        Some(None) => return Err(missing_url(uuid)),
        None => {}
    }
    match wanted.headers {
        Some(Some(headers)) => {
            for (name, value) in headers {
                match value {
                    Some(value) => webhook.headers.insert(name, value),
                    None => webhook.headers.remove(&name),
                };
            }
        }
        Some(None) => webhook.headers.clear(),
        None => {}
    }
    webhook.check(uuid)?;
    Ok(webhook)
}

/// The webhook that an engine is given on its command line has the nil id, and is not the API's to change.
pub fn refuse_nil(uuid: Uuid) -> Result<(), ResponseError> {
    if !uuid.is_nil() {
        return Ok(());
    }
    let message = format!(
        "Webhook `{uuid}` is immutable. The webhook defined from the command line cannot be modified using the API."
    );
    Err(ResponseError::new(Code::ImmutableWebhook, message))
}

/// 404 `webhook_not_found`, in the engine's words.
pub fn not_found(uuid: Uuid) -> ResponseError {
    ResponseError::new(Code::WebhookNotFound, format!("Webhook `{uuid}` not found."))
}

fn missing_url(uuid: Uuid) -> ResponseError {
    ResponseError::new(Code::InvalidWebhookUrl, format!("The URL for the webhook `{uuid}` is missing."))
}

fn too_many_headers(uuid: Uuid) -> ResponseError {
    let message = format!(
        "Too many headers for the webhook `{uuid}`. Please limit the number of headers to 200. Hint: To remove an already \
         defined header set its value to `null`"
    );
    ResponseError::new(Code::InvalidWebhookHeaders, message)
}

// === impl Webhook ===

impl Webhook {
    /// What answers show: the values of `Authorization`, in letters of any case, but for their beginning.
    pub fn view(&self, uuid: Uuid) -> Value {
        let shown = |(name, value): (&String, &String)| {
            let value = if name.eq_ignore_ascii_case("authorization") { redacted(value) } else { value.clone() };
            (name.clone(), Value::from(value))
        };
        let headers: Map<String, Value> = self.headers.iter().map(shown).collect();
        json!({ "uuid": uuid, "isEditable": !uuid.is_nil(), "url": self.url, "headers": headers })
    }

    fn check(&self, uuid: Uuid) -> Result<(), ResponseError> {
        if self.url.is_empty() {
            return Err(missing_url(uuid));
        }
        if self.headers.len() > MOST_HEADERS {
            return Err(too_many_headers(uuid));
        }
        let refuse = |message| Err(ResponseError::new(Code::InvalidWebhookHeaders, message));
        for (name, value) in &self.headers {
            if let Err(error) = http::HeaderName::from_bytes(name.as_bytes()) {
                return refuse(format!("Invalid header name `{name}`: {error}"));
            }
            if let Err(error) = http::HeaderValue::from_str(value) {
                return refuse(format!("Invalid header value `{name}`: {error}"));
            }
        }
        match url::Url::parse(&self.url) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(ResponseError::new(Code::InvalidWebhookUrl, format!("Invalid URL `{}`: {error}", self.url)))
            }
        }
    }
}

/// As the engine hides a secret, whatever kind of secret it says that it is.
fn redacted(value: &str) -> String {
    let (kind, secret) = match value.strip_prefix("Bearer ") {
        Some(secret) => ("Bearer ", secret),
        None => ("", value),
    };
    format!("{kind}{}", masked(secret))
}

// === impl Wanted ===

/// As with [`Webhook`], nothing of it belongs into a log.
impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").finish_non_exhaustive()
    }
}

impl Wanted {
    /// Reads the body of `POST /webhooks` or `PATCH /webhooks/{uuid}`. Whether what it says makes a webhook depends on what there is.
    pub fn read(body: &Value) -> Result<Self, ResponseError> {
        let Some(fields) = body.as_object() else {
            return Err(wrong_kind(body, "an object", "", Code::BadRequest));
        };
        let mut wanted = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "url" => wanted.url = Some(text(value, ".url", Code::InvalidWebhookUrl)?),
                "headers" => wanted.headers = Some(headers(value)?),
                "uuid" => return Err(immutable(name, Code::ImmutableWebhookUuid)),
                "isEditable" => return Err(immutable(name, Code::ImmutableWebhookIsEditable)),
                _ => return Err(unknown::field(name, FIELDS)),
            }
        }
        Ok(wanted)
    }
}

fn immutable(name: &str, code: Code) -> ResponseError {
    ResponseError::new(code, format!("Immutable field `{name}`: expected one of {}", unknown::listed(FIELDS)))
}

fn headers(value: &Value) -> Result<Option<BTreeMap<String, Option<String>>>, ResponseError> {
    let fields = match value {
        Value::Null => return Ok(None),
        Value::Object(fields) => fields,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(wrong_kind(value, "an object", ".headers", Code::InvalidWebhookHeaders));
        }
    };
    let mut headers = BTreeMap::new();
    for (name, value) in fields {
        headers.insert(name.clone(), text(value, &format!(".headers.{name}"), Code::InvalidWebhookHeaders)?);
    }
    Ok(Some(headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(body: Value) -> Result<Webhook, (String, String)> {
        let made = Wanted::read(&body).and_then(|wanted| creation(Uuid::max(), wanted, &Webhooks::new()));
        made.map_err(|error| (error.code, error.message))
    }

    fn refused(body: Value) -> (String, String) {
        made(body).err().unwrap()
    }

    // Seen of an engine of 1.50.
    #[test]
    fn refusals_are_worded_as_the_engine_words_them() {
        let words = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        let missing = format!("The URL for the webhook `{}` is missing.", Uuid::max());
        for body in [json!({}), json!({"url": null}), json!({"url": ""}), json!({"headers": {"a": "b"}})] {
            assert_eq!(refused(body), words("invalid_webhook_url", &missing));
        }
        assert_eq!(
            refused(json!({"url": 5})),
            words(
                "invalid_webhook_url",
                "Invalid value type at `.url`: expected a string, but found a positive integer: `5`"
            )
        );
        assert_eq!(
            refused(json!({"url": "x"})),
            words("invalid_webhook_url", "Invalid URL `x`: relative URL without a base")
        );
        assert_eq!(
            refused(json!({"url": "http://a", "uuid": "x"})),
            words("immutable_webhook_uuid", "Immutable field `uuid`: expected one of `url`, `headers`")
        );
        assert_eq!(
            refused(json!({"url": "http://a", "nope": 1})),
            words("bad_request", "Unknown field `nope`: expected one of `url`, `headers`")
        );
        assert_eq!(
            refused(json!({"url": "http://a", "headers": {"a b": "x"}})),
            words("invalid_webhook_headers", "Invalid header name `a b`: invalid HTTP header name")
        );
        assert_eq!(
            refused(json!({"url": "http://a", "headers": {"a": "x\ny"}})),
            words("invalid_webhook_headers", "Invalid header value `a`: failed to parse header value")
        );
        assert_eq!(
            refused(json!({"url": "http://a", "headers": {"a": 5}})),
            words(
                "invalid_webhook_headers",
                "Invalid value type at `.headers.a`: expected a string, but found a positive integer: `5`"
            )
        );
        assert_eq!(parse_uuid("x").unwrap_err().message, "Invalid UUID: invalid character: found `x` at 0");
    }

    #[test]
    fn authorization_is_shown_by_its_beginning_only() {
        let body = json!({"url": "http://a", "headers": {
            "Authorization": "Bearer abcdefghijklmnop", "authorization": "short", "X-a": "b", "none": null,
        }});
        let shown = made(body).ok().unwrap().view(Uuid::max());
        assert_eq!(
            shown["headers"],
            json!({"Authorization": "Bearer abXXXX...", "X-a": "b", "authorization": "XXX...", "none": ""})
        );
        assert_eq!(redacted(&"é".repeat(12)), "ééXXXXX...");
        assert_eq!(redacted(&"k".repeat(40)), "kkkkkXXXXXX...");
    }

    #[test]
    fn headers_are_laid_over_those_there() {
        let old = made(json!({"url": "http://a", "headers": {"a": "1", "b": "2"}})).ok().unwrap();
        let changed = |body: Value| {
            Wanted::read(&body).and_then(|wanted| update(Uuid::max(), &old, wanted)).map_err(|error| error.code)
        };
        let headers = |body| changed(body).ok().unwrap().headers.into_iter().collect::<Vec<_>>();
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers(json!({"headers": {"a": null, "c": "3"}})), [own("b", "2"), own("c", "3")]);
        assert!(headers(json!({"headers": null})).is_empty());
        assert_eq!(changed(json!({"url": null})).err().as_deref(), Some("invalid_webhook_url"));
        let many: Map<String, Value> = (0..199).map(|number| (format!("h{number}"), json!("x"))).collect();
        assert_eq!(changed(json!({"headers": many})).err().as_deref(), Some("invalid_webhook_headers"));
    }

    #[test]
    fn there_are_twenty_at_most() {
        let one = made(json!({"url": "http://a"})).ok().unwrap();
        let there: Webhooks = (0..20).map(|number| (Uuid::from_u128(number), one.clone())).collect();
        let wanted = Wanted::read(&json!({"url": "http://a"})).unwrap();
        let error = creation(Uuid::max(), wanted, &there).err().unwrap();
        assert_eq!(error.code, "invalid_webhooks");
        assert!(refuse_nil(Uuid::nil()).is_err() && refuse_nil(Uuid::max()).is_ok());
    }
}
