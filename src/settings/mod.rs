//! How settings are read: what a room that has a section in the configuration file builds on. Pure.
//!
//! # Layout
//!
//! | file | what |
//! |---|---|
//! | [`section`] | one section of the file: its keys, each taken once, with its bounds and its default |
//! | [`unit`](mod@unit) | `500ms`, `7d`, `64MiB`, read and written |
//! | [`live`] | settings that may be exchanged while requests go on |
//! | [`secret`] | a key that no log line can show |
//! | [`problem`] | everything that is wrong or doubtful in a file, all at once |

pub mod live;
pub mod problem;
pub mod secret;
pub mod section;

pub use live::Live;
pub use miroir_words::unit;
pub use problem::{Problem, Report, Warning};
pub use secret::Secret;
pub use section::Section;

/// What an operator sets of a room, as one section of the file says it. A key stands here only: its name, its bounds and
/// its default are one line of [`FromSection::read`], and what is not in the file is read from an empty section.
pub trait FromSection: Sized {
    /// Takes the keys of the section. What is wrong is reported to it and has its default.
    fn read(section: &mut Section) -> Self;

    /// What holds where the file says nothing: what [`FromSection::read`] makes of an empty section.
    fn defaults() -> Self {
        let report = Report::default();
        Self::read(&mut Section::new("", serde_json::Value::Null, &report))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    /// A room that makes tea.
    #[derive(Debug, PartialEq)]
    struct TeaSettings {
        steep: Duration,
        cups: usize,
        milk: bool,
    }

    impl FromSection for TeaSettings {
        fn read(section: &mut Section) -> Self {
            Self {
                steep: section.duration("steep", Duration::from_secs(180)),
                cups: section.integer("cups", 1..=12, 2),
                milk: section.choice("milk", &[("yes", true), ("no", false)], false),
            }
        }
    }

    #[test]
    fn a_rooms_defaults_are_what_it_reads_from_an_empty_section() {
        let defaults = TeaSettings { steep: Duration::from_secs(180), cups: 2, milk: false };
        assert_eq!(TeaSettings::defaults(), defaults);
    }

    #[test]
    fn what_is_wrong_or_unknown_is_reported_with_its_path_and_has_its_default() {
        let report = Report::default();
        let mut file = Section::new("", json!({ "tea": { "cups": 13, "milk": "yes", "steap": "1m" } }), &report);
        let settings: TeaSettings = file.read("tea");
        file.finish();
        assert_eq!(settings, TeaSettings { milk: true, ..TeaSettings::defaults() });
        assert_eq!(report.keys(), ["tea", "tea.steep", "tea.cups", "tea.milk"]);
        let problems: Vec<String> = report.into_parts().0.iter().map(Problem::to_string).collect();
        assert_eq!(
            problems,
            [
                "tea.cups: expected a whole number from 1 to 12, found `13`",
                "tea.steap: unknown key, did you mean `steep`?"
            ]
        );
    }
}
