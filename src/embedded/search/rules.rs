//! Which searches can share a federated list: those whose ranking rules compare.
