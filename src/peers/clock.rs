//! A clock that nobody sets and that goes on while the machine is suspended: a lease ends then, too.

use std::time::Duration;

/// Tells the time since some moment in the past.
pub type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// The system's.
pub fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    // Elsewhere it may stop while the machine sleeps.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
