//! A thread that owns a connection: what is queued is sent together and committed together. What a broken connection has left
//! undecided is decided when the server is back, by the count of commits in the leader's row.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::address::Address;
use super::group::{Outcome, Role, attempt};
use super::known::Known;
use super::link::Link;
use super::statement::{Replies, Statement};
use crate::store::StoreError;

/// How many commands share one commit at most, so that the first of a long queue does not wait for the last.
const MAX_GROUP: usize = 512;
/// How long a command waits for a server that is away.
pub const STATE_WAIT: Duration = Duration::from_secs(5);
/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(100);

/// What is to follow on the replies of the statements before, in the same transaction; none ends it.
pub type Then = Arc<dyn Fn(&Replies) -> Result<Vec<Statement>, StoreError> + Send + Sync>;

/// What becomes of a command while the server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It fails after [`STATE_WAIT`]: whoever asked has done nothing yet.
    Bounded,
    /// It waits until the server is back: it belongs to what is under way already, and nodes may have heard of it.
    UntilBack,
}

/// Whether a command shares a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    Group,
    /// For what PostgreSQL does only outside of one.
    Alone,
}

/// Whether anybody looks at what the statements bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Replies,
    /// That they are committed is all.
    Nothing,
}

/// A command.
pub struct Ask {
    pub statements: Vec<Statement>,
    pub then: Option<Then>,
    pub patience: Patience,
    pub frame: Frame,
    pub wants: Wants,
}

/// The thread's handle. Dropping it lets the thread finish what is queued and waits for it.
pub struct Worker {
    queue: Option<UnboundedSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// A command with its place for the result.
pub trait Job: Send {
    /// What is asked.
    fn ask(&self) -> &Ask;
    /// What its own statements brought.
    fn keep(&mut self, replies: Replies);
    fn queued_at(&self) -> Instant;
    /// Sends the result to who waits for it.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<F, T> {
    ask: Ask,
    read: F,
    replies: Replies,
    queued_at: Instant,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

/// What the thread works at.
struct Desk {
    address: Address,
    role: Role,
    link: Option<Link>,
    /// Why there is no link.
    away: String,
    queue: UnboundedReceiver<Box<dyn Job>>,
    pending: VecDeque<Box<dyn Job>>,
    /// A group whose commit was sent and not answered.
    doubtful: Option<Vec<Box<dyn Job>>>,
    /// So many of the pending are tried one by one: of their group one was refused.
    singly: usize,
    known: Arc<Known>,
}

// === impl Ask ===

impl Ask {
    /// Statements in a shared transaction.
    pub fn new(patience: Patience, statements: Vec<Statement>) -> Self {
        Self { statements, then: None, patience, frame: Frame::Group, wants: Wants::Replies }
    }

    /// True where its commit may be sent along with it: when the connection breaks meanwhile it is in doubt until the server is back,
    /// so it must be one that waits for that, and its replies are lost if it was committed.
    pub fn goes_blind(&self) -> bool {
        self.wants == Wants::Nothing && self.patience == Patience::UntilBack && self.then.is_none()
    }
}

// === impl Worker ===

impl Worker {
    /// `name` is the thread's. The connection is made when it is first needed.
    pub fn spawn(name: &str, address: Address, role: Role, known: Arc<Known>) -> Result<Self, StoreError> {
        let (queue, jobs) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::Thread)?;
        let serve = move || {
            let desk = Desk {
                address,
                role,
                link: None,
                away: String::new(),
                queue: jobs,
                pending: VecDeque::new(),
                doubtful: None,
                singly: 0,
                known,
            };
            runtime.block_on(desk.serve());
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(serve).map_err(StoreError::Thread)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Carries `ask` out; returns what `read` makes of its replies once it is committed.
    pub async fn call<T, F>(&self, ask: Ask, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(Replies) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let call = Call { ask, read, replies: Vec::new(), queued_at: Instant::now(), reply };
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        queue.send(Box::new(call)).map_err(|_| StoreError::Stopped)?;
        result.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its callers, who got no answer.
            let _ = thread.join();
        }
    }
}

// === impl Call ===

impl<T, F> Job for Call<F, T>
where
    T: Send,
    F: FnOnce(Replies) -> Result<T, StoreError> + Send,
{
    fn ask(&self) -> &Ask {
        &self.ask
    }

    fn keep(&mut self, replies: Replies) {
        self.replies = replies;
    }

    fn queued_at(&self) -> Instant {
        self.queued_at
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { read, replies, reply, .. } = *self;
        // Whoever asked may have gone away: a client that hung up.
        let _ = reply.send(outcome.and_then(|()| read(replies)));
    }
}

// === impl Desk ===

impl Desk {
    async fn serve(mut self) {
        loop {
            if self.pending.is_empty() && self.doubtful.is_none() {
                match self.queue.recv().await {
                    Some(job) => self.pending.push_back(job),
                    None => return,
                }
            }
            while let Ok(job) = self.queue.try_recv() {
                self.pending.push_back(job);
            }
            if let Some(loss) = self.known.loss() {
                let doubtful = self.doubtful.take().into_iter().flatten();
                for job in doubtful.chain(self.pending.drain(..)) {
                    job.answer(Err(StoreError::Lost(loss.clone())));
                }
                continue;
            }
            if !self.connect().await {
                self.give_up_the_impatient();
                if self.queue.is_closed() && self.queue.is_empty() {
                    // The program ends; what is in doubt is decided by who starts next.
                    return;
                }
                tokio::time::sleep(RETRY).await;
                continue;
            }
            self.work().await;
        }
    }

