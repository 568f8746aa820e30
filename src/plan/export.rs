//! Which indexes go to another Meilisearch, and how: the body of `POST /export`, read as the engine reads it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::meili::error::{Code, ResponseError};
use crate::meili::pattern::IndexPattern;
use crate::meili::{payload, unknown};
use crate::settings::secret::masked;
use crate::settings::{Secret, unit};

const FIELDS: &[&str] = &["url", "apiKey", "payloadSize", "indexes"];
const INDEX_FIELDS: &[&str] = &["filter", "overrideSettings"];
/// What one request carries at most where the client does not say.
pub const PAYLOAD_SIZE: u64 = 20 << 20;

/// Where to, and what.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    pub url: String,
    /// Plans are shown, and a key is not.
    #[serde(skip)]
    pub api_key: Option<Secret>,
    /// Bytes.
    pub payload_size: Option<u64>,
    /// In the order of their patterns: the first that an index meets decides.
    pub indexes: Vec<Chosen>,
}

/// The indexes that meet a pattern.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    pub pattern: IndexPattern,
    /// `None`: every document.
    pub filter: Option<Value>,
    /// Whether an index that is there already gets primary key and settings, too.
    pub override_settings: bool,
}

// === impl Export ===

impl Export {
    /// Reads a body. What is wrong is said in the engine's words.
    pub fn parse(body: &[u8]) -> Result<Self, ResponseError> {
        let fields = payload::object(body)?;
        if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(unknown::field(name, FIELDS));
        }
        let text = |name: &str, code| match fields.get(name) {
            None => Ok(None),
            Some(Value::Null) if name == "apiKey" => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(payload::wrong_kind(other, "a string", &format!(".{name}"), code)),
        };
        Ok(Self {
            url: text("url", Code::InvalidExportUrl)?.unwrap_or_default(),
            api_key: text("apiKey", Code::InvalidExportApiKey)?.map(Secret::new),
            payload_size: payload_size(fields.get("payloadSize"))?,
            indexes: chosen(fields.get("indexes"))?,
        })
    }

    /// The body that says this.
    pub fn body(&self) -> Value {
        let indexes = self.indexes.iter().map(|chosen| (chosen.pattern.as_str().to_owned(), chosen.view(None)));
        json!({
            "url": self.url,
            "apiKey": self.api_key.as_ref().map(Secret::expose),
            "payloadSize": self.payload_size,
            "indexes": indexes.collect::<Map<_, _>>(),
        })
    }

    /// What the details of its task show before it has ended.
    pub fn details(&self) -> Map<String, Value> {
        let indexes = self.indexes.iter().map(|chosen| (chosen.pattern.as_str().to_owned(), chosen.view(None)));
        self.details_of(indexes.collect())
    }

    /// What they show in the end, `indexes` being those that were sent with how many documents of each.
    pub fn details_of(&self, indexes: Map<String, Value>) -> Map<String, Value> {
        let mut details = Map::new();
        details.insert("url".to_owned(), self.url.clone().into());
        if let Some(key) = &self.api_key {
            details.insert("apiKey".to_owned(), masked(key.expose()).into());
        }
        if let Some(size) = self.payload_size {
            details.insert("payloadSize".to_owned(), unit::exact(size).into());
        }
        details.insert("indexes".to_owned(), Value::Object(indexes));
        details
    }

    /// What says how `index` is sent; `None` if it is not.
    pub fn of(&self, index: &str) -> Option<&Chosen> {
        self.indexes.iter().find(|chosen| chosen.pattern.meets(index))
    }
}

fn payload_size(value: Option<&Value>) -> Result<Option<u64>, ResponseError> {
    let code = Code::InvalidExportPayloadSize;
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64()),
        Some(Value::String(text)) => unit::size(text).map(Some).ok_or_else(|| {
            let wrong = match text.chars().next().filter(|first| !first.is_ascii_digit()) {
                Some(first) => format!("the character {first:?} is not a number"),
                None => format!("the value {text:?} is not a number of bytes"),
            };
            ResponseError::new(code, format!("Invalid value at `.payloadSize`: {wrong}"))
        }),
        Some(other) => Err(payload::wrong_kind(other, "a positive integer or a string", ".payloadSize", code)),
    }
}

