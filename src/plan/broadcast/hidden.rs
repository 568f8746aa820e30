//! What Miroir keeps in the settings of every index, beside what the client set.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::meili::settings::Setting;
use crate::placement::joins;
use crate::placement::shard::SHARD_FIELD;
use crate::placement::templates;
use crate::placement::written::{WRITTEN_FIELD, WRITTEN_RULE};
use crate::split::vectors::Source;

/// The hidden part of an index's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HiddenSettings {
    /// The engine's own default rules, where Miroir has a last rule that breaks ties; `None` where it has not.
    default_rules: Option<&'static [&'static str]>,
    guard: Guard,
}

/// Whether templates of embedders get a guard that keeps hidden fields out of what is embedded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Guard {
    #[default]
    Given,
    /// The nodes' engine takes no template that looks at the name of a field.
    Refused,
}

/// The setting `search.tie_break`: how documents stand that tie on every ranking rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TieBreak {
    /// In the order in which they were written, by a hidden last ranking rule.
    Written,
    /// In the order of the replica that answers.
    Replica,
}

/// What is to be taken out of a setting that a node shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HiddenPart {
    /// The item that makes documents filterable by their shards.
    Filterable,
    /// Names of fields and rules in a list.
    Names,
    /// What keeps hidden fields out of the texts that are embedded.
    Templates,
    /// The same of the only template that a setting has.
    Template,
    /// What keeps nodes from joining documents themselves.
    Joins,
}

/// What every index's `filterableAttributes` has on the nodes besides what the client set.
pub fn hidden_filterable() -> Value {
    json!({
        "attributePatterns": [SHARD_FIELD],
        "features": {"facetSearch": false, "filter": {"equality": true, "comparison": false}},
    })
}

/// True for the item that [`hidden_filterable`] makes, in whatever form a node shows it.
pub fn is_hidden_filterable(item: &Value) -> bool {
    item.as_str() == Some(SHARD_FIELD)
        || item
            .get("attributePatterns")
            .and_then(Value::as_array)
            .is_some_and(|patterns| patterns.len() == 1 && patterns[0] == SHARD_FIELD)
}

// === impl HiddenPart ===

impl HiddenPart {
    /// `None` where all of a setting is the client's.
    pub fn of(setting: Setting) -> Option<Self> {
        match setting {
            Setting::FilterableAttributes => Some(Self::Filterable),
            Setting::RankingRules | Setting::DisplayedAttributes => Some(Self::Names),
            Setting::Embedders => Some(Self::Templates),
            Setting::Chat => Some(Self::Template),
            Setting::ForeignKeys => Some(Self::Joins),
            Setting::SearchableAttributes
            | Setting::SortableAttributes
            | Setting::StopWords
            | Setting::NonSeparatorTokens
            | Setting::SeparatorTokens
            | Setting::Dictionary
            | Setting::Synonyms
            | Setting::DistinctAttribute
            | Setting::ProximityPrecision
            | Setting::TypoTolerance
            | Setting::Faceting
            | Setting::Pagination
            | Setting::SearchCutoffMs
            | Setting::LocalizedAttributes
            | Setting::FacetSearch
            | Setting::PrefixSearch => None,
        }
    }
}

// === impl HiddenSettings ===

