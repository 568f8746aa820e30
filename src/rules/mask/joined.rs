//! What is masked in documents of other indexes that hits show in the place of their ids: it is masked there too, and no filter asks
//! for it.

use super::hidden::{Hidden, HiddenIn, refusal};
use crate::meili::error::ResponseError;
use crate::placement::joins::Key;
use crate::plan::foreign_filter::NAME;
use crate::rules::asked::{Asked, Part};

/// The fields of an index that name documents of others.
pub type KeysOf<'a> = dyn Fn(&str) -> Vec<Key> + 'a;

/// The indexes of a request's searches.
pub fn indexes(asked: &Asked) -> Vec<String> {
    parts(asked).into_iter().filter(|part| part.parameters.is_some()).filter_map(|part| part.index.clone()).collect()
}

/// Adds to what is masked in each part what is masked in the documents that its hits show.
pub fn close(
    hidden_in: &HiddenIn<'_>,
    asked: &Asked,
    keys_of: &KeysOf<'_>,
    masked: &mut [Hidden],
) -> Result<(), ResponseError> {
    for (part, masked) in parts(asked).into_iter().zip(masked) {
        let Some(index) = part.index.as_deref() else { continue };
        let keys = keys_of(index);
        for (at, key) in keys.iter().enumerate() {
            let hidden = hidden_in(&key.foreign);
            if hidden.is_empty() {
                continue;
            }
            let filter = part.parameters.as_ref().and_then(|search| search.get("filter"));
            if filter.is_some_and(|filter| filter.to_string().contains(NAME)) {
                return Err(refusal(&key.foreign, "its documents cannot be filtered by"));
            }
            // A document may stand in another one then, and deeper.
            let mut others = keys.iter().enumerate().filter(|(other, _)| *other != at);
            let alone = !others.any(|(_, other)| touch(&other.field, &key.field));
            masked.add(&if alone { hidden.below(&key.field) } else { Hidden::all_below(&key.field) });
        }
    }
    Ok(())
}

/// Those of which each has hits of its own.
fn parts(asked: &Asked) -> Vec<&Part> {
    if asked.whole.deed == "multiSearch" { asked.queries.iter().collect() } else { vec![&asked.whole] }
}

/// True if one of the fields is the other one, or lies in it.
fn touch(one: &str, other: &str) -> bool {
    let is_in =
        |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    is_in(one, other) || is_in(other, one)
}
