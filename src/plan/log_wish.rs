//! The bodies of `POST /logs/stream` and `POST /logs/stderr`, judged with the engine's words.

use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::said::Said;
use crate::meili::error::{Code, ResponseError};
use crate::meili::payload::wrong_kind;
use crate::meili::unknown;

/// What all targets of Miroir's own lines begin with.
const OWN: &str = "miroir";

/// The body of `POST /logs/stream`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogWish {
    #[serde(serialize_with = "as_text")]
    pub targets: Targets,
    /// What an engine shows and Miroir does not is refused after a feature that is off.
    pub look: Said<LogLook>,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LogLook {
    Human,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Human,
    Json,
    Profile,
}

/// Reads the body of `POST /logs/stderr`.
pub fn stderr_targets(body: &Value) -> Result<Targets, ResponseError> {
    let mut targets = everything();
    for (name, value) in fields(body)? {
        match name.as_str() {
            "target" => targets = read_targets(value)?,
            _ => return Err(unknown::field(name, &["target"])),
        }
    }
    Ok(targets)
}

/// As clients write them: `info,miroir=debug`.
pub(super) fn as_text<S: Serializer>(targets: &Targets, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(targets)
}

fn everything() -> Targets {
    Targets::new().with_default(tracing::Level::INFO)
}

fn fields(body: &Value) -> Result<&serde_json::Map<String, Value>, ResponseError> {
    body.as_object().ok_or_else(|| wrong_kind(body, "an object", "", Code::BadRequest))
}

fn read_targets(value: &Value) -> Result<Targets, ResponseError> {
    let Some(text) = value.as_str() else {
        return Err(wrong_kind(value, "a string", ".target", Code::BadRequest));
    };
    let refused = |why: &str| ResponseError::new(Code::BadRequest, format!("Invalid value at `.target`: {why}"));
    if text.is_empty() {
        return Err(refused(
            "Empty string is not a valid target. If you want to get no logs use `OFF`. Usage: `info`, \
             `meilisearch=info`, or you can write multiple filters in one target: `index_scheduler=info,milli=trace`",
        ));
    }
    let targets: Targets =
        text.parse().map_err(|error: tracing_subscriber::filter::ParseError| refused(&error.to_string()))?;
    Ok(without_heads(targets))
}

/// What is finer than `info` is told by Miroir alone: its libraries then write whole heads of requests, with the keys of other
/// clients and of nodes in them. Example: `debug` is `info,miroir=debug`.
fn without_heads(targets: Targets) -> Targets {
    let default = targets.default_level().unwrap_or(LevelFilter::OFF);
    let kept = Targets::new().with_default(default.min(LevelFilter::INFO)).with_target(OWN, default);
    targets.into_iter().fold(kept, |kept, (name, level)| {
        let is_own = name == OWN || name.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::"));
        kept.with_target(name, if is_own { level } else { level.min(LevelFilter::INFO) })
    })
}

// === impl LogWish ===

impl LogWish {
    /// Reads the body of `POST /logs/stream`.
    pub fn read(body: &Value) -> Result<Self, ResponseError> {
        let (mut targets, mut mode) = (everything(), Mode::Human);
        let mut profiles_memory = false;
        for (name, value) in fields(body)? {
            match name.as_str() {
                "target" => targets = read_targets(value)?,
                "mode" => mode = Mode::read(value)?,
                "profileMemory" => {
                    let wrong = || wrong_kind(value, "a boolean", ".profileMemory", Code::BadRequest);
                    profiles_memory = value.as_bool().ok_or_else(wrong)?;
                }
                _ => return Err(unknown::field(name, &["target", "mode", "profileMemory"])),
            }
        }
        if profiles_memory && mode != Mode::Profile {
            let message = format!(
                "Invalid value: `profile_memory` can only be used while profiling code and is not compatible with the \
                 {mode:?} mode.",
            );
            // The engine's own code for it.
            return Err(ResponseError::new(Code::InvalidSettingsTypoTolerance, message));
        }
        Ok(Self { targets, look: mode.look() })
    }
}

