//! A gateway's seat at the database: a thread of its own keeps it, so that no long commit delays a renewal.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::address::Address;
use super::claim::{Claim, Me};
use super::keeper::{Keeper, Order};
use super::known::Known;
use super::link::Link;
use super::schema;
use crate::store::StoreError;
use crate::store::leadership::{Candidate, Leadership, Loss, Role, Standing};
use crate::store::trust::{Moment, Trust};

/// A place at the database. It is given up when it is dropped.
pub struct Seat {
    pub known: Arc<Known>,
    resigns: watch::Sender<bool>,
    /// Dropped to end the thread.
    orders: Mutex<Option<Sender<Order>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

// === impl Seat ===

impl Seat {
    /// Comes to the database, and takes the lease as soon as that is this gateway's to take. An error where the database cannot be
    /// reached now.
    pub fn take(address: Address, candidate: &Candidate) -> Result<Arc<Self>, StoreError> {
        let me = Me { id: Uuid::new_v4().to_string(), candidate: candidate.clone() };
        let known = Arc::new(Known::new(candidate.alone));
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
        let mut standing = self.known.watch();
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
            None => self.known.claim().ok_or(StoreError::Stopped),
        }
    }
}

impl Leadership for Seat {
    fn watch(&self) -> watch::Receiver<Standing> {
        self.known.watch()
    }

    fn trust(&self) -> &Trust {
        &self.known.trust
    }

    fn promise(&self) -> bool {
        self.known.word.lock().give(Moment::now().since_boot())
    }

    fn promised(&self, gateway: &str, since: Duration) {
        self.known.trusts(|promises| promises.promised(gateway, since));
    }

    fn doubt(&self) {
        if let Some(orders) = self.orders.lock().as_ref() {
            self.known.trusts(|promises| promises.doubt(Moment::now().since_boot()));
            // An error: the thread has ended, and with it all trust.
            let _ = orders.send(Order::Look);
        }
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
