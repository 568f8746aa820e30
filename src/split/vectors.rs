//! Checks `_vectors` as the engine does. One node refuses the whole batch for one document, so the gateway must, before
//! nodes see their shares of it.
//!
//! The shape of every member of `_vectors` is checked in any index, with embedders or without. What the vectors
//! themselves are is checked for the index's embedders only, and after the shapes of all documents.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::document::Document;
use super::embeddings::{complaint, lengths};
use super::slips::Hints;
use crate::meili::error::Code;

/// The field that holds a document's vectors.
pub const VECTORS_FIELD: &str = "_vectors";

/// An embedder of an index, as far as documents must fit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedder {
    pub name: String,
    pub source: Source,
    /// `None` where the settings do not say it, because the engine asks the embedder itself.
    pub dimensions: Option<usize>,
}

/// Where vectors come from that a document does not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From nowhere: a document must give them.
    UserProvided,
    /// The engine makes them.
    Generated,
}

/// Why a document's vectors are refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorsError {
    /// `_vectors` itself is no object. The engine calls this an internal error.
    #[error("{0}")]
    NotAnObject(String),
    /// Some member of it has a shape that none may have.
    #[error("Bad embedder configuration in the document with id: `{id}`. {error}")]
    Shape { id: String, error: String },
    /// The vectors for one of the index's embedders are none.
    #[error("Bad embedder configuration in the document with id: `{id}`. {error}")]
    Values { id: String, error: String },
    #[error(
        "Invalid vector dimensions in document with id `{id}` in `._vectors.{embedder}`.\n  - note: embedding #{at} \
         has dimensions {found}\n  - note: embedder `{embedder}` requires {expected}"
    )]
    Dimensions { id: String, embedder: String, at: usize, found: usize, expected: usize },
    /// The index wants vectors that neither the document gives nor anybody makes. `others` more are known.
    #[error(
        "While embedding documents for embedder `{embedder}`: no vectors provided for document `{id}`{}\n- Note: \
         `{embedder}` has `source: userProvided`, so documents must provide embeddings as an array in \
         `_vectors.{embedder}`.{}",
        and_others(*others),
        hints.lines(embedder)
    )]
    Missing { id: String, embedder: String, others: usize, hints: Hints },
}

/// What a document's right vectors leave to be said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Looked<'e> {
    /// The first embedder of the index for which vectors are due that are not given: an error only if the index does not have
    /// the document yet.
    pub missing: Option<&'e str>,
    /// Members of `_vectors` that are for no embedder of the index.
    pub unknown: Vec<String>,
}

/// What a member of `_vectors` says.
enum Given<'a> {
    /// `null`: the document has no vectors, and wants none.
    Nothing,
    Vectors(&'a RawValue),
    Explicit {
        regenerate: bool,
        embeddings: Option<&'a RawValue>,
    },
}

// === impl Embedder ===

impl Embedder {
    /// The embedders that `settings` name, in the order of their names.
    pub fn of_settings(settings: &Value) -> Vec<Self> {
        let named = settings.get("embedders").and_then(Value::as_object).into_iter().flatten();
        let mut embedders: Vec<Self> = named.map(|(name, settings)| Self::new(name, settings)).collect();
        embedders.sort_by(|left, right| left.name.cmp(&right.name));
        embedders
    }

    fn new(name: &str, settings: &Value) -> Self {
        let source = settings.get("source").and_then(Value::as_str);
        let dimensions = settings.get("dimensions").and_then(Value::as_u64);
        // One for documents and one for searches: what each says is not said here.
        let stated = if source == Some("composite") { None } else { dimensions };
        Self {
            name: name.to_owned(),
            source: if source == Some("userProvided") { Source::UserProvided } else { Source::Generated },
            dimensions: stated.and_then(|dimensions| usize::try_from(dimensions).ok()),
        }
    }
}

// === impl VectorsError ===

