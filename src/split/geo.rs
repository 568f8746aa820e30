//! Checks `_geo` as the engine does when an index sorts or filters by it. One node would refuse the whole batch for
//! one bad point, so the gateway must, before nodes see their shares of it.

use serde_json::Value;

use super::document::Document;

/// The field that holds a document's point.
pub const GEO_FIELD: &str = "_geo";

/// Why a document's point is none. `id` is the document's id as JSON text.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeoError {
    #[error(
        "The `_geo` field in the document with the id: `{id}` is not an object. Was expecting an object with the \
         `_geo.lat` and `_geo.lng` fields but instead got `{value}`."
    )]
    NotAnObject { id: Value, value: Value },
    #[error(
        "The `_geo` field in the document with the id: `{id}` contains the following unexpected fields: `{value}`."
    )]
    ExtraFields { id: Value, value: Value },
    #[error(
        "Could not find latitude nor longitude in the document with the id: `{id}`. Was expecting `_geo.lat` and \
         `_geo.lng` fields."
    )]
    NeitherFound { id: Value },
    #[error("Could not find latitude in the document with the id: `{id}`. Was expecting a `_geo.lat` field.")]
    NoLatitude { id: Value },
    #[error("Could not find longitude in the document with the id: `{id}`. Was expecting a `_geo.lng` field.")]
    NoLongitude { id: Value },
    #[error(
        "Could not parse latitude nor longitude in the document with the id: `{id}`. Was expecting finite numbers but \
         instead got `{lat}` and `{lng}`."
    )]
    BadBoth { id: Value, lat: Value, lng: Value },
    #[error(
        "Could not parse latitude in the document with the id: `{id}`. Was expecting a finite number but instead got \
         `{value}`."
    )]
    BadLatitude { id: Value, value: Value },
    #[error(
        "Could not parse longitude in the document with the id: `{id}`. Was expecting a finite number but instead got \
         `{value}`."
    )]
    BadLongitude { id: Value, value: Value },
}

/// Fails if `document`, whose id is `id`, has a `_geo` that is no point. None at all, or null, is fine.
pub fn check(document: &Document<'_>, id: &str) -> Result<(), GeoError> {
    // Of repeated keys the last one's value stays.
    let Some((_, raw)) = document.fields().iter().rfind(|(key, _)| key == GEO_FIELD) else { return Ok(()) };
    let id = Value::from(id);
    let mut geo = match serde_json::from_str(raw.get()) {
        Ok(Value::Object(geo)) => geo,
        Ok(Value::Null) => return Ok(()),
        Ok(value) => return Err(GeoError::NotAnObject { id, value }),
        // Such as a number out of range: the nodes find their own words.
        Err(_) => return Ok(()),
    };
    // `remove`, as in the engine: it decides the order of what is left, which a message shows.
    let (lat, lng) = match (geo.remove("lat"), geo.remove("lng")) {
        (Some(lat), Some(lng)) => (lat, lng),
        (Some(_), None) => return Err(GeoError::NoLongitude { id }),
        (None, Some(_)) => return Err(GeoError::NoLatitude { id }),
        (None, None) => return Err(GeoError::NeitherFound { id }),
    };
    if !geo.is_empty() {
        return Err(GeoError::ExtraFields { id, value: Value::Object(geo) });
    }
    match (is_finite(&lat), is_finite(&lng)) {
        (true, true) => Ok(()),
        (true, false) => Err(GeoError::BadLongitude { id, value: lng }),
        (false, true) => Err(GeoError::BadLatitude { id, value: lat }),
        (false, false) => Err(GeoError::BadBoth { id, lat, lng }),
    }
}

/// True for a number, or a text that says one.
fn is_finite(value: &Value) -> bool {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.is_some_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(geo: &str) -> Option<String> {
        let raw = format!("{{\"id\":\"11\",\"_geo\":{geo}}}");
        check(&Document::parse(&raw).unwrap(), "11").err().map(|error| error.to_string())
    }

    #[test]
    fn points_of_numbers_and_texts_pass() {
        for geo in ["null", r#"{"lat":1,"lng":-2.5}"#, r#"{"lng":"2","lat":"12.5"}"#] {
            assert_eq!(refusal(geo), None, "{geo}");
        }
        assert_eq!(check(&Document::parse("{\"id\":1}").unwrap(), "1"), Ok(()));
    }

    #[test]
    fn what_is_no_point_is_refused_in_the_engines_words() {
        let cases = [
            (
                "\"foobar\"",
                "The `_geo` field in the document with the id: `\"11\"` is not an object. Was expecting an object with \
                 the `_geo.lat` and `_geo.lng` fields but instead got `\"foobar\"`.",
            ),
            (
                r#"{"doggo":"are the best"}"#,
                "Could not find latitude nor longitude in the document with the id: `\"11\"`. Was expecting `_geo.lat` \
                 and `_geo.lng` fields.",
            ),
            (
                r#"{"lat":12}"#,
                "Could not find longitude in the document with the id: `\"11\"`. Was expecting a `_geo.lng` field.",
            ),
            (
                r#"{"lng":true}"#,
                "Could not find latitude in the document with the id: `\"11\"`. Was expecting a `_geo.lat` field.",
            ),
            (
                r#"{"lat":"doggo","lng":"doggo"}"#,
                "Could not parse latitude nor longitude in the document with the id: `\"11\"`. Was expecting finite \
                 numbers but instead got `\"doggo\"` and `\"doggo\"`.",
            ),
            (
                r#"{"lat":null,"lng":12}"#,
                "Could not parse latitude in the document with the id: `\"11\"`. Was expecting a finite number but \
                 instead got `null`.",
            ),
            (
                r#"{"lat":12,"lng":"inf"}"#,
                "Could not parse longitude in the document with the id: `\"11\"`. Was expecting a finite number but \
                 instead got `\"inf\"`.",
            ),
            (
                r#"{"lat":"12","lng":"13","doggo":"are the best"}"#,
                "The `_geo` field in the document with the id: `\"11\"` contains the following unexpected fields: \
                 `{\"doggo\":\"are the best\"}`.",
            ),
        ];
        for (geo, message) in cases {
            assert_eq!(refusal(geo).as_deref(), Some(message), "{geo}");
        }
    }
}
