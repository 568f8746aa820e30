//! What both Miroir and a Meilisearch node say: the words of the HTTP API that a gateway and an engine share, as types. No I/O,
//! no clock.
//!
//! The gateway knows them as `miroir::meili`, where its own words are beside them.
//!
//! | module | what lives there |
//! |---|---|
//! | [`action`] | what an API key can allow |
//! | [`error`] | Meilisearch's error codes and the one error shape that every answer uses |
//! | [`format`](mod@format) | the formats of a body of documents, and what is said of one that is malformed |
//! | [`key`] | an API key, and the JSON that clients and nodes see of it |
//! | [`pattern`] | the indexes that a key is good for |
//! | [`settings`] | the settings of an index, each with its route and its name in the settings object |
//! | [`task`] | a task as Meilisearch's API shows it |
//! | [`uid`] | the uid of an index, and what Meilisearch says of a bad one |
//! | [`unit`](mod@unit) | `500ms`, `7d`, `64MiB`, read and written |

#![warn(missing_docs)]

pub mod action;
pub mod error;
pub mod format;
pub mod key;
pub mod pattern;
pub mod settings;
pub mod task;
pub mod uid;
pub mod unit;
