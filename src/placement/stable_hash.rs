//! The one hash that placement rests on. A changed hash is lost data, so golden vectors pin it.

use xxhash_rust::xxh3::xxh3_64;

/// xxh3, 64 bits, no seed, over explicit bytes. Never `std::hash::Hash`: its byte layout is nobody's promise.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}
