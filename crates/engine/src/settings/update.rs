//! An update handed to milli, setting by setting.

use milli::LocalizedAttributesRule;
use milli::update::Setting as Choice;
use milli_core as milli;

use super::view::{Faceting, MinWordSizes, Settings, TypoTolerance};

// === impl Settings ===

impl Settings {
    #[allow(clippy::too_many_lines, reason = "a table: one entry after the other")]
    pub(super) fn hand_to(self, builder: &mut milli::update::Settings<'_, '_, '_>) {
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
    pub(super) fn hand_to(self, builder: &mut milli::update::Settings<'_, '_, '_>) {
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

// === impl Faceting ===

impl Faceting {
    pub(super) fn hand_to(self, builder: &mut milli::update::Settings<'_, '_, '_>) {
        match self.max_values_per_facet {
            Choice::Set(max) => builder.set_max_values_per_facet(max),
            Choice::Reset => builder.reset_max_values_per_facet(),
            Choice::NotSet => {}
        }
        match self.sort_facet_values_by {
            Choice::Set(orders) => {
                builder
                    .set_sort_facet_values_by(orders.into_iter().map(|(facet, order)| (facet, order.into())).collect());
            }
            Choice::Reset => builder.reset_sort_facet_values_by(),
            Choice::NotSet => {}
        }
    }
}
