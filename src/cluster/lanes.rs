//! Lanes: one queue of writes per (index, node), so that every replica sees one order.
