//! Numbers among the values of a facet.

/// A number as the engine writes one that is a facet value.
pub fn parse(text: &str) -> Option<f64> {
    // For some engines zero has no sign, so that one with it is most likely a text.
    text.parse::<f64>().ok().filter(|number| number.to_string() == text && text != "-0")
}