fn chosen(value: Option<&Value>) -> Result<Vec<Chosen>, ResponseError> {
    let named = match value {
        None | Some(Value::Null) => {
            return Ok(vec![Chosen { pattern: IndexPattern::all(), filter: None, override_settings: false }]);
        }
        Some(Value::Object(named)) => named,
        Some(other) => return Err(payload::wrong_kind(other, "an object", ".indexes", Code::BadRequest)),
    };
    let mut all = Vec::new();
    for (pattern, options) in named {
        let place = format!(".indexes.{pattern}");
        let Ok(parsed) = IndexPattern::parse(pattern) else {
            let message = format!(
                "Invalid value at `.indexes`: the key {pattern:?} could not be deserialized into the key type \
                 `meilisearch_types::index_uid_pattern::IndexUidPattern`"
            );
            return Err(ResponseError::new(Code::BadRequest, message));
        };
        let Value::Object(options) = options else {
            return Err(payload::wrong_kind(options, "an object", &place, Code::BadRequest));
        };
        if let Some(name) = options.keys().find(|name| !INDEX_FIELDS.contains(&name.as_str())) {
            let known = unknown::field(name, INDEX_FIELDS).message;
            let message = known.replacen(": ", &format!(" inside `{place}`: "), 1);
            return Err(ResponseError::new(Code::BadRequest, message));
        }
        let override_settings = match options.get("overrideSettings") {
            None => false,
            Some(Value::Bool(wanted)) => *wanted,
            Some(other) => {
                let code = Code::InvalidExportIndexOverrideSettings;
                return Err(payload::wrong_kind(other, "a boolean", &format!("{place}.overrideSettings"), code));
            }
        };
        let filter = options.get("filter").filter(|filter| !filter.is_null()).cloned();
        all.push(Chosen { pattern: parsed, filter, override_settings });
    }
    all.sort_by(|left, right| left.pattern.cmp(&right.pattern));
    Ok(all)
}

// === impl Chosen ===

impl Chosen {
    /// As the details of a task show it.
    pub fn view(&self, matched: Option<u64>) -> Value {
        let mut view = json!({ "filter": self.filter, "overrideSettings": self.override_settings });
        if let Some(matched) = matched {
            view["matchedDocuments"] = matched.into();
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(body: &Value) -> Result<Export, ResponseError> {
        Export::parse(body.to_string().as_bytes())
    }

    #[test]
    fn the_first_pattern_that_an_index_meets_decides() {
        let body = json!({"url": "http://there", "indexes": {
            "movies_fr": {"overrideSettings": true}, "movies*": {"filter": "year > 1999"},
        }});
        let export = export(&body).unwrap();
        assert_eq!(export.of("movies_fr").map(|chosen| chosen.override_settings), Some(false));
        assert_eq!(export.of("movies").and_then(|chosen| chosen.filter.clone()), Some(json!("year > 1999")));
        assert_eq!(export.of("books"), None);
        let all = super::Export::parse(b"{}").unwrap();
        assert!(all.of("books").is_some_and(|chosen| chosen.filter.is_none()));
    }

    #[test]
    fn a_key_shows_in_no_plan_and_in_no_detail() {
        let body = json!({"url": "http://there", "apiKey": "sesame-open-sesame", "payloadSize": "24MiB"});
        let export = export(&body).unwrap();
        let shown = format!("{export:?} {} {}", json!(export), Value::Object(export.details()));
        assert!(!shown.contains("open"), "{shown}");
        assert_eq!(export.details()["apiKey"], "seXXXX...");
        assert_eq!(export.details()["payloadSize"], "24 MiB");
        assert_eq!(Export::parse(export.body().to_string().as_bytes()).unwrap(), export, "it can be told again");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let code = |body: Value| export(&body).unwrap_err().code;
        assert_eq!(code(json!({"url": 1})), "invalid_export_url");
        assert_eq!(code(json!({"apiKey": 1})), "invalid_export_api_key");
        assert_eq!(code(json!({"payloadSize": "much"})), "invalid_export_payload_size");
        assert_eq!(code(json!({"payloadSize": true})), "invalid_export_payload_size");
        assert_eq!(code(json!({"indexes": {"a b": {}}})), "bad_request");
        assert_eq!(code(json!({"indexes": {"a": {"overrideSettings": 1}}})), "invalid_export_index_override_settings");
        assert_eq!(
            export(&json!({"indexes": {"a": {"nope": 1}}})).unwrap_err().message,
            "Unknown field `nope` inside `.indexes.a`: expected one of `filter`, `overrideSettings`"
        );
        assert_eq!(code(json!({"nope": 1})), "bad_request");
    }
}
