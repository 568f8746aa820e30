//! Answers without what is masked. What is not masked stays as it is, byte by byte.

use serde_json::Value;

use super::hidden::{Hidden, HiddenIn};
use crate::merge::raw::{Members, ObjectWriter, Raw, elements};
use crate::rules::deed;
use crate::split::scanner::Malformed;

/// What was asked, as far as the form of its answer depends on it.
pub struct Asked<'a> {
    pub deed: &'static str,
    /// Whether several searches are answered as one list.
    pub federated: bool,
    /// What of each search is masked, by its place in the request; of another request there is one.
    pub parts: &'a [Hidden],
}

/// The answer `body` to what was asked.
pub fn without(asked: &Asked<'_>, hidden_in: &HiddenIn<'_>, body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::Encoding)?;
    let mut out = Vec::with_capacity(text.len());
    let nothing = Hidden::default();
    let own = asked.parts.first().unwrap_or(&nothing);
    match asked.deed {
        deed::SEARCH | deed::SIMILAR => found(text, &|_| own.clone(), own, &mut out)?,
        "multiSearch" if asked.federated => federated(asked, hidden_in, text, &mut out)?,
        "multiSearch" => each(text, "results", &mut out, &mut |place, result, out| {
            let hidden = asked.parts.get(place).unwrap_or(&nothing);
            found(result, &|_| hidden.clone(), hidden, out)
        })?,
        deed::FETCH_DOCUMENTS => each(text, "results", &mut out, &mut |_, item, out| document(item, "", own, out))?,
        "getDocument" => document(text, "", own, &mut out)?,
        "listFields" => fields(text, own, &mut out)?,
        "indexStats" => stats(text, own, &mut out)?,
        "stats" => {
            let mut object = ObjectWriter::new(&mut out);
            for (name, value) in Members::parse(text)?.0 {
                if name == "indexes" {
                    let mut indexes = ObjectWriter::new(object.key(&name));
                    for (index, value) in Members::parse(value.get())?.0 {
                        stats(value.get(), &hidden_in(&index), indexes.key(&index))?;
                    }
                    indexes.finish();
                } else {
                    object.raw(&name, value.get());
                }
            }
            object.finish();
        }
        // No values in it.
        _ => out.extend_from_slice(body),
    }
    Ok(out)
}

/// One list of the hits of several searches.
fn federated(asked: &Asked<'_>, hidden_in: &HiddenIn<'_>, text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut all = Hidden::default();
    asked.parts.iter().for_each(|part| all.add(part));
    let of_hit = |hit: &str| {
        let place = serde_json::from_str::<Value>(hit).ok();
        let place = place.and_then(|hit| usize::try_from(hit.pointer("/_federation/queriesPosition")?.as_u64()?).ok());
        // Of a hit that does not say where it is from, nothing masked is shown.
        place.and_then(|place| asked.parts.get(place)).unwrap_or(&all).clone()
    };
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(text)?.0 {
        match name.as_ref() {
            "facetsByIndex" => {
                let mut indexes = ObjectWriter::new(object.key(&name));
                for (index, value) in Members::parse(value.get())?.0 {
                    let hidden = hidden_in(&index);
                    let mut facets = ObjectWriter::new(indexes.key(&index));
                    for (kind, value) in Members::parse(value.get())?.0 {
                        by_name(value, &|name| hidden.hides(name), facets.key(&kind))?;
                    }
                    facets.finish();
                }
                indexes.finish();
            }
            _ => member(&name, value, &of_hit, &all, object.key(&name))?,
        }
    }
    object.finish();
    Ok(())
}

/// The answer to one search.
fn found(text: &str, of_hit: &dyn Fn(&str) -> Hidden, hidden: &Hidden, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(text)?.0 {
        member(&name, value, of_hit, hidden, object.key(&name))?;
    }
    object.finish();
    Ok(())
}

