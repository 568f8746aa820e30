//! One task id over many node tasks: what is stored, and how many statuses fold into one. Pure.
//!
//! | module | what lives there |
//! |---|---|
//! | `adopt` | after a crash: which of a node's tasks belong to parts whose acceptance was never recorded |
//! | `batch` | batches as the client sees them: one for each task |
//! | `details` | the counts in a task's details |
//! | `entry` | what Miroir keeps of a task |
//! | `filter` | which tasks are meant |
//! | `fold` | the statuses of node tasks as one |
//! | `interrupted` | writes that a stop of the gateway interrupted before they were acknowledged |
//! | `params` | values of query parameters, refused in the engine's words |
//! | `query` | query strings of the task routes, with the engine's errors |
//! | `replicas` | which node carried out which shards of a task |
//! | `settings` | how long ended tasks are kept, and in which form ids are shown |
//! | `stale` | which replicas a finished task leaves behind |
//! | `swap` | tasks follow their index when it is swapped |
//! | `verdict` | what the parts of a task come to, taken together |
//! | `view` | a task as the client sees it, in Meilisearch's JSON |

pub mod adopt;
pub mod batch;
pub mod details;
pub mod entry;
pub mod filter;
pub mod fold;
pub mod interrupted;
pub mod params;
pub mod query;
pub mod replicas;
pub mod settings;
pub mod stale;
pub mod swap;
pub mod verdict;
pub mod view;
