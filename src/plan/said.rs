//! What a request says, where it may be wrong and something else must be found wrong first.

use serde::Serialize;

use crate::meili::error::ResponseError;

/// What a request says, or what is wrong with it, if nothing else is found wrong first. Example: `GET /chats/{workspace}` with a
/// name that none can have is 400 while the feature is on, and only then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Said<T> {
    Sound(T),
    Faulty(ResponseError),
}

// === impl Said ===

impl<T> Said<T> {
    /// Once nothing else can be found wrong.
    pub fn heard(self) -> Result<T, ResponseError> {
        match self {
            Self::Sound(said) => Ok(said),
            Self::Faulty(error) => Err(error),
        }
    }
}

impl<T> From<Result<T, ResponseError>> for Said<T> {
    fn from(said: Result<T, ResponseError>) -> Self {
        match said {
            Ok(said) => Self::Sound(said),
            Err(error) => Self::Faulty(error),
        }
    }
}
