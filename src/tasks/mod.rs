//! One task id over many node tasks: what is stored, and how many statuses fold into one. Pure.

pub mod entry;
