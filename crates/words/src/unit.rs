//! Durations such as `500ms` and `7d`, sizes such as `64MiB`.

use std::time::Duration;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", KIB),
    ("MiB", MIB),
    ("GiB", GIB),
];

/// Reads a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub fn duration(text: &str) -> Option<Duration> {
    number_with(text, DURATIONS).map(Duration::from_millis)
}

/// Reads a whole number and one of `B`, `KB`, `MB`, `GB` (thousands), `KiB`, `MiB`, `GiB` (1024), or nothing for bytes.
pub fn size(text: &str) -> Option<u64> {
    number_with(text, SIZES)
}

fn number_with(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2 s"), Some(Duration::from_secs(2)));
        assert_eq!(duration("3m"), Some(Duration::from_secs(180)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        for text in ["", "5", "s", "-1s", "1.5s", "1w", "1s2", "99999999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_count_by_thousands_or_by_1024() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("64 MB"), Some(64_000_000));
        assert_eq!(size("17"), Some(17));
        assert_eq!(size("1GiB"), Some(1 << 30));
        for text in ["", "MiB", "1.5GiB", "1mib", "1TB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
