//! What a client says of kept answers: `Cache-Control` of its request.

/// What a client wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// The nodes are to be asked, whatever is kept.
    pub fresh: bool,
    /// The answer is not to be kept.
    pub unkept: bool,
}

// === impl Wish ===

impl Wish {
    /// Of all lines of the header. `max-age=0` wants what no answer of before is, however right it is still.
    pub fn of<'h>(lines: impl Iterator<Item = &'h str>) -> Self {
        let mut wish = Self::default();
        for directive in lines.flat_map(|line| line.split(',')).map(str::trim) {
            let is = |name: &str| directive.eq_ignore_ascii_case(name);
            wish.fresh |= is("no-cache") || is("no-store") || is("max-age=0");
            wish.unkept |= is("no-store");
        }
        wish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_from_all_lines() {
        let wish = |lines: &[&'static str]| Wish::of(lines.iter().copied());
        assert_eq!(wish(&[]), Wish::default());
        assert_eq!(wish(&["max-age=60, no-transform"]), Wish::default());
        assert_eq!(wish(&["max-age=60", "foo, No-Cache"]), Wish { fresh: true, unkept: false });
        assert_eq!(wish(&["max-age=0"]), Wish { fresh: true, unkept: false });
        assert_eq!(wish(&["no-store"]), Wish { fresh: true, unkept: true });
    }
}
