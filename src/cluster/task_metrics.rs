//! Metrics of the task table and of polling.
