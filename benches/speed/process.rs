//! What a process has cost so far, as the kernel counts it.

use std::collections::BTreeMap;
use std::process::Command;

/// Processor time of a process, counted in two ways: neither is right alone.
struct Spent {
    /// Milliseconds of each thread that lives, exactly.
    threads: BTreeMap<u32, f64>,
    /// Of all threads there ever were, in steps of a tick.
    whole: f64,
}

/// Counts the processor time of some processes from its start on.
pub struct Meter {
    before: Vec<(u32, Spent)>,
}

// === impl Meter ===

impl Meter {
    pub fn start(pids: &[u32]) -> Self {
        Self { before: pids.iter().map(|pid| (*pid, Spent::of(*pid))).collect() }
    }

    /// Milliseconds of each process since the start.
    pub fn stop(&self) -> Vec<f64> {
        self.before.iter().map(|(pid, before)| Spent::of(*pid).since(before)).collect()
    }
}

// === impl Spent ===

impl Spent {
    fn of(pid: u32) -> Self {
        Self { threads: threads_ms(pid), whole: ticks_ms(pid) }
    }

    /// An engine's threads come and go, and one that has ended takes what it spent along.
    fn since(&self, before: &Self) -> f64 {
        let of_thread = |(thread, spent): (&u32, &f64)| spent - before.threads.get(thread).copied().unwrap_or_default();
        let (threads, whole) = (self.threads.iter().map(of_thread).sum::<f64>(), self.whole - before.whole);
        // What two ticks of user and two of system time may be off.
        if whole > threads + 4.0 * TICK_MS { whole } else { threads }
    }
}

/// Of `/proc/<pid>/stat`: a hundred a second on every Linux that there is.
const TICK_MS: f64 = 10.0;

/// Processor time of all threads of `pid`, in milliseconds. Threads that have ended are left out: those that answer searches do
/// not end.
pub fn cpu_ms(pid: u32) -> f64 {
    threads_ms(pid).values().sum()
}

fn threads_ms(pid: u32) -> BTreeMap<u32, f64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    let of_thread = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanoseconds = text.split(' ').next()?.parse::<f64>().ok()?;
        Some((task.file_name().to_string_lossy().parse().ok()?, nanoseconds / 1e6))
    };
    tasks.flatten().filter_map(of_thread).collect()
}

/// The same with threads that have ended, in steps of ten milliseconds.
fn ticks_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    // The name in brackets may hold spaces; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() * TICK_MS
}

/// Peak resident memory since the last [`forget_peak`], in MB.
pub fn peak_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0 / 1e6
}

/// Begins peak memory anew.
pub fn forget_peak(pid: u32) {
    // Where the kernel does not allow it, the peak is that of the whole run.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// What the machine is, for whoever reads the figures.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!("{cores} cores ({}), load {load} at the start", model.trim_start_matches([' ', '\t', ':']))
}

/// Nodes and gateways end when this program is told to, too: a panic drops them, a signal drops nothing.
pub fn end_children_with_us() {
    let end = || {
        for child in children() {
            let _ = Command::new("kill").args(["-9", &child]).status();
        }
        std::process::exit(130);
    };
    ctrlc::set_handler(end).expect("the only handler");
}

fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let is_child = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1)) == Some(own.as_str())
    };
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(is_child).collect()
}
