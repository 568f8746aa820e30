//! Who may change the state, and until when. Of the gateways on one PostgreSQL server one leads, by a lease; a state file has
//! one gateway, which always does.

use async_trait::async_trait;

use super::StoreError;

/// What to do where another gateway leads already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLed {
    /// Start not.
    Refuse,
    /// Start when its lease has ended.
    Wait,
}

/// What to do with a state that lost its last commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLost {
    /// Leave it alone.
    Refuse,
    /// Empty it: what it should hold is found out from the nodes next.
    Empty,
}

/// How a gateway shows itself to the others, and what it comes for.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What operators call it.
    pub name: String,
    pub when_led: WhenLed,
    pub when_lost: WhenLost,
}

/// Why this process may not change the state any more. It is to end at once: whoever leads now has decided what became of the
/// writes that were under way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    #[error("another gateway leads since epoch {epoch}")]
    Superseded { epoch: i64 },
    #[error("the lease could not be renewed in time, and another gateway may lead by now")]
    Expired,
    #[error("the lease was given up")]
    GivenUp,
    #[error(
        "the state lost its last commits ({why}): its server came back older than it was. Nothing is served by it until \
         `miroir recover` has compared the nodes"
    )]
    Tail { why: String },
}

/// A gateway that was seen at the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub version: String,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// The state is this gateway's alone.
    Only,
    /// This gateway leads, by a lease.
    Leads {
        epoch: i64,
        since: String,
        /// What was last known of the gateways at the database, this one with them.
        members: Vec<Member>,
        /// Whether the lease is good: false while the database cannot be reached and nobody else is there to take over.
        good: bool,
    },
}

/// The right to change the state.
#[async_trait]
pub trait Leadership: Send + Sync + 'static {
    /// Returns when this process must not act on the state any more.
    async fn lost(&self) -> Loss;
    /// As last known; asks nobody.
    fn standing(&self) -> Standing;
    /// Gives the lease up, so that the next gateway need not wait for its end. Blocks; called last.
    fn release(&self);
}

/// The right to a state file, which is never lost.
pub struct Only;

#[async_trait]
impl Leadership for Only {
    async fn lost(&self) -> Loss {
        std::future::pending().await
    }

    fn standing(&self) -> Standing {
        Standing::Only
    }

    fn release(&self) {}
}

/// What is asked of a candidate that finds a leader.
impl WhenLed {
    /// An error for who is not to wait.
    pub fn may_wait(self, leader: &str) -> Result<(), StoreError> {
        match self {
            Self::Wait => Ok(()),
            Self::Refuse => Err(StoreError::Led { leader: leader.to_owned() }),
        }
    }
}
