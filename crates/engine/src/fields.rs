//! The fields of an index, and what its settings make of each.

use deserr::Deserr;
use milli::{AttributePatterns, Criterion, FilterableAttributesFeatures, OrderBy, PatternMatch, is_faceted_by};
use milli_core as milli;
use serde_json::{Value, json};

use super::deser::{JsonFailure, body, codes};
use super::engine::IndexHandle;
use crate::error::ResponseError;

const DEFAULT_LIMIT: usize = 20;

/// Body of `POST /indexes/{uid}/fields`.
#[derive(Debug, Clone, Deserr)]
#[deserr(error = JsonFailure, rename_all = camelCase, deny_unknown_fields)]
pub struct ListFields {
    #[deserr(default, error = JsonFailure<codes::InvalidIndexOffset>)]
    offset: usize,
    #[deserr(default = DEFAULT_LIMIT, error = JsonFailure<codes::InvalidIndexLimit>)]
    limit: usize,
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilter>)]
    filter: Option<FieldFilter>,
}

/// All that is given must hold.
#[derive(Debug, Clone, Default, Deserr)]
#[deserr(error = JsonFailure<codes::InvalidIndexFieldsFilter>, rename_all = camelCase, deny_unknown_fields)]
struct FieldFilter {
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilterAttributePatterns>)]
    attribute_patterns: Option<AttributePatterns>,
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilterDisplayed>)]
    displayed: Option<bool>,
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilterSearchable>)]
    searchable: Option<bool>,
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilterSortable>)]
    sortable: Option<bool>,
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilterDistinct>)]
    distinct: Option<bool>,
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilterRankingRule>)]
    ranking_rule: Option<bool>,
    #[deserr(default, error = JsonFailure<codes::InvalidIndexFieldsFilterFilterable>)]
    filterable: Option<bool>,
}

/// What settings make of a field.
struct Field {
    name: String,
    displayed: bool,
    searchable: bool,
    sortable: bool,
    distinct: bool,
    /// The directions of the ranking rules that sort by it.
    ranking: Vec<&'static str>,
    features: FilterableAttributesFeatures,
    order: OrderBy,
    locales: Vec<Value>,
}

// === impl ListFields ===

impl ListFields {
    pub fn from_json(bytes: &[u8]) -> Result<Self, ResponseError> {
        body::<Self, codes::BadRequest>(bytes)
    }
}

/// One page of the fields that pass the filter, by name.
pub fn list(handle: &IndexHandle, query: &ListFields) -> Result<Value, ResponseError> {
    let index = &handle.index;
    let txn = index.read_txn()?;
    let displayed = index.displayed_fields(&txn)?;
    let searchable = index.user_defined_searchable_fields(&txn)?;
    let sortable = index.sortable_fields(&txn)?;
    let distinct = index.distinct_field(&txn)?;
    let criteria = index.criteria(&txn)?;
    let filterable = index.filterable_attributes_rules(&txn)?;
    let orders = index.sort_facet_values_by(&txn)?;
    let localized = index.localized_attributes_rules(&txn)?.unwrap_or_default();
    let among = |list: &Option<Vec<&str>>, field: &str| {
        list.as_ref().is_none_or(|list| list.iter().any(|pattern| *pattern == "*" || is_faceted_by(field, pattern)))
    };
    let mut fields: Vec<Field> = index
        .fields_ids_map(&txn)?
        .names()
        .map(|name| {
            let features = filterable.iter().find(|rule| rule.match_str(name) == PatternMatch::Match);
            let rule = localized.iter().find(|rule| rule.match_str(name) == PatternMatch::Match);
            Field {
                name: name.to_owned(),
                displayed: among(&displayed, name),
                searchable: among(&searchable, name),
                sortable: sortable.iter().any(|pattern| is_faceted_by(name, pattern)),
                distinct: distinct == Some(name),
                ranking: criteria.iter().filter_map(|criterion| direction(criterion, name)).collect(),
                features: features.map_or_else(FilterableAttributesFeatures::no_features, |rule| rule.features()),
                order: orders.get(name),
                locales: rule.into_iter().flat_map(|rule| rule.locales.iter().map(|locale| json!(locale))).collect(),
            }
        })
        .collect();
    let filter = query.filter.clone().unwrap_or_default();
    fields.retain(|field| filter.lets_through(field));
    fields.sort_by(|left, right| left.name.cmp(&right.name));
    let page: Vec<Value> = fields.iter().skip(query.offset).take(query.limit).map(Field::to_json).collect();
    Ok(json!({ "results": page, "offset": query.offset, "limit": query.limit, "total": fields.len() }))
}

fn direction(criterion: &Criterion, name: &str) -> Option<&'static str> {
    match criterion {
        Criterion::Asc(field) => (field == name).then_some("asc"),
        Criterion::Desc(field) => (field == name).then_some("desc"),
        Criterion::Words
        | Criterion::Typo
        | Criterion::Proximity
        | Criterion::Attribute
        | Criterion::Sort
        | Criterion::Exactness => None,
    }
}

// === impl FieldFilter ===

impl FieldFilter {
    fn lets_through(&self, field: &Field) -> bool {
        let matches = |patterns: &AttributePatterns| patterns.match_str(&field.name) == PatternMatch::Match;
        let asked = [
            (self.displayed, field.displayed),
            (self.searchable, field.searchable),
            (self.sortable, field.sortable),
            (self.distinct, field.distinct),
            (self.ranking_rule, !field.ranking.is_empty()),
            (self.filterable, field.features.is_filterable()),
        ];
        self.attribute_patterns.as_ref().is_none_or(matches)
            && asked.iter().all(|(wanted, is)| wanted.is_none_or(|wanted| wanted == *is))
    }
}

// === impl Field ===

impl Field {
    fn to_json(&self) -> Value {
        let order = match self.order {
            OrderBy::Lexicographic => "alpha",
            OrderBy::Count => "count",
        };
        let mut ranking = json!({ "enabled": !self.ranking.is_empty() });
        if let Some(direction) = self.ranking.first() {
            ranking["order"] = json!(direction);
        }
        json!({
            "name": self.name,
            "displayed": { "enabled": self.displayed },
            "searchable": { "enabled": self.searchable },
            "sortable": { "enabled": self.sortable },
            "distinct": { "enabled": self.distinct },
            "rankingRule": ranking,
            "filterable": {
                "enabled": self.features.is_filterable(),
                "sortBy": order,
                "facetSearch": self.features.is_facet_searchable(),
                "equality": self.features.is_filterable_equality(),
                "comparison": self.features.is_filterable_comparison(),
            },
            "localized": { "locales": self.locales },
        })
    }
}
