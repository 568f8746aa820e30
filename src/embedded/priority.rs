//! Lets threads that index give way to threads that answer searches.

/// Makes the calling thread, and all that it starts from now on, give way to others by `nice` steps of the system's nice
/// value, of which 19 is the most. Where threads share the value of their process this does nothing.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn give_way(nice: u8) {
    // SAFETY: a number goes in and a number comes out. On Linux the call concerns the calling thread alone. It cannot
    // fail, because whoever may run may also give way.
    unsafe { libc::nice(i32::from(nice)) };
}

#[cfg(not(target_os = "linux"))]
pub fn give_way(_: u8) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Field 19 of a thread's status, the 17th after the name in brackets.
    fn nice() -> i32 {
        let status = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = status.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[16].parse().unwrap()
    }

    #[test]
    fn a_thread_and_those_it_starts_give_way_and_others_do_not() {
        let before = nice();
        let seen = std::thread::spawn(|| {
            give_way(3);
            (nice(), std::thread::spawn(nice).join().unwrap())
        });
        let lower = (before + 3).min(19);
        assert_eq!(seen.join().unwrap(), (lower, lower));
        assert_eq!(nice(), before);
    }
}
