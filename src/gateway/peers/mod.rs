//! Other gateways of the same cluster. One leads; the others pass on to it what they do not answer themselves.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | the section `gateway` of the configuration |
//! | [`proof`] | how gateways show each other that they know the cluster's secret |
//! | [`passed`] | what a gateway says of a request that it passes on |
//! | [`following`] | who leads, and how to reach them |
//! | [`upstream`] | one exchange with the leader |
//! | [`pass`] | a request passed on: again, where its leader died under it |
//! | [`arrivals`] | which of the writes that were passed on have come, at the leader |
//! | [`seen`] | by which view a read is answered |
//! | [`views`] | the views of the leader, over HTTP |
//! | [`door`] | who is let in where peers are listened to |

pub mod arrivals;
pub mod door;
pub mod following;
pub mod pass;
pub mod passed;
pub mod proof;
pub mod seen;
pub mod settings;
mod upstream;
pub mod views;
