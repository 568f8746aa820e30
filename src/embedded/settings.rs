//! The settings of an index: read, checked as request bodies, applied.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use deserr::{Deserr, ValuePointerRef};
use milli::index::{IndexEmbeddingConfig, PrefixSearch};
use milli::proximity::ProximityPrecision;
use milli::update::Setting as Choice;
use milli::vector::settings::{EmbedderSource, EmbeddingSettings};
use milli::{
    AttributePatterns, Criterion, DEFAULT_VALUES_PER_FACET, FilterableAttributesRule, LocalizedAttributesRule, OrderBy,
};
use milli_core as milli;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::deser::codes::{
    BadRequest, InvalidSettingsDictionary, InvalidSettingsDisplayedAttributes, InvalidSettingsDistinctAttribute,
    InvalidSettingsEmbedders, InvalidSettingsFacetSearch, InvalidSettingsFaceting, InvalidSettingsFilterableAttributes,
    InvalidSettingsLocalizedAttributes, InvalidSettingsNonSeparatorTokens, InvalidSettingsPagination,
    InvalidSettingsPrefixSearch, InvalidSettingsProximityPrecision, InvalidSettingsRankingRules,
    InvalidSettingsSearchCutoffMs, InvalidSettingsSearchableAttributes, InvalidSettingsSeparatorTokens,
    InvalidSettingsSortableAttributes, InvalidSettingsStopWords, InvalidSettingsSynonyms,
    InvalidSettingsTypoTolerance,
};
use super::deser::{Invalid, JsonFailure, Mark, body, json};
use super::engine::{Features, IndexHandle};
use super::locale::Locale;
use crate::meili::error::{Code, ResponseError};
use crate::meili::settings::Setting;

/// How many hits a search can reach by default.
pub const DEFAULT_MAX_TOTAL_HITS: usize = 1000;

/// All settings as clients write them. `Reset` is `null`; what is not set stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserr, Serialize)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
struct Settings {
    #[serde(skip_serializing_if = "Choice::is_not_set", serialize_with = "star_when_reset")]
    #[deserr(default, error = JsonFailure<InvalidSettingsDisplayedAttributes>)]
    displayed_attributes: Choice<Vec<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set", serialize_with = "star_when_reset")]
    #[deserr(default, error = JsonFailure<InvalidSettingsSearchableAttributes>)]
    searchable_attributes: Choice<Vec<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsFilterableAttributes>)]
    filterable_attributes: Choice<Vec<FilterableAttributesRule>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsSortableAttributes>)]
    sortable_attributes: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsRankingRules>)]
    ranking_rules: Choice<Vec<RankingRule>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsStopWords>)]
    stop_words: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsNonSeparatorTokens>)]
    non_separator_tokens: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsSeparatorTokens>)]
    separator_tokens: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsDictionary>)]
    dictionary: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsSynonyms>)]
    synonyms: Choice<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsDistinctAttribute>)]
    distinct_attribute: Choice<String>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsProximityPrecision>)]
    proximity_precision: Choice<Precision>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsTypoTolerance>)]
    typo_tolerance: Choice<TypoTolerance>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsFaceting>)]
    faceting: Choice<Faceting>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsPagination>)]
    pagination: Choice<Pagination>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsEmbedders>)]
    embedders: Choice<BTreeMap<String, Choice<EmbeddingSettings>>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsSearchCutoffMs>)]
    search_cutoff_ms: Choice<u64>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsLocalizedAttributes>)]
    localized_attributes: Choice<Vec<LocalizedAttributes>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsFacetSearch>)]
    facet_search: Choice<bool>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<InvalidSettingsPrefixSearch>)]
    prefix_search: Choice<Prefixes>,
    /// Belongs to chat completions, an experimental feature that is never enabled here.
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    chat: Choice<Value>,
}