impl HiddenSettings {
    /// Ties broken by the order of writes, on an engine whose default rules are these.
    pub fn breaking_ties(default_rules: &'static [&'static str]) -> Self {
        Self { default_rules: Some(default_rules), ..Self::default() }
    }

    /// The same with `guard`.
    pub fn guarding(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// For an index that has just been made.
    pub fn of_new_index(&self) -> Map<String, Value> {
        let mut settings = Map::from_iter([(key(Setting::FilterableAttributes), json!([hidden_filterable()]))]);
        let rules = self.value(Setting::RankingRules, &Value::Null);
        settings.extend(Some((key(Setting::RankingRules), rules)).filter(|(_, rules)| !rules.is_null()));
        settings
    }

    /// A client's `settings` as nodes are sent them.
    pub fn complete(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        let setting = |name: &str| Setting::ALL.iter().chain(Setting::NEWER).find(|setting| setting.key() == name);
        let complete = |(name, value): (&String, &Value)| {
            (name.clone(), setting(name).map_or_else(|| value.clone(), |setting| self.value(*setting, value)))
        };
        settings.iter().map(complete).collect()
    }

    /// A client's `value` of one setting as nodes are sent it; null is the default. What is no list is left for the nodes
    /// to refuse.
    pub fn value(&self, setting: Setting, value: &Value) -> Value {
        match (setting, value, self.default_rules) {
            (Setting::FilterableAttributes, Value::Null, _) => json!([hidden_filterable()]),
            (Setting::FilterableAttributes, Value::Array(items), _) => with(items, hidden_filterable()),
            (Setting::RankingRules, Value::Null, Some(rules)) => {
                rules.iter().copied().chain([WRITTEN_RULE]).map(Value::from).collect()
            }
            (Setting::RankingRules, Value::Array(rules), Some(_)) => with(rules, WRITTEN_RULE.into()),
            // An engine shows by what it sorted only where it may show the field.
            (Setting::DisplayedAttributes, Value::Array(names), Some(_)) if !names.iter().any(|name| name == "*") => {
                with(names, WRITTEN_FIELD.into())
            }
            (Setting::Embedders, embedders, _) if self.guard == Guard::Given => guarded(embedders),
            (Setting::Chat, chat, _) if self.guard == Guard::Given => {
                let mut chat = chat.clone();
                templates::each(&mut chat, &templates::guarded);
                chat
            }
            (Setting::ForeignKeys, keys, _) => joins::kept(keys),
            (_, value, _) => value.clone(),
        }
    }

    /// True if the default of `setting` is not the engine's own.
    pub fn has_default(&self, setting: Setting) -> bool {
        !self.value(setting, &Value::Null).is_null()
    }

    /// What of the settings that an index has on a node must be changed for it to have the hidden part.
    pub fn missing(&self, held: &Map<String, Value>) -> Map<String, Value> {
        let mut change = Map::new();
        for setting in [Setting::FilterableAttributes, Setting::RankingRules, Setting::DisplayedAttributes] {
            let value = held.get(setting.key()).cloned().unwrap_or_default();
            let mut shown = value.clone();
            if let Value::Array(items) = &mut shown {
                items.retain(|item| !is_hidden(item));
            }
            let wanted = self.value(setting, &shown);
            let has = |list: &Value| list.as_array().is_some_and(|items| items.iter().any(is_hidden));
            if has(&wanted) != has(&value) {
                change.insert(key(setting), wanted);
            }
        }
        if let Some(keys) = held.get(Setting::ForeignKeys.key()) {
            let wanted = joins::kept(keys);
            change.extend(Some((key(Setting::ForeignKeys), wanted)).filter(|(_, wanted)| wanted != keys));
        }
        change
    }
}

/// Embedders with guarded templates; one that is reset gets the engine's own.
fn guarded(embedders: &Value) -> Value {
    let mut embedders = embedders.clone();
    for embedder in embedders.as_object_mut().into_iter().flat_map(|embedders| embedders.values_mut()) {
        without_null(embedder);
        if let Some(inner) = embedder.get_mut("indexingEmbedder") {
            without_null(inner);
        }
    }
    templates::each_of_embedders(&mut embedders, &templates::guarded);
    embedders
}

fn without_null(embedder: &mut Value) {
    if let Some(template) = embedder.get_mut("documentTemplate").filter(|template| template.is_null()) {
        *template = templates::DEFAULT.into();
    }
}

