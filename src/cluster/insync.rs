//! In-sync sets: which replicas have missed a write, durably.
