//! Request → plan. A plan is printable data and all that lies between understanding a request and doing it.

pub mod broadcast;
pub mod index_info;
pub mod write;
