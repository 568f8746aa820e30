//! A clock that nobody sets and that goes on while the machine is suspended: a lease ends then, too.

use std::time::Duration;

use crate::store::trust::Moment;

/// Tells the time since some moment in the past.
pub type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// The system's, by which the leader's lease is trusted, too.
pub fn since_boot() -> Duration {
    Moment::now().since_boot()
}
