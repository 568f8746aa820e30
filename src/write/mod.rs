//! Writes: from a client's body to an acknowledgement.
//!
//! | module | what lives there |
//! |---|---|
//! | `part` | what this room holds: [`Writes`] |
//! | [`body`] | a client's request body as a stream of chunks, and its decompression |
//! | [`documents`] | document writes: a body becomes one payload per node |
//! | [`vocabulary`] | every node knows all words of an index |
//! | `coalesce` | small writes that wait for one node travel together |
//! | `pace` | writes of an index that is copied do not outrun its nodes |
//! | `parcel` | what a small write offers to those before it |
//! | `order` | the one order of all writes |
//! | [`writer`] | one order for all replicas, durable before anything leaves |
//! | `planned` | one request of a write to one node |
//! | `send` | one step of a write, sent to one node |
//! | [`settings`] | what the operator sets of writes |
//! | [`direct`] | requests that every node answers at once, without a task |

pub mod body;
mod coalesce;
pub mod direct;
pub mod documents;
pub(crate) mod order;
mod pace;
mod parcel;
mod part;
pub(crate) mod planned;
pub(crate) mod send;
pub mod settings;
pub mod vocabulary;
pub mod writer;

pub use part::Writes;
