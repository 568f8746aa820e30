//! The settings as clients write and read them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use deserr::{Deserr, ValuePointerRef};
use milli::index::PrefixSearch;
use milli::proximity::ProximityPrecision;
use milli::update::Setting as Choice;
use milli::vector::settings::EmbeddingSettings;
use milli::{AttributePatterns, Criterion, FilterableAttributesRule, LocalizedAttributesRule, OrderBy};
use milli_core as milli;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::deser::{Invalid, JsonFailure, codes};
use crate::locale::Locale;

/// All settings as clients write them. `Reset` is `null`; what is not set stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserr, Serialize)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    #[serde(skip_serializing_if = "Choice::is_not_set", serialize_with = "star_when_reset")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsDisplayedAttributes>)]
    pub(super) displayed_attributes: Choice<Vec<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set", serialize_with = "star_when_reset")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsSearchableAttributes>)]
    pub(super) searchable_attributes: Choice<Vec<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsFilterableAttributes>)]
    pub(super) filterable_attributes: Choice<Vec<FilterableAttributesRule>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsSortableAttributes>)]
    pub(super) sortable_attributes: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsRankingRules>)]
    pub(super) ranking_rules: Choice<Vec<RankingRule>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsStopWords>)]
    pub(super) stop_words: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsNonSeparatorTokens>)]
    pub(super) non_separator_tokens: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsSeparatorTokens>)]
    pub(super) separator_tokens: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsDictionary>)]
    pub(super) dictionary: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsSynonyms>)]
    pub(super) synonyms: Choice<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsDistinctAttribute>)]
    pub(super) distinct_attribute: Choice<String>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsProximityPrecision>)]
    pub(super) proximity_precision: Choice<Precision>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsTypoTolerance>)]
    pub(super) typo_tolerance: Choice<TypoTolerance>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsFaceting>)]
    pub(super) faceting: Choice<Faceting>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsPagination>)]
    pub(super) pagination: Choice<Pagination>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsEmbedders>)]
    pub(super) embedders: Choice<BTreeMap<String, Choice<EmbeddingSettings>>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsSearchCutoffMs>)]
    pub(super) search_cutoff_ms: Choice<u64>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsLocalizedAttributes>)]
    pub(super) localized_attributes: Choice<Vec<LocalizedAttributes>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsFacetSearch>)]
    pub(super) facet_search: Choice<bool>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default, error = JsonFailure<codes::InvalidSettingsPrefixSearch>)]
    pub(super) prefix_search: Choice<Prefixes>,
    /// Belongs to chat completions, an experimental feature that is never enabled here.
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) chat: Choice<Value>,
}

/// One ranking rule, written as clients write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserr)]
#[deserr(try_from(String) = RankingRule::parse -> Invalid)]
pub(super) struct RankingRule(pub(super) Criterion);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub(super) enum Precision {
    #[default]
    ByWord,
    ByAttribute,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub(super) enum Prefixes {
    #[default]
    IndexingTime,
    Disabled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub(super) enum ValuesOrder {
    #[default]
    Alpha,
    Count,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = JsonFailure<codes::InvalidSettingsTypoTolerance>, rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub(super) struct TypoTolerance {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) enabled: Choice<bool>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) min_word_size_for_typos: Choice<MinWordSizes>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) disable_on_words: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) disable_on_attributes: Choice<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) disable_on_numbers: Choice<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(
    error = JsonFailure<codes::InvalidSettingsTypoTolerance>, rename_all = camelCase, deny_unknown_fields,
    validate = MinWordSizes::check -> Invalid
)]
#[serde(rename_all = "camelCase")]
pub(super) struct MinWordSizes {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) one_typo: Choice<u8>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) two_typos: Choice<u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub(super) struct Faceting {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) max_values_per_facet: Choice<usize>,
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) sort_facet_values_by: Choice<BTreeMap<String, ValuesOrder>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase, deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pagination {
    #[serde(skip_serializing_if = "Choice::is_not_set")]
    #[deserr(default)]
    pub(super) max_total_hits: Choice<NonZeroUsize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserr, Serialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub(super) struct LocalizedAttributes {
    pub(super) attribute_patterns: AttributePatterns,
    pub(super) locales: Vec<Locale>,
}

fn star_when_reset<S: Serializer>(fields: &Choice<Vec<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    match fields {
        Choice::Set(fields) => fields.serialize(serializer),
        Choice::Reset | Choice::NotSet => ["*"].serialize(serializer),
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
