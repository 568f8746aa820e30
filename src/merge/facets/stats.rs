//! The least and the greatest number of each facet.

use std::collections::BTreeMap;

use crate::merge::error::MergeError;
use crate::merge::raw::{Members, ObjectWriter};
use crate::placement::shard::SHARD_FIELD;

/// A number and the digits in which its node wrote it.
#[derive(Debug, Clone)]
struct End {
    number: f64,
    digits: String,
}

/// The ranges, by facet.
#[derive(Debug, Default)]
pub struct Stats(BTreeMap<String, [End; 2]>);

// === impl Stats ===

impl Stats {
    /// The `facetStats` of one node's reply; `None` where it has none. Those of the hidden field are left out.
    pub fn add(&mut self, stats: Option<&Members<'_>>) -> Result<(), MergeError> {
        for (facet, raw) in stats.into_iter().flat_map(|members| &members.0) {
            if facet != SHARD_FIELD {
                self.widen(facet, ends(raw.get())?);
            }
        }
        Ok(())
    }

    /// Numbers of documents that are looked at here, for which no node stated least and greatest.
    pub fn add_numbers(&mut self, facet: &str, numbers: impl Iterator<Item = f64>) {
        for number in numbers {
            // As the engine writes its numbers here: as JSON, not as a facet's value.
            let digits = serde_json::Value::from(number).to_string();
            let end = End { number, digits };
            self.widen(facet, [end.clone(), end]);
        }
    }

    fn widen(&mut self, facet: &str, [min, max]: [End; 2]) {
        let Some(range) = self.0.get_mut(facet) else {
            self.0.insert(facet.to_owned(), [min, max]);
            return;
        };
        if min.number < range[0].number {
            range[0] = min;
        }
        if max.number > range[1].number {
            range[1] = max;
        }
    }

    /// `None` where no document has a number there.
    pub fn least(&self, facet: &str) -> Option<f64> {
        self.0.get(facet).map(|[least, _]| least.number)
    }

    /// The digits stay those of the node that has the number.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut object = ObjectWriter::new(out);
        for (facet, [min, max]) in &self.0 {
            object.raw(facet, &format!(r#"{{"min":{},"max":{}}}"#, min.digits, max.digits));
        }
        object.finish();
    }
}

/// The least and the greatest number of a facet; `None` if the node has no number for it.
pub fn range_of(stats: Option<&Members<'_>>, facet: &str) -> Result<Option<(f64, f64)>, MergeError> {
    let Some(raw) = stats.and_then(|stats| stats.get(facet)) else { return Ok(None) };
    let [min, max] = ends(raw.get())?;
    Ok(Some((min.number, max.number)))
}

fn ends(text: &str) -> Result<[End; 2], MergeError> {
    let stats = Members::parse(text)?;
    let end = |name| {
        let raw = stats.get(name).ok_or(MergeError::Missing("a facet's range"))?.get();
        Ok::<_, MergeError>(End { number: serde_json::from_str(raw)?, digits: raw.to_owned() })
    };
    Ok([end("min")?, end("max")?])
}