/// One ranking rule, written as clients write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserr)]
#[deserr(try_from(String) = RankingRule::parse -> Invalid)]
struct RankingRule(Criterion);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
enum Precision {
    #[default]
    ByWord,
    ByAttribute,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
enum Prefixes {
    #[default]
    IndexingTime,
    Disabled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
enum ValuesOrder {
    #[default]
    Alpha,
    Count,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = JsonFailure<InvalidSettingsTypoTolerance>, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
struct TypoTolerance {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    enabled: Choice<bool>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    min_word_size_for_typos: Choice<MinWordSizes>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    disable_on_words: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    disable_on_attributes: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    disable_on_numbers: Choice<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(
    error = JsonFailure<InvalidSettingsTypoTolerance>, rename_all = camelCase, deny_unknown_fields,
    validate = MinWordSizes::check -> Invalid
)]
#[serde(rename_all = "camelCase")]
struct MinWordSizes {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    one_typo: Choice<u8>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    two_typos: Choice<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
struct Faceting {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    max_values_per_facet: Choice<usize>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    sort_facet_values_by: Choice<BTreeMap<String, ValuesOrder>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    max_total_hits: Choice<NonZeroUsize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
struct LocalizedAttributes {
    attribute_patterns: AttributePatterns,
    locales: Vec<Locale>,
}

/// Checks the body of `PATCH /indexes/{uid}/settings`; the answer is the task's `details` and what is stored with it.
pub fn parse_update(bytes: &[u8], features: Features) -> Result<Value, ResponseError> {
    checked(body::<Settings, BadRequest>(bytes)?, features)
}

/// Checks the body of `PUT`/`PATCH /indexes/{uid}/settings/{setting}`.
pub fn parse_one(setting: Setting, bytes: &[u8], features: Features) -> Result<Value, ResponseError> {
    let mut settings = Settings::default();
    match setting {
        Setting::DisplayedAttributes => {
            settings.displayed_attributes = one::<_, InvalidSettingsDisplayedAttributes>(bytes)?;
        }
        Setting::SearchableAttributes => {
            settings.searchable_attributes = one::<_, InvalidSettingsSearchableAttributes>(bytes)?;
        }
        Setting::FilterableAttributes => {
            settings.filterable_attributes = one::<_, InvalidSettingsFilterableAttributes>(bytes)?;
        }
        Setting::SortableAttributes => {
            settings.sortable_attributes = one::<_, InvalidSettingsSortableAttributes>(bytes)?;
        }
        Setting::RankingRules => settings.ranking_rules = one::<_, InvalidSettingsRankingRules>(bytes)?,
        Setting::StopWords => settings.stop_words = one::<_, InvalidSettingsStopWords>(bytes)?,
        Setting::NonSeparatorTokens => {
            settings.non_separator_tokens = one::<_, InvalidSettingsNonSeparatorTokens>(bytes)?;
        }
        Setting::SeparatorTokens => settings.separator_tokens = one::<_, InvalidSettingsSeparatorTokens>(bytes)?,
        Setting::Dictionary => settings.dictionary = one::<_, InvalidSettingsDictionary>(bytes)?,
        Setting::Synonyms => settings.synonyms = one::<_, InvalidSettingsSynonyms>(bytes)?,
        Setting::DistinctAttribute => settings.distinct_attribute = one::<_, InvalidSettingsDistinctAttribute>(bytes)?,
        Setting::ProximityPrecision => {
            settings.proximity_precision = one::<_, InvalidSettingsProximityPrecision>(bytes)?;
        }
        Setting::TypoTolerance => settings.typo_tolerance = one::<_, InvalidSettingsTypoTolerance>(bytes)?,
        Setting::Faceting => settings.faceting = one::<_, InvalidSettingsFaceting>(bytes)?,
        Setting::Pagination => settings.pagination = one::<_, InvalidSettingsPagination>(bytes)?,
        Setting::Embedders => settings.embedders = one::<_, InvalidSettingsEmbedders>(bytes)?,
        Setting::SearchCutoffMs => settings.search_cutoff_ms = one::<_, InvalidSettingsSearchCutoffMs>(bytes)?,
        Setting::LocalizedAttributes => {
            settings.localized_attributes = one::<_, InvalidSettingsLocalizedAttributes>(bytes)?;
        }
        Setting::FacetSearch => settings.facet_search = one::<_, InvalidSettingsFacetSearch>(bytes)?,
        Setting::PrefixSearch => settings.prefix_search = one::<_, InvalidSettingsPrefixSearch>(bytes)?,
    }
    checked(settings, features)
}

/// `DELETE /indexes/{uid}/settings`: details and stored form.
pub fn reset() -> Value {
    let mut all: serde_json::Map<String, Value> = IN_ORDER.iter().map(|setting| reset_pair(*setting)).collect();
    all.insert("chat".to_owned(), Value::Null);
    Value::Object(all)
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
    let all = get(handle)?;
    Ok(all.get(setting.key()).cloned().unwrap_or(Value::Null))
}

/// Hands a stored update to milli.
pub(super) fn apply(stored: &Value, builder: &mut milli::update::Settings<'_, '_, '_>) -> Result<(), ResponseError> {
    let settings: Settings = json::<Settings, BadRequest>(stored.clone())?;
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

fn star_when_reset<S: Serializer>(fields: &Choice<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    match fields {
        Choice::Set(fields) => fields.serialize(serializer),
        Choice::Reset | Choice::NotSet => ["*"].serialize(serializer),
    }
}

fn read(handle: &IndexHandle) -> Result<Settings, ResponseError> {
    let index = &handle.index;
    let txn = index.read_txn()?;
    let or_reset = |fields: Option<Vec<&str>>| match fields {
        Some(fields) => Choice::Set(fields.into_iter().map(str::to_owned).collect()),
        None => Choice::Reset,
    };
    let stop_words: BTreeSet<String> = match index.stop_words(&txn)? {
        Some(words) => words.stream().into_strs().map_err(milli::InternalError::from).map_err(milli::Error::from)?,
        None => Vec::new(),
    }
    .into_iter()
    .collect();
    let exact_words: BTreeSet<String> = match index.exact_words(&txn)? {
        Some(words) => words.stream().into_strs().map_err(milli::InternalError::from).map_err(milli::Error::from)?,
        None => Vec::new(),
    }
    .into_iter()
    .collect();
    let typo_tolerance = TypoTolerance {
        enabled: Choice::Set(index.authorize_typos(&txn)?),
        min_word_size_for_typos: Choice::Set(MinWordSizes {
            one_typo: Choice::Set(index.min_word_len_one_typo(&txn)?),
            two_typos: Choice::Set(index.min_word_len_two_typos(&txn)?),
        }),
        disable_on_words: Choice::Set(exact_words),
        disable_on_attributes: Choice::Set(index.exact_attributes(&txn)?.into_iter().map(String::from).collect()),
        disable_on_numbers: Choice::Set(index.disabled_typos_terms(&txn)?.disable_on_numbers),
    };
    let max_values = index.max_values_per_facet(&txn)?.map_or(DEFAULT_VALUES_PER_FACET, |max| max as usize);
    let orders = index.sort_facet_values_by(&txn)?.into_iter().map(|(facet, order)| (facet, order.into())).collect();
    let max_hits = index.pagination_max_total_hits(&txn)?.map_or(DEFAULT_MAX_TOTAL_HITS, |max| max as usize);
    let mut embedders = BTreeMap::new();
    for IndexEmbeddingConfig { name, config, user_provided: _ } in index.embedding_configs(&txn)? {
        let mut embedder = EmbeddingSettings::from(config);
        if let Choice::Set(key) = &mut embedder.api_key {
            hide(key);
        }
        embedders.insert(name, Choice::Set(embedder));
    }
    let localized = index.localized_attributes_rules(&txn)?;
    Ok(Settings {
        displayed_attributes: or_reset(index.displayed_fields(&txn)?),
        searchable_attributes: or_reset(index.user_defined_searchable_fields(&txn)?),
        filterable_attributes: Choice::Set(index.filterable_attributes_rules(&txn)?),
        sortable_attributes: Choice::Set(index.sortable_fields(&txn)?.into_iter().collect()),
        ranking_rules: Choice::Set(index.criteria(&txn)?.into_iter().map(RankingRule).collect()),
        stop_words: Choice::Set(stop_words),
        non_separator_tokens: Choice::Set(index.non_separator_tokens(&txn)?.unwrap_or_default()),
        separator_tokens: Choice::Set(index.separator_tokens(&txn)?.unwrap_or_default()),
        dictionary: Choice::Set(index.dictionary(&txn)?.unwrap_or_default()),
        synonyms: Choice::Set(index.user_defined_synonyms(&txn)?),
        distinct_attribute: set_or_reset(index.distinct_field(&txn)?.map(str::to_owned)),
        proximity_precision: Choice::Set(index.proximity_precision(&txn)?.map(Precision::from).unwrap_or_default()),
        typo_tolerance: Choice::Set(typo_tolerance),
        faceting: Choice::Set(Faceting {
            max_values_per_facet: Choice::Set(max_values),
            sort_facet_values_by: Choice::Set(orders),
        }),
        pagination: Choice::Set(Pagination { max_total_hits: set_or_reset(NonZeroUsize::new(max_hits)) }),
        embedders: Choice::Set(embedders),
        search_cutoff_ms: set_or_reset(index.search_cutoff(&txn)?),
        localized_attributes: set_or_reset(
            localized.map(|rules| rules.into_iter().map(LocalizedAttributes::from).collect()),
        ),
        facet_search: Choice::Set(index.facet_search(&txn)?),
        prefix_search: Choice::Set(index.prefix_search(&txn)?.map(Prefixes::from).unwrap_or_default()),
        chat: Choice::NotSet,
    })
}

fn set_or_reset<T>(value: Option<T>) -> Choice<T> {
    match value {
        Some(value) => Choice::Set(value),
        None => Choice::Reset,
    }
}

/// Leaves the first characters of a key, few enough to keep it secret.
fn hide(key: &mut String) {
    let (kept, rest) = match key.len() {
        0..10 => (0, "XXX..."),
        10..20 => (2, "XXXX..."),
        20..30 => (3, "XXXXX..."),
        _longer => (5, "XXXXXX..."),
    };
    let kept = key.char_indices().map(|(at, _)| at).find(|at| *at >= kept).unwrap_or(0);
    key.replace_range(kept.., rest);
}

// === impl Settings ===

impl Settings {
    fn hand_to(self, builder: &mut milli::update::Settings<'_, '_, '_>) {
        let without_star = |fields: Choice<Vec<String>>| match fields {
            Choice::Set(fields) if fields.iter().any(|field| field == "*") => Choice::Reset,
            fields => fields,
        };
        match without_star(self.searchable_attributes) {
            Choice::Set(fields) => builder.set_searchable_fields(fields),
            Choice::Reset => builder.reset_searchable_fields(),
            Choice::NotSet => {}
        }
        match without_star(self.displayed_attributes) {
            Choice::Set(fields) => builder.set_displayed_fields(fields),
            Choice::Reset => builder.reset_displayed_fields(),
            Choice::NotSet => {}
        }
        match self.filterable_attributes {
            Choice::Set(rules) => builder.set_filterable_fields(rules),
            Choice::Reset => builder.reset_filterable_fields(),
            Choice::NotSet => {}
        }
        match self.sortable_attributes {
            Choice::Set(fields) => builder.set_sortable_fields(fields.into_iter().collect()),
            Choice::Reset => builder.reset_sortable_fields(),
            Choice::NotSet => {}
        }
        match self.ranking_rules {
            Choice::Set(rules) => builder.set_criteria(rules.into_iter().map(|rule| rule.0).collect()),
            Choice::Reset => builder.reset_criteria(),
            Choice::NotSet => {}
        }
        match self.stop_words {
            Choice::Set(words) => builder.set_stop_words(words),
            Choice::Reset => builder.reset_stop_words(),
            Choice::NotSet => {}
        }
        match self.non_separator_tokens {
            Choice::Set(tokens) => builder.set_non_separator_tokens(tokens),
            Choice::Reset => builder.reset_non_separator_tokens(),
            Choice::NotSet => {}
        }
        match self.separator_tokens {
            Choice::Set(tokens) => builder.set_separator_tokens(tokens),
            Choice::Reset => builder.reset_separator_tokens(),
            Choice::NotSet => {}
        }
        match self.dictionary {
            Choice::Set(words) => builder.set_dictionary(words),
            Choice::Reset => builder.reset_dictionary(),
            Choice::NotSet => {}
        }
        match self.synonyms {
            Choice::Set(synonyms) => builder.set_synonyms(synonyms),
            Choice::Reset => builder.reset_synonyms(),
            Choice::NotSet => {}
        }
        match self.distinct_attribute {
            Choice::Set(field) => builder.set_distinct_field(field),
            Choice::Reset => builder.reset_distinct_field(),
            Choice::NotSet => {}
        }
        match self.proximity_precision {
            Choice::Set(precision) => builder.set_proximity_precision(precision.into()),
            Choice::Reset => builder.reset_proximity_precision(),
            Choice::NotSet => {}
        }
        match self.localized_attributes {
            Choice::Set(rules) => {
                builder.set_localized_attributes_rules(rules.into_iter().map(LocalizedAttributesRule::from).collect());
            }
            Choice::Reset => builder.reset_localized_attributes_rules(),
            Choice::NotSet => {}
        }
        match self.typo_tolerance {
            Choice::Set(typos) => typos.hand_to(builder),
            Choice::Reset => {
                builder.reset_authorize_typos();
                builder.reset_min_word_len_one_typo();
                builder.reset_min_word_len_two_typos();
                builder.reset_exact_words();
                builder.reset_exact_attributes();
            }
            Choice::NotSet => {}
        }
        match self.faceting {
            Choice::Set(faceting) => faceting.hand_to(builder),
            Choice::Reset => {
                builder.reset_max_values_per_facet();
                builder.reset_sort_facet_values_by();
            }
            Choice::NotSet => {}
        }
        let max_total_hits = match self.pagination {
            Choice::Set(pagination) => pagination.max_total_hits,
            Choice::Reset => Choice::Reset,
            Choice::NotSet => Choice::NotSet,
        };
        match max_total_hits {
            Choice::Set(max) => builder.set_pagination_max_total_hits(max.get()),
            Choice::Reset => builder.reset_pagination_max_total_hits(),
            Choice::NotSet => {}
        }
        match self.embedders {
            Choice::Set(embedders) => builder.set_embedder_settings(embedders),
            Choice::Reset => builder.reset_embedder_settings(),
            Choice::NotSet => {}
        }
        match self.search_cutoff_ms {
            Choice::Set(cutoff) => builder.set_search_cutoff(cutoff),
            Choice::Reset => builder.reset_search_cutoff(),
            Choice::NotSet => {}
        }
        match self.prefix_search {
            Choice::Set(prefixes) => builder.set_prefix_search(prefixes.into()),
            Choice::Reset => builder.reset_prefix_search(),
            Choice::NotSet => {}
        }
        match self.facet_search {
            Choice::Set(enabled) => builder.set_facet_search(enabled),
            Choice::Reset => builder.reset_facet_search(),
            Choice::NotSet => {}
        }
    }
}

// === impl TypoTolerance ===

impl TypoTolerance {
    fn hand_to(self, builder: &mut milli::update::Settings<'_, '_, '_>) {
        match self.enabled {
            Choice::Set(enabled) => builder.set_autorize_typos(enabled),
            Choice::Reset => builder.reset_authorize_typos(),
            Choice::NotSet => {}
        }
        let sizes = match self.min_word_size_for_typos {
            Choice::Set(sizes) => sizes,
            Choice::Reset => MinWordSizes { one_typo: Choice::Reset, two_typos: Choice::Reset },
            Choice::NotSet => MinWordSizes::default(),
        };
        match sizes.one_typo {
            Choice::Set(length) => builder.set_min_word_len_one_typo(length),
            Choice::Reset => builder.reset_min_word_len_one_typo(),
            Choice::NotSet => {}
        }
        match sizes.two_typos {
            Choice::Set(length) => builder.set_min_word_len_two_typos(length),
            Choice::Reset => builder.reset_min_word_len_two_typos(),
            Choice::NotSet => {}
        }
        match self.disable_on_words {
            Choice::Set(words) => builder.set_exact_words(words),
            Choice::Reset => builder.reset_exact_words(),
            Choice::NotSet => {}
        }
        match self.disable_on_attributes {
            Choice::Set(fields) => builder.set_exact_attributes(fields.into_iter().collect()),
            Choice::Reset => builder.reset_exact_attributes(),
            Choice::NotSet => {}
        }
        match self.disable_on_numbers {
            Choice::Set(disabled) => builder.set_disable_on_numbers(disabled),
            Choice::Reset => builder.reset_disable_on_numbers(),
            Choice::NotSet => {}
        }
    }
}

// === impl MinWordSizes ===

impl MinWordSizes {
    fn check(self, _place: ValuePointerRef<'_>) -> Result<Self, Invalid> {
        if let (Choice::Set(one), Choice::Set(two)) = (self.one_typo, self.two_typos)
            && one > two
        {
            return Err(Invalid(format!(
                "`minWordSizeForTypos` setting is invalid. `oneTypo` and `twoTypos` fields should be between `0` and \
                 `255`, and `twoTypos` should be greater or equals to `oneTypo` but found `oneTypo: {one}` and \
                 twoTypos: {two}`."
            )));
        }
        Ok(self)
    }
}

// === impl Faceting ===

impl Faceting {
    fn hand_to(self, builder: &mut milli::update::Settings<'_, '_, '_>) {
        match self.max_values_per_facet {
            Choice::Set(max) => builder.set_max_values_per_facet(max),
            Choice::Reset => builder.reset_max_values_per_facet(),
            Choice::NotSet => {}
        }
        match self.sort_facet_values_by {
            Choice::Set(orders) => {
                builder.set_sort_facet_values_by(orders.into_iter().map(|(facet, order)| (facet, order.into())).collect());
            }
            Choice::Reset => builder.reset_sort_facet_values_by(),
            Choice::NotSet => {}
        }
    }
}

// === impl RankingRule ===

impl RankingRule {
    fn parse(text: String) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|error: milli::CriterionError| Invalid(error.to_string()))
    }
}

impl Serialize for RankingRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

// === conversions to and from milli's types ===

impl From<ProximityPrecision> for Precision {
    fn from(precision: ProximityPrecision) -> Self {
        match precision {
            ProximityPrecision::ByWord => Self::ByWord,
            ProximityPrecision::ByAttribute => Self::ByAttribute,
        }
    }
}

impl From<Precision> for ProximityPrecision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::ByWord => Self::ByWord,
            Precision::ByAttribute => Self::ByAttribute,
        }
    }
}

impl From<PrefixSearch> for Prefixes {
    fn from(prefixes: PrefixSearch) -> Self {
        match prefixes {
            PrefixSearch::IndexingTime => Self::IndexingTime,
            PrefixSearch::Disabled => Self::Disabled,
        }
    }
}

impl From<Prefixes> for PrefixSearch {
    fn from(prefixes: Prefixes) -> Self {
        match prefixes {
            Prefixes::IndexingTime => Self::IndexingTime,
            Prefixes::Disabled => Self::Disabled,
        }
    }
}

impl From<OrderBy> for ValuesOrder {
    fn from(order: OrderBy) -> Self {
        match order {
            OrderBy::Lexicographic => Self::Alpha,
            OrderBy::Count => Self::Count,
        }
    }
}

impl From<ValuesOrder> for OrderBy {
    fn from(order: ValuesOrder) -> Self {
        match order {
            ValuesOrder::Alpha => Self::Lexicographic,
            ValuesOrder::Count => Self::Count,
        }
    }
}

impl From<LocalizedAttributesRule> for LocalizedAttributes {
    fn from(rule: LocalizedAttributesRule) -> Self {
        let locales = rule.locales.into_iter().map(Locale::from).collect();
        Self { attribute_patterns: rule.attribute_patterns, locales }
    }
}

impl From<LocalizedAttributes> for LocalizedAttributesRule {
    fn from(rule: LocalizedAttributes) -> Self {
        let locales = rule.locales.into_iter().map(Locale::language).collect();
        Self { attribute_patterns: rule.attribute_patterns, locales }
    }
}
