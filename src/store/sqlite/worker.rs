//! A thread that owns a connection: commands queue up, and what is queued is committed together.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// How many commands share one commit at most, so that the first of a long queue does not wait for the last.
const MAX_GROUP: usize = 512;

/// The thread's handle. Dropping it lets the thread finish what is queued and waits for it.
pub struct Worker {
    queue: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// A command with its place for the result.
trait Job: Send {
    /// Whether it begins and ends its transactions itself.
    fn is_alone(&self) -> bool;
    fn run(&mut self, connection: &Connection);
    /// Sends the result to who waits for it; `commit_error` stands in its place if the group was not committed.
    fn answer(self: Box<Self>, commit_error: Option<&str>);
}

struct Call<F, T> {
    work: Option<F>,
    alone: bool,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

// === impl Worker ===

impl Worker {
    /// `name` is the thread's. The connection lives and is closed there.
    pub fn spawn(name: &str, connection: Connection) -> Result<Self, StoreError> {
        let (queue, jobs) = channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&connection, &jobs))
            .map_err(StoreError::Thread)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `work` on the thread; returns once its effect is on disk.
    pub async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue(work, false).await
    }

    /// Runs `work` as [`Worker::call`] does, but outside of a transaction, for what SQLite does only there.
    pub async fn call_alone<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue(work, true).await
    }

    async fn queue<T, F>(&self, work: F, alone: bool) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let call = Call { work: Some(work), alone, result: None, reply };
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
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn is_alone(&self) -> bool {
        self.alone
    }

    fn run(&mut self, connection: &Connection) {
        if let Some(work) = self.work.take() {
            self.result = Some(if self.alone { work(connection) } else { in_savepoint(connection, work) });
        }
    }

    fn answer(self: Box<Self>, commit_error: Option<&str>) {
        let result = match (commit_error, self.result) {
            (Some(error), _) => Err(StoreError::Commit(error.to_owned())),
            (None, Some(result)) => result,
            (None, None) => Err(StoreError::Stopped),
        };
        // Whoever asked may have gone away: a client that hung up.
        let _ = self.reply.send(result);
    }
}

/// Undoes what `work` did if it fails, and nothing of what others in the group did.
fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    execute(connection, "SAVEPOINT command")?;
    match work(connection) {
        Ok(value) => {
            execute(connection, "RELEASE command")?;
            Ok(value)
        }
        Err(error) => {
            connection.execute_batch("ROLLBACK TO command; RELEASE command")?;
            Err(error)
        }
    }
}

/// A statement that is used all the time.
fn execute(connection: &Connection, statement: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}

fn serve(connection: &Connection, jobs: &Receiver<Box<dyn Job>>) {
    let mut held: Option<Box<dyn Job>> = None;
    while let Some(mut first) = held.take().or_else(|| jobs.recv().ok()) {
        if first.is_alone() {
            first.run(connection);
            first.answer(None);
            continue;
        }
        let mut group = vec![first];
        while group.len() < MAX_GROUP
            && let Ok(next) = jobs.try_recv()
        {
            if next.is_alone() {
                held = Some(next);
                break;
            }
            group.push(next);
        }
        let commit_error = run_group(connection, &mut group).err().map(|error| error.to_string());
        for job in group {
            job.answer(commit_error.as_deref());
        }
    }
}

fn run_group(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), rusqlite::Error> {
    execute(connection, "BEGIN")?;
    for job in group {
        job.run(connection);
    }
    execute(connection, "COMMIT").inspect_err(|_| {
        // Some errors of COMMIT leave the transaction open; the next group must not inherit it.
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn worker() -> Worker {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        Worker::spawn("test", connection).unwrap()
    }

    fn insert(x: i64) -> impl FnOnce(&Connection) -> Result<usize, StoreError> + Send + 'static {
        move |connection| Ok(connection.execute("INSERT INTO t VALUES (?)", [x])?)
    }

    fn count(connection: &Connection) -> Result<i64, StoreError> {
        Ok(connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
    }

    /// Holds the thread until the returned sender is used or dropped, so that commands queue up behind.
    async fn hold(worker: &Arc<Worker>) -> Sender<()> {
        let (release, held) = channel();
        let (begin, begun) = oneshot::channel();
        let holder = worker.clone();
        tokio::spawn(async move {
            let wait = move |_: &Connection| {
                let _ = begin.send(());
                let _ = held.recv();
                Ok(())
            };
            holder.call(wait).await
        });
        begun.await.unwrap();
        release
    }

    #[tokio::test]
    async fn a_failing_command_does_not_spoil_its_group() {
        let worker = Arc::new(worker());
        let release = hold(&worker).await;
        // Polled in this order: all three are queued when the thread goes on.
        let (first, twin, second, ()) =
            tokio::join!(worker.call(insert(1)), worker.call(insert(1)), worker.call(insert(2)), async {
                drop(release)
            });
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(twin, Err(StoreError::Sqlite(_))));
        assert_eq!(worker.call(count).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_must_be_alone_comes_in_its_turn_and_outside_of_a_transaction() {
        let worker = Arc::new(worker());
        let release = hold(&worker).await;
        let counted = |connection: &Connection| {
            assert!(connection.is_autocommit());
            connection.execute_batch("VACUUM")?;
            count(connection)
        };
        let (first, alone, second, ()) =
            tokio::join!(worker.call(insert(1)), worker.call_alone(counted), worker.call(insert(2)), async {
                drop(release)
            });
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(alone.unwrap(), 1);
        assert_eq!(worker.call(count).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failing_command_leaves_nothing_behind() {
        let worker = worker();
        let half = |connection: &Connection| -> Result<(), StoreError> {
            connection.execute("INSERT INTO t VALUES (5)", [])?;
            Err(StoreError::Stopped)
        };
        assert!(worker.call(half).await.is_err());
        assert_eq!(worker.call(count).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_group_that_is_not_committed_fails_for_all() {
        let worker = Arc::new(worker());
        worker
            .call(|connection| {
                connection.execute_batch(
                    "CREATE TABLE parent (id INTEGER PRIMARY KEY);
                     CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);",
                )?;
                Ok(())
            })
            .await
            .unwrap();
        let orphan = |connection: &Connection| Ok(connection.execute("INSERT INTO child VALUES (1)", [])?);
        let release = hold(&worker).await;
        let (orphan, innocent, ()) = tokio::join!(worker.call(orphan), worker.call(insert(1)), async { drop(release) });
        assert!(matches!(orphan, Err(StoreError::Commit(_))), "{orphan:?}");
        assert!(matches!(innocent, Err(StoreError::Commit(_))));
        assert_eq!(worker.call(count).await.unwrap(), 0);
        worker.call(insert(1)).await.unwrap();
    }

    #[tokio::test]
    async fn dropping_the_worker_finishes_what_is_queued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t (x INTEGER UNIQUE)").unwrap();
        let worker = Worker::spawn("test", connection).unwrap();
        worker.call(insert(1)).await.unwrap();
        drop(worker);
        assert_eq!(count(&Connection::open(&path).unwrap()).unwrap(), 1);
    }
}
