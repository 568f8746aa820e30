//! The walls of the house, and what does not hold yet. An exception stands with its reason, and is deleted with it: the test
//! says so when one holds nothing back any more.

/// The folders of `src/`, from the lowest up: each may import those before it.
pub const RANKS: &[&[&str]] = &[
    &["meili"],
    &["settings"],
    &["placement"],
    &["split"],
    &["plan"],
    &["merge"],
    &["tasks"],
    &["rebalance"],
    &["store"],
    &["nodes"],
    &["read"],
    &["ledger"],
    &["tracking"],
    &["write"],
    &["replicas"],
    &["moves"],
    &["cluster"],
    &["gateway"],
    &["admin"],
    &["metrics"],
    &["logging"],
    &["config"],
    &["embedded"],
    &["commands"],
    &["lib"],
    &["proxy"],
    &["server"],
    &["recover"],
    &["main"],
];

/// Rooms without I/O, a clock of their own, or a proxy.
pub const PURE: &[&str] = &["meili", "settings", "placement", "split", "plan", "merge", "tasks", "rebalance"];

/// What they do not name.
pub const IMPURE: &[&str] = &[
    "tokio",
    "pingora",
    "pingora_proxy",
    "pingora_load_balancing",
    "rusqlite",
    "std::net",
    "std::fs",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant",
    "SystemTime",
    "now_utc",
    "now_v7",
];

pub const MOST_IN_A_CIRCLE: usize = 3;
pub const MOST_PERCENT: usize = 15;
pub const MOST_LINES: usize = 450;

pub const SEE_SESSIONS: &[&str] = &["gateway", "admin", "metrics", "proxy", "server"];

/// The composition, those at its edge, and the programs that start it.
pub const TAKE_THE_CLUSTER: &[&str] = &["cluster", "gateway", "admin", "server", "recover", "main"];

pub const UPWARD: &[(&str, &str)] = &[];
pub const CIRCLES: &[(&str, &str)] = &[];
pub const ROOMS_IN_CIRCLES: &[(&str, &str)] = &[];
pub const LARGE_ROOMS: &[(&str, &str)] = &[];
pub const NOT_PURE: &[(&str, &str)] = &[];
pub const LONG_FILES: &[(&str, &str)] = &[];
pub const MAPLESS: &[(&str, &str)] = &[];