impl VectorsError {
    /// What the engine calls it.
    pub fn code(&self) -> Code {
        match self {
            Self::NotAnObject(_) => Code::Internal,
            Self::Shape { .. } | Self::Values { .. } => Code::InvalidVectorsType,
            Self::Dimensions { .. } => Code::InvalidVectorDimensions,
            Self::Missing { .. } => Code::VectorEmbeddingError,
        }
    }

    /// True for what the engine finds first, in all documents, before it looks at any vector.
    pub fn is_of_shape(&self) -> bool {
        match self {
            Self::NotAnObject(_) | Self::Shape { .. } => true,
            Self::Values { .. } | Self::Dimensions { .. } | Self::Missing { .. } => false,
        }
    }
}

/// Fails if the vectors of `document`, whose id is `id`, are wrong.
pub fn check<'e>(document: &Document<'_>, id: &str, embedders: &'e [Embedder]) -> Result<Looked<'e>, VectorsError> {
    // Of repeated keys the last one's value stays.
    let field = document.fields().iter().rfind(|(key, _)| key == VECTORS_FIELD);
    let members = match field {
        Some((_, raw)) => {
            let object = Document::parse(raw.get()).map_err(|error| VectorsError::NotAnObject(error.to_string()))?;
            given(&object, id)?
        }
        None => Vec::new(),
    };
    let mut missing = None;
    for embedder in embedders {
        let found = members.iter().find(|(name, _)| *name == embedder.name).map(|(_, given)| given);
        if !gives_what_is_due(found, id, embedder)? && embedder.source == Source::UserProvided {
            missing = missing.or(Some(embedder.name.as_str()));
        }
    }
    let names = members.into_iter().map(|(name, _)| name);
    let unknown = names.filter(|name| embedders.iter().all(|embedder| embedder.name != *name)).collect();
    Ok(Looked { missing, unknown })
}

/// Each member once: at its first place, with its last value.
fn given<'a>(object: &Document<'a>, id: &str) -> Result<Vec<(String, Given<'a>)>, VectorsError> {
    let mut members: Vec<(String, Given<'a>)> = Vec::new();
    for (name, _) in object.fields() {
        if members.iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        let Some((_, raw)) = object.fields().iter().rfind(|(key, _)| key == name) else { continue };
        let visited = serde_json::from_str::<&RawValue>(raw.get())
            .and_then(|raw| raw.deserialize_any(GivenVisitor { name, raw }));
        let said = match visited {
            Ok(said) => said,
            Err(error) => Err(format!("Could not parse `._vectors.{name}`: {error}")),
        };
        let said = said.map_err(|error| VectorsError::Shape { id: id.to_owned(), error })?;
        members.push((name.to_string(), said));
    }
    Ok(members)
}

/// False if the engine would have to make the vectors of a new document.
fn gives_what_is_due(given: Option<&Given<'_>>, id: &str, embedder: &Embedder) -> Result<bool, VectorsError> {
    let (raw, at) = match given {
        None | Some(Given::Explicit { regenerate: true, embeddings: None }) => return Ok(false),
        Some(Given::Nothing | Given::Explicit { regenerate: false, embeddings: None }) => return Ok(true),
        Some(Given::Vectors(raw)) => (*raw, format!("._vectors.{}", embedder.name)),
        Some(Given::Explicit { embeddings: Some(raw), .. }) => {
            (*raw, format!("._vectors.{}.embeddings", embedder.name))
        }
    };
    // From some version on the engine takes this for no vectors, before for none that are wanted: the nodes decide.
    if raw.get() == "null" {
        return Ok(true);
    }
    let lengths = match lengths(raw) {
        Some(lengths) => lengths,
        None => match complaint(raw, &at) {
            Some(error) => return Err(VectorsError::Values { id: id.to_owned(), error }),
            // Such as a number out of range: the nodes find their own words.
            None => return Ok(true),
        },
    };
    let Some(expected) = embedder.dimensions else { return Ok(true) };
    match lengths.iter().position(|length| *length != expected) {
        Some(at) => Err(VectorsError::Dimensions {
            id: id.to_owned(),
            embedder: embedder.name.clone(),
            at,
            found: lengths[at],
            expected,
        }),
        None => Ok(true),
    }
}

fn and_others(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" and at least {others} other document(s)") }
}

