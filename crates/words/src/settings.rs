//! The settings of an index, each with its route and its name in the settings object.

use serde::Serialize;

macro_rules! settings {
    ($($name:ident => $route:literal, $key:literal, $verb:ident;)+) => {
        /// One setting of an index.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Setting { $(#[doc = concat!("`", $key, "`")] $name),+ }

        impl Setting {
            /// Every setting, in the order of the table.
            pub const ALL: &'static [Setting] = &[$(Setting::$name),+];

            /// The last part of `/indexes/{uid}/settings/...`.
            pub fn route(self) -> &'static str {
                match self { $(Setting::$name => $route),+ }
            }

            /// The name in the settings object.
            pub fn key(self) -> &'static str {
                match self { $(Setting::$name => $key),+ }
            }

            /// The method that changes it: `PUT` replaces the value, `PATCH` merges into it.
            pub fn update_method(self) -> &'static str {
                match self { $(Setting::$name => stringify!($verb)),+ }
            }
        }
    };
}

settings! {
    DisplayedAttributes => "displayed-attributes", "displayedAttributes", PUT;
    SearchableAttributes => "searchable-attributes", "searchableAttributes", PUT;
    FilterableAttributes => "filterable-attributes", "filterableAttributes", PUT;
    SortableAttributes => "sortable-attributes", "sortableAttributes", PUT;
    RankingRules => "ranking-rules", "rankingRules", PUT;
    StopWords => "stop-words", "stopWords", PUT;
    NonSeparatorTokens => "non-separator-tokens", "nonSeparatorTokens", PUT;
    SeparatorTokens => "separator-tokens", "separatorTokens", PUT;
    Dictionary => "dictionary", "dictionary", PUT;
    Synonyms => "synonyms", "synonyms", PUT;
    DistinctAttribute => "distinct-attribute", "distinctAttribute", PUT;
    ProximityPrecision => "proximity-precision", "proximityPrecision", PUT;
    TypoTolerance => "typo-tolerance", "typoTolerance", PATCH;
    Faceting => "faceting", "faceting", PATCH;
    Pagination => "pagination", "pagination", PATCH;
    Embedders => "embedders", "embedders", PATCH;
    SearchCutoffMs => "search-cutoff-ms", "searchCutoffMs", PUT;
    LocalizedAttributes => "localized-attributes", "localizedAttributes", PUT;
    FacetSearch => "facet-search", "facetSearch", PUT;
    PrefixSearch => "prefix-search", "prefixSearch", PUT;
    Chat => "chat", "chat", PATCH;
}
