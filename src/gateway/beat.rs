//! A beat that keeps timers cheap while reads come.
//!
//! A timer that is due before all others makes the runtime wake the thread that waits for events, be it the very one that sets the timer:
//! a write to an eventfd, and a wait that ends for nothing. Each subrequest of a read sets three timers, of which hardly one ever
//! goes off. So while reads come there is always one that is due before theirs. It saves 9 of the 24 system calls of a search
//! of three nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// As long as the shortest timer of a read.
const EVERY: Duration = Duration::from_millis(10);
/// So many beats go on without a read.
const LINGERS: u32 = 100;

/// The beat that the reads of one thread keep up.
#[derive(Default)]
struct Beat {
    reads: AtomicU64,
    goes_on: AtomicBool,
}

/// A beat that ends with its runtime, too, can be begun again.
struct GoesOn(Arc<Beat>);

thread_local! {
    static BEAT: Arc<Beat> = Arc::default();
}

/// A read begins on this thread. To be called within a runtime.
pub fn keep_up() {
    BEAT.with(|beat| {
        beat.reads.fetch_add(1, Ordering::Relaxed);
        if !beat.goes_on.swap(true, Ordering::Relaxed) {
            tokio::spawn(run(GoesOn(Arc::clone(beat))));
        }
    });
}

async fn run(beat: GoesOn) {
    let (mut seen, mut quiet) = (0, 0);
    while quiet < LINGERS {
        tokio::time::sleep(EVERY).await;
        let reads = beat.0.reads.load(Ordering::Relaxed);
        quiet = if reads == seen { quiet + 1 } else { 0 };
        seen = reads;
    }
}

impl Drop for GoesOn {
    fn drop(&mut self) {
        self.0.goes_on.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on() -> bool {
        BEAT.with(|beat| beat.goes_on.load(Ordering::Relaxed))
    }

    #[test]
    fn it_goes_on_while_reads_come_and_ends_with_its_runtime() {
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let first = runtime();
        first.block_on(async {
            for _ in 0..5 {
                keep_up();
                tokio::time::sleep(EVERY * LINGERS / 2).await;
                assert!(goes_on());
            }
            tokio::time::sleep(EVERY * (LINGERS + 2)).await;
            assert!(!goes_on(), "nobody reads any more");
            keep_up();
            assert!(goes_on());
        });
        drop(first);
        assert!(!goes_on());
        runtime().block_on(async {
            keep_up();
            tokio::task::yield_now().await;
            assert!(goes_on());
        });
    }
}
