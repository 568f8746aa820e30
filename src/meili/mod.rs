//! Meilisearch's words as types: what its HTTP API says and how it says it. What the embedded engine says too has a crate of its own,
//! `miroir-words`, and is known here by the same names.
//!
//! | module | what lives there |
//! |---|---|
//! | `action` | what an API key can allow |
//! | `chat` | a workspace of chats |
//! | `error` | Meilisearch's error codes and the one error shape that every answer uses |
//! | `feature` | experimental features that open routes which the gateway itself answers |
//! | `format` | the formats of a body of documents, and what is said of one that is malformed |
//! | `key` | an API key, and the JSON that clients and nodes see of it |
//! | `operation` | every operation of the HTTP API that Miroir knows |
//! | `pattern` | the indexes that a key is good for |
//! | `payload` | request bodies as JSON, refused in the engine's words |
//! | `query` | a query string, decoded as the engine decodes it |
//! | `secret` | a secret as the engine shows it |
//! | `settings` | the settings of an index, each with its route and its name in the settings object |
//! | `task` | a task as Meilisearch's API shows it |
//! | `uid` | the uid of an index, and what Meilisearch says of a bad one |
//! | `unknown` | names that a request may not have, refused in the engine's words |
//! | `versions` | what differs between versions of the engine |
//! | `webhook` | an address that is told of each task that has ended |

pub mod chat;
pub mod feature;
pub mod operation;
pub mod payload;
pub mod query;
pub mod secret;
pub mod unknown;
pub mod versions;
pub mod webhook;

pub use miroir_words::{action, error, format, key, pattern, settings, task, uid};
