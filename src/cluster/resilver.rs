//! Resilver: brings stale replicas in sync by copying their shards from a replica that is.
