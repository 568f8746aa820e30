//! The end of the process, as its loops see it.

use tokio::sync::watch;

/// Resolves once `shutdown` is true, or nobody is left to say so.
pub(crate) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a shutdown as well.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
