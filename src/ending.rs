//! How a gateway ends: by a signal, in favour of another, or at once because it does not lead any more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use miroir::gateway::serving::Serving;
use miroir::store::leadership::{self, Leadership, Loss, Role};
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch, UnixShutdownSignalWatch};
use tokio::sync::watch;

/// The exit code of a gateway that is to be started again: what `sysexits.h` calls a temporary failure.
pub const LEADS_NO_MORE: u8 = 75;
/// How long what is under way may hold up the next leader, once this one is to end.
const HAND_OVER: Duration = Duration::from_millis(700);

/// What ends the server: a signal, or that another gateway is to lead.
pub struct UntilTheEnd {
    pub leadership: Arc<dyn Leadership>,
    pub serving: Arc<Serving>,
    /// How long it goes on for those who have not heard yet that it leaves.
    pub drain: Duration,
    /// Tells the listener of clients that it takes no more connections.
    pub close: watch::Sender<bool>,
    /// How long requests that are under way then may take to end.
    pub finish: Duration,
}

/// Ends the process as a crash does, at once, when it does not lead any more: nothing that it still does may be seen, and what it was
/// at is decided by whoever leads next, as after a crash. Whoever supervises the process starts it again.
pub fn end_with_leadership(leadership: Arc<dyn Leadership>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = move || {
        let loss = runtime.block_on(leadership::lost(leadership.as_ref()));
        if loss == Loss::GivenUp {
            // By this process, which ends in its own time.
            return;
        }
        tracing::error!("this gateway ends: {loss}");
        eprintln!("miroir: this gateway ends: {loss}");
        if let Loss::Tail { .. } = loss {
            // So that it is noted in the state, for whoever starts next. Nothing is answered or acknowledged meanwhile.
            leadership.release();
        }
        std::process::exit(LEADS_NO_MORE.into());
    };
    std::thread::Builder::new().name("miroir-leads".to_owned()).spawn(watch).map(drop)
}

#[async_trait]
impl ShutdownSignalWatch for UntilTheEnd {
    async fn recv(&self) -> ShutdownSignal {
        let mut resigns = self.leadership.resigns();
        let signal = tokio::select! {
            signal = UnixShutdownSignalWatch.recv() => signal,
            Ok(_) = resigns.wait_for(|resigns| *resigns) => ShutdownSignal::GracefulTerminate,
        };
        self.serving.leave();
        // Told once more it does not wait.
        let signal = match signal {
            ShutdownSignal::GracefulTerminate => tokio::select! {
                signal = UnixShutdownSignalWatch.recv() => signal,
                () = self.leave() => signal,
            },
            ShutdownSignal::GracefulUpgrade | ShutdownSignal::FastShutdown => signal,
        };
        self.close.send_replace(true);
        signal
    }
}

impl UntilTheEnd {
    /// Goes on for those who have not heard yet, then takes no more connections and ends what is under way.
    async fn leave(&self) {
        if !self.drain.is_zero() {
            tracing::info!(drain = ?self.drain, "this gateway is not ready any more, and ends soon");
            tokio::time::sleep(self.drain).await;
        }
        if self.leadership.watch().borrow().role != Role::Only {
            // Another gateway is to lead at once, and what is under way has as long as `hand_over` gives it.
            return;
        }
        self.close.send_replace(true);
        let until = tokio::time::Instant::now() + self.finish;
        let app = self.serving.app();
        app.streams.end();
        // Pingora would end the process a fixed time after the last connection was taken in, whatever it is at.
        while app.metrics.in_flight.get() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// When this gateway is to end, the next one leads as soon as what is under way here is done, or soon after.
pub async fn hand_over(serving: &Serving, leadership: Arc<dyn Leadership>, mut shutdown: ShutdownWatch) {
    // An error: nobody is left who could say that it ends.
    let _ = shutdown.wait_for(|stop| *stop).await;
    if leadership.watch().borrow().role == Role::Only {
        return;
    }
    let until = tokio::time::Instant::now() + HAND_OVER;
    while serving.app().metrics.in_flight.get() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if let Some(publisher) = serving.app().publisher.get()
        && let Err(error) = publisher.resign().await
    {
        tracing::warn!(%error, "the next leader cannot be told who has views; it waits for their end");
    }
    // It waits for the database.
    let _ = tokio::task::spawn_blocking(move || leadership.release()).await;
}

/// They would hold up the end of the process.
pub async fn end_streams(serving: &Serving, mut shutdown: ShutdownWatch) {
    // An error: nobody is left who could say that it ends.
    let _ = shutdown.wait_for(|stop| *stop).await;
    serving.app().streams.end();
}
