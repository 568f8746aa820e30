//! What differs between versions of the engine: the ranking rules that an index has by default, what makes the score of a
//! hit, and whether totals are capped.

use super::settings::Setting;

/// Until 1.35.
const UNIFIED: &[&str] = &["words", "typo", "proximity", "attribute", "sort", "exactness"];
/// From 1.36 on: the rule `attribute` in its two parts, which `sort` may come between.
const SEPARATED: &[&str] = &["words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness"];

/// The newest of which something is known here.
pub const NEWEST: (u32, u32) = (1, 50);

/// Major and minor number of a version such as `1.36.0`; `None` for what is no version.
pub fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    parts.next().flatten().zip(parts.next().flatten())
}

/// The default rules of an engine by its version; of the newest known where that is no version.
pub fn default_rules(version: &str) -> &'static [&'static str] {
    if release(version).is_some_and(|release| release < (1, 36)) { UNIFIED } else { SEPARATED }
}

/// True if an engine of `version` is newer than one of `than`, patches aside; false where either is no version.
pub fn is_newer(version: &str, than: &str) -> bool {
    release(version).zip(release(than)).is_some_and(|(version, than)| version > than)
}

/// True for engines whose scores come from all relevancy rules; older ones stop at the first rule that sorts.
pub fn scores_by_all_rules(version: &str) -> bool {
    is_at_least(version, (1, 24))
}

/// True for engines that, in page mode, count every hit above a threshold; older ones stop counting at the end of the page.
pub fn counts_pages_whole(version: &str) -> bool {
    is_at_least(version, (1, 16))
}

/// True for engines that are known to look at hits from the first, whatever the page: older ones skip what lies before it by
/// the bucket, and do not look at any where the page lies behind the last. Seen of 1.50, not of 1.15.
pub fn searches_from_the_first(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to state totals beyond `maxTotalHits`: seen of 1.50, not of 1.15.
pub fn states_all_hits(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to state an offset beyond `maxTotalHits` as it was asked for: seen of 1.50, not of 1.15.
pub fn states_offset_asked(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to take patterns such as `col*` for facets, and to order each facet that a pattern fits as
/// its own settings say: seen of 1.50. Older ones take `*` alone, and order all facets as is set for all then.
pub fn facets_by_pattern(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to search by the vector alone where the words are blank: seen of 1.50. 1.15 mixes the hits of a
/// vector with those of no words.
pub fn blank_words_are_none(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to take templates which look at the name of a field: seen of 1.50; 1.15 refuses them.
pub fn templates_see_names(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to say of a swap whether it renames: seen of 1.50, not of 1.15.
pub fn shows_renames(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to give an index another name, and to compact one: seen of 1.50, not of 1.15.
pub fn renames_and_compacts(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to have keys to other indexes among the settings: seen of 1.50, not of 1.15.
pub fn shows_foreign_keys(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True where engines of `version`, `None` for one that is not known, have `setting`.
pub fn has_setting(version: Option<&str>, setting: Setting) -> bool {
    !Setting::NEWER.contains(&setting) || version.is_some_and(shows_foreign_keys)
}

/// True for engines that are known to say which network they are in: seen of 1.50, not of 1.15.
pub fn tells_network(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to have dynamic search rules whose changes are tasks: seen of 1.50.
pub fn has_dynamic_rules(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// True for engines that are known to name the index before what they say of an edit's filter: seen of 1.50, not of 1.15.
pub fn names_index_of_edit(version: &str) -> bool {
    is_at_least(version, (1, 50))
}

/// False for what is no version.
fn is_at_least(version: &str, least: (u32, u32)) -> bool {
    release(version).is_some_and(|release| release >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_tells_whether_totals_are_capped_and_pages_skipped_to() {
        let since_1_50 = [
            states_all_hits,
            searches_from_the_first,
            states_offset_asked,
            shows_renames,
            shows_foreign_keys,
            tells_network,
            has_dynamic_rules,
            names_index_of_edit,
            renames_and_compacts,
            facets_by_pattern,
            blank_words_are_none,
        ];
        for is in since_1_50 {
            assert!(["1.50.0", "1.51.2", "2.0.0"].into_iter().all(is));
            assert!(!["1.15.1", "1.49.0", "unknown"].into_iter().any(is));
        }
    }

    #[test]
    fn an_engine_of_a_version_that_is_not_known_has_what_all_have() {
        assert!(has_setting(None, Setting::StopWords) && has_setting(Some("1.15.1"), Setting::StopWords));
        assert!(has_setting(Some("1.50.0"), Setting::ForeignKeys));
        assert!(!has_setting(Some("1.15.1"), Setting::ForeignKeys) && !has_setting(None, Setting::ForeignKeys));
    }

    #[test]
    fn the_version_tells_what_is_counted_under_a_threshold() {
        assert!(counts_pages_whole("1.16.0") && counts_pages_whole("1.50.0"));
        assert!(!counts_pages_whole("1.15.1") && !counts_pages_whole("unknown"));
    }

    #[test]
    fn the_version_tells_what_makes_a_score() {
        assert!(["1.24.0", "1.50.0", "2.0.0"].into_iter().all(scores_by_all_rules));
        assert!(!["1.15.1", "1.23.0", "unknown"].into_iter().any(scores_by_all_rules));
    }

    #[test]
    fn the_version_tells_the_rules() {
        for (version, rules) in [
            ("1.15.1", UNIFIED),
            ("1.35.9", UNIFIED),
            ("1.36.0-rc.1", SEPARATED),
            ("1.50.0", SEPARATED),
            ("2.0.0", SEPARATED),
            ("unknown", SEPARATED),
        ] {
            assert_eq!(default_rules(version), rules, "{version}");
        }
    }
}