    /// True when there is a connection.
    async fn connect(&mut self) -> bool {
        if self.link.as_ref().is_some_and(|link| !link.client.is_closed()) {
            return true;
        }
        self.link = None;
        match Link::connect(&self.address).await {
            Ok(link) => {
                if let Err(loss) = self.role.is_at(link.system.as_ref()) {
                    self.known.lose(loss);
                    return false;
                }
                if !self.away.is_empty() {
                    tracing::info!(role = self.role.name(), "the state can be reached again");
                    self.away.clear();
                }
                self.link = Some(link);
                true
            }
            Err(why) => {
                self.is_away(why);
                false
            }
        }
    }

    fn is_away(&mut self, why: String) {
        if self.away.is_empty() {
            tracing::error!(role = self.role.name(), %why, "the state cannot be reached");
        }
        self.away = why;
    }

    fn give_up_the_impatient(&mut self) {
        let (late, waiting) = self.pending.drain(..).partition::<Vec<_>, _>(|job| {
            job.ask().patience == Patience::Bounded && job.queued_at().elapsed() >= STATE_WAIT
        });
        self.pending = waiting.into();
        self.singly = 0;
        for job in late {
            job.answer(Err(StoreError::Away(self.away.clone())));
        }
    }

    fn next_group(&mut self) -> Vec<Box<dyn Job>> {
        let mut group = Vec::new();
        let most = if self.singly > 0 { 1 } else { MAX_GROUP };
        self.singly = self.singly.saturating_sub(1);
        while group.len() < most
            && let Some(next) = self.pending.front()
            && (group.is_empty() || next.ask().frame == Frame::Group)
        {
            let alone = next.ask().frame == Frame::Alone;
            group.extend(self.pending.pop_front());
            if alone {
                break;
            }
        }
        group
    }

    async fn work(&mut self) {
        if self.link.is_none() {
            return;
        }
        let in_doubt = self.doubtful.is_some();
        let mut group = self.doubtful.take().unwrap_or_else(|| self.next_group());
        let Some(link) = self.link.as_ref() else { return };
        match attempt(&link.client, &mut self.role, &mut group, in_doubt).await {
            Outcome::Done => {
                if let Role::Writes(claim) = &self.role {
                    self.known.committed(claim.commits);
                }
                group.into_iter().for_each(|job| job.answer(Ok(())));
            }
            Outcome::Refused(error) if group.len() == 1 => group.into_iter().for_each(|job| {
                job.answer(Err(StoreError::Postgres(error.clone())));
            }),
            Outcome::Refused(_) => {
                self.singly = group.len();
                group.into_iter().rev().for_each(|job| self.pending.push_front(job));
            }
            Outcome::Failed(error) => {
                // A group of one, see `attempt`.
                if let Some(job) = group.pop() {
                    job.answer(Err(error));
                }
            }
            Outcome::Broken(why) => {
                self.link = None;
                self.is_away(why);
                if in_doubt {
                    self.doubtful = Some(group);
                    return;
                }
                group.into_iter().rev().for_each(|job| self.pending.push_front(job));
            }
            Outcome::InDoubt(why) => {
                self.link = None;
                self.is_away(why);
                self.doubtful = Some(group);
            }
            Outcome::Lost(loss) => {
                self.known.lose(loss);
                self.doubtful = Some(group);
            }
        }
    }
}
