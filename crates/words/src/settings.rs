//! The settings of an index, each with its route and its name in the settings object.

use serde::Serialize;

macro_rules! settings {
    (
        all { $($name:ident => $route:literal, $key:literal, $verb:ident;)+ }
        newer { $($newer:ident => $newer_route:literal, $newer_key:literal, $newer_verb:ident;)+ }
    ) => {
        /// One setting of an index.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Setting {
            $(#[doc = concat!("`", $key, "`")] $name,)+
            $(#[doc = concat!("`", $newer_key, "`")] $newer),+
        }

        impl Setting {
            /// Every setting that all engines have, in the order of the table.
            pub const ALL: &'static [Setting] = &[$(Setting::$name),+];

            /// What only newer engines have: older ones refuse to hear of it.
            pub const NEWER: &'static [Setting] = &[$(Setting::$newer),+];

            /// The setting whose [`route`](Setting::route) is `route`.
            pub fn of_route(route: &str) -> Option<Self> {
                Self::ALL.iter().chain(Self::NEWER).copied().find(|setting| setting.route() == route)
            }

            /// The last part of `/indexes/{uid}/settings/...`.
            pub fn route(self) -> &'static str {
                match self { $(Setting::$name => $route,)+ $(Setting::$newer => $newer_route),+ }
            }

            /// The name in the settings object.
            pub fn key(self) -> &'static str {
                match self { $(Setting::$name => $key,)+ $(Setting::$newer => $newer_key),+ }
            }

            /// The method that changes it: `PUT` replaces the value, `PATCH` merges into it.
            pub fn update_method(self) -> &'static str {
                match self { $(Setting::$name => stringify!($verb),)+ $(Setting::$newer => stringify!($newer_verb)),+ }
            }
        }
    };
}

settings! {
    all {
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
    newer {
        ForeignKeys => "foreign-keys", "foreignKeys", PUT;
    }
}
