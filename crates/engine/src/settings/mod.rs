//! The settings of an index: read, checked as request bodies, applied.
//!
//! | module | what lives there |
//! |---|---|
//! | `read` | the settings of an index as it has them |
//! | `update` | an update handed to milli, setting by setting |
//! | `view` | the settings as clients write and read them |

mod read;
mod update;
mod view;

use deserr::Deserr;
use milli::update::Setting as Choice;
use milli::vector::settings::{EmbedderSource, EmbeddingSettings};
use milli_core as milli;
use miroir_words::settings::Setting;
use serde_json::Value;

use self::read::read;
use self::view::Settings;
use super::deser::{JsonFailure, Mark, body, codes, json};
use super::engine::{Features, IndexHandle};
use crate::error::{Code, ResponseError};

/// How many hits a search can reach by default.
pub const DEFAULT_MAX_TOTAL_HITS: usize = 1000;

/// Checks the body of `PATCH /indexes/{uid}/settings`; the answer is the task's `details` and what is stored with it.
pub fn parse_update(bytes: &[u8], features: Features) -> Result<Value, ResponseError> {
    checked(body::<Settings, codes::BadRequest>(bytes)?, features)
}

/// Checks the body of `PUT`/`PATCH /indexes/{uid}/settings/{setting}`.
pub fn parse_one(setting: Setting, bytes: &[u8], features: Features) -> Result<Value, ResponseError> {
    let mut settings = Settings::default();
    match setting {
        Setting::DisplayedAttributes => {
            settings.displayed_attributes = one::<_, codes::InvalidSettingsDisplayedAttributes>(bytes)?;
        }
        Setting::SearchableAttributes => {
            settings.searchable_attributes = one::<_, codes::InvalidSettingsSearchableAttributes>(bytes)?;
        }
        Setting::FilterableAttributes => {
            settings.filterable_attributes = one::<_, codes::InvalidSettingsFilterableAttributes>(bytes)?;
        }
        Setting::SortableAttributes => {
            settings.sortable_attributes = one::<_, codes::InvalidSettingsSortableAttributes>(bytes)?;
        }
        Setting::RankingRules => settings.ranking_rules = one::<_, codes::InvalidSettingsRankingRules>(bytes)?,
        Setting::StopWords => settings.stop_words = one::<_, codes::InvalidSettingsStopWords>(bytes)?,
        Setting::NonSeparatorTokens => {
            settings.non_separator_tokens = one::<_, codes::InvalidSettingsNonSeparatorTokens>(bytes)?;
        }
        Setting::SeparatorTokens => settings.separator_tokens = one::<_, codes::InvalidSettingsSeparatorTokens>(bytes)?,
        Setting::Dictionary => settings.dictionary = one::<_, codes::InvalidSettingsDictionary>(bytes)?,
        Setting::Synonyms => settings.synonyms = one::<_, codes::InvalidSettingsSynonyms>(bytes)?,
        Setting::DistinctAttribute => {
            settings.distinct_attribute = one::<_, codes::InvalidSettingsDistinctAttribute>(bytes)?
        }
        Setting::ProximityPrecision => {
            settings.proximity_precision = one::<_, codes::InvalidSettingsProximityPrecision>(bytes)?;
        }
        Setting::TypoTolerance => settings.typo_tolerance = one::<_, codes::InvalidSettingsTypoTolerance>(bytes)?,
        Setting::Faceting => settings.faceting = one::<_, codes::InvalidSettingsFaceting>(bytes)?,
        Setting::Pagination => settings.pagination = one::<_, codes::InvalidSettingsPagination>(bytes)?,
        Setting::Embedders => settings.embedders = one::<_, codes::InvalidSettingsEmbedders>(bytes)?,
        Setting::SearchCutoffMs => settings.search_cutoff_ms = one::<_, codes::InvalidSettingsSearchCutoffMs>(bytes)?,
        Setting::LocalizedAttributes => {
            settings.localized_attributes = one::<_, codes::InvalidSettingsLocalizedAttributes>(bytes)?;
        }
        Setting::FacetSearch => settings.facet_search = one::<_, codes::InvalidSettingsFacetSearch>(bytes)?,
        Setting::PrefixSearch => settings.prefix_search = one::<_, codes::InvalidSettingsPrefixSearch>(bytes)?,
        Setting::Chat => settings.chat = one::<_, codes::InvalidSettingsIndexChat>(bytes)?,
        // This engine has no such route; one that does says the same while the feature is off.
        Setting::ForeignKeys => {
            return Err(not_enabled("setting `foreignKeys` in the index settings", "foreign_keys", 873));
        }
    }
    checked(settings, features)
}