// === impl Mode ===

impl Mode {
    fn look(self) -> Said<LogLook> {
        match self {
            Self::Human => Said::Sound(LogLook::Human),
            Self::Json => Said::Sound(LogLook::Json),
            Self::Profile => {
                let message =
                    "The mode `profile` of `/logs/stream` is not supported by Miroir: the gateway traces no spans.";
                Said::Faulty(ResponseError::new(Code::MiroirNotSupported, message))
            }
        }
    }

    fn read(value: &Value) -> Result<Self, ResponseError> {
        match value.as_str() {
            None => Err(wrong_kind(value, "a string", ".mode", Code::BadRequest)),
            Some("human") => Ok(Self::Human),
            Some("json") => Ok(Self::Json),
            Some("profile") => Ok(Self::Profile),
            Some(word) => Err(unknown::value(word, ".mode", &["human", "json", "profile"], Code::BadRequest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_says_nothing_gets_lines_for_people_from_info_on() {
        let wish = LogWish::read(&json!({})).unwrap();
        assert_eq!((wish.targets.to_string().as_str(), wish.look), ("info", Said::Sound(LogLook::Human)));
        let wish = LogWish::read(&json!({"target": "miroir=debug,off", "mode": "json"})).unwrap();
        assert_eq!(wish.look, Said::Sound(LogLook::Json));
        assert!(wish.targets.would_enable("miroir::access", &tracing::Level::DEBUG));
        assert!(!wish.targets.would_enable("pingora", &tracing::Level::ERROR));
    }

    #[test]
    fn libraries_are_not_heard_in_detail_whatever_is_asked_for() {
        for asked in
            ["trace", "debug,pingora_proxy=trace", "mir=trace,miroirs=trace,pingora_proxy::x=debug", "h2=trace"]
        {
            let targets = read_targets(&json!(asked)).unwrap();
            for library in ["pingora_proxy", "pingora_proxy::x", "h2", "h2::hpack", "mir", "rustls", ""] {
                assert!(!targets.would_enable(library, &tracing::Level::DEBUG), "{asked}: {library}");
            }
        }
        let targets = read_targets(&json!("trace,pingora_proxy=warn")).unwrap();
        assert!(targets.would_enable("miroir::read", &tracing::Level::TRACE));
        assert!(targets.would_enable("h2", &tracing::Level::INFO));
        assert!(!targets.would_enable("pingora_proxy", &tracing::Level::INFO));
    }

    #[test]
    fn a_profile_is_read_and_what_is_said_of_it_waits_for_the_feature() {
        let wish = LogWish::read(&json!({"mode": "profile", "profileMemory": true})).unwrap();
        assert_eq!(wish.look.heard().unwrap_err().code, "miroir_not_supported");
    }

    /// As an engine of 1.50 answers.
    #[test]
    fn what_is_wrong_is_refused_in_the_engines_words() {
        let refused = |body: Value| {
            let error = LogWish::read(&body).unwrap_err();
            (error.code, error.message)
        };
        let (code, message) = refused(json!({"target": "meili=wrong"}));
        assert_eq!(code, "bad_request");
        assert_eq!(
            message,
            "Invalid value at `.target`: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \
             \"info\", \"debug\", \"trace\", or a number 0-5"
        );
        let (code, message) = refused(json!({"profileMemory": true}));
        assert_eq!(code, "invalid_settings_typo_tolerance");
        assert_eq!(
            message,
            "Invalid value: `profile_memory` can only be used while profiling code and is not compatible with the \
             Human mode."
        );
        let (_, message) = refused(json!({"mode": "x"}));
        assert_eq!(message, "Unknown value `x` at `.mode`: expected one of `human`, `json`, `profile`");
        let (_, message) = refused(json!([]));
        assert_eq!(message, "Invalid value type: expected an object, but found an array: `[]`");
    }
}
