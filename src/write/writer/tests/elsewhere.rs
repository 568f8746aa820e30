//! What other gateways must have heard before a client is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::nodes::elsewhere::{Elsewhere, Told};

/// Other gateways that hear when they are let, once for each permit.
struct Slow {
    permits: Semaphore,
    waiting: AtomicUsize,
    heard: AtomicUsize,
}

#[async_trait]
impl Elsewhere for Slow {
    fn changed(&self, _what: Told) {}

    async fn heard(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.heard.fetch_add(1, Ordering::SeqCst);
    }

    async fn quiet(&self) {
        self.heard().await;
    }
}

impl Slow {
    async fn is_waited_for(&self) {
        let waits = async {
            while self.waiting.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waits).await.expect("somebody waits until others have heard");
    }

    /// What waits goes on, and only that.
    async fn hears(&self) {
        let before = self.heard.load(Ordering::SeqCst);
        self.permits.add_permits(1);
        while self.heard.load(Ordering::SeqCst) == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_write_is_acknowledged_and_shown_as_done_when_other_gateways_have_heard_who_missed_it() {
    let (fleet, directory) = (Fleet::default(), tempfile::tempdir().unwrap());
    let cluster = cluster(&fleet, &directory).await;
    let first = cluster.writes.submit(batch(1), Vec::new(), &trace()).await.unwrap();
    cluster.tracking.reconciler.ended(first.uid).await;
    let slow =
        Arc::new(Slow { permits: Semaphore::new(0), waiting: AtomicUsize::default(), heard: AtomicUsize::default() });
    cluster.nodes.elsewhere.are(Arc::clone(&slow) as Arc<dyn Elsewhere>);
    fleet.set("n1", Mood::Unreachable);
    let writes = Arc::clone(&cluster.writes);
    let submitted = tokio::spawn(async move { writes.submit(batch(2), Vec::new(), &trace()).await });
    slow.is_waited_for().await;
    let row = || async { cluster.ledger.store.get_task(TaskRef::Uid(first.uid + 1)).await.unwrap().unwrap() };
    assert!(!cluster.ledger.store.stale().await.unwrap().is_empty(), "it is durable");
    assert!(!cluster.nodes.topology().stale.is_empty(), "and gone by here");
    assert!(!row().await.acknowledged && !submitted.is_finished());

    slow.hears().await;
    let task = submitted.await.unwrap().unwrap();
    assert!(task.acknowledged);
    slow.is_waited_for().await;
    assert!(!row().await.status.is_final(), "the nodes have carried it out, and it is not shown yet");
    slow.hears().await;
    cluster.tracking.reconciler.ended(task.uid).await;
    assert_eq!(row().await.status, TaskStatus::Succeeded);
}
