//! Views that were lent by leaders before this one. A leader knows nothing of them, so it waits until all must be over; unless the one
//! before it has left word to whom it had lent any.
//!
//! Example: A resigns. It lends nothing more, and leaves word that B and C have views of epoch 4; then it gives up its lease. B leads as epoch
//! 5, and reads that. As soon as C has said that it goes by a view of 5, writes are acknowledged, 3 s before C's old view would have
//! ended by itself. Had A been killed there would be no word of epoch 4, and B would wait.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::book::{Book, Wait};
use super::view::ViewNumber;
use super::{LEASE, MARGIN};
use crate::store::{Store, StoreError};

/// The fact of the store that says to whom a leader that has resigned had lent views.
const LENT: &str = "views_lent";

/// Who may go by views of before.
#[derive(Debug, Clone)]
pub struct Former {
    /// Until when at most.
    until: Instant,
    /// `None` where nobody has left word.
    followers: Option<BTreeSet<Uuid>>,
}

/// The word that is left.
#[derive(Debug, Serialize, Deserialize)]
struct Lent {
    epoch: i64,
    followers: BTreeSet<Uuid>,
}

/// Leaves word for the next leader. The leader of `epoch` lends nothing more.
pub(super) async fn leave_word(store: &dyn Store, epoch: i64, followers: BTreeSet<Uuid>) -> Result<(), StoreError> {
    let text = serde_json::to_string(&Lent { epoch, followers }).map_err(corrupt)?;
    store.put_meta(LENT, text).await
}

fn corrupt(source: serde_json::Error) -> StoreError {
    StoreError::Corrupt { what: "followers of the last leader", source }
}

// === impl Former ===

impl Former {
    /// Anybody, from now on for as long as a view is lent. The lease of this leader has been won already.
    pub fn anybody() -> Self {
        Self { until: Instant::now() + LEASE + MARGIN, followers: None }
    }

    /// As the leader right before this one, of `epoch`, has left word; anybody where it has not.
    ///
    /// # Errors
    ///
    /// When the state cannot be read.
    pub async fn load(store: &dyn Store, epoch: i64) -> Result<Self, StoreError> {
        let former = Self::anybody();
        let Some(text) = store.get_meta(LENT).await? else { return Ok(former) };
        let lent: Lent = serde_json::from_str(&text).map_err(corrupt)?;
        let followers = (lent.epoch == epoch - 1).then_some(lent.followers);
        Ok(Self { followers, ..former })
    }

    /// Whether somebody may still go by such a view.
    pub(super) fn look(&self, book: &Book, epoch: i64, now: Instant) -> Wait {
        let first = ViewNumber { epoch, n: 0 };
        let all_have_one = |followers: &BTreeSet<Uuid>| followers.iter().all(|process| book.has(*process, first));
        if now >= self.until || self.followers.as_ref().is_some_and(all_have_one) {
            return Wait::Over;
        }
        Wait::Until(self.until)
    }

    /// True once it is for ever.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::talk::{PROTOCOL, Question};
    use crate::store::sqlite::SqliteStore;

    #[tokio::test]
    async fn only_those_are_waited_for_of_whom_the_leader_right_before_has_left_word() {
        let store = SqliteStore::open(":memory:", 4).unwrap();
        let (b, book) = (Uuid::from_u128(7), Book::default());
        let waits = |former: &Former, book: &Book, epoch| former.look(book, epoch, Instant::now()) != Wait::Over;
        assert!(waits(&Former::load(&store, 5).await.unwrap(), &book, 5), "there was no word ever");
        leave_word(&store, 4, BTreeSet::from([b])).await.unwrap();
        let former = Former::load(&store, 5).await.unwrap();
        assert!(waits(&former, &book, 5));
        let mut told = Book::default();
        let question = Question {
            protocol: PROTOCOL,
            process: b,
            gateway: "b".to_owned(),
            version: String::new(),
            turn: 1,
            taken: 0,
            has: Some(ViewNumber { epoch: 4, n: 9 }),
            oldest: None,
            may_take: 0,
            longest_read: 0,
            promises: false,
        };
        told.asked(question.clone(), Instant::now());
        assert!(waits(&former, &told, 5), "it has the view of before");
        told.asked(Question { turn: 2, has: Some(ViewNumber { epoch: 5, n: 0 }), ..question }, Instant::now());
        assert!(!waits(&former, &told, 5));
        assert!(waits(&Former::load(&store, 6).await.unwrap(), &told, 6), "nobody has left word of epoch 5");
        assert_eq!(former.look(&book, 5, Instant::now() + LEASE + MARGIN), Wait::Over);
    }
}
