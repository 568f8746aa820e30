//! Which replicas of a shard are in sync when nothing is remembered of them. Pure.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::placement::topology::NodeIx;
use crate::replicas::resilver::replica::Content;

/// What an owner of a shard holds of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub node: NodeIx,
    /// `None`: the node does not have the index.
    pub content: Option<Content>,
    /// The newest of Miroir's tasks that the node has carried out on the index.
    pub newest: Option<Uuid>,
}

/// The owners whose replica is to be copied anew: those that differ from the measure. It is what more than half of the
/// owners hold, else the replica on the node with the newest write, else the fullest.
pub fn stale(held: &[Held]) -> Vec<NodeIx> {
    let mut sizes: BTreeMap<u128, usize> = BTreeMap::new();
    for content in held.iter().filter_map(|held| held.content) {
        *sizes.entry(content.digest).or_default() += 1;
    }
    let majority = sizes.iter().find(|(_, size)| **size * 2 > held.len()).map(|(digest, _)| *digest);
    let best = held
        .iter()
        .filter_map(|held| Some((held.newest, held.content?)))
        .max_by_key(|(newest, content)| (*newest, content.count))
        .map(|(_, content)| content.digest);
    let Some(measure) = majority.or(best) else { return Vec::new() };
    let differs = |held: &&Held| held.content.is_none_or(|content| content.digest != measure);
    held.iter().filter(differs).map(|held| held.node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(node: usize, count: u64, digest: u128, newest: u128) -> Held {
        Held { node: NodeIx(node), content: Some(Content { count, digest }), newest: Some(Uuid::from_u128(newest)) }
    }

    fn without_index(node: usize) -> Held {
        Held { node: NodeIx(node), content: None, newest: None }
    }

    #[test]
    fn equal_replicas_are_all_in_sync() {
        assert!(stale(&[held(0, 5, 1, 9), held(1, 5, 1, 8)]).is_empty());
        assert!(stale(&[without_index(0), without_index(1)]).is_empty());
    }

    #[test]
    fn the_one_with_the_newest_write_is_the_measure_though_another_is_fuller() {
        assert_eq!(stale(&[held(0, 9, 1, 7), held(1, 5, 2, 8)]), [NodeIx(0)]);
        assert_eq!(stale(&[held(0, 5, 1, 7), held(1, 9, 2, 7)]), [NodeIx(0)]);
    }

    #[test]
    fn what_most_owners_hold_is_right() {
        assert_eq!(stale(&[held(0, 5, 1, 7), held(1, 9, 2, 8), held(2, 5, 1, 7)]), [NodeIx(1)]);
    }

    #[test]
    fn a_node_without_the_index_is_stale_where_another_has_it() {
        assert_eq!(stale(&[without_index(0), held(1, 0, 0, 7)]), [NodeIx(0)]);
    }
}