/// Reads a member of `_vectors`. The inner result is the engine's complaint; the outer one, that of the parser, is what is
/// left where a complaint comes before the value's end.
struct GivenVisitor<'n, 'a> {
    name: &'n str,
    raw: &'a RawValue,
}

// === impl GivenVisitor ===

impl<'a> GivenVisitor<'_, 'a> {
    fn wrong_kind<E>(&self, kind: &str, value: impl fmt::Display) -> Result<Result<Given<'a>, String>, E> {
        Ok(Err(format!(
            "Expected `._vectors.{}` to be an array of floats, an array of arrays of floats, or an object with at least \
             the field `regenerate`, but got the {kind} `{value}`",
            self.name
        )))
    }
}

impl<'de> Visitor<'de> for GivenVisitor<'_, 'de> {
    type Value = Result<Given<'de>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vectors")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(Given::Nothing))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        self.wrong_kind("boolean", value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        self.wrong_kind("integer", value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        self.wrong_kind("integer", value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        self.wrong_kind("number", value)
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        self.wrong_kind("string", value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Ok(Given::Vectors(self.raw)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let name = self.name;
        let mut regenerate = None;
        let mut embeddings = None;
        loop {
            let key = match map.next_key::<&str>() {
                Ok(Some(key)) => key,
                Ok(None) => break,
                Err(error) => return Ok(Err(format!("Could not parse a field at `._vectors.{name}`: {error}"))),
            };
            let read = match key {
                "regenerate" => map.next_value().map(|value: bool| regenerate = Some(value)),
                "embeddings" => map.next_value().map(|value: &RawValue| embeddings = Some(value)),
                other => {
                    return Ok(Err(format!(
                        "Unexpected field `._vectors.{name}.{other}`\n  - note: the allowed fields are `regenerate` and \
                         `embeddings`"
                    )));
                }
            };
            if let Err(error) = read {
                return Ok(Err(format!("Could not parse `._vectors.{name}.{key}`: {error}")));
            }
        }
        let Some(regenerate) = regenerate else {
            return Ok(Err(format!(
                "Missing field `._vectors.{name}.regenerate`\n  - note: `._vectors.{name}` must be an array of floats, an \
                 array of arrays of floats, or an object with field `regenerate`"
            )));
        };
        Ok(Ok(Given::Explicit { regenerate, embeddings }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn embedders() -> Vec<Embedder> {
        Embedder::of_settings(&json!({"embedders": {
            "rest": {"source": "rest", "url": "http://localhost"},
            "manual": {"source": "userProvided", "dimensions": 2},
        }}))
    }

    fn checked(vectors: &str) -> Result<Option<String>, VectorsError> {
        let raw = format!("{{\"id\":\"a\",\"_vectors\":{vectors}}}");
        let embedders = embedders();
        check(&Document::parse(&raw).unwrap(), "a", &embedders).map(|looked| looked.missing.map(str::to_owned))
    }

    fn refusal(vectors: &str) -> String {
        checked(vectors).unwrap_err().to_string()
    }

    #[test]
    fn embedders_are_read_from_settings() {
        let [manual, rest] = embedders().try_into().unwrap();
        assert_eq!((manual.source, manual.dimensions), (Source::UserProvided, Some(2)));
        assert_eq!((rest.source, rest.dimensions), (Source::Generated, None));
        let composite = json!({"embedders": {"c": {"source": "composite", "dimensions": 3}}});
        assert_eq!(Embedder::of_settings(&composite)[0].dimensions, None);
        assert_eq!(Embedder::of_settings(&json!({})), []);
    }

    #[test]
    fn vectors_that_fit_pass() {
        for vectors in [
            r#"{"manual":[1,2]}"#,
            r#"{"manual":[[1,2.5],[-3,4e39]]}"#,
            r#"{"manual":[]}"#,
            r#"{"manual":null}"#,
            r#"{"manual":{"regenerate":false}}"#,
            r#"{"manual":{"regenerate":true,"embeddings":null}}"#,
            r#"{"manual":{"embeddings":[[1,2]],"regenerate":true}}"#,
            r#"{"manual":"bad","manual":[1,2]}"#,
            r#"{"manual":[1,2],"rest":[1,2,3],"other":[["not","looked","at"]]}"#,
        ] {
            assert_eq!(checked(vectors), Ok(None), "{vectors}");
        }
    }

    #[test]
    fn what_is_given_to_nobody_is_known_to_be_missing() {
        for vectors in ["{}", r#"{"rest":[1]}"#, r#"{"manual":{"regenerate":true}}"#] {
            assert_eq!(checked(vectors), Ok(Some("manual".to_owned())), "{vectors}");
        }
        let bare = Document::parse("{\"id\":1}").unwrap();
        assert_eq!(check(&bare, "1", &embedders()).unwrap().missing, Some("manual"));
        assert_eq!(check(&bare, "1", &[]), Ok(Looked::default()));
        let other = Document::parse(r#"{"_vectors":{"own":[1],"manual":[1,2]}}"#).unwrap();
        let expected = Looked { missing: None, unknown: vec!["own".to_owned()] };
        assert_eq!(check(&other, "1", &embedders()), Ok(expected));
    }

    #[test]
    fn shapes_are_refused_in_the_engines_words() {
        assert_eq!(refusal("\"x\""), "invalid type: string \"x\", expected a map at line 1 column 3");
        assert_eq!(refusal("null"), "invalid type: null, expected a map at line 1 column 4");
        let of = "Bad embedder configuration in the document with id: `a`. ";
        let expected = "Expected `._vectors.m` to be an array of floats, an array of arrays of floats, or an object with \
                        at least the field `regenerate`, but got the ";
        for (value, kind) in [
            ("\"x\"", "string `x`"),
            ("1", "integer `1`"),
            ("-1", "integer `-1`"),
            ("1.5", "number `1.5`"),
            ("true", "boolean `true`"),
        ] {
            assert_eq!(refusal(&format!("{{\"m\":{value}}}")), format!("{of}{expected}{kind}"));
        }
        assert_eq!(
            refusal(r#"{"m":{"embeddings":[1,2]}}"#),
            format!(
                "{of}Missing field `._vectors.m.regenerate`\n  - note: `._vectors.m` must be an array of floats, an \
                 array of arrays of floats, or an object with field `regenerate`"
            )
        );
        assert!(refusal(r#"{"m":{"regenerate":1}}"#).starts_with(&format!("{of}Could not parse `._vectors.m")));
        assert!(checked(r#"{"m":"x"}"#).unwrap_err().is_of_shape());
        assert_eq!(checked(r#"{"m":"x"}"#).unwrap_err().code(), Code::InvalidVectorsType);
    }

    #[test]
    fn vectors_are_refused_in_the_engines_words() {
        let of = "Bad embedder configuration in the document with id: `a`. Invalid value type at `._vectors.manual";
        for (value, rest) in [
            (r#"["a","b"]"#, "[0]`: expected a number or an array, but found a string: `\"a\"`"),
            (r#"[1,"b"]"#, "[1]`: expected a number, but found a string: `\"b\"`"),
            ("[1,null]", "[1]`: expected a number, but found null"),
            ("[[1,2],3]", "[1]`: expected an array, but found a positive integer: `3`"),
            ("[[1,2],[1,[2]]]", "[1][1]`: expected a number, but found an array: `[2]`"),
            (
                r#"{"regenerate":false,"embeddings":-5}"#,
                ".embeddings`: expected null or an array, but found a negative integer: `-5`",
            ),
        ] {
            assert_eq!(refusal(&format!("{{\"manual\":{value}}}")), format!("{of}{rest}"));
        }
        let error = checked(r#"{"manual":[[1,2],[1,2,3]]}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid vector dimensions in document with id `a` in `._vectors.manual`.\n  - note: embedding #1 has \
             dimensions 3\n  - note: embedder `manual` requires 2"
        );
        assert_eq!((error.code(), error.is_of_shape()), (Code::InvalidVectorDimensions, false));
    }
}
