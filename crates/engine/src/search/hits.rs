//! Documents as hits: selected, formatted, with scores, distances and vectors as asked.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use milli::constants::RESERVED_VECTORS_FIELD_NAME;
use milli::heed::RoTxn;
use milli::index::IndexEmbeddingConfig;
use milli::score_details::ScoreDetails;
use milli::tokenizer::{Language, Tokenizer, TokenizerBuilder};
use milli::{
    FieldId, FieldsIdsMap, FormatOptions, Index, InternalError, LocalizedAttributesRule, MatchBounds, MatcherBuilder,
    MatchingWords, PatternMatch,
};
use milli_core as milli;
use serde_json::{Map, Number, Value, json};

use super::params::SearchQuery;
use super::select::{change_leaves, select};
use crate::documents::vectors_of;

/// What of a search decides how its hits look.
#[derive(Debug, Clone, Default)]
pub struct HitFormat {
    pub attributes_to_retrieve: Option<BTreeSet<String>>,
    pub retrieve_vectors: bool,
    pub attributes_to_highlight: HashSet<String>,
    pub attributes_to_crop: Vec<String>,
    pub crop_length: usize,
    pub crop_marker: String,
    pub highlight_pre_tag: String,
    pub highlight_post_tag: String,
    pub show_matches_position: bool,
    pub sort: Vec<String>,
    pub show_ranking_score: bool,
    pub show_ranking_score_details: bool,
    pub locales: Option<Vec<Language>>,
}

/// Words that part and join text, read once for all hits.
pub struct Words {
    dictionary: Option<Vec<String>>,
    separators: Option<Vec<String>>,
}

/// Makes the hits of one search.
pub struct HitMaker<'a> {
    index: &'a Index,
    txn: &'a RoTxn<'a>,
    fields: FieldsIdsMap,
    displayed: BTreeSet<FieldId>,
    retrieved: BTreeSet<FieldId>,
    vectors_field: Option<FieldId>,
    with_vectors: bool,
    embedders: Vec<IndexEmbeddingConfig>,
    matcher: MatcherBuilder<'a>,
    formatted: BTreeMap<FieldId, FormatOptions>,
    localized: Vec<LocalizedAttributesRule>,
    format: HitFormat,
}

/// A value of an attribute, as facets compare it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FacetValue {
    Number(Number),
    Text(String),
}

// === impl FacetValue ===

impl FacetValue {
    fn of(leaf: &Value) -> Option<Self> {
        match leaf {
            Value::Null | Value::Array(_) | Value::Object(_) => None,
            Value::Bool(truth) => Some(Self::Text(truth.to_string())),
            Value::Number(number) => Some(Self::Number(number.clone())),
            Value::String(text) => Some(Self::Text(milli::normalize_facet(text))),
        }
    }
}

// === impl HitFormat ===

impl HitFormat {
    pub fn of(query: &SearchQuery) -> Self {
        Self {
            attributes_to_retrieve: query.attributes_to_retrieve.clone(),
            retrieve_vectors: query.retrieve_vectors,
            attributes_to_highlight: query.attributes_to_highlight.clone().unwrap_or_default(),
            attributes_to_crop: query.attributes_to_crop.clone().unwrap_or_default(),
            crop_length: query.crop_length,
            crop_marker: query.crop_marker.clone(),
            highlight_pre_tag: query.highlight_pre_tag.clone(),
            highlight_post_tag: query.highlight_post_tag.clone(),
            show_matches_position: query.show_matches_position,
            sort: query.sort.clone().unwrap_or_default(),
            show_ranking_score: query.show_ranking_score,
            show_ranking_score_details: query.show_ranking_score_details,
            locales: query.locales.as_ref().map(|locales| locales.iter().map(|locale| locale.language()).collect()),
        }
    }

    /// Which fields are highlighted or cropped; none when nothing is asked, else all retrieved fields are listed.
    fn options(
        &self,
        fields: &FieldsIdsMap,
        displayed: &BTreeSet<FieldId>,
        retrieved: &BTreeSet<FieldId>,
    ) -> BTreeMap<FieldId, FormatOptions> {
        let mut options: BTreeMap<FieldId, FormatOptions> = BTreeMap::new();
        let targets = |name: &str| -> Vec<FieldId> {
            if name == "*" {
                return displayed.iter().copied().collect();
            }
            fields.id(name).filter(|id| displayed.contains(id)).into_iter().collect()
        };
        for name in &self.attributes_to_highlight {
            for id in targets(name) {
                options.entry(id).or_default().highlight = true;
            }
        }
        for attribute in &self.attributes_to_crop {
            let (name, length) = match attribute.rsplit_once(':') {
                Some((name, length)) => (name, length.parse().unwrap_or(self.crop_length)),
                None => (attribute.as_str(), self.crop_length),
            };
            for id in targets(name) {
                options.entry(id).or_default().crop = Some(length);
            }
        }
        if !options.is_empty() {
            for id in retrieved {
                options.entry(*id).or_default();
            }
        }
        options
    }
}