/// Gives each embedder that a step makes, and that says no template, the engine's own, guarded. `held` tells where the vectors of the
/// index's embedder of that name come from: one that makes them keeps its template, and what is not told its source keeps that.
pub fn give_templates(setting: Option<Setting>, body: &mut Value, held: &dyn Fn(&str) -> Option<Source>) {
    let embedders = match setting {
        None => body.get_mut("embedders"),
        Some(Setting::Embedders) => Some(body),
        Some(_) => None,
    };
    for (name, embedder) in embedders.and_then(Value::as_object_mut).into_iter().flatten() {
        let says_source = embedder.get("source").is_some();
        match held(name) {
            Some(Source::Generated) => continue,
            Some(Source::UserProvided) if !says_source => continue,
            Some(Source::UserProvided) | None => {}
        }
        let of_documents = match embedder.get("source").and_then(Value::as_str) {
            Some("composite") => embedder.get_mut("indexingEmbedder"),
            _ => Some(embedder),
        };
        if let Some(Value::Object(embedder)) = of_documents
            && takes_template(embedder)
        {
            embedder.insert("documentTemplate".to_owned(), templates::guarded(templates::DEFAULT).into());
        }
    }
}

/// True for an embedder that is given none, and that the engine would give one.
fn takes_template(embedder: &Map<String, Value>) -> bool {
    // Without a source it is one of OpenAI.
    let source = embedder.get("source").map_or(Some("openAi"), Value::as_str);
    let fragments = embedder.get("indexingFragments").is_some_and(|fragments| !fragments.is_null());
    matches!(source, Some("openAi" | "ollama" | "huggingFace" | "rest"))
        && !fragments
        && !embedder.contains_key("documentTemplate")
}

fn is_hidden(item: &Value) -> bool {
    is_hidden_filterable(item) || item == WRITTEN_RULE || item == WRITTEN_FIELD
}

fn with(items: &[Value], hidden: Value) -> Value {
    items.iter().cloned().chain([hidden]).collect()
}

