//! The one hash that placement rests on. A changed hash is lost data, so golden vectors pin it.

use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

/// xxh3, 64 bits, no seed, over explicit bytes. Never `std::hash::Hash`: its byte layout is nobody's promise.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// For tables whose keys are such hashes already: they are not hashed once more.
pub type ByHash = BuildHasherDefault<AsIs>;

/// Takes the last number it is given for its hash.
#[derive(Default)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash_bytes(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
