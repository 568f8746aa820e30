//! Durations such as `500ms` and `7d`, sizes such as `64MiB`: read, and sizes also written.

use std::time::Duration;

/// Bytes of a KiB.
pub const KIB: u64 = 1 << 10;
/// Bytes of a MiB.
pub const MIB: u64 = 1 << 20;
/// Bytes of a GiB.
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

/// By which a size can be written as a whole number, the largest first where it divides.
const EXACT: [(&str, u64); 6] =
    [("GiB", GIB), ("GB", 1_000_000_000), ("MiB", MIB), ("MB", 1_000_000), ("KiB", KIB), ("KB", 1_000)];

/// Each 1024 of the one before.
const BINARY: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// How the part of a number behind the point is written. The engine writes it in each of these ways somewhere. Nothing is written of
/// a whole number: `64 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fraction {
    /// All digits: 1301 bytes are `1.2705078125 KiB`, 1536 are `1.5 KiB`.
    All,
    /// Two digits: 1301 bytes are `1.27 KiB`, 1536 are `1.50 KiB`.
    Two,
    /// Two digits at most, no zeros at the end: 1301 bytes are `1.27 KiB`, 1536 are `1.5 KiB`.
    UpToTwo,
}

/// Reads a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub fn duration(text: &str) -> Option<Duration> {
    number_with(text, DURATIONS).map(Duration::from_millis)
}

/// Reads a whole number and one of `B`, `KB`, `MB`, `GB` (thousands), `KiB`, `MiB`, `GiB` (1024), or nothing for bytes.
pub fn size(text: &str) -> Option<u64> {
    number_with(text, SIZES)
}

/// `bytes` in the largest unit of 1024s of which it is one at least: `64 MiB`, `10 B`.
pub fn written(bytes: u64, fraction: Fraction) -> String {
    let (mut scaled, mut unit) = (bytes as f64, "B");
    for larger in BINARY {
        if scaled < 1024.0 {
            break;
        }
        (scaled, unit) = (scaled / 1024.0, larger);
    }
    let number = match fraction {
        Fraction::All => scaled.to_string(),
        Fraction::Two if scaled.fract() == 0.0 => scaled.to_string(),
        Fraction::Two => format!("{scaled:.2}"),
        Fraction::UpToTwo => format!("{scaled:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    };
    format!("{number} {unit}")
}

/// `bytes` in the largest unit, of 1000s or of 1024s, that leaves no fraction: `24 MiB`, `5 MB`, `1301 B`.
pub fn exact(bytes: u64) -> String {
    let fits = EXACT.iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    fits.map_or_else(|| format!("{bytes} B"), |(name, size)| format!("{} {name}", bytes / size))
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

    #[test]
    fn sizes_are_written_as_the_engine_does() {
        for (bytes, all, two, up_to_two) in [
            (0, "0 B", "0 B", "0 B"),
            (1023, "1023 B", "1023 B", "1023 B"),
            (1301, "1.2705078125 KiB", "1.27 KiB", "1.27 KiB"),
            (1536, "1.5 KiB", "1.50 KiB", "1.5 KiB"),
            (28_672, "28 KiB", "28 KiB", "28 KiB"),
            ((1 << 20) + 1, "1.0000009536743164 MiB", "1.00 MiB", "1 MiB"),
            (100 << 20, "100 MiB", "100 MiB", "100 MiB"),
            (1 << 60, "1 EiB", "1 EiB", "1 EiB"),
        ] {
            let fractions = [Fraction::All, Fraction::Two, Fraction::UpToTwo];
            assert_eq!(fractions.map(|fraction| written(bytes, fraction)), [all, two, up_to_two], "{bytes}");
        }
        let shown = [24 << 20, 5_000_000, 1301, 0, 1 << 30].map(exact);
        assert_eq!(shown, ["24 MiB", "5 MB", "1301 B", "0 B", "1 GiB"]);
    }
}
