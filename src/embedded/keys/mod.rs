//! API keys: the bodies that make and change them, and where they are kept.

mod request;
mod store;

pub use request::{CreateKey, PatchKey};
pub use store::KeyStore;
