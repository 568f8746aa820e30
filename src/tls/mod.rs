//! TLS: what listeners show to clients and ask of them, and what the gateway shows to nodes and asks of them.
//!
//! Files are read at the start, so that a broken one stops the start and not a connection. Those of listeners are read again
//! when they change or an operator asks; then all of them are taken over or none, and connections go on as they are.
//!
//! | module | what lives there |
//! |---|---|
//! | `certificate` | a certificate with its key, out of files: for which names, until when |
//! | `clients` | whether a client's certificate is one that the listener lets in |
//! | `error` | why a file is of no use |
//! | `expiry` | for how many days certificates are good, as metrics and warnings |
//! | `listener` | a listener's certificates, chosen by the name that the client asks for |
//! | `listeners` | the listeners of the gateway together: reading again, watching files |
//! | `nodes` | connections to nodes |
//! | `settings` | the section `tls` |

pub mod certificate;
mod clients;
mod error;
pub mod expiry;
mod listener;
pub mod listeners;
pub mod nodes;
pub mod settings;
#[cfg(test)]
mod tests;

pub use error::TlsError;
