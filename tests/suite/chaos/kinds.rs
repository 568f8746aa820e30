//! The kinds of faults, as they are drawn and counted.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// kill -9 of a node, and a restart.
    NodeKill,
    /// SIGSTOP of a node, and SIGCONT.
    NodeFreeze,
    NetworkDelay,
    NetworkRefuse,
    NetworkBlackHole,
    NetworkCut,
    NetworkReset,
    NetworkGarble,
    DiskFull,
    /// kill -9 of the gateway, and a restart.
    GatewayKill,
    /// kill -9 of the gateway that leads, of several.
    LeaderKill,
    FollowerKill,
    /// SIGSTOP of the gateway that leads until another does, and SIGCONT.
    LeaderFreeze,
    /// SIGSTOP of any gateway for a shorter while, and SIGCONT.
    GatewayFreeze,
    /// SIGTERM of a gateway.
    LeaderStop,
    FollowerStop,
    StepDown,
    /// One gateway does not reach the database.
    StoreCut,
    /// No gateway reaches this one.
    DoorCut,
    /// One gateway does not reach this one.
    GatewayPairCut,
    /// One gateway does not reach one node.
    NodePairCut,
    /// Somebody deletes the key by which one node takes changes.
    KeyLoss,
    /// The database is stopped, and comes back soon or late.
    StoreStop,
    /// It dies as by a crash.
    StoreCrash,
    StoreKill,
    /// kill -9 of every node at once: the only fault that takes more than RF - 1 nodes away.
    Outage,
    NodeAdd,
    NodeDrain,
    /// A drained node is to hold shards again.
    NodeRefill,
    NodeRemove,
    WeightChange,
    ReplicationChange,
    /// A move is paused, and resumed after the other faults of the moment.
    MovePause,
    MoveCancel,
    /// Back to what the last move that ended had found.
    MoveUndo,
}

/// What a fault is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    OneNode,
    /// The only one.
    Gateway,
    /// One of several gateways, what it talks to, or their database.
    Gateways,
    AllNodes,
    /// The owners of shards, through the admin API.
    Topology,
}

// === impl FaultKind ===

impl FaultKind {
    pub const ALL: [FaultKind; 35] = [
        Self::NodeKill,
        Self::NodeFreeze,
        Self::NetworkDelay,
        Self::NetworkRefuse,
        Self::NetworkBlackHole,
        Self::NetworkCut,
        Self::NetworkReset,
        Self::NetworkGarble,
        Self::DiskFull,
        Self::GatewayKill,
        Self::LeaderKill,
        Self::FollowerKill,
        Self::LeaderFreeze,
        Self::GatewayFreeze,
        Self::LeaderStop,
        Self::FollowerStop,
        Self::StepDown,
        Self::StoreCut,
        Self::DoorCut,
        Self::GatewayPairCut,
        Self::NodePairCut,
        Self::KeyLoss,
        Self::StoreStop,
        Self::StoreCrash,
        Self::StoreKill,
        Self::Outage,
        Self::NodeAdd,
        Self::NodeDrain,
        Self::NodeRefill,
        Self::NodeRemove,
        Self::WeightChange,
        Self::ReplicationChange,
        Self::MovePause,
        Self::MoveCancel,
        Self::MoveUndo,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NodeKill => "node killed (-9)",
            Self::NodeFreeze => "node frozen (SIGSTOP)",
            Self::NetworkDelay => "network slow",
            Self::NetworkRefuse => "network refuses",
            Self::NetworkBlackHole => "network black hole",
            Self::NetworkCut => "answers cut short",
            Self::NetworkReset => "connections reset",
            Self::NetworkGarble => "answers garbled",
            Self::DiskFull => "disk full",
            Self::GatewayKill => "gateway killed (-9)",
            Self::LeaderKill => "leader killed (-9)",
            Self::FollowerKill => "following gateway killed (-9)",
            Self::LeaderFreeze => "leader frozen past its lease (SIGSTOP)",
            Self::GatewayFreeze => "gateway frozen (SIGSTOP)",
            Self::LeaderStop => "leader stopped (SIGTERM)",
            Self::FollowerStop => "following gateway stopped (SIGTERM)",
            Self::StepDown => "leader steps down",
            Self::StoreCut => "gateway cut off from the database",
            Self::DoorCut => "gateway cut off from all others",
            Self::GatewayPairCut => "gateway cut off from one other",
            Self::NodePairCut => "gateway cut off from one node",
            Self::KeyLoss => "epoch's key deleted on a node",
            Self::StoreStop => "database stopped",
            Self::StoreCrash => "database crashed (SIGQUIT)",
            Self::StoreKill => "database killed (-9)",
            Self::Outage => "all nodes killed (-9)",
            Self::NodeAdd => "node added",
            Self::NodeDrain => "node drained",
            Self::NodeRefill => "drained node filled again",
            Self::NodeRemove => "node removed",
            Self::WeightChange => "weight changed",
            Self::ReplicationChange => "replication factor changed",
            Self::MovePause => "move paused and resumed",
            Self::MoveCancel => "move canceled",
            Self::MoveUndo => "move undone",
        }
    }

    pub fn class(self) -> Class {
        match self {
            Self::NodeKill
            | Self::NodeFreeze
            | Self::NetworkDelay
            | Self::NetworkRefuse
            | Self::NetworkBlackHole
            | Self::NetworkCut
            | Self::NetworkReset
            | Self::NetworkGarble
            | Self::DiskFull => Class::OneNode,
            Self::GatewayKill => Class::Gateway,
            Self::LeaderKill
            | Self::FollowerKill
            | Self::LeaderFreeze
            | Self::GatewayFreeze
            | Self::LeaderStop
            | Self::FollowerStop
            | Self::StepDown
            | Self::StoreCut
            | Self::DoorCut
            | Self::GatewayPairCut
            | Self::NodePairCut
            | Self::KeyLoss
            | Self::StoreStop
            | Self::StoreCrash
            | Self::StoreKill => Class::Gateways,
            Self::Outage => Class::AllNodes,
            Self::NodeAdd
            | Self::NodeDrain
            | Self::NodeRefill
            | Self::NodeRemove
            | Self::WeightChange
            | Self::ReplicationChange
            | Self::MovePause
            | Self::MoveCancel
            | Self::MoveUndo => Class::Topology,
        }
    }
}
