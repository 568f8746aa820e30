//! A gateway's seat at the database: a thread of its own keeps it, so that no long commit delays a renewal.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::address::Address;
use super::claim::{Claim, Me};
use super::keeper::{Keeper, Order};
use super::link::Link;
use super::schema;
use crate::store::StoreError;
use crate::store::leadership::{Candidate, Leadership, Loss, Role, Standing};
use crate::store::trust::Trust;

/// What is known of the lease, shared by the threads that go by it.
pub struct Known {
    standing: watch::Sender<Standing>,
    pub trust: Trust,
    /// The lease, while it is this gateway's.
    claim: Mutex<Option<Claim>>,
    /// So many commits are known to be stored.
    commits: AtomicI64,
}

/// A place at the database. It is given up when it is dropped.
pub struct Seat {
    pub known: Arc<Known>,
    resigns: watch::Sender<bool>,
    /// Dropped to end the thread.
    orders: Mutex<Option<Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

// === impl Known ===

impl Known {
    fn new() -> Self {
        let standing = watch::Sender::new(Standing::new(Role::Follows));
        Self { standing, trust: Trust::none(), claim: Mutex::default(), commits: AtomicI64::default() }
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

    /// So many commits are stored.
    pub fn committed(&self, commits: i64) {
        self.commits.fetch_max(commits, Ordering::SeqCst);
    }

    /// How many commits are stored at least.
    pub fn commits(&self) -> i64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// The lease was taken.
    pub fn lead(&self, claim: Claim, standing: Standing) {
        self.committed(claim.commits);
        *self.claim.lock() = Some(claim);
        self.note(standing);
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

// === impl Seat ===

impl Seat {
    /// Comes to the database, and takes the lease as soon as that is this gateway's to take. An error where the database cannot be
    /// reached now.
    pub fn take(address: Address, candidate: &Candidate) -> Result<Arc<Self>, StoreError> {
        let me = Me { id: Uuid::new_v4().to_string(), candidate: candidate.clone() };
        let known = Arc::new(Known::new());
        let (orders, given): (_, Receiver<Order>) = channel();
        let (came, comes) = channel();
        let keep = {
            let known = Arc::clone(&known);
            move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(came.send(Err(StoreError::Thread(error)))),
                };
                let arrived = runtime.block_on(async {
                    let link = Link::connect(&address).await.map_err(StoreError::Away)?;
                    schema::lay_foundation(&link.client).await.map(|()| link)
                });
                match arrived {
                    Ok(link) => {
                        // Who asked waits for it.
                        let _ = came.send(Ok(()));
                        Keeper::new(address, runtime, link, me, known).keep(&given);
                    }
                    Err(error) => drop(came.send(Err(error))),
                }
            }
        };
        let thread = std::thread::Builder::new().name("miroir-lease".to_owned()).spawn(keep);
        let thread = thread.map_err(StoreError::Thread)?;
        comes.recv().unwrap_or(Err(StoreError::Stopped))?;
        Ok(Arc::new(Self {
            known,
            resigns: watch::Sender::new(false),
            orders: Mutex::new(Some(orders)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Waits until this gateway leads. Blocks.
    pub fn lead(&self) -> Result<Claim, StoreError> {
        let mut standing = self.known.standing.subscribe();
        // On a thread of its own: a caller may be inside of a runtime.
        let waited = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(StoreError::Thread)?;
                let decided = runtime.block_on(standing.wait_for(|standing| standing.role != Role::Follows));
                decided.map(drop).map_err(|_| StoreError::Stopped)
            });
            waiting.join().unwrap_or(Err(StoreError::Stopped))
        });
        waited?;
        match self.known.loss() {
            Some(Loss::Newer { found, known }) => Err(StoreError::Newer { found, known }),
            Some(loss) => Err(StoreError::Lost(loss)),
            None => self.known.claim.lock().clone().ok_or(StoreError::Stopped),
        }
    }
}

impl Leadership for Seat {
    fn watch(&self) -> watch::Receiver<Standing> {
        self.known.standing.subscribe()
    }

    fn trust(&self) -> &Trust {
        &self.known.trust
    }

    fn resign(&self) {
        self.resigns.send_replace(true);
    }

    fn resigns(&self) -> watch::Receiver<bool> {
        self.resigns.subscribe()
    }

    fn release(&self) {
        if let Some(orders) = self.orders.lock().take() {
            let resigned = *self.resigns.borrow();
            // An error: the thread has ended already.
            let _ = orders.send(Order::Release { resigned });
        }
        if let Some(thread) = self.thread.lock().take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.release();
    }
}
