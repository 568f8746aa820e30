//! Several gateways, one truth: the gateway that leads tells the others what their reads go by, and knows who has heard what.
//!
//! What reads go by is a *view*: topology, registry, keys, refused settings, versions of the engine; numbered by the epoch of the leader's
//! lease and by its changes. Each other gateway, a *follower*, asks the leader again and again (a long poll); each answer brings what
//! is new and lends the newest view for [`LEASE`], counted from when the question was sent. The leader counts from when it answered, which
//! is later. So once a follower's time is over at the leader, it has long been over at the follower.
//!
//! ```text
//! follower   ask: has 7, oldest 6 ──▶                          ──▶ ask: has 8, oldest 6   (one request still goes by 6)
//! leader                             a mark; the view is 8 now ──▶ heard                  ... ask: has 8, oldest 8 ──▶ quiet
//!                                  ◀── 8, and what changed
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`book`] | what the leader knows of followers, and for whom it waits; pure |
//! | [`clock`] | a clock that goes on while the machine is suspended |
//! | [`follower`] | asks the leader, goes by what it tells |
//! | [`former`] | views of leaders before |
//! | [`lease`] | by which views a follower may answer, and until when; pure |
//! | [`publisher`] | the leader: makes the view, answers questions, waits for followers |
//! | [`sections`] | the parts of the view as they were made last |
//! | [`seldom`] | what others do again and again, told once and by the minute |
//! | [`talk`] | what gateways say to each other of views |
//! | [`view`] | a view as it is sent |

pub mod book;
pub mod clock;
pub mod follower;
pub mod former;
pub mod lease;
pub mod publisher;
mod sections;
pub mod seldom;
pub mod talk;
#[cfg(test)]
mod tests;
pub mod view;

use std::time::Duration;

/// For how long a view is lent.
pub const LEASE: Duration = Duration::from_secs(3);
/// So much longer the leader waits, for clocks that do not go alike.
pub const MARGIN: Duration = Duration::from_millis(300);
