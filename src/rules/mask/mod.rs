//! Fields that some callers may not see, and the doors beside the front door: what they cannot be shown they can neither filter, sort,
//! count, search nor copy.
//!
//! A mask holds whatever is done: it knows no `on`, no `stop` of another rule takes it away, and where a rule leads a request to
//! another index, the masks of both hold.
//!
//! | module | what lives there |
//! |---|---|
//! | `answer` | answers without what is masked |
//! | `doors` | what is not done at all under a mask |
//! | `expression` | the names in a filter |
//! | `hidden` | which fields a mask hides |
//! | `joined` | what is masked in documents of other indexes that hits show |
//! | `question` | requests that name what is masked, refused; words, not looked for in it |

mod answer;
mod doors;
mod expression;
mod hidden;
mod joined;
mod question;

use bytes::Bytes;

use super::asked::Asked;
use crate::meili::error::{Code, ResponseError};
use crate::meili::pattern::IndexPattern;

pub use hidden::Hidden;
pub use joined::KeysOf;
pub use question::WordsOf;

/// All masks that hold for one caller, by index.
#[derive(Debug, Default)]
pub struct Veil {
    masks: Vec<(Vec<IndexPattern>, Hidden)>,
    /// Where rules have led the request: from an index to another.
    led: Vec<(String, String)>,
    /// What of each search is masked, by its place in the request; of another request there is one.
    parts: Vec<Hidden>,
    /// The deed, which tells how an answer looks.
    deed: &'static str,
    /// Whether several searches are answered as one list.
    federated: bool,
}

// === impl Veil ===

impl Veil {
    /// Of masks on indexes; all indexes where none is named.
    pub(super) fn new(masks: Vec<(Vec<IndexPattern>, Hidden)>) -> Option<Self> {
        (!masks.is_empty()).then(|| Self { masks, ..Self::default() })
    }

    /// What is masked in `index`.
    fn of(&self, index: &str) -> Hidden {
        let mut hidden = Hidden::default();
        let from = self.led.iter().filter(|(_, to)| to == index).map(|(from, _)| from.as_str());
        for index in from.chain([index]) {
            for (indexes, masked) in &self.masks {
                if indexes.is_empty() || indexes.iter().any(|pattern| pattern.meets(index)) {
                    hidden.add(masked);
                }
            }
        }
        hidden
    }

    /// Closes the doors of a request that rules have let pass. `words_of` tells where words of an index are looked for, `keys_of`
    /// which of its fields name documents of others.
    pub fn close(
        &mut self,
        asked: &mut Asked,
        words_of: &WordsOf<'_>,
        keys_of: &KeysOf<'_>,
    ) -> Result<(), ResponseError> {
        self.led.extend(asked.led());
        self.deed = asked.whole.deed;
        self.federated = asked.is_federated();
        doors::check(&|index| self.of(index), asked)?;
        let mut parts = question::close(&|index| self.of(index), asked, words_of)?;
        joined::close(&|index| self.of(index), asked, keys_of, &mut parts)?;
        self.parts = parts;
        Ok(())
    }

    /// The indexes of searches for words, of which it must be known where words are looked for.
    pub fn searched(&self, asked: &Asked) -> Vec<String> {
        question::searched(&|index| self.of(index), asked)
    }

    /// The indexes of which it must be known which of their fields name documents of others.
    pub fn joined(&self, asked: &Asked) -> Vec<String> {
        joined::indexes(asked)
    }

    /// The body of a good answer without what is masked.
    pub fn answer(&self, body: &Bytes) -> Result<Bytes, ResponseError> {
        let asked = answer::Asked { deed: self.deed, federated: self.federated, parts: &self.parts };
        answer::without(&asked, &|index| self.of(index), body).map(Bytes::from).map_err(|_| {
            ResponseError::new(Code::Internal, "The answer cannot be read, so nothing of it can be masked.")
        })
    }
}

#[cfg(test)]
mod tests;
