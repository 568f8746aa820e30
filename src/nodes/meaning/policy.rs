//! What each of those who ask nodes makes of a meaning. Where they differ, it is by a cell of this table.

use super::Meaning;

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub read: ForRead,
    /// Of asking another node for what this one did not give.
    pub price: Price,
    pub circuit: ForCircuit,
    pub write: ForWrite,
    pub forward: ForForward,
    pub health: ForHealth,
    pub repair: ForRepair,
}

/// What an attempt of a read comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForRead {
    Use,
    /// Any replica would say the same: the client is told.
    Relay,
    /// Another replica may do better.
    OtherReplica,
    /// Another replica may do better; if none does, the client is told.
    OtherReplicaOrRelay,
    /// Another replica may do better; where all that were asked say the same, the client is told.
    OtherReplicaUnlessAgreed,
    /// The read's own time is over: nobody else is asked.
    OutOfTime,
}

/// What another attempt costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// Nothing: the node has not worked on the request.
    Free,
    /// One of the budget of retries.
    Retry,
}

/// What a node's circuit learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForCircuit {
    Good,
    Bad,
    /// Bad, or to be left alone for as long as the node says.
    Busy,
    /// Nothing: the node was not asked, or health checks know it already.
    Nothing,
}

/// What a step of a write comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForWrite {
    /// The reply names the node's task.
    Taken,
    /// The client is told, in the node's words.
    Refused,
    /// The node will not take it however often it is asked, and others may: its replica is stale.
    Hopeless,
    /// The node has surely not seen it.
    NotSent,
    /// The node may have taken it: it is looked up before it is sent again.
    MaybeApplied,
    /// The node has not taken it, and is waited for.
    Busy,
    /// The node may have taken it, and is waited for: it is looked up before it is sent again.
    Unanswered,
}

/// What is made of a forwarded request's reply, of which the head is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForForward {
    Relay,
    NextNode,
}

/// What a subrequest says of a node's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForHealth {
    /// It lives, whatever it says.
    Heard,
    /// It is down at once.
    Gone,
    Nothing,
}

/// What is kept out of service by a repair that stopped for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForRepair {
    Node,
    /// One index of the node.
    Index,
}

// === impl Policy ===

impl Policy {
    const fn row(
        read: ForRead,
        price: Price,
        circuit: ForCircuit,
        write: ForWrite,
        forward: ForForward,
        health: ForHealth,
        repair: ForRepair,
    ) -> Self {
        Self { read, price, circuit, write, forward, health, repair }
    }
}

// === impl Meaning ===

impl Meaning {
    /// True where the engine finds fault with the request; a node's own trouble says nothing about it.
    pub const fn is_judgement(self) -> bool {
        match self.policy().read {
            ForRead::Relay | ForRead::OtherReplicaOrRelay => true,
            ForRead::Use | ForRead::OtherReplica | ForRead::OtherReplicaUnlessAgreed | ForRead::OutOfTime => false,
        }
    }

    #[rustfmt::skip]
    pub const fn policy(self) -> Policy {
        use {ForCircuit as C, ForForward as F, ForHealth as H, ForRead as R, ForRepair as A, ForWrite as W};
        let row = Policy::row;
        match self {
            Self::Answer       => row(R::Use,                      Price::Retry, C::Good,    W::Taken,        F::Relay,    H::Heard,   A::Index),
            Self::Wrong        => row(R::Relay,                    Price::Retry, C::Good,    W::Refused,      F::Relay,    H::Heard,   A::Index),
            Self::NoSuch       => row(R::Relay,                    Price::Retry, C::Good,    W::Refused,      F::Relay,    H::Heard,   A::Index),
            Self::NotHere      => row(R::OtherReplicaOrRelay,      Price::Free,  C::Good,    W::Refused,      F::Relay,    H::Heard,   A::Index),
            // It works, and lacks one index only.
            Self::Unready      => row(R::OtherReplica,             Price::Retry, C::Good,    W::Hopeless,     F::NextNode, H::Heard,   A::Index),
            Self::Busy         => row(R::OtherReplica,             Price::Retry, C::Busy,    W::Busy,         F::NextNode, H::Heard,   A::Index),
            // Not the client's fault.
            Self::Unauthorised => row(R::OtherReplica,             Price::Retry, C::Bad,     W::Hopeless,     F::NextNode, H::Heard,   A::Index),
            Self::Ailing       => row(R::OtherReplica,             Price::Retry, C::Bad,     W::Hopeless,     F::NextNode, H::Heard,   A::Index),
            Self::Internal     => row(R::OtherReplicaUnlessAgreed, Price::Retry, C::Bad,     W::Hopeless,     F::NextNode, H::Heard,   A::Index),
            Self::Broken       => row(R::OtherReplica,             Price::Retry, C::Bad,     W::Hopeless,     F::NextNode, H::Heard,   A::Index),
            Self::Unanswered   => row(R::OtherReplica,             Price::Retry, C::Bad,     W::Unanswered,   F::NextNode, H::Heard,   A::Index),
            Self::Foreign      => row(R::OtherReplica,             Price::Retry, C::Bad,     W::Hopeless,     F::NextNode, H::Heard,   A::Index),
            Self::Unreachable  => row(R::OtherReplica,             Price::Free,  C::Nothing, W::NotSent,      F::NextNode, H::Gone,    A::Node),
            Self::Unconnected  => row(R::OtherReplica,             Price::Free,  C::Nothing, W::NotSent,      F::NextNode, H::Nothing, A::Index),
            // A node that works is not a node that fails: it may be the request that takes so long.
            Self::TimedOut     => row(R::OutOfTime,                Price::Retry, C::Nothing, W::MaybeApplied, F::NextNode, H::Nothing, A::Index),
            Self::Closed       => row(R::OtherReplica,             Price::Free,  C::Bad,     W::MaybeApplied, F::NextNode, H::Nothing, A::Node),
            Self::Garbled      => row(R::OtherReplica,             Price::Retry, C::Bad,     W::MaybeApplied, F::NextNode, H::Nothing, A::Index),
            // Sent again, it would be as large.
            Self::TooLarge     => row(R::OtherReplica,             Price::Retry, C::Bad,     W::Hopeless,     F::NextNode, H::Nothing, A::Index),
            Self::Unsent       => row(R::OtherReplica,             Price::Free,  C::Nothing, W::Hopeless,     F::NextNode, H::Nothing, A::Index),
            Self::Queued       => row(R::OtherReplica,             Price::Free,  C::Nothing, W::NotSent,      F::NextNode, H::Nothing, A::Index),
        }
    }
}
