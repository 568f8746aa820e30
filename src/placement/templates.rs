//! Templates of embedders, which turn a document into the text that is embedded. One that goes through all fields of a document
//! would embed the hidden ones too: other vectors than one node's, and made anew with each write. So each such loop gets a guard
//! that leaves hidden fields out; no client sees it.
//!
//! Example: `{% for f in fields %}{{ f.value }}{% endfor %}` goes to nodes as
//! `{% for f in fields %}{% if f.name contains "_miroir_" %}{% continue %}{% endif %}{{ f.value }}{% endfor %}`.

use std::borrow::Cow;

use serde_json::Value;

/// The engine's own template, where an embedder is given none.
pub const DEFAULT: &str = "{% for field in fields %}{% if field.is_searchable and field.value != nil %}{{ field.name }}: \
                           {{ field.value }}\n{% endif %}{% endfor %}";

const GUARD: [&str; 3] = ["{% if ", ".name contains \"_miroir_\" %}{% continue %}{% endif ", "%}"];

/// `template` as nodes are given it. One that is guarded already stays as it is.
pub fn guarded(template: &str) -> String {
    let plain = plain(template);
    let mut guarded = String::with_capacity(plain.len() + 64);
    let mut rest = plain.as_ref();
    while let Some((before, tag, after)) = next_tag(rest) {
        guarded.push_str(before);
        guarded.push_str(tag);
        if let Some(name) = loop_over_fields(tag) {
            // What the loop's tag trims behind itself, the guard has to.
            let trims = if tag.ends_with("-%}") { "-" } else { "" };
            for part in [GUARD[0], name, GUARD[1], trims, GUARD[2]] {
                guarded.push_str(part);
            }
        }
        rest = after;
    }
    guarded.push_str(rest);
    guarded
}

/// `template` as the client wrote it.
pub fn plain(template: &str) -> Cow<'_, str> {
    let mut plain = String::new();
    let mut rest = template;
    while let Some((start, end)) = find_guard(rest) {
        plain.push_str(&rest[..start]);
        rest = &rest[end..];
    }
    if plain.is_empty() && rest.len() == template.len() {
        return Cow::Borrowed(template);
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Changes the templates of all `embedders`, wherever an embedder has them.
pub fn each_of_embedders(embedders: &mut Value, change: &impl Fn(&str) -> String) {
    let embedders = embedders.as_object_mut();
    for embedder in embedders.into_iter().flat_map(|embedders| embedders.values_mut()) {
        each(embedder, change);
        if let Some(inner) = embedder.get_mut("indexingEmbedder") {
            each(inner, change);
        }
    }
}

/// Changes the template of an embedder, or of a chat.
pub fn each(of: &mut Value, change: &impl Fn(&str) -> String) {
    if let Some(Value::String(template)) = of.get_mut("documentTemplate") {
        *template = change(template);
    }
}

/// What stands before the next tag, the tag, and what comes after it.
fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find("{%")?;
    let end = start + text[start..].find("%}")? + 2;
    Some((&text[..start], &text[start..end], &text[end..]))
}

/// The name that a field has in a loop over all of them.
fn loop_over_fields(tag: &str) -> Option<&str> {
    let inside = tag.strip_prefix("{%")?.strip_suffix("%}")?.trim_matches('-');
    let mut words = inside.split_whitespace();
    match [words.next()?, words.next()?, words.next()?, words.next()?] {
        ["for", name, "in", "fields"] => Some(name),
        _ => None,
    }
}

fn find_guard(text: &str) -> Option<(usize, usize)> {
    let middle = text.find(GUARD[1])?;
    let start = text[..middle].rfind(GUARD[0])?;
    let after = middle + GUARD[1].len();
    let rest = text[after..].strip_prefix('-').unwrap_or(&text[after..]);
    let end = text.len() - rest.strip_prefix(GUARD[2])?.len();
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_loop_over_all_fields_leaves_hidden_ones_out() {
        assert_eq!(
            guarded("a {% for f in fields %}{{ f.value }}{% endfor %}"),
            "a {% for f in fields %}{% if f.name contains \"_miroir_\" %}{% continue %}{% endif %}{{ f.value }}{% endfor %}"
        );
        assert_eq!(
            guarded("{%- for f in fields reversed -%} {{ f.value }}{%endfor%}"),
            "{%- for f in fields reversed -%}{% if f.name contains \"_miroir_\" %}{% continue %}{% endif -%} {{ f.value \
             }}{%endfor%}"
        );
    }

    #[test]
    fn a_client_reads_what_it_wrote() {
        let two = "{% for a in fields %}x{% endfor %}{%- for b in fields -%} y{% endfor %}";
        for template in
            [DEFAULT, two, "", "{{ doc.title }}", "{% for tag in doc.tags %}{{ tag }}{% endfor %}", "{% for"]
        {
            let sent = guarded(template);
            assert_eq!(plain(&sent), template);
            assert_eq!(guarded(&sent), sent, "a guard is enough");
            assert_eq!(sent != template, template.contains("in fields"));
        }
    }

    #[test]
    fn all_templates_of_embedders_are_found() {
        let mut embedders = json!({
            "a": {"source": "openAi", "documentTemplate": "x"},
            "b": {"source": "composite", "indexingEmbedder": {"documentTemplate": "x"}, "searchEmbedder": {}},
            "c": null,
        });
        each_of_embedders(&mut embedders, &|template: &str| format!("{template}y"));
        assert_eq!(embedders["a"]["documentTemplate"], "xy");
        assert_eq!(embedders["b"]["indexingEmbedder"]["documentTemplate"], "xy");
    }
}
