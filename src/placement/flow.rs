//! As much as can flow through a network, by shortest paths that still have room (Edmonds and Karp).
//!
//! Paths are looked for in the order in which edges were added, so equal networks give equal flows.

use std::collections::VecDeque;

/// A network of edges with whole capacities. Vertices are numbers that the caller chooses.
pub(super) struct Network {
    /// Edge `2 i` and its way back, `2 i + 1`.
    edges: Vec<Edge>,
    /// The edges that leave each vertex.
    leaving: Vec<Vec<usize>>,
}

struct Edge {
    to: usize,
    room: usize,
}

// === impl Network ===

impl Network {
    /// Of vertices `0..vertices`, without edges.
    pub(super) fn new(vertices: usize) -> Self {
        Self { edges: Vec::new(), leaving: vec![Vec::new(); vertices] }
    }

    /// Adds an edge of which `flow` of the `capacity` is taken. Returns its number.
    pub(super) fn add(&mut self, from: usize, to: usize, capacity: usize, flow: usize) -> usize {
        let number = self.edges.len();
        self.edges.push(Edge { to, room: capacity - flow });
        self.edges.push(Edge { to: from, room: flow });
        self.leaving[from].push(number);
        self.leaving[to].push(number + 1);
        number
    }

    /// What flows through the edge.
    pub(super) fn flow(&self, edge: usize) -> usize {
        self.edges[edge + 1].room
    }

    /// Lets more flow from `source` to `sink` until nothing more can.
    pub(super) fn fill(&mut self, source: usize, sink: usize) {
        while let Some(path) = self.path(source, sink) {
            for edge in path {
                self.edges[edge].room -= 1;
                self.edges[edge ^ 1].room += 1;
            }
        }
    }

    /// The edges of a shortest path with room, the last first.
    fn path(&self, source: usize, sink: usize) -> Option<Vec<usize>> {
        let mut came_by: Vec<Option<usize>> = vec![None; self.leaving.len()];
        let mut queue = VecDeque::from([source]);
        while let Some(vertex) = queue.pop_front() {
            if vertex == sink {
                break;
            }
            for edge in &self.leaving[vertex] {
                let Edge { to, room } = &self.edges[*edge];
                let (to, room) = (*to, *room);
                if room > 0 && to != source && came_by[to].is_none() {
                    came_by[to] = Some(*edge);
                    queue.push_back(to);
                }
            }
        }
        let mut path = Vec::new();
        let mut at = sink;
        while at != source {
            let edge = came_by[at]?;
            path.push(edge);
            at = self.edges[edge ^ 1].to;
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_choice_gives_way() {
        // Two guests, two seats: the first sits where alone the second could.
        let mut network = Network::new(6);
        let (source, sink) = (0, 5);
        network.add(source, 1, 1, 1);
        network.add(source, 2, 1, 0);
        let taken = network.add(1, 3, 1, 1);
        let free = network.add(1, 4, 1, 0);
        let only = network.add(2, 3, 1, 0);
        network.add(3, sink, 1, 1);
        network.add(4, sink, 1, 0);
        network.fill(source, sink);
        assert_eq!([taken, free, only].map(|edge| network.flow(edge)), [0, 1, 1]);
    }
}
