//! What gateways say to each other of views, as JSON.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::view::{Update, ViewNumber};

/// What this version speaks. It grows when an older version could misunderstand something.
pub const PROTOCOL: u32 = 1;

/// A follower wants to hear what is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// See [`PROTOCOL`].
    pub protocol: u32,
    /// The process that asks: another one after each start, so that nothing is believed of one that was said by one before it.
    pub process: Uuid,
    /// What operators call it.
    pub gateway: String,
    /// Of the program.
    pub version: String,
    /// Grows with each question of the process: one that was overtaken counts no more.
    pub turn: u64,
    /// The turn of the last answer that came; 0 before the first.
    pub taken: u64,
    /// The view that its requests go by from now on.
    pub has: Option<ViewNumber>,
    /// The oldest view that one of its requests goes by; the same as `has` where all go by that.
    pub oldest: Option<ViewNumber>,
    /// How long the answer may take where nothing is new, in milliseconds.
    pub may_take: u64,
    /// How long a read may take there, in milliseconds.
    pub longest_read: u64,
    /// It does not reach the database, and has promised before it sent this that it does not lead for a while: `store/failsafe.rs`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promises: bool,
}

/// What the leader answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Answer {
    /// There is a newer view. It is lent.
    View(Box<Update>),
    /// The view that the follower has is still the newest. It is lent.
    Same,
    /// It leads, but does not know the nodes well enough yet to say what they are good for.
    NotYet,
    /// It does not lead, or not any more.
    NotLeading,
    /// The answer before this one did not come. Nothing is lent before one has: ask again, and say that this one has come.
    Again,
    /// A later question of the same process has come.
    Overtaken,
    /// It speaks another protocol.
    OtherProtocol { protocol: u32 },
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Reaches whoever leads.
#[async_trait]
pub trait AskLeader: Send + Sync {
    /// Asks once. An answer counts from when this was called, so nothing may be kept back before it is sent.
    ///
    /// # Errors
    ///
    /// When no leader is known, or none was reached.
    async fn ask(&self, question: &Question) -> Result<Answer, NoAnswer>;
}
