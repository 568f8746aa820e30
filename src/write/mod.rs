//! Writes: from a client's body to an acknowledgement.
//!
//! | module | what lives there |
//! |---|---|
//! | [`body`] | a client's request body as a stream of chunks, and its decompression |
//! | [`documents`] | document writes: a body becomes one payload per node |
//! | [`vocabulary`] | every node knows all words of an index |
//! | [`writer`] | one order for all replicas, durable before anything leaves |
//! | `send` | one step of a write, sent to one node |
//! | [`direct`] | requests that every node answers at once, without a task |

pub mod body;
pub mod direct;
pub mod documents;
pub(crate) mod send;
pub mod vocabulary;
pub mod writer;

pub use writer::Writer;
