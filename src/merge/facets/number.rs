//! Numbers among the values of a facet.

/// A number as the engine writes one that is a facet value.
pub fn parse(text: &str) -> Option<f64> {
    // Zero has no sign for the engine, so that a zero with one is a text.
    text.parse::<f64>().ok().filter(|number| number.to_string() == text && text != "-0")
}
