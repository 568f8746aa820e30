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

/// Files of `read` that name a runtime; the others are async over the trait `read::gather::Nodes`.
pub const READS_AT_WORK: &[(&str, &str)] = &[
    ("read/cluster_nodes.rs", "asks the nodes of the cluster"),
    ("read/gather/mod.rs", "waits for the first of several answers"),
    ("read/observe.rs", "tells how long each subrequest took"),
];

pub const MOST_IN_A_CIRCLE: usize = 3;
pub const MOST_PERCENT: usize = 15;
pub const MOST_LINES: usize = 450;

pub const SEE_SESSIONS: &[&str] = &["gateway", "admin", "metrics", "proxy", "server"];

/// The composition, those at its edge, and the programs that start it.
pub const TAKE_THE_CLUSTER: &[&str] = &["cluster", "gateway", "admin", "server", "recover", "main"];

const PLAN_AND_MERGE: &str = "what is asked belongs to plan, what is answered to merge";
const PLANS: &str = "what plans have in common is to have files of its own";
const ENGINE: &str = "the engine is to be a crate of its own";
const SETTINGS: &str = "each room is to own its settings, and the composition what is made of them";

pub const UPWARD: &[(&str, &str)] = &[
    ("nodes/settings.rs -> replicas/scrub/mod.rs", SETTINGS),
    ("plan/documents.rs -> merge/strip.rs", PLAN_AND_MERGE),
    ("plan/facets.rs -> merge/facets/probe.rs", PLAN_AND_MERGE),
    ("plan/facets.rs -> merge/values.rs", PLAN_AND_MERGE),
    ("plan/federation.rs -> merge/facets/mod.rs", PLAN_AND_MERGE),
    ("plan/federation.rs -> merge/totals.rs", PLAN_AND_MERGE),
    ("plan/index_info.rs -> merge/detail.rs", PLAN_AND_MERGE),
    ("plan/read.rs -> merge/strip.rs", PLAN_AND_MERGE),
    ("plan/search.rs -> merge/detail.rs", PLAN_AND_MERGE),
    ("plan/search.rs -> merge/facets/mod.rs", PLAN_AND_MERGE),
    ("plan/search.rs -> merge/hits.rs", PLAN_AND_MERGE),
    ("plan/search.rs -> merge/marks/mod.rs", PLAN_AND_MERGE),
    ("plan/search.rs -> merge/strip.rs", PLAN_AND_MERGE),
    ("plan/search.rs -> merge/totals.rs", PLAN_AND_MERGE),
    ("plan/similar.rs -> merge/strip.rs", PLAN_AND_MERGE),
];

/// A folder, and how many of its files need each other.
pub const CIRCLES: &[(&str, &str)] = &[
    ("src: 26", SETTINGS),
    ("plan: 15", PLANS),
    ("plan/broadcast: 4", PLANS),
    ("split: 5", "the formats and what they have in common are to be told apart"),
    ("merge/facets: 4", PLANS),
    ("gateway: 4", "`App` is to have a file of its own"),
    ("embedded: 10", ENGINE),
];

pub const ROOMS_IN_CIRCLES: &[(&str, &str)] =
    &[("merge plan", PLAN_AND_MERGE), ("ledger nodes read replicas tracking write", SETTINGS)];

pub const LARGE_ROOMS: &[(&str, &str)] = &[("embedded", ENGINE)];

pub const NOT_PURE: &[(&str, &str)] =
    &[("tasks/entry.rs", "a task gets its uuid where it is made, and that tells the time")];

pub const LONG_FILES: &[(&str, &str)] = &[("merge/facets/tally.rs", "to be cut"), ("plan/federation.rs", "to be cut")];

pub const MAPLESS: &[(&str, &str)] = &[
    ("embedded/http/mod.rs", ENGINE),
    ("embedded/keys/mod.rs", ENGINE),
    ("embedded/mod.rs", ENGINE),
    ("embedded/queue/mod.rs", ENGINE),
    ("embedded/search/mod.rs", ENGINE),
    ("embedded/search/params/mod.rs", ENGINE),
    ("embedded/settings/mod.rs", ENGINE),
];
