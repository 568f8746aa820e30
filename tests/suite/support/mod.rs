//! Nodes and gateways as processes, and a client to ask them.

pub mod balancer;
pub mod client;
pub mod corpus;
pub mod crowd;
pub mod embedder;
pub mod fault_proxy;
pub mod fleet;
pub mod gateways;
pub mod impostor;
pub mod listener;
pub mod object_store;
pub mod parity;
pub mod postgres;
pub mod process;
pub mod random;
pub mod small_disk;
pub mod stop;
pub mod strict;

pub use client::Client;
pub use fleet::{Fleet, FleetOptions, Single};
