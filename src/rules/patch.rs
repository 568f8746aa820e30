//! JSON after a program: what it has changed is written anew, and the rest stays as it was, byte by byte. The language sorts names and
//! cannot hold every number, so only what differs *within* the language counts as changed.

use rhai::{Array, Dynamic, Map};

use super::language::Fault;
use crate::merge::raw::{Members, elements};

/// A JSON value as the language has it.
pub fn parsed(text: &str) -> Result<Dynamic, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Broken(format!("what the program is given: {error}")))
}

/// `raw`, which was `before` for a program that has made `after` of it.
pub fn patched(raw: &str, before: &Dynamic, after: &Dynamic) -> Result<String, Fault> {
    if is_same(before, after) {
        return Ok(raw.to_owned());
    }
    if let (Ok(before), Ok(after)) = (before.as_map_ref(), after.as_map_ref())
        && let Ok(members) = Members::parse(raw)
    {
        return object(&members, &before, &after);
    }
    if let (Ok(before), Ok(after)) = (before.as_array_ref(), after.as_array_ref())
        && before.len() == after.len()
        && let Ok(items) = elements(raw)
        && items.len() == before.len()
    {
        let items = items.iter().zip(before.iter().zip(after.iter()));
        let items = items.map(|(raw, (before, after))| patched(raw.get(), before, after));
        return Ok(format!("[{}]", items.collect::<Result<Vec<_>, _>>()?.join(",")));
    }
    written(after)
}

/// What is new. A value that is nothing is `null`. Example: `hit.plan = claims.plan` for a caller without that claim.
fn written(value: &Dynamic) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Broken(format!("what the program has made: {error}")))
}

/// Members that stay keep their places; what is new follows.
fn object(members: &Members<'_>, before: &Map, after: &Map) -> Result<String, Fault> {
    let mut texts = Vec::with_capacity(members.0.len());
    for (name, value) in &members.0 {
        let (Some(was), Some(is)) = (before.get(name.as_ref()), after.get(name.as_ref())) else { continue };
        texts.push(format!("{}:{}", serde_json::Value::from(name.as_ref()), patched(value.get(), was, is)?));
    }
    for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(name.as_str())) {
        let name = serde_json::Value::from(name.as_str());
        texts.push(format!("{name}:{}", written(value)?));
    }
    Ok(format!("{{{}}}", texts.join(",")))
}

/// True if the language cannot tell one from the other.
pub fn is_same(one: &Dynamic, other: &Dynamic) -> bool {
    if let (Ok(one), Ok(other)) = (one.as_map_ref(), other.as_map_ref()) {
        return one.len() == other.len()
            && one
                .iter()
                .zip(other.iter())
                .all(|((name, one), (other_name, other))| name == other_name && is_same(one, other));
    }
    if let (Ok(one), Ok(other)) = (one.as_array_ref(), other.as_array_ref()) {
        let (one, other): (&Array, &Array) = (&one, &other);
        return one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other));
    }
    if let (Ok(one), Ok(other)) = (one.as_immutable_string_ref(), other.as_immutable_string_ref()) {
        return *one == *other;
    }
    if let (Ok(one), Ok(other)) = (one.as_float(), other.as_float()) {
        return one.to_bits() == other.to_bits();
    }
    one.type_id() == other.type_id() && one.to_string() == other.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(raw: &str, change: impl Fn(&mut Map)) -> String {
        let before = parsed(raw).unwrap();
        let mut after = before.clone();
        change(&mut after.as_map_mut().unwrap());
        patched(raw, &before, &after).unwrap()
    }

    #[test]
    fn only_what_has_changed_is_written_anew() {
        let raw =
            r#"{"z": 1.50,"a":{"y": 1e2, "b": "é\u0041" },"n":123456789012345678901234567890, "l":[ 1.0,{"k": 2} ]}"#;
        assert_eq!(of(raw, |_| {}), raw);
        let changed = of(raw, |map| {
            map.insert("new".into(), 7_i64.into());
            map.get_mut("a").unwrap().as_map_mut().unwrap().insert("b".into(), "x".into());
        });
        let expected =
            r#"{"z":1.50,"a":{"y":1e2,"b":"x"},"n":123456789012345678901234567890,"l":[ 1.0,{"k": 2} ],"new":7}"#;
        assert_eq!(changed, expected);
        let item = of(raw, |map| {
            let mut list = map.get_mut("l").unwrap().as_array_mut().unwrap();
            list[1].as_map_mut().unwrap().insert("k".into(), 3_i64.into());
        });
        assert!(item.contains(r#""l":[1.0,{"k":3}]"#), "{item}");
        assert_eq!(
            of(r#"{"a":1,"b":2}"#, |map| {
                map.remove("a");
            }),
            r#"{"b":2}"#
        );
        assert_eq!(
            of(r#"{"a":[1,2]}"#, |map| {
                map.insert("a".into(), vec![Dynamic::from(1_i64)].into());
            }),
            r#"{"a":[1]}"#
        );
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_counts() {
        let raw = r#"{"a":1,"a":2}"#;
        assert_eq!(
            of(raw, |map| {
                map.insert("b".into(), true.into());
            }),
            r#"{"a":1,"a":2,"b":true}"#
        );
        let changed = of(raw, |map| {
            map.insert("a".into(), 3_i64.into());
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&changed).unwrap()["a"], 3);
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|truth| truth.to_string()),
            "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
            "[a-zé\"\\\\]{0,4}".prop_map(|text| serde_json::Value::from(text).to_string()),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[ {}]", items.join(" , "))),
                prop::collection::vec(("[a-c\"]{0,2}", inner), 0..4).prop_map(|members| {
                    let members =
                        members.into_iter().map(|(name, value)| format!("{}: {value}", serde_json::Value::from(name)));
                    format!("{{{} }}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_not_changed_stays_byte_by_byte(value in json(), other in json()) {
            let before = parsed(&value).unwrap();
            prop_assert_eq!(patched(&value, &before, &before.clone()).unwrap(), value.clone());
            let raw = format!("{{\"KEPT\": {value} ,\"OTHER\":{other}}}");
            let changed = of(&raw, |map| { map.insert("OTHER".into(), "new".into()); });
            prop_assert_eq!(changed, format!("{{\"KEPT\":{value},\"OTHER\":\"new\"}}"));
        }
    }
}
