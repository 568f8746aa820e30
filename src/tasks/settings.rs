//! What an operator can set about tasks.

use std::time::Duration;

use super::view::UidFormatSetting;
use crate::settings::{FromSection, Section};

/// The section `tasks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSettings {
    pub uid_format: UidFormatSetting,
    /// How long a finished task is kept.
    pub retention: Duration,
}

// === impl TaskSettings ===

impl FromSection for TaskSettings {
    fn read(section: &mut Section) -> Self {
        let formats = [
            ("auto", UidFormatSetting::Auto),
            ("integer", UidFormatSetting::Integer),
            ("mtask", UidFormatSetting::Mtask),
        ];
        Self {
            uid_format: section.choice("uid_format", &formats, UidFormatSetting::Auto),
            retention: section.duration("retention", Duration::from_secs(7 * 24 * 60 * 60)),
        }
    }
}