fn key(setting: Setting) -> String {
    setting.key().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    const TIES: HiddenSettings = HiddenSettings { default_rules: Some(&["words", "typo"]), guard: Guard::Given };
    const NONE: HiddenSettings = HiddenSettings { default_rules: None, guard: Guard::Given };

    #[test]
    fn an_engine_that_takes_no_guard_gets_templates_as_they_are() {
        let embedders =
            json!({"a": {"source": "rest", "documentTemplate": "{% for f in fields %}{{ f.value }}{% endfor %}"}});
        let sent = |guard| HiddenSettings::default().guarding(guard).value(Setting::Embedders, &embedders);
        assert_eq!(sent(Guard::Refused), embedders);
        assert_ne!(sent(Guard::Given), embedders);
    }

    #[test]
    fn a_new_index_gets_the_hidden_part() {
        assert_eq!(
            Value::Object(TIES.of_new_index()),
            json!({"filterableAttributes": [hidden_filterable()], "rankingRules": ["words", "typo", WRITTEN_RULE]})
        );
        assert_eq!(Value::Object(NONE.of_new_index()), json!({"filterableAttributes": [hidden_filterable()]}));
    }

    #[test]
    fn what_a_client_sets_keeps_the_hidden_part() {
        let set = map(json!({"filterableAttributes": ["a"], "rankingRules": ["words"], "displayedAttributes": ["b"],
            "stopWords": ["c"]}));
        assert_eq!(
            Value::Object(TIES.complete(&set)),
            json!({"filterableAttributes": ["a", hidden_filterable()], "rankingRules": ["words", WRITTEN_RULE],
                "displayedAttributes": ["b", WRITTEN_FIELD], "stopWords": ["c"]})
        );
        assert_eq!(
            Value::Object(NONE.complete(&set)),
            json!({"filterableAttributes": ["a", hidden_filterable()], "rankingRules": ["words"],
                "displayedAttributes": ["b"], "stopWords": ["c"]})
        );
        let reset = map(json!({"filterableAttributes": null, "rankingRules": null, "displayedAttributes": null}));
        assert_eq!(
            Value::Object(TIES.complete(&reset)),
            json!({"filterableAttributes": [hidden_filterable()], "rankingRules": ["words", "typo", WRITTEN_RULE],
                "displayedAttributes": null})
        );
        let wrong = map(json!({"filterableAttributes": 1, "rankingRules": "x", "displayedAttributes": ["*"]}));
        assert_eq!(TIES.complete(&wrong), wrong);
    }

    #[test]
    fn what_an_index_lacks_is_found() {
        let plain =
            map(json!({"filterableAttributes": ["a"], "rankingRules": ["words"], "displayedAttributes": ["b"]}));
        let complete = TIES.complete(&plain);
        assert_eq!(TIES.missing(&plain), complete);
        assert_eq!(TIES.missing(&complete), Map::new());
        let keys = |field: &str| map(json!({"foreignKeys": [{"foreignIndexUid": "a", "fieldName": field}]}));
        let joined = |field: &str| -> Map<String, Value> { complete.clone().into_iter().chain(keys(field)).collect() };
        assert_eq!(TIES.missing(&joined("x")), keys("_miroir_key_x"), "a node would join by itself");
        assert_eq!(TIES.missing(&joined("_miroir_key_x")), Map::new());
        let without = map(json!({"rankingRules": ["words"], "displayedAttributes": ["b"]}));
        assert_eq!(NONE.missing(&complete), without, "ties are not broken any more");
    }

    #[test]
    fn embedders_are_given_templates_that_leave_hidden_fields_out() {
        let sent = TIES.value(
            Setting::Embedders,
            &json!({"a": {"documentTemplate": "{% for f in fields %}{% endfor %}"}, "b": {"documentTemplate": null}, "c": null}),
        );
        let template = |name: &str| sent[name]["documentTemplate"].as_str().unwrap();
        assert!(template("a").contains("_miroir_"));
        assert_eq!(template("b"), templates::guarded(templates::DEFAULT));
        assert_eq!(sent["c"], Value::Null);
        let chat = map(json!({"chat": {"documentTemplate": "{% for f in fields %}{% endfor %}"}}));
        assert!(TIES.complete(&chat)["chat"].to_string().contains("_miroir_"));
    }

    #[test]
    fn only_new_embedders_without_a_template_get_the_engines_own() {
        let mut body = json!({"embedders": {
            "new": {"source": "openAi"},
            "unsaid": {"apiKey": "x"},
            "old": {"source": "openAi", "apiKey": "y"},
            "own": {"source": "rest", "documentTemplate": "x"},
            "pieces": {"source": "rest", "indexingFragments": {"a": {}}},
            "manual": {"source": "userProvided", "dimensions": 2},
            "given": {"distribution": {"mean": 0.9, "sigma": 0.1}},
            "now": {"source": "rest"},
            "both": {"source": "composite", "indexingEmbedder": {"source": "ollama"}, "searchEmbedder": {"source": "ollama"}},
            "gone": null,
        }});
        give_templates(None, &mut body, &|name| match name {
            "old" => Some(Source::Generated),
            "given" | "now" => Some(Source::UserProvided),
            _ => None,
        });
        let embedders = &body["embedders"];
        let has = |at: &str| embedders.pointer(at).is_some_and(|embedder| embedder["documentTemplate"].is_string());
        let with: Vec<&str> =
            ["/new", "/unsaid", "/own", "/now", "/both/indexingEmbedder"].into_iter().filter(|at| has(at)).collect();
        assert_eq!(with.len(), 5, "{with:?}");
        assert_eq!(embedders["own"]["documentTemplate"], "x");
        for without in ["/old", "/pieces", "/manual", "/given", "/both", "/both/searchEmbedder", "/gone"] {
            assert!(!has(without), "{without}");
        }
        let mut alone = json!({"new": {"source": "openAi"}});
        give_templates(Some(Setting::Embedders), &mut alone, &|_| None);
        assert!(alone["new"]["documentTemplate"].is_string());
    }
}
