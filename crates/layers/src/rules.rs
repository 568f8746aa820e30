//! The walls of the house, and what does not hold yet. An exception stands with its reason, and is deleted with it: the test
//! says so when one holds nothing back any more.

/// The folders of `src/`, from the lowest up: each may import those before it. `crates/words` is below them all, and `crates/engine`
/// sees no more than that: Cargo holds both.
pub const RANKS: &[&[&str]] = &[
    &["meili"],
    &["settings"],
    &["placement"],
    &["split"],
    &["tasks"],
    &["plan"],
    &["merge"],
    &["rebalance"],
    &["rules"],
    &["store"],
    &["tls"],
    &["traces"],
    &["logging"],
    &["nodes"],
    &["read"],
    &["ledger"],
    &["tracking"],
    &["write"],
    &["replicas"],
    &["moves"],
    &["dumps"],
    &["peers"],
    &["cluster"],
    &["gateway"],
    &["metrics"],
    &["admin"],
    &["config"],
    &["commands"],
    &["lib"],
    &["founder"],
    &["own"],
    &["proxy"],
    &["ending"],
    &["sockets"],
    &["server"],
    &["recover"],
    &["main"],
];

/// The folders inside a room that has several, from the lowest up: `nodes/health` may import `nodes/meaning`, not the other way.
pub const INSIDE: &[(&str, &[&str])] = &[
    ("meili", &["chat", "operation"]),
    ("merge", &["facets", "marks", "federation"]),
    ("store", &["sqlite", "postgres"]),
    ("nodes", &["meaning", "load", "changes", "overload", "health"]),
    ("write", &["body", "vocabulary", "writer", "documents"]),
    ("replicas", &["repair", "resilver", "scrub", "recover"]),
    ("gateway", &["auth", "cache", "webhooks", "peers"]),
    ("commands", &["demo", "import", "upgrade"]),
];

/// Rooms without I/O, a clock of their own, or a proxy.
pub const PURE: &[&str] = &["meili", "settings", "placement", "split", "plan", "merge", "tasks", "rebalance", "rules"];

/// What they do not name: other machines, files, clocks, chance, other threads, and what surrounds the process.
pub const IMPURE: &[&str] = &[
    "tokio",
    "pingora",
    "pingora_proxy",
    "pingora_load_balancing",
    "rusqlite",
    "ureq",
    "tempfile",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "stdin",
    "stdout",
    "stderr",
    "println",
    "eprintln",
    "Instant",
    "SystemTime",
    "now_utc",
    "now_local",
    "now_v7",
    "new_v4",
];

/// Files of `read` that name a runtime; the others are async over the trait `read::gather::Nodes`.
pub const READS_AT_WORK: &[(&str, &str)] = &[
    ("read/cluster_nodes.rs", "asks the nodes of the cluster"),
    ("read/gather/mod.rs", "waits for the first of several answers"),
    ("read/observe.rs", "tells how long each subrequest took"),
];

pub const MOST_IN_A_CIRCLE: usize = 3;
pub const MOST_PERCENT: usize = 15;
pub const MOST_LINES: usize = 450;

pub const SEE_SESSIONS: &[&str] = &["gateway", "admin", "metrics", "own", "proxy", "server"];

/// The composition, those at its edge, and the programs that start it.
pub const TAKE_THE_CLUSTER: &[&str] = &["cluster", "gateway", "admin", "founder", "server", "recover", "main"];

pub const UPWARD: &[(&str, &str)] = &[];

/// A folder, and how many of its files need each other.
pub const CIRCLES: &[(&str, &str)] = &[];

pub const ROOMS_IN_CIRCLES: &[(&str, &str)] = &[];

pub const LARGE_ROOMS: &[(&str, &str)] = &[];

pub const NOT_PURE: &[(&str, &str)] =
    &[("tasks/entry.rs", "a task gets its uuid where it is made, and that tells the time")];

/// The same of `crates/words`.
pub const WORDS_NOT_PURE: &[(&str, &str)] =
    &[("key.rs", "the keys of a new Meilisearch get their uids where they are made")];

pub const LONG_FILES: &[(&str, &str)] = &[];

pub const MAPLESS: &[(&str, &str)] = &[];