fn member(
    name: &str,
    value: Raw<'_>,
    of_hit: &dyn Fn(&str) -> Hidden,
    hidden: &Hidden,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match name {
        "hits" => list(value.get(), out, &mut |_, text, out| hit(text, &of_hit(text), out)),
        "facetDistribution" | "facetStats" => by_name(value, &|name| hidden.hides(name), out),
        _ => {
            out.extend_from_slice(value.get().as_bytes());
            Ok(())
        }
    }
}

fn hit(text: &str, hidden: &Hidden, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(text)?.0 {
        match name.as_ref() {
            "_formatted" => document(value.get(), "", hidden, object.key(&name))?,
            "_matchesPosition" => by_name(value, &|name| hidden.touches(name), object.key(&name))?,
            "_rankingScoreDetails" => {
                let ranks_by = |rule: &str| hidden.touches(rule.rsplit_once(':').map_or(rule, |(name, _)| name));
                let by_place = |rule: &str| rule.starts_with("_geoPoint") && hidden.touches("_geo");
                by_name(value, &|rule| ranks_by(rule) || by_place(rule), object.key(&name))?;
            }
            "_geoDistance" if hidden.touches("_geo") => {}
            _ => field(&name, &name, value, hidden, &mut object)?,
        }
    }
    object.finish();
    Ok(())
}

/// A document, or an object in one at `path`.
fn document(text: &str, path: &str, hidden: &Hidden, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(text)?.0 {
        let at = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        field(&name, &at, value, hidden, &mut object)?;
    }
    object.finish();
    Ok(())
}

fn field(
    name: &str,
    path: &str,
    value: Raw<'_>,
    hidden: &Hidden,
    object: &mut ObjectWriter<'_>,
) -> Result<(), Malformed> {
    if hidden.hides(path) {
        return Ok(());
    }
    inner(value.get(), path, hidden, object.key(name))
}

/// A value at `path`, which is not hidden itself.
fn inner(text: &str, path: &str, hidden: &Hidden, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match text.as_bytes().first() {
        Some(b'{') => document(text, path, hidden, out),
        Some(b'[') => list(text, out, &mut |_, item, out| inner(item, path, hidden, out)),
        Some(_) | None => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
}

/// An object without the members whose names `hides`.
fn by_name(value: Raw<'_>, hides: &dyn Fn(&str) -> bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if !value.get().starts_with('{') {
        out.extend_from_slice(value.get().as_bytes());
        return Ok(());
    }
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(value.get())?.0.iter().filter(|(name, _)| !hides(name)) {
        object.raw(name, value.get());
    }
    object.finish();
    Ok(())
}

fn stats(text: &str, hidden: &Hidden, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(text)?.0 {
        match name.as_ref() {
            "fieldDistribution" => by_name(value, &|name| hidden.hides(name), object.key(&name))?,
            _ => object.raw(&name, value.get()),
        }
    }
    object.finish();
    Ok(())
}

/// The fields of an index, each an object with its name.
fn fields(text: &str, hidden: &Hidden, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(text)?.0 {
        if name != "results" {
            object.raw(&name, value.get());
            continue;
        }
        let shown = elements(value.get())?.into_iter().filter(|field| {
            let field: Value = serde_json::from_str(field.get()).unwrap_or_default();
            !field["name"].as_str().is_some_and(|name| hidden.hides(name))
        });
        let shown: Vec<&str> = shown.map(Raw::get).collect();
        object.raw(&name, &format!("[{}]", shown.join(",")));
    }
    object.finish();
    Ok(())
}

/// An object of which each item of the list `of` is written by `write`.
fn each(
    text: &str,
    of: &str,
    out: &mut Vec<u8>,
    write: &mut dyn FnMut(usize, &str, &mut Vec<u8>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut object = ObjectWriter::new(out);
    for (name, value) in Members::parse(text)?.0 {
        if name == of {
            list(value.get(), object.key(&name), write)?;
        } else {
            object.raw(&name, value.get());
        }
    }
    object.finish();
    Ok(())
}

fn list(
    text: &str,
    out: &mut Vec<u8>,
    write: &mut dyn FnMut(usize, &str, &mut Vec<u8>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    out.push(b'[');
    for (place, item) in elements(text)?.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(place, item.get(), out)?;
    }
    out.push(b']');
    Ok(())
}
