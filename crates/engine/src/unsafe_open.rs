//! The only unsafe code of the crate: opening LMDB environments and mapping payload files.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use milli_core::heed::{self, Env, EnvOpenOptions, WithoutTls};

/// Opens the environment that holds the index map.
#[allow(unsafe_code)]
pub fn environment(path: &Path, map_size: usize) -> Result<Env<WithoutTls>, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map_size).max_dbs(1);
    // SAFETY: LMDB maps the file; the data folder is this process's alone (a lock file says so while it runs), nothing
    // else writes it, and heed refuses to open one environment twice in a process.
    unsafe { options.open(path) }
}

/// Maps a payload file for reading.
#[allow(unsafe_code)]
pub fn payload(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: a payload is written once, before its task is accepted, and is deleted, never changed, after it ended;
    // an unlinked file stays whole while it is mapped.
    unsafe { Mmap::map(&file) }
}
