//! What is known of the lease, by all threads that go by it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::claim::Claim;
use crate::store::failsafe::{Promises, Word};
use crate::store::leadership::{Loss, Role, Standing};
use crate::store::trust::{Moment, Trust};

/// What is known of the lease, shared by the threads that go by it.
pub struct Known {
    standing: watch::Sender<Standing>,
    pub trust: Trust,
    /// What this gateway has promised.
    pub word: Mutex<Word>,
    /// What others have, and for how long this gateway may trust itself.
    promises: Mutex<Promises>,
    /// The lease, while it is this gateway's.
    claim: Mutex<Option<Claim>>,
    /// So many commits are known to be stored.
    commits: AtomicI64,
}

// === impl Known ===

impl Known {
    /// Of a gateway that waits.
    /// Alone it would go on for `alone`.
    pub fn new(alone: Duration) -> Self {
        let standing = watch::Sender::new(Standing::new(Role::Follows));
        Self {
            standing,
            trust: Trust::none(),
            word: Mutex::new(Word::new(Moment::now().since_boot())),
            promises: Mutex::new(Promises::new(alone)),
            claim: Mutex::default(),
            commits: AtomicI64::default(),
        }
    }

    /// Why nothing of this process counts any more.
    pub fn loss(&self) -> Option<Loss> {
        self.standing.borrow().loss().cloned()
    }

    /// Nothing of this process counts any more. The first reason stays.
    pub fn lose(&self, loss: Loss) {
        self.standing.send_if_modified(|standing| {
            let first = standing.loss().is_none();
            if first {
                standing.role = Role::Ended(loss);
            }
            first
        });
        // After that, so that a renewal which is answered at this moment sees it.
        self.trust.end();
    }

    /// Trusts itself for as long as what is known after `change` lets it.
    pub fn trusts(&self, change: impl FnOnce(&mut Promises)) {
        let mut promises = self.promises.lock();
        change(&mut promises);
        self.trust.set(Moment::at(promises.until()));
        let leads = self.standing.borrow().role == Role::Leads;
        if !leads {
            // It was lost meanwhile, or was never had.
            self.trust.end();
        }
    }

    /// So many commits are stored.
    pub fn committed(&self, commits: i64) {
        self.commits.fetch_max(commits, Ordering::SeqCst);
    }

    /// How many commits are stored at least.
    pub fn commits(&self) -> i64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Brings each change.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The lease that was taken.
    pub fn claim(&self) -> Option<Claim> {
        self.claim.lock().clone()
    }

    /// The lease was taken.
    pub fn lead(&self, claim: Claim, standing: Standing, taken: impl FnOnce(&mut Promises)) {
        self.committed(claim.commits);
        *self.claim.lock() = Some(claim);
        // Whoever waits for the role finds the rest.
        self.trust.set(Moment::at({
            let mut promises = self.promises.lock();
            taken(&mut promises);
            promises.until()
        }));
        self.note(standing);
        self.trusts(|_| {});
    }

    /// Tells what is new, if anything is. What has ended has ended.
    pub fn note(&self, standing: Standing) {
        self.standing.send_if_modified(|known| {
            let differs = known.loss().is_none() && *known != standing;
            if differs {
                *known = standing;
            }
            differs
        });
    }
}
