//! The settings of an index as it has them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use milli::DEFAULT_VALUES_PER_FACET;
use milli::index::IndexEmbeddingConfig;
use milli::update::Setting as Choice;
use milli::vector::settings::EmbeddingSettings;
use milli_core as milli;

use super::DEFAULT_MAX_TOTAL_HITS;
use super::view::{
    Faceting, LocalizedAttributes, MinWordSizes, Pagination, Precision, Prefixes, RankingRule, Settings, TypoTolerance,
};
use crate::engine::IndexHandle;
use crate::error::ResponseError;

pub(super) fn read(handle: &IndexHandle) -> Result<Settings, ResponseError> {
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
