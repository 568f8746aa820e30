//! Settings read, set and reset.

use miroir_words::settings::Setting;
use serde_json::json;

use super::Node;
use crate::engine::Features;
use crate::indexing::IndexOperation;
use crate::settings;

#[test]
fn default_settings_read_as_the_engines() {
    let node = Node::new();
    node.engine.create("movies", None).unwrap();
    assert_eq!(
        settings::get(&node.index()).unwrap().to_string(),
        concat!(
            r#"{"displayedAttributes":["*"],"searchableAttributes":["*"],"filterableAttributes":[],"#,
            r#""sortableAttributes":[],"rankingRules":["words","typo","proximity","attribute","sort","exactness"],"#,
            r#""stopWords":[],"nonSeparatorTokens":[],"separatorTokens":[],"dictionary":[],"synonyms":{},"#,
            r#""distinctAttribute":null,"proximityPrecision":"byWord","typoTolerance":{"enabled":true,"#,
            r#""minWordSizeForTypos":{"oneTypo":5,"twoTypos":9},"disableOnWords":[],"disableOnAttributes":[],"#,
            r#""disableOnNumbers":false},"faceting":{"maxValuesPerFacet":100,"sortFacetValuesBy":{"*":"alpha"}},"#,
            r#""pagination":{"maxTotalHits":1000},"embedders":{},"searchCutoffMs":null,"localizedAttributes":null,"#,
            r#""facetSearch":true,"prefixSearch":"indexingTime"}"#
        )
    );
}

#[test]
fn every_setting_comes_back_as_it_was_set_and_resets() {
    let node = Node::new();
    node.engine.create("movies", None).unwrap();
    let before = settings::get(&node.index()).unwrap();
    let update = json!({
        "displayedAttributes": ["id", "title"], "searchableAttributes": ["title"],
        "filterableAttributes": ["year", {"attributePatterns": ["_miroir_shard"], "features": {"facetSearch": false, "filter": {"equality": true, "comparison": false}}}],
        "sortableAttributes": ["title", "year"], "rankingRules": ["words", "year:desc"],
        "stopWords": ["a", "the"], "nonSeparatorTokens": ["#"], "separatorTokens": ["&"], "dictionary": ["J. R. R."],
        "synonyms": {"film": ["movie"]}, "distinctAttribute": "year", "proximityPrecision": "byAttribute",
        "typoTolerance": {"enabled": false, "minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 8}, "disableOnWords": ["x"], "disableOnAttributes": ["title"], "disableOnNumbers": true},
        "faceting": {"maxValuesPerFacet": 7, "sortFacetValuesBy": {"*": "count", "year": "alpha"}},
        "pagination": {"maxTotalHits": 50},
        "embedders": {"own": {"source": "userProvided", "dimensions": 2}},
        "searchCutoffMs": 150, "localizedAttributes": [{"attributePatterns": ["title*"], "locales": ["eng", "fra"]}],
        "facetSearch": false, "prefixSearch": "disabled"
    });
    node.set(update.clone());
    let after = settings::get(&node.index()).unwrap();
    for (name, value) in update.as_object().unwrap() {
        assert_eq!(after[name], *value, "{name}");
    }
    assert_eq!(settings::get_one(&node.index(), Setting::SearchCutoffMs).unwrap(), json!(150));
    assert_eq!(node.one(IndexOperation::Settings { settings: settings::reset() }).error, None);
    let mut after = settings::get(&node.index()).unwrap();
    // The engine's reset of all typo settings leaves this one alone.
    assert_eq!(after["typoTolerance"]["disableOnNumbers"], json!(true));
    after["typoTolerance"]["disableOnNumbers"] = json!(false);
    assert_eq!(after, before);
}

#[test]
fn settings_are_refused_with_the_engines_words() {
    let refuse = |body: &str| settings::parse_update(body.as_bytes(), Features::default()).unwrap_err();
    let error = refuse(r#"{"rankingRules":["words","bogus"]}"#);
    assert_eq!(error.code, "invalid_settings_ranking_rules");
    assert_eq!(
        error.message,
        "Invalid value at `.rankingRules[1]`: `bogus` ranking rule is invalid. Valid ranking rules are words, typo, sort, proximity, attribute, exactness and custom ranking rules."
    );
    let error = refuse(r#"{"pagination":{"maxTotalHits":0}}"#);
    assert_eq!(error.code, "invalid_settings_pagination");
    let error = refuse(r#"{"typoTolerance":{"minWordSizeForTypos":{"oneTypo":9,"twoTypos":3}}}"#);
    assert_eq!(error.code, "invalid_settings_typo_tolerance");
    assert_eq!(
        error.message,
        "Invalid value at `.typoTolerance.minWordSizeForTypos`: `minWordSizeForTypos` setting is invalid. `oneTypo` and `twoTypos` fields should be between `0` and `255`, and `twoTypos` should be greater or equals to `oneTypo` but found `oneTypo: 9` and twoTypos: 3`."
    );
    let error = refuse(r#"{"prefixSearch":"never"}"#);
    assert_eq!(error.message, "Unknown value `never` at `.prefixSearch`: expected one of `indexingTime`, `disabled`");
    let error = refuse(r#"{"synonims":{}}"#);
    assert_eq!(error.code, "bad_request");
    assert!(
        error
            .message
            .starts_with("Unknown field `synonims`: did you mean `synonyms`? expected one of `displayedAttributes`,"),
        "{}",
        error.message
    );
    let error = settings::parse_one(Setting::StopWords, br#"{"a":1}"#, Features::default()).unwrap_err();
    assert_eq!(error.code, "invalid_settings_stop_words");
    assert_eq!(error.message, "Invalid value type: expected an array, but found an object: `{\"a\":1}`");
    let reset = settings::parse_one(Setting::StopWords, b"null", Features::default()).unwrap();
    assert_eq!(reset, json!({"stopWords": null}));
    let error = refuse(r#"{"chat":{}}"#);
    assert_eq!(error.code, "feature_not_enabled");
}
