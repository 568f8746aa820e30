//! What was found in replies when they were judged, so that they are merged without a second look.

use bytes::Bytes;
use parking_lot::Mutex;

use super::gather::Gathered;
use crate::merge::error::MergeError;
use crate::merge::reading::Reading;
use crate::merge::search::SearchReply;

/// Of the replies to one search.
#[derive(Default)]
pub(super) struct Readings {
    /// Guards what was found in each body. The bodies are kept: so no other can come to stand where one of them stands, and who has one at
    /// the same place has the same.
    found: Mutex<Vec<(Bytes, Reading)>>,
}

// === impl Readings ===

impl Readings {
    /// True for what can be merged as the reply to a search.
    pub(super) fn judge(&self, body: &Bytes) -> bool {
        match Reading::of(body) {
            Ok(reading) => {
                self.found.lock().push((body.clone(), reading));
                true
            }
            Err(_) => false,
        }
    }

    /// The reply that `body` is; one that was not judged here is read now.
    pub(super) fn reply<'b>(&self, body: &'b Bytes) -> Result<SearchReply<'b>, MergeError> {
        let found = self.found.lock();
        match found.iter().find(|(judged, _)| judged.as_ptr_range() == body.as_ptr_range()) {
            Some((_, reading)) => reading.reply(body),
            None => SearchReply::parse(body),
        }
    }

    /// All of `gathered`, in its order.
    pub(super) fn replies<'b>(&self, gathered: &'b Gathered) -> Result<Vec<SearchReply<'b>>, MergeError> {
        gathered.replies.iter().map(|(_, body)| self.reply(body)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(readings: &Readings, body: &Bytes) -> u64 {
        let body = readings.reply(body).unwrap();
        body.total()
    }

    #[test]
    fn a_reply_is_found_by_where_it_stands_and_not_by_what_it_says() {
        let readings = Readings::default();
        let reply = |total: u64| Bytes::from(format!(r#"{{"hits":[],"totalHits":{total}}}"#));
        let (judged, other) = (reply(1), reply(2));
        assert!(readings.judge(&judged));
        assert!(!readings.judge(&Bytes::from_static(b"{}")));
        assert_eq!(readings.found.lock().len(), 1);
        assert_eq!((total(&readings, &judged), total(&readings, &judged.clone()), total(&readings, &other)), (1, 1, 2));
        let part = judged.slice(..judged.len() - 1);
        assert!(readings.reply(&part).is_err(), "a part of one is another");
        drop(judged);
        for total_of in 3..50 {
            assert_eq!(total(&readings, &reply(total_of)), total_of, "nothing stands where the judged one stands");
        }
    }
}
