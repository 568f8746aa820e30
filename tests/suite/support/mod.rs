//! Nodes and gateways as processes, and a client to ask them.

pub mod client;
pub mod corpus;
pub mod embedder;
pub mod fleet;
pub mod impostor;
pub mod process;

pub use client::Client;
pub use fleet::{Fleet, FleetOptions, Single};
