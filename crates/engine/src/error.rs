//! What the engine answers when it refuses or fails.

use std::ops::{Deref, DerefMut};

use miroir_words::error as words;
use serde::{Deserialize, Serialize};

pub use miroir_words::error::Code;

/// An error in the shape that every answer uses. It is a type of this crate for the sake of `?`: milli's errors, SQLite's and those of
/// files become one, each in [`failure`](crate::failure) or beside its own type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error(transparent)]
#[serde(transparent)]
pub struct ResponseError(#[from] words::ResponseError);

// === impl ResponseError ===

impl ResponseError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(words::ResponseError::new(code, message))
    }
}

impl Deref for ResponseError {
    type Target = words::ResponseError;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ResponseError {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
