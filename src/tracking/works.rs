//! The tasks that the gateway itself carries out: which have not ended, and whether somebody wants them to.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

/// All of them, by their integers.
#[derive(Default)]
pub struct Works {
    open: Mutex<BTreeMap<u32, watch::Sender<Option<u32>>>>,
}

/// Tells a piece of work that it is canceled.
pub struct Cancelation(watch::Receiver<Option<u32>>);

// === impl Works ===

impl Works {
    /// A piece of work is known from now on; `None` if it was before.
    pub fn begin(&self, uid: u32) -> Option<Cancelation> {
        let mut open = self.open.lock();
        if open.contains_key(&uid) {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        open.insert(uid, sender);
        Some(Cancelation(receiver))
    }

    /// The row of `uid` says how it ended.
    pub fn end(&self, uid: u32) {
        self.open.lock().remove(&uid);
    }

    /// Asks for the end of `uid` in the name of the cancelation `by`; the first who asks counts.
    pub(super) fn cancel(&self, uid: u32, by: u32) {
        if let Some(sender) = self.open.lock().get(&uid) {
            sender.send_if_modified(|canceled| canceled.replace(canceled.unwrap_or(by)).is_none());
        }
    }

    /// Returns when `uid` has ended; at once if it is no such work.
    pub(super) async fn ended(&self, uid: u32) {
        let Some(mut receiver) = self.open.lock().get(&uid).map(watch::Sender::subscribe) else { return };
        while receiver.changed().await.is_ok() {}
    }
}

// === impl Cancelation ===

impl Cancelation {
    /// Returns the integer of the cancelation once there is one, and never otherwise.
    pub async fn asked(&mut self) -> u32 {
        let canceled = self.0.wait_for(Option::is_some).await.ok().and_then(|canceled| *canceled);
        match canceled {
            Some(by) => by,
            // It has ended meanwhile.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_cancelation_counts() {
        let works = Works::default();
        let mut told = works.begin(7).unwrap();
        assert!(works.begin(7).is_none());
        assert!(futures::poll!(std::pin::pin!(told.asked())).is_pending());
        works.cancel(7, 8);
        works.cancel(7, 9);
        assert_eq!(told.asked().await, 8);
    }

    #[tokio::test]
    async fn whoever_waits_for_an_end_gets_it() {
        let works = Works::default();
        let _told = works.begin(7).unwrap();
        {
            let mut end = std::pin::pin!(works.ended(7));
            assert!(futures::poll!(end.as_mut()).is_pending());
            works.end(7);
            end.await;
        }
        works.ended(7).await;
        works.cancel(7, 8);
    }
}
