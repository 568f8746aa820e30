//! What an operator sets of the cache of answers.

use serde_json::Value;

use crate::meili::pattern::IndexPattern;
use crate::settings::unit::{KIB, MIB};
use crate::settings::{FromSection, Section};

/// The section `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes of all answers that are kept, with what was asked; 0 keeps none.
    pub size: u64,
    /// Longer answers are not kept.
    pub largest_answer: u64,
    /// Indexes whose answers are not kept.
    pub except: Vec<IndexPattern>,
    /// Bytes of all replies of nodes that are kept while their indexes are written to; 0 keeps none.
    pub replies: u64,
}

// === impl CacheSettings ===

impl FromSection for CacheSettings {
    fn read(section: &mut Section) -> Self {
        let expected = "a list of index uids, or of their beginnings with a star, such as `[orders, logs_*]`";
        Self {
            size: section.size("size", 0, 64 * MIB),
            largest_answer: section.size("largest_answer", 0, 256 * KIB),
            except: section.parsed("except", Vec::new(), expected, patterns),
            replies: section.size("replies", 0, 32 * MIB),
        }
    }
}

fn patterns(value: &Value) -> Option<Vec<IndexPattern>> {
    value.as_array()?.iter().map(|item| IndexPattern::parse(item.as_str()?).ok()).collect()
}
