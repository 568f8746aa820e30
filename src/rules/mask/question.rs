//! Requests that name what is masked are refused; words are not looked for in it.

use serde_json::{Map, Value};

use super::expression;
use super::hidden::{Hidden, HiddenIn, refusal};
use crate::meili::error::ResponseError;
use crate::rules::asked::{Asked, Part};
use crate::rules::deed;

/// The attributes of an index in which words are looked for.
pub type WordsOf<'a> = dyn Fn(&str) -> Vec<String> + 'a;

const SEARCH_ON: &str = "attributesToSearchOn";

/// The indexes of searches for words.
pub fn searched(hidden_in: &HiddenIn<'_>, asked: &Asked) -> Vec<String> {
    let parts = std::iter::once(&asked.whole).chain(&asked.queries);
    let of_words = parts.filter(|part| part.parameters.as_ref().is_some_and(|search| has_words(part.deed, search)));
    let indexes = of_words.filter_map(|part| part.index.clone());
    indexes.filter(|index| !hidden_in(index).is_empty()).collect()
}

/// Refuses what names something masked. What is masked in each part.
pub fn close(
    hidden_in: &HiddenIn<'_>,
    asked: &mut Asked,
    words_of: &WordsOf<'_>,
) -> Result<Vec<Hidden>, ResponseError> {
    let mut all = Hidden::default();
    let mut parts = Vec::new();
    for (place, query) in asked.queries.iter_mut().enumerate() {
        let hidden = hidden_in(query.index.as_deref().unwrap_or_default());
        close_part(query, &hidden, words_of).map_err(|mut error| {
            error.message = format!("Inside `.queries[{place}]`: {}", error.message);
            error
        })?;
        all.add(&hidden);
        parts.push(hidden);
    }
    if asked.whole.deed == "multiSearch" {
        for (index, names) in asked.faceted() {
            let hidden = hidden_in(&index);
            refuse_names(&names, &hidden, "it cannot be counted")?;
        }
        let distinct: Vec<String> = asked.federation_distinct().into_iter().collect();
        refuse_names(&distinct, &all, "hits cannot be told apart by it")?;
    } else {
        let hidden = asked.whole.index.as_deref().map(hidden_in).unwrap_or_default();
        close_part(&mut asked.whole, &hidden, words_of)?;
        parts.push(hidden);
    }
    Ok(parts)
}

fn close_part(part: &mut Part, hidden: &Hidden, words_of: &WordsOf<'_>) -> Result<(), ResponseError> {
    let Some(search) = part.parameters.as_ref().filter(|_| !hidden.is_empty()) else { return Ok(()) };
    if let Some(name) = search.get("filter").and_then(|filter| expression::masked(filter, hidden)) {
        return Err(refusal(name, "it cannot be filtered by"));
    }
    let sorted: Vec<String> = texts(search, "sort").map(|rule| sorted_by(rule).to_owned()).collect();
    refuse_names(&sorted, hidden, "it cannot be sorted by")?;
    let facets: Vec<String> = texts(search, "facets").filter(|name| !name.contains('*')).map(str::to_owned).collect();
    refuse_names(&facets, hidden, "it cannot be counted")?;
    for (parameter, what) in [("distinct", "hits cannot be told apart by it"), ("facetName", "it has no facets")] {
        let name = search.get(parameter).and_then(Value::as_str).map(str::to_owned);
        refuse_names(&name.into_iter().collect::<Vec<_>>(), hidden, what)?;
    }
    if !has_words(part.deed, search) {
        return Ok(());
    }
    let named: Option<Vec<&str>> =
        search.get(SEARCH_ON).and_then(Value::as_array).map(|_| texts(search, SEARCH_ON).collect());
    let plain: Vec<String> =
        named.iter().flatten().filter(|name| !name.contains('*')).map(|name| (*name).to_owned()).collect();
    refuse_names(&plain, hidden, "words cannot be looked for in it")?;
    let index = part.index.clone().unwrap_or_default();
    let open: Vec<String> = words_of(&index).into_iter().filter(|name| !hidden.touches(name)).collect();
    let on: Vec<String> = match named {
        None => open,
        Some(named) if plain.len() == named.len() => return Ok(()),
        Some(named) => {
            let fits = |name: &str| {
                named.iter().any(|pattern| match pattern.split_once('*') {
                    Some((start, _)) => name.starts_with(start),
                    None => name == *pattern,
                })
            };
            open.into_iter().filter(|name| fits(name)).collect()
        }
    };
    if on.is_empty() {
        let message = "no other attribute of the index is searched, so no words can be looked for";
        return Err(refusal(&format!("attributes of {index}"), message));
    }
    part.set(SEARCH_ON, on.into());
    Ok(())
}

/// True for a search that looks for words.
fn has_words(deed: &str, search: &Map<String, Value>) -> bool {
    [deed::SEARCH, deed::FACET_SEARCH].contains(&deed)
        && search.get("q").is_some_and(|q| !q.is_null() && q.as_str() != Some(""))
}

fn refuse_names(names: &[String], hidden: &Hidden, what: &str) -> Result<(), ResponseError> {
    match names.iter().find(|name| hidden.touches(name)) {
        Some(name) => Err(refusal(name, what)),
        None => Ok(()),
    }
}

fn texts<'s>(search: &'s Map<String, Value>, name: &str) -> impl Iterator<Item = &'s str> {
    search.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// `cost:asc` sorts by `cost`, `_geoPoint(1,2):asc` by the place.
fn sorted_by(rule: &str) -> &str {
    let rule = rule.trim();
    if rule.starts_with("_geo") { "_geo" } else { rule.rsplit_once(':').map_or(rule, |(name, _)| name.trim()) }
}
