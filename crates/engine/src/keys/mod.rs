//! API keys: the bodies that make and change them, and where they are kept.
//!
//! | module | what lives there |
//! |---|---|
//! | `request` | the bodies of `POST` and `PATCH /keys` |
//! | `store` | the keys of a node, in one file |

mod request;
mod store;

pub use request::{CreateKey, PatchKey};
pub use store::KeyStore;