/// `DELETE /indexes/{uid}/settings`: details and stored form.
pub fn reset() -> Value {
    Value::Object(IN_ORDER.iter().map(|setting| reset_pair(*setting)).collect())
}

/// `DELETE /indexes/{uid}/settings/{setting}`: details and stored form.
pub fn reset_one(setting: Setting) -> Value {
    Value::Object([reset_pair(setting)].into_iter().collect())
}

/// The body of `GET /indexes/{uid}/settings`, secrets hidden.
pub fn get(handle: &IndexHandle) -> Result<Value, ResponseError> {
    let settings = read(handle)?;
    Ok(serde_json::to_value(settings).expect("settings are maps with text keys"))
}

/// The body of `GET /indexes/{uid}/settings/{setting}`.
pub fn get_one(handle: &IndexHandle, setting: Setting) -> Result<Value, ResponseError> {
    if setting == Setting::Chat {
        return Err(not_enabled("showing index `chat` settings", "chat completions", 835));
    }
    let all = get(handle)?;
    Ok(all.get(setting.key()).cloned().unwrap_or(Value::Null))
}

/// Hands a stored update to milli.
pub(super) fn apply(stored: &Value, builder: &mut milli::update::Settings<'_, '_, '_>) -> Result<(), ResponseError> {
    let settings: Settings = json::<Settings, codes::BadRequest>(stored.clone())?;
    settings.hand_to(builder);
    Ok(())
}

/// The settings in the order in which the engine shows them.
const IN_ORDER: &[Setting] = Setting::ALL;

fn reset_pair(setting: Setting) -> (String, Value) {
    let value = match setting {
        Setting::DisplayedAttributes | Setting::SearchableAttributes => Value::Array(vec!["*".into()]),
        _every_other_setting => Value::Null,
    };
    (setting.key().to_owned(), value)
}

fn one<T, C>(bytes: &[u8]) -> Result<Choice<T>, ResponseError>
where
    C: Mark,
    Option<T>: Deserr<JsonFailure<C>>,
{
    Ok(match body::<Option<T>, C>(bytes)? {
        Some(value) => Choice::Set(value),
        None => Choice::Reset,
    })
}

/// What cannot be seen from one field alone: features that are off, embedders that contradict themselves.
fn checked(mut settings: Settings, features: Features) -> Result<Value, ResponseError> {
    if let Choice::Set(embedders) = &mut settings.embedders {
        for (name, embedder) in embedders.iter_mut() {
            if let Choice::Set(embedder) = embedder {
                composite_allowed(embedder, features)?;
            }
            let unchecked = std::mem::take(embedder);
            *embedder = milli::update::validate_embedding_settings(unchecked, name)?;
        }
    }
    if let Choice::Set(_) = &settings.chat {
        return Err(not_enabled("setting `chat` in the index settings", "chat completions", 835));
    }
    Ok(serde_json::to_value(settings).expect("settings are maps with text keys"))
}

fn composite_allowed(embedder: &EmbeddingSettings, features: Features) -> Result<(), ResponseError> {
    if features.composite_embedders {
        return Ok(());
    }
    let action = if matches!(embedder.source, Choice::Set(EmbedderSource::Composite)) {
        "using `\"composite\"` as source"
    } else if matches!(embedder.search_embedder, Choice::Set(_)) {
        "setting `searchEmbedder`"
    } else if matches!(embedder.indexing_embedder, Choice::Set(_)) {
        "setting `indexingEmbedder`"
    } else {
        return Ok(());
    };
    Err(not_enabled(action, "composite embedders", 816))
}

/// The error for what needs an experimental feature that is off.
pub(super) fn not_enabled(action: &str, feature: &str, discussion: u32) -> ResponseError {
    let link = format!("https://github.com/orgs/meilisearch/discussions/{discussion}");
    let message = format!("{action} requires enabling the `{feature}` experimental feature. See {link}");
    ResponseError::new(Code::FeatureNotEnabled, message)
}
