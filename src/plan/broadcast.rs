//! Requests that concern every node: indexes, settings, deletions that name no shard.
