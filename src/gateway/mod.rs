//! The client-facing side: the only code, with [`crate::admin`], that sees Pingora's `Session`.

pub mod settings;