// === impl Words ===

impl Words {
    pub fn of(index: &Index, txn: &RoTxn<'_>) -> milli::Result<Self> {
        Ok(Self {
            dictionary: index.dictionary(txn)?.map(|words| words.into_iter().collect()),
            separators: index.allowed_separators(txn)?.map(|tokens| tokens.into_iter().collect()),
        })
    }

    pub fn borrowed(&self) -> (Option<Vec<&str>>, Option<Vec<&str>>) {
        let dictionary = self.dictionary.as_ref().map(|words| words.iter().map(String::as_str).collect());
        let separators = self.separators.as_ref().map(|words| words.iter().map(String::as_str).collect());
        (dictionary, separators)
    }
}

/// The tokenizer that finds a query's words in documents.
pub fn tokenizer<'b>(dictionary: Option<&'b [&'b str]>, separators: Option<&'b [&'b str]>) -> Tokenizer<'b> {
    let mut builder = TokenizerBuilder::<Vec<u8>>::default();
    builder.create_char_map(true);
    if let Some(separators) = separators {
        builder.separators(separators);
    }
    if let Some(dictionary) = dictionary {
        builder.words_dict(dictionary);
    }
    builder.into_tokenizer()
}

/// The hits of `documents`, in their order.
pub fn make_hits<'s>(
    index: &Index,
    txn: &RoTxn<'_>,
    format: HitFormat,
    matching: MatchingWords,
    documents: impl Iterator<Item = (u32, &'s [ScoreDetails])>,
) -> milli::Result<Vec<Value>> {
    let words = Words::of(index, txn)?;
    let (dictionary, separators) = words.borrowed();
    let matcher = MatcherBuilder::new(matching, tokenizer(dictionary.as_deref(), separators.as_deref()));
    let maker = HitMaker::new(index, txn, format, matcher)?;
    documents.map(|(id, scores)| maker.make(id, scores).map(Value::Object)).collect()
}

// === impl HitMaker ===

impl<'a> HitMaker<'a> {
    pub fn new(
        index: &'a Index,
        txn: &'a RoTxn<'a>,
        format: HitFormat,
        mut matcher: MatcherBuilder<'a>,
    ) -> milli::Result<Self> {
        matcher.crop_marker(format.crop_marker.clone());
        matcher.highlight_prefix(format.highlight_pre_tag.clone());
        matcher.highlight_suffix(format.highlight_post_tag.clone());

        let fields = index.fields_ids_map(txn)?;
        let listed: Option<BTreeSet<FieldId>> = index.displayed_fields_ids(txn)?.map(|ids| ids.into_iter().collect());
        let vectors_field = fields.id(RESERVED_VECTORS_FIELD_NAME);
        let vectors_hidden = match (&listed, vectors_field) {
            (None, _) => false,
            (Some(_), None) => {
                let names = index.displayed_fields(txn)?.unwrap_or_default();
                !names.contains(&RESERVED_VECTORS_FIELD_NAME)
            }
            // The engine reads this list the wrong way round; so do its clients' expectations.
            (Some(listed), Some(id)) => listed.contains(&id),
        };
        let displayed = listed.unwrap_or_else(|| fields.iter().map(|(id, _)| id).collect());
        let retrieved: BTreeSet<FieldId> = match &format.attributes_to_retrieve {
            None => displayed.clone(),
            Some(names) if names.contains("*") => displayed.clone(),
            Some(names) => {
                let ids: BTreeSet<FieldId> = names.iter().filter_map(|name| fields.id(name)).collect();
                ids.intersection(&displayed).copied().collect()
            }
        };
        let formatted = format.options(&fields, &displayed, &retrieved);
        Ok(Self {
            index,
            txn,
            displayed,
            retrieved,
            vectors_field,
            with_vectors: format.retrieve_vectors && !vectors_hidden,
            embedders: index.embedding_configs(txn)?,
            matcher,
            formatted,
            localized: index.localized_attributes_rules(txn)?.unwrap_or_default(),
            fields,
            format,
        })
    }

    pub fn make(&self, id: u32, scores: &[ScoreDetails]) -> milli::Result<Map<String, Value>> {
        let shown = self.shown(id)?;
        let vectors = self.vectors_field;
        let names = self
            .retrieved
            .iter()
            .copied()
            .filter(|field| self.with_vectors || Some(*field) != vectors)
            .chain(vectors.filter(|_| self.with_vectors))
            .map(|field| self.name(field));
        let mut hit = select(&shown, names);
        if self.with_vectors {
            let own = hit.remove(RESERVED_VECTORS_FIELD_NAME);
            let all = vectors_of(self.index, self.txn, id, &self.embedders, own)?;
            hit.insert(RESERVED_VECTORS_FIELD_NAME.to_owned(), Value::Object(all));
        }
        let (positions, formatted) = self.formatted(shown);
        if let Some(distance) = geo_distance(&self.format.sort, &hit) {
            hit.insert("_geoDistance".to_owned(), json!(distance));
        }
        if !formatted.is_empty() {
            hit.insert("_formatted".to_owned(), Value::Object(formatted));
        }
        if let Some(positions) = positions {
            hit.insert("_matchesPosition".to_owned(), json!(positions));
        }
        if self.format.show_ranking_score {
            hit.insert("_rankingScore".to_owned(), json!(ScoreDetails::global_score(scores.iter())));
        }
        if self.format.show_ranking_score_details {
            let details = ScoreDetails::to_json_map(scores.iter());
            hit.insert("_rankingScoreDetails".to_owned(), Value::Object(details));
        }
        Ok(hit)
    }

    /// The values of a document by which `distinct` on `attribute` tells it from others.
    pub fn distinct_values(&self, id: u32, attribute: &str) -> milli::Result<HashSet<FacetValue>> {
        let mut document = self.stored(id)?;
        let mut values = HashSet::new();
        change_leaves(&mut document, &[attribute], &mut |path, _, leaf| {
            values.extend(FacetValue::of(leaf).filter(|_| path == attribute));
        });
        Ok(values)
    }

    /// The document with all fields that may be shown.
    fn shown(&self, id: u32) -> milli::Result<Map<String, Value>> {
        let document = self.stored(id)?;
        Ok(select(&document, self.displayed.iter().map(|field| self.name(*field))))
    }

    fn stored(&self, id: u32) -> milli::Result<Map<String, Value>> {
        let stored = self.index.document(self.txn, id)?;
        let mut document = Map::new();
        for (field, value) in stored.iter() {
            let value = serde_json::from_slice(value).map_err(InternalError::SerdeJson)?;
            document.insert(self.name(field).to_owned(), value);
        }
        Ok(document)
    }

    fn name(&self, field: FieldId) -> &str {
        self.fields.name(field).expect("the map names every field that the index stores")
    }

    /// `_matchesPosition` and `_formatted`; the latter empty when nothing is formatted.
    fn formatted(
        &self,
        mut document: Map<String, Value>,
    ) -> (Option<BTreeMap<String, Vec<MatchBounds>>>, Map<String, Value>) {
        let mut positions = self.format.show_matches_position.then(BTreeMap::new);
        if positions.is_none() && self.formatted.is_empty() {
            return (None, Map::new());
        }
        let rules: Vec<(&str, FormatOptions)> = self
            .formatted
            .iter()
            .filter(|(_, options)| options.should_format())
            .map(|(field, options)| (self.name(*field), *options))
            .collect();
        let names: Vec<&str> = self.displayed.iter().map(|field| self.name(*field)).collect();
        change_leaves(&mut document, &names, &mut |path, places, value| {
            // A rule for `doggo` and one for `doggo.name` both reach the name.
            let options = rules
                .iter()
                .filter(|(name, _)| milli::is_faceted_by(name, path) || milli::is_faceted_by(path, name))
                .map(|(_, options)| *options)
                .reduce(FormatOptions::merge);
            let locales = self.format.locales.as_deref().or_else(|| {
                let rule = self.localized.iter().find(|rule| rule.match_str(path) == PatternMatch::Match);
                rule.map(LocalizedAttributesRule::locales)
            });
            let mut found = Vec::new();
            let text = match value {
                Value::String(text) => std::mem::take(text),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return,
            };
            let mut matcher = self.matcher.build(&text, locales);
            if positions.is_some() {
                found = matcher.matches(places);
            }
            let text = match options {
                Some(options) => matcher.format(options).into_owned(),
                None => text.clone(),
            };
            *value = Value::String(text);
            if let Some(positions) = positions.as_mut()
                && !found.is_empty()
            {
                positions.insert(path.to_owned(), found);
            }
        });
        let formatted = select(&document, self.formatted.keys().map(|field| self.name(*field)));
        (positions, formatted)
    }
}

/// Metres to the first point that the search sorts by, when the hit shows where it is.
fn geo_distance(sort: &[String], hit: &Map<String, Value>) -> Option<usize> {
    let base = sort.iter().find_map(|criterion| point_of(criterion))?;
    let place = hit.get("_geo")?;
    let coordinate = |name: &str| match place.get(name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let point = [coordinate("lat")?, coordinate("lng")?];
    Some(milli::distance_between_two_points(&base, &point).round() as usize)
}

/// The two numbers of `_geoPoint(lat, lng)`.
fn point_of(criterion: &str) -> Option<[f64; 2]> {
    let (_, rest) = criterion.split_once("_geoPoint(")?;
    let (inside, _) = rest.split_once(')')?;
    let (lat, lng) = inside.split_once(',')?;
    Some([lat.trim().parse().ok()?, lng.trim().parse().ok()?])
}
